"""How far a bill may be trusted: over chance, over the days of a trace, and over each input by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from capsim.base.intervals import t_quantile
from capsim.base.rng import generator
from capsim.cost.bill import bill
from capsim.memory.constants import CONSTANTS, with_constants
from capsim.results.continued import continued
from capsim.scenario.columns import SERVICES
from capsim.scenario.file import load
from capsim.study.published.runs import AFTER, BEFORE
from capsim.study.published.table import Published

if TYPE_CHECKING:
    import pandas as pd

    from capsim.scenario.scenario import Scenario
    from capsim.study.published.runs import Runs

DRAWN_MONTHS = 10
WEEKDAYS = (0, 1, 2, 3, 4)  # of a week that begins on a Monday
HALF_TO_DOUBLE = "assumed, taken as half to double"
SAME_USD = 0.005  # effects below half a cent are not listed


def usage_usd(samples: pd.DataFrame, scenario: Scenario) -> tuple[float, float, float]:
    """Usage before fee and rounding [USD]: expected, with the least and with the most page cache."""
    lines = bill(samples, scenario)
    own = lines[lines["service"].isin(SERVICES)]
    exact = own["quantity"] * own["price_usd"]
    rest = float(exact[own["line"] != "memory"].sum())
    price = float(own.loc[own["line"] == "memory", "price_usd"].iloc[0])
    minutes = (samples["width_s"] / 60)[samples["has_load"]]
    memory = [
        sum(float((samples.loc[minutes.index, f"{s}_billed{suffix}"] * minutes).sum()) for s in SERVICES)
        * (price * 2**20 / scenario.billing.gb_bytes)
        for suffix in ("_mib", "_lower_mib", "_upper_mib")
    ]
    return memory[0] + rest, memory[1] + rest, memory[2] + rest


def _over(values: Sequence[float]) -> dict[str, float]:
    """Mean, and the 95 % intervals of the mean and of one more value of the same kind."""
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return {"mean_usd": mean, "half_width_usd": math.nan, "one_more_usd": math.nan}
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    t = t_quantile(n - 1)
    return {
        "mean_usd": mean,
        "half_width_usd": t * deviation / math.sqrt(n),
        "one_more_usd": t * deviation * math.sqrt(1 + 1 / n),
    }


def drawn_week(days: Sequence[Any], number: int, seed: int) -> list[Any]:
    """Thirty days of a month drawn from a week: weekdays from its weekdays, weekends from its weekend."""
    draws = generator(seed, number, "drawn_days").random(30)
    month = []
    for day, draw in enumerate(draws):
        pool = WEEKDAYS if day % 7 in WEEKDAYS else (5, 6)
        month.append(days[pool[int(draw * len(pool))]])
    return month


def intervals(runs: Runs) -> Published:
    """Mean and interval of a month's usage: over replicates, and over the days of a week."""
    import pandas as pd

    rows = []
    for name, run in runs.months.items():
        scenario = run.scenario

        def add(over: str, months: list[pd.DataFrame], name: str = name, scenario: Scenario = scenario) -> None:
            found = [usage_usd(month, scenario) for month in months]
            rows.append({
                "scenario": name, "over": over, "months": len(found), **_over([usd[0] for usd in found]),
                "least_cache_usd": min(usd[1] for usd in found), "most_cache_usd": max(usd[2] for usd in found),
            })  # fmt: skip

        add("the month, simulated request by request", [run.window("month")])
        add("replicates of the day, continued", [continued([d], scenario) for d in runs.days[name]])
        if name != AFTER:
            continue
        week = runs.week
        add("the week, continued, each day on its weekday", [continued(week, scenario)])
        add("months of one weekday each, Monday to Friday", [continued([week[d]], scenario) for d in WEEKDAYS])
        add("months of one weekend day each", [continued([week[d]], scenario) for d in (5, 6)])
        drawn = [continued(drawn_week(week, number, runs.seed), scenario) for number in range(DRAWN_MONTHS)]
        add("months of days drawn from the week", drawn)
    return Published(
        "cost_interval",
        "How sure is the bill, over chance and over the days of a trace?",
        "Usage before the plan's fee. half_width_usd is that of the 95 % interval of the mean (Student's), "
        "one_more_usd "
        "that of one more month of the kind. A trace of less than a week is repeated as it is, so its month has no "
        "weekend of its own; one of whole weeks keeps every day on its weekday; drawn months take weekdays from the "
        "weekdays of the week-long trace and weekends from its weekend. Least and most cache are the outermost over "
        "all "
        "months of the row: chance matters little beside them.",
        ("scenario", "over"),
        pd.DataFrame(rows),
    )


def narrowing(runs: Runs) -> Published:
    """One input at a time between the ends of its bracket: which, if measured, would narrow the bill most."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    scenario, day = load(BEFORE), runs.days[BEFORE][:1]

    def at(changed: Scenario) -> float:
        return usage_usd(continued(day, changed), changed)[0]

    def add(name: str, between: str, *ends: float) -> None:
        low, high = min(ends), max(ends)
        rows.append({
            "scenario": BEFORE, "input": name, "bracket": between, "expected_usd": expected, "low_usd": low,
            "high_usd": high, "width_usd": high - low,
        })  # fmt: skip

    expected, least, most = usage_usd(continued(day, scenario), scenario)
    add("how much page cache is billed", "least to most", least, most)
    add("bytes of a GB", "10^9 or 2^30", expected, at(scenario.replace("billing.gb_bytes", 2**30)))
    response_bytes = scenario.billing.response_bytes
    ends = [at(scenario.replace("billing.response_bytes", response_bytes * factor)) for factor in (0.5, 2)]
    add("bytes of a response", HALF_TO_DOUBLE, *ends)
    for constant in CONSTANTS:
        between, text = constant.bracket, constant.error
        if between is None and constant.status == "assumed":
            between, text = (constant.value / 2, constant.value * 2), HALF_TO_DOUBLE
        if between is None or between[0] == between[1]:
            continue
        values = []
        for value in between:
            values.append(at(with_constants(scenario, {constant.name: value})))
        if max(abs(value - expected) for value in values) >= SAME_USD:
            add(constant.name, f"{text} ({constant.status})", *values)
    table = pd.DataFrame(rows).sort_values("width_usd", ascending=False, kind="stable")
    unread = ", ".join(c.name for c in CONSTANTS if c.bracket is None and c.status != "assumed")
    return Published(
        "what_to_measure",
        "Which single input, if measured, would narrow the bill most?",
        "Usage of a month (the day continued) with one input at either end of its bracket and everything else as "
        "expected; the widest stands first, and effects below half a cent are left out. Brackets are those of the "
        f"constants of the memory model (capsim.constants()); their errors are only in words for {unread}: not tried.",
        ("scenario", "input"),
        table.reset_index(drop=True),
    )

"""What a month costs: before and after, by plan and date, by length of the cycle, and what stops it."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from capsim.base.errors import PriceError
from capsim.base.units import GB, GIB, MIB
from capsim.cost.bill import Line, cents, either, invoice
from capsim.cost.spending_limit import hard_limit
from capsim.cost.usage import Usage, Window, service_usage
from capsim.memory.volume import volume_full
from capsim.results.continued import continued
from capsim.scenario.columns import SERVICES
from capsim.scenario.file import load
from capsim.scenario.prices import bundled_prices, plan_on, prices_on
from capsim.study.published.table import Published

if TYPE_CHECKING:
    import pandas as pd

    from capsim.scenario.scenario import Scenario
    from capsim.study.published.runs import Runs

PLANS = (("free", 1), ("hobby", 1), ("pro", 1), ("pro", 3))  # with how many seats
CYCLE_DAYS = (28, 29, 30, 31)
GB_BYTES = {GB: "10^9", GIB: "2^30"}
HARD_LIMITS_USD = (10.0, 20.0, 50.0)
BACKUPS = ((1, 6), (7, 4), (30, 3))  # every so many days, so many kept: assumed


def before_after(runs: Runs) -> Published:
    """Every line of the bill of a simulated month."""
    import pandas as pd

    parts = [run.bill("month").assign(scenario=name) for name, run in runs.months.items()]
    rows = pd.concat(parts, ignore_index=True)
    return Published(
        "cost_before_after",
        "What does a month cost, before and after the plan?",
        "A month of 43,200 minutes, simulated request by request; each line is rounded to cents as on an invoice. "
        "Lower and upper bill the least and the most page cache. What is not modelled has no amount and is not in the "
        "total. While a deploy is under way both processes are billed, for as long as both run.",
        ("scenario", "service", "line"),
        rows[["scenario", *(name for name in rows.columns if name != "scenario")]],
    )


def usages(samples: pd.DataFrame, scenario: Scenario) -> list[Usage]:
    """What each service used in all of the samples."""
    window = Window.of(samples)
    return [service_usage(service, window, scenario) for service in SERVICES]


def used_usd(lines: list[Line]) -> float:
    """The usage on an invoice [USD]: its lines without fee and discount."""
    return float(sum(line.bracket[0] for line in lines if line.service != "workspace"))


def dates() -> list[dt.date]:
    """Both sides of every day on which a price or a rule changed, and the day of the plan."""
    table = bundled_prices()
    rows = (*table.prices, *table.plans)
    days = {row.effective_from for row in rows} | {row.ambiguous_until for row in rows if row.ambiguous_until}
    eves = {day - dt.timedelta(days=1) for day in days if day > table.prices[0].effective_from}
    return sorted(days | eves | {load("before").billing.from_date})


def by_plan_and_date(runs: Runs) -> Published:
    """The usage of one month priced on every plan, on both sides of every change."""
    import pandas as pd

    name = "before"
    scenario = load(name)
    by_plan = {
        plan: usages(continued(runs.days[name][:1], scenario.replace("billing.plan", plan)), scenario)
        for plan in dict(PLANS)
    }
    rows = [_priced(day, plan, seats, by_plan[plan]) for plan, seats in PLANS for day in dates()]
    return Published(
        "cost_by_plan_and_date",
        "What would the same month have cost on another plan or another day?",
        f"The day of scenario {name}, simulated request by request and continued to 30 days, priced by the rules of "
        "the first day of the cycle. Memory and volume end where those of the plan end now. 'Or' is the range of the "
        "other readings of a date on which Railway's pages disagree. On the free plan the services stop at the credit: "
        "its total is the usage that it does not carry. Where something had no price or no plan, there is no total.",
        ("plan", "seats", "from"),
        pd.DataFrame(rows),
    )


def _priced(day: dt.date, plan: str, seats: int, used: list[Usage]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "plan": plan, "seats": seats, "from": str(day), "rule": "", "usage_usd": math.nan, "total_usd": math.nan,
        "or_lowest_usd": math.nan, "or_highest_usd": math.nan, "note": "",
    }  # fmt: skip
    try:
        rule, prices = plan_on(plan, day), prices_on(day)
        notes = [rule.caveat_on(day), prices.row.caveat_on(day)]
        if not prices.has_price("volume"):
            notes.insert(0, "no volumes yet: without them")
            used = [replace(usage, volume_gb_minutes=None) for usage in used]
        lines = invoice(used, prices, rule, seats=seats)
    except PriceError as error:
        return {**row, "note": error.problems[0].split(": ", 1)[-1].split(";")[0]}
    low, high = either(used, plan, day, seats=seats)
    total = lines[-1].bracket[0]
    if rule.above_included == "stops" and total > 0:
        notes.insert(0, "its services stop before the month is over")
    if prices.stale:
        notes.append(f"prices last verified on {prices.last_verified}, more than 120 days before")
    return {
        **row,
        "rule": rule.rule,
        "usage_usd": used_usd(lines),
        "total_usd": float(total),
        "or_lowest_usd": float(low) if low != high else math.nan,
        "or_highest_usd": float(high) if low != high else math.nan,
        "note": "; ".join(dict.fromkeys(filter(None, notes))),
    }


def by_cycle(runs: Runs) -> Published:
    """Cycles of 28 to 31 days and both sizes of a GB."""
    import pandas as pd

    rows = []
    for name, days in runs.days.items():
        for length in CYCLE_DAYS:
            for size, text in GB_BYTES.items():
                scenario = load(name).replace("billing.gb_bytes", size)
                samples = continued(days[:1], scenario, minutes=length * 1440)
                day = scenario.billing.from_date
                lines = invoice(usages(samples, scenario), prices_on(day), plan_on(scenario.billing.plan, day))
                amount, lower, upper = lines[-1].bracket
                rows.append({
                    "scenario": name, "days": length, "gb_bytes": text, "usage_usd": used_usd(lines),
                    "total_usd": float(amount), "lower_usd": float(lower), "upper_usd": float(upper),
                })  # fmt: skip
    return Published(
        "cost_by_cycle",
        "What do the length of the cycle and the size of a GB change?",
        "A cycle runs from a day of one month to the same day of the next: 28 to 31 days, at prices for 43,200 "
        "minutes. How many bytes a GB of the memory metric has is written nowhere: 10^9 is taken elsewhere, 2^30 is "
        "shown beside it. The day, simulated request by request, is continued to the cycle.",
        ("scenario", "days", "gb_bytes"),
        pd.DataFrame(rows),
    )


def stops(runs: Runs) -> Published:
    """The date on which a hard limit or a full volume stops something."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for name, run in runs.months.items():
        month = run.window("month")
        for limit in HARD_LIMITS_USD:
            scenario = run.scenario.replace("billing.hard_limit_usd", limit)
            found = {bracket: hard_limit(month, scenario, bracket) for bracket in ("expected", "earliest", "latest")}
            rows.append({
                "scenario": name, "what": f"hard limit of {limit:g} USD",
                **{bracket: str(stop.date) if stop else "not in 30 days" for bracket, stop in found.items()},
                "expected_after_days": found["expected"].after_days if found["expected"] else math.nan,
                "then": "all services of the workspace stop",
            })  # fmt: skip
        if full := volume_full(month, run.scenario):
            date = str(full.date)
            rows.append({
                "scenario": name, "what": f"volume of {full.volume_gb:g} GB full",
                "expected": date, "earliest": date, "latest": date, "expected_after_days": full.at_s / 86_400,
                "then": "writes stop" if full.simulated else "writes stop; the month's growth is carried on",
            })  # fmt: skip
    return Published(
        "stops",
        "On which day would a hard limit or a full volume stop the service?",
        "Usage of the simulated month as the meter counts it, from its first day; earliest and latest bill the most "
        "and "
        "the least page cache. What would be served after that day is not simulated: the month goes on as if the limit "
        "were not there.",
        ("scenario", "what"),
        pd.DataFrame(rows),
    )


def backups(runs: Runs) -> Published:
    """What volume backups of Postgres would cost, by schedules that are assumed."""
    import numpy as np
    import pandas as pd

    rows = []
    for name, run in runs.months.items():
        month = run.window("month")
        price = prices_on(run.scenario.billing.from_date).unit_price("backups")
        gb = month["postgres_volume_mib"].to_numpy() * (MIB / run.scenario.billing.gb_bytes)
        end_minutes = month["width_s"].cumsum().to_numpy() / 60
        for every, kept in BACKUPS:
            taken = np.searchsorted(end_minutes, np.arange(every, 31, every) * 1440.0 - 1e-6).clip(max=len(gb) - 1)
            lasts = np.minimum(kept * every * 1440.0, end_minutes[-1] - end_minutes[taken])
            least = Fraction(math.fsum(np.diff(gb[taken], prepend=0.0) * lasts))
            most = Fraction(math.fsum(gb[taken] * lasts))
            rows.append({
                "scenario": name, "every_days": every, "kept": kept, "least_gb_minutes": float(least),
                "most_gb_minutes": float(most), "least_usd": float(cents(price * least)),
                "most_usd": float(cents(price * most)),
            })  # fmt: skip
    return Published(
        "cost_of_backups",
        "What would backups of the volume cost?",
        "Not in the other tables, which assume no schedule. Railway charges what changed since the last backup, at the "
        "price of the volume. Least: only what the volume has grown by; most: as if every byte had changed. The "
        "schedules are assumed; a backup on the last day of the month costs nothing in it.",
        ("scenario", "every_days"),
        pd.DataFrame(rows),
    )

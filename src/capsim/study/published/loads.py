"""What a month costs by load and by knob, and up to where the Hobby plan suffices."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from capsim.cost.bill import invoice, limit_notes
from capsim.memory.volume import volume_full
from capsim.results.continued import continued
from capsim.scenario.file import load
from capsim.scenario.prices import plan_on, prices_on
from capsim.scenario.workload import STREAMS
from capsim.study.published.bills import usages, used_usd
from capsim.study.published.runs import RATES_HZ
from capsim.study.published.table import Published

if TYPE_CHECKING:
    import pandas as pd

    from capsim.scenario.scenario import Scenario
    from capsim.study.published.runs import Runs

LIMITS_MIB = ("plan", 512)
BUFFERS_ROWS = ("none", 1_000)
DELAYS_MS = (1_000, 5_000)
POOLS = (10, 97)
HEAP_CAPS_MIB = ("none", 512)
MONTH_DAYS = 30
KNOBS_HZ = 5.0  # the bundled day's mean
STEADY = "Half an hour of a steady Poisson load, simulated request by request and continued to 30 days. "


def _month(stretch: pd.DataFrame, scenario: Scenario) -> dict[str, Any]:
    month = continued([stretch], scenario)
    day = scenario.billing.from_date
    lines = invoice(usages(month, scenario), prices_on(day), plan_on(scenario.billing.plan, day))
    amount, lower, upper = lines[-1].bracket
    full = volume_full(month, scenario)
    return {
        "server_mib": month["server_rss_mib"].mean(),
        "server_peak_mib": month["server_rss_peak_mib"].max(),
        "postgres_mib": month["postgres_billed_mib"].mean(),
        "usage_usd": used_usd(lines),
        "total_usd": float(amount),
        "lower_usd": float(lower),
        "upper_usd": float(upper),
        "volume_full_days": full.at_s / 86_400 if full else float("nan"),
        "breaks": "; ".join(note for note in limit_notes(month, scenario) if "ever billed" not in note),
    }


def by_load(runs: Runs) -> Published:
    """The plan as meant, by rate of requests, on both paid plans and with a memory limit on Postgres."""
    import pandas as pd

    rows = []
    base = load("after")
    for rate, stretch in runs.steady.items():
        for plan, limit in product(("hobby", "pro"), LIMITS_MIB):
            scenario = base.replace("billing.plan", plan).replace("database.memory_limit_mib", limit)
            month = _month(stretch, scenario)
            del month["breaks"]
            rows.append({"rate_hz": rate, "plan": plan, "postgres_limit_mib": str(limit), **month})
    return Published(
        "cost_by_load",
        "What does a month cost at which load?",
        STEADY + "Scenario after. The volume is that of the plan (5 GB on Hobby, 50 GB on Pro); after the day on which "
        "it is full, nothing more is written, and the bill stops growing.",
        ("rate_hz", "plan", "postgres_limit_mib"),
        pd.DataFrame(rows),
    )


def by_knob(runs: Runs) -> Published:
    """Buffer cap x delay x pool x heap cap, at the mean rate of the day."""
    import pandas as pd

    rows = []
    for buffer, delay, pool in product(BUFFERS_ROWS, DELAYS_MS, POOLS):
        played = load("after").replace("server.pool.limit", pool)
        for writer in STREAMS:
            played = played.replace(f"server.writers.{writer}.buffer_cap_rows", buffer)
            played = played.replace(f"server.writers.{writer}.delay_ms", delay)
        # The heap cap changes memory, which is made anew for the month, and no count: nothing comes near it here.
        stretch = runs.under(played, KNOBS_HZ)
        for cap in HEAP_CAPS_MIB:
            scenario = played.replace("server.node.heap_cap_mib", cap)
            rows.append(_of_knobs(stretch, scenario, buffer, delay, pool, cap))
    return Published(
        "cost_by_knob",
        "What do buffer, delay, pool and heap cap save?",
        STEADY + f"Scenario after at {KNOBS_HZ:g} requests a second, the day's mean, without faults. What these knobs "
        "change under faults is losses, not the bill: see capsim compare. The pool opens connections only as they are "
        "needed, so its limit costs nothing until something holds them all.",
        ("buffer_cap_rows", "delay_ms", "pool", "heap_cap_mib"),
        pd.DataFrame(rows),
    )


def _of_knobs(
    stretch: pd.DataFrame, scenario: Scenario, buffer: Any, delay: int, pool: int, cap: Any
) -> dict[str, Any]:
    month = _month(stretch, scenario)
    return {
        "buffer_cap_rows": str(buffer), "delay_ms": delay, "pool": pool, "heap_cap_mib": str(cap),
        "flushes_per_half_hour": int(sum(stretch[f"{stream}_flushes"].sum() for stream in STREAMS)),
        "pool_open": int(stretch["pool_open_max"].max()),
        **{name: month[name] for name in ("server_mib", "postgres_mib", "usage_usd", "total_usd", "upper_usd")},
    }  # fmt: skip


def hobby(runs: Runs) -> Published:
    """Whether Hobby carries a month, and what breaks first."""
    import pandas as pd

    rows = []
    for rate, limit in product(RATES_HZ, LIMITS_MIB):
        scenario = load("after").replace("database.memory_limit_mib", limit)
        month = _month(runs.steady[rate], scenario)
        full_days = month["volume_full_days"]
        covered = month["usage_usd"] <= float(plan_on("hobby", scenario.billing.from_date).included_usage_usd)
        breaks = [f"its volume is full on day {full_days:.3g}"] if full_days < MONTH_DAYS else []
        breaks += [month["breaks"]] if month["breaks"] else []
        rows.append({
            "rate_hz": rate, "postgres_limit_mib": str(limit), "usage_usd": month["usage_usd"],
            "total_usd": month["total_usd"], "upper_usd": month["upper_usd"], "volume_full_days": full_days,
            "fits_limits": "no" if breaks else "yes", "fee_covers_it": "yes" if covered else "no",
            "verdict": "does not suffice: " + "; ".join(breaks) if breaks
            else "suffices" + ("" if covered else "; usage above the fee is charged"),
        })  # fmt: skip
    return Published(
        "when_hobby_suffices",
        "Up to which load does the Hobby plan suffice?",
        STEADY + "Scenario after, a month from an empty database. Hobby suffices while memory, CPU and volume stay "
        "within those of one of its replicas for the month; its fee of 5 USD covers as much usage. The volume goes on "
        "growing in the months after: volume_full_days is the day on which the 5 GB are used up.",
        ("rate_hz", "postgres_limit_mib"),
        pd.DataFrame(rows),
    )

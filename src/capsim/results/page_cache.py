"""How much of a bill is page cache, and what a memory limit on Postgres takes off it.

A page of a file stays charged to the container that touched it until a limit, a deletion or a new deployment
takes it away. Nobody outside the platform knows which part of it is billed, so every figure has three brackets:
*lower* bills no page cache but mapped program files (what a dashboard by working set comes close to), *expected*
all that the service has written or read since its start, *upper* all files that it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from capsim.base.errors import CapsimError
from capsim.base.units import MIB
from capsim.cost.bill import bill
from capsim.cost.usage import Window
from capsim.memory import postgres
from capsim.memory.constants import varied
from capsim.scenario.columns import SERVICES
from capsim.scenario.prices import prices_on

if TYPE_CHECKING:  # pandas takes longer to import than the command line may
    import pandas as pd

    from capsim.results.run import Run
    from capsim.results.window_tables import Window as Span
    from capsim.scenario.scenario import Scenario

_BRACKETS = {
    "lower": ("lower_usd", "_lower_mib"),
    "expected": ("amount_usd", "_mib"),
    "upper": ("upper_usd", "_upper_mib"),
}


def cache_share(run: Run, window: Span = "month") -> pd.DataFrame:
    """The share of a run's bill that is page cache.

    Parameters
    ----------
    run : Run
    window : {"trace", "month"}
        The load as given, or the billed month.

    Returns
    -------
    DataFrame
        Index ``bracket`` (lower, expected, upper); ``page_cache_usd`` of the ``memory_usd`` and of the
        ``usage_usd`` of all three services, before the plan's fee and what it includes; ``share`` of the usage;
        ``bill_usd``, the plan's total [USD].

    Examples
    --------
    >>> import capsim as cs
    >>> day = {"rate_hz": 2, "duration_s": 86_400}
    >>> scenario = cs.Scenario(name="x", workload=day, billing={"from": "2026-02-03"})
    >>> shares = cache_share(cs.simulate(scenario, month=False), "trace").share
    >>> bool(shares["lower"] < shares["expected"] < shares["upper"])
    True
    """
    import pandas as pd

    samples = run.window(window)
    lines = bill(samples, run.scenario)
    usage, total = lines[lines["service"].isin(SERVICES)], lines[lines["line"] == "total"]
    # Not the rounded amounts of the lines: a day's usage is a few cents.
    other_usd = float((usage["quantity"] * usage["price_usd"])[usage["line"] != "memory"].sum())
    priced = Window.of(samples)
    price = float(prices_on(run.scenario.billing.from_date).unit_price("memory")) * MIB / run.scenario.billing.gb_bytes
    mapped_mib = varied(run.scenario)("server_mapped") * priced.priced_minutes
    held_mib = sum(priced.integral(f"{service}_billed_lower_mib") for service in SERVICES) - mapped_mib
    rows = []
    for name, (amount, column) in _BRACKETS.items():
        all_mib = sum(priced.integral(f"{service}_billed{column}") for service in SERVICES)
        used_usd = all_mib * price + other_usd
        rows.append({
            "bracket": name,
            "page_cache_usd": (all_mib - held_mib) * price,
            "memory_usd": all_mib * price,
            "usage_usd": used_usd,
            "share": (all_mib - held_mib) * price / used_usd,
            "bill_usd": float(total[amount].iloc[0]),
        })  # fmt: skip
    return pd.DataFrame(rows).set_index("bracket")


def limit_savings(run: Run, limits_mib: Sequence[int], window: Span = "month") -> pd.DataFrame:
    """What a memory limit on Postgres takes off the usage of a run.

    Parameters
    ----------
    run : Run
    limits_mib : sequence of int
        Limits to try [MiB]. WindowTables at 512 and 1,024: no kill, the same insert rate, scans no slower on a
        fast disk; on a slow one the database may read more (not modelled).
    window : {"trace", "month"}

    Returns
    -------
    DataFrame
        Index ``limit_mib``; memory of Postgres in the three brackets, and ``saves_usd`` of the expected one,
        against the run's own limit [USD]; ``needs_mib``, what cannot be given back: a limit below it kills.

    Raises
    ------
    CapsimError
        If no limit is given, or one is impossible.
    """
    import pandas as pd

    if not limits_mib:
        raise CapsimError("limit_savings: there is no limit to try; give some, for example [512, 1024]")
    samples = run.window(window)
    rows = [{"limit_mib": "as it is", **_memory_usd(samples, run.scenario)}]
    for limit in limits_mib:
        limited = run.scenario.replace("database.memory_limit_mib", limit)
        under = samples.assign(**postgres.columns(samples, limited, varied(limited)))
        rows.append({"limit_mib": limit, **_memory_usd(under, limited)})
    table = pd.DataFrame(rows).set_index("limit_mib")
    return table.assign(saves_usd=table.expected_usd.iloc[0] - table.expected_usd)


def _memory_usd(samples: pd.DataFrame, scenario: Scenario) -> dict[str, float]:
    lines = bill(samples, scenario)
    memory = lines[(lines["service"] == "postgres") & (lines["line"] == "memory")]
    return {
        "needs_mib": float(samples["postgres_billed_lower_mib"].max()),
        **{f"{name}_usd": float(memory[amount].iloc[0]) for name, (amount, _) in _BRACKETS.items()},
    }

"""A simulated stretch continued to a billed month: its counts are played again, what accumulates is carried on.

`capsim.simulate` simulates every request of a month, and a published bill does that. Tables with many rows may
use this instead: the requests, flushes and rows of the stretch come again as they were, bin by bin, and the memory
stage is run over the whole month, so database, WAL, page cache, shared buffers and volume grow from its first
minute to its last. Nothing is multiplied. What it does not carry is what a writer holds from one stretch to the next
(a writer that is stuck at the end begins the next one anew), and the server is one process for the whole month.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from capsim.base.errors import CapsimError
from capsim.base.units import BILLED_MONTH_MINUTES, US_PER_DAY, US_PER_MINUTE, US_PER_S

if TYPE_CHECKING:  # pandas takes longer to import than the command line may
    import pandas as pd

    from capsim.scenario.scenario import Scenario
    from capsim.workload import Trace

WEEK_DAYS = 7
MONTH_US = BILLED_MONTH_MINUTES * US_PER_MINUTE


def continued(
    stretches: Sequence[pd.DataFrame], scenario: Scenario, minutes: float = BILLED_MONTH_MINUTES
) -> pd.DataFrame:
    """Samples of a longer time, made of simulated stretches in turn, with their memory over the whole of it.

    Parameters
    ----------
    stretches : sequence of DataFrame
        Columns `capsim.scenario.columns.SAMPLES`, with bins of one width; played in order, and again from the first.
    scenario : Scenario
        Sets the memory: plan, limits, what stands in the database at the start.
    minutes : float
        How long the result is [min]; the last stretch is cut there, at the end of a bin.

    Returns
    -------
    DataFrame
        Columns `capsim.scenario.columns.SAMPLES` and `MEMORY`. Against the simulation of the whole month the bills of
        the bundled scenarios differ by some 0.3 % (``tests/test_continued.py``).

    Raises
    ------
    CapsimError
        If there is nothing to continue.

    Examples
    --------
    >>> import capsim as cs
    >>> load = {"rate_hz": 5, "duration_s": 3_600}
    >>> spec = cs.Scenario(name="x", workload=load, billing={"from": "2026-02-03"})
    >>> hour = cs.simulate(spec, month=False).samples
    >>> day = continued([hour], spec, minutes=1440)
    >>> len(day), bool(day.postgres_volume_mib.iloc[-1] > hour.postgres_volume_mib.iloc[-1])
    (1440, True)
    """
    import numpy as np
    import pandas as pd

    from capsim.memory import resident
    from capsim.scenario.columns import SAMPLES

    if not stretches or not all(len(stretch) for stretch in stretches):
        raise CapsimError("continued: there is a stretch without samples; give the samples of a run")
    names = [column.name for column in SAMPLES]
    once = pd.concat([stretch[names] for stretch in stretches], ignore_index=True)
    width_s = once["width_s"].to_numpy()
    times = math.ceil(minutes * 60 / float(width_s.sum()))
    end_s = np.cumsum(np.tile(width_s, times))
    bins = int(np.searchsorted(end_s, minutes * 60 + 1e-6, side="right"))
    month = once.take(np.arange(bins) % len(once)).reset_index(drop=True)
    month["time_s"] = end_s[:bins] - month["width_s"].to_numpy()
    return resident(month, scenario)


def carries_a_month(scenario: Scenario, trace: Trace | None, span_us: int) -> bool:
    """Whether a load may be repeated for a month unasked: a rate holds at any time, a trace of minutes is no day.

    Parameters
    ----------
    scenario : Scenario
    trace : Trace or None
        In place of the scenario's own load.
    span_us : int
        Length of the load [us].
    """
    return (trace is None and scenario.workload.rate_hz is not None) or span_us >= US_PER_DAY


def without_a_month(span_us: int) -> str:
    """That no month was simulated, in words.

    Examples
    --------
    >>> without_a_month(120_000_000)[:70]
    'no month is simulated: the load covers 120 s, and a month would repeat'
    """
    from capsim.base.amounts import span

    return (
        f"no month is simulated: the load covers {span(span_us / US_PER_S)}, and a month would repeat it "
        f"{MONTH_US / span_us:,.0f} times; --month (in Python month=True) does, a load of a day or more needs neither"
    )


def how(span_us: int) -> str:
    """How a load of this length becomes a month, in words.

    Parameters
    ----------
    span_us : int
        Length of the load [us].

    Examples
    --------
    >>> how(7 * 86_400_000_000)
    'the load covers 7 days; the month repeats it from the start with fresh draws, each day on its own weekday'
    """
    days = span_us / US_PER_DAY
    if days < 1:
        from capsim.base.amounts import span

        return (
            f"the load covers {span(span_us / US_PER_S)}; the month repeats it {MONTH_US / span_us:,.0f} times with "
            "fresh draws, so all but the first time is extrapolated"
        )
    told = f"{days:.3g}"
    weekday = (
        "each day on its own weekday"
        if days.is_integer() and days % WEEK_DAYS == 0
        else "whatever day of the week it began on"
    )
    return (
        f"the load covers {told} day{'s' * (told != '1')}; the month repeats it from the start with fresh draws, "
        + weekday
    )

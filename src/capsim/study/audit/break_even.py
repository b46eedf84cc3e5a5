"""What would have to be true for a claim to hold: something is varied until it does, by simulation of both sides.

The search goes from one end of the range to the other in steps of a factor, and then narrows the step in which the
claim begins to hold. Of a claim that holds, fails and holds again, the first time is found, if it spans a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from capsim.results.stress_test import CALM_S, RECOVERY_S, steady
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from capsim.study.audit.claims import ClaimSpec, NeedSpec
from capsim.study.audit.figures import BINS_S, MONTH_DAYS, Played, read
from capsim.study.audit.variants import Side, pair, scenario_of
from capsim.study.audit.verdict import Range, holds, measured

STEP = 4.0
PRECISION = 0.03  # relative
FINE_S, LONG_S = 10.0, 7_200.0  # bins, of loads up to that length; a minute beyond
MONTHLY = ("project_billed_mean", "project_billed_end", "usage", "total", "egress", "volume_full", "days_without_room")
SPECIAL = ("stall_s", "redis_away_s", "days", "buffer_cap_rows")  # of `vary`, beside the knobs


class Solved(NamedTuple):
    """The first size at which a claim holds, or None; and what was seen there or at the end of the range.

    The figure, processes ended by their memory, and items lost: without and with the change, NaN where not played.
    """

    size: float | None
    fails_at: float | None
    figure: tuple[float, float]
    deaths: tuple[float, float]
    lost: tuple[float, float]
    tries: int


class Loads(NamedTuple):
    """Rates of the load that is audited [1/s]."""

    mean_hz: float
    peak_hz: float
    factor: float

    def rate_hz(self, name: str) -> float:
        """Of a steady load, by its name."""
        return {"mean": self.mean_hz, "peak": self.peak_hz, "envelope": self.peak_hz * self.factor}[name]


def first(
    from_: float, to: float, true_at: Callable[[float], bool], *, whole: bool = False
) -> tuple[float | None, float | None]:
    """The first size from one end of a range to the other at which something is true, and the last at which it is not.

    Examples
    --------
    >>> size, fails_at = first(1.0, 1_000.0, lambda x: x >= 77.7)
    >>> fails_at < 77.7 <= size <= 77.7 * 1.03
    True
    >>> first(100.0, 1.0, lambda x: x <= 10, whole=True)[0], first(1.0, 9.0, lambda x: False)
    (10.0, (None, 9.0))
    """
    factor = STEP if to > from_ else 1 / STEP

    def rounded(size: float) -> float:
        return float(round(size)) if whole else size

    size, before = rounded(from_), None
    while not true_at(size):
        if size == rounded(to):
            return None, size
        before = size
        following = size * factor
        size = rounded(min(following, to) if factor > 1 else max(following, to))
    while before is not None and max(size, before) / min(size, before) > 1 + PRECISION:
        if whole and abs(size - before) <= 1:
            break
        middle = rounded(math.sqrt(size * before))
        if middle in (size, before):
            middle = (size + before) / 2 if not whole else before + math.copysign(1, size - before)
        if true_at(middle):
            size = middle
        else:
            before = middle
    return size, before


def solve(claim: ClaimSpec, need: NeedSpec, base: Scenario, loads: Loads, seed: int) -> Solved:
    """Search for what a claim needs, from one end of its range to the other.

    Parameters
    ----------
    claim, need
        From `capsim.study.audit.claims`.
    base : Scenario
        The server before the plan.
    loads : Loads
        Of the load that is audited.
    seed : int
        Address of the draws; both sides have the same.
    """
    measure = need.measure or claim.measure
    figure = need.figure or claim.figure
    changed = need.measure is not None
    claimed = Range(need.least, need.most) if changed else Range(claim.least, claim.most)
    if measure == "before" and not changed:
        claimed = Range(claim.least, None) if need.to > need.from_ else Range(None, claim.most)
    sides = pair(claim.change, claim.knobs)
    seen: dict[float, tuple[Seen, Seen]] = {}

    def true_at(size: float) -> bool:
        if size not in seen:
            first_, second = (
                _seen(_at(side, need, size, base, loads, seed, figure), figure) if wanted else UNSEEN
                for side, wanted in zip(sides, _wanted(measure), strict=True)
            )
            seen[size] = first_, second
        without, with_ = seen[size]
        return holds(measure, measured(measure, without.figure, with_.figure), claimed)

    size, fails_at = first(need.from_, need.to, true_at, whole=need.whole)
    end = size if size is not None else fails_at
    assert end is not None
    without, with_ = seen[end]
    figures, deaths, lost = zip(without, with_, strict=True)
    return Solved(size, fails_at, figures, deaths, lost, len(seen))


class Seen(NamedTuple):
    """What one side showed."""

    figure: float
    deaths: float
    lost: float


UNSEEN = Seen(math.nan, math.nan, math.nan)


def _seen(side: Played, figure: str) -> Seen:
    return Seen(*(read(side, name).expected for name in (figure, "deaths", "items_lost")))


def _wanted(measure: str) -> tuple[bool, bool]:
    """Which sides a measure looks at."""
    return measure not in ("after", "target", "exceeds"), measure != "before"


def _at(side: Side, need: NeedSpec, size: float, base: Scenario, loads: Loads, seed: int, figure: str) -> Played:
    """One side with what is varied at a size."""
    rate_hz, duration_s = loads.rate_hz(need.load), need.duration_s
    days = MONTH_DAYS
    scenario = scenario_of(side, base)
    if need.vary == "stall_s":
        duration_s = CALM_S + size + RECOVERY_S
    elif need.vary == "redis_away_s":
        duration_s = 2 * CALM_S + size
    elif need.vary == "days":
        days = size
    scenario = steady(scenario, rate_hz, duration_s)
    for knob, value in need.given.items():
        scenario = scenario.replace(knob, value)
    if need.vary == "stall_s":
        fault = {"kind": "stall", "from_s": CALM_S, "to_s": CALM_S + size}
        scenario = scenario.replace("database.faults", [fault])
    elif need.vary == "redis_away_s":
        fault = {"kind": "unreachable", "from_s": CALM_S, "to_s": CALM_S + size}
        scenario = scenario.replace("redis.faults", [fault])
    elif need.vary == "buffer_cap_rows":
        for stream in STREAMS:
            scenario = scenario.replace(f"server.writers.{stream}.buffer_cap_rows", int(size))
    elif need.vary != "days":
        scenario = scenario.replace(need.vary, int(size) if need.whole else size)
    bins_s = BINS_S if figure in MONTHLY else FINE_S if duration_s <= LONG_S else 60.0
    return Played(scenario, None, loads.peak_hz, seed, resolution_s=bins_s, days=days)

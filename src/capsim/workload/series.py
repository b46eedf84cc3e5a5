"""Numbers beside stamps: counts of requests, rates of them, or a counter's readings, each brought to counts in bins."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterable, Sequence
from itertools import pairwise

from capsim.base.errors import TraceError
from capsim.base.units import US_PER_DAY, US_PER_MS, US_PER_S
from capsim.workload.instants import iso
from capsim.workload.model import LARGEST_COUNT
from capsim.workload.source import Found, Source

Points = Sequence[tuple[int, float]]  # instant [us], value

NO_LOAD = "is a level, not a number of requests; export a counter of requests or their rate"
_PER_SECOND = re.compile(
    r"(?:^|[^a-z])(?:rps|qps|tps|hz)(?:$|[^a-z])|(?:/|(?:\b|_)per[ _-]?)s(?:ec(?:ond)?)?(?:\b|_)", re.IGNORECASE
)
_PER_MINUTE = re.compile(
    r"(?:^|[^a-z])(?:rpm|qpm)(?:$|[^a-z])|(?:/|(?:\b|_)per[ _-]?)m(?:in(?:ute)?)?(?:\b|_)", re.IGNORECASE
)
_NEAR = 0.02  # of one: what a rate times its step may be off a whole number


def unit_per_s(name: str) -> float | None:
    """By the name of a column of rates, how many a second its 1 is; None if the name has no such unit.

    Examples
    --------
    >>> unit_per_s("rps"), unit_per_s("requests_per_min"), unit_per_s("requests")
    (1.0, 0.016666666666666666, None)
    """
    if _PER_SECOND.search(name):
        return 1.0
    return 1 / 60 if _PER_MINUTE.search(name) else None


def only_rises(values: Iterable[float]) -> bool:
    """Whether whole numbers rise and never fall, as a counter's readings do.

    Examples
    --------
    >>> only_rises([1000, 1005, 1005]), only_rises([3, 2, 4]), only_rises([5, 5])
    (True, False, False)
    """
    steps = list(pairwise(values))
    whole = all(float(a).is_integer() and float(b).is_integer() for a, b in steps)
    return whole and all(b >= a for a, b in steps) and any(b > a for a, b in steps)


def whole_over(values: Iterable[float], step_s: float) -> bool:
    """Whether values are whole numbers of requests a step, each divided by the step: rates and nothing else.

    Examples
    --------
    >>> whole_over([0.25, 0.5], 60), whole_over([15, 30], 60), whole_over([0.2511], 60)
    (True, False, False)
    """
    parts = [value for value in values if value]
    if not parts or all(float(value).is_integer() for value in parts):
        return False
    return all(abs(value * step_s - round(value * step_s)) < _NEAR for value in parts)


def step_of(points: Points) -> int:
    """The smallest step between instants that follow each other [us]; 0 if there are none."""
    return min((b[0] - a[0] for a, b in pairwise(points)), default=0)


def from_counter(points: Points, step_us: int) -> list[tuple[int, float]]:
    """Requests between readings of a counter: each bin begins at the earlier one. What spans a hole is no bin's."""
    return [
        # A counter that falls back began anew: what it shows has come since.
        (before_us, value - before if value >= before else value)
        for (before_us, before), (at_us, value) in pairwise(points)
        if at_us - before_us == step_us
    ]


def from_rates(points: Points, step_us: int, per_s: float = 1.0) -> list[tuple[int, float]]:
    """Requests of the step that begins at each instant, from rates."""
    return [(at_us, value * per_s * step_us / US_PER_S) for at_us, value in points]


def into(source: Source, found: Found, points: Iterable[tuple[int, float]]) -> None:
    """Counts from parts of requests: rounded so that no sum is off by more than half a request.

    Raises
    ------
    TraceError
        Where a number is none, or more than any server gets in a day.
    """
    found.counts = array("q") if found.counts is None else found.counts
    exact, given = 0.0, 0
    for at_us, number in points:
        if not abs(number) <= LARGEST_COUNT:
            shown = f"{number:.6g}" if abs(number) < 1e300 else "nan" if number != number else "endless"
            raise source.refuse(f"{shown} requests at {iso(at_us)} are impossible; correct it or leave it out")
        exact += number
        whole = math.floor(exact + 0.5 + 1e-9) - given
        found.times_us.append(at_us // US_PER_MS * US_PER_MS)
        found.counts.append(whole)
        given += whole


def evenly(times_us: Sequence[int]) -> bool:
    """Whether instants are the edges of bins rather than moments at which something came.

    Examples
    --------
    >>> evenly([0, 60_000_000, 120_000_000]), evenly([0, 13_000_000, 14_000_000, 60_000_000])
    (True, False)
    """
    steps = [b - a for a, b in pairwise(sorted(set(times_us)))]
    if not steps or any(at % US_PER_S for at in times_us):
        return False
    step = min(steps)
    usual = sum(one == step for one in steps) * 5 >= len(steps) * 4
    return usual and (US_PER_DAY % step == 0 or step % US_PER_DAY == 0)


def forward(source: Source, number: int, instant: int, last_us: int) -> None:
    """Refuse an instant of a series that is not after the one before.

    Raises
    ------
    TraceError
        With the line, and what may be meant.
    """
    if instant > last_us:
        return
    what = "repeats" if instant == last_us else f"goes back (after {iso(last_us)})"
    remedy = "sort it by time and merge equal bins"
    if source.stamps.assumed_utc:
        remedy += " (or, if the clocks went back there, give their zone: --zone Europe/Rome)"
    raise source.refuse(f"time {iso(instant)} {what}; a count series must go forward: {remedy}", number)


def bad_count(source: Source, number: int, text: str, remedy: str) -> TraceError:
    """What to answer to a count that no server can have had."""
    return source.refuse(f"a count of {text[:40]} is impossible; {remedy}", number)

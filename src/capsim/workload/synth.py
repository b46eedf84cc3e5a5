"""Loads made up from documented parameters: counts per minute, seeded.

Each is a Poisson process whose rate follows a stated course; the course is all there is to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from capsim.base import rng
from capsim.base.errors import TraceError
from capsim.base.units import US_PER_MINUTE
from capsim.workload.instants import instant_us
from capsim.workload.model import Trace

Floats = NDArray[np.float64]

DAY_MINUTES = 1_440
MOST_DAYS = 3_660
_THURSDAY = 4  # 1970-01-01

# Mean rate in each UTC hour / overall mean, hours 0 to 23, from measured loads:
# game: plays of a casual mobile game, 498 days of 2015-16, players in one country (Kim et al., PLoS ONE 12(7)
#   e0180735, 2017); busiest/quietest hour 30, weekend/weekday 1.53.
# office: requests to a public web site, NASA-HTTP, 62 days of 1995 (Internet Traffic Archive); 4.0 and 0.57.
SHAPES: dict[str, tuple[float, ...]] = {
    "game": (
        *(0.78, 0.91, 1.09, 1.06, 1.19, 1.31, 1.41, 1.46, 1.57, 1.62, 1.84, 2.12),
        *(2.14, 1.68, 1.14, 0.65, 0.37, 0.19, 0.12, 0.09, 0.07, 0.09, 0.41, 0.67),
    ),
    "office": (
        *(0.92, 0.92, 0.93, 0.87, 0.76, 0.63, 0.54, 0.47, 0.41, 0.41, 0.45, 0.69),
        *(1.02, 1.22, 1.32, 1.44, 1.55, 1.55, 1.55, 1.63, 1.53, 1.26, 1.03, 0.93),
    ),
    "flat": (1.0,) * 24,
}


def diurnal(
    name: str = "diurnal",
    *,
    start: str = "2026-01-05",
    days: int = 1,
    mean_hz: float = 5.0,
    shape: str = "game",
    weekend: float = 1.0,
    seed: int = 0,
) -> Trace:
    """A load that follows the hours of the day and the days of the week.

    Parameters
    ----------
    start : str
        First instant, ISO 8601, UTC. 2026-01-05 is a Monday.
    days : int
        Length [d].
    mean_hz : float
        Expected mean rate over the whole trace [1/s].
    shape : {"game", "office", "flat"}
        Course over the day (`SHAPES`): its hourly means are kept, and joined by straight lines.
    weekend : float
        Rate on Saturdays and Sundays / rate on other days, UTC.
    seed : int
        Of the draws.

    Examples
    --------
    >>> trace = diurnal(days=1, mean_hz=2, seed=1)
    >>> abs(trace.total / 86_400 - 2) < 0.02
    True
    """
    start_us, course = _course(start, days, shape, weekend)
    return _drawn(name, start_us, course * mean_hz, seed)


def bursty(
    name: str = "bursty",
    *,
    start: str = "2026-01-05",
    days: int = 1,
    mean_hz: float = 5.0,
    factor: float = 10.0,
    calm_s: float = 3_600.0,
    burst_s: float = 120.0,
    seed: int = 0,
) -> Trace:
    """A Poisson process with two rates: calm and burst periods of exponential length alternate.

    Parameters
    ----------
    factor : float
        Rate in a burst / rate in a calm period.
    calm_s, burst_s : float
        Mean lengths of the periods [s]; a period may begin and end inside a minute.
    start, days, mean_hz, seed
        As for `diurnal`; ``mean_hz`` is the long-run mean.

    Examples
    --------
    >>> bool(bursty(seed=1).counts.max() > 3 * bursty(seed=1).counts.mean())
    True
    """
    _positive(factor=factor, calm_s=calm_s, burst_s=burst_s)
    start_us, course = _course(start, days, "flat", 1.0)
    draws = rng.generator(seed, 0, "synth/bursts")
    burst_share = np.zeros(course.size)
    at_s, end_s = 0.0, course.size * 60.0
    while at_s < end_s:
        at_s += calm_s * draws.standard_exponential()
        to_s = min(at_s + burst_s * draws.standard_exponential(), end_s)
        for minute in range(int(at_s // 60), math.ceil(to_s / 60)):
            burst_share[minute] += (min(to_s, 60 * minute + 60) - max(at_s, 60 * minute)) / 60
        at_s = to_s
    long_run = (calm_s + factor * burst_s) / (calm_s + burst_s)
    return _drawn(name, start_us, mean_hz / long_run * (1 + (factor - 1) * burst_share), seed)


def flash_crowd(
    name: str = "flash-crowd",
    *,
    start: str = "2026-01-05",
    days: int = 1,
    mean_hz: float = 5.0,
    shape: str = "office",
    peak: float = 20.0,
    at_h: float = 18.0,
    rise_min: float = 30.0,
    decay_min: float = 45.0,
    seed: int = 0,
) -> Trace:
    """An ordinary day with one event: the rate climbs in a straight line and falls off exponentially.

    Parameters
    ----------
    mean_hz : float
        Mean rate of the ordinary load, without the event [1/s].
    peak : float
        Rate at the peak / ordinary rate at that time. Measured events: 10 to 20 (World Cup 1998).
    at_h : float
        When the climb begins, since the start [h].
    rise_min, decay_min : float
        Length of the climb, and time constant of the decay [min].
    start, days, shape, seed
        As for `diurnal`.

    Examples
    --------
    >>> quiet, loud = diurnal(shape="office", seed=1), flash_crowd(seed=1)
    >>> 15 < float(loud.counts.max() / quiet.counts[18 * 60 + 30]) < 25
    True
    """
    _positive(peak=peak, rise_min=rise_min, decay_min=decay_min)
    start_us, course = _course(start, days, shape, 1.0)
    if not 0 <= at_h < 24 * days:
        raise TraceError(f"at_h={at_h:g} lies outside the {days} days; give 0 to {24 * days}")
    for minute in range(course.size):
        since_min = minute + 0.5 - at_h * 60
        if since_min > 0:
            height = min(1.0, since_min / rise_min)
            if since_min > rise_min:
                height = math.exp(-(since_min - rise_min) / decay_min)  # math, not numpy: the same on every processor
            course[minute] *= 1 + (peak - 1) * height
    return _drawn(name, start_us, course * mean_hz, seed)


KINDS: dict[str, Callable[..., Trace]] = {"diurnal": diurnal, "bursty": bursty, "flash-crowd": flash_crowd}


def _course(start: str, days: int, shape: str, weekend: float) -> tuple[int, Floats]:
    """Start of the trace [us], and the expected rate of each minute / overall mean."""
    if shape not in SHAPES:
        raise TraceError(f"shape {shape!r} is unknown; give one of {', '.join(SHAPES)}")
    if not 1 <= days <= MOST_DAYS:
        raise TraceError(f"days={days} is impossible; give 1 to {MOST_DAYS}")
    _positive(weekend=weekend)
    start_us = instant_us(start, 0)
    if start_us % US_PER_MINUTE:
        raise TraceError(f"start {start!r} is not a whole minute; leave out the seconds")
    minute = start_us // US_PER_MINUTE + np.arange(days * DAY_MINUTES)
    course = _minutes_of_day(SHAPES[shape])[minute % DAY_MINUTES]
    is_weekend = (minute // DAY_MINUTES + _THURSDAY) % 7 % 6 == 0
    course = np.where(is_weekend, course * weekend, course)
    return start_us, course / (math.fsum(course.tolist()) / course.size)


def _minutes_of_day(hours: tuple[float, ...]) -> Floats:
    """Rates of 1440 minutes, by straight lines between the middles of the hours, with the given hourly means."""
    target = np.array(hours)
    nodes = target.copy()
    # The mean over an hour is 6/8 of its node and 1/8 of each neighbour's; a few corrections undo the smoothing.
    for _ in range(40):
        nodes += target - (0.75 * nodes + 0.125 * (np.roll(nodes, 1) + np.roll(nodes, -1)))
    place = (np.arange(DAY_MINUTES) + 0.5) / 60 - 0.5
    low = np.floor(place).astype(np.int64)
    part = place - low
    return np.maximum(0.0, nodes[low % 24] * (1 - part) + nodes[(low + 1) % 24] * part)


def _drawn(name: str, start_us: int, rate_hz: Floats, seed: int) -> Trace:
    if not 0 < float(rate_hz.max()) <= 1e6:
        raise TraceError(f"{name}: a peak of {rate_hz.max():g} per second is impossible; give another mean_hz")
    days = rate_hz.reshape(-1, DAY_MINUTES)
    draws = (rng.generator(seed, 0, "synth", day).poisson(60 * rates) for day, rates in enumerate(days))
    counts = np.concatenate(list(draws))
    starts = start_us + np.arange(counts.size) * US_PER_MINUTE
    note = f"Made up by capsim trace synth, seed {seed}."
    return Trace.from_counts(name, starts, counts, US_PER_MINUTE, notes=(note,))


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < 1e9:
            raise TraceError(f"{name}={value:g} is impossible; give a number above 0")

"""How far a simulated figure may be trusted: intervals for means, differences, quantiles and rare events.

Every rule is published, and every one of them refuses an answer where it would be too narrow: `TooShort` names what is
missing. Coverage is counted on queues and writers whose means are known (`tests/base/test_coverage.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from capsim.base.errors import CapsimError

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
BATCHES = 30
TIMES = 50  # autocorrelation times that a run must last at least, or their own estimate means little
MSER_BATCH = 5  # observations averaged before the rule looks: the 5 of MSER-5


class Interval(NamedTuple):
    """A mean and half the width of its interval."""

    mean: float
    half_width: float

    def holds(self, value: float) -> bool:
        """Whether the interval covers a value."""
        return abs(value - self.mean) <= self.half_width


class Bounds(NamedTuple):
    """An interval that need not be symmetric."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether the interval covers a value."""
        return self.low <= value <= self.high


class TooShort(CapsimError):
    """A run, or a number of runs, that is too short to say how far its figure can be trusted."""


def t_quantile(degrees: int, confidence: float = CONFIDENCE) -> float:
    """Two-sided quantile of Student's t distribution.

    Parameters
    ----------
    degrees : int
        Degrees of freedom, 1 or more.
    confidence : float
        Probability between minus the quantile and plus the quantile.

    Returns
    -------
    float
        Exact to 1e-9 (bisection of the closed form for whole degrees of freedom).

    References
    ----------
    M. Abramowitz, I. A. Stegun, "Handbook of Mathematical Functions", 1964, 26.7.3 and 26.7.4.

    Examples
    --------
    >>> round(t_quantile(4), 3)
    2.776
    """
    low, high = 0.0, 1e6
    while high - low > 1e-10 * max(1.0, low):
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(middle, degrees) < confidence else (low, middle)
    return high


def _inside(t: float, degrees: int) -> float:
    """Probability that a t variable lies within plus or minus ``t``."""
    angle = math.atan(t / math.sqrt(degrees))
    cosine, odd = math.cos(angle), degrees % 2
    term = cosine if odd else 1.0
    total = term if degrees > 1 else 0.0
    for n in range(3 + odd, degrees + 1, 2):
        term *= cosine**2 * (n - 2) / (n - 1)
        total += term
    series = math.sin(angle) * total
    return 2 / math.pi * (angle + series) if odd else series


def interval(means: ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """Student's interval from independent values, about normal.

    Raises
    ------
    TooShort
        With fewer than two values.

    Examples
    --------
    >>> interval([1.0, 2.0, 3.0]).mean
    2.0
    """
    values = np.asarray(means, np.float64)
    if len(values) < 2:
        raise TooShort(f"{len(values)} replicates give no interval; make two or more")
    width = t_quantile(len(values) - 1, confidence) * values.std(ddof=1) / math.sqrt(len(values))
    return Interval(float(values.mean()), float(width))


def paired(first: ArrayLike, second: ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """Interval of the mean difference, second less first, of two scenarios over the same replicates.

    With common random numbers most of what varies from replicate to replicate is common to both and cancels, so the
    interval is narrower than that of two separate means.

    Examples
    --------
    >>> paired([10.0, 20.0, 30.0], [11.0, 21.0, 31.0])
    Interval(mean=1.0, half_width=0.0)
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != other.shape:
        raise CapsimError(f"{len(one)} and {len(other)} replicates cannot be paired; run both with the same number")
    return interval(other - one, confidence)


def batch_interval(values: Floats, batches: int = BATCHES) -> Interval:
    """95 % interval of the mean of one long run, from the means of equal batches.

    Parameters
    ----------
    values : array, shape (n,)
        Successive observations without the warm-up.
    batches : int
        Into how many batches they are cut.

    Raises
    ------
    TooShort
        If there are fewer than two observations to a batch; if the means of neighbouring batches are alike (lag-1
        autocorrelation above what chance allows in one case of twenty); or if the run lasts fewer than `TIMES`
        autocorrelation times: the batches are then shorter than the memory of the system, and the interval would be
        too narrow.

    Examples
    --------
    >>> batch_interval(np.arange(100.0))
    Traceback (most recent call last):
    capsim.base.intervals.TooShort: the means of neighbouring batches are correlated (0.90); make the run longer
    """
    size = len(values) // batches
    if size < 2:
        raise TooShort(f"{len(values)} observations are too few for {batches} batches; make the run longer")
    means = values[: size * batches].reshape(batches, size).mean(axis=1)
    apart = means - means.mean()
    correlation = float((apart[1:] * apart[:-1]).sum() / (apart**2).sum()) if apart.any() else 0.0
    if correlation > 1.645 / math.sqrt(batches):
        raise TooShort(f"the means of neighbouring batches are correlated ({correlation:.2f}); make the run longer")
    memory = autocorrelation_time(values)
    if len(values) < TIMES * memory:
        raise TooShort(
            f"{len(values):,} observations, each of which is felt in the next {memory:,.0f}, are too few; make "
            f"{math.ceil(TIMES * memory):,} or more"
        )
    return interval(means)


def autocorrelation_time(values: ArrayLike) -> float:
    """Observations of a series that are worth one independent one: 1 + 2 x the sum of its autocorrelations.

    The sum is broken off at the first lag that is 5 such times long, so it is too low for short runs.

    References
    ----------
    A. D. Sokal, "Monte Carlo methods in statistical mechanics", 1996, section 3; the rule of 50 such times is that of
    D. Foreman-Mackey et al., "emcee: the MCMC hammer", PASP 125, 2013.

    Examples
    --------
    >>> noise = np.random.default_rng(1).standard_normal(10_000)
    >>> round(autocorrelation_time(noise)), round(autocorrelation_time(np.convolve(noise, np.ones(10))))
    (1, 9)
    """
    seen = np.asarray(values, np.float64)
    apart = seen - seen.mean()
    if not apart.any():
        return 1.0
    size = 1 << (2 * len(apart) - 1).bit_length()
    spectrum = np.fft.rfft(apart, size)
    correlation = np.fft.irfft(spectrum * np.conj(spectrum), size)[: len(apart)]
    times = 2 * np.cumsum(correlation / correlation[0]) - 1
    enough = np.flatnonzero(np.arange(len(times)) >= 5 * times)
    return float(max(times[enough[0] if len(enough) else -1], 1.0))


def warm_up(values: ArrayLike) -> int:
    """How many observations at the start of a run to leave out, by the rule MSER-5.

    The cut is where the estimated error of the mean of what remains is least, looked for in the first half.

    Raises
    ------
    TooShort
        With fewer than 20 observations, or if the least error is at the middle of the run: then it may never have
        settled.

    References
    ----------
    K. P. White, M. J. Cobb, S. C. Spratt, "A comparison of five steady-state truncation heuristics for simulation",
    Proceedings of the 2000 Winter Simulation Conference.

    Examples
    --------
    >>> noise = np.random.default_rng(1).standard_normal(1_000)
    >>> warm_up(np.concatenate([np.linspace(50.0, 0.0, 100), np.zeros(900)]) + noise)
    95
    """
    seen = np.asarray(values, np.float64)
    count = len(seen) // MSER_BATCH
    if count < 4:
        raise TooShort(f"{len(seen)} observations are too few to find the end of the warm-up; make the run longer")
    means = seen[: count * MSER_BATCH].reshape(count, MSER_BATCH).mean(axis=1)
    means = means - means.mean()  # the squares below are differences of sums
    left = np.arange(count, 0, -1)
    total, squares = np.cumsum(means[::-1])[::-1], np.cumsum(means[::-1] ** 2)[::-1]
    error = np.maximum(squares - total**2 / left, 0) / left**2
    half = count // 2
    cut = int(np.argmin(error[: half + 1]))
    if cut == half:
        raise TooShort("the run has not settled by its middle (MSER-5); make the run longer")
    return cut * MSER_BATCH


def steady_interval(values: ArrayLike, batches: int = BATCHES) -> Interval:
    """95 % interval of the long-run mean from one run: warm-up left out by MSER-5, then batch means.

    Raises
    ------
    TooShort
        As `warm_up` and `batch_interval` do.

    Examples
    --------
    >>> steady_interval(np.random.default_rng(2).standard_normal(6_000)).holds(0.0)
    True
    """
    seen = np.asarray(values, np.float64)
    return batch_interval(seen[warm_up(seen) :], batches)


def quantile_interval(values: ArrayLike, share: float, confidence: float = CONFIDENCE) -> Bounds:
    """Interval of a quantile from independent values, whatever their distribution: two of the values themselves.

    For peaks, of which a mean says little: the peak of a run that nine runs of ten stay below is ``share`` 0.9.

    Parameters
    ----------
    values : array
        One figure of each replicate.
    share : float
        Which quantile, in (0, 1).
    confidence : float
        The least probability that the interval covers it; chance is divided evenly between both ends.

    Raises
    ------
    TooShort
        With too few values; the message says how many it takes.

    References
    ----------
    H. A. David, H. N. Nagaraja, "Order Statistics", 3rd edition, 2003, section 7.1.

    Examples
    --------
    >>> quantile_interval(range(100), 0.5)
    Bounds(low=39.0, high=60.0)
    """
    seen = np.sort(np.asarray(values, np.float64))
    tail = (1 - confidence) / 2
    n = len(seen)
    needed = math.ceil(math.log(tail) / math.log(max(share, 1 - share)))
    if n < needed:
        raise TooShort(f"{n} replicates cannot bracket the quantile {share:g}; make {needed} or more")
    below = np.cumsum([_binomial(n, k, share) for k in range(n + 1)])  # P(at most k values below the quantile)
    low = int(np.searchsorted(below, tail, side="right")) - 1
    high = int(np.searchsorted(below, 1 - tail, side="left"))
    return Bounds(float(seen[low]), float(seen[high]))


def _binomial(n: int, k: int, share: float) -> float:
    log = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(log + k * math.log(share) + (n - k) * math.log1p(-share))


def rare(events: int, runs: int, confidence: float = CONFIDENCE) -> Bounds:
    """What runs say about the probability of an event that few of them, or none, have shown.

    Without an event only an upper bound can be stated, one-sided: 1 - 0.05^(1/n), a little below 3/n. With events it
    is the exact interval of C. J. Clopper and E. S. Pearson (Biometrika 26, 1934).

    Parameters
    ----------
    events, runs : int
        How many of how many independent runs had it.

    Examples
    --------
    >>> none = rare(0, 1_000)
    >>> none.low, round(none.high, 6)
    (0.0, 0.002991)
    >>> [round(bound, 4) for bound in rare(2, 100)]
    [0.0024, 0.0704]
    """
    if not 0 <= events <= runs or runs < 1:
        raise CapsimError(f"{events} events in {runs} runs: give at least one run, and no more events than runs")
    tail = (1 - confidence) if events in (0, runs) else (1 - confidence) / 2
    # P(at least `events`) rises with the probability, P(at most `events`) falls.
    low = _solve(lambda p: 1 - _at_most(events - 1, runs, p), tail) if events else 0.0
    high = _solve(lambda p: 1 - _at_most(events, runs, p), 1 - tail) if events < runs else 1.0
    return Bounds(low, high)


def _at_most(k: int, n: int, p: float) -> float:
    return math.fsum(_binomial(n, i, p) for i in range(k + 1)) if 0 < p < 1 else float(p == 0)


def _solve(rising: Callable[[float], float], target: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < target else (low, middle)
    return high


class Target(NamedTuple):
    """How narrow an interval has to be: half its width, in the figure's unit or as a share of the mean."""

    figure: str
    half_width: float
    relative: bool = False

    def met(self, values: ArrayLike) -> bool:
        """Whether the interval of these replicates is as narrow as that."""
        found = interval(values)
        return found.half_width <= self.half_width * (abs(found.mean) if self.relative else 1.0)

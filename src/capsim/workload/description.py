"""The figures of a recorded load, over the time that has data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from capsim.base import rng
from capsim.base.units import US_PER_DAY, US_PER_HOUR, US_PER_MINUTE, US_PER_S
from capsim.workload.dispersion import fit_dispersion, minutes_in, split_counts
from capsim.workload.instants import iso
from capsim.workload.model import Ints, Trace

if TYPE_CHECKING:
    import pandas as pd

_LABELS = {US_PER_S: "1s", US_PER_MINUTE: "1min", US_PER_HOUR: "1h", US_PER_DAY: "1d"}
_THURSDAY = 4  # 1970-01-01; days since then count from here, Monday = 1


@dataclass(frozen=True)
class Binned:
    """Requests per bin of one width, epoch-aligned; only the bins that lie wholly in time with data.

    Attributes
    ----------
    start_us, counts : int64[n]
        Bins with requests (and, for a trace of counts, those recorded as zero).
    empty : int
        Further bins, with data and without requests.
    """

    width_us: int
    start_us: Ints
    counts: Ints
    empty: int

    @property
    def bins(self) -> int:
        """Bins in all."""
        return int(self.counts.size) + self.empty

    @property
    def mean(self) -> float:
        """Mean requests per bin."""
        return float(self.counts.sum()) / self.bins

    @property
    def dispersion(self) -> float:
        """Variance / mean of the counts (1 for a Poisson process)."""
        spread = math.fsum(((self.counts - self.mean) ** 2).tolist()) + self.empty * self.mean**2
        return spread / self.bins / self.mean

    def percentile(self, percent: float) -> float:
        """Requests per bin that this share of the bins does not exceed (linear between bins)."""
        ordered = np.sort(self.counts)
        place = percent / 100 * (self.bins - 1) - self.empty
        low, high = (int(ordered[i]) if i >= 0 else 0 for i in (math.floor(place), math.ceil(place)))
        return low + (high - low) * (place - math.floor(place))


def binned(trace: Trace, width_us: int) -> Binned | None:
    """The trace in bins of ``width_us`` [us], or None where its resolution does not allow them, or none is whole.

    Examples
    --------
    >>> trace = Trace.from_times("x", [0, 1_000_000, 1_500_000, 3_000_000], 500_000)
    >>> binned(trace, 1_000_000).counts.tolist(), binned(trace, 1_000_000).empty
    ([1, 2], 1)
    """
    at = trace.bin_start_us if trace.kind == "counts" else trace.times_us
    if width_us < (trace.width_us or trace.resolution_us) or (trace.width_us and width_us % trace.width_us):
        return None
    if width_us == trace.width_us:
        return Binned(width_us, trace.bin_start_us, trace.counts, 0)
    place = at // width_us
    first = np.flatnonzero(np.diff(place, prepend=place[0] - 1))
    occupied = place[first]
    if trace.kind == "counts":
        sums = np.add.reduceat(trace.counts, first)
        whole = np.diff(first, append=at.size) * trace.width_us >= width_us
        empty = 0
    else:
        sums = np.diff(first, append=at.size)
        low, high = -(-trace.start_us // width_us), trace.end_us // width_us
        whole = (occupied >= low) & (occupied < high)
        empty = max(0, high - low) - int(whole.sum())
    if not whole.any():
        return None
    return Binned(width_us, occupied[whole] * width_us, sums[whole], empty)


def describe(trace: Trace, seed: int = 0) -> pd.DataFrame:
    """Span, rates, peaks, dispersion, daily shape and gaps of a trace.

    Means are over the time that has data; stretches without data are counted in the rows on gaps and in nothing else.
    Hours and weekdays are UTC. Bins of 1 s, 1 min and 1 h begin at whole multiples of their width, and only those
    that lie wholly in time with data are used.

    Parameters
    ----------
    trace : Trace
        The load.
    seed : int
        For the rows marked *assumed*: with bins wider than a minute, peaks inside them are drawn, once as a Poisson
        process and once as the modulated process of `capsim.workload.dispersion`.

    Returns
    -------
    DataFrame
        Columns metric, value, unit. A figure that the trace does not allow has no row.

    Examples
    --------
    >>> table = describe(Trace.from_counts("x", [0, 60_000_000], [60, 180], 60_000_000))
    >>> table.set_index("metric").value["mean_hz"]
    2.0
    """
    import pandas as pd

    rows: list[tuple[str, object, str]] = [
        ("kind", trace.kind, ""),
        ("start", iso(trace.start_us), "UTC"),
        ("end", iso(trace.end_us), "UTC"),
        ("span_s", trace.span_us / US_PER_S, "s"),
        ("covered_s", trace.covered_us / US_PER_S, "s"),
        ("resolution_s", (trace.width_us or trace.resolution_us) / US_PER_S, "s"),
        ("requests", trace.total, "requests"),
        ("mean_hz", _mean_hz(trace), "1/s"),
    ]
    native = {trace.width_us} if trace.width_us else set()
    for width_us in sorted({US_PER_S, US_PER_MINUTE, US_PER_HOUR} | native):
        bins = binned(trace, width_us)
        if bins is not None and bins.bins > 1 and bins.mean > 0:
            rows += _scale_rows(bins)
    if trace.width_us > US_PER_MINUTE:
        rows += _assumed_rows(trace, seed)
    rows += _shape_rows(trace)
    lengths_s = [(to - from_) / US_PER_S for from_, to in trace.gaps]
    rows += [
        ("gaps", len(lengths_s), ""),
        ("gaps_total_s", sum(lengths_s), "s"),
        ("gaps_longest_s", max(lengths_s, default=0.0), "s"),
        ("out_of_order_lines", trace.out_of_order, "lines"),
        ("broken_lines", trace.broken_lines, "lines"),
    ]
    return pd.DataFrame(rows, columns=["metric", "value", "unit"])


def _mean_hz(trace: Trace) -> float:
    return trace.total / (trace.covered_us / US_PER_S)


def _scale_rows(bins: Binned) -> list[tuple[str, object, str]]:
    label = _LABELS.get(bins.width_us, f"{bins.width_us / US_PER_S:g}s")
    top = int(np.argmax(bins.counts))
    peak, width_s = int(bins.counts[top]), bins.width_us / US_PER_S
    return [
        (f"peak_{label}_requests", peak, f"requests in {label}"),
        (f"peak_{label}_hz", peak / width_s, "1/s"),
        (f"peak_{label}_at", iso(int(bins.start_us[top])), "UTC"),
        (f"peak_to_mean_{label}", peak / bins.mean, "ratio"),
        (f"p50_{label}_requests", bins.percentile(50), f"requests in {label}"),
        (f"p99_{label}_requests", bins.percentile(99), f"requests in {label}"),
        (f"dispersion_{label}", bins.dispersion, "variance/mean"),
    ]


def _assumed_rows(trace: Trace, seed: int) -> list[tuple[str, object, str]]:
    fit = fit_dispersion(trace)
    cells = minutes_in(trace.width_us)
    cell_s = trace.width_us / cells / US_PER_S
    rows: list[tuple[str, object, str]] = [
        ("dispersion_beta", fit.beta, ""),
        ("minute_cv2", fit.minute_cv2, "squared CV, assumed"),
    ]
    for process, cv2 in (("poisson", 0.0), ("modulated", fit.minute_cv2)):
        drawn = split_counts(trace.counts, cells, cv2, rng.generator(seed, 0, "describe")).ravel()
        bins = Binned(trace.width_us // cells, drawn, drawn, 0)
        rows += [
            (f"peak_1min_{process}_hz", int(drawn.max()) / cell_s, "1/s, assumed"),
            (f"dispersion_1min_{process}", bins.dispersion if trace.total else 0.0, "variance/mean, assumed"),
        ]
    return rows


def _shape_rows(trace: Trace) -> list[tuple[str, object, str]]:
    """Hours of the day and weekends, where the bins are short enough and the trace long enough to tell."""
    if trace.width_us > US_PER_HOUR:
        return []
    at = trace.bin_start_us if trace.kind == "counts" else trace.times_us
    weights = trace.counts if trace.kind == "counts" else np.ones(at.size, np.int64)
    hour_us = _covered_by_hour(trace)
    hour = hour_us[:, 0] // US_PER_HOUR
    requests = np.bincount(at // US_PER_HOUR - hour[0], weights, hour.size)
    rows: list[tuple[str, object, str]] = []
    of_day = hour % 24
    covered = np.bincount(of_day, hour_us[:, 1], 24)
    if (covered >= US_PER_HOUR).all() and trace.total:
        rates = np.bincount(of_day, requests, 24) / covered * US_PER_S
        busy, quiet = int(np.argmax(rates)), int(np.argmin(rates))
        rows += [
            ("busiest_hour", busy, "h UTC"),
            ("busiest_hour_to_mean", float(rates[busy]) / _mean_hz(trace), "ratio"),
            ("quietest_hour", quiet, "h UTC"),
        ]
        if rates[quiet] > 0:
            rows.append(("busiest_to_quietest_hour", float(rates[busy] / rates[quiet]), "ratio"))
    weekend = (hour // 24 + _THURSDAY) % 7 % 6 == 0
    days = [hour_us[weekend == is_weekend, 1].sum() for is_weekend in (True, False)]
    if min(days) >= US_PER_DAY and requests[~weekend].sum() > 0:
        ratio = requests[weekend].sum() / days[0] / (requests[~weekend].sum() / days[1])
        rows.append(("weekend_to_weekday", float(ratio), "ratio"))
    return rows


def _covered_by_hour(trace: Trace) -> Ints:
    """Columns: start of each UTC hour that the span touches, and how much of it has data [us]."""
    if trace.kind == "counts":  # a bin belongs to the hour in which it starts, as its requests do
        first = trace.bin_start_us[0] // US_PER_HOUR
        place = trace.bin_start_us // US_PER_HOUR - first
        covered = np.bincount(place).astype(np.int64) * trace.width_us
        starts = (np.arange(covered.size) + first) * US_PER_HOUR
    else:
        starts = np.arange(trace.start_us // US_PER_HOUR, -(-trace.end_us // US_PER_HOUR)) * US_PER_HOUR
        covered = np.minimum(starts + US_PER_HOUR, trace.end_us) - np.maximum(starts, trace.start_us)
    return np.stack([starts, covered], axis=1)

"""The same load thinner, denser, or in wider bins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from capsim.base import rng
from capsim.base.errors import TraceError
from capsim.base.units import US_PER_MINUTE, US_PER_S
from capsim.workload.description import binned
from capsim.workload.model import Ints, Trace


def scaled_counts(counts: Ints, factor: float, draws: np.random.Generator) -> Ints:
    """Counts multiplied by ``factor``: whole copies, plus a copy thinned request by request.

    Examples
    --------
    >>> scaled_counts(np.array([3, 0]), 2, np.random.Generator(np.random.Philox(1))).tolist()
    [6, 0]
    """
    copies, share = divmod(factor, 1.0)
    scaled = counts * int(copies)
    return scaled + draws.binomial(counts, share) if share else scaled


def scaled_times(times_us: Ints, factor: float, cell_us: int, end_us: int, draws: np.random.Generator) -> Ints:
    """Instants multiplied by ``factor``: the first copy as it is, further ones moved within their cell.

    Copies at the very same instants would be bursts that nobody saw. Each further one moves to a uniform place in the
    cell of ``cell_us`` (counted from 0) that it lies in, so the load per cell keeps its shape. Below 1 each request
    stays with probability ``factor``.

    Parameters
    ----------
    times_us : int64[n]
        Instants since the start of the load [us].
    cell_us, end_us : int
        Length of a cell, and the end of the load, which nothing passes [us].

    Returns
    -------
    int64[m]
        Not sorted.

    Examples
    --------
    >>> scaled_times(np.array([5, 70]), 2, 60, 100, np.random.Generator(np.random.Philox(1)))[:2].tolist()
    [5, 70]
    """
    copies, share = divmod(factor, 1.0)
    kept = times_us[draws.random(times_us.size) < share] if share else times_us[:0]
    if copies < 1:
        return kept
    moved = np.concatenate([*[times_us] * (int(copies) - 1), kept])
    cell = moved // cell_us * cell_us
    return np.concatenate([times_us, cell + draws.integers(0, np.minimum(cell_us, end_us - cell))])


def jitter_cell_us(trace: Trace) -> int:
    """The cell within which copies of an event move: a minute, or the stamps' resolution if longer [us]."""
    return max(US_PER_MINUTE, trace.resolution_us)


def scaled(trace: Trace, factor: float, seed: int = 0) -> Trace:
    """The trace at ``factor`` times its load, by a seeded rule.

    Examples
    --------
    >>> scaled(Trace.from_counts("x", [0], [1000], 60_000_000), 3).total
    3000
    """
    if not 0 < factor <= 1e6:
        raise TraceError(f"{trace.name}: a scale of {factor:g} is impossible; give more than 0 and at most 1e6")
    draws = rng.generator(seed, 0, "trace/scale")
    notes = (*trace.notes, f"Scaled by {factor:g} with seed {seed}.")
    if trace.kind == "counts":
        return replace(trace, counts=scaled_counts(trace.counts, factor, draws), notes=notes)
    times = scaled_times(trace.times_us - trace.start_us, factor, jitter_cell_us(trace), trace.span_us, draws)
    if not times.size:
        raise TraceError(f"{trace.name}: a scale of {factor:g} leaves no request; give a larger one")
    times = np.sort(times) // trace.resolution_us * trace.resolution_us + trace.start_us
    return replace(trace, times_us=times, kinds=None, notes=notes)


def rebin(trace: Trace, width_us: int) -> Trace:
    """The trace as counts in bins of ``width_us``, which begin at whole multiples of it since 1970.

    Bins that lie only partly in time with data are left out of a trace of counts (half a bin is not a bin), with a
    note; the first and last bin of a trace of events stay, so that its total is kept.

    Examples
    --------
    >>> rebin(Trace.from_counts("x", [0, 60_000_000], [1, 2], 60_000_000), 120_000_000).counts.tolist()
    [3]
    """
    if trace.kind == "events":
        if width_us < trace.resolution_us:
            raise _too_narrow(trace, width_us, trace.resolution_us)
        first = trace.start_us // width_us
        bins = (trace.end_us - 1) // width_us - first + 1
        if bins > 50_000_000:
            raise TraceError(f"{trace.name}: {bins} bins are too many; give wider bins, or a window")
        counts = np.bincount(trace.times_us // width_us - first, minlength=bins)
        starts = (np.arange(bins) + first) * width_us
        left_out = 0
    else:
        whole = binned(trace, width_us)
        if whole is None:
            raise _too_narrow(trace, width_us, trace.width_us)
        counts, starts = whole.counts, whole.start_us
        left_out = trace.total - int(counts.sum())
    note = f"Counted in bins of {width_us / US_PER_S:g} s."
    if left_out:
        note += f" {left_out} requests in bins that lie partly in time without data were left out."
    return Trace.from_counts(
        trace.name,
        starts,
        counts,
        width_us,
        source=trace.source,
        sha256=trace.sha256,
        broken_lines=trace.broken_lines,
        notes=(*trace.notes, note),
    )


def _too_narrow(trace: Trace, width_us: int, own_us: int) -> TraceError:
    return TraceError(
        f"{trace.name}: cannot be counted in bins of {width_us / US_PER_S:g} s; "
        f"give a whole multiple of its own {own_us / US_PER_S:g} s, no longer than the trace"
    )

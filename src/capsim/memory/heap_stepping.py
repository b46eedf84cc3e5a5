"""Stretches of a run in which the heap is followed collection by collection.

Over calm hours the closed saw-tooth (`sawtooth`) says as much as the heap that is stepped through its collections
(`heap`), at a hundredth of the time. It does not where live bytes move (a stall and what comes after it), where they
are many, and near a limit: there the run's heap is the stepped one, the same that recordings are compared with, and it
says whether and how the process ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capsim.memory.heap import Ending, Heap, Process, Resumed, Stretch, advance

Floats = NDArray[np.float64]

MOVES_MIB = 4.0  # rows that move by so much within a bin
LARGE_MIB = 24.0  # live bytes, the program's own included: three times what was measured as a small live set
NEAR = 0.35  # of the heap's limit, or 0.8 of the container's
NEAR_CONTAINER = 0.8
AFTER_BINS = 15  # so long the stepped heap may take to come back to the closed one
BACK = 0.03  # of resident memory: it is back
STEADY_BINS = 8  # of one kind in a row, until those that follow are taken to be like them
_RATE_STEP, _LIVE_STEP_MIB = 0.12, 4.0  # what counts as one kind of bin


@dataclass(frozen=True)
class End:
    """When a process ends by its memory [s since the start of the load], and how."""

    at_s: float
    kind: Ending


@dataclass(frozen=True)
class Bins:
    """What the closed model knows, bin by bin: times [s], requests, rows held and memory [MiB], collections.

    ``lasting_mib`` is the largest live set of the bin without results of reads.
    """

    time_s: Floats
    width_s: Floats
    requests: Floats
    start_mib: Floats
    max_mib: Floats
    lasting_mib: Floats
    end_mib: Floats
    committed_mib: Floats
    new_mib: Floats
    collections: Floats
    rss_mib: Floats


@dataclass(frozen=True)
class Followed:
    """Memory of the bins that were followed [MiB], NaN in the others, and the end, if there is one."""

    heap_mib: Floats
    rss_mib: Floats
    peak_mib: Floats
    end: End | None


def follow(bins: Bins, process: Process) -> Followed:
    """Step through the bins where it matters.

    Parameters
    ----------
    bins : Bins
        Of one process, from its start on.
    process : Process

    Returns
    -------
    Followed
        A steady stretch is stepped through for 8 bins of one kind (rate within 12 %, live bytes within 4 MiB); later
        ones of that kind are like the mean of their second half. So a month costs little more than its moving hours.
    """
    heap_mib, rss, peak = (np.full(len(bins.time_s), np.nan) for _ in range(3))
    matters = _matters(bins, process)
    known: dict[tuple[int, int], Stretch] = {}
    i, count = 0, len(matters)
    while i < count:
        if not matters[i]:
            i += 1
            continue
        heap, kinds = _resume(bins, process, i), _Kinds(known)
        quiet = 0
        while i < count and quiet < AFTER_BINS:
            stretch = kinds.like(bins, i)
            if stretch is None:
                stretch = _step(heap, bins, i)
                kinds.learn(bins, i, stretch)
            else:
                _skip(heap, bins, i)
            heap_mib[i], rss[i], peak[i] = _means(stretch)
            if heap.ended is not None:
                return Followed(heap_mib, rss, peak, End(heap.t, heap.ended))
            back = abs(rss[i] / bins.rss_mib[i] - 1) < BACK
            quiet = 0 if matters[i] else AFTER_BINS if back else quiet + 1
            i += 1
    return Followed(heap_mib, rss, peak, None)


def _matters(bins: Bins, process: Process) -> NDArray[np.bool_]:
    # A result is in the heap for milliseconds: it makes a peak, and few collections see it. It decides near a limit.
    moves = bins.lasting_mib - np.minimum(bins.start_mib, bins.end_mib) > MOVES_MIB
    live = process.live_mib + bins.max_mib
    near = (process.live_mib + bins.lasting_mib > LARGE_MIB) | (live > NEAR * process.cap_mib)
    full: NDArray[np.bool_] = bins.rss_mib - process.file_mib > NEAR_CONTAINER * process.container_mib
    return moves | near | full


def _resume(bins: Bins, process: Process, i: int) -> Heap:
    if i == 0:
        heap = Heap(process, 7)
        heap.t = float(bins.time_s[0])
        heap.retained = float(bins.start_mib[0])
        return heap
    growth = float(bins.requests[i] / bins.width_s[i]) * process.promoted_kib / 1024
    at = Resumed(
        t_s=float(bins.time_s[i]),
        semi_mib=float(bins.new_mib[i - 1]) / 2,
        retained_mib=float(bins.start_mib[i]),
        committed_mib=float(bins.committed_mib[i - 1]),
        collections=int(bins.collections[:i].sum()),
        growth_mib_s=growth,
    )
    return Heap.resumed(process, at)


def _step(heap: Heap, bins: Bins, i: int) -> Stretch:
    """Through one bin: up to its largest live set and down again, where that lies inside."""
    heap.stretch = Stretch()
    start, top, end = float(bins.start_mib[i]), float(bins.max_mib[i]), float(bins.end_mib[i])
    path = [start, top, end] if top > max(start, end) + 1.0 else [start, end]
    width, requests = float(bins.width_s[i]), float(bins.requests[i])
    parts = len(path) - 1
    for part in range(parts):
        to_s = float(bins.time_s[i]) + width * (part + 1) / parts
        advance(heap, to_s, requests / parts, path[part], path[part + 1])
        if heap.ended is not None:
            break
    return heap.stretch


def _skip(heap: Heap, bins: Bins, i: int) -> None:
    """Time passes, and the heap is as it was."""
    width = float(bins.width_s[i])
    heap.t += width
    heap.marked_at += width
    heap.reduce_at += width


def _means(stretch: Stretch) -> tuple[float, float, float]:
    seconds = stretch.seconds or math.nan
    return stretch.heap_mib_s / seconds, stretch.rss_mib_s / seconds, stretch.peak_mib


class _Kinds:
    """Steady bins of one kind, seen so often in a row that the next are taken to be like them."""

    def __init__(self, known: dict[tuple[int, int], Stretch]) -> None:
        self._known = known
        self._kind: tuple[int, int] | None = None
        self._row: list[Stretch] = []

    @staticmethod
    def _of(bins: Bins, i: int) -> tuple[int, int] | None:
        if abs(bins.end_mib[i] - bins.start_mib[i]) > 1.0 or bins.max_mib[i] > bins.end_mib[i] + MOVES_MIB:
            return None
        rate = bins.requests[i] / bins.width_s[i]
        return round(math.log(max(rate, 0.01)) / _RATE_STEP), round(float(bins.start_mib[i]) / _LIVE_STEP_MIB)

    def like(self, bins: Bins, i: int) -> Stretch | None:
        kind = self._of(bins, i)
        return None if kind is None or kind != self._kind else self._known.get(kind)

    def learn(self, bins: Bins, i: int, stretch: Stretch) -> None:
        kind = self._of(bins, i)
        if kind != self._kind:
            self._kind, self._row = kind, []
        if kind is None:
            return
        self._row.append(stretch)
        if len(self._row) >= STEADY_BINS:
            late = self._row[-STEADY_BINS // 2 :]
            self._known[kind] = Stretch(
                sum(s.seconds for s in late),
                sum(s.heap_mib_s for s in late),
                sum(s.rss_mib_s for s in late),
                max(s.peak_mib for s in late),
            )

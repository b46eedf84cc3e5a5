"""How long requests took, and how close the loop came to its limit; computed from what the loop has done.

Response times are counted in bins of equal relative width, so a year of them needs no more room than a day.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from capsim.base.units import US_PER_MS
from capsim.engine.jobs import CLASSES, JOB, Served
from capsim.engine.kernels import Kernel

if TYPE_CHECKING:
    import pandas as pd

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Small = NDArray[np.integer]

RELATIVE_ERROR = 1 / 128  # of a percentile; mean and maximum are exact
QUANTILES = {"p50_ms": 0.50, "p95_ms": 0.95, "p99_ms": 0.99}

_STEPS = 64  # bins from one power of two to the next
_BINS = _STEPS * 58


def bin_of(values_us: Ints) -> Ints:
    """The bin of each time: exact below 128 us, then 64 bins from one power of two to the next.

    Examples
    --------
    >>> bin_of(np.array([0, 127, 128, 129, 130])).tolist()
    [0, 127, 128, 128, 129]
    """
    exponent = np.frexp(values_us.astype(np.float64))[1].astype(np.int64)
    shift = np.maximum(exponent - 7, 0)
    found: Ints = _STEPS * shift + (values_us >> shift)
    return found


def middle_us(bins: Ints) -> Floats:
    """The time in the middle of each bin [us]; no time in it is further away than `RELATIVE_ERROR`."""
    shift = np.maximum(bins // _STEPS - 1, 0)
    found: Floats = ((bins - _STEPS * shift) << shift) + ((1 << shift) - 1) / 2
    return found


_SOON_US = 1 << 15
_SOON_BIN = bin_of(np.arange(_SOON_US)).astype(np.int16)
_SOON_BINS = np.flatnonzero(np.diff(_SOON_BIN, prepend=-1))  # where each of these bins begins [us]


def counted(
    took_us: Ints, kind: Small, soon_bin: Small, counts: Ints, sums_us: Ints, largest_us: Ints
) -> None:
    """Add times to counts by class and bin, to sums and maxima by class [us], for numba to compile.

    ``soon_bin`` is the bin of each time that it reaches; later ones are found as by `bin_of`.

    Examples
    --------
    >>> counts, sums_us, largest_us = np.zeros((1, 300), int), np.zeros(1, int), np.zeros(1, int)
    >>> counted(np.array([3, 3, 130]), np.array([0, 0, 0]), np.arange(128), counts, sums_us, largest_us)
    >>> np.flatnonzero(counts).tolist(), int(counts[0, 3]), int(sums_us[0]), int(largest_us[0])
    ([3, 129], 2, 136, 130)
    """
    for item in range(len(took_us)):
        time_us, own = took_us[item], kind[item]
        if time_us < len(soon_bin):
            place = soon_bin[time_us]
        else:
            shift = 0
            while time_us >> shift >= 2 * _STEPS:
                shift += 1
            place = _STEPS * shift + (time_us >> shift)
        counts[own, place] += 1
        sums_us[own] += time_us
        largest_us[own] = max(largest_us[own], time_us)


COUNTED = Kernel(counted, saves_ns=4)  # measured (2026-11-27, AMD EPYC)


class Responses:
    """Response times of requests by class: from arrival at the server to the end of their work on the loop.

    Parameters
    ----------
    ends_us : sequence of int
        Ends of the windows that will be asked for [us].

    Examples
    --------
    >>> responses = Responses([1_000_000])
    >>> responses.count(np.array([5, 10]), np.array([0, 0]), np.array([105, 2_010]))
    >>> responses.table(1_000_000).loc["events", ["requests", "max_ms"]].tolist()
    [2.0, 2.0]
    """

    def __init__(self, ends_us: list[int]) -> None:
        self._ends_us = np.unique(np.array(ends_us, np.int64))
        size = (len(self._ends_us) + 1, len(CLASSES))
        self._counts = np.zeros((*size, _BINS), np.int64)
        self._sums_us, self._largest_us = np.zeros(size, np.int64), np.zeros(size, np.int64)

    def add(self, served: Served) -> None:
        """The requests of a block."""
        self.count(*served.of_requests("at_us", "kind", "done_us"))

    def count(self, at_us: Ints, kind: Small, done_us: Ints) -> None:
        """Requests by arrival (ascending), class and end [us]."""
        bounds = [0, *at_us.searchsorted(self._ends_us).tolist(), len(at_us)]
        for window, (low, high) in enumerate(pairwise(bounds)):
            took_us, own = done_us[low:high] - at_us[low:high], kind[low:high]
            if not len(took_us):
                continue
            if COUNTED.loaded:
                tables = self._counts[window], self._sums_us[window], self._largest_us[window]
                COUNTED(took_us, own, _SOON_BIN, *tables)
                continue
            COUNTED.missed(len(took_us))
            # Most requests are done soon: counted by the microsecond, all else follows from the counts.
            if took_us.max() >= _SOON_US:
                late = took_us >= _SOON_US
                self._count_singly(window, took_us[late], own[late])
                took_us, own = took_us[~late], own[~late]
            by_us = np.bincount(took_us + own * np.int64(_SOON_US), minlength=len(CLASSES) * _SOON_US)
            by_us = by_us.reshape(len(CLASSES), _SOON_US)
            self._counts[window, :, : len(_SOON_BINS)] += np.add.reduceat(by_us, _SOON_BINS, axis=1)
            self._sums_us[window] += by_us @ np.arange(_SOON_US)
            longest_us = np.where(by_us.any(axis=1), _SOON_US - 1 - (by_us[:, ::-1] > 0).argmax(axis=1), 0)
            self._largest_us[window] = np.maximum(self._largest_us[window], longest_us)

    def _count_singly(self, window: int, took_us: Ints, kind: Small) -> None:
        places = bin_of(took_us) + kind * np.int64(_BINS)
        self._counts[window] += np.bincount(places, minlength=len(CLASSES) * _BINS).reshape(len(CLASSES), _BINS)
        np.add.at(self._sums_us[window], kind, took_us)
        np.maximum.at(self._largest_us[window], kind, took_us)

    def table(self, end_us: int) -> pd.DataFrame:
        """Response times of the requests that arrived before ``end_us``, one of the ends given.

        Returns
        -------
        DataFrame
            Indexed by class; columns ``requests``, ``mean_ms``, ``p50_ms``, ``p95_ms``, ``p99_ms``, ``max_ms``; NaN for
            a class without requests. Percentiles are within 1/128 of the truth.
        """
        import pandas as pd

        windows = int(self._ends_us.searchsorted(end_us)) + 1
        counts = self._counts[:windows].sum(axis=0)
        requests = counts.sum(axis=1)
        some = np.where(requests > 0, requests, np.nan)
        columns: dict[str, Floats] = {
            "requests": requests.astype(np.float64),
            "mean_ms": self._sums_us[:windows].sum(axis=0) / some / US_PER_MS,
        }
        for name, share in QUANTILES.items():
            rank = np.maximum(np.ceil(share * requests), 1)
            places = np.array([int(c.cumsum().searchsorted(r)) for c, r in zip(counts, rank, strict=True)])
            columns[name] = np.where(requests > 0, middle_us(places) / US_PER_MS, np.nan)
        columns["max_ms"] = np.where(requests > 0, self._largest_us[:windows].max(axis=0) / US_PER_MS, np.nan)
        return pd.DataFrame(columns, index=pd.Index(CLASSES, name="class"))


class _Work(NamedTuple):
    """What the jobs of each bin were, shape (bins,)."""

    requests: Ints
    offered_us: Ints  # CPU of all
    longest_us: Ints  # CPU of the longest
    waited_us: Ints  # the longest wait of a request


def work_of(
    at_us: Ints, kind: Small, cpu_us: Ints, done_us: Ints, bounds: NDArray[np.intp]
) -> tuple[Ints, Ints, Ints, Ints]:
    """The fields of `_Work` of the bins between ``bounds``, for numba to compile.

    Examples
    --------
    >>> columns = (np.array(column) for column in ([0, 1], [0, 0], [3, 4], [3, 7]))
    >>> [found.tolist() for found in work_of(*columns, np.array([0, 2]))]
    [[2], [7], [4], [2]]
    """
    size = len(bounds) - 1
    requests, offered_us = np.zeros(size, np.int64), np.zeros(size, np.int64)
    longest_us, waited_us = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for own in range(size):
        for job in range(bounds[own], bounds[own + 1]):
            offered_us[own] += cpu_us[job]
            longest_us[own] = max(longest_us[own], cpu_us[job])
            if kind[job] != JOB:
                requests[own] += 1
                waited_us[own] = max(waited_us[own], done_us[job] - cpu_us[job] - at_us[job])
    return requests, offered_us, longest_us, waited_us


WORK_OF = Kernel(work_of, saves_ns=5)  # measured (2026-11-27, AMD EPYC)


def _work_of(served: Served, bounds: NDArray[np.intp]) -> _Work:
    """The work in the bins between ``bounds``."""
    if WORK_OF.loaded:
        return _Work(*WORK_OF(served.at_us, served.kind, served.cpu_us, served.done_us, bounds))
    WORK_OF.missed(len(served.at_us))
    waited_us = served.done_us - served.cpu_us
    waited_us -= served.at_us
    requests, is_request = np.diff(bounds), served.kind != JOB
    if not is_request.all():
        requests, waited_us = sums(is_request, bounds), waited_us * is_request
    return _Work(requests, sums(served.cpu_us, bounds), _largest(served.cpu_us, bounds), _largest(waited_us, bounds))


def bins(served: Served, edges_us: Ints) -> dict[str, NDArray[np.generic]]:
    """The loop's columns of `capsim.scenario.columns.SAMPLES` for the bins of one block."""
    size = len(edges_us) - 1
    width_us = np.diff(edges_us)
    bounds, flush_bounds = served.at_us.searchsorted(edges_us), served.flush_us.searchsorted(edges_us)
    # Jobs end in order of arrival, so the last one to have come ends last.
    end_us = np.full(size + 1, served.free_us)
    for done_us, places in ((served.done_us, bounds), (served.flush_done_us, flush_bounds)):
        some = places > 0
        end_us[some] = np.maximum(end_us[some], done_us[places[some] - 1])
    backlog_us = np.maximum(end_us - edges_us, 0)
    work = _work_of(served, bounds)
    offered_us = work.offered_us + sums(served.flush_cpu_us, flush_bounds)
    longest_us = np.maximum(work.longest_us, _largest(served.flush_cpu_us, flush_bounds))
    return {
        "requests": work.requests,
        "requests_late": sums(served.late, bounds),
        "requests_given_up": sums(served.given_up, bounds),
        "loop_offered": offered_us / width_us,
        "loop_utilisation": (backlog_us[:-1] + offered_us - backlog_us[1:]) / width_us,
        "loop_wait_max_ms": work.waited_us / US_PER_MS,
        "loop_block_max_ms": longest_us / US_PER_MS,
        "loop_backlog_ms": backlog_us[1:] / US_PER_MS,
    }


def _largest(values_us: Ints, bounds: NDArray[np.intp]) -> Ints:
    """Largest value of each bin, of which one begins at each bound but the last; 0 where there is none."""
    found = np.zeros(len(bounds) - 1, np.int64)
    some = np.diff(bounds) > 0
    if some.any():
        found[some] = np.maximum.reduceat(values_us[: bounds[-1]], bounds[:-1][some])
    return found


def sums(values: NDArray[np.generic], bounds: NDArray[np.intp]) -> Ints:
    """Sum of the values of each bin, of which one begins at each bound but the last."""
    if len(values) and values.strides == (0,):  # one number, repeated
        return np.diff(bounds) * np.int64(values[0])
    found = np.zeros(len(bounds) - 1, np.int64)
    some = np.diff(bounds) > 0
    if values.dtype == bool:
        if values.any():  # as int32 in half the time, and no block has as many jobs
            found[some] = np.add.reduceat(values[: bounds[-1]], bounds[:-1][some], dtype=np.int32)
    elif some.any():
        found[some] = np.add.reduceat(values[: bounds[-1]], bounds[:-1][some], dtype=np.int64)
    return found

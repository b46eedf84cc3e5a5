"""Jobs for a single thread, in order of arrival, and when they are done."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from capsim.engine.kernels import Kernel
from capsim.scenario.workload import STREAMS

Ints = NDArray[np.int64]

CLASSES = (*STREAMS, "other")  # of requests, by number
JOB = len(CLASSES)  # number of what is no request


class Jobs(NamedTuple):
    """Jobs in order of arrival; of one instant, requests go before what is none."""

    at_us: Ints
    kind: NDArray[np.int8]  # place in `CLASSES`, or `JOB`
    session: Ints  # of heartbeats
    tries: Ints  # how often the client had sent it before
    cpu_us: Ints  # of a `JOB`; of requests once `Loop` has said so

    def where(self, chosen: NDArray[np.bool_] | slice) -> Jobs:
        """Some of them."""
        at_us, kind, session, tries, cpu_us = self
        return Jobs(at_us[chosen], kind[chosen], session[chosen], tries[chosen], cpu_us[chosen])

    def before(self, when_us: int) -> Jobs:
        """Those that arrive before an instant."""
        return self.where(slice(0, int(self.at_us.searchsorted(when_us))))


class Served(NamedTuple):
    """What the loop did with a block.

    Attributes
    ----------
    free_us : int
        When everything that arrived before the block is done [us].
    at_us, kind, cpu_us, done_us : arrays
        All jobs that arrived in the block but flushes, as in `Jobs`, and when each was done [us].
    late, given_up : bool arrays
        Whether the client of each stopped waiting before that, and whether it was its last try.
    flush_us, flush_cpu_us, flush_done_us : int64 arrays
        Jobs that came up, inserts being built and results of visits: since when, CPU, when each was done [us].
    tag : int64 array
        What each of these is of: `capsim.engine.loop.FLUSH`, or a visit.
    """

    free_us: int
    at_us: Ints
    kind: NDArray[np.int8]
    cpu_us: Ints
    done_us: Ints
    late: NDArray[np.bool_]
    given_up: NDArray[np.bool_]
    flush_us: Ints
    flush_cpu_us: Ints
    flush_done_us: Ints
    tag: Ints

    def of_requests(self, *columns: str) -> list[NDArray[Any]]:
        """Some columns of the jobs that are requests."""
        found = [getattr(self, column) for column in columns]
        is_request = self.kind != JOB
        return found if is_request.all() else [values[is_request] for values in found]


def finished(at_us: Ints, cpu_us: Ints, free_us: int = 0) -> Ints:
    """When each job of a single first-in-first-out server is done.

    Parameters
    ----------
    at_us, cpu_us : int64 arrays, shape (n,)
        Arrivals, ascending, and how long each job takes [us].
    free_us : int
        When the server is free of what came before [us].

    Returns
    -------
    int64 array, shape (n,)
        Exact to the microsecond. Each job starts when it has arrived and the one before it is done.

    References
    ----------
    D. V. Lindley, "The theory of queues with a single server", Math. Proc. Cambridge Phil. Soc. 48(2), 1952.

    Examples
    --------
    >>> finished(np.array([0, 1, 9]), np.array([3, 3, 3])).tolist()
    [3, 6, 12]
    """
    return Queue(at_us, cpu_us).finished(free_us)


def one_after_another(
    at_us: Ints, cpu_us: Ints, others_at_us: Ints, others_cpu_us: Ints, free_us: int
) -> tuple[Ints, Ints]:
    """What `Queue.with_others` says, for numba to compile: the server takes one job after the other.

    Examples
    --------
    >>> done_us, others_us = one_after_another(*(np.array(a) for a in ([0, 1, 9], [3, 3, 3], [1], [2])), 0)
    >>> done_us.tolist(), others_us.tolist()
    ([3, 6, 12], [8])
    """
    done_us, others_done_us = np.empty(len(at_us), np.int64), np.empty(len(others_at_us), np.int64)
    job = 0
    for other in range(len(others_at_us)):
        when_us = others_at_us[other]
        while job < len(at_us) and at_us[job] <= when_us:
            free_us = done_us[job] = max(free_us, at_us[job]) + cpu_us[job]
            job += 1
        free_us = others_done_us[other] = max(free_us, when_us) + others_cpu_us[other]
    for last in range(job, len(at_us)):
        free_us = done_us[last] = max(free_us, at_us[last]) + cpu_us[last]
    return done_us, others_done_us


ONE_AFTER_ANOTHER = Kernel(one_after_another, saves_ns=6)  # measured (2026-11-27, AMD EPYC)


class Queue:
    """Jobs of a single first-in-first-out server, and when they are done if others come between them.

    Parameters
    ----------
    at_us, cpu_us : int64 arrays, shape (n,)
        As for `finished`, which says the same of the two put together.

    Examples
    --------
    >>> queue = Queue(np.array([0, 1, 9]), np.array([3, 3, 3]))
    >>> done_us, others_us = queue.with_others(np.array([1]), np.array([2]))
    >>> done_us.tolist(), others_us.tolist()
    ([3, 6, 12], [8])
    """

    def __init__(self, at_us: Ints, cpu_us: Ints) -> None:
        self._at_us = at_us
        self._cpu_us = cpu_us

    @cached_property
    def _work_us(self) -> Ints:
        """Work before each job, and all of it [us]."""
        return np.concatenate(([0], np.cumsum(self._cpu_us)))

    @cached_property
    def _begin_us(self) -> Ints:
        """An arrival less all the work before it [us]; the latest such is the last idle moment."""
        return self._at_us - self._work_us[:-1]

    def finished(self, free_us: int = 0) -> Ints:
        """When each job is done without others [us]."""
        return self.with_others(np.empty(0, np.int64), np.empty(0, np.int64), free_us)[0]

    def with_others(self, at_us: Ints, cpu_us: Ints, free_us: int = 0) -> tuple[Ints, Ints]:
        """When each job is done, and when each of the others [us]; these are ascending, and last in an instant.

        By passes the two are not put in one order: this is asked several times of each stretch, and passes count.
        """
        if ONE_AFTER_ANOTHER.loaded:
            return ONE_AFTER_ANOTHER(self._at_us, self._cpu_us, at_us, cpu_us, free_us)
        ONE_AFTER_ANOTHER.missed(len(self._at_us))
        jobs, some = len(self._at_us), len(at_us) > 0
        places = self._at_us.searchsorted(at_us, "right")  # jobs before each of the others
        work_us = np.cumsum(cpu_us)
        work_before_us = self._work_us[places]
        own_begin_us = at_us - work_before_us - work_us + cpu_us
        begin_us = self._begin_us.copy()
        if some:
            others_us = np.repeat(np.concatenate(([0], work_us)), np.diff(places, prepend=0, append=jobs))
            begin_us -= others_us
            inside = places < jobs
            np.maximum.at(begin_us, places[inside], own_begin_us[inside])
        begin_us[:1] = np.maximum(begin_us[:1], free_us)  # the latest begin up to a job only grows
        np.maximum.accumulate(begin_us, out=begin_us)
        before_us = np.where(places > 0, begin_us[places - 1], free_us) if jobs else np.full(len(places), free_us)
        own_done_us = work_before_us + work_us + np.maximum.accumulate(np.maximum(before_us, own_begin_us))
        begin_us += self._work_us[1:]
        if some:
            begin_us += others_us
        return begin_us, own_done_us


def merged(*parts: Jobs) -> Jobs:
    """Jobs of several sources in order of arrival; of one instant, those of earlier sources first."""
    parts = tuple(part for part in parts if len(part.at_us)) or (no_jobs(),)
    order = np.argsort(np.concatenate([part.at_us for part in parts]), kind="stable")
    return Jobs(*(_ordered(column, order) for column in zip(*parts, strict=True)))


def joined(*parts: NDArray[Any]) -> NDArray[Any]:
    """Columns as one; nothing is copied where all repeat one number (see `jobs`) or lie side by side in one array."""
    some = [values for values in parts if len(values)]
    if some and all(values.strides == (0,) and values[0] == some[0][0] for values in some):
        return np.broadcast_to(some[0][:1].reshape(()), sum(map(len, parts)))
    whole = _side_by_side(some)
    return np.concatenate(parts) if whole is None else whole


def _side_by_side(parts: list[NDArray[Any]]) -> NDArray[Any] | None:
    """The stretch of an array that slices of it are, each of which begins where the one before it ends."""
    if not parts or not isinstance(base := parts[0].base, np.ndarray) or base.ndim != 1 or not base.flags.contiguous:
        return None
    first = place = (_address(parts[0]) - _address(base)) // base.itemsize
    for values in parts:
        if values.base is not base or values.dtype != base.dtype or values.strides != base.strides:
            return None
        if _address(values) != _address(base) + place * base.itemsize:
            return None
        place += len(values)
    return base[first:place]


def _address(values: NDArray[Any]) -> int:
    return int(values.__array_interface__["data"][0])


def _ordered(column: tuple[NDArray[Any], ...], order: NDArray[np.intp]) -> NDArray[Any]:
    """A column of several parts in a common order."""
    values = joined(*column)
    return values if values.strides == (0,) else values.take(order)


def jobs(at_us: Ints, kind: int, *, cpu_us: Ints | int = 0, session: Ints | int = -1) -> Jobs:
    """Jobs of one kind, sent for the first time."""
    size = len(at_us)
    return Jobs(
        at_us,
        np.full(size, kind, np.int8),
        np.broadcast_to(np.asarray(session, np.int64), size),
        np.broadcast_to(np.int64(0), size),
        np.broadcast_to(np.asarray(cpu_us, np.int64), size),
    )


def no_jobs() -> Jobs:
    """None at all."""
    return jobs(np.empty(0, np.int64), JOB)

"""A window over one stream of arrivals: what a writer may still have to look at.

Arrivals are numbered from 0 over the whole load; the window holds a stretch of them, so that memory is bounded by the
stretch and not by the length of the load.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from capsim.engine.chains import NEAR, follow

RUN = 64  # so many full batches in a row are a series of their own; changes nothing but the speed

Times = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Batches(NamedTuple):
    """Batches that follow one another: the arrival after each, when it is started, whether it is full."""

    following: Times
    start_us: Times
    full: Flags
    certain: Flags  # where that can be said without asking for what else happens in the instant


def batches_between(
    times: Callable[[Times], Times], first: int, following: Times, due_us: int | None, *, rows: int, apart_us: int
) -> Batches:
    """Batches of which one knows where they begin; for the parameters see `Arrivals.batches`.

    ``times`` says when some arrivals come, by number [us].
    """
    full = np.diff(following, prepend=first) == rows
    full[0] = due_us is None
    next_us = times(following)
    start_us = np.concatenate(([0 if due_us is None else due_us], next_us[:-1] + apart_us))
    start_us[full] = times(following[full] - 1)
    # In the instant of its last arrival a batch takes others too.
    return Batches(following, start_us, full, ~full | (next_us > start_us))


class Arrivals:
    """Arrival times of one stream, by number, and where their sessions were seen before.

    Attributes
    ----------
    first, known : int
        Number of the first arrival of this writer, and of the first that has not been handed over yet.
    keyed : bool
        Whether each arrival belongs to a session (heartbeats that are kept in a map).
    coalescing : bool
        Whether sessions have been named, so that one arrival may replace another.
    """

    def __init__(self, *, keyed: bool = False, first: int = 0) -> None:
        self.keyed = keyed
        self.coalescing = False
        self.first = self.known = self._base = first
        self._times: Times = np.empty(0, np.int64)
        self._own = True
        self._view = memoryview(self._times)  # type: ignore[arg-type]  # its items are plain ints
        self._previous: Times = np.empty(0, np.int64)
        self._last_seen: Times = np.empty(0, np.int64)  # by session: number of its latest arrival

    def extend(self, times_us: Times, sessions: Times | None, keep_from: int) -> Times | None:
        """Add the next stretch and forget the arrivals before number ``keep_from``.

        Parameters
        ----------
        times_us : int64 array, shape (n,)
            Ascending, none before the last one known [us].
        sessions : int64 array, shape (n,), or None
            Session of each arrival, small whole numbers; None if every arrival has a session of its own.

        Returns
        -------
        int64 array, shape (n,), or None
            If keyed: number of the latest earlier arrival of the same session, -1 without one.
        """
        previous = None
        kept = self._times[keep_from - self._base :]
        self._own = len(kept) > 0  # otherwise they are those that were given, and not to be changed
        self._times = np.ascontiguousarray(np.concatenate((kept, times_us)) if self._own else times_us, np.int64)
        self._view = memoryview(self._times)  # type: ignore[arg-type]  # its items are plain ints
        if self.keyed:
            self.coalescing |= sessions is not None
            previous = self._previous_of(times_us, sessions)
            self._previous = np.concatenate((self._previous[keep_from - self._base :], previous))
        self._base = keep_from
        self.known += len(times_us)
        return previous

    def bury(self) -> None:
        """No arrival will be looked at any more: forget all but their number."""
        self._times = self._previous = np.empty(0, np.int64)
        self._view, self._base = memoryview(self._times), self.known  # type: ignore[arg-type]

    def _keep_own(self) -> None:
        """Copy what was given, before it is changed."""
        if not self._own:
            self._own, self._times = True, self._times.copy()
            self._view = memoryview(self._times)  # type: ignore[arg-type]  # its items are plain ints

    def move_some(self, numbers: Times, times_us: Times) -> None:
        """These arrivals come at these times instead [us]; their order stays."""
        self._keep_own()
        self._times[numbers - self._base] = times_us

    def move(self, number: int, times_us: Times) -> None:
        """Arrivals from ``number`` on come at these times instead [us]; their order stays."""
        self._keep_own()
        place = number - self._base
        self._times[place : place + len(times_us)] = times_us

    def _previous_of(self, times_us: Times, sessions: Times | None) -> Times:
        """Number of the latest earlier arrival of the same session, -1 without one."""
        count = len(times_us)
        if sessions is None or not count:
            return np.full(count, -1, np.int64)
        largest = int(sessions.max())
        if largest >= len(self._last_seen):
            grown = np.full(max(largest + 1, 2 * len(self._last_seen)), -1, np.int64)
            grown[: len(self._last_seen)] = self._last_seen
            self._last_seen = grown
        numbers = np.arange(self.known, self.known + count)
        order = np.argsort(sessions, kind="stable")
        ordered = sessions[order]
        first = np.r_[True, ordered[1:] != ordered[:-1]]
        previous = np.empty(count, np.int64)
        previous[order[~first]] = numbers[order[np.flatnonzero(~first) - 1]]
        previous[order[first]] = self._last_seen[ordered[first]]
        last = np.r_[ordered[1:] != ordered[:-1], True]
        self._last_seen[ordered[last]] = numbers[order[last]]
        return previous

    def time_us(self, number: int) -> int:
        """Time of arrival ``number`` [us]."""
        return self._view[number - self._base]

    def times(self, numbers: slice | Times) -> Times:
        """Times of some arrivals, by number [us]."""
        if isinstance(numbers, slice):
            return self._times[numbers.start - self._base : numbers.stop - self._base : numbers.step]
        return self._times[numbers - self._base]

    def about(self, number: int, until_us: int) -> int:
        """About how many arrivals come from ``number`` on before ``until_us``; here exactly, of those known."""
        return int(self._times[number - self._base :].searchsorted(until_us))

    def batches(
        self, first: int, second: int, due_us: int | None, *, rows: int, apart_us: int, most: int, until_us: int
    ) -> Batches | None:
        """Batches that follow one another, as far as arrivals are known; None if not even the first one is.

        Parameters
        ----------
        first, second : int
            Numbers of the arrivals with which the first and the second of them begin.
        due_us : int or None
            When a timer starts the first; None if it is full before [us].
        rows, apart_us : int
            A batch is started by its last arrival, or so long after its first [us], whichever comes first.
        most, until_us : int
            At most about so many, and not many that start later than that [us].
        """
        if second >= self.known:
            return None
        at_most = (until_us - self.time_us(second)) // max(apart_us, 1) + self.about(second, until_us) // rows + 2
        most = min(most, max(at_most, 1))
        if due_us is None:
            found = self._full(first, rows, apart_us, most)
            if len(found.following) >= min(RUN, most):
                return found
        following = follow(self._times, second - self._base, apart_us, rows, most) + self._base
        return batches_between(self.times, first, following, due_us, rows=rows, apart_us=apart_us)

    def _full(self, first: int, rows: int, apart_us: int, most: int) -> Batches:
        """The next batches as long as they are full before their timers: where most are, no chain is followed."""
        known = min(most, (self.known - first - 1) // rows)
        full_us = self.times(slice(first + rows - 1, first + rows * known, rows))
        next_us = self.times(slice(first + rows, first + rows * known + 1, rows))
        timer = full_us[1:] >= next_us[:-1] + apart_us
        if timer.any():
            known = 1 + int(timer.argmax())
        following = first + rows * np.arange(1, known + 1)
        full_us, next_us = full_us[:known], next_us[:known]
        return Batches(following, full_us, np.ones(known, bool), next_us > full_us)

    def look(self) -> None:
        """Nothing to note; see `forget_after`."""

    def forget_after(self, number: int) -> None:
        """Nothing to forget: arrivals that have been made stay (compare `capsim.engine.poisson`)."""

    def before(self, when_us: int, start: int) -> int:
        """Number of the first arrival at or after ``when_us``, at least ``start``."""
        return self._search(bisect_left, when_us, start)

    def through(self, when_us: int, start: int) -> int:
        """Number of the first arrival after ``when_us``, at least ``start``."""
        return self._search(bisect_right, when_us, start)

    def _search(self, bisect, when_us: int, start: int) -> int:  # type: ignore[no-untyped-def]
        view, low = self._view, start - self._base
        high = low + NEAR
        if high >= len(view) or view[high] <= when_us:
            return int(self._times[low:].searchsorted(when_us, "left" if bisect is bisect_left else "right")) + start
        return bisect(view, when_us, low, high) + self._base  # type: ignore[no-any-return]

    def new_entries(self, start: int, stop: int, first: int) -> int:
        """How many of arrivals ``start..stop`` find no entry of their session at or after number ``first``."""
        if not self.keyed:
            return stop - start
        return int(np.count_nonzero(self._previous[start - self._base : stop - self._base] < first))

    def nth_entry(self, start: int, count: int, first: int) -> int | None:
        """Number of the arrival that brings the ``count``-th new entry from ``start`` on; None if not known yet."""
        if not self.keyed:
            return start + count - 1 if start + count <= self.known else None
        low, span = start - self._base, max(4 * count, 64)
        left = count
        while low < len(self._previous):
            new = np.flatnonzero(self._previous[low : low + span] < first)
            if len(new) >= left:
                return int(new[left - 1]) + low + self._base
            left -= len(new)
            low, span = low + span, 4 * span
        return None

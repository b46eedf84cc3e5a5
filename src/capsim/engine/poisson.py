"""Arrivals that are drawn when somebody asks: a Poisson process known only at the instants that decide something.

The writer's rules ask for the time of a numbered arrival, or for the number of arrivals before an instant. Both are
drawn here from what is known so far: behind the last known instant as Gamma and Poisson variables, between two known
ones as Beta and binomial variables, because given their number the arrivals in between are independent and uniform. So
every answer has the law it would have if all arrivals had been made, at a cost that does not grow with their number.

Source: J. F. C. Kingman, "Poisson Processes", Oxford 1993, sections 2.4 (conditioning) and 4.1 (intervals).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from capsim.engine.arrivals import Batches, batches_between

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

ENDLESS = 1 << 62  # numbers of arrivals: there is always another one
NEVER_US = 1 << 60  # when the first arrival of a process of rate 0 comes
SURELY = 4  # standard deviations: so far from what comes in a delay, one batch in 30,000 is of the other kind


class PoissonArrivals:
    """Stands in for `capsim.engine.arrivals.Arrivals`, without having made the arrivals.

    Parameters
    ----------
    rate_hz : float
        Constant rate, 0 included [1/s].
    draws : Generator
        Where chance comes from.
    begins_us : int
        No arrival comes before [us].

    Notes
    -----
    Times are real numbers of microseconds; whoever asks gets them rounded down, as the engine's clock would. Exact but
    for the resolution of float64: 0.0005 us at a month.

    Examples
    --------
    >>> arrivals = PoissonArrivals(100.0, np.random.default_rng(1))
    >>> hundredth_us = arrivals.time_us(99)
    >>> arrivals.before(hundredth_us, 0), arrivals.before(hundredth_us + 1, 0) > 99
    (99, True)
    """

    keyed = coalescing = False
    first, known = 0, ENDLESS

    def __init__(self, rate_hz: float, draws: np.random.Generator, begins_us: int = 0) -> None:
        self._per_us = rate_hz / 1e6
        self._draws = draws
        # What is known: at each of these instants, how many arrivals came before it, and how many up to it. The two
        # differ by one where the instant is that of an arrival.
        self._at_us, self._before, self._upto = array("d", [begins_us]), array("q", [0]), array("q", [0])
        self._sure = 0  # number up to which the last look has found all known

    @property
    def first_known(self) -> int:
        """Number of the first arrival that may still be asked about."""
        return self._upto[0]

    # --- one answer -------------------------------------------------------------------------------------------------

    def time_us(self, number: int) -> int:
        """Time of arrival ``number``, rounded down [us]."""
        place = bisect_right(self._upto, number)
        if place == len(self._upto):
            if not self._per_us:
                return NEVER_US
            more = number - self._upto[-1] + 1
            when_us = self._at_us[-1] + self._draws.standard_gamma(more) / self._per_us
        elif self._before[place] <= number:
            return int(self._at_us[place])
        else:
            from_us, rank = self._at_us[place - 1], number - self._upto[place - 1] + 1
            between = self._before[place] - self._upto[place - 1]
            share = self._draws.beta(rank, between - rank + 1)
            when_us = from_us + (self._at_us[place] - from_us) * share
        self._insert(place, when_us, number, number + 1)
        return int(when_us)

    def before(self, when_us: int, start: int) -> int:
        """Number of the first arrival at or after ``when_us``, at least ``start``."""
        place = bisect_left(self._at_us, when_us)
        if place == len(self._at_us):
            number = self._upto[-1] + int(self._draws.poisson((when_us - self._at_us[-1]) * self._per_us))
        elif self._at_us[place] == when_us or place == 0:
            return max(self._before[place], start)
        else:
            number, between = self._upto[place - 1], self._before[place] - self._upto[place - 1]
            if not between:
                return max(number, start)
            from_us = self._at_us[place - 1]
            number += int(self._draws.binomial(between, (when_us - from_us) / (self._at_us[place] - from_us)))
        self._insert(place, float(when_us), number, number)
        return max(number, start)

    def through(self, when_us: int, start: int) -> int:
        """Number of the first arrival after ``when_us``, at least ``start``."""
        return self.before(when_us + 1, start)

    def new_entries(self, start: int, stop: int, first: int) -> int:
        """Every arrival stands for itself: ``stop - start``."""
        return stop - start

    def nth_entry(self, start: int, count: int, first: int) -> int:
        """Number of the arrival that brings the ``count``-th entry from ``start`` on."""
        return start + count - 1

    def _insert(self, place: int, when_us: float, before: int, upto: int) -> None:
        self._at_us.insert(place, when_us)
        self._before.insert(place, before)
        self._upto.insert(place, upto)

    # --- many answers at once ---------------------------------------------------------------------------------------

    def times(self, numbers: Ints) -> Ints:
        """Times of some arrivals, ascending by number, rounded down [us]."""
        ahead = int(numbers.searchsorted(self._upto[-1]))
        found = np.empty(len(numbers), np.int64)
        if ahead:
            found[:ahead] = self._between(numbers[:ahead])
        if ahead < len(numbers):  # behind all that is known: sums of exponential gaps
            new = numbers[ahead:]
            gaps = np.diff(new, prepend=self._upto[-1] - 1)
            new_us = self._at_us[-1] + np.cumsum(self._draws.standard_gamma(gaps)) / self._per_us
            self._add(new_us, new, new + 1)
            found[ahead:] = new_us
        return found

    def _between(self, numbers: Ints) -> Ints:
        """Times of arrivals before the last known instant: uniform between two known ones, given their number."""
        place = bisect_right(self._upto, int(numbers[0])) - 1
        at_us, before, upto = self._from(place)
        while True:
            behind = upto.searchsorted(numbers, "right")
            missing = np.flatnonzero(before[behind] > numbers)
            if not len(missing):
                break
            missing = missing[_middles(behind[missing])]
            high, wanted = behind[missing], numbers[missing]
            rank, between = wanted - upto[high - 1] + 1, before[high] - upto[high - 1]
            share = self._draws.beta(rank, between - rank + 1)
            new_us = at_us[high - 1] + (at_us[high] - at_us[high - 1]) * share
            at_us, before = np.insert(at_us, high, new_us), np.insert(before, high, wanted)
            upto = np.insert(upto, high, wanted + 1)
        if len(at_us) > len(self._at_us) - place:
            self._set(place, at_us, before, upto)
        found: Ints = at_us[behind].astype(np.int64)
        return found

    def about(self, number: int, until_us: int) -> int:
        """About how many arrivals come from ``number`` on before ``until_us``, seldom too few; nothing is drawn."""
        known = max(self._upto[-1] - number, 0)
        mean = max(until_us - self._at_us[-1], 0) * self._per_us
        return known + int(mean + 2 * mean**0.5)

    def full_batches(self, first: int, rows: int, count: int) -> tuple[Ints, Ints]:
        """Times of the arrivals that complete batches of ``rows`` from number ``first`` on, and of those after them."""
        numbers = first + rows * np.arange(1, count + 1)
        if rows == 1:
            times = self.times(first + np.arange(count + 1))
            return times[:-1], times[1:]
        times = self.times(np.column_stack((numbers - 1, numbers)).ravel())
        return times[0::2], times[1::2]

    def batches(
        self, first: int, second: int, due_us: int | None, *, rows: int, apart_us: int, most: int, until_us: int
    ) -> Batches | None:
        """Batches that follow one another, see `capsim.engine.arrivals.Arrivals.batches`.

        Where nearly all are started by their timers, or nearly all are full before, those are certain that are started
        as the first one is; it costs less to draw them.
        """
        if self._in_turn(rows, apart_us):
            return self._mixed(first, second, due_us, rows, apart_us, most, until_us)
        if due_us is None:
            count = min(most, self.about(first, until_us) // rows + 2)
            if count < 2:
                return None
            start_us, after_us = self.full_batches(first, rows, count)
            following = first + rows * np.arange(1, count + 1)
            timers_us = np.concatenate(([ENDLESS], after_us[:-1] + apart_us))
            return Batches(following, start_us, np.ones(count, bool), (start_us < timers_us) & (after_us > start_us))
        # A batch begins with the first arrival after the last take, and its timer takes what came before it fired.
        following = self.chain(second, apart_us, min(most, (until_us - due_us) // max(apart_us, 1) + 2))
        start_us = np.concatenate(([due_us], self.times(following[:-1]) + apart_us))
        return Batches(following, start_us, np.zeros(len(following), bool), np.diff(following, prepend=first) < rows)

    def _in_turn(self, rows: int, apart_us: int) -> bool:
        """Whether it happens that a batch is started by its timer, and that one is full before."""
        mean = self._per_us * apart_us
        return rows > 1 and abs(rows - 1 - mean) < SURELY * mean**0.5

    def _mixed(
        self, first: int, second: int, due_us: int | None, rows: int, apart_us: int, most: int, until_us: int
    ) -> Batches:
        """Batches of both kinds."""
        at_most = (until_us - self.time_us(second)) // apart_us + self.about(second, until_us) // rows + 2
        following = self.chain(second, apart_us, min(most, max(at_most, 1)), rows)
        return batches_between(self.times, first, following, due_us, rows=rows, apart_us=apart_us)

    def chain(self, number: int, apart_us: int, most: int, rows: int | None = None) -> Ints:
        """Numbers from ``number`` on, each of the first arrival at least ``apart_us`` after the one before.

        Or, if that comes sooner, of the one that follows ``rows``. About ``most`` of them.
        """
        numbers = [number]
        when_us = self.time_us(number)
        while len(numbers) <= most and self._before[-1] != numbers[-1]:  # more is known of what follows
            after = self.before(when_us + apart_us, numbers[-1])
            numbers.append(after if rows is None else min(after, numbers[-1] + rows))
            when_us = self.time_us(numbers[-1])
        left = most + 1 - len(numbers)
        if left <= 0 or not self._per_us:
            return np.array(numbers, np.int64)
        if rows is None:
            following = self._new_timers(numbers[-1], when_us, apart_us, left)
        else:
            following = self._new_batches(numbers[-1], when_us, apart_us, left, rows)
        return np.concatenate((np.array(numbers, np.int64), following))

    def _new_timers(self, number: int, when_us: int, apart_us: int, count: int) -> Ints:
        """A chain behind all that is known, which is arrival ``number``.

        The wait for the first arrival after a delay is exponential, and what comes within a delay is Poisson.
        """
        wait_us = self._draws.standard_exponential(count) / self._per_us
        whole_us = np.floor(wait_us).astype(np.int64)
        after_us = when_us + np.cumsum(apart_us + whole_us)  # the arrivals, rounded down
        due_us = after_us - whole_us
        exact_us = due_us + wait_us
        since_us = np.concatenate(([self._at_us[-1]], exact_us[:-1]))
        within = self._draws.poisson((due_us - since_us) * self._per_us)
        following: Ints = number + np.cumsum(1 + within)
        self._add(
            np.column_stack((due_us, exact_us)), np.repeat(following, 2), np.column_stack((following, following + 1))
        )
        return following

    def _new_batches(self, number: int, when_us: int, apart_us: int, count: int, rows: int) -> Ints:
        """The same where batches of ``rows`` do not wait for their timers.

        The time that the others take to come is Gamma; given that it is longer than the delay, so many come within the
        delay as a Poisson variable says of which it is known that it is smaller. A timer that is due in the microsecond
        in which its batch is full comes after it.
        """
        wait_us = self._draws.standard_exponential(count) / self._per_us
        fill_us = self._draws.standard_gamma(rows - 1, count) / self._per_us
        within = _fewer(rows - 1, self._per_us * apart_us).searchsorted(self._draws.random(count), "right")
        full = fill_us < apart_us
        following: Ints = number + np.cumsum(np.where(full, rows, 1 + within))
        # A timer goes off at a whole microsecond: from there on times are sums again. Of each of these stretches:
        timers = np.flatnonzero(~full)
        stretch = np.concatenate(([0], np.cumsum(~full)))
        gaps_us = np.concatenate(([self._at_us[-1] - when_us], wait_us + np.where(full, fill_us, 0.0)))
        since_us = np.cumsum(gaps_us)  # from the first arrival of each batch to that of the next
        since_us -= np.concatenate(([0.0], since_us[timers]))[stretch]
        whole_us = np.floor(since_us[timers]).astype(np.int64)
        begins_us = when_us + np.concatenate(([0], np.cumsum(whole_us + apart_us)))
        exact_us = begins_us[stretch] + since_us  # first arrivals
        taken_us = np.where(full, exact_us[:-1] + fill_us, begins_us[stretch[1:]])
        before = np.where(full, following - 1, following)
        self._add(
            np.column_stack((taken_us, exact_us[1:])),
            np.column_stack((before, following)),
            np.column_stack((following, following + 1)),
        )
        return following

    def look(self) -> None:
        """A series is about to be looked at; of what it finds, `forget_after` may take back a part."""
        self._sure = self._upto[-1]

    def forget_after(self, number: int) -> None:
        """Draw anew what the last look has found after arrival ``number``: nothing was decided by it.

        What was known before that look may have decided something (that a stretch lacks a connection, say, and has to
        be played again), so it stays: to draw it anew until it decides otherwise would prefer what is seldom short.
        """
        self._cut(bisect_right(self._before, max(number, self._sure)))

    # --- what is known ----------------------------------------------------------------------------------------------

    def begin(self, from_us: int) -> None:
        """Nobody will ask about what was before ``from_us``."""
        self.before(from_us, 0)
        place = max(bisect_right(self._at_us, from_us) - 1, 0)
        del self._at_us[:place], self._before[:place], self._upto[:place]

    def path(self, edges_us: Ints) -> tuple[Floats, Ints, Ints]:
        """All known instants of a stretch, its edges among them, with the numbers of arrivals before and up to each.

        Parameters
        ----------
        edges_us : int64 array
            Ascending; the first is the begin of what is known [us].
        """
        self.before(int(edges_us[-1]), 0)
        at_us, before, upto = self._from(0)
        left = edges_us[at_us[at_us.searchsorted(edges_us)] != edges_us]
        while len(left):
            high = at_us.searchsorted(left)
            now = _middles(high)
            high, missing, left = high[now], left[now], np.delete(left, now)
            between = before[high] - upto[high - 1]
            share = (missing - at_us[high - 1]) / (at_us[high] - at_us[high - 1])
            number = upto[high - 1] + self._draws.binomial(between, share)
            at_us = np.insert(at_us, high, missing)
            before, upto = np.insert(before, high, number), np.insert(upto, high, number)
        self._set(0, at_us, before, upto)
        own = slice(int(at_us.searchsorted(edges_us[0])), int(at_us.searchsorted(edges_us[-1])) + 1)
        return at_us[own], before[own], upto[own]

    def _from(self, place: int) -> tuple[Floats, Ints, Ints]:
        at_us, before, upto = (np.array(known[place:]) for known in (self._at_us, self._before, self._upto))
        return at_us, before, upto

    def _set(self, place: int, at_us: Floats, before: Ints, upto: Ints) -> None:
        self._cut(place)
        self._add(at_us, before, upto)

    def _add(self, at_us: Floats, before: Ints, upto: Ints) -> None:
        for known, more in ((self._at_us, at_us), (self._before, before), (self._upto, upto)):
            known.frombytes(np.ascontiguousarray(more).data.cast("B"))

    def _cut(self, place: int) -> None:
        del self._at_us[place:], self._before[place:], self._upto[place:]


@lru_cache(maxsize=64)
def _fewer(limit: int, mean: float) -> Floats:
    """Of a Poisson variable that is smaller than ``limit``: how likely each value, or a smaller one, is.

    Examples
    --------
    >>> _fewer(3, 2.0).tolist()
    [0.2, 0.6, 1.0]
    """
    logs = np.concatenate(([0.0], np.cumsum(np.log(mean / np.arange(1, limit)))))
    sums = np.cumsum(np.exp(logs - logs.max()))
    likely: Floats = sums / sums[-1]
    return likely


def _middles(groups: NDArray[np.intp]) -> NDArray[np.intp]:
    """Place of the middle one of each run of equal numbers.

    What is asked about one interval is drawn from its middle outwards, so that a thousand questions about the same one
    take ten turns. Any order has the same law.

    Examples
    --------
    >>> _middles(np.array([4, 4, 4, 7, 9, 9])).tolist()
    [1, 3, 4]
    """
    begins = np.flatnonzero(np.diff(groups, prepend=-1))
    middles: NDArray[np.intp] = begins + (np.diff(begins, append=len(groups)) - 1) // 2
    return middles

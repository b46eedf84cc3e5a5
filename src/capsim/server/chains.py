"""Chains of timers: the first arrival, then always the first one a delay or more after the one before.

Each is found from the one before, which no array pass can do. In the interpreter a step is a bisection; machine code
takes a fortieth of that, but has to be loaded first, for which a process must have enough to follow.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]
Way = Callable[[Times, int, int, int], Times]

NEAR = 512  # most bisections end this close to where they begin
# Steps in the interpreter that take as long as loading numba and the kept machine code: 0.4 us and 0.75 s, measured
# (2026-11-27, AMD EPYC). Who loads after that many spends at most twice what the better way would have taken.
WORTH_LOADING = 2_000_000


def bisected(times_us: Times, place: int, apart_us: int, most: int) -> Times:
    """Places from ``place`` on, each of the first arrival at least ``apart_us`` after the one before; ``most`` steps.

    Examples
    --------
    >>> bisected(np.array([0, 2, 5, 6, 11]), 0, 5, 9).tolist()
    [0, 2, 4]
    """
    view = memoryview(times_us)  # type: ignore[arg-type]  # its items are plain ints
    places, known = [place], len(view)
    while len(places) <= most:
        when_us, near = view[place] + apart_us, place + NEAR
        close = near < known and view[near] >= when_us
        place = bisect_left(view, when_us, place, near if close else known)
        if place == known:
            break
        places.append(place)
    return np.array(places, np.int64)


def galloped(times_us: Times, place: int, apart_us: int, most: int) -> Times:
    """What `bisected` says, for numba to compile: strides that double, then a bisection of the last one.

    Examples
    --------
    >>> galloped(np.array([0, 2, 5, 6, 11]), 0, 5, 9).tolist()
    [0, 2, 4]
    """
    known, count = len(times_us), 1
    places = np.empty(most + 1, np.int64)
    places[0] = place
    while count <= most:
        when_us = times_us[place] + apart_us
        low, high, stride = place, place, 1  # all before `low` come too early
        while high < known and times_us[high] < when_us:
            low, high, stride = high + 1, high + stride, 2 * stride
        high = min(high, known)
        while low < high:
            middle = (low + high) // 2
            if times_us[middle] < when_us:
                low = middle + 1
            else:
                high = middle
        if low == known:
            break
        place = low
        places[count] = place
        count += 1
    return places[:count]


class Chains:
    """Follows chains, from `WORTH_LOADING` steps on by machine code where numba is installed.

    Examples
    --------
    >>> Chains().follow(np.array([0, 2, 5, 6, 11]), 0, apart_us=5, most=9).tolist()
    [0, 2, 4]
    """

    def __init__(self) -> None:
        self._way: Way = bisected
        self._left: float = WORTH_LOADING

    def follow(self, times_us: Times, place: int, apart_us: int, most: int) -> Times:
        """Places from ``place`` on, each of the first arrival at least ``apart_us`` after the one before.

        Parameters
        ----------
        times_us : int64 array, contiguous
            Ascending [us].
        most : int
            So many steps at most.
        """
        places = self._way(times_us, place, apart_us, most)
        self._left -= len(places)
        if self._left <= 0:
            self.load()
        return places

    def load(self) -> None:
        """Load the machine code, unless numba is not installed or of no use here."""
        self._left = float("inf")
        try:
            from capsim.compiled import compiled
        except ImportError:
            return
        self._way = compiled(galloped)


CHAINS = Chains()  # of this process: what is loaded once serves all runs

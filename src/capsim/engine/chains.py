"""Chains of batches: the first arrival, then always the first one a delay or more after the one before.

Or, if that comes sooner, the one so many places on. Each is found from the one before, which no array pass can do. In
the interpreter a step is a bisection; machine code takes a fortieth of that.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from capsim.engine.kernels import Kernel

Times = NDArray[np.int64]

NEAR = 512  # most bisections end this close to where they begin


def bisected(times_us: Times, place: int, apart_us: int, rows: int, most: int) -> Times:
    """What `follow` says, step by step.

    Examples
    --------
    >>> bisected(np.array([0, 2, 5, 6, 11]), 0, 5, 9, 9).tolist()
    [0, 2, 4]
    """
    view = memoryview(times_us)  # type: ignore[arg-type]  # its items are plain ints
    places, known, reach = [place], len(view), min(rows, NEAR)
    for _ in range(most):
        when_us, stop = view[place] + apart_us, place + reach
        if stop > known:
            stop = known
        following = bisect_left(view, when_us, place, stop)
        if following == stop and reach < rows:
            following = bisect_left(view, when_us, stop, min(place + rows, known))
        if following == known:
            break
        place = following
        places.append(place)
    return np.array(places, np.int64)


def galloped(times_us: Times, place: int, apart_us: int, rows: int, most: int) -> Times:
    """What `bisected` says, for numba to compile: strides that double, then a bisection of the last one.

    Examples
    --------
    >>> galloped(np.array([0, 2, 5, 6, 11]), 0, 5, 9, 9).tolist()
    [0, 2, 4]
    """
    known, count = len(times_us), 1
    places = np.empty(most + 1, np.int64)
    places[0] = place
    while count <= most:
        when_us, full = times_us[place] + apart_us, min(place + rows, known)
        low, high, stride = place, place, 1  # all before `low` come too early
        if times_us[full - 1] < when_us:
            low = high = full
        while high < full and times_us[high] < when_us:
            low, high, stride = high + 1, high + stride, 2 * stride
        high = min(high, full)
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


GALLOPED = Kernel(galloped, saves_ns=375)  # measured (2026-11-27, AMD EPYC)


def follow(times_us: Times, place: int, apart_us: int, rows: int, most: int) -> Times:
    """Places from ``place`` on, each ``rows`` after the one before or, if sooner, the first one ``apart_us`` later.

    Parameters
    ----------
    times_us : int64 array, contiguous
        Ascending [us].
    most : int
        So many steps at most.

    Examples
    --------
    >>> follow(np.array([0, 2, 5, 6, 11]), 0, apart_us=5, rows=9, most=9).tolist()
    [0, 2, 4]
    >>> follow(np.array([0, 2, 5, 6, 11]), 0, apart_us=6, rows=2, most=9).tolist()
    [0, 2, 4]
    """
    if GALLOPED.loaded:
        return GALLOPED(times_us, place, apart_us, rows, most)
    places = bisected(times_us, place, apart_us, rows, most)
    GALLOPED.missed(len(places))
    return places

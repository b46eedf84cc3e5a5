"""The old generation between full collections, bin by bin: a saw-tooth in closed form.

V8 lets the old space grow from what survived the last full collection (``after``) up to a limit, then
collects. The limit is ``max(F x after, after + 8 MiB)``; F lies between 1.1 and 4 and follows from how fast
the collector is against the program (V8's heap controller: the collector should take 3 % of the time).
Under a cap the limit is at most half-way from ``after`` to the cap. Committed pages follow the peaks and
are given back only in part.

A bin with several collections and a steady live set is one sum; only a moving live set (a stall, a drain)
is followed collection by collection. So a year of minutes takes seconds, and one row a second works as
well.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capsim.memory.constants import PUBLISHED, Values

Floats = NDArray[np.float64]

_STEADY_MIB = 1.0  # a live set that moves less than this in a bin counts as steady there
_FOLLOWED = 64  # collections followed one by one in a bin with a moving live set
_REMEMBERED = 32  # answers of `scan` that are kept, of so many bins at most: some 30 MB
_REMEMBERED_BINS = 50_000
# V8: the largest growing factor rises from 1.3 to 2 between these caps, and is 4 from the second on
_SMALL_HEAP_MIB, _LARGE_HEAP_MIB = 256.0, 2048.0


@dataclass(frozen=True)
class OldSpace:
    """What `scan` returns, one value per bin: committed old space (mean, peak) and full collections."""

    mean_mib: Floats
    peak_mib: Floats
    collections: Floats


def growing_factor(growth_mib_s: Floats, cap_mib: float, speed_mib_s: float, value: Values = PUBLISHED) -> Floats:
    """How far the old space may grow over what survived: 1.1 to 4.

    Parameters
    ----------
    growth_mib_s : array, shape (n,)
        Bytes that reach the old space [MiB/s].
    cap_mib : float
        Limit of the old generation, ``--max-old-space-size`` or V8's default [MiB].
    speed_mib_s : float
        Speed of full collections, incremental part included [MiB/s].

    Examples
    --------
    >>> growing_factor(np.array([0.5, 5.0, 10.0]), 4096, 262).round(2).tolist()
    [1.1, 2.61, 4.0]
    >>> growing_factor(np.array([10.0]), 256, 262).round(2).tolist()
    [1.3]
    """
    target = value("target_utilization")
    largest = value("growing_factor_max")
    if cap_mib < _LARGE_HEAP_MIB:
        largest = 1.3 + 0.7 * max(0.0, cap_mib - _SMALL_HEAP_MIB) / (_LARGE_HEAP_MIB - _SMALL_HEAP_MIB)
    ratio = (1 - target) * speed_mib_s / np.maximum(growth_mib_s, 1e-9)
    factor = np.where(ratio * (largest - 1) > target * largest, ratio / np.maximum(ratio - target, 1e-9), largest)
    return np.maximum(factor, value("growing_factor_min"))


def scan(
    width_s: Floats,
    live_start_mib: Floats,
    live_end_mib: Floats,
    growth_mib_s: Floats,
    kept: Floats,
    cap_mib: float,
    speed_mib_s: float,
    value: Values = PUBLISHED,
) -> OldSpace:
    """Follow the old space through the bins.

    Parameters
    ----------
    width_s : array, shape (n,)
        Length of the bins [s].
    live_start_mib, live_end_mib : array, shape (n,)
        Live bytes at both ends of each bin, base included [MiB]; between them a straight line.
    growth_mib_s : array, shape (n,)
        Bytes that reach the old space, retained ones included [MiB/s].
    kept : array, shape (n,)
        Share of what an idle process could give back that it still holds after the bin; 1 while loaded.
    cap_mib, speed_mib_s : float
        As for `growing_factor`.

    Returns
    -------
    OldSpace
        Fitted where live sets are 8 to 80 MiB and 50 to 1,000 requests a second arrive; elsewhere the rules
        of V8 without a check of ours (docs/memory.md gives the errors).
    """
    # Tables price one server under many plans, limits and constants of other services: the old space is the same in
    # most of them, and following it is most of their time. So the last answers are kept, by all that they depend on.
    step, lag, pages = value("growing_step"), value("marking"), value("pages_kept")
    factors = growing_factor(growth_mib_s, cap_mib, speed_mib_s, value)
    arrays = (width_s, live_start_mib, live_end_mib, growth_mib_s, kept, factors)
    content = hashlib.blake2b(repr((len(width_s), cap_mib, step, lag, pages)).encode())
    for array in arrays:
        content.update(array.tobytes())
    key = content.digest()
    if key in _answers:
        _answers.move_to_end(key)
        return _answers[key]
    found = _followed(arrays, cap_mib, step, lag, pages)
    if len(width_s) <= _REMEMBERED_BINS:
        _answers[key] = found
        if len(_answers) > _REMEMBERED:
            _answers.popitem(last=False)
    return found


_answers: OrderedDict[bytes, OldSpace] = OrderedDict()  # the one used last stands last; nobody changes an answer


def _followed(arrays: tuple[Floats, ...], cap_mib: float, step: float, lag: float, pages: float) -> OldSpace:
    """`scan` without a memory."""
    width_s, live_start_mib, live_end_mib, growth_mib_s, kept, factors = arrays
    bins = zip(
        width_s.tolist(),
        live_start_mib.tolist(),
        live_end_mib.tolist(),
        growth_mib_s.tolist(),
        kept.tolist(),
        factors.tolist(),
        strict=True,
    )
    means, peaks, counts = [], [], []
    old = committed = float(live_start_mib[0]) if width_s.size else 0.0
    top = -1.0
    for width, start, end, growth, keep, factor in bins:
        if top < 0:
            top = min(max(factor * old, old + step), (old + cap_mib) / 2) + growth * lag
        if keep < 1:
            committed = end + (committed - end) * keep
            old = min(old, committed)
        area, left, peak, count = 0.0, width, committed, 0
        followed = _FOLLOWED if abs(end - start) > _STEADY_MIB else 1
        while growth * left >= top - old:
            need = (top - old) / growth if top > old else 0.0
            if count >= followed and need > 0:
                # the rest of the bin is whole teeth of one shape
                teeth = int(left / need)
                area += teeth * (committed * need + (top - committed) ** 2 / (2 * growth))
                left -= teeth * need
                count += teeth
                break
            area += committed * need
            if top > committed:
                area += (top - committed) ** 2 / (2 * growth)
                committed = top
                if committed > peak:
                    peak = committed
            left -= need
            count += 1
            old = end + (start - end) * left / width
            committed = old + pages * (committed - old)
            # max(min(max(F x old, old + step), half-way to the cap), old), spelled out: most of the time is spent here
            limit, stepped, halfway = factor * old, old + step, (old + cap_mib) / 2
            if limit < stepped:
                limit = stepped
            if limit > halfway:
                limit = halfway
            top = (limit if limit > old else old) + growth * lag
            if top <= old:
                break  # the cap is reached: nothing is left to grow into
        old += growth * left
        area += committed * left
        if old > committed:
            area += (old - committed) ** 2 / (2 * growth)
            committed = old
        means.append(area / width if width else committed)
        peaks.append(max(peak, committed))
        counts.append(count)
    return OldSpace(np.array(means), np.array(peaks), np.array(counts, dtype=np.float64))

"""How likely a recording is, given the constants: a particle filter over the heap's state, sample by sample.

The saw-tooth's phase is not known, but it is not arbitrary either: each sample tells where it is, and the next one lies
where the constants and the requests since then have carried it. Many heaps are carried along side by side, each with its
own chance (requests differ in what they allocate, collections in their speed); those that are where a sample says live
on. The share that does, multiplied over all samples, is the likelihood, without bias (N. J. Gordon, D. J. Salmond,
A. F. M. Smith, IEE Proceedings F 140(2), 1993). A size that was rounded says that the true one lay in an interval, and
is used as that.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from capsim.calibration.heaps import ALLOCATED, DEAD, LIMIT, NEW, OLD, RETAINED, STATE, COMMITTED, T, advance, begin, sizes
from capsim.calibration.heaps import IDLE, PROMOTED, LIVE, SEMI

Floats = NDArray[np.float64]

REQUEST_CV = 0.6
EMPTY = np.empty(0)
ROOT2 = math.sqrt(2.0)


@njit(cache=True)
def _log_between(low, high):  # type: ignore[no-untyped-def]
    """Logarithm of the probability that a standard normal variable lies between two numbers."""
    if low < 0 < high:
        return math.log(max(0.5 * (math.erf(high / ROOT2) - math.erf(low / ROOT2)), 1e-300))
    near, far = (low, high) if low >= 0 else (-high, -low)
    if near > 8.0:
        # erfc underflows: its asymptotic series, and the far end is nothing beside the near one
        return -near * near / 2 - math.log(near) - 0.9189385332046727
    return math.log(max(0.5 * (math.erfc(near / ROOT2) - math.erfc(far / ROOT2)), 1e-300))


@njit(cache=True)
def _log_seen(told, true, sd, step):  # type: ignore[no-untyped-def]
    if step > 0:
        return _log_between((told - step / 2 - true) / sd, (told + step / 2 - true) / sd)
    z = (told - true) / sd
    return -z * z / 2 - math.log(sd) - 0.9189385332046727


@njit(cache=True)
def _given_total(told, true, sd, step):  # type: ignore[no-untyped-def]
    """What heapTotal was off by, given what was told of it: mean and variance of a normal variable cut to an interval."""
    if step == 0:
        return told - true, 0.0
    a, b = (told - step / 2 - true) / sd, (told + step / 2 - true) / sd
    if a > 6.0 or b < -6.0 or b - a < 0.05:
        return told - true, step * step / 12
    pa, pb = math.exp(-a * a / 2) * 0.3989422804014327, math.exp(-b * b / 2) * 0.3989422804014327
    mass = max(0.5 * (math.erf(b / ROOT2) - math.erf(a / ROOT2)), 1e-12)
    mean = (pa - pb) / mass
    variance = max(1 + (a * pa - b * pb) / mass - mean * mean, 0.0)
    return sd * mean, min(sd * sd * variance, step * step / 12)


@njit(cache=True)
def log_likelihood(time_s, requests, rows, plus, seen, told, c, row_bytes, sd, step, young, jitter, count, seed):  # type: ignore[no-untyped-def]
    """Of one stretch.

    rows : (3, n) buffered and out; plus : (n,) text of rows that are out [bytes]; told : (3, m) rss, total, used;
    sd : of what the model misses, of heapUsed, heapTotal and what is beside the heap [MiB].
    """
    np.random.seed(seed)
    n = len(time_s)
    kept = np.empty(n)
    for i in range(n):
        kept[i] = (rows[0, i] * row_bytes[0] + rows[1, i] * row_bytes[1] + rows[2, i] * row_bytes[2] + plus[i]) / 1048576.0
    state = np.empty((count, STATE))
    other = np.empty((count, STATE))
    logs = np.zeros(count)
    weights = np.empty(count)
    for k in range(count):
        begin(state[k], c)
        state[k, T] = time_s[0]
        state[k, RETAINED] = kept[0]
        if not young:
            # Amid its life: anywhere between two collections.
            state[k, OLD] = c[LIVE] + kept[0] + np.random.random() * 8.0
            state[k, COMMITTED] = state[k, OLD] + c[IDLE]
            state[k, LIMIT] = c[LIVE] + kept[0] + 8.0 + state[k, SEMI]
    held = np.full(count, kept[0])
    total_log = 0.0
    m = 0
    for i in range(1, n):
        came = requests[i] - requests[i - 1]
        for k in range(count):
            if state[k, DEAD] == 0:
                after = max(kept[i] + (np.random.random() - 0.5) * jitter, 0.0)
                weighed = max(came + REQUEST_CV * math.sqrt(max(came, 0.0)) * np.random.standard_normal(), 0.0)
                advance(state[k], c, time_s[i], weighed, held[k], after, EMPTY, EMPTY)
                held[k] = after
        if not seen[i]:
            continue
        best = -np.inf
        for k in range(count):
            rss, total, used = sizes(state[k], c)
            log = _log_seen(told[2, m], used, sd[0], step) + _log_seen(told[1, m], total, sd[1], step)
            off, variance = _given_total(told[1, m], total, sd[1], step)
            log += _log_seen(told[0, m], rss + off, math.sqrt(sd[2] * sd[2] + variance), step)
            # Once in a while a sample is off for reasons of its own (a collection that came a moment earlier).
            rare = -math.log(2 * 8.0) * 3 + math.log(0.02) if log > -1e5 else -1e5
            top = max(log, rare)
            log = top + math.log(math.exp(log - top) + math.exp(rare - top))
            if state[k, DEAD] > 0:
                log -= 1e6
            logs[k] += log
            best = max(best, logs[k])
        m += 1
        mass = 0.0
        squares = 0.0
        for k in range(count):
            weights[k] = math.exp(logs[k] - best)
            mass += weights[k]
            squares += weights[k] * weights[k]
        if mass * mass / squares < 0.5 * count or m == told.shape[1]:
            total_log += best + math.log(mass / count)
            u = np.random.random()
            j = 0
            reached = weights[0]
            for k in range(count):
                at = (u + k) / count * mass
                while reached < at and j < count - 1:
                    j += 1
                    reached += weights[j]
                other[k, :] = state[j, :]
            state, other = other, state
            logs[:] = 0.0
    return total_log

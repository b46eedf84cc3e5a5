"""The stepped heap, compiled: what `capsim.memory.heap.Heap` does event by event, on rows of numbers.

A likelihood asks for a million steps of thousands of heaps; the class takes microseconds for each of its small methods.
Here the same rules stand once more as plain arithmetic for numba, and the class is the slow twin: a test holds both
equal to the last bit. Rules are explained there, not here.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from capsim.base.compiled import compiled
from capsim.memory.heap import Process

Floats = NDArray[np.float64]

# Places in a row of state.
T, NEW, SEMI, ACTIVE, RESTING, SINCE, SURVIVED, RETAINED, OLD, COMMITTED = range(10)
PRESSED, LIMIT, MARKED, REDUCE_AT, REDUCED_TO, LOOKS, TICKS, COLLECTIONS, DEAD, HELD = range(
    10, 20
)  # `HELD` is the caller's: rows kept at the last sample
STATE = 20

_RULES = (
    "scavenge_at", "growing_step", "first_step", "marking_share", "marking_doubles", "marking_base", "scavenge_stays",
    "survived", "survived_13", "pages_idle", "shrinks_below", "new_space_low", "slack_always", "slack_kept",
    "slack_kept_less", "slack_kept_min", "death_margin", "shrinks_near_cap", "reducer_tick", "reducer_looks",
    "reducer_chance", "speed_median", "speed_missing", "speed_learned", "heap_overhead", "node_kernel_share",
    "node_kernel_base", "group_overhead", "loading_touches", "live_base",
)  # fmt: skip
_PROCESS = (
    "cap_mib", "semi_space_mib", "live_mib", "allocated_kib", "promoted_kib", "file_mib", "off_heap_mib",
    "off_heap_share", "cpu_share", "keeps_new_pages", "room_mib", "speed_sigma",
)  # fmt: skip
(
    AT, STEP, FIRST_STEP, MARK_SHARE, MARK_DOUBLES, MARK_BASE, STAYS, SURV, SURV_13, IDLE, SHRINKS, LOW, ALWAYS, KEPT,
    KEPT_LESS, KEPT_MIN, MARGIN, NEAR_CAP, TICK, MOST_LOOKS, CHANCE, SPEED, MISSING, LEARNED, OVERHEAD, KERNEL_SHARE,
    KERNEL, GROUP, TOUCHES, LIVE_BASE,
) = range(len(_RULES))  # fmt: skip
(
    CAP, LARGEST, LIVE, ALLOCATED, PROMOTED, FILE, OFF_HEAP, OFF_SHARE, CPU, KEEPS, ROOM, SIGMA,
) = range(len(_RULES), len(_RULES) + len(_PROCESS))  # fmt: skip


def numbers_of(process: Process) -> Floats:
    """A process and the constants of the collector, as one row."""
    rules = [float(process.value(name)) for name in _RULES]
    return np.array(rules + [float(getattr(process, name)) for name in _PROCESS])


@compiled
def begin(s, c):
    """A process that has just started, into the row ``s``."""
    s[:] = 0.0
    s[SEMI] = min(2.0, c[LARGEST])
    s[NEW] = 0.5
    s[ACTIVE] = s[RESTING] = s[SEMI]
    if c[KEEPS] > 0:
        loaded = max(c[LIVE] - c[LIVE_BASE], 0.0) * c[TOUCHES] / 2
        s[ACTIVE] = s[RESTING] = min(max(s[SEMI], loaded), c[LARGEST])
    s[OLD] = c[LIVE]
    s[COMMITTED] = c[LIVE] + c[IDLE]
    s[LIMIT] = s[OLD] + c[FIRST_STEP] + s[SEMI]
    s[MARKED] = s[REDUCE_AT] = np.inf


@compiled
def sizes(s, c):
    """Rss, heapTotal and heapUsed [MiB]."""
    total = s[COMMITTED] + 2 * s[SEMI] + c[OVERHEAD]
    untouched = 2 * s[SEMI] - s[ACTIVE] - s[RESTING]
    rss = c[FILE] + c[OFF_HEAP] + total * (1 + c[OFF_SHARE]) - untouched
    return rss, total, s[OLD] + s[NEW]


@compiled
def _held(s, c):
    anon = sizes(s, c)[0] - c[FILE]
    return anon * (1 + c[KERNEL_SHARE]) + c[KERNEL] + c[GROUP]


@compiled
def _mark_if_due(s, c):
    start = s[LIMIT] - (c[LARGEST] if s[PRESSED] > 0 else s[SEMI])
    if s[OLD] >= c[CAP]:
        s[MARKED] = s[T]
    elif s[MARKED] == np.inf and s[OLD] >= start:
        marking = c[MARK_SHARE] * s[OLD] * (1 + s[OLD] / c[MARK_DOUBLES])
        wait = 0.0 if s[PRESSED] > 0 else c[MARK_BASE]
        s[MARKED] = s[T] + (wait + marking) / c[CPU]


@compiled
def _empty(s, c, retained):
    kept = max(retained - s[RETAINED], 0.0)
    s[RETAINED] = max(retained, s[RETAINED])
    stays = c[STAYS] * s[SINCE] / 1024
    s[OLD] += s[SINCE] / c[ALLOCATED] * c[PROMOTED] / 1024 + kept
    s[COMMITTED] = max(s[COMMITTED], s[OLD] + c[IDLE])
    share = c[SURV_13] if c[KEEPS] > 0 else c[SURV]
    s[SURVIVED] += share * s[SINCE] / 1024 + kept
    s[NEW] = min(stays, 0.5 * s[SEMI])
    s[SINCE] = 0.0


@compiled
def _grow(s, c):
    if s[SURVIVED] > s[SEMI] and s[SEMI] < c[LARGEST]:
        s[SEMI] = min(2 * s[SEMI], c[LARGEST])
        s[SURVIVED] = 0.0


@compiled
def _shrink(s, c):
    s[SEMI] = min(s[SEMI], c[LOW] / 2)
    s[NEW] = min(s[NEW], 0.5 * s[SEMI])
    if c[KEEPS] == 0:
        s[ACTIVE] = min(s[ACTIVE], s[SEMI])
        s[RESTING] = min(s[RESTING], s[SEMI])
    s[SURVIVED] = 0.0


@compiled
def _scavenge(s, c, retained, rate):
    _empty(s, c, retained)
    if c[KEEPS] > 0:
        s[ACTIVE], s[RESTING] = max(s[RESTING], s[NEW]), s[ACTIVE]
    else:
        s[ACTIVE], s[RESTING] = s[SEMI], (s[ACTIVE] + s[RESTING]) / 2
    if rate * 1024 < c[SHRINKS]:
        _shrink(s, c)
    else:
        _grow(s, c)
    _mark_if_due(s, c)


@compiled
def _factor(growth, cap, speed):
    largest = 4.0 if cap >= 2048 else 1.3 + 0.7 * max(0.0, cap - 256) / 1792
    ratio = 0.03 * speed / max(growth, 1e-9)
    if ratio * (largest - 1) > 0.97 * largest:
        return max(1.1, ratio / (ratio - 0.97))
    return largest


@compiled
def _collect(s, c, retained, growth, reduces, normals):
    s[OLD] = c[LIVE] + retained
    s[RETAINED] = retained
    slack = s[COMMITTED] - s[OLD]
    keep = c[KEPT] - c[KEPT_LESS] * max(slack - 40, 0)
    left = max(min(slack, c[ALWAYS]), max(keep, c[KEPT_MIN]) * slack)
    if reduces:
        _shrink(s, c)
        left = 0.0
    s[COMMITTED] = s[OLD] + max(left, c[IDLE])
    s[COLLECTIONS] += 1
    s[MARKED] = np.inf
    if s[OLD] >= c[CAP] - c[MARGIN]:
        s[DEAD] = 1.0
        return
    if s[OLD] >= c[NEAR_CAP] * c[CAP]:
        _shrink(s, c)
    elif c[KEEPS] > 0 and not reduces:
        _grow(s, c)
    done = int(s[COLLECTIONS])
    speed = 0.0
    if done > 1:
        young = c[MISSING] * math.exp((2 - done) / c[LEARNED])
        noise = normals[done % normals.size] if normals.size else np.random.standard_normal()
        speed = c[CPU] * c[SPEED] * (1 - young) * math.exp(c[SIGMA] * noise)
    limit = max(_factor(growth, c[CAP], speed) * s[OLD], s[OLD] + c[STEP]) + s[SEMI]
    halfway = (s[OLD] + c[CAP]) / 2
    s[PRESSED] = 1.0 if halfway < limit else 0.0
    s[LIMIT] = min(limit, halfway)
    total = s[COMMITTED] + 2 * s[SEMI] + c[OVERHEAD]
    if not reduces and total >= max(1.1 * s[REDUCED_TO], s[REDUCED_TO] + 10):
        s[LOOKS] = c[MOST_LOOKS]
        s[REDUCE_AT] = s[T] + c[TICK]


@compiled
def _tick(s, c, retained, rate, normals, uniforms):
    s[TICKS] += 1
    s[LOOKS] -= 1
    s[REDUCE_AT] = s[T] + c[TICK] if s[LOOKS] > 0 else np.inf
    idle = False
    if rate == 0:
        idle = (uniforms[int(s[TICKS]) % uniforms.size] if uniforms.size else np.random.random()) < c[CHANCE]
    if idle or (rate > 0 and rate * 1024 < c[SHRINKS]):
        _collect(s, c, retained, 0.0, True, normals)
        s[REDUCED_TO] = s[COMMITTED] + 2 * s[SEMI] + c[OVERHEAD]
        s[REDUCE_AT] = np.inf


@compiled
def advance(s, c, to_s, count, kept_before, kept_after, normals, uniforms):
    """From one sample to the next, as `capsim.memory.heap.advance`; chance from tables, or drawn if those are empty."""
    from_s = s[T]
    width = to_s - from_s
    rate = count * c[ALLOCATED] / width
    climb = (kept_after - kept_before) / width
    growth = count / width * c[PROMOTED] / 1024 + max(climb, 0.0)
    if rate > 0:
        _mark_if_due(s, c)
    while s[DEAD] == 0:
        full_s = s[T] + (c[AT] * s[SEMI] - s[NEW]) * 1024 / rate if rate > 0 else np.inf
        next_s = min(min(full_s, s[MARKED]), min(s[REDUCE_AT], to_s))
        step = max(next_s - s[T], 0.0)
        mib = rate * step / 1024
        s[NEW] += mib
        s[SINCE] += mib * 1024
        if c[KEEPS] > 0:
            s[ACTIVE] = max(s[ACTIVE], s[NEW])
        s[T] = max(s[T], next_s)
        if _held(s, c) >= c[ROOM]:
            s[DEAD] = 1.0
        retained = kept_before + climb * (s[T] - from_s)
        if next_s == s[MARKED]:
            _empty(s, c, retained)
            _collect(s, c, retained, growth, False, normals)
            if rate > 0:
                _mark_if_due(s, c)
        elif next_s == full_s:
            _scavenge(s, c, retained, rate)
        elif next_s == s[REDUCE_AT]:
            _tick(s, c, retained, rate, normals, uniforms)
        else:
            break


@compiled
def follow(time_s, requests, retained, c, normals, uniforms):
    """Rss, heapTotal and heapUsed at each time, shape (3, n); after a death its last values."""
    s = np.empty(STATE)
    begin(s, c)
    s[T] = time_s[0]
    s[RETAINED] = retained[0]
    out = np.empty((3, len(time_s)))
    out[0, 0], out[1, 0], out[2, 0] = sizes(s, c)
    for i in range(1, len(time_s)):
        if s[DEAD] == 0:
            advance(s, c, time_s[i], requests[i] - requests[i - 1], retained[i - 1], retained[i], normals, uniforms)
        out[0, i], out[1, i], out[2, i] = sizes(s, c)
    return out

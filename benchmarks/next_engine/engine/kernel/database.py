"""The database: how long a statement takes, and whether it succeeds.

A statement's draw is addressed by part, kind, attempt and item, so the same batch meets the same database in every
scenario of a replicate; slow periods and faults are addressed by time.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from capsim.engine.kernel.fields import call as C
from capsim.engine.kernel.fields import event as E
from capsim.engine.kernel.fields import process as S
from capsim.engine.kernel.fields import setting as K
from capsim.engine.kernel.fields import whole as G
from capsim.engine.kernel.plan import plan


@njit
def run(m, d, s, now_us, c):
    """A statement runs; False if the draw that it needs has to be made first."""
    place = place_of_draw(m, s, c)
    if place < 0:
        return False
    kind = m[c + C.KIND]
    duration_ms = (d[K.CALL_MS + kind] + d[K.ROW_MS + kind] * m[c + C.ROWS]) * d[place]
    if m[K.BURSTS] and is_slow(m, now_us):
        duration_ms *= d[K.SLOW]
    if m[K.DOWNS]:
        duration_ms *= coldness(m, d, now_us)
    crowding = max(1.0, (m[s + S.OPEN] - m[s + S.IDLE] - m[s + S.TURNED_AWAY]) / m[K.PARALLEL])
    took_us = np.int64(np.rint(min(duration_ms * crowding * 1_000.0, np.float64(E.LONGEST_CALL_US))))
    took_us, ok = after_faults(m, now_us, kind, max(took_us, 1))
    for down in range(m[K.DOWNS]):  # whatever it is doing, a call fails when Postgres goes down
        from_us = m[m[G.DOWNS] + 2 * down]
        if now_us < from_us < now_us + took_us:
            took_us, ok = from_us - now_us, 0
            break
    m[c + C.OK] = ok
    plan(m, s, now_us + took_us, E.DATABASE, E.CALL_END, c)
    return True


@njit
def place_of_draw(m, s, c):
    """Where the factor on a statement's latency stands; -1 if its block has to be made."""
    attempt, item = m[c + C.ATTEMPT], m[c + C.ITEM]
    block = item // E.BLOCK_DRAWS
    m[G.CALL], m[G.BLOCK] = c, block
    if attempt > m[G.DRAW_ATTEMPTS]:
        return -1
    kinds = (m[s + S.REPLICA] * 6 + m[c + C.PART]) * 3 + m[c + C.KIND]
    table = m[m[G.DRAW_TABLES] + kinds * m[G.DRAW_ATTEMPTS] + attempt - 1]
    if table < 0:
        return -1
    kept = table * E.KEPT_DRAWS + block % E.KEPT_DRAWS
    if m[m[G.DRAW_BLOCKS] + kept] != block:
        return -1
    return K.FRACTIONS + kept * E.BLOCK_DRAWS + item % E.BLOCK_DRAWS


@njit
def after_faults(m, now_us, kind, took_us):
    """How long it takes and whether it succeeds: the first fault that covers it decides."""
    for fault in range(m[G.FAULT_COUNT]):
        f = m[G.FAULTS] + 4 * fault
        if m[f] <= now_us < m[f + 1]:
            what, fixed_us = m[f + 2], m[f + 3]
            if what == E.FULL and kind == E.QUERY:
                continue  # what only reads needs no room
            if what == E.STALL:
                return m[f + 1] - now_us, 1
            if what == E.IS_DOWN:
                return m[K.REFUSED_US], 0
            fails = what == E.FAIL or what == E.FULL  # noqa: PLR1714, SIM109
            return (fixed_us if fixed_us else took_us), (0 if fails else 1)
    return took_us, 1


@njit
def is_slow(m, now_us):
    """Whether an instant lies in a slow period: their bounds alternate, from calm to slow and back."""
    low, high = 0, m[G.SLOW_COUNT]
    while low < high:
        middle = (low + high) >> 1
        if m[m[G.SLOW] + middle] <= now_us:
            low = middle + 1
        else:
            high = middle
    return low % 2 == 0


@njit
def coldness(m, d, now_us):
    """Factor on a latency soon after Postgres was down, while its cache fills again."""
    since_us = m[K.WARM_UP_US]
    for down in range(m[K.DOWNS]):
        to_us = m[m[G.DOWNS] + 2 * down + 1]
        if to_us <= now_us:
            since_us = min(since_us, now_us - to_us)
    if since_us >= m[K.WARM_UP_US]:
        return 1.0
    return d[K.COLD] - (d[K.COLD] - 1) * since_us / m[K.WARM_UP_US]


@njit
def is_down(m, now_us):
    """Whether Postgres refuses connections."""
    for down in range(m[K.DOWNS]):
        row = m[G.DOWNS] + 2 * down
        if m[row] <= now_us < m[row + 1]:
            return True
    return False

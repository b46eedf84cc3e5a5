"""Bins of time: exact sums of levels, smallest and largest values, counts.

A level's sum over a bin is kept as if nothing changed any more until the bin's end; every change then corrects it.
"""

from __future__ import annotations

from numba import njit

from capsim.engine.kernel.fields import bin as B
from capsim.engine.kernel.fields import event as E
from capsim.engine.kernel.fields import process as S
from capsim.engine.kernel.fields import setting as K
from capsim.engine.kernel.fields import whole as G
from capsim.engine.kernel.fields import writer as W


@njit
def change_level(m, column, level, change, now_us):
    """A level changes to ``level``: ``column`` is the address of its sum, and its largest stands behind that."""
    m[column] += change * (m[G.BIN_TO] - now_us)
    if level > m[column + 1]:
        m[column + 1] = level


@njit
def highest(m, column, value):
    """The largest of something in the bin."""
    if value > m[column]:
        m[column] = value


@njit
def say(m, s, now_us, level, lines):
    """The log gets so many lines of a level, in this second."""
    m[m[s + S.SECONDS] + 4 * ((now_us - m[G.FROM]) // 1_000_000) + level] += lines


@njit
def close_bin(m, at_us):
    """A bin ends, for all processes."""
    settle_connections(m)
    s = m[G.FIRST]
    while s:
        m[s + S.BACKLOG_US] = m[m[s + S.BIN] + B.BACKLOG_US] = max(m[s + S.FREE_US] - at_us, 0)
        s = m[s + S.NEXT]


@njit
def open_bin(m, s, width_us):
    """The bin begins for a process, with the levels that it has."""
    b = m[s + S.BIN] = m[s + S.BINS] + m[G.BIN_NUMBER] * B.SIZE
    for stream in range(3):
        w, own = m[s + S.WRITERS] + stream * W.SIZE, b + stream * B.WRITER
        m[w + W.BIN] = own
        m[own + B.BUFFER] = m[w + W.COUNT] * width_us
        m[own + B.BUFFER_MIN] = m[own + B.BUFFER_MAX] = m[w + W.COUNT]
        m[own + B.OUT] = m[w + W.OUT_ROWS] * width_us
        m[own + B.OUT_MAX] = m[w + W.OUT_ROWS]
    m[b + B.IN_USE], m[b + B.IN_USE_MAX] = m[s + S.IN_USE] * width_us, m[s + S.IN_USE]
    m[b + B.OPEN_MAX] = m[s + S.OPENED]
    m[b + B.RESULT], m[b + B.RESULT_MAX] = m[s + S.RESULT] * width_us, m[s + S.RESULT]
    m[b + B.DUE_MAX], m[b + B.CACHED_MAX] = m[s + S.DUE], m[s + S.CACHED]
    m[b + B.BACKLOG_FROM_US] = m[s + S.BACKLOG_US]


@njit
def bins_until(m, when_us):
    """Bins end and begin up to an instant of the block."""
    while when_us >= m[G.BIN_TO] and m[G.BIN_TO] < m[G.TO]:
        next_bin(m)


@njit
def next_bin(m):
    """The next bin of the block begins, for all processes."""
    if m[G.BIN_NUMBER] >= 0:
        close_bin(m, m[G.BIN_TO])
    m[G.LEVEL_US] = m[G.BIN_TO]
    m[G.BIN_NUMBER] += 1
    edge = m[G.EDGES] + m[G.BIN_NUMBER]
    m[G.BIN_TO] = m[edge + 1]
    s = m[G.FIRST]
    while s:
        open_bin(m, s, m[edge + 1] - m[edge])
        s = m[s + S.NEXT]


@njit
def cut_levels(m, s, end_us):
    """A process ends in the middle of a bin: nothing of its levels is left."""
    b, rest_us = m[s + S.BIN], m[G.BIN_TO] - end_us
    for stream in range(3):
        w, own = m[s + S.WRITERS] + stream * W.SIZE, b + stream * B.WRITER
        m[own + B.BUFFER] -= m[w + W.COUNT] * rest_us
        m[own + B.OUT] -= m[w + W.OUT_ROWS] * rest_us
    m[b + B.IN_USE] -= m[s + S.IN_USE] * rest_us
    m[b + B.RESULT] -= m[s + S.RESULT] * rest_us
    m[b + B.BACKLOG_US] = max(m[s + S.FREE_US] - end_us, 0)


# --- connections of all processes ---


@njit
def count_connections(m, s, now_us):
    """Connections of a process that are open and in use have changed; of all together the ends of instants count.

    A call that Postgres is turning away has a place in the pool and no connection: none is in use that is not open.
    """
    opened = (m[s + S.OPEN] - m[s + S.TURNED_AWAY]) * m[K.CAN_OPEN]
    used = min(m[s + S.IN_USE], opened)
    if now_us > m[G.LEVEL_US]:
        settle_connections(m)
        m[G.LEVEL_US] = now_us
    m[G.USED] += used - m[s + S.USED]
    m[G.OPENED] += opened - m[s + S.OPENED]
    m[s + S.USED], m[s + S.OPENED] = used, opened


@njit
def settle_connections(m):
    """The last instant with changes is over: its levels count; those of a process that has ended with it are gone."""
    highest(m, m[G.TOTALS] + 2 * m[G.BIN_NUMBER], m[G.USED])
    highest(m, m[G.TOTALS] + 2 * m[G.BIN_NUMBER] + 1, m[G.OPENED])
    m[G.USED] -= m[G.GONE_USED]
    m[G.OPENED] -= m[G.GONE_OPENED]
    m[G.GONE_USED] = m[G.GONE_OPENED] = 0


@njit
def count_time(m, now_us, kind, time_us):
    """A response time: exact below 128 us, then 64 bins from one power of two to the next."""
    while now_us >= m[m[G.WINDOWS] + m[G.WINDOW]]:
        m[G.WINDOW] += 1
    shift = 0
    while (time_us >> shift) >= 2 * E.STEPS:
        shift += 1
    own = m[G.TIMES] + (m[G.WINDOW] * 4 + kind) * (E.TIME_BINS + 2)
    m[own] += time_us
    if time_us > m[own + 1]:
        m[own + 1] = time_us
    m[own + 2 + E.STEPS * shift + (time_us >> shift)] += 1

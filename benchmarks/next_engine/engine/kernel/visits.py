"""What visits the database beside the writers: runs of the cleanup, analytics reads, calls of the metrics."""

from __future__ import annotations

import numpy as np
from numba import njit

from capsim.engine.kernel.bins import highest, say
from capsim.engine.kernel.fields import bin as B
from capsim.engine.kernel.fields import event as E
from capsim.engine.kernel.fields import process as S
from capsim.engine.kernel.fields import setting as K
from capsim.engine.kernel.fields import visit as V
from capsim.engine.kernel.fields import whole as G
from capsim.engine.kernel.loop import compute
from capsim.engine.kernel.plan import plan
from capsim.engine.kernel.pool import ask

KEPT_SIZE = 5  # query, expiry, rows, bytes, packing [us]


@njit
def begin(m, now_us, part, number):
    """A visit begins."""
    v = m[G.VISIT_FREE]
    m[G.VISIT_FREE] = m[v + V.NEXT]
    m[G.VISIT_FREE_COUNT] -= 1
    m[v + V.PART], m[v + V.NUMBER], m[v + V.START_US], m[v + V.CALLS], m[v + V.ROWS] = part, number, now_us, 0, 0
    return v


@njit
def give_visit(m, v):
    """A row is free again."""
    m[v + V.NEXT] = m[G.VISIT_FREE]
    m[G.VISIT_FREE] = v
    m[G.VISIT_FREE_COUNT] += 1


@njit
def state(m, s, now_us, v, kind, item, rows):
    """The visit's next statement."""
    m[v + V.CALLS] += 1
    ask(m, s, now_us, m[v + V.PART], kind, 1, item, rows, v)


@njit
def end(m, d, s, now_us, v, ok, rows, cached, updated):
    """A visit is over."""
    part, b = m[v + V.PART], m[s + S.BIN]
    m[b + B.CALLS] += m[v + V.CALLS]
    m[b + B.UPDATED] += updated
    say(m, s, now_us, E.ERROR, 1 - ok)
    if part == E.CLEANUP_PART:
        say(m, s, now_us, E.INFO, 1)
        m[b + B.CLOSED] += updated
        m[s + S.CLEANING] = 0
    if part == E.QUERIES_PART:
        m[b + B.READS] += 1
        m[b + B.CACHED] += cached
        m[b + B.READS_FAILED] += 1 - ok
        m[b + B.READ_ROWS] += rows * (1 - cached)
        m[b + B.RESPONSE] += np.int64(np.rint(rows * ok * d[K.ROW_BYTES]))
    if m[G.KEEP]:
        row = m[G.VISITS] + 10 * m[G.VISIT_COUNT]
        m[G.VISIT_COUNT] += 1
        m[row], m[row + 1], m[row + 2], m[row + 3], m[row + 4] = part, m[v + V.NUMBER], m[v + V.START_US], now_us, ok
        m[row + 5], m[row + 6], m[row + 7], m[row + 8] = rows, cached, m[v + V.CALLS], updated
        m[row + 9] = m[s + S.NUMBER]
    give_visit(m, v)


@njit
def call_ended(m, d, s, now_us, v, ok):
    """A statement of a visit has ended."""
    if m[v + V.PART] == E.CLEANUP_PART:
        cleanup_goes_on(m, d, s, now_us, v, ok)
    elif m[v + V.PART] == E.QUERIES_PART:
        read_ended(m, d, s, now_us, v, ok)
    else:
        compute(m, s, now_us, m[K.METRICS_US], 0)
        end(m, d, s, now_us, v, ok, 1, 0, 0)


# --- the cleanup ---


@njit
def cleanup_turn(m, s, now_us):
    """A turn of the cleanup: a run, unless the last one is still going."""
    number = m[s + S.TURN]
    m[s + S.TURN] += 1
    next_us = m[s + S.FIRST_US] + m[s + S.TURN] * m[K.CLEANUP_EVERY_US]
    if next_us < m[s + S.ENDS_US]:
        plan(m, s, next_us, E.VISIT, E.CLEANUP, 0)
    if m[s + S.CLEANING]:
        return
    m[s + S.CLEANING] = 1
    v = begin(m, now_us, E.CLEANUP_PART, number)
    m[s + S.DUE] = find_due(m, s, now_us)
    highest(m, m[s + S.BIN] + B.DUE_MAX, m[s + S.DUE])
    state(m, s, now_us, v, E.QUERY, number, m[s + S.FOUND_COUNT])


@njit
def find_due(m, s, now_us):
    """Sessions whose last heartbeat is older than the timeout, the longest silent first; how many there are."""
    found, due = m[s + S.FOUND], 0
    for place in range(m[G.SESSION_COUNT]):
        row = m[G.SESSIONS] + E.SESSION_SIZE * place
        silent = m[row + E.IS_OPEN] and m[row + E.LAST_US] < now_us - m[K.CLEANUP_TIMEOUT_US]
        if silent and m[row + E.START_US] <= now_us < m[row + E.LEAVES_US]:
            m[found + due] = m[G.SESSION_BASE] + place
            due += 1
    ids, last_us = m[found : found + due].copy(), np.empty(due, np.int64)
    for place in range(due):
        last_us[place] = m[session_row(m, ids[place]) + E.LAST_US]
    order = np.argsort(last_us, kind="mergesort")
    m[s + S.FOUND_COUNT] = min(due, m[K.CLEANUP_LIMIT])
    for place in range(due):
        m[found + place] = ids[order[place]]
    for place in range(m[s + S.FOUND_COUNT]):
        if m[session_row(m, m[found + place]) + E.LIVE_TO_US] > now_us:
            m[m[s + S.BIN] + B.CLOSED_ALIVE] += 1
    return due


@njit
def session_row(m, session):
    return m[G.SESSIONS] + E.SESSION_SIZE * (session - m[G.SESSION_BASE])


@njit
def close_found(m, s, now_us, count):
    """The next so many of the sessions found are closed; how many had not ended by themselves meanwhile."""
    closed = 0
    for place in range(m[s + S.PLACE], m[s + S.PLACE] + count):
        session = m[m[s + S.FOUND] + place]
        row = session_row(m, session)
        if session >= m[G.SESSION_BASE] and m[row + E.IS_OPEN]:
            closed += m[row + E.LEAVES_US] > now_us
            m[row + E.IS_OPEN] = 0
    return closed


@njit
def cleanup_goes_on(m, d, s, now_us, v, ok):
    found = m[s + S.FOUND_COUNT]
    count = found if m[K.ONE_STATEMENT] else 1
    if m[v + V.CALLS] == 1:  # the sessions are loaded
        if not ok:
            end(m, d, s, now_us, v, 0, 0, 0, 0)
            return
        compute(m, s, now_us, np.int64(np.rint(found * d[K.CLEANUP_ROW_MS] * 1_000.0)), 0)
        m[s + S.PLACE] = m[s + S.CLOSED] = 0
    else:
        if ok:
            m[s + S.CLOSED] += close_found(m, s, now_us, count)
        m[s + S.PLACE] += count
    if m[s + S.PLACE] < found:
        state(m, s, now_us, v, E.UPDATE, m[m[s + S.FOUND] + m[s + S.PLACE]], count)
    else:
        end(m, d, s, now_us, v, 1, found, 0, m[s + S.CLOSED])


# --- reads and their cache ---


@njit
def read(m, d, s, now_us, r):
    """An analytics read arrives: from the cache, or from the database."""
    v = begin(m, now_us, E.QUERIES_PART, m[r])
    m[v + V.ROWS], m[v + V.CPU_US], m[v + V.QUERY] = m[r + 1], m[r + 2], m[r + 3]
    m[v + V.BYTES], m[v + V.PACK_US], m[v + V.ASKS] = m[r + 4], m[r + 5], m[K.CACHE]
    answered_us = m[r + 6]  # by Redis, if the cache is there
    if answered_us < 0:  # rejected: carry on without a cache
        m[v + V.ASKS] = 0
    if answered_us > now_us:
        plan(m, s, answered_us, E.VISIT, E.RESUME, v)
    else:
        look_up(m, d, s, now_us, v)


@njit
def look_up(m, d, s, now_us, v):
    if m[v + V.ASKS]:
        kept = m[s + S.KEPT]
        for place in range(m[s + S.KEPT_COUNT]):
            own = kept + KEPT_SIZE * place
            if m[own] == m[v + V.QUERY] and now_us < m[own + 1]:
                compute(m, s, now_us, m[K.READ_US] + m[own + 4], 0)
                end(m, d, s, now_us, v, 1, m[own + 2], 1, 0)
                return
    state(m, s, now_us, v, E.QUERY, m[v + V.NUMBER], m[v + V.ROWS])


@njit
def read_ended(m, d, s, now_us, v, ok):
    if not ok:
        compute(m, s, now_us, m[K.READ_US], 0)
        end(m, d, s, now_us, v, 0, 0, 0, 0)
        return
    if m[v + V.ASKS] and (not m[K.IN_REDIS] or not redis_is_away(m, now_us)):
        keep(m, d, s, now_us, v)
    compute(m, s, now_us, m[K.READ_US] + m[v + V.CPU_US], m[v + V.ROWS])
    end(m, d, s, now_us, v, 1, m[v + V.ROWS], 0, 0)


@njit
def keep(m, d, s, now_us, v):
    """Keep a response; those that have expired go, then the oldest until there is room."""
    kept, size, total = m[s + S.KEPT], 0, m[v + V.BYTES]
    for place in range(m[s + S.KEPT_COUNT]):
        own = kept + KEPT_SIZE * place
        if m[own + 1] > now_us and m[own] != m[v + V.QUERY]:
            move(m, own, kept + KEPT_SIZE * size)
            total += m[own + 3]
            size += 1
    new = kept + KEPT_SIZE * size
    m[new], m[new + 1], m[new + 2] = m[v + V.QUERY], now_us + m[K.TTL_US], m[v + V.ROWS]
    m[new + 3], m[new + 4] = m[v + V.BYTES], m[v + V.PACK_US]
    size, first = size + 1, 0
    while size - first > m[K.ENTRIES_MAX] or (total > d[K.CACHE_BYTES] and first < size):
        total -= m[kept + KEPT_SIZE * first + 3]
        first += 1
    if first:
        for place in range(first, size):
            move(m, kept + KEPT_SIZE * place, kept + KEPT_SIZE * (place - first))
    m[s + S.KEPT_COUNT], m[s + S.CACHED] = size - first, total
    highest(m, m[s + S.BIN] + B.CACHED_MAX, total)


@njit
def move(m, here, there):
    for column in range(KEPT_SIZE):
        m[there + column] = m[here + column]


@njit
def redis_is_away(m, now_us):
    """Whether the connection to Redis is away: nothing can be kept there."""
    for place in range(m[G.AWAY_COUNT]):
        if m[m[G.AWAY] + 2 * place] <= now_us < m[m[G.AWAY] + 2 * place + 1]:
            return True
    return False


# --- calls of the metrics ---


@njit
def metrics_turn(m, s, now_us):
    number = m[s + S.METRIC]
    m[s + S.METRIC] += 1
    next_us = m[s + S.FIRST_US] + m[s + S.METRIC] * m[K.METRICS_EVERY_US]
    if next_us < m[s + S.ENDS_US]:
        plan(m, s, next_us, E.VISIT, E.METRICS, 0)
    state(m, s, now_us, begin(m, now_us, E.METRICS_PART, number), E.QUERY, number, 1)

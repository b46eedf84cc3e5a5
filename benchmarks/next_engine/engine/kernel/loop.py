"""The event loop: one thread, first come, first served.

What a request waits for has come before it, so its end is known when it arrives; its item reaches the writer then.
Timers and answers of the database are taken to be seen at once, whatever the loop is doing.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from capsim.engine.kernel.bins import change_level, count_time
from capsim.engine.kernel.fields import bin as B
from capsim.engine.kernel.fields import call as C
from capsim.engine.kernel.fields import event as E
from capsim.engine.kernel.fields import process as S
from capsim.engine.kernel.fields import setting as K
from capsim.engine.kernel.fields import whole as G
from capsim.engine.kernel.fields import writer as W
from capsim.engine.kernel.plan import give_row, plan, take_row


@njit
def request(m, s, now_us, kind, session, tries):
    """A request arrives: it is done when the thread is free of all before it, and has worked for it."""
    cpu_us = m[K.EVENT_CPU_US + kind] + pause_us(m, s)
    begin_us = max(m[s + S.FREE_US], now_us)
    done_us = m[s + S.FREE_US] = min(begin_us + cpu_us, E.FAR_US)
    b = m[s + S.BIN]
    m[b + B.REQUESTS] += 1
    m[b + B.OFFERED_US] += cpu_us
    m[b + B.LONGEST_US] = max(m[b + B.LONGEST_US], cpu_us)
    m[b + B.WAIT_US] = max(m[b + B.WAIT_US], begin_us - now_us)
    if kind < E.OTHER:
        m[b + kind * B.WRITER + B.ARRIVED] += 1
        m[m[s + S.WRITERS] + kind * W.SIZE + W.IN_LOOP] += 1
    count_time(m, now_us, kind, done_us - now_us)
    queue(m, s, done_us, kind, session, now_us)
    if m[K.CLIENTS] and done_us - now_us > m[K.PATIENCE_US]:
        lose_patience(m, s, now_us, kind, session, tries)


@njit
def pause_us(m, s):
    """What this request waits for the collector, every so many requests."""
    found = 0
    m[s + S.SCAVENGE] -= 1
    if m[s + S.SCAVENGE] == 0:
        m[s + S.SCAVENGE] = m[K.SCAVENGE_EVERY]
        found += m[K.SCAVENGE_US]
    m[s + S.FULL] -= 1
    if m[s + S.FULL] == 0:
        m[s + S.FULL] = m[K.FULL_EVERY]
        found += m[K.FULL_US]
    return found


@njit
def queue(m, s, done_us, kind, session, at_us):
    """Behind all that wait for the thread."""
    tail = m[s + S.TAIL]
    m[s + S.TAIL] = tail + 1
    place = m[s + S.RING] + 3 * (tail & (m[s + S.RING_SIZE] - 1))
    m[place], m[place + 1], m[place + 2] = done_us, (session << 2) | kind, at_us


@njit
def lose_patience(m, s, now_us, kind, session, tries):
    """The client stops waiting for a request, which is done all the same; it may send it again."""
    m[m[s + S.BIN] + B.LATE] += 1
    if tries >= m[K.RETRIES]:
        m[m[s + S.BIN] + B.GIVEN_UP] += 1
        return
    row = take_row(m)
    m[row + C.KIND], m[row + C.ITEM], m[row + C.ATTEMPT] = kind, session, tries + 1
    plan(m, s, now_us + m[K.PATIENCE_US] + (m[K.BACKOFF_US] << tries), E.RETRY, E.AGAIN, row)


@njit
def again(m, s, now_us, row):
    """A client sends its request again."""
    kind, session, tries = m[row + C.KIND], m[row + C.ITEM], m[row + C.ATTEMPT]
    give_row(m, row)
    request(m, s, now_us, kind, session, tries)


@njit
def compute(m, s, now_us, cpu_us, result_rows):
    """Something else needs the thread, after all that the instant brings; a result is in the heap meanwhile."""
    if result_rows:
        m[s + S.RESULT] += result_rows
        change_level(m, m[s + S.BIN] + B.RESULT, m[s + S.RESULT], result_rows, now_us)
    row = take_row(m)
    m[row + C.KIND], m[row + C.ITEM], m[row + C.ROWS] = 0, cpu_us, result_rows
    plan(m, s, now_us, E.THREAD, E.JOB, row)


@njit
def build(m, s, now_us, rows):
    """The rows of a flush are built, after all that the instant brings."""
    row = take_row(m)
    m[row + C.KIND], m[row + C.ITEM], m[row + C.ROWS] = 1, rows, 0
    plan(m, s, now_us, E.THREAD, E.JOB, row)


@njit
def job(m, d, s, now_us, row):
    """Work that is no request takes its turn."""
    cpu_us = m[row + C.ITEM]
    if m[row + C.KIND]:
        cpu_us = np.int64(np.rint(cpu_us * d[K.ROW_CPU_MS] * 1_000.0))
    done_us = m[s + S.FREE_US] = min(max(m[s + S.FREE_US], now_us) + cpu_us, E.FAR_US)
    b = m[s + S.BIN]
    m[b + B.OFFERED_US] += cpu_us
    m[b + B.LONGEST_US] = max(m[b + B.LONGEST_US], cpu_us)
    if m[row + C.ROWS] == 0:
        give_row(m, row)
    elif done_us > now_us:
        plan(m, s, done_us, E.TIMER, E.RESULT_BUILT, row)
    else:
        result_built(m, s, now_us, row)


@njit
def result_built(m, s, now_us, row):
    """A response has been made of a result, which leaves the heap."""
    rows = m[row + C.ROWS]
    m[s + S.RESULT] -= rows
    change_level(m, m[s + S.BIN] + B.RESULT, m[s + S.RESULT], -rows, now_us)
    give_row(m, row)

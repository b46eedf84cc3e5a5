"""A batch writer: its buffer, its timer, its flushes, its shutdown (oracle §2 to §7).

Two quirks of the originals decide most cases: a timer that fires while a batch is out still counts as armed, and an
arrival at a full buffer asks for nothing. The rules ``recommended`` (docs/recommended-writer.md) have neither.
"""

from __future__ import annotations

from numba import njit

from capsim.engine.kernel.bins import change_level, say
from capsim.engine.kernel.fields import bin as B
from capsim.engine.kernel.fields import event as E
from capsim.engine.kernel.fields import process as S
from capsim.engine.kernel.fields import setting as K
from capsim.engine.kernel.fields import whole as G
from capsim.engine.kernel.fields import writer as W
from capsim.engine.kernel.loop import build
from capsim.engine.kernel.plan import plan, plan_numbered
from capsim.engine.kernel.pool import ask

FIRST_PAUSE_US, LONGEST_PAUSE_US = 100_000, 5_000_000  # ``recommended``: before the second attempt; at most


@njit
def arrive(m, w, now_us, session, at_us):
    """An item reaches its writer (oracle §3)."""
    s, number = m[w + W.PROCESS], m[w + W.SEEN]
    m[w + W.SEEN] = number + 1
    if m[w + W.STREAM] == E.HEARTBEATS and m[K.BEATS]:
        beat = m[s + S.BEATS] + 2 * (number & (m[s + S.BEATS_SIZE] - 1))
        m[beat], m[beat + 1] = session, at_us
    if m[w + W.CLOSING]:
        m[w + W.REJECTED] += 1
        return
    room = m[w + W.CAP]
    if m[w + W.HELD]:  # what is out counts against the cap; one place is always left
        room = max(room - m[w + W.HELD], 1)
    if m[w + W.COUNT] >= room:
        refuse(m, w, now_us, number)
        return
    if is_new(m, w, session):
        m[w + W.COUNT] += 1
        m[w + W.ENTRIES] += 1
        m[w + W.LARGEST] = max(m[w + W.LARGEST], m[w + W.COUNT])
        change_level(m, m[w + W.BIN] + B.BUFFER, m[w + W.COUNT], 1, now_us)
    if m[w + W.COUNT] == 1:
        arm(m, w, now_us)
    if m[w + W.COUNT] >= m[w + W.BATCH_ROWS]:
        disarm(m, w)
        request(m, w, now_us)


@njit
def refuse(m, w, now_us, number):
    """The buffer is full: the item is gone, and nothing is asked for."""
    m[w + W.DROPPED_CAP] += 1
    m[m[w + W.BIN] + B.DROPPED_CAP] += 1
    if m[w + W.ACCEPTED_TO] < 0:
        m[w + W.ACCEPTED_TO] = number
    if m[w + W.RULES] == E.RECOMMENDED:  # one line a second says how many
        if now_us // 1_000_000 == m[w + W.LINE_S]:
            return
        m[w + W.LINE_S] = now_us // 1_000_000
    say(m, m[w + W.PROCESS], now_us, E.ERROR, 1)


@njit
def is_new(m, w, session):
    """Whether the buffer gets longer; one that is keyed by session replaces what it has of the same."""
    if not m[w + W.KEYED] or session < 0:
        return True
    place = m[m[w + W.PROCESS] + S.STAMPS] + session
    if m[place] == m[w + W.BATCHES] + 1:
        return False
    m[place] = m[w + W.BATCHES] + 1
    return True


@njit
def arm(m, w, now_us):
    if m[w + W.TIMER] == E.NONE:
        m[w + W.TIMER] = E.LIVE
        m[w + W.TIMER_NUMBER] += 1
        due_us = now_us + m[w + W.DELAY_US]
        plan_numbered(m, m[w + W.PROCESS], due_us, E.TIMER, E.WRITER_TIMER, w, m[w + W.TIMER_NUMBER])


@njit
def disarm(m, w):
    m[w + W.TIMER] = E.NONE
    m[w + W.TIMER_NUMBER] += 1


@njit
def timer_due(m, w, now_us):
    m[w + W.TIMER] = E.SPENT
    flush(m, w, now_us, E.TIMER)


@njit
def request(m, w, now_us):
    """Ask for a flush, put off to the end of the instant; of several in one instant the first takes the buffer."""
    m[w + W.REQUESTS] += 1
    if not m[w + W.REQUESTED]:
        m[w + W.REQUESTED] = 1
        plan(m, m[w + W.PROCESS], now_us, E.REQUEST, E.WRITER_REQUEST, w)


@njit
def flush(m, w, now_us, phase):
    """Take the whole buffer, unless a batch is out (oracle §4)."""
    if m[w + W.FLUSHING]:
        return
    disarm(m, w)
    rows = m[w + W.COUNT]
    if rows == 0:
        return
    seen, refused = m[w + W.SEEN], m[w + W.ACCEPTED_TO]
    m[w + W.FIRST], m[w + W.TO], m[w + W.NEXT] = m[w + W.HEAD], seen if refused < 0 else refused, seen
    if m[w + W.CLOSED_FROM] >= 0:
        m[w + W.TO] = min(m[w + W.TO], m[w + W.CLOSED_FROM])
    m[w + W.FLUSHING], m[w + W.ROWS], m[w + W.TAKEN_US], m[w + W.WRITTEN] = 1, rows, now_us, 0
    m[w + W.HEAD], m[w + W.ACCEPTED_TO], m[w + W.COUNT] = seen, -1, 0
    m[w + W.HELD] = rows if m[w + W.RULES] == E.RECOMMENDED else 0
    m[w + W.BATCHES] += 1
    m[w + W.OUT_ROWS] = rows
    end_stuck(m, w, now_us)
    b = m[w + W.BIN]
    change_level(m, b + B.BUFFER, 0, -rows, now_us)
    m[b + B.BUFFER_MIN] = 0
    change_level(m, b + B.OUT, rows, rows, now_us)
    m[b + B.FLUSHES] += 1
    note_take(m, w, now_us, phase)
    build(m, m[w + W.PROCESS], now_us, rows)  # the database does not wait for it
    attempt(m, w, now_us, 1)


@njit
def attempt(m, w, now_us, number):
    m[w + W.ATTEMPT], m[w + W.START_US], m[w + W.PAUSING] = number, now_us, 0
    m[w + W.CALLS], m[w + W.COUNTED], m[w + W.INSERTED], m[w + W.STEP] = 0, 0, 0, 0
    next_call(m, w, now_us)


@njit
def call_size(m, w):
    """Rows of one statement: the whole batch, a chunk or piece of it, or one."""
    return m[w + W.CALL_ROWS] if m[w + W.CALL_ROWS] else m[w + W.ROWS]


@njit
def next_call(m, w, now_us):
    size = call_size(m, w)
    rows = min(size, m[w + W.ROWS] - m[w + W.WRITTEN] - m[w + W.STEP] * size)
    m[w + W.CALLS] += 1
    item = m[w + W.FIRST] + m[w + W.STEP]
    ask(m, m[w + W.PROCESS], now_us, m[w + W.STREAM], m[w + W.KIND], m[w + W.ATTEMPT], item, rows, w)


@njit
def call_ended(m, w, now_us, ok, rows):
    """A statement has ended (oracle §5)."""
    if ok:
        m[w + W.COUNTED] += rows
        m[w + W.INSERTED] += rows if m[w + W.KIND] == E.INSERT else 0
    elif m[w + W.ONE_BY_ONE]:  # skipped, and counted nowhere
        if m[K.BEATS]:
            s = m[w + W.PROCESS]
            number = m[w + W.FIRST] + m[w + W.STEP]
            m[m[s + S.BEATS] + 2 * (number & (m[s + S.BEATS_SIZE] - 1))] = -1
    else:
        if m[w + W.RULES] != E.RECOMMENDED:
            m[w + W.COUNTED] = m[w + W.INSERTED] = 0
        attempt_failed(m, w, now_us)
        return
    m[w + W.STEP] += 1
    if m[w + W.WRITTEN] + m[w + W.STEP] * call_size(m, w) < m[w + W.ROWS]:
        next_call(m, w, now_us)
    else:
        attempt_succeeded(m, w, now_us)


@njit
def attempt_succeeded(m, w, now_us):
    lost = m[w + W.ROWS] - m[w + W.WRITTEN] - m[w + W.COUNTED]  # single updates that failed
    count_attempt(m, w, now_us, 1, 1, lost)
    s = m[w + W.PROCESS]
    say(m, s, now_us, E.INFO, 1)
    say(m, s, now_us, E.WARN, lost)
    m[w + W.UNCOUNTED] += lost
    m[m[w + W.BIN] + B.UNCOUNTED] += lost
    if m[w + W.STREAM] == E.HEARTBEATS and m[K.BEATS]:
        beaten(m, w)
    finish(m, w, now_us)


@njit
def attempt_failed(m, w, now_us):
    pause_us = pause_after(m, w, now_us)
    lost = m[w + W.ROWS] - m[w + W.WRITTEN] - m[w + W.COUNTED] if pause_us < 0 else 0
    count_attempt(m, w, now_us, 0, pause_us < 0, lost)
    say(m, m[w + W.PROCESS], now_us, E.ERROR, 1)
    m[w + W.WRITTEN] += m[w + W.COUNTED]
    if pause_us == 0:
        attempt(m, w, now_us, m[w + W.ATTEMPT] + 1)
    elif pause_us > 0:
        m[w + W.PAUSING] = 1
        plan(m, m[w + W.PROCESS], now_us + pause_us, E.TIMER, E.NEXT_ATTEMPT, w)
    else:
        m[w + W.FAILED] += 1
        m[w + W.DROPPED_FAILED] += lost
        m[m[w + W.BIN] + B.DROPPED_FAILED] += lost
        finish(m, w, now_us)


@njit
def pause_after(m, w, now_us):
    """After a failed attempt: how long until the next one [us]; -1 to give the batch up."""
    if m[w + W.RULES] != E.RECOMMENDED:
        return 0 if m[w + W.ATTEMPT] == 1 else -1
    pause_us = min(FIRST_PAUSE_US << min(m[w + W.ATTEMPT] - 1, 10), LONGEST_PAUSE_US)
    last_us = m[w + W.TAKEN_US] + m[w + W.RETRY_FOR_US]
    if m[w + W.CLOSING]:
        last_us = min(last_us, m[w + W.CLOSED_US] + m[K.GRACE_US])
    return pause_us if now_us + pause_us <= last_us else -1


@njit
def count_attempt(m, w, now_us, ok, last, lost):
    """Count an attempt, and note it if single ones are kept."""
    m[w + W.FLUSHED] += m[w + W.COUNTED]
    m[m[w + W.BIN] + B.WRITTEN] += m[w + W.COUNTED]
    b = m[m[w + W.PROCESS] + S.BIN]
    m[b + B.CALLS] += m[w + W.CALLS]
    m[b + B.INSERTED] += m[w + W.INSERTED]
    if m[w + W.STREAM] == E.HEARTBEATS:
        m[b + B.UPDATED] += m[w + W.COUNTED]
    if m[G.KEEP]:
        row = m[G.ATTEMPTS] + 16 * m[G.ATTEMPT_COUNT]
        m[G.ATTEMPT_COUNT] += 1
        m[row], m[row + 1], m[row + 2] = m[w + W.STREAM], m[w + W.BATCHES] - 1, m[w + W.ATTEMPT]
        m[row + 3], m[row + 4], m[row + 5], m[row + 6] = m[w + W.START_US], now_us, ok, m[w + W.ROWS]
        m[row + 7], m[row + 8], m[row + 9] = m[w + W.CALLS], m[w + W.COUNTED], m[w + W.INSERTED]
        m[row + 10], m[row + 11], m[row + 12] = m[w + W.FIRST], m[w + W.TO], m[w + W.NEXT]
        m[row + 13], m[row + 14], m[row + 15] = last, lost, m[m[w + W.PROCESS] + S.NUMBER]


@njit
def note_take(m, w, now_us, phase):
    if m[G.KEEP]:
        row = m[G.TAKES] + 8 * m[G.TAKE_COUNT]
        m[G.TAKE_COUNT] += 1
        m[row], m[row + 1], m[row + 2], m[row + 3] = m[w + W.STREAM], now_us, phase, m[w + W.ROWS]
        m[row + 4], m[row + 5], m[row + 6] = m[w + W.FIRST], m[w + W.TO], m[w + W.NEXT]
        m[row + 7] = m[m[w + W.PROCESS] + S.NUMBER]


@njit
def beaten(m, w):
    """Heartbeats are written: their sessions were alive then."""
    s = m[w + W.PROCESS]
    for number in range(m[w + W.FIRST], m[w + W.TO]):
        beat = m[s + S.BEATS] + 2 * (number & (m[s + S.BEATS_SIZE] - 1))
        place = m[beat] - m[G.SESSION_BASE]
        if m[beat] >= 0 and 0 <= place < m[G.SESSION_COUNT]:
            session = m[G.SESSIONS] + E.SESSION_SIZE * place
            m[session + E.LAST_US] = max(m[session + E.LAST_US], m[beat + 1])


@njit
def finish(m, w, now_us):
    """The flush is over, one way or the other."""
    change_level(m, m[w + W.BIN] + B.OUT, 0, -m[w + W.ROWS], now_us)
    m[w + W.FLUSHING], m[w + W.HELD], m[w + W.OUT_ROWS] = 0, 0, 0
    if m[w + W.RULES] == E.RECOMMENDED:
        # The buffer's first item has armed the timer, so only three things can have been missed: a timer that fired
        # during the flush, a batch that filled up, and (no new items, but a full buffer) a shutdown.
        if m[w + W.COUNT] and (m[w + W.TIMER] != E.LIVE or m[w + W.ACCEPTED_TO] >= 0):
            flush(m, w, now_us, E.DATABASE)
    elif m[w + W.RULES] == E.FIXED and m[w + W.COUNT]:
        if m[w + W.COUNT] >= m[w + W.BATCH_ROWS]:
            request(m, w, now_us)
        else:
            arm(m, w, now_us)
    if m[w + W.FLUSHING]:
        return
    if m[w + W.COUNT] and m[w + W.TIMER] != E.LIVE and not m[w + W.REQUESTED] and not m[w + W.LOOKS]:
        m[w + W.STUCK_US] = now_us
    if m[w + W.LAST]:
        m[w + W.LAST] = 0
        resolve(m, w)


@njit
def end_stuck(m, w, now_us):
    """A writer that was stuck flushes again."""
    since_us = m[w + W.STUCK_US]
    m[w + W.STUCK_US] = -1
    if 0 <= since_us < now_us:
        row = m[G.STUCK] + 4 * m[G.STUCK_COUNT]
        m[G.STUCK_COUNT] += 1
        m[row], m[row + 1], m[row + 2] = m[w + W.STREAM], since_us, now_us
        m[row + 3] = m[m[w + W.PROCESS] + S.NUMBER]


@njit
def close(m, w, now_us):
    """The shutdown call: what arrives later is refused (oracle §6)."""
    m[w + W.CLOSING], m[w + W.CLOSED_FROM], m[w + W.CLOSED_US] = 1, m[w + W.SEEN], now_us
    disarm(m, w)
    look(m, w, now_us, E.SHUTDOWN)


@njit
def look(m, w, now_us, phase):
    """Wait for the batch that is out, as long as the grace lasts; then write what is left."""
    m[w + W.LOOKS] = 1 if m[w + W.FLUSHING] and now_us - m[w + W.CLOSED_US] < m[K.GRACE_US] else 0
    if m[w + W.LOOKS]:
        plan(m, m[w + W.PROCESS], now_us + m[K.LOOK_US], E.TIMER, E.LOOK, w)
    elif m[w + W.COUNT] and not m[w + W.FLUSHING]:
        m[w + W.LAST] = 1
        flush(m, w, now_us, phase)
    else:
        resolve(m, w)


@njit
def resolve(m, w):
    m[m[w + W.PROCESS] + S.RESOLVED] += 1

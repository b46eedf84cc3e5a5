"""The connection pool: asked, granted once an instant, opened if need be, given back.

Calls that wait already go first, in their order; then those of the instant, by part. Postgres lets so many connections
in, whoever opens them. When it goes down, every connection breaks.
"""

from __future__ import annotations

from numba import njit

from capsim.engine.kernel.bins import change_level, count_connections, highest
from capsim.engine.kernel.database import is_down, run
from capsim.engine.kernel.fields import bin as B
from capsim.engine.kernel.fields import call as C
from capsim.engine.kernel.fields import event as E
from capsim.engine.kernel.fields import process as S
from capsim.engine.kernel.fields import setting as K
from capsim.engine.kernel.fields import whole as G
from capsim.engine.kernel.plan import give_row, key_of, plan, push, take_row, what_of


@njit
def ask(m, s, now_us, part, kind, attempt, item, rows, owner):
    """A part asks for a connection, for one statement."""
    c = take_row(m)
    m[c + C.PROCESS], m[c + C.PART], m[c + C.KIND], m[c + C.ATTEMPT] = s, part, kind, attempt
    m[c + C.ITEM], m[c + C.ROWS], m[c + C.ASKED_US], m[c + C.STATE] = item, rows, now_us, C.WAITS
    m[c + C.OPENS], m[c + C.REFUSED], m[c + C.OWNER] = 0, 0, owner
    m[c + C.ORDER] = m[G.ORDER]  # its time-out counts from here, among those of one instant
    m[G.ORDER] += 1
    before, other = 0, m[s + S.ASKED]  # those of one instant, by part; of one part in order of asking
    while other and m[other + C.PART] <= part:
        before, other = other, m[other + C.NEXT]
    m[c + C.NEXT] = other
    if before:
        m[before + C.NEXT] = c
    else:
        m[s + S.ASKED] = c
    arbitrate_later(m, s, now_us)


@njit
def arbitrate_later(m, s, now_us):
    if not m[s + S.ARBITRATING]:
        m[s + S.ARBITRATING] = 1
        plan(m, s, now_us, E.POOL, E.ARBITRATE, 0)


@njit
def arbitrate(m, s, now_us):
    """Everything of the instant has happened: hand out connections."""
    m[s + S.ARBITRATING] = 0
    new = queue_asked(m, s)
    while m[s + S.QUEUE]:
        c = m[s + S.QUEUE]
        if m[c + C.STATE] == C.FAILED:  # it has waited too long
            m[s + S.QUEUE] = m[c + C.NEXT]
            give_row(m, c)
            continue
        if not (m[s + S.IDLE] or m[s + S.OPEN] < m[K.LIMIT]):
            break
        m[s + S.QUEUE] = m[c + C.NEXT]
        m[s + S.WAITING] -= 1
        if c == new:
            new = m[c + C.NEXT]
        grant(m, s, now_us, c)
    while new:  # the others of this instant wait
        key = key_of(m[new + C.ASKED_US] + m[K.TIMEOUT_US], m[s + S.SLOT], E.TIMER)
        push(m, key, m[new + C.ORDER], what_of(E.EXPIRY, new, m[s + S.AGE]))
        new = m[new + C.NEXT]


@njit
def queue_asked(m, s):
    """Calls of this instant go behind those that wait; the first of them."""
    new = c = m[s + S.ASKED]
    m[s + S.ASKED] = 0
    if new:
        if m[s + S.QUEUE]:
            m[m[s + S.QUEUE_END] + C.NEXT] = new
        else:
            m[s + S.QUEUE] = new
    while c:
        m[s + S.QUEUE_END] = c
        m[s + S.WAITING] += 1
        c = m[c + C.NEXT]
    return new


@njit
def grant(m, s, now_us, c):
    m[c + C.STATE] = C.GRANTED
    m[s + S.IN_USE] += 1
    change_level(m, m[s + S.BIN] + B.IN_USE, m[s + S.IN_USE], 1, now_us)
    if now_us > m[c + C.ASKED_US]:
        note_wait(m, s, now_us, c, 1)
    if m[s + S.IDLE]:
        m[s + S.IDLE] -= 1
    else:
        m[c + C.OPENS] = 1
        if let_in(m, now_us) >= m[K.CLIENTS_MAX]:
            m[c + C.REFUSED] = 1
            m[s + S.TURNED_AWAY] += 1
        m[s + S.OPEN] += 1
    opened(m, s, now_us)
    plan(m, s, now_us, E.POOL, E.START, c)


@njit
def opened(m, s, now_us):
    """So many connections are open from now on."""
    count_connections(m, s, now_us)
    highest(m, m[s + S.BIN] + B.OPEN_MAX, m[s + S.OPENED])


@njit
def let_in(m, now_us):
    """Connections that Postgres has let in, of all processes; one that exits holds its own to the end of the instant."""
    total, s = m[G.EXIT_OPEN] if now_us == m[G.EXIT_US] else 0, m[G.FIRST]
    while s:
        total += m[s + S.OPEN] - m[s + S.TURNED_AWAY]
        s = m[s + S.NEXT]
    return total


@njit
def note_wait(m, s, now_us, c, granted):
    row = m[G.WAITS] + 5 * m[G.WAIT_COUNT]
    m[G.WAIT_COUNT] += 1
    m[row], m[row + 1], m[row + 2], m[row + 3] = m[c + C.PART], m[c + C.ASKED_US], now_us, granted
    m[row + 4] = m[s + S.NUMBER]


@njit
def expire(m, s, now_us, c):
    """Whether a call that waits has waited too long."""
    if m[c + C.STATE] != C.WAITS or m[c + C.ASKED_US] + m[K.TIMEOUT_US] != now_us:  # the row is another call's by now
        return False
    m[c + C.STATE] = C.FAILED  # its place in the queue is given back when it comes up
    m[s + S.WAITING] -= 1
    time_out(m, s, now_us, c)
    return True


@njit
def time_out(m, s, now_us, c):
    """A call has waited as long as it may, for its turn or for its connection to open."""
    m[s + S.TIMEOUTS] += 1
    note_wait(m, s, now_us, c, 0)


@njit
def start(m, d, s, now_us, c):
    """A call has a connection, or opens one; False if the draw that it needs has to be made first."""
    if not m[c + C.OPENS]:
        return run(m, d, s, now_us, c)
    # The time to wait for a connection goes on while it is opened: whichever limit comes first ends the call.
    most_us = min(m[K.CONNECT_TIMEOUT_US], m[c + C.ASKED_US] + m[K.TIMEOUT_US] - now_us)
    if m[c + C.REFUSED] or is_down(m, now_us):
        if not m[c + C.REFUSED]:
            m[c + C.REFUSED] = 1
            m[s + S.TURNED_AWAY] += 1
            count_connections(m, s, now_us)
        m[s + S.REFUSALS] += 1
        m[m[s + S.BIN] + B.REFUSED] += 1
        plan(m, s, now_us + min(m[K.REFUSED_US], most_us), E.DATABASE, E.DISCARD, c)
    elif m[K.CONNECT_US] > most_us:
        m[c + C.STATE] = C.TOO_LATE if most_us < m[K.CONNECT_TIMEOUT_US] else C.GRANTED
        plan(m, s, now_us + most_us, E.DATABASE, E.DISCARD, c)
    elif m[K.CONNECT_US] > 0:
        plan(m, s, now_us + m[K.CONNECT_US], E.DATABASE, E.OPENED, c)
    else:
        return run(m, d, s, now_us, c)
    return True


@njit
def release(m, s, now_us):
    """A connection is idle again, unless it broke."""
    if m[s + S.BROKEN]:
        m[s + S.BROKEN] -= 1
        m[s + S.OPEN] -= 1
    else:
        m[s + S.IDLE] += 1
    give_back(m, s, now_us)


@njit
def discard(m, s, now_us, c):
    """A connection could not be opened."""
    m[s + S.TURNED_AWAY] -= m[c + C.REFUSED]
    m[s + S.BROKEN] = max(m[s + S.BROKEN] - 1, 0)
    m[s + S.OPEN] -= 1
    give_back(m, s, now_us)
    highest(m, m[s + S.BIN] + B.OPEN_MAX, m[s + S.OPENED])
    if m[c + C.STATE] == C.TOO_LATE:
        time_out(m, s, now_us, c)


@njit
def give_back(m, s, now_us):
    m[s + S.IN_USE] -= 1
    change_level(m, m[s + S.BIN] + B.IN_USE, m[s + S.IN_USE], -1, now_us)
    count_connections(m, s, now_us)
    if m[s + S.WAITING]:
        arbitrate_later(m, s, now_us)


@njit
def break_all(m, s, now_us):
    """Postgres goes down: what is idle is gone, what is held will be."""
    m[s + S.BROKEN] = m[s + S.OPEN] - m[s + S.IDLE]
    m[s + S.OPEN] -= m[s + S.IDLE]
    m[s + S.IDLE] = 0
    count_connections(m, s, now_us)

"""The kernel: one loop over everything that happens, in order.

It runs until the block is over, or until it needs something that only NumPy can make: a block of draws, or more room.
Whatever it was about to do is then still to be done.
"""

from __future__ import annotations

from numba import njit

from capsim.engine.kernel import loop, pool, visits, writer
from capsim.engine.kernel.bins import bins_until, close_bin, count_connections, cut_levels, open_bin, say
from capsim.engine.kernel.fields import call as C
from capsim.engine.kernel.fields import event as E
from capsim.engine.kernel.fields import process as S
from capsim.engine.kernel.fields import setting as K
from capsim.engine.kernel.fields import whole as G
from capsim.engine.kernel.fields import writer as W
from capsim.engine.kernel.plan import give_row, key_of, plan, pop, push

FROM_HEAP, REQUEST, READ, DONE_REQUEST = range(4)  # where the next thing comes from


def run(m, d, at_us, kind, process, session):
    """Simulate up to the limit that is set; says why it stops.

    ``at_us``, ``kind``, ``process``, ``session``: the block's requests, ascending, and the row of each one's process.
    """
    if m[G.DYING]:
        bins_until(m, m[G.LIMIT])
        dies(m, m[G.DYING], m[G.LIMIT])
        return E.ENDED
    if m[G.BORN]:
        bins_until(m, m[G.NOW])
        born(m, m[G.BORN], m[G.NOW])
    limit, requests, pause = m[G.LIMIT] << (E.SLOT_BITS + E.PHASE_BITS), len(at_us), m[G.EVENTS] + E.PAUSE_EVENTS
    while True:
        key, source, s = m[m[G.HEAP]] if m[G.HEAP_SIZE] else E.NEVER_US, FROM_HEAP, 0
        place = m[G.ARRIVAL]
        if place < requests:
            other = key_of(at_us[place], m[process[place] + S.SLOT], E.ARRIVAL)
            if other < key:
                key, source, s = other, REQUEST, process[place]
        key, source, s = soonest(m, key, source, s)
        if key >= limit:
            break
        if (source == FROM_HEAP or source == READ or m[G.EVENTS] & 15 == 0) and is_short(m):  # noqa: PLR1714
            return E.NEED_ROOM
        now_us = key >> (E.SLOT_BITS + E.PHASE_BITS)
        if m[G.EVENTS] > pause:
            return E.PAUSE
        m[G.NOW] = now_us
        bins_until(m, now_us)
        if source == REQUEST:
            if m[s + S.TAIL] - m[s + S.HEAD] >= m[s + S.RING_SIZE]:
                return E.NEED_ROOM
            m[G.ARRIVAL] = place + 1
            loop.request(m, s, now_us, kind[place], session[place] if len(session) else -1, 0)
        elif source == DONE_REQUEST:
            if m[K.BEATS] and is_full(m, s):
                return E.NEED_ROOM
            complete(m, s, now_us)
        elif source == READ:
            r = m[G.READS] + E.READ_SIZE * m[G.READ]
            m[G.READ] += 1
            visits.read(m, d, s, now_us, r + 2)
        else:
            order, what = m[m[G.HEAP] + 1], m[m[G.HEAP] + 2]
            pop(m)
            if not happen(m, d, key, what):
                push(m, key, order, what)
                return E.NEED_DRAWS
            if m[G.ENDED]:
                return E.ENDED
        m[G.EVENTS] += 1
    if m[G.LIMIT] == m[G.TO]:
        bins_until(m, m[G.TO])
        close_bin(m, m[G.TO])
    return E.DONE


@njit
def is_short(m):
    """Whether there may be too little room for the next events."""
    if m[G.FREE_COUNT] < E.ROOM or m[G.VISIT_FREE_COUNT] < E.ROOM or m[G.STUCK_ROOM] - m[G.STUCK_COUNT] < E.ROOM:
        return True
    need, s = E.ROOM, m[G.FIRST]
    while s:
        need += m[s + S.WAITING]
        if m[s + S.TAIL] - m[s + S.HEAD] >= m[s + S.RING_SIZE]:
            return True
        s = m[s + S.NEXT]
    if m[G.HEAP_ROOM] - m[G.HEAP_SIZE] < need or m[G.WAIT_ROOM] - m[G.WAIT_COUNT] < need:
        return True
    if not m[G.KEEP]:
        return False
    return (
        m[G.ATTEMPT_ROOM] - m[G.ATTEMPT_COUNT] < E.ROOM
        or m[G.TAKE_ROOM] - m[G.TAKE_COUNT] < E.ROOM
        or m[G.VISIT_ROOM] - m[G.VISIT_COUNT] < E.ROOM
    )


@njit
def is_full(m, s):
    """Whether there is no place for one more heartbeat whose session has to be known when it is written."""
    w = m[s + S.WRITERS] + E.HEARTBEATS * W.SIZE
    oldest = m[w + W.FIRST] if m[w + W.FLUSHING] else m[w + W.HEAD]
    return m[w + W.SEEN] - oldest >= m[s + S.BEATS_SIZE]


@njit
def soonest(m, key, source, s):
    """What comes next: something planned or a request, or else a read, or a request that is done."""
    if m[G.READ] < m[G.READ_COUNT]:
        r = m[G.READS] + E.READ_SIZE * m[G.READ]
        other = key_of(m[r], m[m[r + 1] + S.SLOT], E.VISIT)
        if other < key:
            key, source, s = other, READ, m[r + 1]
    p = m[G.FIRST]
    while p:
        if m[p + S.HEAD] < m[p + S.TAIL]:
            done_us = m[m[p + S.RING] + 3 * (m[p + S.HEAD] & (m[p + S.RING_SIZE] - 1))]
            other = key_of(done_us, m[p + S.SLOT], E.COMPLETION)
            if other < key:
                key, source, s = other, DONE_REQUEST, p
        p = m[p + S.NEXT]
    return key, source, s


@njit
def complete(m, s, now_us):
    """A request is done: its item reaches the writer."""
    place = m[s + S.RING] + 3 * (m[s + S.HEAD] & (m[s + S.RING_SIZE] - 1))
    m[s + S.HEAD] += 1
    say(m, s, now_us, E.LINES_OF_REQUESTS, 1)
    kind, session = m[place + 1] & 3, m[place + 1] >> 2
    if kind < E.OTHER:
        w = m[s + S.WRITERS] + kind * W.SIZE
        m[w + W.IN_LOOP] -= 1
        writer.arrive(m, w, now_us, session, m[place + 2])


@njit
def happen(m, d, key, what):
    """Something planned happens; False if a draw has to be made first."""
    now_us, slot = key >> (E.SLOT_BITS + E.PHASE_BITS), (key >> E.PHASE_BITS) & ((1 << E.SLOT_BITS) - 1)
    kind, row, number = what >> 58, (what >> 31) & 0x7FFFFFF, what & 0x7FFFFFFF
    s = m[m[G.SLOTS] + slot]
    if kind == E.WRITER_TIMER:
        if s and m[row + W.PROCESS] == s and (m[row + W.TIMER_NUMBER] & 0x7FFFFFFF) == number:
            writer.timer_due(m, row, now_us)
        return True
    if s == 0 or (m[s + S.AGE] & 0x7FFFFFFF) != number:
        forget(m, kind, row)
        return True
    if kind == E.START:
        return pool.start(m, d, s, now_us, row)
    if kind == E.OPENED:
        return pool.run(m, d, s, now_us, row)
    if kind == E.ARBITRATE:
        pool.arbitrate(m, s, now_us)
    elif kind in (E.CALL_END, E.DISCARD, E.EXPIRY):
        end_of_call(m, d, s, now_us, kind, row)
        exits(m, s, now_us)
    elif kind in (E.JOB, E.RESULT_BUILT, E.AGAIN):
        of_loop(m, d, s, now_us, kind, row)
    elif kind in (E.CLEANUP, E.METRICS, E.RESUME):
        of_visits(m, d, s, now_us, kind, row)
    elif kind == E.WRITER_REQUEST:
        m[row + W.REQUESTED] = 0
        writer.flush(m, row, now_us, E.REQUEST)
    elif kind == E.NEXT_ATTEMPT:
        writer.attempt(m, row, now_us, m[row + W.ATTEMPT] + 1)
    elif kind == E.DOWN:
        pool.break_all(m, s, now_us)
    else:
        of_shutdown(m, s, now_us, kind, row)
        exits(m, s, now_us)
    return True


@njit
def end_of_call(m, d, s, now_us, kind, c):
    """A call has ended, could not be opened, or has waited too long; whoever made it goes on."""
    ok = 0
    if kind == E.EXPIRY:
        if not pool.expire(m, s, now_us, c):
            return
    elif kind == E.DISCARD:
        pool.discard(m, s, now_us, c)
    else:
        pool.release(m, s, now_us)
        ok = m[c + C.OK]
    part, owner, rows = m[c + C.PART], m[c + C.OWNER], m[c + C.ROWS]
    if kind != E.EXPIRY:  # which still stands in the queue
        give_row(m, c)
    if part < 3:
        writer.call_ended(m, owner, now_us, ok, rows)
    else:
        visits.call_ended(m, d, s, now_us, owner, ok)


@njit
def of_loop(m, d, s, now_us, kind, row):
    if kind == E.JOB:
        loop.job(m, d, s, now_us, row)
    elif kind == E.AGAIN:
        loop.again(m, s, now_us, row)
    else:
        loop.result_built(m, s, now_us, row)


@njit
def of_visits(m, d, s, now_us, kind, row):
    if kind == E.CLEANUP:
        visits.cleanup_turn(m, s, now_us)
    elif kind == E.METRICS:
        visits.metrics_turn(m, s, now_us)
    else:
        visits.look_up(m, d, s, now_us, row)


@njit
def of_shutdown(m, s, now_us, kind, row):
    if kind == E.LOOK:
        writer.look(m, row, now_us, E.TIMER)
        return
    for stream in range(3):
        writer.close(m, m[s + S.WRITERS] + stream * W.SIZE, now_us)


# --- the life of a process ---


@njit
def born(m, s, now_us):
    """A process is healthy: requests come to it. Its row has been made ready; it is the last in order."""
    m[G.BORN] = 0
    if m[G.FIRST]:
        last = m[G.FIRST]
        while m[last + S.NEXT]:
            last = m[last + S.NEXT]
        m[last + S.NEXT] = s
    else:
        m[G.FIRST] = s
    m[m[G.SLOTS] + m[s + S.SLOT]] = s
    m[s + S.ALIVE], m[s + S.FREE_US] = 1, now_us
    open_bin(m, s, m[G.BIN_TO] - now_us)
    m[s + S.SCAVENGE], m[s + S.FULL] = m[K.SCAVENGE_EVERY], m[K.FULL_EVERY]
    m[s + S.TURN] = m[s + S.METRIC] = 1
    if m[K.CLEANUP] and now_us + m[K.CLEANUP_EVERY_US] < m[s + S.ENDS_US]:
        plan(m, s, now_us + m[K.CLEANUP_EVERY_US], E.VISIT, E.CLEANUP, 0)
    if m[K.METRICS] and now_us + m[K.METRICS_EVERY_US] < m[s + S.ENDS_US]:
        plan(m, s, now_us + m[K.METRICS_EVERY_US], E.VISIT, E.METRICS, 0)
    for down in range(m[K.DOWNS]):
        if m[m[G.DOWNS] + 2 * down] >= now_us:
            plan(m, s, m[m[G.DOWNS] + 2 * down], E.TIMER, E.DOWN, 0)
    if m[s + S.TERM_US] >= 0:
        plan(m, s, m[s + S.TERM_US], E.SHUTDOWN, E.SIGTERM, 0)


@njit
def exits(m, s, now_us):
    """When shutdown() has resolved, the process exits: what is still out is lost."""
    if m[s + S.RESOLVED] == 3:
        m[s + S.EXITED] = 1
        dies(m, s, now_us + 1)  # it holds what it holds to the end of the instant


@njit
def dies(m, s, end_us):
    """A process ends, and holds nothing from then on; what it held is lost."""
    cut_levels(m, s, end_us)
    if m[s + S.EXITED]:
        m[G.GONE_USED] += m[s + S.USED]
        m[G.GONE_OPENED] += m[s + S.OPENED]
        if m[G.EXIT_US] != end_us - 1:
            m[G.EXIT_US], m[G.EXIT_OPEN] = end_us - 1, 0
        m[G.EXIT_OPEN] += m[s + S.OPEN] - m[s + S.TURNED_AWAY]
    else:
        m[s + S.OPEN] = m[s + S.TURNED_AWAY] = 0
        count_connections(m, s, end_us)
    m[s + S.ALIVE], m[s + S.END_US], m[s + S.HEAD] = 0, end_us, m[s + S.TAIL]
    forget_calls(m, m[s + S.QUEUE])
    forget_calls(m, m[s + S.ASKED])
    m[s + S.QUEUE] = m[s + S.ASKED] = m[s + S.WAITING] = 0
    m[m[G.SLOTS] + m[s + S.SLOT]] = 0
    before = m[G.FIRST]
    if before == s:
        m[G.FIRST] = m[s + S.NEXT]
    else:
        while m[before + S.NEXT] != s:
            before = m[before + S.NEXT]
        m[before + S.NEXT] = m[s + S.NEXT]
    m[s + S.NEXT] = m[G.DYING] = 0
    m[G.ENDED] = s


@njit
def forget(m, kind, row):
    """What a process has left behind: its rows are free."""
    if kind in (E.JOB, E.RESULT_BUILT, E.AGAIN):
        give_row(m, row)
    elif kind in (E.START, E.OPENED, E.CALL_END, E.DISCARD):
        forget_call(m, row)
    elif kind == E.RESUME:
        visits.give_visit(m, row)


@njit
def forget_call(m, c):
    if m[c + C.PART] > 2:
        visits.give_visit(m, m[c + C.OWNER])
    give_row(m, c)


@njit
def forget_calls(m, c):
    """Calls that wait for a connection, or have just asked."""
    while c:
        following = m[c + C.NEXT]
        if m[c + C.STATE] == C.FAILED:
            give_row(m, c)
        else:
            forget_call(m, c)
        c = following

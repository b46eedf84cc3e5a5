"""A batch writer: its buffer, its timer, its flushes, its shutdown (oracle §2 to §7).

Two quirks of the originals decide most cases: a timer that fires while a batch is out still counts as armed, and an
arrival at a full buffer asks for nothing. The rules ``recommended`` have neither.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import simpy

from capsim.engine.kernel.fields import bin as B
from capsim.engine.simpy_engine.bins import ERROR, INFO, WARN, Bins
from capsim.engine.simpy_engine.clock import DATABASE, REQUEST, SHUTDOWN, TIMER, Moment, Story, Time
from capsim.engine.simpy_engine.pool import Pool
from capsim.scenario.server import WriterSpec
from capsim.scenario.workload import STREAMS

HEARTBEATS = 2
GRACE_US, LOOK_US = 3_000_000, 100_000  # a shutdown waits so long for a batch, and looks this often (oracle §6)
CHUNK_ROWS, PIECE_ROWS = 250, 500  # rows of one statement: heartbeats of ``fixed`` (oracle §5), and ``recommended``
FIRST_PAUSE_US, LONGEST_PAUSE_US = 100_000, 5_000_000  # ``recommended``: before the second attempt; at most
Items = Sequence[tuple[int, int]]  # whose heartbeat each is, and when it came [us]


class Timer:
    """A timer that has been armed; once it has fired it is spent."""

    spent = False


@dataclass
class Batch:
    """What a flush has taken: its number, when, the items that were accepted, and where their numbers stand."""

    number: int
    taken_us: int
    rows: int
    items: Items
    first: int
    next: int
    written: int = 0

    @property
    def to(self) -> int:
        """Behind the number of the last item that was accepted."""
        return self.first + len(self.items)


@dataclass
class Attempt:
    """One try to write a batch."""

    number: int
    start_us: int
    calls: int = 0
    counted: int = 0
    inserted: int = 0
    failed: set[int] = field(default_factory=set)  # single updates that failed, by place


@dataclass
class Facts:
    """Who is told what a writer does; of parts that nobody asks about nothing is kept."""

    take: Callable[[BatchWriter, Batch, int], None] = lambda writer, batch, phase: None
    attempt: Callable[[BatchWriter, Batch, Attempt, bool, bool, int], None] = lambda *_: None
    stuck: Callable[[BatchWriter, int, int], None] = lambda writer, from_us, to_us: None
    written: Callable[[Items], None] = lambda items: None


class BatchWriter:
    """One of the three writers of a process.

    Parameters
    ----------
    time, pool, bins
        Of its process.
    stream : int
        Its place in `capsim.scenario.server.STREAMS`.
    spec : WriterSpec
        Its rules.
    build : callable, optional
        Makes the one thread build the rows of a flush.
    first : int
        Number of its first item; draws of the database are addressed by it.
    """

    def __init__(
        self,
        time: Time,
        pool: Pool,
        bins: Bins,
        stream: int,
        spec: WriterSpec,
        *,
        build: Callable[[int], None] = lambda rows: None,
        facts: Facts | None = None,
        first: int = 0,
    ) -> None:
        self.time, self.pool, self.bins, self.stream, self.spec = time, pool, bins, stream, spec
        self.build, self.facts, self.column = build, facts or Facts(), stream * B.WRITER
        self.buffer: list[tuple[int, int]] = []
        self.sessions: set[int] = set()  # of a buffer that is keyed by them
        self.timer: Timer | None = None
        self.batch: Batch | None = None  # that is out
        self.trying: Attempt | None = None  # None during a pause
        self.closed_us: int | None = None
        self.looking = self.refusing = False
        self.pending_requests = self.held = 0
        self.stuck_us, self.line_s = -1, -1
        self.head = self.seen = first
        self.count = self.largest = self.entries = self.batches = self.requests = self.rejected = 0
        self.flushed = self.failed = self.dropped_cap = self.dropped_failed = self.uncounted = 0
        self.over = time.event()  # the flush that is out

    # --- arrivals and the timer (oracle §3) ---

    def arrive(self, session: int = -1, came_us: int = 0) -> None:
        """An item reaches the writer."""
        self.seen += 1
        if self.closed_us is not None:
            self.rejected += 1
        elif self.count >= self._room:
            self._refuse()
        else:
            self._store(session, came_us)
            if self.count == 1:
                self._arm()
            if self.count >= self.spec.batch_rows:
                self.timer = None
                self._request()

    @property
    def _room(self) -> int:
        """Places of the buffer; ``recommended`` counts what is out, and always leaves one."""
        return max(self.spec.cap - self.held, 1) if self.held else self.spec.cap

    def _refuse(self) -> None:
        self.refusing = True
        self.dropped_cap += 1
        self.bins.count(self.column + B.DROPPED_CAP)
        second = self.time.now // 1_000_000
        if self.spec.semantics != "recommended" or second != self.line_s:  # which logs one line a second
            self.bins.say(self.time.now, ERROR)
        self.line_s = second

    def _store(self, session: int, came_us: int) -> None:
        self.buffer.append((session, came_us))
        if self.stream == HEARTBEATS and self.spec.keyed and session >= 0:
            if session in self.sessions:
                return  # it takes the place of the one before
            self.sessions.add(session)
        self.count += 1
        self.entries += 1
        self.largest = max(self.largest, self.count)
        self.bins.level(self.column + B.BUFFER, 1, self.time.now)

    def _arm(self) -> None:
        if self.timer is None:
            self.timer = Timer()
            due = self.time.at(self.time.now + self.spec.delay_ms * 1_000, TIMER)
            self.time.tell(self._wait_for_timer(self.timer, due))

    def _wait_for_timer(self, timer: Timer, due: Moment) -> Story:
        yield due
        if self.timer is timer:
            timer.spent = True
            self.flush(TIMER)

    def _request(self) -> None:
        self.requests += 1
        self.pending_requests += 1
        self.time.tell(self._flush_as_requested(self.time.at(self.time.now, REQUEST)))

    def _flush_as_requested(self, last_phase: Moment) -> Story:
        yield last_phase
        self.pending_requests -= 1
        self.flush(REQUEST)

    # --- flushes (oracle §4) ---

    def flush(self, phase: int) -> None:
        """Take the whole buffer, unless a batch is out."""
        if self.batch is not None:
            return
        self.timer = None
        if self.count:
            batch = self.batch = self._take(phase)
            self.build(batch.rows)
            self.time.tell(self._write(batch))

    def _take(self, phase: int) -> Batch:
        now_us, rows = self.time.now, self.count
        batch = Batch(self.batches, now_us, rows, self.buffer, self.head, self.seen)
        self.trying = Attempt(1, now_us)
        self.batches += 1
        self.buffer, self.sessions, self.head, self.count, self.refusing = [], set(), self.seen, 0, False
        self.held = rows if self.spec.semantics == "recommended" else 0
        self.over = self.time.event()
        if 0 <= self.stuck_us < now_us:
            self.facts.stuck(self, self.stuck_us, now_us)
        self.stuck_us = -1
        self.bins.level(self.column + B.BUFFER, -rows, now_us)
        self.bins.row[self.column + B.BUFFER_MIN] = 0
        self.bins.level(self.column + B.OUT, rows, now_us)
        self.bins.count(self.column + B.FLUSHES)
        self.facts.take(self, batch, phase)
        return batch

    def _write(self, batch: Batch) -> Story:
        for number in count(1):
            attempt = self.trying = Attempt(number, self.time.now)
            ok = yield from self.attempt(batch, attempt)
            pause_us = None if ok else self._pause_after(batch, number)
            lost = self._count(batch, attempt, ok=ok, last=pause_us is None)
            if pause_us is None:
                break
            self.trying = None
            if pause_us:
                yield self.time.at(self.time.now + pause_us, TIMER)
        self._end(batch, attempt, lost, ok=ok)

    def _end(self, batch: Batch, attempt: Attempt, lost: int, *, ok: bool) -> None:
        """The last attempt is over."""
        if ok:
            self.uncounted += lost
            self.bins.count(self.column + B.UNCOUNTED, lost)
            self.facts.written([item for place, item in enumerate(batch.items) if place not in attempt.failed])
        else:
            self.failed += 1
            self.dropped_failed += lost
            self.bins.count(self.column + B.DROPPED_FAILED, lost)
        self._finish(batch.rows)

    def _finish(self, rows: int) -> None:
        self.bins.level(self.column + B.OUT, -rows, self.time.now)
        self.batch, self.trying, self.held, over = None, None, 0, self.over
        if self.count and self.spec.semantics == "recommended":
            if self._timer_is_off or self.refusing:  # a timer that fired meanwhile, a shutdown, or a full buffer
                self.flush(DATABASE)
        elif self.count and self.spec.semantics == "fixed":
            if self.count >= self.spec.batch_rows:
                self._request()
            else:
                self._arm()
        if self.batch is None and self.count and self._timer_is_off and not self.pending_requests and not self.looking:
            self.stuck_us = self.time.now  # nothing will flush what is left, unless more comes
        over.succeed()

    @property
    def _timer_is_off(self) -> bool:
        return self.timer is None or self.timer.spent

    # --- attempts (oracle §5) ---

    def attempt(self, batch: Batch, attempt: Attempt) -> Generator[simpy.Event, Any, bool]:
        """Try to write a batch: in one statement, in pieces, or one by one; whether that succeeds."""
        kind, size = "update" if self.stream == HEARTBEATS else "insert", self._statement_rows(batch)
        for step, begin in enumerate(range(batch.written, batch.rows, size)):
            rows = min(size, batch.rows - begin)
            attempt.calls += 1
            if (yield from self.pool.call(self.stream, kind, attempt.number, batch.first + step, rows)):
                attempt.counted += rows
                attempt.inserted += rows * (kind == "insert")
            elif self._one_by_one:
                attempt.failed.add(step)  # skipped, and counted nowhere
            else:
                if self.spec.semantics != "recommended":  # which goes on where it came to
                    attempt.counted = attempt.inserted = 0
                return False
        return True

    @property
    def _one_by_one(self) -> bool:
        return self.stream == HEARTBEATS and self.spec.semantics == "seed"

    def _statement_rows(self, batch: Batch) -> int:
        if self.spec.semantics == "recommended":
            return PIECE_ROWS
        if self.stream != HEARTBEATS:
            return batch.rows
        return 1 if self._one_by_one else CHUNK_ROWS

    def _pause_after(self, batch: Batch, number: int) -> int | None:
        """How long until the next attempt [us]; None to give the batch up."""
        if self.spec.semantics != "recommended":
            return 0 if number == 1 else None
        pause_us = min(FIRST_PAUSE_US << min(number - 1, 10), LONGEST_PAUSE_US)
        last_us = batch.taken_us + self.spec.retry_for_ms * 1_000
        if self.closed_us is not None:
            last_us = min(last_us, self.closed_us + GRACE_US)
        return pause_us if self.time.now + pause_us <= last_us else None

    def _count(self, batch: Batch, attempt: Attempt, *, ok: bool, last: bool) -> int:
        """Count an attempt that is over; how many of its rows are lost."""
        lost = batch.rows - batch.written - attempt.counted if last else 0
        self.flushed += attempt.counted
        self.bins.count(self.column + B.WRITTEN, attempt.counted)
        self.bins.count(B.CALLS, attempt.calls)
        self.bins.count(B.INSERTED, attempt.inserted)
        self.bins.count(B.UPDATED, attempt.counted * (self.stream == HEARTBEATS))
        self.bins.say(self.time.now, INFO if ok else ERROR)
        self.bins.say(self.time.now, WARN, len(attempt.failed))
        self.facts.attempt(self, batch, attempt, ok, last, lost)
        if not ok:
            batch.written += attempt.counted
        return lost

    # --- shutdown (oracle §6) ---

    def shut_down(self) -> Story:
        """Refuse what comes, wait for the batch that is out as long as the grace lasts, and write what is left.

        Returns how many items were left.
        """
        self.closed_us, self.timer, phase = self.time.now, None, SHUTDOWN
        while self.batch is not None and self.time.now - self.closed_us < GRACE_US:
            self.looking, phase = True, TIMER
            yield self.time.at(self.time.now + LOOK_US, TIMER)
        self.looking = False
        left = self.count
        if left and self.batch is None:
            self.flush(phase)
            yield self.over
        return left

    # --- what is known at the end ---

    def counts(self, in_loop: int = 0) -> dict[str, int]:
        """What has become of its items; as the kernel says it."""
        batch = self.batch
        return {
            "seen": self.seen, "in_loop": in_loop, "buffered": self.count,
            "in_flight": batch.rows - batch.written if batch else 0, "written": self.flushed,
            "dropped_cap": self.dropped_cap, "dropped_failed": self.dropped_failed, "uncounted": self.uncounted,
            "rejected": self.rejected, "entries": self.entries, "batches": self.batches, "requests": self.requests,
            "largest": self.largest, "stuck_us": self.stuck_us,
        }  # fmt: skip

    @property
    def name(self) -> str:
        """Its stream."""
        return STREAMS[self.stream]

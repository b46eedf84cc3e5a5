"""The plain twin's clock and its batch writer: one event per arrival, as slow and obvious as the rules.

Written from the rules alone, without arrays and without look-ahead; nothing of `capsim.engine` is used here.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from itertools import count
from typing import Literal, Protocol

# What happens first inside one instant.
TIMERS, CALL_ENDS, ARRIVALS, SHUTDOWN, REQUESTS, CONNECTIONS = range(1, 7)

CHUNK_ROWS = 250  # heartbeats of one call, in the later version
LOOK_EVERY_US = 100_000
GRACE_US = 3_000_000
PIECE_ROWS = 500  # rows of one call of the recommended writer
PAUSES_US = (100_000, 200_000, 400_000, 800_000, 1_600_000, 3_200_000)  # after its failed attempts; then 5 s

Kind = Literal["insert", "update"]
Done = Callable[[str], None]  # told "ok", "fail" or "notfound" when a call has ended


class Clock:
    """Plays actions in order of time, then phase, then the order in which they were planned."""

    def __init__(self) -> None:
        self.now_us = 0
        self.stopped = False  # in the middle of an instant: nothing happens any more
        self._plan: list[tuple[int, int, int, Callable[[], None]]] = []
        self._orders = count()

    def at(self, time_us: int, phase: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._plan, (time_us, phase, next(self._orders), action))

    def next_us(self) -> int | None:
        """When something is planned next; None if nothing is."""
        return self._plan[0][0] if self._plan and not self.stopped else None

    def run(self, end_us: int, after_instant: Callable[[], None]) -> None:
        """Play up to `end_us` inclusive; `after_instant` looks at the state when an instant is over."""
        while self._plan and self._plan[0][0] <= end_us:
            self.now_us = self._plan[0][0]
            while self._plan and self._plan[0][0] == self.now_us:
                heapq.heappop(self._plan)[3]()
                if self.stopped:
                    return
            after_instant()
        self.now_us = end_us


@dataclass(frozen=True)
class Rules:
    """What a writer was told before the run."""

    heartbeats: bool
    fixed: bool
    batch_rows: int
    delay_us: int
    cap_rows: int | None
    unmatched_per_call: int = 0
    closed_sessions: int | None = None  # None: nothing is reconciled after an insert
    too_late: bool = False
    recommended: bool = False
    retry_for_us: int = 0

    @property
    def keeps_latest(self) -> bool:
        """Whether the buffer is a map with one place per session."""
        return self.heartbeats and (self.fixed or self.recommended)


@dataclass
class Attempt:
    """One attempt of a flush, with the columns of `capsim.scenario.columns.BATCHES`."""

    writer: str
    batch: int
    attempt: int
    start_us: int
    end_us: int = -1
    ok: bool = False
    rows: int = 0
    calls: int = 0
    counted: int = 0
    first_item: int = 0
    accepted_to: int = 0
    next_item: int = 0


class Database(Protocol):
    """Takes calls, and tells the caller when they have ended."""

    def call(self, part: str, kind: Kind, attempt: int, item: int, rows: int, done: Done) -> None: ...


@dataclass
class Shutdown:
    """What was seen when a writer was told to stop, and when it had."""

    call_us: int
    buffer_at_call: int
    inflight_at_call: int
    flushed_at_call: int
    dropped_at_call: int
    resolve_us: int = -1
    buffer_at_resolve: int = 0
    inflight_at_resolve: int = 0
    flushed_since_call: int = 0
    dropped_since_call: int = 0


@dataclass
class Writer:
    """One batch writer: a buffer, a timer, and at most one batch out."""

    name: str
    rules: Rules
    clock: Clock
    database: Database

    # session (or, without a map, the arrival's number) -> (session, arrival time)
    buffer: dict[int, tuple[int, int]] = field(default_factory=dict)
    armed: Literal["none", "live", "spent"] = "none"
    timer: int = 0  # number of the timer that may still fire
    batch: list[tuple[int, int]] = field(default_factory=list)  # the batch that is out
    flushing: bool = False
    closing: bool = False
    look_pending: bool = False

    flushed: int = 0
    failed: int = 0
    dropped_cap: int = 0
    dropped_failed: int = 0
    rejected: int = 0
    replaced: int = 0
    requests: int = 0
    max_buffer: int = 0
    max_wait_us: int = 0
    first_drop_us: int = -1
    first_cap_drop_us: int = -1
    cap_drop_starts_us: list[int] = field(default_factory=list)
    previous_was_dropped: bool = False
    missed: list[int] = field(default_factory=list)  # places in the batch whose own update failed
    next_line_us: int = 0  # of the recommended writer: one line a second says how many were refused
    taken_us: int = 0
    written: int = 0  # rows of the batch that is out that are in the database
    rows_inserted: int = 0
    log: dict[str, int] = field(default_factory=lambda: {"error": 0, "warn": 0, "info": 0, "debug": 0})
    attempts: list[Attempt] = field(default_factory=list)
    batches: int = 0
    arrived: int = 0
    first_item: int = 0  # number of the first arrival after the last take
    first_refused: int | None = None  # number of the first arrival since then that found the buffer full
    stuck: list[tuple[int, int]] = field(default_factory=list)  # [from, to), -1 while it lasts
    stop: Shutdown | None = None
    waits_for_last_flush: bool = False
    resolved: Callable[[], None] = lambda: None  # told when its shutdown has resolved

    # --- the timer ----------------------------------------------------------------------------------------

    def arm(self) -> None:
        if self.armed != "none":
            return
        self.armed = "live"
        self.timer += 1
        number = self.timer
        self.clock.at(self.clock.now_us + self.rules.delay_us, TIMERS, lambda: self.timer_due(number))

    def disarm(self) -> None:
        self.armed = "none"

    def timer_due(self, number: int) -> None:
        if self.armed == "live" and self.timer == number:
            self.armed = "spent"  # and so it stays until a flush starts or a batch is full
            self.flush()

    # --- arrivals -----------------------------------------------------------------------------------------

    def arrive(self, session: int | None) -> None:
        """One item is offered; without a session it has one of its own."""
        number, now_us = self.arrived, self.clock.now_us
        self.arrived += 1
        if self.closing:
            self.rejected += 1
            self.log["warn"] += 1
            return
        cap = self.rules.cap_rows
        if cap is not None and self.rules.recommended and self.batch:
            cap = max(cap - len(self.batch), 1)  # the batch that is out counts, but one place is left
        if cap is not None and len(self.buffer) >= cap:
            self.refuse(number)
            return
        self.previous_was_dropped = False
        session = number if session is None else session
        place = session if self.rules.keeps_latest else number
        self.replaced += place in self.buffer
        self.buffer[place] = (session, now_us)
        self.max_buffer = max(self.max_buffer, len(self.buffer))
        if len(self.buffer) == 1:
            self.arm()
        if len(self.buffer) >= self.rules.batch_rows:
            self.disarm()
            self.request()

    def refuse(self, number: int) -> None:
        if not self.rules.recommended or self.clock.now_us >= self.next_line_us:
            self.log["error"] += 1
            self.next_line_us = self.clock.now_us + 1_000_000
        self.dropped_cap += 1
        if self.first_refused is None:
            self.first_refused = number
        if self.first_drop_us < 0:
            self.first_drop_us = self.clock.now_us
        if self.first_cap_drop_us < 0:
            self.first_cap_drop_us = self.clock.now_us
        if not self.previous_was_dropped:
            self.cap_drop_starts_us.append(self.clock.now_us)
        self.previous_was_dropped = True

    # --- flushes ------------------------------------------------------------------------------------------

    def request(self) -> None:
        self.requests += 1
        self.clock.at(self.clock.now_us, REQUESTS, self.flush)

    def flush(self) -> None:
        if self.flushing:
            return
        self.disarm()
        if not self.buffer:
            return
        self.flushing = True
        self.batch, self.buffer = list(self.buffer.values()), {}
        self.taken_us, self.written = self.clock.now_us, 0
        oldest_us = min(arrived_us for _, arrived_us in self.batch)
        self.max_wait_us = max(self.max_wait_us, self.clock.now_us - oldest_us)
        first_item, next_item = self.first_item, self.arrived
        accepted_to = next_item if self.first_refused is None else self.first_refused
        self.first_item, self.first_refused = next_item, None
        self.batches += 1
        self.start_attempt(1, first_item, accepted_to, next_item)

    def start_attempt(self, number: int, first_item: int, accepted_to: int, next_item: int) -> None:
        attempt = Attempt(
            writer=self.name,
            batch=self.batches - 1,
            attempt=number,
            start_us=self.clock.now_us,
            rows=len(self.batch),
            first_item=first_item,
            accepted_to=accepted_to,
            next_item=next_item,
        )
        self.attempts.append(attempt)
        calls = self.calls_of_attempt()

        def go_on(outcome: str | None) -> None:
            try:
                kind, rows = calls.send(outcome)
            except StopIteration as end:
                self.end_attempt(attempt, *end.value)
                return
            attempt.calls += 1
            item = first_item + attempt.calls - 1
            self.database.call(self.name, kind, number, item, rows, go_on)

        go_on(None)

    def calls_of_attempt(self) -> Generator[tuple[Kind, int], str | None, tuple[bool, int]]:
        """Yield each call as (kind, rows), be sent its outcome; return (success, items counted)."""
        rules, rows = self.rules, len(self.batch)
        counted = 0
        self.missed = []
        if rules.recommended:
            for start in range(self.written, rows, PIECE_ROWS):
                piece = min(PIECE_ROWS, rows - start)
                if (yield "update" if rules.heartbeats else "insert", piece) == "fail":
                    return False, counted
                counted += piece
            return True, counted
        if rules.heartbeats and not rules.fixed:
            for place in range(rows):
                outcome = yield "update", 1
                counted += outcome != "fail"
                if outcome == "fail":
                    self.missed.append(place)
                if outcome != "ok":
                    self.log["warn" if outcome == "fail" else "debug"] += 1
            return True, counted
        if rules.heartbeats:
            for start in range(0, rows, CHUNK_ROWS):
                chunk = min(CHUNK_ROWS, rows - start)
                if (yield "update", chunk) == "fail":
                    return False, 0
                counted += max(0, chunk - rules.unmatched_per_call)
            return True, counted
        if (yield "insert", rows) == "fail":
            return False, 0
        self.rows_inserted += rows
        if rules.closed_sessions is not None:
            closed = min(rules.closed_sessions, len({session for session, _ in self.batch}))
            for _ in range(1 if rules.too_late else 1 + closed):
                if (yield "update", 1) == "fail":
                    return False, 0
            if closed:
                self.log["warn" if rules.too_late else "info"] += 1
        return True, rows

    def end_attempt(self, attempt: Attempt, ok: bool, counted: int) -> None:
        attempt.end_us, attempt.ok, attempt.counted = self.clock.now_us, ok, counted
        self.flushed += counted
        self.log["info" if ok else "error"] += 1
        if self.rules.recommended:
            self.end_recommended(attempt, ok, counted)
            return
        if not ok and attempt.attempt == 1:
            self.start_attempt(2, attempt.first_item, attempt.accepted_to, attempt.next_item)
            return
        if not ok:
            self.failed += 1
            self.dropped_failed += len(self.batch)
            if self.first_drop_us < 0:
                self.first_drop_us = self.clock.now_us
        self.finish()

    def end_recommended(self, attempt: Attempt, ok: bool, counted: int) -> None:
        self.written += counted
        if not ok:
            tried = attempt.attempt
            pause_us = PAUSES_US[tried - 1] if tried <= len(PAUSES_US) else 5_000_000
            again_us = self.clock.now_us + pause_us
            in_time = again_us <= self.taken_us + self.rules.retry_for_us
            if self.stop is not None and again_us > self.stop.call_us + GRACE_US:
                in_time = False
            if in_time:
                where = (attempt.first_item, attempt.accepted_to, attempt.next_item)
                self.clock.at(again_us, TIMERS, lambda: self.start_attempt(tried + 1, *where))
                return
            self.failed += 1
            self.dropped_failed += len(self.batch) - self.written
        self.finish()

    def finish(self) -> None:
        self.flushing, self.batch = False, []
        if self.rules.recommended and self.buffer:
            if self.armed != "live" or self.first_refused is not None:
                self.flush()  # the timer fired meanwhile, or a batch is full, or the buffer was
            return
        if self.rules.fixed and self.buffer:
            if len(self.buffer) >= self.rules.batch_rows:
                self.request()
            else:
                self.arm()
        if self.waits_for_last_flush:
            self.resolve()

    # --- shutdown -----------------------------------------------------------------------------------------

    def shutdown(self) -> None:
        self.log["info"] += 1
        self.closing = True
        self.disarm()
        self.stop = Shutdown(
            self.clock.now_us,
            len(self.buffer),
            len(self.batch),
            self.flushed,
            self.dropped_cap + self.dropped_failed,
        )
        self.look_or_flush()

    def look_or_flush(self) -> None:
        assert self.stop is not None
        self.look_pending = self.flushing and self.clock.now_us - self.stop.call_us < GRACE_US
        if self.look_pending:
            self.clock.at(self.clock.now_us + LOOK_EVERY_US, TIMERS, self.look_or_flush)
            return
        self.log["info"] += bool(self.buffer)
        if self.buffer and not self.flushing:
            self.waits_for_last_flush = True
            self.flush()
        else:
            self.resolve()

    def resolve(self) -> None:
        assert self.stop is not None
        self.waits_for_last_flush = False
        self.log["info"] += 1
        stop = self.stop
        stop.resolve_us = self.clock.now_us
        stop.buffer_at_resolve, stop.inflight_at_resolve = len(self.buffer), len(self.batch)
        stop.flushed_since_call = self.flushed - stop.flushed_at_call
        stop.dropped_since_call = self.dropped_cap + self.dropped_failed - stop.dropped_at_call
        self.resolved()

    # --- after each instant -------------------------------------------------------------------------------

    def note_stuck(self) -> None:
        """Open or close an interval in which the buffer holds items that nothing is going to flush."""
        waits = bool(self.buffer) and not self.flushing and self.armed != "live" and not self.look_pending
        was_waiting = bool(self.stuck) and self.stuck[-1][1] == -1
        if waits and not was_waiting:
            self.stuck.append((self.clock.now_us, -1))
        elif was_waiting and not waits:
            self.stuck[-1] = (self.stuck[-1][0], self.clock.now_us)

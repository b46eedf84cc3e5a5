"""A batch writer as a coroutine: the recorded rules (oracle/README of the facts), in real or virtual time.

Two quirks are the originals' and stay: a spent timer still counts as armed, and an arrival at a full buffer asks for
nothing. The repaired writer (``recommended``, docs/recommended-writer.md) is a state machine of four states: empty,
waiting for its timer, writing, and pausing between two attempts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

from capsim.base.units import US_PER_MS
from capsim.scenario.server import WriterSpec
from capsim.scenario.workload import Stream
from capsim.validation.reference.attempts import Attempt, Stopped, attempt_of
from capsim.validation.reference.clock import Clock, Phase, Timer, sleep_until
from capsim.validation.reference.database import Answer, CallFailed, Operation, Statement
from capsim.validation.reference.log import Log
from capsim.validation.reference.observer import Tried, Watch

Semantics = Literal["seed", "fixed", "kit", "recommended"]
Offered = Literal["stored", "full", "closing"]

LOOK_US = 100 * US_PER_MS  # shutdown looks at a batch that is out this often ...
GRACE_US = 3_000 * US_PER_MS  # ... and for this long
FIRST_PAUSE_US, LONGEST_PAUSE_US = 100 * US_PER_MS, 5_000 * US_PER_MS  # recommended: doubled from the one to the other
LINE_EVERY_US = 1_000 * US_PER_MS  # recommended: how often it may say that it drops items
KIT_ROWS = 100  # most rows that the measured stand-in takes at once

Item = TypeVar("Item")


@dataclass(frozen=True)
class Rules:
    """Constants of one writer; times in microseconds, no cap as None."""

    semantics: Semantics
    batch_rows: int
    delay_us: int
    cap_rows: int | None
    retry_for_us: int = 0  # recommended only

    @classmethod
    def of(cls, spec: WriterSpec) -> Rules:
        """The rules of a scenario's writer."""
        cap = None if spec.buffer_cap_rows == "none" else spec.buffer_cap_rows
        return cls(spec.semantics, spec.batch_rows, spec.delay_ms * US_PER_MS, cap, spec.retry_for_ms * US_PER_MS)


class BatchWriter(Generic[Item]):
    """Collects items and writes them in batches.

    Parameters
    ----------
    stream : str
        Which of the three writers.
    rules : Rules
        Its constants.
    clock : Clock
        Real or virtual time.
    run : callable
        Runs one statement; raises `CallFailed`.
    log : Log
        Where its lines go.
    key : callable, optional
        Session of an item. With it the buffer holds the latest item of each key in place of all items.
    attempt : callable, optional
        How a batch is written; by default as the stream and the semantics say.
    watch : Watch, optional
        Told of every attempt when it has ended.
    """

    def __init__(
        self,
        stream: Stream,
        rules: Rules,
        clock: Clock,
        run: Callable[[Statement], Awaitable[Answer]],
        log: Log,
        key: Callable[[Item], Hashable] | None = None,
        attempt: Attempt | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.stream, self.rules = stream, rules
        self._clock, self._run, self._log, self._key = clock, run, log, key
        self._attempt = attempt or attempt_of(stream, rules.semantics)
        self._watch = watch or Watch()
        self._buffer: dict[Hashable, tuple[Item, int]] = {}  # by arrival number, or by key: item and its arrival
        self._timer: Timer | None = None
        self._spent = False
        self._first_item = 0  # arrival number of the first item offered since the last take
        self._accepted_to: int | None = None  # the first one refused since then
        self._full = False  # an item was refused since the last take
        self._held = 0  # rows in memory beside the buffer (recommended)
        self._written = 0  # of those, rows that are in the database
        self._taken_us = 0
        self._unsaid, self._say_us = 0, 0  # drops not yet in the log; when the next line may be written
        self._stop_us: int | None = None  # after this no attempt is begun: the shutdown's grace is over
        self._writing: asyncio.Task[None] | None = None
        self.out: Tried | None = None  # the attempt that is going on
        self.looking = False  # shutdown has a look pending
        self.closing = False
        self.offered = self.stored = self.replaced = self.rejected = 0
        self.flushed = self.failed = self.dropped_cap = self.dropped_failed = self.uncounted = 0
        self.batches = self.requests = 0
        self.longest_wait_us = 0

    # --- what others see -----------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """Entries in the buffer."""
        return len(self._buffer)

    @property
    def flushing(self) -> bool:
        """Whether a batch is out."""
        return self._writing is not None

    @property
    def in_flight(self) -> int:
        """Rows of the batch that is out."""
        return self.out.rows - self._written if self.out is not None else 0

    @property
    def dropped(self) -> int:
        """Items dropped, at the cap and with batches given up."""
        return self.dropped_cap + self.dropped_failed

    @property
    def stuck(self) -> bool:
        """Whether items wait and nothing but a further arrival will ever write them."""
        return self.count > 0 and not self.flushing and self._timer is None and not self.looking

    # --- arrivals ------------------------------------------------------------------------------------------

    def offer(self, item: Item) -> Offered:
        """Take an item, or refuse it."""
        number = self.offered
        self.offered += 1
        if self.closing:
            self.rejected += 1
            self._refused(number)
            self._log.warn(f"{self.stream}: closing, item not taken")
            return "closing"
        cap = self.rules.cap_rows
        if cap is not None and self._held:
            cap = max(cap - self._held, 1)
        if cap is not None and self.count >= cap:
            self.dropped_cap += 1
            self._refused(number)
            self._full = True
            self._say_dropped()
            return "full"
        place = number if self._key is None else self._key(item)
        self.stored += 1
        self.replaced += place in self._buffer
        self._buffer[place] = (item, self._clock.now_us())
        if self.count >= self.rules.batch_rows:
            if self.rules.semantics != "kit":
                self._disarm()
            self._request()
        elif self.count == 1 or self.rules.semantics == "kit":
            self._arm()
        return "stored"

    def _say_dropped(self) -> None:
        if self.rules.semantics != "recommended":
            self._log.error(f"{self.stream}: buffer full, item dropped")
            return
        self._unsaid += 1
        now_us = self._clock.now_us()
        if now_us >= self._say_us:
            self._log.error(f"{self.stream}: buffer full, {self._unsaid} items dropped, {self.dropped_cap} in all")
            self._unsaid, self._say_us = 0, now_us + LINE_EVERY_US

    def _refused(self, number: int) -> None:
        if self._accepted_to is None:
            self._accepted_to = number

    # --- the timer -----------------------------------------------------------------------------------------

    def _arm(self) -> None:
        if self._timer is None and not self._spent:
            self._timer = self._clock.at(self._clock.now_us() + self.rules.delay_us, Phase.TIMERS, self._due)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._spent = None, False

    def _due(self) -> None:
        self._timer = None
        self._spent = self.rules.semantics != "kit"
        self._flush()

    # --- flushes -------------------------------------------------------------------------------------------

    def _request(self) -> None:
        self.requests += 1
        self._clock.later(Phase.FLUSHES, self._flush)

    def _flush(self) -> None:
        if self.flushing:
            return
        self._disarm()
        if not self._buffer:
            return
        rows = self._take()
        # The attempt is on record before its coroutine first runs: whoever looks now sees the batch out.
        self.out = Tried(
            self.stream,
            self.batches,
            1,
            self._clock.now_us(),
            rows=len(rows),
            first_item=self._first_item,
            accepted_to=self.offered if self._accepted_to is None else self._accepted_to,
            next_item=self.offered,
        )
        self._first_item, self._accepted_to = self.offered, None
        self.batches += 1
        self._writing = asyncio.ensure_future(self._write(self.out, rows))

    def _take(self) -> list[Item]:
        taken = list(self._buffer.items())
        if self.rules.semantics == "kit":
            taken = taken[:KIT_ROWS]
            for place, _ in taken:
                del self._buffer[place]
        else:
            self._buffer = {}
        if self.rules.semantics == "recommended":
            self._held, self._written, self._full = len(taken), 0, False
            self._taken_us = self._clock.now_us()
        oldest_us = min(arrived_us for _, (_, arrived_us) in taken)
        self.longest_wait_us = max(self.longest_wait_us, self._clock.now_us() - oldest_us)
        return [item for _, (item, _) in taken]

    async def _write(self, first: Tried, rows: Sequence[Item]) -> None:
        if self.rules.semantics == "recommended":
            await self._write_through(first, rows)
            self._go_on()
            return
        if not await self._tried(first, rows):
            self.out = replace(first, attempt=2, start_us=self._clock.now_us(), end_us=-1, calls=0)
            if not await self._tried(self.out, rows):
                self.failed += 1
                self.dropped_failed += len(rows)
        self._finish()

    async def _write_through(self, tried: Tried, rows: Sequence[Item]) -> None:
        """Try until all is written or the time for it is over, with ever longer pauses."""
        pause_us = FIRST_PAUSE_US
        while not await self._tried(tried, rows[self._written :]):
            again_us = self._clock.now_us() + pause_us
            last_us = self._taken_us + self.rules.retry_for_us
            if again_us > (last_us if self._stop_us is None else min(last_us, self._stop_us)):
                self.failed += 1
                self.dropped_failed += len(rows) - self._written
                self._log.error(f"{self.stream}: {len(rows) - self._written} rows given up")
                return
            await sleep_until(self._clock, again_us, Phase.TIMERS)
            pause_us = min(2 * pause_us, LONGEST_PAUSE_US)
            tried = replace(tried, attempt=tried.attempt + 1, start_us=again_us, end_us=-1, calls=0, counted=0)
            self.out = tried

    def _go_on(self) -> None:
        self._writing, self.out, self._held, self._written = None, None, 0, 0
        # The first item of the buffer has armed the timer. If that fired meanwhile, or the buffer filled up, the next
        # batch goes out in this very moment.
        if self._buffer and (self._timer is None or self._full):
            self._flush()

    async def _tried(self, tried: Tried, rows: Sequence[Item]) -> bool:
        async def call(operation: Operation, values: Sequence[Any]) -> Answer:
            item = tried.first_item + tried.calls
            tried.calls += 1
            return await self._run(Statement(operation, self.stream, values, item, tried.attempt))

        try:
            tried.counted = await self._attempt(call, rows, self._log)
            tried.ok = True
        except CallFailed as error:
            if isinstance(error, Stopped):
                tried.counted = error.written
                self._written += error.written
                self.flushed += error.written
            self._log.error(f"{self.stream}: attempt {tried.attempt} on {len(rows)} rows failed: {error}")
        else:
            self.flushed += tried.counted
            self.uncounted += len(rows) - tried.counted
            self._log.info(f"{self.stream}: {tried.counted} rows written")
        tried.end_us = self._clock.now_us()
        self._watch.attempted(tried)
        return tried.ok

    def _finish(self) -> None:
        self._writing, self.out = None, None
        if self.rules.semantics == "seed" or not self._buffer:
            return
        if self.count >= self.rules.batch_rows:
            self._request()
        else:
            self._arm()

    # --- shutdown ------------------------------------------------------------------------------------------

    async def shutdown(self) -> None:
        """Take no more; wait for a batch that is out, up to the grace; write what is buffered; return."""
        called_us = self._clock.now_us()
        self._stop_us = called_us + GRACE_US
        self._log.info(f"{self.stream}: shutting down")
        self.closing = True
        self._disarm()
        look_us = called_us
        self.looking = True
        while self.flushing and self._clock.now_us() - called_us < GRACE_US:
            look_us += LOOK_US
            await sleep_until(self._clock, look_us, Phase.TIMERS)
        self.looking = False
        if self._buffer:
            self._log.info(f"{self.stream}: writing the last {self.count} items")
            if not self.flushing:
                self._flush()
                assert self._writing is not None
                await asyncio.shield(self._writing)
        if self.rules.semantics == "recommended" and self.count + self.in_flight:
            self._log.error(f"{self.stream}: {self.count + self.in_flight} items left unwritten")
        self._log.info(f"{self.stream}: shut down")

"""A writer in time: sleep until its next flush, write the batch, look again.

One process a writer, one or two events a flush. Where the pool cannot run short the calls of an attempt are played in
one step; where parts compete for connections, call by call. Both follow the same attempt (`capsim.engine.attempts`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import simpy

from capsim.engine import clock
from capsim.engine.attempts import MANY, Attempt, Result
from capsim.engine.calls import call, opened
from capsim.engine.clock import Clock, Process, at
from capsim.engine.database import Database, Outcome, Statement
from capsim.engine.loop import Loop
from capsim.engine.pool import FAILED, WAITING, Pool
from capsim.engine.recorder import Facts
from capsim.engine.writer import GRACE_US, LOOK, Batch, Series, Writer

# Look-ahead tries so many flushes in one array operation, and after a vain try plays some singly first: the numbers
# change nothing but the speed.
MOST_AT_ONCE, LEAST_AT_ONCE, SINGLY = 1_024, 8, 4
SHUTDOWN_LOOK_US = 100_000  # a shutdown looks at the writer this often (recorded: oracle §6)


class Played(NamedTuple):
    """An attempt that look-ahead has played."""

    attempt: int
    start_us: int
    end_us: int
    calls: int
    result: Result


class Standing(NamedTuple):
    """Where a writer stands at one moment of a shutdown."""

    when_us: int
    buffer: int
    in_flight: int
    flushed: int
    dropped: int


class Flusher:
    """Runs one writer against the pool and the database, and records what happens.

    Parameters
    ----------
    part : int
        Place of the writer among those who ask for a connection in one instant.
    attempt : callable
        The rules of one attempt, see `capsim.engine.attempts`.
    known_to_us : callable
        Until when arrivals are known; the writer asks again then.
    takes, attempts : Facts
        Where starts of flushes and ends of attempts are recorded.
    loop : Loop, optional
        What has to build every insert, and may hand over items later than it seemed.
    missed : list of int, optional
        Where to note the items whose own update failed.
    """

    def __init__(
        self,
        env: Clock,
        writer: Writer,
        part: int,
        *,
        pool: Pool,
        database: Database,
        attempt: Callable[[Batch], Attempt],
        known_to_us: Callable[[], int],
        takes: Facts,
        attempts: Facts,
        loop: Loop | None = None,
        missed: list[int] | None = None,
    ) -> None:
        self._env, self.writer, self.part = env, writer, part
        self._pool, self._database, self._rules = pool, database, attempt
        self._known_to_us, self._takes, self._attempts, self._loop = known_to_us, takes, attempts, loop
        self.missed = missed
        self.calls_started: list[int] = []  # instants, of the attempt that is out
        self.outcomes: list[Outcome] = []  # of those calls, possibly ahead of time
        self.out: tuple[Batch, int, int] | None = None  # batch, attempt, start of the attempt that is out
        self.pausing = False  # whether that attempt has failed, and the next one is waited for
        self._done: simpy.Event | None = None  # for a shutdown that waits for the end of a flush
        self.call_errors = self.calls_missing = 0
        self._waited_from_us: int | None = None  # of the last call, if its wait for a connection ran out
        self._begun: Batch | None = None  # taken while looking ahead, still to be written
        self._process = env.process(self._run())

    # --- the writer's life ------------------------------------------------------------------------------------------

    def _run(self) -> Process:
        env, writer = self._env, self.writer
        while True:
            begun = self._begun
            if begun is not None:
                when_us, phase = begun.taken_us, begun.phase
            else:
                when_us, phase = writer.next_flush(env.now, self._known_to_us()) or (self._known_to_us(), LOOK)
            try:
                yield at(env, when_us, phase)
                # A flush of another writer may have made the items come later than it seemed.
                sure = self._loop is None or begun is not None
                if not sure and writer.next_flush(env.now, self._known_to_us()) != (when_us, phase):
                    continue
            except simpy.Interrupt as interrupt:  # a shutdown wants the buffer written now, or things have moved on
                phase = interrupt.cause  # type: ignore[assignment]
            if phase == LOOK:
                continue
            batch = begun or writer.take(env.now, phase)
            self._begun = None
            if batch is not None:
                if self._loop is not None and begun is None:
                    self._loop.insert(batch.taken_us, self._loop.flush_us(batch.rows))
                yield from self._flush(batch)
                while writer.goes_on:
                    batch = writer.take(env.now, clock.DATABASE)
                    assert batch is not None
                    if self._loop is not None:
                        self._loop.insert(batch.taken_us, self._loop.flush_us(batch.rows))
                    yield from self._flush(batch)

    @property
    def resting(self) -> bool:
        """Whether nothing of this writer is out."""
        return not self.writer.flushing

    def state(self) -> tuple[dict[str, object], int, int]:
        """What `look_ahead` changes, for `restore`."""
        return self.writer.state(), self.call_errors, self.calls_missing

    def restore(self, state: tuple[dict[str, object], int, int]) -> None:
        """Be again as `state` said."""
        writer, self.call_errors, self.calls_missing = state
        self.writer.restore(writer)
        self._begun = None

    @property
    def begun(self) -> Batch | None:
        """The flush that `look_ahead` began and left to the engine."""
        return self._begun

    def look_again(self) -> None:
        """The writer has moved on by `look_ahead`: decide afresh."""
        self._process.interrupt(LOOK)

    def guess(self, horizon_us: int) -> Series | None:
        """Flushes that follow if everything goes on as it is, whatever the pool and the database do to them."""
        when_us, phase = self.writer.next_flush(self._env.now, self._known_to_us()) or (horizon_us, LOOK)
        if phase == LOOK or when_us >= horizon_us:
            return None
        return self.writer.regular_flushes(phase, MOST_AT_ONCE, horizon_us)

    def look_ahead(self, horizon_us: int) -> int | None:
        """Play all flushes that end before the horizon, without an event.

        Holds as long as every call is served at once and nothing from outside happens before the horizon: then what a
        writer does depends on its arrivals and on the database only. A flush that would outlive the horizon is begun
        and left to the engine; its start is returned.
        """
        env, writer = self._env, self.writer
        now_us, known_to_us = env.now, self._known_to_us()
        most, singly = MOST_AT_ONCE, 0
        while True:
            when_us, phase = writer.next_flush(now_us, known_to_us) or (known_to_us, LOOK)
            if phase == LOOK or when_us >= horizon_us:
                return None
            if singly:
                singly -= 1
            elif (regular := self._regular_flushes(phase, horizon_us, most)) is not None:
                now_us, count = regular
                most = min(MOST_AT_ONCE, LEAST_AT_ONCE + 2 * count)
                continue
            else:
                most, singly = LEAST_AT_ONCE, SINGLY
            now_us = when_us
            batch = writer.take(when_us, phase)
            if batch is None:
                continue
            whole, played = batch, self._smooth(batch, horizon_us)
            if played:
                now_us = played[-1].end_us
            attempt = pause_us = 0
            while not played or not played[-1].result.ok:
                attempt, start_us = attempt + 1, now_us + pause_us
                self.calls_started[:] = [start_us]
                self.outcomes.clear()
                now_us, result = self._statements(batch, attempt, start_us)
                played.append(Played(attempt, start_us, now_us, len(self.calls_started), result))
                if result.ok or now_us >= horizon_us:
                    break
                batch = replace(batch, written=batch.written + result.counted)
                pause = writer.pause_us(batch, attempt, now_us)
                if pause is None or now_us + pause >= horizon_us:
                    now_us += pause or 0
                    break
                pause_us = pause
            batch = whole
            if now_us >= horizon_us:
                self._begun = batch
                return when_us
            self._record_take(batch)
            for attempt, start_us, end_us, calls, result in played:
                last = attempt == len(played)
                batch = self._record_attempt(batch, attempt, start_us, end_us, calls, result, last=last)
            if writer.repaired:  # between its attempts it holds no connection
                for one in played:
                    self._pool.record_hold(one.start_us, one.end_us)
            else:
                self._pool.record_hold(when_us, now_us)
            writer.finish(now_us)

    def _smooth(self, batch: Batch, horizon_us: int) -> list[Played]:
        """The one attempt of a flush that no fault touches, without a statement; nothing if it may be another way."""
        many = MANY.get(self._rules)
        if many is None:
            return []
        first, following = np.array([batch.first_item]), np.array([batch.first_item + batch.rows])
        series = Series(first, following, np.array([batch.taken_us]), np.array([batch.phase]), batch.number)
        result = many(self._database, self.writer.stream, series)
        end_us = series.start_us + result.durations_us
        if end_us[0] >= horizon_us or not (result.certain & self._database.steady(series.start_us, end_us))[0]:
            return []
        ended = Result(True, batch.rows, int(result.inserted[0]))
        return [Played(1, batch.taken_us, int(end_us[0]), int(result.calls[0]), ended)]

    def _regular_flushes(self, phase: int, horizon_us: int, most: int) -> tuple[int, int] | None:
        """Play flushes that disturb no one, by array: until when, and how many; None if not even one."""
        writer, part = self.writer, self.part
        many = MANY.get(self._rules)
        series = writer.regular_flushes(phase, most, horizon_us) if many is not None else None
        if many is None or series is None:
            return None
        result = many(self._database, writer.stream, series)
        start_us, end_us = series.start_us, series.start_us + result.durations_us
        regular = result.certain & self._database.steady(start_us, end_us) & (end_us < horizon_us)
        # A flush that lasts until the next one is due is for the rules one by one, and so is the last, whose next is
        # not known. (An end comes before a request in the same instant, but after a timer.)
        regular[:-1] &= end_us[:-1] < start_us[1:] + (series.phases[1:] == clock.REQUEST)
        regular[-1] = False
        count = int(regular.argmin())
        if count == 0:
            return None
        start_us, end_us = start_us[:count], end_us[:count]
        first, following = series.first_items[:count], series.next_items[:count]
        rows = following - first
        self._takes.add_all(part, start_us, series.phases[:count], rows, first, following, following)
        self._attempts.add_all(part, series.number + np.arange(count), 1, start_us, end_us, 1, rows,
                               result.calls[:count], rows, result.inserted[:count], first, following,
                               following, 1, 0)  # fmt: skip
        self._pool.record_holds(start_us, end_us)
        writer.take_all(series, count)
        last_us = int(end_us[-1])
        writer.finish(last_us)
        return last_us, count

    def shut_down(self, when_us: int) -> Process:
        """The shutdown call and its looks, until ``shutdown()`` resolves.

        Returns the `Standing` at both moments, and whether there was a buffer left to write after the looks.
        """
        env, writer = self._env, self.writer
        yield at(env, when_us, clock.SHUTDOWN)
        writer.close(env.now)
        called = self._standing()
        phase = clock.SHUTDOWN
        if writer.flushing:
            writer.looks_pending = True
            while writer.flushing and env.now - when_us < GRACE_US:
                yield at(env, env.now + SHUTDOWN_LOOK_US, clock.TIMER)
            writer.looks_pending = False
            phase = clock.TIMER
        left = writer.count > 0
        if left and not writer.flushing:
            self._done = env.event()
            self._process.interrupt(phase)
            yield self._done
        return called, self._standing(), left

    def _standing(self) -> Standing:
        writer = self.writer
        in_flight = self.out[0].left if self.out else 0
        dropped = writer.dropped_cap + writer.dropped_failed
        return Standing(self._env.now, writer.count, in_flight, writer.flushed, dropped)

    # --- one flush --------------------------------------------------------------------------------------------------

    def _flush(self, batch: Batch) -> Process:
        env, writer = self._env, self.writer
        self._record_take(batch)
        attempt = 0
        while True:
            attempt, start_us = attempt + 1, env.now
            self.out, self.pausing = (batch, attempt, start_us), False
            self.calls_started.clear()
            self.outcomes.clear()
            result: Result = yield from (
                self._in_one_step(batch, attempt) if self._pool.ample else self._call_by_call(batch, attempt)
            )
            pause_us = None if result.ok else writer.pause_us(batch, attempt, env.now)
            calls, last = len(self.calls_started), pause_us is None
            batch = self._record_attempt(batch, attempt, start_us, env.now, calls, result, last=last)
            if pause_us is None:
                break
            if pause_us:
                self.out, self.pausing = (batch, attempt, start_us), True
                yield at(env, env.now + pause_us, clock.TIMER)
        self.out = None
        writer.finish(env.now, self._waited_from_us)
        if self._done is not None:
            self._done.succeed()
            self._done = None

    def _record_take(self, batch: Batch) -> None:
        self._takes.add(self.part, batch.taken_us, batch.phase, batch.rows, batch.first_item, batch.accepted_to,
                        batch.next_item)  # fmt: skip

    def _record_attempt(
        self, batch: Batch, attempt: int, start_us: int, end_us: int, calls: int, result: Result, *, last: bool
    ) -> Batch:
        """Note how an attempt went; returns the batch without the rows that it wrote before it failed."""
        self._attempts.add(self.part, batch.number, attempt, start_us, end_us, result.ok, batch.rows, calls,
                           result.counted, result.inserted, batch.first_item, batch.accepted_to,
                           batch.next_item, last, batch.left - result.counted if last else 0)  # fmt: skip
        self.call_errors += result.failed_calls
        if result.failed_calls and self.missed is not None:
            outcomes = enumerate(self.outcomes[: batch.rows])
            self.missed += [batch.first_item + place for place, outcome in outcomes if outcome.result == "fail"]
        self.calls_missing += result.missing
        if result.ok:
            self.writer.succeed(batch, result.counted)
            return batch
        batch = self.writer.write_some(batch, result.counted)
        if last:
            self.writer.give_up(batch)
        return batch

    def _statements(self, batch: Batch, attempt: int, start_us: int) -> tuple[int, Result]:
        """All statements of an attempt that has a connection, one right after the other; when they end, and how.

        The first call has been noted as started; each further one starts when the last one ends.
        """
        stream, run, crowding = self.writer.stream, self._database.run, self._pool.crowding
        now_us = start_us
        program = self._rules(batch)
        statement = next(program)
        while True:
            outcome = run(stream, attempt, statement, now_us, crowding)
            now_us += outcome.duration_us
            self.outcomes.append(outcome)
            try:
                statement = program.send(outcome)
            except StopIteration as end:
                return now_us, end.value
            self.calls_started.append(now_us)

    def _in_one_step(self, batch: Batch, attempt: int) -> Process:
        """Play all calls of an attempt at once, as nothing can come between them, and sleep until the last ends."""
        env = self._env
        self.calls_started.append(env.now)
        asked = self._pool.ask(self.part)
        if asked.state == WAITING:
            yield asked.decided
        granted_us = env.now
        if asked.opens and not (yield from opened(env, self._pool, self._database, asked)):
            self.outcomes.append(Outcome(env.now - granted_us, "fail"))
            return (yield from self._call_by_call(batch, attempt))
        now_us, result = self._statements(batch, attempt, env.now)
        if len(self.outcomes) == 1 or not self._pool.connect_us:
            yield at(env, now_us, clock.DATABASE)
            self._pool.release()
            return result
        self._pool.begin_series(self._process, self.calls_started[1:])
        try:
            yield at(env, now_us, clock.DATABASE)
        except simpy.Interrupt:
            done = self.calls_started.index(env.now)
            del self.calls_started[done:], self.outcomes[done:]
            self._pool.end_series(self._process)
            self._pool.release()
            return (yield from self._call_by_call(batch, attempt))
        self._pool.end_series(self._process)
        self._pool.release()
        return result

    def _call_by_call(self, batch: Batch, attempt: int) -> Process:
        """Play the calls of an attempt one after the other, each with a connection of its own.

        Goes on after the calls whose outcomes this attempt already has.
        """
        program = self._rules(batch)
        try:
            statement = next(program)
            for outcome in self.outcomes:
                statement = program.send(outcome)
            while True:
                outcome = yield from self._call(attempt, statement)
                self.outcomes.append(outcome)
                statement = program.send(outcome)
        except StopIteration as end:
            return end.value

    def _call(self, attempt: int, statement: Statement) -> Process:
        self.calls_started.append(self._env.now)
        asked, outcome = yield from call(
            self._env, self._pool, self._database, self.part, self.writer.stream, attempt, statement
        )
        self._waited_from_us = asked.asked_us if asked.state == FAILED else None
        return outcome

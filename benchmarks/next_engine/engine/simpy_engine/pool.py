"""The connection pool: opened lazily up to a limit; who waits is served in order of asking.

Connections are handed out in the last phase of an instant, when all that come back in it have come: first to calls that
wait already, then to those of this instant, by part.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, NamedTuple

import simpy

from capsim.engine.kernel.fields import bin as B
from capsim.engine.simpy_engine.bins import Bins
from capsim.engine.simpy_engine.clock import DATABASE, POOL, TIMER, Moment, Story, Time
from capsim.engine.simpy_engine.connections import Connections
from capsim.engine.simpy_engine.database import Database, Statement


class PoolLimits(NamedTuple):
    """The pool's settings [us]."""

    limit: int
    timeout_us: int
    connect_timeout_us: int
    connect_us: int


class Call:
    """A call that wants a connection."""

    def __init__(self, time: Time, part: int) -> None:
        self.part, self.asked_us, self.decided = part, time.now, time.event()
        self.failed = self.opens = self.refused = False


@dataclass(eq=False)
class Pool:
    """The connections of one process; ``wait`` is told of each call that waited: part, since when, granted or not."""

    time: Time
    limits: PoolLimits
    database: Database
    connections: Connections
    bins: Bins
    wait: Callable[[int, int, bool], None] = lambda part, asked_us, granted: None

    def __post_init__(self) -> None:
        self.in_use = self.open = self.idle = self.turned_away = self.broken = self.timeouts = self.refusals = 0
        self.queue: list[Call] = []
        self.asked: list[Call] = []
        self.arbitrating = False
        self.connections.pools.append(self)

    def call(self, part: int, kind: str, attempt: int, item: int, rows: int) -> Generator[simpy.Event, Any, bool]:
        """One call of the database; whether it succeeds."""
        call = self._ask(part)
        yield call.decided
        if call.failed or (call.opens and not (yield from self._opened(call))):
            return False
        statement = Statement(part, kind, attempt, item, rows)
        took_us, ok = self.database.run(statement, self.time.now, self.open - self.idle - self.turned_away)
        yield self.time.at(self.time.now + took_us, DATABASE)
        self._release()
        return ok

    def _ask(self, part: int) -> Call:
        call = Call(self.time, part)
        self.asked.append(call)
        self._arbitrate_later()
        self.time.tell(self._expire(call, self.time.at(self.time.now + self.limits.timeout_us, TIMER)))
        return call

    def _expire(self, call: Call, due: Moment) -> Story:
        yield due
        if not call.decided.triggered:
            self.queue.remove(call)
            self._fail(call)

    def _fail(self, call: Call) -> None:
        """It has waited as long as it may, for its turn or for its connection to open."""
        self.timeouts += 1
        self.wait(call.part, call.asked_us, False)
        if not call.decided.triggered:
            call.failed = True
            call.decided.succeed()

    def _arbitrate_later(self) -> None:
        if not self.arbitrating:
            self.arbitrating = True
            self.time.tell(self._arbitrate(self.time.at(self.time.now, POOL)))

    def _arbitrate(self, last_phase: Moment) -> Story:
        yield last_phase
        self.arbitrating = False
        self.queue += sorted(self.asked, key=lambda call: call.part)
        self.asked.clear()
        while self.queue and (self.idle or self.open < self.limits.limit):
            self._grant(self.queue.pop(0))

    def _grant(self, call: Call) -> None:
        self.in_use += 1
        self.bins.level(B.IN_USE, 1, self.time.now)
        if self.time.now > call.asked_us:
            self.wait(call.part, call.asked_us, True)
        if self.idle:
            self.idle -= 1
        else:
            call.opens, call.refused = True, self.connections.are_full(self.time.now)
            self.open, self.turned_away = self.open + 1, self.turned_away + call.refused
        self._note_opened()
        call.decided.succeed()

    def _opened(self, call: Call) -> Generator[simpy.Event, Any, bool]:
        """Open a connection; the time to wait for one goes on meanwhile."""
        limits, now_us = self.limits, self.time.now
        most_us = min(limits.connect_timeout_us, call.asked_us + limits.timeout_us - now_us)
        if call.refused or self.database.is_down(now_us):
            self._turn_away(call)
            yield self.time.at(now_us + min(self.database.refused_us, most_us), DATABASE)
            self._discard(call)
            return False
        if limits.connect_us > most_us:
            yield self.time.at(now_us + most_us, DATABASE)
            self._discard(call)
            if most_us < limits.connect_timeout_us:
                self._fail(call)
            return False
        if limits.connect_us:
            yield self.time.at(now_us + limits.connect_us, DATABASE)
        return True

    def _turn_away(self, call: Call) -> None:
        """Postgres has no room for it, or is down."""
        self.refusals += 1
        self.bins.count(B.REFUSED)
        if not call.refused:
            call.refused = True
            self.turned_away += 1
            self._note_opened()

    def _release(self) -> None:
        """A connection is idle again, unless it broke."""
        if self.broken:
            self.broken, self.open = self.broken - 1, self.open - 1
        else:
            self.idle += 1
        self._give_back()

    def _discard(self, call: Call) -> None:
        """A connection could not be opened."""
        self.turned_away -= call.refused
        self.broken, self.open = max(self.broken - 1, 0), self.open - 1
        self._give_back()

    def _give_back(self) -> None:
        self.in_use -= 1
        self.bins.level(B.IN_USE, -1, self.time.now)
        self._note_opened()
        if self.queue:
            self._arbitrate_later()

    def _note_opened(self) -> None:
        self.connections.changed(self)
        self.bins.mark(B.OPEN_MAX, self.connections.open_of(self))

    def break_all(self, when: Moment) -> Story:
        """Postgres goes down: what is idle is gone, what is held will be."""
        yield when
        self.broken, self.open, self.idle = self.open - self.idle, self.open - self.idle, 0
        self._note_opened()

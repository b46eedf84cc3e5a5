"""The cleanup: at every interval it loads the sessions that are due and closes them, one by one or all at once."""

from __future__ import annotations

from collections.abc import Generator
from itertools import count
from typing import Any

import simpy

from capsim.base.units import us_from_ms, us_from_s
from capsim.engine.kernel.fields import bin as B
from capsim.engine.simpy_engine.bins import INFO
from capsim.engine.simpy_engine.clock import VISIT, Story
from capsim.engine.simpy_engine.sessions import Session, Sessions
from capsim.engine.simpy_engine.visits import CLEANUP, Visit, Visits
from capsim.scenario.parts import CleanupSpec


class Cleanup:
    """The cleanup of a process."""

    def __init__(self, visits: Visits, spec: CleanupSpec, sessions: Sessions) -> None:
        self.visits, self.spec, self.sessions, self.busy = visits, spec, sessions, False

    def turns(self) -> Story:
        """A run at every turn, unless the last one is still going."""
        visits, every_us = self.visits, us_from_s(self.spec.interval_s)
        for number in count(1):
            when_us = visits.begins_us + number * every_us
            if when_us >= visits.ends_us:
                return
            yield visits.time.at(when_us, VISIT)
            if not self.busy:
                self.busy = True
                visits.time.tell(self._run(number, self._find()))

    def _find(self) -> list[Session]:
        bins, now_us = self.visits.bins, self.visits.time.now
        due = self.sessions.due(now_us, us_from_s(self.spec.timeout_s))
        found = due if self.spec.limit_rows == "none" else due[: self.spec.limit_rows]
        bins.mark(B.DUE_MAX, len(due))
        bins.count(B.CLOSED_ALIVE, sum(session.live_to_us > now_us for session in found))
        return found

    def _run(self, number: int, found: list[Session]) -> Story:
        visits, start_us = self.visits, self.visits.time.now
        ok = yield from visits.pool.call(CLEANUP, "query", 1, number, len(found))
        calls = closed = 0
        if ok:
            visits.loop.compute(us_from_ms(len(found) * self.spec.row_cpu_ms))
            calls, closed = yield from self._close(found)
        visits.bins.count(B.CLOSED, closed)
        visits.bins.say(visits.time.now, INFO)
        self.busy = False
        rows = len(found) if ok else 0
        visits.end(Visit(CLEANUP, number, start_us, visits.time.now, ok, rows, calls=1 + calls, updated=closed))

    def _close(self, found: list[Session]) -> Generator[simpy.Event, Any, tuple[int, int]]:
        """One update each, or one for all; one that fails leaves its sessions for a later run."""
        closed, groups = 0, [found] if self.spec.one_statement and found else [[session] for session in found]
        for group in groups:
            if (yield from self.visits.pool.call(CLEANUP, "update", 1, group[0].number, len(group))):
                closed += self.sessions.close(group, self.visits.time.now)
        return len(groups), closed

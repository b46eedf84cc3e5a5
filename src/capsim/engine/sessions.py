"""Players' sessions as the database knows them, and the cleanup that closes those which went away.

A session's last heartbeat is the arrival of the latest one that has been written; a flush shows when it is over. So
heartbeats that are dropped, or written late, make live sessions look abandoned, and the cleanup closes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capsim.base.units import us_from_ms, us_from_s
from capsim.engine.database import Database, Statement
from capsim.engine.recorder import Facts
from capsim.engine.visits import Compute, End, Program
from capsim.scenario.parts import CleanupSpec
from capsim.workload.block import Sessions

Ints = NDArray[np.int64]
NEVER_US = 1 << 62
HEARTBEATS = 2  # their writer's place among the parts


class Beats:
    """Heartbeats of one process: whose each is, when it came, and which have been written.

    Parameters
    ----------
    attempts : Facts
        Where its writers record ends of attempts.
    first : int
        Number of its first heartbeat.
    """

    def __init__(self, attempts: Facts, first: int) -> None:
        self._attempts, self._row = attempts, 0
        self._base = first
        self._sessions = np.empty(0, np.int64)
        self._times_us = np.empty(0, np.int64)
        self._pending: list[tuple[int, int, int]] = []  # end of a flush, first and last number of what it wrote
        self.missed: list[int] = []  # numbers of those whose own update failed

    def come(self, sessions: Ints, times_us: Ints) -> None:
        """The next heartbeats, in the order in which they are numbered."""
        self._sessions = np.concatenate((self._sessions, sessions))
        self._times_us = np.concatenate((self._times_us, times_us))

    def _pull(self) -> None:
        facts = self._attempts.since(self._row)
        self._row += len(facts["part"])
        own = (facts["part"] == HEARTBEATS) & (facts["ok"] == 1)
        columns = (facts[name][own].tolist() for name in ("end_us", "first_item", "accepted_to"))
        self._pending += zip(*columns, strict=True)

    def written(self, upto_us: int) -> tuple[Ints, Ints]:
        """Sessions and arrivals of what has been written since the last call, by flushes that ended by ``upto_us``."""
        self._pull()
        ready = [flush for flush in self._pending if flush[0] <= upto_us]
        if not ready:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        self._pending = [flush for flush in self._pending if flush[0] > upto_us]
        numbers = np.concatenate([np.arange(first, last) for _, first, last in ready])
        if self.missed:
            numbers = numbers[~np.isin(numbers, self.missed)]
        places = numbers - self._base
        return self._sessions[places], self._times_us[places]

    def drained(self) -> None:
        """The facts have been read and will be taken away; forget what was written long ago."""
        self._pull()
        self._row = 0

    def forget(self, before: int) -> None:
        """Heartbeats before this number have been dealt with."""
        keep = min([before, *(first for _, first, _ in self._pending)])
        self._sessions, self._times_us = self._sessions[keep - self._base :], self._times_us[keep - self._base :]
        self._base = keep
        self.missed[:] = [item for item in self.missed if item >= keep]  # the flusher holds the same list

    def state(self) -> tuple[int, list[tuple[int, int, int]], int]:
        """All that passes, for `restore`."""
        return self._row, list(self._pending), len(self.missed)

    def restore(self, state: tuple[int, list[tuple[int, int, int]], int]) -> None:
        """Be again as `state` said."""
        self._row, pending, missed = state
        self._pending = list(pending)
        del self.missed[missed:]


@dataclass
class OpenSessions:
    """Sessions that are not closed, in the order in which they started."""

    ids: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    start_us: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    last_us: Ints = field(default_factory=lambda: np.empty(0, np.int64))  # last heartbeat, or the start
    leaves_us: Ints = field(default_factory=lambda: np.empty(0, np.int64))  # when it says that it ends, if it does
    live_to_us: Ints = field(default_factory=lambda: np.empty(0, np.int64))  # when its player really leaves
    beats: list[Beats] = field(default_factory=list)

    def begin(self, from_us: int, started: Sessions | None) -> None:
        """A block of load begins: these sessions will start in it."""
        keep = self.leaves_us > from_us
        for name in ("ids", "start_us", "last_us", "leaves_us", "live_to_us"):
            setattr(self, name, getattr(self, name)[keep])
        if started is None or not len(started.ids):
            return
        leaves_us = np.where(started.abandoned, NEVER_US, started.end_us)
        new = (started.ids, started.start_us, started.start_us, leaves_us, started.end_us)
        for name, values in zip(("ids", "start_us", "last_us", "leaves_us", "live_to_us"), new, strict=True):
            setattr(self, name, np.concatenate((getattr(self, name), values)))

    def due(self, now_us: int, timeout_us: int) -> Ints:
        """Places of the sessions whose last heartbeat is older than the timeout, the longest silent first."""
        for beats in self.beats:
            sessions, times_us = beats.written(now_us)
            places = self.ids.searchsorted(sessions)
            known = places < len(self.ids)
            known[known] = self.ids[places[known]] == sessions[known]
            np.maximum.at(self.last_us, places[known], times_us[known])
        if not len(self.ids):
            return np.empty(0, np.int64)
        silent = (self.last_us < now_us - timeout_us) & (self.start_us <= now_us) & (self.leaves_us > now_us)
        places = np.flatnonzero(silent)
        return places[np.lexsort((self.ids[places], self.last_us[places]))]

    def close(self, sessions: Ints, now_us: int) -> int:
        """These are closed; how many had not ended by themselves meanwhile."""
        found = np.isin(self.ids, sessions)
        closed = int((self.leaves_us[found] > now_us).sum())
        for name in ("ids", "start_us", "last_us", "leaves_us", "live_to_us"):
            setattr(self, name, getattr(self, name)[~found])
        return closed

    def alive(self, sessions: Ints, now_us: int) -> int:
        """How many of these have a player who has not left."""
        if not len(sessions):
            return 0
        found = np.isin(self.ids, sessions)
        return int((self.live_to_us[found] > now_us).sum())

    def state(self) -> tuple[Any, ...]:
        """All that passes, for `restore`; arrays are never changed in place but for the last heartbeats."""
        arrays = (self.ids, self.start_us, self.last_us.copy(), self.leaves_us, self.live_to_us)
        return arrays, [beats.state() for beats in self.beats]

    def restore(self, state: tuple[Any, ...]) -> None:
        """Be again as `state` said."""
        arrays, beats = state
        self.ids, self.start_us, last_us, self.leaves_us, self.live_to_us = arrays
        self.last_us = last_us.copy()
        for own, was in zip(self.beats, beats, strict=True):
            own.restore(was)


class Cleanup:
    """Runs at every interval of its process: loads the sessions that are due, and closes them one by one, or at once.

    A run that has not ended skips the turns that fall into it. Sessions whose update fails stay for a later run.
    """

    name = "cleanup"

    def __init__(self, spec: CleanupSpec, sessions: OpenSessions, begins_us: int, ends_us: int) -> None:
        self._spec, self.sessions = spec, sessions
        self._begins_us, self._ends_us = begins_us, ends_us
        self._every_us, self._timeout_us = us_from_s(spec.interval_s), us_from_s(spec.timeout_s)
        self._turn = 1
        self._busy = False
        self.due = Facts("when_us", "due", "closed_alive")  # at every run: sessions that should be closed

    def next_us(self) -> int | None:
        """The next turn [us]; the timer goes with its process."""
        when_us = self._begins_us + self._turn * self._every_us
        return when_us if when_us < self._ends_us else None

    def begin(self) -> tuple[int, Program] | None:
        """The run of this turn, unless one is still going."""
        self._turn += 1
        if self._busy:
            return None
        self._busy = True
        number = self._turn - 1
        return number, self._run(number, self._begins_us + number * self._every_us)

    def work_us(self, to_us: int) -> int:
        """The most CPU that runs before an instant can need [us]: each loads all sessions, or as many as it may."""
        runs = max(0, -(-(to_us - self._begins_us) // self._every_us) - self._turn)
        rows, spec = len(self.sessions.ids), self._spec
        return runs * us_from_ms((rows if spec.limit_rows == "none" else min(rows, spec.limit_rows)) * spec.row_cpu_ms)

    def together(self, part: int, database: Database, horizon_us: int) -> None:
        """Runs see what the ones before them closed."""

    def _run(self, number: int, now_us: int) -> Program:
        sessions, spec = self.sessions, self._spec
        due = sessions.due(now_us, self._timeout_us)
        most = len(due) if spec.limit_rows == "none" else spec.limit_rows
        found = sessions.ids[due[:most]]
        self.due.add(now_us, len(due), sessions.alive(found, now_us))
        seen = yield Statement("query", number, len(found))
        assert seen.outcome is not None
        if seen.outcome.result != "ok":
            self._busy = False
            return End(False)
        yield Compute(us_from_ms(len(found) * spec.row_cpu_ms))
        closed = 0
        groups = [found] if spec.one_statement and len(found) else found.reshape(-1, 1)
        for group in groups:
            seen = yield Statement("update", int(group[0]), len(group))
            assert seen.outcome is not None
            if seen.outcome.result == "ok":
                closed += sessions.close(group, seen.now_us)
        self._busy = False
        return End(True, len(found), updated=closed)

    def state(self) -> tuple[int, bool, Any, int]:
        """All that passes, for `restore`."""
        return self._turn, self._busy, self.sessions.state(), len(self.due)

    def restore(self, state: tuple[int, bool, Any, int]) -> None:
        """Be again as `state` said."""
        self._turn, self._busy, sessions, rows = state
        self.sessions.restore(sessions)
        self.due.cut(rows)

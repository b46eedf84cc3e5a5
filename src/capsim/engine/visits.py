"""Parts of the server that visit the database now and then: cleanup runs, analytics queries, calls of the metrics.

A visit is a program, a generator of steps: a statement, work for the one thread, a wait. It does not know how time
passes, so the same program is played by the engine, call by call through the pool, or ahead of it where every call is
served at once. Which of the two is right is for `capsim.engine.model` to see.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, Protocol

import simpy

from capsim.engine import clock
from capsim.engine.calls import call
from capsim.engine.clock import Clock, Process, at
from capsim.engine.database import Database, Outcome, Statement
from capsim.engine.loop import Loop
from capsim.engine.pool import Pool
from capsim.engine.recorder import Facts
from capsim.engine.together import Together, in_order
from capsim.scenario.workload import STREAMS

# Who asks for a connection, in the order in which those who ask in one instant are served.
PARTS = (*STREAMS, "cleanup", "queries", "metrics")

NEVER_US = 1 << 62

VISITS = ("part", "number", "start_us", "end_us", "ok", "rows", "cached", "calls", "updated")


class Compute(NamedTuple):
    """Work for the one thread; nobody waits for it but the response."""

    cpu_us: int


class Wait(NamedTuple):
    """Nothing to do until an instant."""

    until_us: int


class Seen(NamedTuple):
    """What a program is told when it goes on: the instant, and how its statement ended."""

    now_us: int
    outcome: Outcome | None


class End(NamedTuple):
    """What came of a visit."""

    ok: bool
    rows: int = 0
    cached: bool = False
    updated: int = 0


Program = Generator[Statement | Compute | Wait, Seen, End]
ProgramOf = Callable[[int], Program]  # by number


class Source(Protocol):
    """Where visits of one part come from."""

    name: str

    def next_us(self) -> int | None:
        """When the next visit starts [us]; None if none is known."""
        ...

    def begin(self) -> tuple[int, Program] | None:
        """Start the next visit: its number and its program; None if it does not take place."""
        ...

    def together(self, part: int, database: Database, horizon_us: int) -> tuple[Together, ProgramOf] | None:
        """Begin all visits that start before the horizon and play them by array, in the order of their starts.

        With the programs of those that are to be played from the start again; None if they see each other.
        """
        ...

    def work_us(self, to_us: int) -> int:
        """The most CPU that visits which start before an instant can need [us]."""
        ...

    def state(self) -> Any:
        """All that passes, for `restore`."""
        ...

    def restore(self, state: Any) -> None:
        """Be again as `state` said."""
        ...


class _Visit:
    """A visit on its way."""

    __slots__ = ("calls", "held_from_us", "number", "part", "program", "source", "start_us", "step", "step_us")

    def __init__(self, source: Source, number: int, program: Program, start_us: int) -> None:
        self.source, self.number, self.program, self.start_us = source, number, program, start_us
        self.part = PARTS.index(source.name)
        self.calls = 0
        self.held_from_us = -1
        self.step: Statement | Wait | None = None  # what it is doing ...
        self.step_us = start_us  # ... and since when

    @property
    def asked(self) -> tuple[int, int, int, int]:
        """When it asked for its statement, as an order: the first one is asked when a visit starts."""
        return self.step_us, clock.ARRIVAL if self.calls == 1 else clock.DATABASE, self.part, self.number


class Visits:
    """Plays the visits of all sources, by the engine or ahead of it, and records them.

    Parameters
    ----------
    sources : sequence of Source
        In the order of `PARTS`.
    known_to_us : callable
        Until when starts of visits are known.
    loop : Loop, optional
        The thread that their results need.
    """

    def __init__(
        self,
        env: Clock,
        sources: Sequence[Source],
        *,
        pool: Pool,
        database: Database,
        loop: Loop | None,
        known_to_us: Any,
    ) -> None:
        self._env, self.sources = env, list(sources)
        self._pool, self._database, self._loop, self._known_to_us = pool, database, loop, known_to_us
        self.facts = Facts(*VISITS)
        self.out = 0  # visits that the engine is playing
        self._begun: list[_Visit] = []  # while looking ahead, to be finished by the engine
        self.jobs = Facts("when_us", "phase", "cpu_us", "tag")  # found while looking ahead
        self._process = env.process(self._run()) if sources else None

    # --- by the engine ----------------------------------------------------------------------------------------------

    def _first(self, sources: Sequence[Source]) -> tuple[int, Source] | None:
        """The source whose visit is next, and when."""
        soonest: tuple[int, Source] | None = None
        for source in sources:
            when_us = source.next_us()
            if when_us is not None and (soonest is None or when_us < soonest[0]):
                soonest = when_us, source
        return soonest

    def _run(self) -> Process:
        env = self._env
        while True:
            first = self._first(self.sources)
            when_us = self._known_to_us() if first is None else min(first[0], self._known_to_us())
            try:
                yield at(env, max(when_us, env.now), clock.ARRIVAL)
            except simpy.Interrupt:
                continue
            if first is None or first[0] > env.now:
                continue
            started = first[1].begin()
            if started is not None:
                visit = _Visit(first[1], *started, env.now)
                self.out += 1
                env.process(self._play(visit, self._advance(visit, None)))

    def _play(self, visit: _Visit, step: Statement | Wait | None) -> Process:
        env = self._env
        while step is not None:
            if isinstance(step, Wait):
                yield at(env, max(step.until_us, env.now), clock.ARRIVAL)
                step = self._advance(visit, None)
            else:
                visit.calls += 1
                name = visit.source.name
                _, outcome = yield from call(env, self._pool, self._database, visit.part, name, 1, step)
                step = self._advance(visit, outcome)
        self.out -= 1

    def _advance(self, visit: _Visit, outcome: Outcome | None) -> Statement | Wait | None:
        return self._next(visit, Seen(self._env.now, outcome), clock.DATABASE if outcome else clock.ARRIVAL, None)

    def _next(self, visit: _Visit, seen: Seen, phase: int, jobs: Facts | None) -> Statement | Wait | None:
        """Let a program go on to its next statement or wait; None when it is over."""
        fresh = visit.step is None and seen.outcome is None and visit.calls == 0
        try:
            step = next(visit.program) if fresh else visit.program.send(seen)
            while isinstance(step, Compute):
                tag = visit.number * len(PARTS) + visit.part
                if jobs is not None:
                    jobs.add(seen.now_us, phase, step.cpu_us, tag)
                elif self._loop is not None:
                    self._loop.insert(seen.now_us, step.cpu_us, tag)
                step = visit.program.send(Seen(seen.now_us, None))
        except StopIteration as stop:
            end: End = stop.value
            self.facts.add(visit.part, visit.number, visit.start_us, seen.now_us, int(end.ok), end.rows,
                           int(end.cached), visit.calls, end.updated)  # fmt: skip
            visit.step = None
            return None
        visit.step, visit.step_us = step, seen.now_us
        return step

    # --- ahead of it ------------------------------------------------------------------------------------------------

    @property
    def resting(self) -> bool:
        """Whether the engine plays no visit."""
        return self.out == 0

    def work_us(self, to_us: int) -> int:
        """The most CPU that visits need which are out, or start before an instant [us]; without end if nobody knows."""
        return NEVER_US if self.out else sum(source.work_us(to_us) for source in self.sources)

    def state(self) -> list[Any]:
        """All that passes, for `restore`."""
        return [source.state() for source in self.sources]

    def restore(self, states: list[Any]) -> None:
        """Be again as `state` said."""
        self._begun = []
        self.jobs.cut(0)
        for source, state in zip(self.sources, states, strict=True):
            source.restore(state)

    def look_ahead(self, horizon_us: int) -> list[int]:
        """Play all visits up to the horizon as if every call were served at once; since when calls are out then [us].

        What is not over by then is left to the engine, from the step that it is in.
        """
        self._begun = []
        self.jobs.cut(0)
        many, alone = self._together(horizon_us)
        doing: list[tuple[int, int, int, int, _Visit, Outcome | None]] = []  # ends of steps
        noted = order = 0
        ends_us = many.end_us.data

        def note(when_us: int, asked: tuple[int, ...]) -> None:
            """What comes of those that are played by array and end before a visit that is not."""
            nonlocal noted
            if noted == len(ends_us) or ends_us[noted] > when_us:
                return
            ended = many.where(slice(noted, many.before(when_us, asked)))
            tags = ended.number * len(PARTS) + ended.part
            self.facts.add_all(*(getattr(ended, column) for column in VISITS[:-1]), 0)
            self.jobs.add_all(ended.end_us, ended.phase, ended.cpu_us, tags)
            noted += len(tags)

        def follow(visit: _Visit, step: Statement | Wait | None) -> None:
            nonlocal order
            order += 1
            if step is None or isinstance(step, Wait):
                if visit.held_from_us >= 0:
                    self._pool.record_hold(visit.held_from_us, visit.step_us if step else now_us)
                    visit.held_from_us = -1
                if step is not None:
                    heapq.heappush(doing, (step.until_us, clock.ARRIVAL, order, visit.number, visit, None))
                return
            visit.calls += 1
            if visit.held_from_us < 0:
                visit.held_from_us = visit.step_us
            outcome = self._database.run(visit.source.name, 1, step, visit.step_us)
            end_us = visit.step_us + outcome.duration_us
            heapq.heappush(doing, (end_us, clock.DATABASE, order, visit.number, visit, outcome))

        first = self._first(alone)  # only a start changes which is next
        while True:
            start = None if first is None or first[0] >= horizon_us else (first[0], clock.ARRIVAL)
            if doing and doing[0][0] < horizon_us and (start is None or doing[0][:2] <= start):
                now_us, phase, _, _, visit, outcome = heapq.heappop(doing)
                note(now_us, visit.asked if phase == clock.DATABASE else (now_us,))
                follow(visit, self._next(visit, Seen(now_us, outcome), phase, self.jobs))
            elif first is not None and start is not None:
                now_us = first[0]
                note(now_us, (now_us,))
                started = first[1].begin()
                if started is not None:
                    visit = _Visit(first[1], *started, now_us)
                    follow(visit, self._next(visit, Seen(now_us, None), clock.ARRIVAL, self.jobs))
                first = self._first(alone)
            else:
                break
        note(horizon_us, ())
        since_us = []
        self._begun += [entry[4] for entry in doing]
        self._begun.sort(key=lambda visit: visit.asked)
        for visit in self._begun:
            if isinstance(visit.step, Statement):
                if visit.held_from_us < visit.step_us:
                    self._pool.record_hold(visit.held_from_us, visit.step_us)
                since_us.append(visit.step_us)
        return since_us

    def _together(self, horizon_us: int) -> tuple[Together, list[Source]]:
        """Visits that can be played by array and end before the horizon, in order, and the sources of all others.

        Those that do not end are begun.
        """
        played, alone = [], list[Source]()
        for source in self.sources:
            found = source.together(PARTS.index(source.name), self._database, horizon_us)
            if found is None:
                alone.append(source)
                continue
            many, program_of = found
            ended = many.end_us < horizon_us
            played.append(many.where(ended))
            left = many.where(~ended)
            for number, start_us in zip(left.number.tolist(), left.start_us.tolist(), strict=True):
                visit = _Visit(source, number, program_of(number), start_us)
                self._next(visit, Seen(start_us, None), clock.ARRIVAL, self.jobs)
                visit.calls, visit.held_from_us = 1, start_us
                self._begun.append(visit)
        many = in_order(*played)
        asked = many.where(many.calls > 0)
        self._pool.record_holds(asked.start_us, asked.end_us)
        return many, alone

    def look_again(self) -> None:
        """`look_ahead` was right: go on from there."""
        begun, self._begun = self._begun, []
        self.jobs.cut(0)
        for visit in begun:
            self.out += 1
            self._env.process(self._finish(visit))
        if self._process is not None:
            self._process.interrupt()

    def _finish(self, visit: _Visit) -> Process:
        """A visit that `look_ahead` began: its step starts (again) when it did, by the engine."""
        step = visit.step
        assert step is not None
        yield at(self._env, max(visit.step_us, self._env.now), clock.DATABASE)
        if isinstance(step, Statement):
            visit.calls -= 1
        yield from self._play(visit, step)

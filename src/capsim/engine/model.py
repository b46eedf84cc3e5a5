"""The server wired together, and played block by block.

`Server` joins writers, pool and database under one SimPy environment; `advance` plays one block of arrivals and hands
back what happened in it. Nothing older than the block is kept unless it still matters.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Protocol

import numpy as np
import simpy
from numpy.typing import NDArray

from capsim.base.units import us_from_s
from capsim.engine import clock
from capsim.engine.ahead import NEVER_US, LookAhead
from capsim.engine.arrivals import Arrivals
from capsim.engine.attempts import Attempt, attempt_rules
from capsim.engine.clock import Clock, at
from capsim.engine.database import Database
from capsim.engine.flusher import Flusher
from capsim.engine.happened import ATTEMPTS, TAKES, Happened, stretch_of
from capsim.engine.loop import Loop
from capsim.engine.pool import Pool
from capsim.engine.queries import Metrics, Queries
from capsim.engine.recorder import Facts
from capsim.engine.sessions import Beats, Cleanup, OpenSessions
from capsim.engine.visits import Source, Visits
from capsim.engine.writer import Batch, Writer
from capsim.memory.pauses import Pauses
from capsim.scenario.server import HttpSpec, PoolSpec, WriterSpec
from capsim.scenario.workload import STREAMS, Stream

Ints = NDArray[np.int64]
Stepping = Generator[int, None, None]  # goes on when asked to, and says for when its next step is [us]

MOST_LOOKS, WORTH_A_LOOK = 16, 16  # looks that may gain nothing; flushes that are worth one
# Where a connection may be missing: how far the first look reaches, any at least, and how many looks the loop's stretch
# is long. All of these are chosen by trial and change nothing but the speed.
FIRST_REACH_US, LEAST_REACH_US, LOOKS_IN_A_STRETCH = 1_800_000_000, 1_000_000, 8


class Block(Protocol):
    """A stretch of load: all arrivals in ``[from_us, to_us)``."""

    @property
    def from_us(self) -> int: ...
    @property
    def to_us(self) -> int: ...
    @property
    def times(self) -> Mapping[str, Ints]: ...
    @property
    def heartbeat_sessions(self) -> Ints | None: ...
    @property
    def other_us(self) -> Ints: ...
    @property
    def in_order(self) -> tuple[Ints, NDArray[np.int8]] | None: ...


class Server:
    """Writers, pool and database, ready to be played.

    Parameters
    ----------
    writers : mapping of stream to WriterSpec
        The writers to run; usually all three.
    pool, pool_limit
        Pool settings, and the limit as the process applies it.
    database : Database
        What answers the statements.
    attempts : mapping of stream to attempt rules, optional
        In place of those that the writer's semantics say (used by the recorded cases).
    http : HttpSpec, optional
        The loop that serves the requests; without it an item reaches its writer the instant it arrives.
    pauses : Pauses, optional
        Of that loop: which requests wait for the collector.
    look_ahead : bool
        Whether undisturbed stretches may be played without events; the results are the same either way.
    begins_us : int
        When its first block begins [us].
    first_items : mapping of stream to int, optional
        Numbers of the first arrivals that it will get; draws of the database are addressed by them.
    sources : sequence of Source
        What else visits the database, in the order of `capsim.engine.visits.PARTS`.
    sessions : OpenSessions, optional
        What learns which heartbeats have been written.
    parallel : int
        Calls that the database runs side by side at full speed.
    room : callable, optional
        How many connections Postgres would let it have at an instant [us].
    """

    def __init__(
        self,
        writers: Mapping[Stream, WriterSpec],
        pool: PoolSpec,
        pool_limit: int,
        database: Database,
        attempts: Mapping[Stream, Callable[[Batch], Attempt]] | None = None,
        *,
        http: HttpSpec | None = None,
        pauses: Pauses | None = None,
        look_ahead: bool = True,
        begins_us: int = 0,
        first_items: Mapping[Stream, int] | None = None,
        sources: Sequence[Source] = (),
        sessions: OpenSessions | None = None,
        parallel: int = 1 << 30,
        room: Callable[[int], int] | None = None,
    ) -> None:
        self.env = Clock(begins_us)
        self.pool = Pool(
            self.env,
            limit=pool_limit,
            timeout_us=us_from_s(pool.pool_timeout_s),
            connect_us=database.connect_us,
            connect_timeout_us=us_from_s(pool.connect_timeout_s),
            # Reads and calls of the metrics come though others are out; of everything else there is one at a time.
            parts=None if any(isinstance(s, Queries | Metrics) for s in sources) else len(writers) + len(sources),
            parallel=parallel,
            room=room,
            is_down=database.is_down,
        )
        self._looks_ahead = look_ahead and database.by_address and self.pool.can_open
        self._risky_us = FIRST_REACH_US  # about as far as the pool was lately large enough
        self._outside_us: list[int] = []  # instants at which something from outside happens
        self.known_to_us = begins_us
        self.takes, self.attempts = Facts(*TAKES), Facts(*ATTEMPTS)
        self._beats: Beats | None = None
        if sessions is not None:
            self._beats = Beats(self.attempts, (first_items or {}).get("heartbeats", 0))
            sessions.beats.append(self._beats)
        self.in_step = self._sessions_shared = False  # with other servers; see `meet_others`
        self._exits = False  # once its shutdown has resolved
        self.exited_us: int | None = None
        for when_us in database.downs_us:
            if when_us >= begins_us:
                self._outside_us.append(when_us)
                down = at(self.env, when_us, clock.TIMER)
                assert down.callbacks is not None
                down.callbacks.append(lambda _: self.pool.break_all())
        self.writers: dict[Stream, Writer] = {}
        for stream in STREAMS:
            if stream in writers:
                keyed = stream == "heartbeats" and writers[stream].keyed
                first = (first_items or {}).get(stream, 0)
                self.writers[stream] = Writer(stream, writers[stream], Arrivals(keyed=keyed, first=first))
        self.loop = None
        if http is not None:  # which has to know whether anybody's patience may end for the work of visits
            self.loop = Loop(http, self.writers, pauses, lambda to_us: self.visits.work_us(to_us))
        self.flushers: dict[Stream, Flusher] = {}
        for stream, writer in self.writers.items():
            rules = (attempts or {}).get(stream) or attempt_rules(stream, writers[stream])
            self.flushers[stream] = Flusher(
                self.env,
                writer,
                STREAMS.index(stream),
                pool=self.pool,
                database=database,
                attempt=rules,
                known_to_us=lambda: self.known_to_us,
                takes=self.takes,
                attempts=self.attempts,
                loop=self.loop,
                missed=self._beats.missed if self._beats is not None and stream == "heartbeats" else None,
            )
        self.visits = Visits(
            self.env,
            sources,
            pool=self.pool,
            database=database,
            loop=self.loop,
            known_to_us=lambda: self.known_to_us,
        )
        self.ahead = LookAhead(
            self.flushers, self.visits, pool=self.pool, loop=self.loop, takes=self.takes, attempts=self.attempts
        )

    def shut_down(self, when_us: int, *, exits: bool = False) -> dict[Stream, simpy.Process]:
        """Call ``shutdown()`` of every writer at an instant; the processes end when it has resolved.

        A server that ``exits`` ends there, in the middle of the instant: `exited_us` says when, and nothing follows.
        """
        self._outside_us.append(when_us)
        calls = {stream: self.env.process(flusher.shut_down(when_us)) for stream, flusher in self.flushers.items()}
        if exits:
            self._exits = True
            self.env.process(self._exit(list(calls.values())))
        return calls

    def _exit(self, calls: list[simpy.Process]) -> clock.Process:
        yield simpy.AllOf(self.env, calls)
        self.exited_us = self.env.now

    def _upto_us(self, to_us: int) -> int:
        """Where a stretch ends for this server: behind the instant of its exit, if that comes first [us]."""
        return to_us if self.exited_us is None else self.exited_us + 1

    def in_flight(self, stream: Stream) -> int:
        """Items of a writer that are out in a flush."""
        out = self.flushers[stream].out
        return out[0].left if out else 0

    def in_loop(self, stream: Stream) -> int:
        """Items of requests that came and have not been served."""
        writer = self.writers[stream]
        never = 0 if self.loop is None else self.loop.never_came[stream]
        return writer.arrivals.known - writer.seen - never

    def bury(self) -> None:
        """It has ended: its counts will be asked for, and nothing else."""
        for writer in self.writers.values():
            writer.arrivals.bury()
        if self.loop is not None:
            self.loop.bury()

    def meet_others(self, *, at_sessions: bool, at_postgres: bool) -> None:
        """Whether from the next block on others may close its sessions, or take Postgres' last connections from it.

        In both cases `playing` gives way before each of its steps. In the first it does not look ahead; in the second
        no connection is sure to be had but those that are open.
        """
        self.in_step = at_sessions or at_postgres
        self._sessions_shared, self.pool.shared = at_sessions, at_postgres

    def advance(self, block: Block) -> Happened:
        """Play the next block; blocks follow each other without gaps."""
        playing = self.playing(block)
        while True:
            try:
                next(playing)
            except StopIteration as stop:
                happened: Happened = stop.value
                return happened

    def playing(self, block: Block) -> Generator[int, None, Happened]:
        """`advance` in steps, for servers that have to keep in step; says for when each step is [us]."""
        began: dict[Stream, tuple[int, int]] = {}
        for stream, writer in self.writers.items():
            writer.settle(block.from_us)
            began[stream] = (writer.seen, writer.head)
        reached = yield from self._play(block) if self.loop is None else self._serve(block, self.loop)
        if self._beats is not None:
            self._beats.drained()
            out = self.flushers["heartbeats"].out
            self._beats.forget(self.writers["heartbeats"].head if out is None else out[0].first_item)
        takes, attempts = self.takes.drain(), self.attempts.drain()
        stretches = {}
        for stream, writer in self.writers.items():
            part = STREAMS.index(stream)
            took, tried = takes["part"] == part, attempts["part"] == part
            own_takes = {name: takes[name][took] for name in ("taken_us", "rows", "next_item")}
            own_attempts = {name: attempts[name][tried] for name in ("end_us", "ok", "rows", "counted", "last", "lost")}
            times_us, previous = reached[stream]
            first, head = began[stream]
            stretches[stream] = stretch_of(
                writer, times_us, first, previous, head, takes=own_takes, attempts=own_attempts
            )
        served = None if self.loop is None else self.loop.served()
        changes, waits = self.pool.changes.drain(), self.pool.waits.drain()
        due = cached = None
        for source in self.visits.sources:
            if isinstance(source, Cleanup):
                due = source.due.drain()
            elif isinstance(source, Queries) and source.cache is not None:
                cached = source.cache.level.drain()
        visits = self.visits.facts.drain()
        return Happened(takes, attempts, changes, waits, stretches, served, visits, due, cached, self.pool.refusals)

    def _play(self, block: Block) -> Generator[int, None, dict[Stream, tuple[Ints, Ints | None]]]:
        """Items reach their writers at once; when they did, and which of them repeat a session."""
        reached: dict[Stream, tuple[Ints, Ints | None]] = {}
        for stream, writer in self.writers.items():
            times_us = block.times[stream]
            sessions = block.heartbeat_sessions if stream == "heartbeats" else None
            if self._beats is not None and stream == "heartbeats":
                assert sessions is not None
                self._beats.come(sessions, times_us)
            reached[stream] = times_us, writer.arrivals.extend(times_us, sessions, writer.seen)
        yield from self._run(block.to_us)
        for writer in self.writers.values():
            writer.settle(self._upto_us(block.to_us))
        return reached

    def _serve(self, block: Block, loop: Loop) -> Generator[int, None, dict[Stream, tuple[Ints, Ints | None]]]:
        """Items reach their writers when the loop has served their requests."""
        first = {stream: writer.seen for stream, writer in self.writers.items()}
        loop.begin(block)
        while self.exited_us is None and (to_us := loop.next_stretch(LOOKS_IN_A_STRETCH * self._reach_us)) is not None:
            if self._beats is not None:
                self._beats.come(*loop.heartbeats)
            yield from self._run(to_us)
            loop.end_stretch(self.exited_us)
        for writer in self.writers.values():
            writer.settle(self._upto_us(block.to_us))
        return {stream: loop.reached(stream, writer.seen - first[stream]) for stream, writer in self.writers.items()}

    def _run(self, to_us: int) -> Stepping:
        self.known_to_us = to_us
        if self._looks_ahead and not self._sessions_shared:
            yield from self._stretches(to_us)
        if self.in_step or self._exits:
            yield from self._step_while(lambda: True, to_us)
        if self.exited_us is None:
            self.env.run(until=to_us)

    def _stretches(self, to_us: int) -> Stepping:
        """Look ahead from one thing that disturbs to the next, as long as enough is played that way."""
        looks = MOST_LOOKS
        while self.exited_us is None:
            if looks == 0:  # look again later; where no connection can be missing, in the next stretch
                rest_us = self.env.now + LOOKS_IN_A_STRETCH * self._reach_us
                yield from self._step_while(lambda: self.env.peek() < rest_us, to_us)  # noqa: B023
                if rest_us >= to_us:
                    break
                looks = MOST_LOOKS
            played, outside_us = self._played, self._next_outside_us()
            horizon_us = min(to_us, outside_us, self.env.now + self._reach_us)
            yield from self._look_ahead(horizon_us)
            short, event_us = self.ahead.short, min(horizon_us, self.ahead.short_from_us)
            if short:  # up to where a connection is missing no one has to wait
                reach_us = max(2 * (event_us - self.env.now), (horizon_us - self.env.now) // 4)
                self._risky_us = max(reach_us, LEAST_REACH_US)
                for _ in range(MOST_LOOKS):  # with other flushes before it one may be missing sooner
                    yield from self._look_ahead(event_us)
                    event_us = min(event_us, self.ahead.short_from_us)
                    if not self.ahead.short:
                        break
            else:
                self._risky_us = min(2 * self._risky_us, NEVER_US)
            if event_us >= to_us:
                break
            gained = self._played - played
            if short or event_us == outside_us or not gained:
                yield from self._step_while(lambda: self.env.peek() <= event_us, to_us)  # noqa: B023
            looks = min(looks - 1 + gained // WORTH_A_LOOK, MOST_LOOKS)

    @property
    def _played(self) -> int:
        """Flushes and visits played ahead."""
        return self.ahead.flushes + self.ahead.visits

    @property
    def _reach_us(self) -> int:
        """How far to look [us]: where no connection can be missing, as far as one likes."""
        return NEVER_US if self.pool.capacity >= self.pool.parts else self._risky_us

    def _next_outside_us(self) -> int:
        """When the next thing from outside happens [us]."""
        return min((when_us for when_us in self._outside_us if when_us >= self.env.now), default=NEVER_US)

    def _step_while(self, goes_on: Callable[[], bool], to_us: int) -> Stepping:
        """Play event by event before ``to_us`` while something holds."""
        env = self.env
        while self.exited_us is None and goes_on() and (when_us := env.peek()) < to_us:
            if self.in_step:
                yield int(when_us)
            env.step()

    def _look_ahead(self, horizon_us: int) -> Stepping:
        """Play without the engine up to an instant before which nothing from outside happens, if that can be done.

        First the engine goes on until nothing is out.
        """
        env, flushers = self.env, self.flushers.values()
        self.ahead.short_from_us = NEVER_US
        yield from self._step_while(lambda: not self._resting, horizon_us)
        if env.now >= horizon_us or not self._resting or self.exited_us is not None:
            return
        if any(flusher.writer.looks_pending for flusher in flushers):
            return
        if self.ahead.play(horizon_us):
            for flusher in flushers:
                flusher.look_again()
            self.visits.look_again()
        elif self.loop is not None:
            self.loop.show_begun()

    @property
    def _resting(self) -> bool:
        """Whether nothing is out."""
        return self.visits.resting and all(flusher.resting for flusher in self.flushers.values())

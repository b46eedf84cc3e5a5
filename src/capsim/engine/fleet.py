"""All processes of a run, one after the other and side by side, each with the requests that are its own.

A process is a `Server` of its own: its buffers and its pool begin and end with it, and what it held when it ended is
lost. It shares with the others the database, whose draws have addresses; the connections that Postgres lets in; and the
sessions that a cleanup may close. While neither of the last two can matter each is played alone, one after the other;
otherwise they go in step, instant by instant, and of one instant the processes in their order.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from capsim.engine.database import Database
from capsim.engine.happened import Happened
from capsim.engine.lives import Life
from capsim.engine.log import Log, with_lines
from capsim.engine.model import Server
from capsim.engine.queries import Metrics, Queries
from capsim.engine.redis import RedisClient
from capsim.engine.sampler import CoveredBlock, Sampler
from capsim.engine.sessions import Cleanup, OpenSessions
from capsim.engine.timeline import Level, Timeline, connections
from capsim.engine.visits import Source
from capsim.memory.constants import varied
from capsim.memory.pauses import pauses
from capsim.scenario.redis import RedisFaultSpec
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS, Stream
from capsim.workload.block import Sessions

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """What of a block is one process's."""

    from_us: int
    to_us: int
    times: Mapping[str, Ints]
    heartbeat_sessions: Ints | None
    other_us: Ints
    covered_us: Sequence[tuple[int, int]]
    queries_us: Ints
    started: Sessions | None = None
    in_order: tuple[Ints, NDArray[np.int8]] | None = None


@dataclass
class Process:
    """One process while it is played."""

    life: Life
    replica: int
    number: int
    server: Server
    sampler: Sampler
    queries: Queries | None = None
    redis: RedisClient | None = None
    lost: dict[str, int] = field(default_factory=dict)  # items it held when it ended

    @property
    def ends_us(self) -> int:
        """When it ends, as far as is known by now: from here on it does nothing and holds nothing [us]."""
        exited_us = self.server.exited_us
        return self.life.end_us if exited_us is None else exited_us + 1

    def play(self, part: Part) -> Happened:
        """Play a part of it, and add its bins."""
        if self.life.sigterm_us is None:
            return self.sampler.play(self.server, part)
        return self.add(part, self.server.advance(part))

    def add(self, part: Part, happened: Happened) -> Happened:
        """Add the bins of a part that has been played, up to its exit."""
        if self.server.exited_us is not None:
            self.life = replace(self.life, end_us=self.ends_us, end="exited")
            part = replace(part, to_us=self.ends_us)
        return self.sampler.add(self.server, part, happened)


class Fleet:
    """Plays the processes of all replicas.

    Parameters
    ----------
    scenario : Scenario
    seed, replicate : int
        Address of the draws.
    lives : sequence of sequence of Life
        For each replica, its processes in order.
    database : callable
        Makes the database as one replica meets it.
    width_us, cut_us
        Of the samplers.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        replicate: int,
        lives: Sequence[Sequence[Life]],
        database: Callable[[int], Database],
        width_us: int,
        cut_us: int | None = None,
    ) -> None:
        self._scenario, self._spec = scenario, scenario.server
        self._database = cache(database)  # its draws go by address: processes of one replica share them
        self._address = (seed, replicate)
        needed = scenario.server.cleanup is not None and scenario.workload.sessions is not None
        self.sessions = OpenSessions() if needed else None
        self._width_us, self._cut_us = width_us, cut_us
        self._replicas, self._many = len(lives), sum(map(len, lives)) > 1
        self._coming = sorted(((life, replica) for replica, row in enumerate(lives) for life in row),
                              key=lambda pair: (pair[0].accepts_from_us, pair[1]))  # fmt: skip
        self._living: list[Process] = []
        self.ended: list[Process] = []
        self._seen: Counter[str] = Counter()  # arrivals of each stream in earlier blocks
        self.refused: Counter[str] = Counter()  # arrivals when no process was healthy
        self.timeline = Timeline(width_us, cut_us)

    @property
    def processes(self) -> list[Process]:
        """All processes so far, in order of their ends and then of their starts."""
        return [*self.ended, *self._living]

    def play(self, block: CoveredBlock) -> list[tuple[Process, Happened]]:
        """Play the next block on every process that lives in it."""
        while self._coming and self._coming[0][0].accepts_from_us < block.to_us:
            life, replica = self._coming.pop(0)
            self._living.append(self._born(life, replica, block))
        if self.sessions is not None:
            self.sessions.begin(block.from_us, block.started)
        served = {stream: np.zeros(len(block.times[stream]), bool) for stream in STREAMS}
        parts: list[tuple[Process, Part]] = []
        for process in self._living:
            part, chosen = self._part_of(process, block)
            for stream in STREAMS:
                served[stream][chosen[stream]] = True
            if part.to_us > part.from_us:
                if process.queries is not None:
                    process.queries.come(part.queries_us)
                if process.redis is not None:
                    process.redis.come(part.from_us, [*part.times.values(), part.other_us], part.queries_us)
                parts.append((process, part))
        if self._meet([process for process, _ in parts]):
            happened = self._in_step(parts)
        else:
            happened = [(process, process.play(part)) for process, part in parts]
        for process in list(self._living):
            if process.life.end != "run" and process.life.end_us <= block.to_us:
                self._living.remove(process)
                self._bury(process)
        refused = {stream: block.times[stream][~served[stream]] for stream in STREAMS}
        ends = [process for process in self.ended if block.from_us < process.life.end_us <= block.to_us]
        self.timeline.add(block, refused, ends, self._connections(happened, block))
        for stream in STREAMS:
            self._seen[stream] += len(block.times[stream])
            self.refused[stream] += len(refused[stream])
        self._seen["other"] += len(block.other_us)
        self._seen["queries"] += len(block.queries_us)
        return happened

    def _connections(
        self, happened: Sequence[tuple[Process, Happened]], block: CoveredBlock
    ) -> dict[str, Sequence[Level]]:
        """Connections in use and open, by process; of a process that is alone its own bins say as much."""
        if not self._many:
            return {}
        in_use, opened = [], []
        for process, what in happened:
            used, open_ = connections(process, what, block)
            in_use.append(used)
            opened.append(open_)
        return {"pool_in_use_max": in_use, "pool_open_max": opened}

    def _meet(self, processes: Sequence[Process]) -> bool:
        """Whether what one of these does may touch another, and tell them."""
        wanted = sum(min(process.server.pool.limit, process.server.pool.parts) for process in processes)
        at_sessions = len(processes) > 1 and self.sessions is not None
        at_postgres = len(processes) > 1 and wanted > self._scenario.database.clients_max
        for process in processes:
            process.server.meet_others(at_sessions=at_sessions, at_postgres=at_postgres)
        return at_sessions or at_postgres

    @staticmethod
    def _in_step(parts: Sequence[tuple[Process, Part]]) -> list[tuple[Process, Happened]]:
        """Play processes step by step, always the one whose next step is the earliest."""
        found: list[Happened | None] = [None] * len(parts)
        coming = [(part.from_us, place, process.server.playing(part)) for place, (process, part) in enumerate(parts)]
        heapq.heapify(coming)
        while coming:
            _, place, playing = heapq.heappop(coming)
            try:
                heapq.heappush(coming, (next(playing), place, playing))
            except StopIteration as stop:
                found[place] = stop.value
        happened = []
        for (process, part), what in zip(parts, found, strict=True):
            assert what is not None
            happened.append((process, process.add(part, what)))
        return happened

    def _bury(self, process: Process) -> None:
        """A process has ended; what it held is lost."""
        for stream, writer in process.server.writers.items():
            server = process.server
            process.lost[stream] = server.in_loop(stream) + writer.count + server.in_flight(stream)
        process.server.bury()
        self.ended.append(process)

    def _born(self, life: Life, replica: int, block: CoveredBlock) -> Process:
        spec = self._spec
        earlier = {s: self._seen[s] + int(block.times[s].searchsorted(life.accepts_from_us)) for s in STREAMS}
        writers: dict[Stream, object] = {stream: getattr(spec.writers, stream) for stream in STREAMS}
        number = len(self.processes)
        first_read = self._seen["queries"] + int(block.queries_us.searchsorted(life.accepts_from_us))
        sources, redis = self._sources(life, replica, self._share(first_read, replica))
        queries = next((source for source in sources if isinstance(source, Queries)), None)
        database = self._scenario.database
        most = database.clients_max

        server = Server(
            writers,  # type: ignore[arg-type]
            spec.pool,
            spec.pool_limit,
            self._database(replica),
            http=with_lines(spec.http, spec.logger, varied(self._scenario)),
            pauses=pauses(self._scenario),
            begins_us=life.accepts_from_us,
            first_items={s: self._share(n, replica) for s, n in earlier.items()},
            sources=sources,
            sessions=self.sessions,
            parallel=database.parallel_calls,
            room=lambda now_us: most - self._others_open(number, now_us),
        )
        if life.sigterm_us is not None:
            server.shut_down(life.sigterm_us, exits=True)
        sampler = Sampler(self._width_us, self._cut_us, self._scenario, Log(spec.logger), redis)
        return Process(life, replica, number, server, sampler, queries, redis)

    def _share(self, count: int, replica: int) -> int:
        """How many of the first ``count`` requests of a kind went to a replica."""
        return (count + self._replicas - 1 - replica) // self._replicas

    def _sources(self, life: Life, replica: int, first_read: int) -> tuple[list[Source], RedisClient | None]:
        """What visits the database beside the writers of a process, and its connection to Redis."""
        spec, sources = self._spec, list[Source]()
        if spec.cleanup is not None:
            sessions = OpenSessions() if self.sessions is None else self.sessions
            sources.append(Cleanup(spec.cleanup, sessions, life.accepts_from_us, life.end_us))
        faults: Sequence[RedisFaultSpec] = self._scenario.redis.faults
        redis = RedisClient(spec.redis_client, faults) if faults else None
        if self._scenario.workload.queries_hz:
            seed, number = self._address
            sources.append(
                Queries(
                    spec.queries,
                    spec.cache,
                    seed=seed,
                    replicate=number,
                    first=first_read,
                    of=of_replica(replica),
                    redis=None if redis is None else redis.answered_us,
                )
            )
        if spec.metrics is not None:
            sources.append(Metrics(spec.metrics, life.accepts_from_us, life.end_us))
        return sources, redis

    def _others_open(self, number: int, now_us: int) -> int:
        """Connections that the other processes hold open at an instant."""
        total = 0
        for process in self.processes:
            opened = process.server.pool.opened
            if process.number != number and process.ends_us > now_us and opened:
                place = bisect_right(opened, (now_us, 1 << 62)) - 1
                total += opened[place][1] if place >= 0 else 0
        return total

    def _part_of(self, process: Process, block: CoveredBlock) -> tuple[Part, dict[Stream, slice]]:
        life = process.life
        from_us, to_us = max(block.from_us, life.accepts_from_us), min(block.to_us, life.end_us)
        accepts_to_us = min(life.accepts_to_us, to_us)

        def own(stream: str, times_us: Ints) -> slice:
            begin, end = np.searchsorted(times_us, [from_us, max(accepts_to_us, from_us)]).tolist()
            # Requests go round among the replicas, by their number over the whole load.
            offset = (process.replica - self._seen[stream] - begin) % self._replicas
            return slice(begin + offset, end, self._replicas)

        chosen = {stream: own(stream, block.times[stream]) for stream in STREAMS}
        sessions = block.heartbeat_sessions
        all_its = all(chosen[stream] == slice(0, len(block.times[stream]), 1) for stream in STREAMS)
        part = Part(
            from_us=from_us,
            to_us=to_us,
            times={stream: block.times[stream][chosen[stream]] for stream in STREAMS},
            heartbeat_sessions=None if sessions is None else sessions[chosen["heartbeats"]],
            other_us=block.other_us[own("other", block.other_us)],
            covered_us=[(max(a, from_us), min(b, to_us)) for a, b in block.covered_us if a < to_us and b > from_us],
            queries_us=block.queries_us[own("queries", block.queries_us)],
            in_order=block.in_order if all_its else None,
        )
        return part, chosen


def of_replica(replica: int) -> str:
    """What is added to the names of the draws of a replica; all but the first number their items alike."""
    return f" of replica {replica}" if replica else ""

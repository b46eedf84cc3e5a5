"""All processes of a run, one after the other and side by side, each with the requests that are its own.

A process is a `Server` of its own: its buffers and its pool begin and end with it, and share with the others only the
database, whose draws have addresses. So each is played alone, and what it held when it ended is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from capsim.server.database import Database
from capsim.server.lives import Life
from capsim.server.model import Happened, Server
from capsim.server.sampler import CoveredBlock, Sampler
from capsim.server.timeline import Timeline
from capsim.specs import STREAMS, ServerSpec, Stream

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


@dataclass
class Process:
    """One process while it is played."""

    life: Life
    replica: int
    number: int
    server: Server
    sampler: Sampler
    lost: dict[str, int] = field(default_factory=dict)  # items it held when it ended


class Fleet:
    """Plays the processes of all replicas.

    Parameters
    ----------
    spec : ServerSpec
        Of the scenario.
    lives : sequence of sequence of Life
        For each replica, its processes in order.
    database : callable
        Makes the database as one replica meets it.
    width_us, cut_us
        Of the samplers.
    """

    def __init__(
        self,
        spec: ServerSpec,
        lives: Sequence[Sequence[Life]],
        database: Callable[[int], Database],
        width_us: int,
        cut_us: int | None = None,
    ) -> None:
        self._spec, self._database = spec, database
        self._width_us, self._cut_us = width_us, cut_us
        self._replicas = len(lives)
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
        happened = []
        served = {stream: np.zeros(len(block.times[stream]), bool) for stream in STREAMS}
        for process in list(self._living):
            part, chosen = self._part_of(process, block)
            for stream in STREAMS:
                served[stream][chosen[stream]] = True
            if part.to_us > part.from_us:
                happened.append((process, process.sampler.play(process.server, part)))
            if process.life.end != "run" and process.life.end_us <= block.to_us:
                self._living.remove(process)
                self._bury(process)
        refused = {stream: block.times[stream][~served[stream]] for stream in STREAMS}
        ends = [process for process in self.ended if block.from_us < process.life.end_us <= block.to_us]
        self.timeline.add(block, refused, ends)
        for stream in STREAMS:
            self._seen[stream] += len(block.times[stream])
            self.refused[stream] += len(refused[stream])
        self._seen["other"] += len(block.other_us)
        return happened

    def _bury(self, process: Process) -> None:
        """A process has ended; what it held is lost."""
        for stream, writer in process.server.writers.items():
            server = process.server
            process.lost[stream] = server.in_loop(stream) + writer.count + server.in_flight(stream)
        self.ended.append(process)

    def _born(self, life: Life, replica: int, block: CoveredBlock) -> Process:
        spec = self._spec
        earlier = {s: self._seen[s] + int(block.times[s].searchsorted(life.accepts_from_us)) for s in STREAMS}
        writers: dict[Stream, object] = {stream: getattr(spec.writers, stream) for stream in STREAMS}
        server = Server(
            writers,  # type: ignore[arg-type]
            spec.pool,
            spec.pool_limit,
            self._database(replica),
            http=spec.http,
            begins_us=life.accepts_from_us,
            first_items={s: (n + self._replicas - 1 - replica) // self._replicas for s, n in earlier.items()},
        )
        if life.sigterm_us is not None:
            server.shut_down(life.sigterm_us)
        return Process(life, replica, len(self.processes), server, Sampler(self._width_us, self._cut_us))

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
        part = Part(
            from_us=from_us,
            to_us=to_us,
            times={stream: block.times[stream][chosen[stream]] for stream in STREAMS},
            heartbeat_sessions=None if sessions is None else sessions[chosen["heartbeats"]],
            other_us=block.other_us[own("other", block.other_us)],
            covered_us=[(max(a, from_us), min(b, to_us)) for a, b in block.covered_us if a < to_us and b > from_us],
        )
        return part, chosen

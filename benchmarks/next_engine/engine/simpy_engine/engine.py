"""All processes of a scenario on one clock, block by block; with the same facts as the kernel."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import simpy
from numpy.typing import NDArray

from capsim.base.units import us_from_ms
from capsim.engine.kernel.fields import event as E
from capsim.engine.lives import Life
from capsim.engine.simpy_engine.connections import Connections
from capsim.engine.simpy_engine.loop import Request
from capsim.engine.simpy_engine.process import Process, limits_of
from capsim.engine.simpy_engine.sessions import Sessions
from capsim.engine.simpy_engine.visits import Visit
from capsim.engine.simpy_engine.writer import Attempt, Batch, BatchWriter
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from capsim.workload.block import Block

Ints = NDArray[np.int64]
KINDS = (*STREAMS, "other", "queries")
FACTS = {"attempts": 16, "takes": 8, "waits": 5, "visits": 10, "stuck": 4}  # columns


class Whole(NamedTuple):
    """What concerns all processes in a block: edges of its bins [us], most connections, and who found no process."""

    block: Block
    edges_us: Ints
    in_use_max: Ints
    open_max: Ints
    refused_us: dict[str, Ints]


class SimpyEngine:
    """Simulates the processes of a scenario.

    Parameters
    ----------
    scenario : Scenario
    seed, replicate : int
        Address of the draws.
    lives : sequence of sequence of Life
        For each replica, its processes in order.
    width_us, cut_us : int
        Width of the bins, and an instant at which one ends whatever the width [us].
    windows_us : sequence of int
        Ends of the windows of arrival whose response times are counted apart [us].
    keep : bool
        Whether to keep facts of single attempts, takes and visits.

    Attributes
    ----------
    processes : list of Process
        In order of their starts; each with its bins, and when it has ended with what became of its items.
    facts : dict of str to list of int64 arrays
        As `capsim.engine.kernel.driver.Kernel.facts`.
    times : int64[windows, 4, columns]
        Response times: their sum and largest [us], and how many are in each bin; by window and kind of request.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        replicate: int,
        lives: Sequence[Sequence[Life]],
        width_us: int,
        cut_us: int | None,
        windows_us: Sequence[int],
        *,
        keep: bool,
    ) -> None:
        self.address: tuple[int, int] = (seed, replicate)
        self.scenario, self.keep = scenario, keep
        self.width_us, self.cut_us, self.replicas = width_us, cut_us, len(lives)
        self.env = simpy.Environment(0)
        limits = limits_of(scenario)
        can_open = us_from_ms(scenario.database.connect_ms) <= min(limits.timeout_us, limits.connect_timeout_us)
        self.connections = Connections(scenario.database.clients_max, can_open=can_open)
        self.sessions = Sessions()
        self.coming = sorted(
            ((life, replica) for replica, row in enumerate(lives) for life in row),
            key=lambda coming: (coming[0].accepts_from_us, coming[1]),
        )
        self.living: list[Process] = []
        self.processes: list[Process] = []
        self.blocks: list[Whole] = []
        self.facts: dict[str, list[Ints]] = {name: [] for name in FACTS}
        self._rows: dict[str, list[Any]] = {name: [] for name in FACTS}
        self._windows = sorted(set(windows_us))
        self.times = np.zeros((len(self._windows) + 1, 4, E.TIME_BINS + 2), np.int64)
        self._seen: Counter[str] = Counter()  # requests before the block

    # --- a block ---

    def play(self, block: Block) -> Whole:
        """Simulate the next block."""
        self.sessions.begin(block)
        edges = self._edges(block.from_us, block.to_us)
        refused = {name: np.ones(len(times_us), bool) for name, times_us in _times_of(block).items()}
        for process in self.living:
            self._share(process, block, refused)
        totals: list[tuple[int, int]] = []
        while (when_us := self._next(edges, block.to_us)) < block.to_us:
            self._at_bounds(when_us, edges, totals, block, refused)
        self._reach(block.to_us)
        for process in self.living:
            process.close_bin(block.to_us)
            process.take_bins()
        totals.append(self.connections.begin_bin(block.to_us))
        self._bury(block.to_us)
        return self._collect(block, edges, totals[1:], refused)

    def _next(self, edges: list[int], to_us: int) -> int:
        """The next instant at which a bin, or a process, begins or ends from outside."""
        ends = [process.life.end_us for process in self.living if process.life.end != "run"]
        born = [self.coming[0][0].accepts_from_us] if self.coming else []
        return min([*ends, *born, *edges, to_us])

    def _reach(self, when_us: int) -> None:
        if when_us > self.env.now:
            self.env.run(until=when_us)

    def _at_bounds(
        self, when_us: int, edges: list[int], totals: list[tuple[int, int]], block: Block, refused: dict[str, Any]
    ) -> None:
        """Before anything else of an instant: bins end and begin, processes end, processes are healthy."""
        self._reach(when_us)
        if edges and edges[0] == when_us:
            del edges[0]
            totals.append(self.connections.begin_bin(when_us))
            for process in self.living:
                process.close_bin(when_us)
                process.open_bin(when_us, edges[0])
        self._bury(when_us)
        while self.coming and self.coming[0][0].accepts_from_us == when_us:
            process = self._born(*self.coming.pop(0), block)
            process.open_bin(when_us, edges[0])
            self._share(process, block, refused)

    def _bury(self, when_us: int) -> None:
        for process in list(self.living):
            if process.life.end != "run" and process.life.end_us == when_us:
                process.end(when_us)

    def _collect(self, block: Block, edges: list[int], totals: list[tuple[int, int]], refused: dict[str, Any]) -> Whole:
        if not self.coming and block.to_us >= max((p.life.end_us for p in self.living), default=0):
            for process in self.living:  # they live on beyond the end of the run
                process.count()
        times = _times_of(block)
        self._seen.update({name: len(times_us) for name, times_us in times.items()})
        for name, rows in self._rows.items():
            if rows:
                self.facts[name].append(np.array(rows, np.int64))
        self._rows = {name: [] for name in FACTS}
        lost: dict[str, Ints] = {stream: times[stream][refused[stream]] for stream in STREAMS}
        in_use, opened = np.array(totals, np.int64).reshape(-1, 2).T
        self.blocks.append(Whole(block, np.array(self._edges(block.from_us, block.to_us)), in_use, opened, lost))
        return self.blocks[-1]

    def _edges(self, from_us: int, to_us: int) -> list[int]:
        """Edges of bins: multiples of the width, the two ends, and the cut [us]."""
        first = from_us - from_us % self.width_us + self.width_us
        edges = {from_us, *range(first, to_us, self.width_us), to_us}
        if self.cut_us is not None and from_us < self.cut_us < to_us:
            edges.add(self.cut_us)
        return sorted(edges)

    # --- processes and their share of the load ---

    def _born(self, life: Life, replica: int, block: Block) -> Process:
        """Requests go round among the replicas, by their number over the whole load."""
        earlier = [self._seen[name] + int(block.times[name].searchsorted(life.accepts_from_us)) for name in STREAMS]
        first = [(count + self.replicas - 1 - replica) // self.replicas for count in earlier]
        process = Process(self, life, replica, len(self.processes), first)
        self.processes.append(process)
        self.living.append(process)
        process.begin()
        return process

    def _share(self, process: Process, block: Block, refused: dict[str, NDArray[np.bool_]]) -> None:
        """What of the block's requests and reads a process gets."""
        life, places = process.life, {}
        from_us = max(block.from_us, life.accepts_from_us)
        to_us = max(min(block.to_us, life.accepts_to_us, life.end_us), from_us)
        for name, times_us in _times_of(block).items():
            begin, end = np.searchsorted(times_us, [from_us, to_us]).tolist()
            offset = (process.replica - self._seen[name] - begin) % self.replicas
            places[name] = range(begin + offset, end, self.replicas)
            refused[name][begin + offset : end : self.replicas] = False
        process.time.tell(process.clients.send(_requests(block, places)))
        reads = ((int(block.queries_us[p]), (self._seen["queries"] + p) // self.replicas) for p in places["queries"])
        process.time.tell(process.reads.come(reads))

    def ended(self, process: Process) -> None:
        """A process has ended: by its life at the beginning of an instant, or by its own exit in the middle."""
        self.living.remove(process)
        self.connections.gone(process.pool, at_once=process.life.end != "exited")

    # --- facts ---

    def note_take(self, number: int) -> Callable[[BatchWriter, Batch, int], None]:
        def note(writer: BatchWriter, batch: Batch, phase: int) -> None:
            row = (writer.stream, batch.taken_us, phase, batch.rows, batch.first, batch.to, batch.next, number)
            self._note("takes", row)

        return note

    def note_attempt(self, number: int) -> Callable[[BatchWriter, Batch, Attempt, bool, bool, int], None]:
        def note(writer: BatchWriter, batch: Batch, attempt: Attempt, ok: bool, last: bool, lost: int) -> None:
            row = (writer.stream, batch.number, attempt.number, attempt.start_us, self.env.now, ok, batch.rows,
                   attempt.calls, attempt.counted, attempt.inserted, batch.first, batch.to, batch.next, last, lost,
                   number)  # fmt: skip
            self._note("attempts", row)

        return note

    def note_stuck(self, number: int) -> Callable[[BatchWriter, int, int], None]:
        return lambda writer, from_us, to_us: self._rows["stuck"].append((writer.stream, from_us, to_us, number))

    def note_wait(self, number: int) -> Callable[[int, int, bool], None]:
        return lambda part, asked_us, ok: self._rows["waits"].append((part, asked_us, self.env.now, ok, number))

    def note_visit(self, number: int) -> Callable[[Visit], None]:
        return lambda visit: self._note("visits", (*visit, number))

    def _note(self, name: str, row: tuple[Any, ...]) -> None:
        if self.keep:
            self._rows[name].append(row)

    def count_time(self, kind: int, took_us: int) -> None:
        """A response time: exact below 128 us, then 64 bins from one power of two to the next."""
        own = self.times[bisect_right(self._windows, self.env.now), kind]
        shift = max(took_us.bit_length() - (2 * E.STEPS - 1).bit_length(), 0)
        own[0] += took_us
        own[1] = max(own[1], took_us)
        own[2 + E.STEPS * shift + (took_us >> shift)] += 1


def _times_of(block: Block) -> dict[str, Ints]:
    return {**block.times, "other": block.other_us, "queries": block.queries_us}


def _requests(block: Block, places: dict[str, range]) -> Iterator[tuple[int, Request]]:
    """The requests in order; of one instant those of earlier kinds first."""
    times, sessions = _times_of(block), block.heartbeat_sessions
    found = [(int(times[name][place]), kind, place) for kind, name in enumerate(KINDS[:4]) for place in places[name]]
    for at_us, kind, place in sorted(found):
        session = int(sessions[place]) if sessions is not None and kind == E.HEARTBEATS else -1
        yield at_us, Request(kind, session)

"""Feeds the kernel: processes and blocks of load, draws, and room where it runs short; and takes out what happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capsim.base.errors import CapsimError
from capsim.base.units import US_PER_S
from capsim.engine.database import SlowPeriods
from capsim.engine.kernel.draws import Draws
from capsim.engine.kernel.entry import entry
from capsim.engine.kernel.fields import bin as B
from capsim.engine.kernel.fields import call as C
from capsim.engine.kernel.fields import event as E
from capsim.engine.kernel.fields import process as S
from capsim.engine.kernel.fields import setting as K
from capsim.engine.kernel.fields import visit as V
from capsim.engine.kernel.fields import whole as G
from capsim.engine.kernel.fields import writer as W
from capsim.engine.kernel.memory import FACTS, Memory
from capsim.engine.kernel.process import Process, edges_of
from capsim.engine.kernel.requests import NAMES, Reads, Requests, Share, ask_redis, requests_of, rows_of, times_of
from capsim.engine.kernel.requests import with_started
from capsim.engine.kernel.settings import settings, writer_rows
from capsim.engine.kernel.visits import KEPT_SIZE
from capsim.engine.lives import Life
from capsim.engine.redis import RedisClient
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from capsim.workload.block import Block

Ints = NDArray[np.int64]
MOST_KEPT = 1 << 20  # responses
SLOTS = 1 << E.SLOT_BITS


@dataclass
class Whole:
    """What concerns all processes in a block: edges of its bins [us], most connections, and who found no process."""

    block: Block
    edges_us: Ints
    in_use_max: Ints
    open_max: Ints
    refused_us: dict[str, Ints]


@dataclass(frozen=True)
class Checkpoint:
    """All that a kernel knows between two blocks; see `Kernel.checkpoint`."""

    m: Ints
    tables: tuple[list[int], dict[int, int]]
    state: dict[str, Any]
    processes: list[tuple[Process, Life, RedisClient | None, int]]  # so far; and how many blocks of bins each had
    counts: tuple[int, dict[str, int]]


class Kernel:
    """Simulates the processes of a scenario, block by block.

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
    told : callable, optional
        Called now and then with the instant that has been reached [us].

    Attributes
    ----------
    processes : list of Process
        In order of their starts; each with its bins, and when it has ended with what became of its items.
    blocks : list of Whole
        What concerns all processes, block by block.
    facts : dict of str to list of int64 arrays
        ``attempts``, ``takes``, ``waits``, ``visits``, ``stuck``: rows of `capsim.engine.kernel.memory.FACTS`.
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
        told: Callable[[int], None] | None = None,
    ) -> None:
        self.scenario, self.width_us, self.cut_us, self.replicas = scenario, width_us, cut_us, len(lives)
        self.keep, self.told, self.processes, self.blocks = keep, told, list[Process](), list[Whole]()
        self.living: list[Process] = []
        self.seen: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.facts: dict[str, list[Ints]] = {name: [] for name in FACTS}
        self.rooms = (0, 0)  # bins and seconds that each process has room for
        self.stamped = 0  # sessions that the writers' maps have room for
        self.findable: dict[int, int] = {}  # sessions that a run of the cleanup may find, by row
        self.base = 0  # number of the process that has the first slot
        self.plan_lives(lives)
        bursts, address = scenario.database.bursts, (seed, replicate)
        self.slow = SlowPeriods(*address, bursts.calm_s, bursts.slow_s, bursts.factor) if bursts else None
        self.reads = Reads(scenario.server.queries, address, self.replicas)
        fixed = settings(scenario)
        self.memory, self.writers = Memory(fixed.whole), writer_rows(scenario)
        self.draws = Draws(scenario, *address, fixed.fractions)
        self.draws.begin(self.memory, self.replicas)
        self._tables({G.FAULTS: fixed.faults, G.DOWNS: fixed.downs, G.AWAY: fixed.away}, len(fixed.faults), windows_us)

    def _tables(self, tables: dict[int, Any], faults: int, windows_us: Sequence[int]) -> None:
        memory = self.memory
        for where, rows in tables.items():
            memory.m[where] = memory.put(np.array(rows, np.int64))
        memory.m[G.FAULT_COUNT] = faults
        windows = np.array([*np.unique(windows_us), E.NEVER_US], np.int64)
        memory.m[G.WINDOWS] = memory.put(windows)
        self.windows = len(windows)
        memory.m[G.TIMES] = memory.take(self.windows * 4 * (E.TIME_BINS + 2))
        memory.m[G.SLOTS] = memory.take(SLOTS)
        memory.m[G.KEEP] = self.keep
        memory.more_rows(1_024, C.SIZE, C.NEXT, G.FREE)
        memory.more_rows(256, V.SIZE, V.NEXT, G.VISIT_FREE)
        memory.more(self.keep)

    # --- lives, and going back ---

    def plan_lives(self, lives: Sequence[Sequence[Life]]) -> None:
        """Who lives from when to when, for all that has not been simulated; what has happened must not be changed."""
        known = {(process.replica, process.index): process for process in self.processes}
        self.coming: list[Process] = []
        for replica, row in enumerate(lives):
            for index, life in enumerate(row):
                process = known.get((replica, index))
                if process is None:
                    self.coming.append(Process(life, replica, index))
                elif process in self.living:
                    process.life = life
                    self.memory.m[process.row + S.ENDS_US] = life.end_us
        self.coming.sort(key=lambda process: (process.life.accepts_from_us, process.replica))

    def checkpoint(self) -> Checkpoint:
        """All that is known now, between two blocks, for `restore`."""
        memory, m = self.memory, self.memory.m
        state = {name: copy(getattr(self, name)) for name in STATE}
        processes = [(process, process.life, copy(process.redis), len(process.bins)) for process in self.processes]
        facts = {name: len(rows) for name, rows in self.facts.items()}
        return Checkpoint(m[: m[G.END]].copy(), memory.tables(), state, processes, (len(self.blocks), facts))

    def restore(self, point: Checkpoint) -> None:
        """Be again as at a checkpoint."""
        self.memory.restore(point.m, *point.tables)
        for name in STATE:
            setattr(self, name, copy(point.state[name]))
        for process, life, redis, count in point.processes:
            process.life, process.redis = life, copy(redis)
            del process.bins[count:]
        for process in self.living:
            process.counts, process.out = {}, []
        for process in self.coming:
            process.bins, process.counts, process.out, process.redis = [], {}, [], None
        blocks, facts = point.counts
        del self.blocks[blocks:]
        for name, rows in self.facts.items():
            del rows[facts[name] :]
        self.draws.forget(self.memory, self.replicas)

    # --- a block ---

    def play(self, block: Block) -> Whole:
        """Simulate the next block."""
        memory, m = self.memory, self.memory.m
        coming = self._rows_for(block)
        edges = edges_of(block.from_us, block.to_us, self.width_us, self.cut_us)
        self._room_for_bins(len(edges) - 1, -(-(block.to_us - block.from_us) // US_PER_S) + 1)
        self._sessions(block)
        requests, refused = self._requests(block, [*self.living, *coming])
        if self.slow is not None:
            self.slow._reach(block.to_us)
            bounds = np.array(self.slow._bounds_us, np.int64)
            memory.place(G.SLOW, bounds)
            memory.m[G.SLOW_COUNT] = len(bounds)
        memory.place(G.EDGES, edges)
        memory.place(G.TOTALS, np.zeros(2 * (len(edges) - 1), np.int64))
        m = memory.m
        m[G.FROM], m[G.TO], m[G.BIN_NUMBER], m[G.BIN_TO], m[G.ARRIVAL] = block.from_us, block.to_us, -1, block.from_us, 0
        self._run(block, edges, requests, coming)
        m = memory.m
        for process in self.living:
            process.add_bins(m, edges, process.life.end_us)
        for name in FACTS:
            rows = memory.facts(name)
            if len(rows):
                self.facts[name].append(rows)
        totals = m[m[G.TOTALS] : m[G.TOTALS] + 2 * (len(edges) - 1)].reshape(-1, 2).copy()
        self.blocks.append(Whole(block, edges, totals[:, 0], totals[:, 1], refused))
        if block.to_us >= max((process.life.end_us for process in self.living), default=0) and not self.coming:
            for process in self.living:  # they live on beyond the end of the run
                process.count(m)
        return self.blocks[-1]

    def _run(self, block: Block, edges: Ints, requests: Requests, coming: list[Process]) -> None:
        """From one birth or known end to the next, with whatever runs short in between."""
        memory, run = self.memory, entry()
        while True:
            ends_us = min((p.life.end_us for p in self.living if p.life.end != "run"), default=E.NEVER_US)
            born_us = coming[0].life.accepts_from_us if coming else E.NEVER_US
            memory.m[G.LIMIT] = limit_us = min(ends_us, born_us, block.to_us)
            status = run(memory.m, self.draws.d, *requests)
            if status == E.NEED_DRAWS:
                self.draws.make(memory, self.replicas)
            elif status == E.NEED_ROOM:
                memory.more(self.keep)
            elif status == E.ENDED:
                self._ended(int(memory.m[G.ENDED]), edges)
            elif status == E.PAUSE:
                if self.told is not None:
                    self.told(int(memory.m[G.NOW]))
            elif ends_us == limit_us:
                memory.m[G.DYING] = next(p.row for p in self.living if p.life.end_us == ends_us and p.life.end != "run")
            elif born_us == limit_us < block.to_us:
                self._ready(coming.pop(0), edges)
            else:
                return

    # --- processes ---

    def _rows_for(self, block: Block) -> list[Process]:
        """Rows for the processes that will be healthy in the block, one after the other where they do not meet."""
        taken = {process.row: process for process in self.living}
        found = []
        while self.coming and self.coming[0].life.accepts_from_us < block.to_us:
            process = self.coming.pop(0)
            for row in self.memory.rows:
                other = taken.get(row)
                if other is None or (other.life.end != "run" and other.life.end_us < process.life.accepts_from_us):
                    process.row = row
                    break
            else:
                process.row = self._new_row()
            taken[process.row] = process
            earlier = [self.seen[name] + int(block.times[name].searchsorted(process.life.accepts_from_us))
                       for name in STREAMS]  # fmt: skip
            process.first_items = [(count + self.replicas - 1 - process.replica) // self.replicas for count in earlier]
            found.append(process)
        return found

    def _new_row(self) -> int:
        memory, server = self.memory, self.scenario.server
        s = memory.take(S.SIZE)
        kept = 0 if server.cache is None else KEPT_SIZE * (min(server.queries.distinct, MOST_KEPT) + 1)
        sizes = {
            S.WRITERS: 3 * W.SIZE, S.RING: 3 * 1_024, S.BEATS: 2 * 1_024, S.KEPT: kept, S.STAMPS: self.stamped,
            S.BINS: self.rooms[0] * B.SIZE, S.SECONDS: self.rooms[1] * 4,
        }  # fmt: skip
        for column, size in sizes.items():
            place = memory.take(size)
            memory.m[s + column] = place
        memory.m[s + S.RING_SIZE] = memory.m[s + S.BEATS_SIZE] = 1_024
        memory.rows.append(s)
        return s

    def _ready(self, process: Process, edges: Ints) -> None:
        """A process will be healthy in this instant: its row is made ready."""
        process.number = len(self.processes)
        self.processes.append(process)
        self.living.append(process)
        if process.number - self.base >= SLOTS:
            self._move_slots(min(living.number for living in self.living))
        m, s, life = self.memory.m, process.row, process.life
        kept = (S.WRITERS, S.RING, S.RING_SIZE, S.BEATS, S.BEATS_SIZE, S.STAMPS, S.FOUND, S.KEPT, S.BINS, S.SECONDS)
        old = {column: m[s + column] for column in kept}
        m[s : s + S.SIZE] = 0
        for column, value in old.items():
            m[s + column] = value
        m[s + S.NUMBER], m[s + S.AGE], m[s + S.SLOT] = process.number, process.number + 1, process.number - self.base
        m[s + S.REPLICA], m[s + S.FIRST_US], m[s + S.ENDS_US] = process.replica, life.accepts_from_us, life.end_us
        m[s + S.TERM_US] = -1 if life.sigterm_us is None else life.sigterm_us
        for stream in range(3):
            w = int(m[s + S.WRITERS]) + stream * W.SIZE
            number = m[w + W.TIMER_NUMBER]
            m[w : w + W.SIZE] = self.writers[stream]
            m[w + W.PROCESS], m[w + W.TIMER_NUMBER] = s, number + 1
            m[w + W.SEEN] = m[w + W.HEAD] = process.first_items[stream]
        for column, size in ((S.STAMPS, self.stamped), (S.BINS, self.rooms[0] * B.SIZE), (S.SECONDS, self.rooms[1] * 4)):
            m[m[s + column] : m[s + column] + size] = 0
        m[G.BORN], m[G.NOW] = s, life.accepts_from_us

    def _move_slots(self, base: int) -> None:
        """Numbers of processes count from those that live; what is planned keeps its order."""
        m, shift, move = self.memory.m, E.PHASE_BITS, base - self.base
        if len(self.living) > SLOTS or self.living[-1].number - base >= SLOTS:
            raise CapsimError(
                f"{self.scenario.name}: {len(self.living):,} processes live side by side, of {SLOTS:,} at the most; "
                "make server.process.overlap_s shorter, or deploy less often"
            )
        self.base = base
        heap = m[m[G.HEAP] : m[G.HEAP] + 3 * m[G.HEAP_SIZE]].reshape(-1, 3)
        slot = (heap[:, 0] >> shift) & (SLOTS - 1)
        heap[:, 0] += (np.maximum(slot - move, 0) - slot) << shift
        heap[:] = heap[np.lexsort((heap[:, 1], heap[:, 0]))]
        m[m[G.SLOTS] : m[G.SLOTS] + SLOTS] = 0
        for process in self.living[:-1]:
            m[process.row + S.SLOT] = process.number - base
            m[m[G.SLOTS] + process.number - base] = process.row

    def _ended(self, row: int, edges: Ints) -> None:
        """A process has ended, by its life or by its own exit."""
        m = self.memory.m
        m[G.ENDED] = 0
        process = next(process for process in self.living if process.row == row)
        end_us = int(m[row + S.END_US])
        if m[row + S.EXITED]:
            process.life = replace(process.life, end_us=end_us, end="exited")
        process.add_bins(m, edges, end_us)
        process.count(m)
        self.living.remove(process)

    # --- the load ---

    def _room_for_bins(self, bins: int, seconds: int) -> None:
        memory = self.memory
        if bins > self.rooms[0] or seconds > self.rooms[1]:
            self.rooms = (max(bins, self.rooms[0]), max(seconds, self.rooms[1]))
            for s in memory.rows:
                for column, size in ((S.BINS, self.rooms[0] * B.SIZE), (S.SECONDS, self.rooms[1] * 4)):
                    place = memory.take(size)
                    memory.m[s + column] = place
        m = memory.m
        for process in self.living:
            s = process.row
            m[m[s + S.BINS] : m[s + S.BINS] + bins * B.SIZE] = 0
            m[m[s + S.SECONDS] : m[s + S.SECONDS] + seconds * 4] = 0

    def _requests(self, block: Block, processes: Sequence[Process]) -> tuple[Requests, dict[str, Ints]]:
        """The requests of a block; its reads are placed in the memory. And who found no process."""
        shares = [
            Share(p.row, p.replica, max(block.from_us, p.life.accepts_from_us),
                  min(p.life.accepts_to_us, p.life.end_us, block.to_us))
            for p in processes
        ]  # fmt: skip
        rows = rows_of(block, shares, self.replicas, self.seen)
        reads = self.reads.of_block(block, rows["queries"], self.seen["queries"])
        if self.scenario.redis.faults:
            self._redis(block, list(zip(processes, shares, strict=True)), rows, reads)
        self.memory.place(G.READS, reads)
        self.memory.m[G.READ], self.memory.m[G.READ_COUNT] = 0, len(reads)
        refused = {stream: block.times[stream][rows[stream] == 0] for stream in STREAMS}
        for name, times_us in times_of(block).items():
            self.seen[name] += len(times_us)
        for stream in STREAMS:
            self.refused[stream] += len(refused[stream])
        return requests_of(block, rows), refused

    def _redis(self, block: Block, who: list[tuple[Process, Share]], rows: dict[str, Ints], reads: Ints) -> None:
        """Commands that wait for Redis, and when its reads are answered."""
        cache, times = self.scenario.server.cache, times_of(block)
        for process, share in who:
            if process.redis is None:
                process.redis = RedisClient(self.scenario.server.redis_client, self.scenario.redis.faults)
            own = {}
            for name in NAMES:
                low, high = times[name].searchsorted([share.from_us, max(share.from_us, share.to_us)]).tolist()
                own[name] = times[name][low:high][rows[name][low:high] == share.row]
            queries_us = own.pop("queries")
            process.redis.come(share.from_us, list(own.values()), queries_us)
            if cache is not None and cache.store == "redis":
                low, high = reads[:, 0].searchsorted([share.from_us, max(share.from_us, share.to_us)]).tolist()
                ask_redis(process.redis, reads[low:high], share.row)

    def _sessions(self, block: Block) -> None:
        """Sessions that start in the block; those that have gone are forgotten."""
        memory, beats = self.memory, block.heartbeat_sessions
        if beats is not None and len(beats) and int(beats.max()) >= self.stamped:
            wanted = 2 * int(beats.max()) + 2
            for s in memory.rows:
                place = memory.grow(int(memory.m[s + S.STAMPS]), self.stamped, wanted)
                memory.m[s + S.STAMPS] = place
            self.stamped = wanted
        if not memory.m[K.BEATS]:
            return
        m = memory.m
        table = m[m[G.SESSIONS] : m[G.SESSIONS] + m[G.SESSION_COUNT] * E.SESSION_SIZE].reshape(-1, E.SESSION_SIZE)
        table, base = with_started(block, table.copy(), int(m[G.SESSION_BASE]))
        memory.place(G.SESSIONS, table)
        memory.m[G.SESSION_BASE], memory.m[G.SESSION_COUNT] = base, len(table)
        for s in memory.rows:
            # What a run of the cleanup has found is needed until it ends.
            if len(table) > self.findable.get(s, -1):
                self.findable[s] = 2 * len(table)
                found, count = int(memory.m[s + S.FOUND]), int(memory.m[s + S.FOUND_COUNT])
                place = memory.grow(found, count, count + 2 * len(table))
                memory.m[s + S.FOUND] = place


STATE = ("living", "processes", "coming", "seen", "refused", "rooms", "stamped", "findable", "base")

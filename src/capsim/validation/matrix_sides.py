"""One load for the model and the reference, and what can be compared of each side."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capsim.engine.queries import Queries
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS, Stream
from capsim.validation.reference.clock import Clock, Phase
from capsim.validation.reference.recorder import Recorder
from capsim.validation.reference.replay import Replay
from capsim.validation.reference.rows import Event, Heartbeat, Revenue
from capsim.validation.reference.server import Ingestion
from capsim.validation.virtual_time import NEVER_US, Read
from capsim.workload import Block

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

GRID_US = 100_000  # of the buffers over time
COUNTS = (
    "arrived", "written", "dropped_cap", "dropped_failed", "uncounted", "buffered", "in_flight", "flushes",
)  # fmt: skip


@dataclass
class SideLog:
    """What one side did.

    Attributes
    ----------
    counts : dict of stream to dict
        The totals of `COUNTS`, at the end.
    attempts : dict of stream to array, int64[n, 7]
        Batch, attempt, start, end [us], success, rows, counted: of every attempt that has ended.
    waits_us : array, int64[n]
        Wait of each call of a writer that got a connection [us], those without a wait included.
    others_waits_us : array, int64[m]
        Wait of each call of a read, the cleanup or the metrics that had to wait and got a connection [us].
    buffers : dict of stream to array, int64[m]
        Entries at each step of `GRID_US`.
    stuck : dict of stream to list
        Intervals [us]; -1 is open.
    visits : list
        Runs of the cleanup, reads and calls of the metrics that have ended: the columns of the model's `VISITS`.
    """

    counts: dict[Stream, dict[str, int]]
    attempts: dict[Stream, Ints]
    waits_us: Ints
    others_waits_us: Ints
    buffers: dict[Stream, Ints]
    stuck: dict[Stream, list[tuple[int, int]]]
    visits: list[tuple[Any, ...]]


class ArrivalTimes:
    """The arrivals of some blocks, as one stretch."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        self.blocks = list(blocks)
        self.end_us = self.blocks[-1].to_us
        self.times = {s: np.concatenate([block.times[s] for block in self.blocks]) for s in STREAMS}
        sessions = [block.heartbeat_sessions for block in self.blocks]
        known = [part for part in sessions if part is not None]
        self.sessions: Ints = np.concatenate(known) if known else np.arange(len(self.times["heartbeats"]))
        self.other_us: Ints = np.concatenate([block.other_us for block in self.blocks])
        self.reads_us: Ints = np.concatenate([block.queries_us for block in self.blocks])

    @property
    def total(self) -> int:
        """Items for all writers."""
        return sum(len(times) for times in self.times.values())

    def players(self) -> dict[int, tuple[int, int]]:
        """Sessions of the load: start, and end if they say it [us]."""
        found: dict[int, tuple[int, int]] = {}
        for block in self.blocks:
            if (new := block.started) is not None:
                ends_us = np.where(new.abandoned, NEVER_US, new.end_us)
                found |= {
                    n: (a, b) for n, a, b in zip(*(c.tolist() for c in (new.ids, new.start_us, ends_us)), strict=True)
                }
        return found

    def reads(self, scenario: Scenario, seed: int) -> list[Read]:
        """The analytics reads, as the model draws them."""
        spec = scenario.server.queries
        draws = Queries(spec, None, seed=seed, replicate=0)
        rows = draws.rows(np.arange(len(self.reads_us))).tolist()
        return [Read(at_us, draws.query(i), rows[i]) for i, at_us in enumerate(self.reads_us.tolist())]


def observed(
    ingestion: Ingestion, recorder: Recorder, arrivals: ArrivalTimes, buffers: Mapping[Stream, list[int]]
) -> SideLog:
    counts: dict[Stream, dict[str, int]] = {}
    attempts: dict[Stream, Ints] = {}
    for stream, writer in ingestion.writers.items():
        counts[stream] = {
            "arrived": writer.offered,
            "written": writer.flushed,
            "dropped_cap": writer.dropped_cap,
            "dropped_failed": writer.dropped_failed,
            "uncounted": writer.uncounted,
            "buffered": writer.count,
            "in_flight": writer.in_flight,
            "flushes": writer.batches,
        }
        rows = [
            (t.batch, t.attempt, t.start_us, t.end_us, int(t.ok), t.rows, t.counted)
            for t in recorder.tries
            if t.writer == stream
        ]
        attempts[stream] = np.array(rows, np.int64).reshape(-1, 7)
    granted = [(part in STREAMS, b - a) for part, a, b, given in recorder.waits if given]
    waits = np.array([wait_us for ours, wait_us in granted if ours], np.int64)
    others = np.array([wait_us for ours, wait_us in granted if not ours and wait_us], np.int64)
    arrays = {stream: np.array(values, np.int64) for stream, values in buffers.items()}
    visits = sorted(
        (v.part, v.number, v.start_us, v.end_us, int(v.ok), v.rows, int(v.cached), v.calls, v.updated)
        for v in recorder.visits
    )
    return SideLog(counts, attempts, waits, others, arrays, recorder.stuck, visits)


def sample_buffers(clock: Clock, ingestion: Ingestion, end_us: int) -> dict[Stream, list[int]]:
    """Note every writer's buffer at each step of the grid, when all of that instant is done."""
    buffers: dict[Stream, list[int]] = {stream: [] for stream in STREAMS}

    def note() -> None:
        for stream, writer in ingestion.writers.items():
            buffers[stream].append(writer.count)
        due_us = len(buffers["events"]) * GRID_US
        if due_us < end_us:
            clock.at(due_us, Phase.CONNECTIONS, note)

    clock.at(0, Phase.CONNECTIONS, note)
    return buffers


def replays_of(clock: Clock, ingestion: Ingestion, arrivals: ArrivalTimes) -> list[Replay]:
    run = uuid.uuid4().hex  # so that the rows of an earlier run in the same database are no duplicates of ours
    makers: dict[Stream, Callable[[int], Any]] = {
        "events": lambda i: Event(f"{run}-e{i}", "game", f"user-{i % 500}", None, "level", '{"score":1}', i),
        "revenue": lambda i: Revenue(f"{run}-r{i}", "game", f"user-{i % 500}", None, 990_000, "USD", i),
        "heartbeats": lambda i: Heartbeat(f"session-{arrivals.sessions[i]}", i),
    }
    replays = []
    for stream, make in makers.items():
        writer = ingestion.writers[stream]
        replays.append(
            Replay(clock, arrivals.times[stream].tolist(), lambda i, w=writer, m=make: w.offer(m(i)))  # type: ignore[misc]
        )
    return replays

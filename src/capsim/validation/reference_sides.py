"""The running reference under one load, in virtual and in real time, and the model's database of measured durations."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from numpy.typing import NDArray

from capsim.base.errors import CapsimError
from capsim.base.units import US_PER_S, us_from_s
from capsim.engine.database import Database as ModelDatabase
from capsim.engine.database import Kind, LatencyDatabase
from capsim.engine.database import Outcome as ModelOutcome
from capsim.engine.database import Statement as ModelStatement
from capsim.scenario.parts import RedisClientSpec
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS, Stream
from capsim.validation.matrix_sides import ArrivalTimes, SideLog, observed, replays_of, sample_buffers
from capsim.validation.reference.clock import Phase, at_every
from capsim.validation.reference.database import PARTS, CallFailed, Connection, Database, Part, Statement
from capsim.validation.reference.log import Log
from capsim.validation.reference.overhead import Overhead
from capsim.validation.reference.process import ProcessSamples, family
from capsim.validation.reference.recorder import Recorder
from capsim.validation.reference.redis import Connect
from capsim.validation.reference.rows import Session
from capsim.validation.reference.service import Service
from capsim.validation.reference.virtual import VirtualLoop
from capsim.validation.virtual_time import Read, ReferenceInputs, run_reference

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def run_virtual(scenario: Scenario, arrivals: ArrivalTimes, draws: LatencyDatabase, seed: int = 0) -> SideLog:
    """The reference in virtual time with all its parts; calls last as the model's database says for their address."""
    buffers: dict[Stream, list[int]] = {}
    times: dict[str, Any] = {**{s: arrivals.times[s].tolist() for s in STREAMS}, "other": arrivals.other_us.tolist()}
    reads = arrivals.reads(scenario, seed)
    sessions = arrivals.players()
    inputs = ReferenceInputs(scenario, times, arrivals.sessions.tolist(), arrivals.end_us - 1, sessions, reads)

    def begun(loop: VirtualLoop, service: Service) -> None:
        buffers.update(sample_buffers(loop, service.ingestion, arrivals.end_us))

    service, table = run_reference(inputs, draws, begun=begun)
    return observed(service.ingestion, table, arrivals, buffers)


class _Timing:
    """A database whose connects are timed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.connects_us: list[int] = []

    async def connect(self) -> Connection:
        begin_s = time.perf_counter()
        link = await self._database.connect()
        self.connects_us.append(round((time.perf_counter() - begin_s) * US_PER_S))
        return link


@dataclass
class RealRun:
    """What the running reference did, and the durations that its database took.

    Attributes
    ----------
    seen : SideLog
        As for every other side.
    calls : dict of part to list of (duration_us, ok)
        Durations of the calls of each part, in the order of their starts.
    connect_us : int
        Median time to open a connection [us].
    late_us : array, int64[n]
        How late each arrival was offered [us].
    overhead_us : array, int64[m, 3]
        What the event loop adds to the first call of an attempt and to the next ones, as
        `capsim.validation.reference.overhead` measured it: when, and how much [us].
    processes : DataFrame
        Columns of `capsim.validation.reference.process.COLUMNS`.
    """

    seen: SideLog
    calls: dict[Part, list[tuple[int, bool]]]
    connect_us: int
    late_us: Ints
    overhead_us: Ints
    processes: pd.DataFrame = field(repr=False)


def run_real(
    scenario: Scenario,
    arrivals: ArrivalTimes,
    database: Callable[[Path], Database],
    redis: Callable[[RedisClientSpec], Connect] | None = None,
) -> RealRun:
    """The reference in real time on a real database; takes as long as the load.

    Parameters
    ----------
    database : callable
        Makes it, given a folder that lasts as long as the run.
    redis : callable, optional
        How to reach a Redis, if the scenario keeps answers in one.
    """
    with tempfile.TemporaryDirectory(prefix="capsim-reference-") as folder:
        return asyncio.run(_real(scenario, arrivals, database(Path(folder)), redis))


async def _real(
    scenario: Scenario,
    arrivals: ArrivalTimes,
    database: Database,
    redis: Callable[[RedisClientSpec], Connect] | None,
) -> RealRun:
    try:
        database_pid = await _prepare(database, arrivals)
    except CallFailed as error:
        raise CapsimError(f"the run in real time needs its database: {error}; start it, or leave it out") from None
    recorder, timing = Recorder(), _Timing(database)
    service = Service(scenario.server, timing, Log(), redis, recorder)
    clock, ingestion = service.clock, service.ingestion
    groups: dict[str, Callable[[], list[psutil.Process]]] = {"server": lambda: [psutil.Process()]}
    if database_pid is not None:
        groups["database"] = lambda: family(database_pid)
    samples = ProcessSamples(groups)
    overhead = Overhead(clock)
    running = (samples.run(), overhead.run())
    beside: list[asyncio.Future[Any]] = [asyncio.ensure_future(task) for task in running]
    if service.metrics is not None and scenario.server.metrics is not None:
        every_us, ask = us_from_s(scenario.server.metrics.every_s), service.metrics.connections
        beside.append(asyncio.ensure_future(at_every(clock, every_us, lambda _: asyncio.ensure_future(ask()))))
    reading: set[asyncio.Future[None]] = set()
    for read in arrivals.reads(scenario, 0):
        clock.at(read.at_us, Phase.VISITS, partial(_read, service, read, reading))
    buffers = sample_buffers(clock, ingestion, arrivals.end_us)
    replays = replays_of(clock, ingestion, arrivals)
    await asyncio.sleep(max(0.0, (arrivals.end_us - clock.now_us()) / US_PER_S))
    while any(replay.done < replay.total for replay in replays):  # the last arrivals may be late too
        await asyncio.sleep(0.001)
    recorder.note_stuck(ingestion.writers, clock.now_us())
    seen = observed(ingestion, recorder, arrivals, buffers)
    calls: dict[Part, list[tuple[int, bool]]] = {part: [] for part in PARTS}
    # They are noted as they end, and reads run side by side.
    for part, _, _, start_us, end_us, ok in sorted(recorder.calls, key=lambda call: call[3]):
        calls[part].append((max(1, end_us - start_us), ok))
    for task in (*beside, *reading):
        task.cancel()
    await service.shutdown(5.0)
    connect_us = round(statistics.median(timing.connects_us)) if timing.connects_us else 0
    late_us = np.concatenate([replay.late_us for replay in replays])
    overhead_us = np.array(overhead.samples_us, np.int64).reshape(-1, 3)
    return RealRun(seen, calls, connect_us, late_us, overhead_us, samples.table())


async def _prepare(database: Database, arrivals: ArrivalTimes) -> int | None:
    """Tables, and the sessions that heartbeats will look for; the database's process, if it can be told."""
    link = await database.connect()
    sessions = [Session(f"session-{i}", "game", f"user-{i}", 10**13) for i in np.unique(arrivals.sessions).tolist()]
    await link.run(Statement("start_session", "queries", sessions))
    pid = link.server_pid
    await link.close()
    return pid


def _read(service: Service, read: Read, reading: set[asyncio.Future[None]]) -> None:
    """Ask for a page of ten events; what the model tells apart by query is told apart by its place."""

    async def ask() -> None:
        with suppress(CallFailed):
            await service.analytics.events("game", 10, read.query)

    task = asyncio.ensure_future(ask())
    reading.add(task)
    task.add_done_callback(reading.discard)


class MeasuredDatabase(ModelDatabase):
    """A database of the model's kind that answers with measured durations, call by call of each part.

    Beyond the last one measured, a call takes the part's median. The model has no event loop of this Python process:
    to each call is added what the loop's probe took last before that instant.
    """

    by_address = False

    def __init__(self, run: RealRun) -> None:
        self.connect_us = run.connect_us
        self._probed_us, self._first_us, self._next_us = run.overhead_us.T.tolist()
        self._ended_us: dict[str, int] = {}  # the last call of each writer
        self._calls: dict[str, deque[tuple[int, bool]]] = {part: deque(calls) for part, calls in run.calls.items()}
        self._usual: dict[str, int] = {
            part: round(statistics.median(duration for duration, _ in calls)) if calls else 1_000
            for part, calls in run.calls.items()
        }

    def run(
        self, stream: str, attempt: int, statement: ModelStatement, start_us: int, crowding: float = 1.0
    ) -> ModelOutcome:
        """The next measured call of this part."""
        calls = self._calls[stream]
        duration_us, ok = calls.popleft() if calls else (self._usual[stream], True)
        if self._probed_us:
            added_us = self._next_us if self._ended_us.get(stream) == start_us else self._first_us
            duration_us += added_us[max(0, bisect_right(self._probed_us, start_us) - 1)]
        self._ended_us[stream] = start_us + duration_us
        return ModelOutcome(duration_us, "ok" if ok else "fail")

    def durations(self, stream: str, kind: Kind, items: Ints, rows: Ints | np.int64, starts_us: Ints) -> Ints:
        """Never asked: calls are counted, so none may be tried out."""
        raise AssertionError("measured calls come in order, so none may be tried out")

    def steady(self, from_us: Ints, to_us: Ints) -> NDArray[np.bool_]:
        """Never asked, for the same reason."""
        raise AssertionError("measured calls come in order, so none may be tried out")

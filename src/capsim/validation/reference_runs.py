"""One load, played by the model and by the reference: what can be compared of each."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
import uuid
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Mapping
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
from capsim.engine.happened import Happened
from capsim.engine.model import Server
from capsim.engine.queries import Metrics, Queries
from capsim.engine.redis import RedisClient
from capsim.engine.sessions import Cleanup, OpenSessions
from capsim.engine.visits import VISITS, Source
from capsim.scenario.parts import RedisClientSpec
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS, Stream
from capsim.validation.reference.clock import Clock, Phase, at_every
from capsim.validation.reference.database import PARTS, CallFailed, Connection, Database, Part, Statement
from capsim.validation.reference.log import Log
from capsim.validation.reference.overhead import Overhead
from capsim.validation.reference.process import ProcessSamples, family
from capsim.validation.reference.recorder import Recorder
from capsim.validation.reference.redis import Connect
from capsim.validation.reference.replay import Replay
from capsim.validation.reference.rows import Event, Heartbeat, Revenue, Session
from capsim.validation.reference.server import Ingestion
from capsim.validation.reference.service import Service
from capsim.validation.reference.virtual import VirtualLoop
from capsim.validation.reference_virtual import NEVER_US, Read, ReferenceInputs, play
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


# --- the model ----------------------------------------------------------------------------------------------


def play_model(scenario: Scenario, arrivals: ArrivalTimes, database: Any, seed: int = 0) -> SideLog:
    """The model with all its parts but the thread, on a database of its own kind."""
    spec = scenario.server
    writers = {stream: getattr(spec.writers, stream) for stream in STREAMS}
    redis = RedisClient(spec.redis_client, scenario.redis.faults)
    queries = Queries(spec.queries, spec.cache, seed=seed, replicate=0, redis=redis.answered_us)
    sessions, sources = OpenSessions(), list[Source]()
    if spec.cleanup is not None:
        sources.append(Cleanup(spec.cleanup, sessions, 0, arrivals.end_us))
    if len(arrivals.reads_us):
        sources.append(queries)
    if spec.metrics is not None:
        sources.append(Metrics(spec.metrics, 0, arrivals.end_us))
    has_sessions = spec.cleanup is not None and scenario.workload.sessions is not None
    server = Server(
        writers,
        spec.pool,
        spec.pool_limit,
        database,
        sources=sources,
        sessions=sessions if has_sessions else None,
        parallel=scenario.database.parallel_calls,
        room=lambda now_us: scenario.database.clients_max,
    )
    happened = []
    for block in arrivals.blocks:
        sessions.begin(block.from_us, block.started)
        queries.come(block.queries_us)
        redis.come(block.from_us, [*block.times.values(), block.other_us], block.queries_us)
        happened.append(server.advance(block))
    names = ("batch", "attempt", "start_us", "end_us", "ok", "rows", "counted")
    counts, attempts, buffers, stuck = {}, {}, {}, {}
    calls_out = 0
    grid = np.arange(0, arrivals.end_us, GRID_US)
    for part, (stream, writer) in enumerate(server.writers.items()):
        tried = np.concatenate(
            [np.stack([block.attempts[n] for n in names], 1)[block.attempts["part"] == part] for block in happened]
        )
        out = server.flushers[stream].out
        good = tried[tried[:, 4] == 1]
        counts[stream] = {
            "arrived": len(arrivals.times[stream]),
            "written": writer.flushed,
            "dropped_cap": writer.dropped_cap,
            "dropped_failed": writer.dropped_failed,
            "uncounted": int((good[:, 5] - good[:, 6]).sum()),
            "buffered": writer.count,
            "in_flight": out[0].left if out else 0,
            "flushes": writer.batches,
        }
        attempts[stream] = tried
        stored = np.concatenate([block.stretches[stream].stored_us for block in happened])
        buffers[stream] = _upto(grid, stored) - _taken(grid, tried, out)
        since = writer.stuck_at(arrivals.end_us - 1)
        stuck[stream] = [*writer.stuck, *([(since, -1)] if since is not None else [])]
        if out is not None:
            calls_out += sum(1 for at_us in server.flushers[stream].calls_started if at_us < arrivals.end_us)
    columns = [np.concatenate([block.visits[name] for block in happened]).tolist() for name in VISITS]
    visits = sorted((PARTS[part], *rest) for part, *rest in zip(*columns, strict=True))
    return SideLog(counts, attempts, *_model_waits(happened, calls_out), buffers, stuck, visits)


def _model_waits(happened: list[Happened], calls_out: int) -> tuple[Ints, Ints]:
    """Waits of the writers, and of the others.

    The model notes only calls that had to wait; all others, those of batches still out too, waited for nothing.
    """
    waits = {name: np.concatenate([block.waits[name] for block in happened]) for name in happened[0].waits}
    waited_us, granted = waits["decided_us"] - waits["asked_us"], waits["granted"] == 1
    ours = waits["part"] < len(STREAMS)
    waited, others = waited_us[ours & granted], waited_us[~ours & granted]
    calls = calls_out + sum(int(block.attempts["calls"].sum()) for block in happened)
    failed = int((ours & ~granted).sum())
    return np.concatenate([waited, np.zeros(max(0, calls - failed - len(waited)), np.int64)]), others[others > 0]


def _upto(grid: Ints, times_us: Ints, weights: Ints | None = None) -> Ints:
    totals = np.concatenate(([0], np.cumsum(np.ones(len(times_us), np.int64) if weights is None else weights)))
    return totals[np.searchsorted(times_us, grid, "right")]


def _taken(grid: Ints, tried: Ints, out: Any) -> Ints:
    """Rows taken out of a buffer so far: by first attempts, and by a batch that is still out."""
    first = tried[tried[:, 1] == 1]
    starts, rows = first[:, 2], first[:, 5]
    if out is not None and out[1] == 1:
        starts, rows = np.append(starts, out[2]), np.append(rows, out[0].rows)
    order = np.argsort(starts, kind="stable")
    return _upto(grid, starts[order], rows[order])


# --- the reference ------------------------------------------------------------------------------------------


def _seen(
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


def _sample_buffers(clock: Clock, ingestion: Ingestion, end_us: int) -> dict[Stream, list[int]]:
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


def _replay(clock: Clock, ingestion: Ingestion, arrivals: ArrivalTimes) -> list[Replay]:
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


def play_virtual(scenario: Scenario, arrivals: ArrivalTimes, draws: LatencyDatabase, seed: int = 0) -> SideLog:
    """The reference in virtual time with all its parts; calls last as the model's database says for their address."""
    buffers: dict[Stream, list[int]] = {}
    times: dict[str, Any] = {**{s: arrivals.times[s].tolist() for s in STREAMS}, "other": arrivals.other_us.tolist()}
    reads = arrivals.reads(scenario, seed)
    sessions = arrivals.players()
    played = ReferenceInputs(scenario, times, arrivals.sessions.tolist(), arrivals.end_us - 1, sessions, reads)

    def begun(loop: VirtualLoop, service: Service) -> None:
        buffers.update(_sample_buffers(loop, service.ingestion, arrivals.end_us))

    service, table = play(played, draws, begun=begun)
    return _seen(service.ingestion, table, arrivals, buffers)


# --- in real time -------------------------------------------------------------------------------------------


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


def play_real(
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
    buffers = _sample_buffers(clock, ingestion, arrivals.end_us)
    replays = _replay(clock, ingestion, arrivals)
    await asyncio.sleep(max(0.0, (arrivals.end_us - clock.now_us()) / US_PER_S))
    while any(replay.done < replay.total for replay in replays):  # the last arrivals may be late too
        await asyncio.sleep(0.001)
    recorder.note_stuck(ingestion.writers, clock.now_us())
    seen = _seen(ingestion, recorder, arrivals, buffers)
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

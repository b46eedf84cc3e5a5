"""The model under one load, on a database of its own kind: one side of the matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from capsim.engine.happened import Happened
from capsim.engine.model import Server
from capsim.engine.queries import Metrics, Queries
from capsim.engine.redis import RedisClient
from capsim.engine.sessions import Cleanup, OpenSessions
from capsim.engine.visits import VISITS, Source
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from capsim.validation.matrix_sides import GRID_US, ArrivalTimes, SideLog
from capsim.validation.reference.database import PARTS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def run_model(scenario: Scenario, arrivals: ArrivalTimes, database: Any, seed: int = 0) -> SideLog:
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

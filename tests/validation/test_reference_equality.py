"""In virtual time the model and the reference, given the same arrivals and durations, agree item for item."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest

from capsim.engine.database import LatencyDatabase
from capsim.engine.happened import Happened
from capsim.engine.model import Server
from capsim.engine.queries import Metrics, Queries
from capsim.engine.redis import RedisClient
from capsim.engine.sessions import Cleanup, OpenSessions
from capsim.engine.visits import Source
from capsim.scenario.workload import STREAMS
from capsim.validation.reference.clock import Phase
from capsim.validation.reference.observer import Tried
from capsim.validation.reference.recorder import Recorder
from capsim.validation.reference.server import Ingestion
from capsim.validation.reference.service import Service
from capsim.validation.reference.virtual import VirtualLoop
from capsim.validation.virtual_time import Read, ReferenceInputs, run_reference
from test_model_twin import SEED, facts_of_model
from test_model_twin import played_by_model as writers_by_model
from test_visits_twin import Visited, blocks_of, random_visited, visits_of_model
from twin_random import describe, random_case

ITEMS = ("writer", "batch", "attempt", "first_item", "accepted_to", "next_item")


def facts_of_reference(ingestion: Ingestion, recorder: Recorder) -> dict[str, object]:
    facts: dict[str, object] = {
        stream: {
            "attempts": [
                (t.batch, t.attempt, t.start_us, t.end_us, int(t.ok), t.rows, t.calls, t.counted, t.first_item)
                for t in [*recorder.tries, *([writer.out] if writer.out and writer.out.end_us == -1 else [])]
                if t.writer == stream
            ],
            "written": writer.flushed,
            "dropped_cap": writer.dropped_cap,
            "refused": writer.dropped_cap,
            "stored": writer.stored - writer.replaced,
            "dropped_failed": writer.dropped_failed,
            "failed_batches": writer.failed,
            "rejected": writer.rejected,
            "buffered": writer.count,
            "in_flight": writer.in_flight,
            "stuck": recorder.stuck[stream],
            "requests": writer.requests,
        }
        for stream, writer in ingestion.writers.items()
    }
    facts["waits"] = sorted(
        (part, asked, granted) for part, asked, granted, ok in recorder.waits if ok and granted > asked
    )
    facts["items"] = [tuple(getattr(t, name) for name in ITEMS) for t in sorted(recorder.tries, key=_in_order)]
    facts["visits"] = sorted(
        (v.part, v.number, v.start_us, v.end_us, int(v.ok), v.rows, int(v.cached), v.calls, v.updated)
        for v in recorder.visits
    )
    return facts


def _in_order(tried: Tried) -> tuple[int, int, int]:
    return STREAMS.index(tried.writer), tried.batch, tried.attempt


def items_of_model(happened: list[Happened]) -> list[tuple[object, ...]]:
    """Which arrivals each attempt was about, in the order of `_in_order`."""
    columns = ("part", *ITEMS[1:])
    rows = [row for block in happened for row in zip(*(block.attempts[name].tolist() for name in columns), strict=True)]
    return [(STREAMS[part], *rest) for part, *rest in sorted(rows)]


def differences(model: dict[str, object], reference: dict[str, object]) -> dict[str, Any]:
    """By name, the first pairs that differ."""
    found: dict[str, Any] = {}
    for name, expected in reference.items():
        ours = model[name]
        if ours != expected:
            pairs = zip(ours, expected, strict=False) if isinstance(ours, list) else ((ours, expected),)  # type: ignore[call-overload]
            found[name] = [pair for pair in pairs if pair[0] != pair[1]][:3] or (len(ours), len(expected))  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("fifty", range(10))
def test_model_and_reference_agree_item_for_item(fifty: int) -> None:
    """500 scenarios with faults, ties and shutdowns, three writers coupled on one pool."""
    for number in range(50 * fifty, 50 * (fifty + 1)):
        case = random_case(random.Random(f"reference {number}"))
        sessions = case.sessions or list(range(len(case.arrivals["heartbeats"])))
        played = ReferenceInputs(case.scenario, case.arrivals, sessions, case.end_us, shutdown_us=case.shutdown_us)
        service, table = run_reference(played, LatencyDatabase(case.scenario.database, SEED, 0))
        server, happened = writers_by_model(case, blocks=1 + number % 4)
        model = facts_of_model(server, happened, case.end_us) | {"items": items_of_model(happened), "visits": []}
        differs = differences(model, facts_of_reference(service.ingestion, table))
        assert not differs, f"scenario {number}: {differs}; rerun it:\n{describe(case)}"


# --- the end after a deploy -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forty", range(2))
def test_after_sigterm_both_exit_in_the_same_instant_and_leave_the_same_items(forty: int) -> None:
    """80 deploys: the reference's own shutdown, which SIGKILL may cut short, against what the model has lost then."""
    exited = lost = 0
    for number in range(40 * forty, 40 * (forty + 1)):
        rng = random.Random(f"deploy {number}")
        case = random_case(rng)
        span_us = max(at_us for times_us in case.arrivals.values() for at_us in times_us)
        told_us = rng.randrange(span_us // 25_000 + 1) * 25_000
        draining_us = rng.choice((150_123, 2_000_123, 8_000_123, 60_000_123))  # off the grid
        sessions = case.sessions or list(range(len(case.arrivals["heartbeats"])))
        end_us = told_us + draining_us
        if rng.random() < 0.5:  # a batch that is out for longer than the grace
            stall = {"kind": "stall", "from_s": max(told_us / 1e6 - 0.2, 0), "to_s": told_us / 1e6 + 5}
            data = case.scenario.model_dump(by_alias=True)
            data["database"]["faults"] = [stall]
            case = case._replace(scenario=type(case.scenario).model_validate(data))
        found: dict[str, object] = {}
        keep: set[object] = set()

        def begun(clock: VirtualLoop, service: Service) -> None:
            async def end() -> None:
                left = await service.shutdown(draining_us / 1e6)  # noqa: B023
                writers = service.ingestion.writers.items()
                found.update(  # noqa: B023
                    lost={stream: held.buffered + held.in_flight for stream, held in left.items()},
                    written={stream: writer.flushed for stream, writer in writers},
                    at_us=clock.now_us(),
                )

            clock.at(told_us, Phase.SHUTDOWN, lambda: keep.add(clock.create_task(end())))  # noqa: B023

        run_reference(
            ReferenceInputs(case.scenario, case.arrivals, sessions, end_us + 1),
            LatencyDatabase(case.scenario.database, SEED, 0),
            begun=begun,
        )
        case = case._replace(end_us=end_us - 1, shutdown_us=told_us)
        server, _ = writers_by_model(case, blocks=1 + number % 4, exits=True)
        writers = server.writers.items()
        assert found == {
            "lost": {stream: writer.count + server.in_flight(stream) for stream, writer in writers},
            "written": {stream: writer.flushed for stream, writer in writers},
            "at_us": end_us if server.exited_us is None else server.exited_us,
        }, f"deploy {number}:\n{describe(case)}"
        exited += server.exited_us is not None
        lost += server.exited_us is not None and sum(found["lost"].values()) > 0  # type: ignore[attr-defined]
    assert exited > 10 and lost > 2


# --- with everything else that uses the pool ----------------------------------------------------------------------


def random_parts(number: int) -> Visited:
    """A case of the visits' twin with crowds of reads; often answers are in Redis, which goes away at times."""
    visited = random_visited(number)
    rng = random.Random(f"parts {number}")
    case = visited.served.case
    data = case.scenario.model_dump(by_alias=True)
    data["server"]["redis_client"] = {
        "queue_limit": rng.choice(("none", 1, 2, 5, 50)),
        "commands_per_request": rng.choice((0, 0, 1, 2)),
        # Off the grid: who comes at the very instant at which Redis is back goes first in the model, and last here.
        "reconnect_step_ms": 7.31,
    }
    store = rng.choice(("memory", "redis", "redis"))
    entries = rng.choice(("none", 1, 2)) if store == "memory" else "none"
    data["server"]["cache"] = {"ttl_s": rng.choice((0.05, 0.5, 10)), "entries_max": entries, "store": store}
    data["server"]["queries"]["distinct"] = rng.choice((1, 3, 8))
    # Most of it within two seconds, so that it meets.
    span_us = min(case.end_us, rng.choice((500_000, 2_000_000, 1 << 62)))
    grid_us = rng.choice((1, 1_000, 25_000))
    reads = sorted(rng.randrange(span_us // grid_us + 1) * grid_us for _ in range(rng.choice((5, 40, 80))))
    faults, at_us = [], 0
    for _ in range(rng.choice((0, 1, 1, 2))):
        from_us = at_us + rng.randrange(1, max(span_us // 50_000, 2)) * 25_000
        at_us = from_us + rng.randint(1, 60) * 25_000
        faults.append({"kind": "down", "from_s": from_us / 1e6, "to_s": at_us / 1e6})
        at_us += 600_000  # the client is back by then
    data["redis"] = {"faults": faults}
    scenario = type(case.scenario).model_validate(data)
    served = visited.served._replace(case=case._replace(scenario=scenario))
    return visited._replace(served=served, reads_us=[at_us for at_us in reads if at_us < case.end_us])


def parts_by_model(
    visited: Visited, blocks: int, queries: Queries, redis: RedisClient
) -> tuple[Server, list[Happened]]:
    """The model without its thread: items reach their writers when they come, as they do in virtual time."""
    case, spec = visited.served.case, visited.served.case.scenario.server
    sessions, sources = OpenSessions(), list[Source]()
    if spec.cleanup is not None:
        sources.append(Cleanup(spec.cleanup, sessions, 0, case.end_us + 1))
    if visited.reads_us:
        sources.append(queries)
    if spec.metrics is not None:
        sources.append(Metrics(spec.metrics, 0, case.end_us + 1))
    server = Server(
        {stream: getattr(spec.writers, stream) for stream in STREAMS},
        spec.pool,
        spec.pool_limit,
        LatencyDatabase(case.scenario.database, SEED, 0),
        sources=sources,
        sessions=sessions,
        parallel=case.scenario.database.parallel_calls,
        room=lambda now_us: case.scenario.database.clients_max,
    )
    if case.shutdown_us is not None:
        server.shut_down(case.shutdown_us)
    happened = []
    for block, started, reads_us in blocks_of(visited, blocks):
        sessions.begin(block.from_us, started)
        order = np.argsort(sessions.ids)
        for name in ("ids", "start_us", "last_us", "leaves_us", "live_to_us"):
            setattr(sessions, name, getattr(sessions, name)[order])
        queries.come(reads_us)
        redis.come(block.from_us, [*block.times.values(), block.other_us], reads_us)
        happened.append(server.advance(block))
    return server, happened


def played_of(visited: Visited, queries: Queries) -> ReferenceInputs:
    case = visited.served.case
    rows = queries.rows(np.arange(len(visited.reads_us))).tolist()
    return ReferenceInputs(
        case.scenario,
        {**case.arrivals, "other": visited.served.other_us},
        visited.heartbeat_sessions,
        case.end_us,
        visited.sessions,
        [Read(at, queries.query(i), rows[i]) for i, at in enumerate(visited.reads_us)],
        case.shutdown_us,
    )


def check(number: int, seen: Counter[str]) -> dict[str, Any]:
    """What differs in one case; counts what it was about."""
    visited = random_parts(number)
    case = visited.served.case
    spec = case.scenario.server
    redis = RedisClient(spec.redis_client, case.scenario.redis.faults)
    queries = Queries(spec.queries, spec.cache, seed=SEED, replicate=0, redis=redis.answered_us)
    played = played_of(visited, queries)
    service, table = run_reference(played, LatencyDatabase(case.scenario.database, SEED, 0))
    server, happened = parts_by_model(visited, 1 + number % 4, queries, redis)
    model = facts_of_model(server, happened, case.end_us)
    model |= {"items": items_of_model(happened), "visits": visits_of_model(happened)}
    for visit in table.visits:
        seen[visit.part] += 1
        seen["cached"] += visit.cached
        seen["closed"] += visit.updated
        seen["failed"] += not visit.ok
    assert service.redis is not None
    seen["rejected"] += service.redis.refused
    seen["refused"] += server.pool.refusals
    return differences(model, facts_of_reference(service.ingestion, table))


@pytest.mark.parametrize("fifty", range(2))
def test_with_cleanup_reads_cache_redis_and_metrics_they_agree_too(fifty: int) -> None:
    """100 of the 500 of the slow test: each part, refusals of Postgres and of Redis, both going down."""
    seen: Counter[str] = Counter()
    for number in range(50 * fifty, 50 * (fifty + 1)):
        differs = check(number, seen)
        assert not differs, f"scenario {number}: {differs}; rerun it:\n{describe(random_parts(number).served.case)}"
    assert all(seen[name] for name in ("cleanup", "closed", "queries", "metrics", "cached", "failed", "rejected")), seen


@pytest.mark.slow
@pytest.mark.parametrize("fifty", range(2, 10))
def test_with_all_parts_the_rest_of_500_scenarios_agree(fifty: int) -> None:
    test_with_cleanup_reads_cache_redis_and_metrics_they_agree_too(fifty)

"""Cleanup, reads, metrics calls, refusals and downtime beside the writers: the model and its plain twin agree."""

from __future__ import annotations

import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from capsim.engine import loop
from capsim.engine.database import LatencyDatabase
from capsim.engine.happened import Happened
from capsim.engine.model import Server
from capsim.engine.queries import Metrics, Queries
from capsim.engine.sessions import Cleanup, OpenSessions
from capsim.engine.visits import PARTS, VISITS, Source
from capsim.scenario.workload import STREAMS
from capsim.workload.block import Sessions
from test_loop_twin import Served, jobs_of_model, random_served, together
from test_model_twin import SEED, facts_of_model, facts_of_twin, shared_database
from twin_random import to_toml
from twin_visits import NEVER_US, Session, simulate


class Visited(NamedTuple):
    """A case of the loop's twin, with players and readers."""

    served: Served
    sessions: dict[int, tuple[int, int]]  # start and end; an end of NEVER_US is never said
    heartbeat_sessions: list[int]
    reads_us: list[int]


def random_visited(number: int) -> Visited:
    """A few sessions, cleanups at short intervals, reads that crowd the pool, a Postgres with little room."""
    rng = random.Random(f"visits {number}")
    served = random_served(number)
    case = served.case
    grid_us = rng.choice((1, 1_000, 25_000))
    span_us = case.end_us

    def instant() -> int:
        return rng.randrange(max(span_us // grid_us, 1)) * grid_us

    data = case.scenario.model_dump(by_alias=True)
    grid_ms = rng.choice((5, 25))
    server, database = data["server"], data["database"]
    if rng.random() < 0.8:
        server["cleanup"] = {
            "interval_s": rng.randint(1, 20) * grid_ms / 1000,
            "timeout_s": rng.randint(1, 20) * grid_ms / 1000,
            "limit_rows": rng.choice(("none", 1, 2, 5)),
            "one_statement": rng.random() < 0.3,
            "row_cpu_ms": rng.choice((0, 0.01, 20)),
        }
    if rng.random() < 0.4:
        server["metrics"] = {"every_s": rng.randint(4, 40) * grid_ms / 1000, "cpu_ms": rng.choice((0, 1, 30))}
    server["queries"] |= {
        "rows_median": rng.choice((1, 20)),
        "take_rows": rng.choice(("none", 10)),
        "row_cpu_ms": rng.choice((0.01, 1)),
        "cpu_ms": rng.choice((0, 0.3, 5)),
        "compression": rng.random() < 0.3,
        "distinct": rng.choice((1, 3, 50)),
    }
    if rng.random() < 0.5:
        server["cache"] = {"ttl_s": rng.choice((0.05, 0.5, 10)), "entries_max": rng.choice(("none", 1, 2))}
    database |= {
        "query": {
            "call_ms": rng.choice((grid_ms, 4 * grid_ms, 0.3)),
            "row_ms": rng.choice((0, 0.1)),
            "distribution": rng.choice(("constant", "lognormal")),
        },
        "parallel_calls": rng.choice((1, 2, 3, 8, 100)),
        "max_connections": rng.choice((4, 5, 100, 100)),
        "unused_indexes": rng.choice((0, 3)),
        "refused_ms": rng.choice((1, grid_ms)),
        "warm_up_s": rng.choice((0, 0.1, 1)),
    }
    if rng.random() < 0.2:
        from_s = instant() / 1e6
        database["faults"] = [{"kind": "down", "from_s": from_s, "to_s": from_s + rng.randint(1, 40) * grid_ms / 1000}]
    if rng.random() < 0.6:
        server["pool"]["limit"] = rng.choice((2, 4, 6, 12))
    sessions = {}
    for session in range(rng.randint(1, 12)):
        start_us = instant() if rng.random() < 0.7 else 0
        sessions[session] = start_us, NEVER_US if rng.random() < 0.6 else start_us + instant() + 1
    case = case._replace(scenario=type(case.scenario).model_validate(data))
    beats = [rng.randrange(len(sessions)) for _ in case.arrivals["heartbeats"]]
    reads = sorted(instant() for _ in range(rng.choice((0, 1, 5, 40))))
    served = served._replace(case=case._replace(sessions=beats), jobs=[])
    return Visited(served, sessions, beats, reads)


def queries_of(visited: Visited) -> Queries:
    spec = visited.served.case.scenario.server
    return Queries(spec.queries, spec.cache, seed=SEED, replicate=0)


def blocks_of(visited: Visited, blocks: int) -> Iterator[tuple[SimpleNamespace, Sessions, np.ndarray]]:
    case = visited.served.case
    edges = np.linspace(0, case.end_us + 1, blocks + 1).astype(int)
    ids = np.arange(len(visited.sessions))
    starts = np.array([visited.sessions[i][0] for i in ids], np.int64)
    ends = np.array([visited.sessions[i][1] for i in ids], np.int64)
    reads = np.array(visited.reads_us, np.int64)
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        all_us = {name: np.asarray(times, np.int64) for name, times in case.arrivals.items()}
        masks = {name: (times >= start) & (times < stop) for name, times in all_us.items()}
        other_us = np.array([at_us for at_us in visited.served.other_us if start <= at_us < stop], np.int64)
        block = SimpleNamespace(
            from_us=start,
            to_us=stop,
            in_order=None,
            times={name: times[masks[name]] for name, times in all_us.items()},
            heartbeat_sessions=np.asarray(visited.heartbeat_sessions, np.int64)[masks["heartbeats"]],
            other_us=other_us,
        )
        new = (starts >= start) & (starts < stop)
        started = Sessions(ids[new], starts[new], ends[new], ends[new] == NEVER_US)
        yield block, started, reads[(reads >= start) & (reads < stop)]


def played_by_model(visited: Visited, blocks: int, *, look_ahead: bool) -> tuple[Server, list[Happened]]:
    case, spec = visited.served.case, visited.served.case.scenario.server
    sessions, sources = OpenSessions(), list[Source]()
    if spec.cleanup is not None:
        sources.append(Cleanup(spec.cleanup, sessions, 0, case.end_us + 1))
    queries = queries_of(visited)
    if visited.reads_us:
        sources.append(queries)
    if spec.metrics is not None:
        sources.append(Metrics(spec.metrics, 0, case.end_us + 1))
    room = case.scenario.database.max_connections - 3
    server = Server(
        {stream: getattr(spec.writers, stream) for stream in STREAMS},
        spec.pool,
        spec.pool_limit,
        LatencyDatabase(case.scenario.database, SEED, 0),
        http=spec.http,
        pauses=visited.served.pauses,
        look_ahead=look_ahead,
        sources=sources,
        sessions=sessions,
        parallel=case.scenario.database.parallel_calls,
        room=lambda now_us: room,
    )
    if case.shutdown_us is not None:
        server.shut_down(case.shutdown_us)
    happened = []
    for block, started, reads_us in blocks_of(visited, blocks):
        # Ids come in the order of starts in a load; here they are known by name, so the table has to be sorted.
        sessions.begin(block.from_us, started)
        order = np.argsort(sessions.ids)
        for name in ("ids", "start_us", "last_us", "leaves_us", "live_to_us"):
            setattr(sessions, name, getattr(sessions, name)[order])
        queries.come(reads_us)
        happened.append(server.advance(block))
    return server, happened


def visits_of_model(happened: list[Happened]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for block in happened:
        columns = [block.visits[name].tolist() for name in VISITS]
        rows += [(PARTS[part], *rest) for part, *rest in zip(*columns, strict=True)]
    return sorted(rows)


def check(number: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    visited = random_visited(number)
    case = visited.served.case
    arrivals = {**case.arrivals, "other": visited.served.other_us}
    draws = queries_of(visited)
    rows = draws.rows(np.arange(len(visited.reads_us))).tolist()
    reads = []
    for read, at_us in enumerate(visited.reads_us):
        which = int(draws._which[read] * case.scenario.server.queries.distinct)
        reads.append((at_us, which, rows[read]))
    sessions = {i: Session(start_us, leaves_us) for i, (start_us, leaves_us) in visited.sessions.items()}
    played, thread, visitors = simulate(
        case.scenario,
        arrivals,
        visited.heartbeat_sessions,
        sessions,
        reads,
        case.end_us,
        shared_database(case.scenario),
        visited.served.pauses,
        case.shutdown_us,
    )
    twin = facts_of_twin(played)
    visits = sorted((v.part, v.number, v.start_us, v.end_us, int(v.ok), v.rows, int(v.cached), v.calls, v.updated)
                    for v in visitors.visits)  # fmt: skip
    jobs = together([(job.at_us, job.kind, job.cpu_us, job.done_us, job.late, job.given_up) for job in thread])
    monkeypatch.setattr(loop, "STRETCH", random.Random(number).choice((5, 40, 4_096)))
    monkeypatch.setattr(loop, "ONE_BY_ONE", (1, 3, 32)[number % 3])
    ahead = 0
    for look_ahead in (True, False):
        server, happened = played_by_model(visited, blocks=1 + number % 4, look_ahead=look_ahead)
        ahead += server.ahead.flushes
        model = facts_of_model(server, happened, case.end_us)
        found = jobs_of_model(happened)
        known = [(a, k, c, e if e <= case.end_us else -1, late, gone) for a, k, c, e, late, gone in found]
        clients = case.scenario.server.http.clients
        timeout_us = 0 if clients is None else clients.timeout_s * 1e6
        known = together([row if row[0] + timeout_us <= case.end_us else (*row[:4], False, False) for row in known])
        due = [pair for block in happened if block.due is not None
               for pair in zip(block.due["when_us"].tolist(), block.due["due"].tolist(), strict=True)]  # fmt: skip
        mine = visits_of_model(happened)
        differs = [name for name in twin if model[name] != twin[name]]
        assert (mine, due, known, differs) == (visits, visitors.due, jobs, []), (
            f"configuration {number}, look_ahead={look_ahead}, stretches of {loop.STRETCH}, shutdown at "
            f"{case.shutdown_us} us, end at {case.end_us} us, reads {visited.reads_us}, sessions "
            f"{visited.sessions}:\n{[p for p in zip(mine, visits, strict=False) if p[0] != p[1]][:3]} "
            f"{[p for p in zip(due, visitors.due, strict=False) if p[0] != p[1]][:3]} "
            f"{[p for p in zip(known, jobs, strict=False) if p[0] != p[1]][:3]} {differs} "
            f"{[p for n in differs[:1] for p in [(model[n], twin[n])]]}\n{to_toml(case.scenario)}"
        )
        assert server.pool.refusals == 0 or case.scenario.database.max_connections < 100 or "down" in str(
            case.scenario.database.faults)  # fmt: skip
    return ahead, sum(visit.part == "queries" for visit in visitors.visits)


@pytest.mark.parametrize("hundred", range(6))
def test_the_visits_and_their_twin_agree_item_for_item(hundred: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """600 configurations, each with look-ahead on and off."""
    for number in range(100 * hundred, 100 * (hundred + 1)):
        check(number, monkeypatch)


def test_calls_of_the_metrics_that_overlap_each_take_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Called each 45 ms while the database takes 725 ms: the pool of six runs short, though there are five parts."""
    check(609, monkeypatch)


def test_no_connection_is_to_be_had_at_once_while_postgres_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where opening one takes no time: a refusal takes 25 ms, of which a call waits for 10."""
    check(2618, monkeypatch)


def test_clients_may_lose_patience_for_the_work_of_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what they send again comes within the stretch, if that is as long as if they never did."""
    check(795, monkeypatch)

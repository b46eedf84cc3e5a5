"""The model and the plain twin agree, item for item, on random configurations."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from types import SimpleNamespace

import numpy as np
import pytest

from capsim.engine.database import LatencyDatabase, Statement
from capsim.engine.happened import Happened
from capsim.engine.model import Server
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from twin import PARTS, DurationUs, TwinResult, simulate
from twin_random import Case, random_case, to_toml

SEED = 5  # of the database's draws; the configurations are numbered


def shared_database(scenario: Scenario) -> DurationUs:
    """The model's own draws, for the twin: only the rules are compared, not the arithmetic of a latency."""
    database = LatencyDatabase(scenario.database, SEED, 0)

    def duration_us(
        kind: str, stream: str, attempt: int, item: int, rows: int, start_us: int, crowding: float
    ) -> tuple[int, bool]:
        statement = Statement(kind, item, rows)  # type: ignore[arg-type]
        outcome = database.run(stream, attempt, statement, start_us, crowding)
        return outcome.duration_us, outcome.result != "fail"

    return duration_us


def played_by_model(
    case: Case, blocks: int, *, look_ahead: bool = True, exits: bool = False
) -> tuple[Server, list[Happened]]:
    """The case on the real engine, its arrivals handed over in equal blocks, to the end or to its exit."""
    server_spec = case.scenario.server
    writers = {stream: getattr(server_spec.writers, stream) for stream in STREAMS}
    database = LatencyDatabase(case.scenario.database, SEED, 0)
    server = Server(
        writers,
        server_spec.pool,
        server_spec.pool_limit,
        database,
        look_ahead=look_ahead,
        parallel=case.scenario.database.parallel_calls,
    )
    if case.shutdown_us is not None:
        server.shut_down(case.shutdown_us, exits=exits)
    edges = np.linspace(0, case.end_us + 1, blocks + 1).astype(int)
    happened = []
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        times, sessions = {}, None
        for stream in STREAMS:
            all_us = np.asarray(case.arrivals.get(stream, ()), np.int64)
            inside = (all_us >= start) & (all_us < stop)
            times[stream] = all_us[inside]
            if stream == "heartbeats" and case.sessions is not None:
                sessions = np.asarray(case.sessions, np.int64)[inside]
        block = SimpleNamespace(from_us=start, to_us=stop, times=times, heartbeat_sessions=sessions)
        happened.append(server.advance(block))
        if server.exited_us is not None:
            break
    return server, happened


def facts_of_model(server: Server, happened: list[Happened], end_us: int) -> dict[str, object]:
    facts: dict[str, object] = {}
    for part, (stream, writer) in enumerate(server.writers.items()):
        rows = []
        for block in happened:
            own = {name: column[block.attempts["part"] == part].tolist() for name, column in block.attempts.items()}
            names = ("batch", "attempt", "start_us", "end_us", "ok", "rows", "calls", "counted", "first_item")
            rows += [tuple(row) for row in zip(*(own[name] for name in names), strict=True)]
        out = server.flushers[stream].out
        if out is not None and not server.flushers[stream].pausing:
            batch, attempt, start_us = out
            calls = sum(1 for at_us in server.flushers[stream].calls_started if at_us <= end_us)
            rows.append((batch.number, attempt, start_us, -1, 0, batch.rows, calls, 0, batch.first_item))
        since = writer.stuck_at(end_us)
        facts[stream] = {
            "attempts": rows,
            "written": writer.flushed,
            "dropped_cap": writer.dropped_cap,
            "refused": sum(int(block.stretches[stream].refused.sum()) for block in happened),
            "stored": sum(len(block.stretches[stream].stored_us) for block in happened),
            "dropped_failed": writer.dropped_failed,
            "failed_batches": writer.failed_batches,
            "rejected": writer.rejected,
            "buffered": writer.count,
            "in_flight": out[0].left if out else 0,
            "stuck": [*writer.stuck, *([(since, -1)] if since is not None else [])],
            "requests": writer.requests_made,
        }
    names = ("part", "asked_us", "decided_us", "granted")
    waits = [
        (PARTS[part], asked, decided)
        for block in happened
        for part, asked, decided, granted in zip(*(block.waits[n].tolist() for n in names), strict=True)
        if granted
    ]
    facts["waits"] = sorted(waits)
    changes = [block.connections for block in happened]
    columns = ((block["when_us"].tolist(), block["change"].tolist()) for block in changes)
    facts["held"] = held(pair for when_us, change in columns for pair in zip(when_us, change, strict=True))
    return facts


def held(changes: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """When connections are taken and given back, and how many: not those that change hands in an instant."""
    total: Counter[int] = Counter()
    for when_us, change in changes:
        total[when_us] += change
    return sorted((when_us, change) for when_us, change in total.items() if change)


def facts_of_twin(result: TwinResult) -> dict[str, object]:
    facts: dict[str, object] = {}
    for stream, writer in result.writers.items():
        rows = [
            (a.batch, a.attempt, a.start_us, a.end_us, int(a.ok), a.rows, a.calls, a.counted, a.first_item)
            for a in writer.attempts
        ]
        facts[stream] = {
            "attempts": rows,
            "written": writer.written,
            "dropped_cap": writer.dropped_cap,
            "refused": writer.dropped_cap,
            "stored": writer.arrived - writer.dropped_cap - writer.rejected - writer.replaced,
            "dropped_failed": writer.dropped_failed,
            "failed_batches": writer.failed_batches,
            "rejected": writer.rejected,
            "buffered": writer.buffered,
            "in_flight": writer.in_flight,
            "stuck": writer.stuck,
            "requests": writer.immediates,
        }
    waits = [(g.part, g.asked_us, g.granted_us) for g in result.grants if g.granted_us > g.asked_us]
    facts["waits"] = sorted(waits)
    got = [g for g in result.grants if g.granted_us >= 0]
    given_back = [g for g in got if g.released_us >= 0]
    facts["held"] = held([*((g.granted_us, 1) for g in got), *((g.released_us, -1) for g in given_back)])
    return facts


def long_case(number: int) -> Case:
    """Minutes of Poisson load on a mostly quick database: long runs of regular flushes, and what interrupts them."""
    rng = np.random.default_rng(number)
    batch, delay_ms = int(rng.integers(5, 40)), int(rng.integers(200, 3_000))
    span_us = int(rng.integers(60, 400)) * 1_000_000
    pace_hz = batch / delay_ms * 1000  # full about when the timer fires
    arrivals = {
        stream: np.sort(
            rng.integers(0, span_us, int(span_us / 1e6 * pace_hz * rng.choice([0.1, 0.5, 1, 3, 8])))
        ).tolist()
        for stream in STREAMS
    }
    live = rng.choice([0, 0, 3, 200])
    faults = [
        {
            "kind": str(rng.choice(["fail", "stall"])),
            "from_s": float(start),
            "to_s": float(start + rng.exponential(4) + 0.1),
        }
        for start in rng.uniform(0, span_us / 1e6, rng.integers(0, 4))
    ]
    median_ms = float(delay_ms * rng.choice([0.01, 0.05, 0.3]))
    writers = {
        stream: {
            "semantics": str(rng.choice(["seed", "fixed", "recommended"])),
            "batch_rows": batch,
            "delay_ms": delay_ms,
            "buffer_cap_rows": rng.choice([batch // 2, 5 * batch // 4, 2 * batch, 10 * batch, 10**6]).item(),
        }
        for stream in STREAMS
    }
    scenario = Scenario.model_validate({
        "name": "long",
        "workload": {"rate_hz": 1, "duration_s": span_us / 1e6},
        "server": {"writers": writers, "pool": {"limit": int(rng.choice([2, 3, 10]))}},
        "database": {
            "insert": {"call_ms": median_ms, "row_ms": 0.01, "sigma": float(rng.choice([0.2, 1.0]))},
            "update": {"call_ms": median_ms / batch, "sigma": 0.8},
            "connect_ms": float(rng.choice([0, 2])),
            "bursts": None if rng.random() < 0.5 else {"calm_s": 20, "slow_s": 2, "factor": 10},
            "faults": faults,
        },
        "billing": {"from": "2026-02-03"},
    })  # fmt: skip
    sessions = rng.integers(0, live, len(arrivals["heartbeats"])).tolist() if live else None
    return Case(scenario, arrivals, sessions, span_us + 10_000_000, None)


def check(number: int, make: Callable[[int], Case] = lambda number: random_case(random.Random(number))) -> None:
    case = make(number)
    database = shared_database(case.scenario)
    played = simulate(case.scenario, case.arrivals, case.sessions, case.end_us, database, case.shutdown_us)
    twin = facts_of_twin(played)
    for look_ahead in (True, False):
        server, happened = played_by_model(case, blocks=1 + number % 4, look_ahead=look_ahead)
        model = facts_of_model(server, happened, case.end_us)
        for name, expected in twin.items():
            assert model[name] == expected, (
                f"configuration {number}, look_ahead={look_ahead}: {name} differs; rerun it as this scenario "
                f"(shutdown at {case.shutdown_us} us, end at {case.end_us} us):\n{to_toml(case.scenario)}"
            )


@pytest.mark.parametrize("hundred", range(12))
def test_model_and_twin_agree_item_for_item(hundred: int) -> None:
    """1,200 configurations, the production constants, ties, caps below the batch and coupled writers among them."""
    for number in range(100 * hundred, 100 * (hundred + 1)):
        check(number)


@pytest.mark.parametrize("fifty", range(2))
def test_model_and_twin_agree_over_long_regular_stretches(fifty: int) -> None:
    for number in range(50 * fifty, 50 * (fifty + 1)):
        check(number, long_case)


def classes_of(case: Case) -> list[str]:
    """What disturbs a case: each name that applies, or none of them."""
    database, pool = case.scenario.database, case.scenario.server.pool_limit
    found = {
        "faults": bool(database.faults),
        "slow periods": database.bursts is not None,
        "coupled pool": pool < len(STREAMS),
        "shutdown": case.shutdown_us is not None,
    }
    return [name for name, applies in found.items() if applies] or ["undisturbed"]


def shares_ahead(cases: Iterable[tuple[int, Case]]) -> dict[str, tuple[int, int, float]]:
    """By class: cases, flushes, and the share of the flushes that were played without an event."""
    found: dict[str, list[int]] = {}
    for number, case in cases:
        server, _ = played_by_model(case, blocks=1 + number % 4)
        flushes = sum(writer.batches for writer in server.writers.values())
        for name in classes_of(case):
            total = found.setdefault(name, [0, 0, 0])
            for place, more in enumerate((1, flushes, server.ahead.flushes)):
                total[place] += more
    return {name: (cases, flushes, ahead / flushes) for name, (cases, flushes, ahead) in found.items()}


def test_much_of_it_is_played_ahead_and_much_is_not() -> None:
    """The comparison would be empty if one of the two ways were never taken."""
    shares = shares_ahead((n, random_case(random.Random(n))) for n in range(200))

    least = {"undisturbed": 0.3, "slow periods": 0.04, "faults": 0.05, "shutdown": 0.01, "coupled pool": 0.2}
    assert all(bound < shares[name][2] < 1 for name, bound in least.items())


@pytest.mark.slow
def test_shares_of_look_ahead_by_class() -> None:
    """Prints the table of docs/look-ahead.md (``pytest -s``)."""
    for title, make, count in (("short", lambda n: random_case(random.Random(n)), 2_000), ("long", long_case, 200)):
        for name, (cases, flushes, share) in shares_ahead((n, make(n)) for n in range(count)).items():
            print(f"{title:6} {name:13} {cases:5} cases {flushes:9,} flushes {share:7.1%} ahead")


@pytest.mark.slow
@pytest.mark.parametrize("thousand", range(10))
def test_model_and_twin_agree_on_ten_thousand_more(thousand: int) -> None:
    for number in range(10_000 + 1_000 * thousand, 11_000 + 1_000 * thousand):
        check(number)
    for number in range(1_000 + 100 * thousand, 1_100 + 100 * thousand):
        check(number, long_case)

"""The loop on arrays and its plain twin agree, to the last microsecond, on random configurations."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from capsim.engine import loop
from capsim.engine.ahead import LookAhead
from capsim.engine.database import LatencyDatabase
from capsim.engine.happened import Happened
from capsim.engine.jobs import CLASSES
from capsim.engine.model import Server
from capsim.memory.pauses import Pauses
from capsim.scenario.workload import STREAMS
from test_model_twin import SEED, facts_of_model, facts_of_twin, shared_database
from twin_loop import simulate
from twin_random import Case, random_case, to_toml


class Served(NamedTuple):
    """A case of the writers' twin, behind a loop."""

    case: Case
    other_us: list[int]  # requests that reach no writer
    jobs: list[tuple[int, int]]  # whatever else needs the thread: start, CPU
    pauses: Pauses


def random_served(number: int) -> Served:
    """From a loop that nobody notices to one that is overloaded, with jobs of up to seconds and impatient clients."""
    rng = random.Random(f"loop {number}")
    case = random_case(random.Random(number))
    weight = rng.choice((0.001, 0.05, 0.3, 1, 1, 3))
    cpu_ms = {f"{name}_cpu_ms": round(weight * rng.uniform(0.5, 10), 3) for name in CLASSES}
    clients = None
    if rng.random() < 0.3:
        clients = {"timeout_s": rng.choice((0.1, 0.1, 0.25, 1)), "retries": rng.randint(0, 3)}
        clients["backoff_s"] = rng.choice((0, 0.05, 0.1, 1))
    http = {**cpu_ms, "row_cpu_ms": rng.choice((0, 0.04, 1, 5, 20)) * min(weight, 1), "clients": clients}
    data = case.scenario.model_dump(by_alias=True)
    data["server"]["http"] = http
    case = case._replace(scenario=type(case.scenario).model_validate(data))
    grid_us = rng.choice((1, 1_000, 25_000))
    other = sorted(rng.randrange(max(case.end_us // grid_us, 1)) * grid_us for _ in range(rng.choice((0, 0, 5, 60))))
    starts = sorted(rng.randrange(case.end_us // grid_us) * grid_us for _ in range(rng.choice((0, 0, 1, 8))))
    jobs = [(at_us, rng.choice((1, 5_000, 70_000, 2_000_000))) for at_us in starts]
    # From a collector that rests to one that stops every request.
    every = rng.choice((1, 2, 7, 21, 334)), rng.choice((1, 3, 21, 100, 1_100))
    paused_us = rng.choice((0, 700, 6_500)), rng.choice((0, 6_500, 100_000))
    return Served(case, other, jobs, Pauses(*every, *paused_us))


def in_order(times: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """All arrivals by time and stream, as a load may hand them over, and which stream each is of."""
    every = sorted((at_us, kind) for kind, stream in enumerate(STREAMS) for at_us in times[stream].tolist())
    return np.array([at_us for at_us, _ in every], np.int64), np.array([kind for _, kind in every], np.int8)


def played_by_model(served: Served, blocks: int, *, look_ahead: bool) -> tuple[Server, list[Happened]]:
    case, spec = served.case, served.case.scenario.server
    writers = {stream: getattr(spec.writers, stream) for stream in STREAMS}
    database = LatencyDatabase(case.scenario.database, SEED, 0)
    loops = {"http": spec.http, "pauses": served.pauses, "look_ahead": look_ahead}
    server = Server(writers, spec.pool, spec.pool_limit, database, **loops)
    assert server.loop is not None
    jobs = np.array(served.jobs, np.int64).reshape(-1, 2)
    server.loop.announce(jobs[:, 0], jobs[:, 1])
    if case.shutdown_us is not None:
        server.shut_down(case.shutdown_us)
    edges = np.linspace(0, case.end_us + 1, blocks + 1).astype(int)
    happened = []
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        inside = {name: np.asarray(times, np.int64) for name, times in case.arrivals.items()}
        masks = {name: (times >= start) & (times < stop) for name, times in inside.items()}
        sessions = None if case.sessions is None else np.asarray(case.sessions, np.int64)[masks["heartbeats"]]
        other_us = np.array([at_us for at_us in served.other_us if start <= at_us < stop], np.int64)
        times = {name: times[masks[name]] for name, times in inside.items()}
        block = SimpleNamespace(from_us=start, to_us=stop, times=times, heartbeat_sessions=sessions, other_us=other_us)
        block.in_order = in_order(times) if len(happened) % 2 else None
        happened.append(server.advance(block))
    return server, happened


def jobs_of_model(happened: list[Happened]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    names = (*CLASSES, "job")
    for block in happened:
        done = block.served
        columns = (done.at_us, done.kind, done.cpu_us, done.done_us, done.late, done.given_up)
        rows += [
            (at, names[kind], cpu, end, late, given_up)
            for at, kind, cpu, end, late, given_up in zip(*(c.tolist() for c in columns), strict=True)
        ]
        flushes = (done.flush_us, done.flush_cpu_us, done.flush_done_us)
        each = zip(*(column.tolist() for column in flushes), strict=True)
        rows += [(at, "flush", cpu, end, False, False) for at, cpu, end in each]
    return rows


def together(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Flushes of one instant as one: in which order they are built makes no difference to anyone."""
    flushes: dict[int, tuple[int, int]] = {}
    for at_us, kind, cpu_us, done_us, *_ in rows:
        if kind == "flush":
            before_us, end_us = flushes.get(at_us, (0, 0))
            flushes[at_us] = before_us + cpu_us, -1 if -1 in (end_us, done_us) else max(end_us, done_us)
    others = [row for row in rows if row[1] != "flush"]
    return sorted([*others, *((at_us, "flush", cpu, end, False, False) for at_us, (cpu, end) in flushes.items())])


def check(number: int, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    served = random_served(number)
    case = served.case
    arrivals = {**case.arrivals, "other": served.other_us}
    database = shared_database(case.scenario)
    played, thread = simulate(
        case.scenario, arrivals, case.sessions, served.jobs, case.end_us, database, served.pauses, case.shutdown_us
    )
    twin = facts_of_twin(played)
    jobs = together([(job.at_us, job.kind, job.cpu_us, job.done_us, job.late, job.given_up) for job in thread])
    monkeypatch.setattr(
        loop,
        "STRETCH",
        random.Random(number).choice((5, 40, 4_096) if sum(map(len, arrivals.values())) < 500 else (300, 4_096)),
    )
    monkeypatch.setattr(loop, "ONE_BY_ONE", random.Random(number).choice((1, 3, 32)))
    for look_ahead in (True, False) if number % 3 == 0 else (True,):
        server, happened = played_by_model(served, blocks=1 + number % 4, look_ahead=look_ahead)
        model = facts_of_model(server, happened, case.end_us)
        found = jobs_of_model(happened)
        # The twin knows the end of a job, and whether its client lost patience, only when it has happened.
        known = [
            (at, kind, cpu, end if end <= case.end_us else -1, late, given_up)
            for at, kind, cpu, end, late, given_up in found
        ]
        clients = case.scenario.server.http.clients
        timeout_us = 0 if clients is None else clients.timeout_s * 1e6
        known = [row if row[0] + timeout_us <= case.end_us else (*row[:4], False, False) for row in known]
        known = together(known)
        agreed = known == jobs and all(model[name] == expected for name, expected in twin.items())
        assert agreed, (
            f"configuration {number}, look_ahead={look_ahead}, stretches of {loop.STRETCH} (shutdown at "
            f"{case.shutdown_us} us, end at {case.end_us} us, other {served.other_us}, jobs {served.jobs}): "
            f"{[pair for pair in zip(known, jobs, strict=False) if pair[0] != pair[1]][:3]}, "
            f"{[name for name in twin if model[name] != twin[name]]}\n{to_toml(case.scenario)}"
        )
    return jobs


@pytest.mark.parametrize("hundred", range(10))
def test_the_loop_and_its_twin_agree_to_the_microsecond(hundred: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 configurations, overload, long jobs and retries among them."""
    for number in range(100 * hundred, 100 * (hundred + 1)):
        check(number, monkeypatch)


def test_an_item_that_was_guessed_to_come_behind_the_horizon_may_come_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Found among 6,800 more configurations: a flush followed from it, earlier than one that had begun."""
    check(7_550, monkeypatch)


def test_the_comparison_is_of_something(monkeypatch: pytest.MonkeyPatch) -> None:
    """Overload, retries, flushes that move other flushes, stretches played ahead: all of them happen."""
    rounds: list[bool] = []
    disturbed = LookAhead._disturbed

    def noted(*given: Any) -> set[str]:
        found = disturbed(*given)
        rounds.append(not found)
        return found

    monkeypatch.setattr(LookAhead, "_disturbed", noted)
    ahead = flushes = late = retried = waited = 0
    for number in range(300):
        served = random_served(number)
        server, happened = played_by_model(served, blocks=2, look_ahead=True)
        ahead += server.ahead.flushes
        flushes += sum(writer.batches for writer in server.writers.values())
        asked = len(served.other_us) + len(served.jobs) + sum(map(len, served.case.arrivals.values()))
        for block in happened:
            done = block.served
            late += int(done.late.sum())
            retried += len(done.at_us)
            waited += bool((done.done_us - done.at_us > 1_000_000).any())
        retried -= asked

    assert 0.05 < ahead / flushes < 0.95
    assert late > 100 and retried > 100 and waited > 20
    assert 10 < rounds.count(False) < rounds.count(True)

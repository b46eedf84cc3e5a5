"""Replicas that meet at Postgres' last connections and at the sessions that they clean up: model and twin agree."""

from __future__ import annotations

import random

import numpy as np
import pytest

from capsim.engine import loop
from capsim.engine.database import LatencyDatabase
from capsim.engine.fleet import Fleet, Process, of_replica
from capsim.engine.happened import Happened
from capsim.engine.lives import Life
from capsim.engine.log import with_lines
from capsim.engine.queries import Queries
from capsim.memory.pauses import pauses
from capsim.scenario.workload import SessionsSpec
from test_model_twin import SEED, facts_of_model, facts_of_twin, shared_database
from test_visits_twin import Visited, blocks_of, random_visited, visits_of_model
from twin_random import to_toml
from twin_visits import Replica, Session, run_together


def random_shared(number: int) -> tuple[Visited, list[int]]:
    """A case of the visits for two or three replicas, little room in Postgres; and when each replica ends [us]."""
    rng = random.Random(f"fleet {number}")
    visited = random_visited(number)
    case = visited.served.case
    data = case.scenario.model_dump(by_alias=True)
    data["database"]["max_connections"] = rng.choice((4, 5, 6, 8))
    data["server"]["process"]["replicas"] = replicas = rng.choice((2, 2, 3))
    data["server"]["logger"]["lines_per_request"] = 0  # whose CPU is not in the twin's scenario
    if rng.random() < 0.3:
        data["server"]["cleanup"] = None  # then only connections are shared, and look-ahead goes on
    data["workload"]["live_sessions"] = None
    scenario = type(case.scenario).model_validate(data)
    ends_us = [case.end_us + 1] * replicas
    if rng.random() < 0.3:
        ends_us[rng.randrange(replicas)] = rng.randrange(1, case.end_us + 1)
    case = case._replace(scenario=scenario, shutdown_us=None)
    return visited._replace(served=visited.served._replace(case=case)), ends_us


def played_by_fleet(visited: Visited, ends_us: list[int], blocks: int) -> tuple[Fleet, list[tuple[Process, Happened]]]:
    case = visited.served.case
    last_us = case.end_us + 1
    lives = [[Life(0, 0, end, None, end, "run" if end == last_us else "crash")] for end in ends_us]
    scenario = case.scenario
    if visited.reads_us:  # that there are any is all that the fleet wants to know; the test brings them
        scenario = scenario.replace("workload.queries_hz", 1.0)
    scenario = scenario.replace("workload.sessions", SessionsSpec())  # and so with the players
    fleet = Fleet(scenario, SEED, 0, lives, lambda _: LatencyDatabase(scenario.database, SEED, 0), 60_000_000)
    happened = []
    for block, started, reads_us in blocks_of(visited, blocks):
        block.queries_us, block.started = reads_us, None
        block.covered_us = ((block.from_us, block.to_us),)
        if (sessions := fleet.sessions) is not None:
            sessions.begin(block.from_us, started)
            order = np.argsort(sessions.ids)
            for name in ("ids", "start_us", "last_us", "leaves_us", "live_to_us"):
                setattr(sessions, name, getattr(sessions, name)[order])
        happened += fleet.play(block)
    return fleet, happened


def twins(visited: Visited, ends_us: list[int]) -> list[Replica]:
    case, found = visited.served.case, list[Replica]()
    scenario = case.scenario
    http = with_lines(scenario.server.http, scenario.server.logger)
    scenario = scenario.model_copy(update={"server": scenario.server.model_copy(update={"http": http})})
    sessions = {i: Session(start_us, leaves_us) for i, (start_us, leaves_us) in visited.sessions.items()}
    many = len(ends_us)
    arrivals = {**case.arrivals, "other": visited.served.other_us}
    for replica, end_us in enumerate(ends_us):
        draws = Queries(scenario.server.queries, None, seed=SEED, replicate=0, of=of_replica(replica))
        own_us = visited.reads_us[replica::many]
        rows = draws.rows(np.arange(len(own_us))).tolist()
        reads = [
            (at_us, int(draws._which[read] * scenario.server.queries.distinct), rows[read])
            for read, at_us in enumerate(own_us)
        ]

        def others(replica: int = replica) -> int:
            return sum(
                other.pool.open
                for place, other in enumerate(found)
                if place != replica and found[replica].clock.now_us < other.end_us + 1
            )

        found.append(
            Replica(
                scenario,
                {kind: times[replica::many] for kind, times in arrivals.items()},
                visited.heartbeat_sessions[replica::many],
                sessions,
                reads,
                end_us - 1,
                shared_database(scenario),
                pauses(scenario),
                others,
            )
        )
    run_together(found)
    return found


def check(number: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """One configuration; flushes that were played ahead, and connections refused."""
    visited, ends_us = random_shared(number)
    monkeypatch.setattr(loop, "STRETCH", random.Random(number).choice((5, 40, 4_096)))
    fleet, happened = played_by_fleet(visited, ends_us, blocks=1 + number % 4)
    expected = twins(visited, ends_us)
    ahead = refused = 0
    for process in fleet.processes:
        twin, own = expected[process.replica], [h for who, h in happened if who is process]
        ahead += process.server.ahead.flushes
        refused += process.server.pool.refusals
        model, theirs = facts_of_model(process.server, own, twin.end_us), facts_of_twin(twin.result())
        visits = sorted((v.part, v.number, v.start_us, v.end_us, int(v.ok), v.rows, int(v.cached), v.calls, v.updated)
                        for v in twin.visitors.visits)  # fmt: skip
        differs = [name for name in theirs if model[name] != theirs[name]]
        found = visits_of_model(own), process.server.pool.refusals, differs
        assert found == (visits, twin.pool.refusals, []), (
            f"configuration {number}, replica {process.replica}, ends {ends_us}, reads {visited.reads_us}:\n"
            f"{[p for p in zip(found[0], visits, strict=False) if p[0] != p[1]][:3]} "
            f"{[(name, model[name], theirs[name]) for name in differs[:1]]}\n{to_toml(visited.served.case.scenario)}"
        )
    return ahead, refused


@pytest.mark.parametrize("numbers", [range(100), range(100, 200), range(590, 600)])
def test_replicas_that_meet_agree_with_their_twins_item_for_item(
    numbers: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the last ones heartbeats fail one by one and over several blocks."""
    ahead, refused = np.sum([check(number, monkeypatch) for number in numbers], axis=0)
    assert ahead > 10 and refused > 100  # both happen, so both are compared

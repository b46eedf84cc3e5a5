"""Deploys, crashes and replicas: every process of the fleet agrees with a plain one, from start to last instant.

A plain second telling of the platform (who is healthy when, who gets which request) around the plain twin of a process.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

from capsim.engine import loop
from capsim.engine.database import LatencyDatabase
from capsim.engine.fleet import Fleet, Process, of_replica
from capsim.engine.happened import Happened
from capsim.engine.lives import lives
from capsim.engine.log import with_lines
from capsim.engine.queries import Queries
from capsim.memory.pauses import pauses
from capsim.scenario.server import LifecycleSpec, ProcessSpec
from capsim.scenario.workload import STREAMS, SessionsSpec
from test_model_twin import SEED, facts_of_model, facts_of_twin, shared_database
from test_visits_twin import Visited, blocks_of, random_visited, visits_of_model
from twin import DurationUs
from twin_loop import CLASSES
from twin_random import to_toml
from twin_visits import Replica, Session, run_together


def random_deployed(number: int) -> Visited:
    """A case of the visits for one to three replicas, with deploys and crashes on the grid of its arrivals."""
    rng = random.Random(f"deploys {number}")
    visited = random_visited(number)
    case = visited.served.case
    data = case.scenario.model_dump(by_alias=True)
    end_s = case.end_us / 1e6

    def within(most_s: float) -> float:
        return rng.randrange(max(int(most_s / 0.025), 1)) * 0.025

    data["database"]["max_connections"] = rng.choice((4, 6, 8, 100, 100))
    data["server"]["process"] = {
        "replicas": rng.choice((1, 1, 2, 3)),
        "start_s": rng.choice((0, 0.1, within(end_s / 4))),
        "migration_s": rng.choice((0, 0.05)),
        "overlap_s": rng.choice((0, 0.2, within(1.0))),
        "draining_s": rng.choice((0, 0.15, 1.0, 4.0, 20.0)),
        "handles_sigterm": rng.random() < 0.8,
        "restart_delay_s": rng.choice((0.05, 1.0)),
        "restarts_max": rng.choice((0, 1, 10)),
    }
    data["server"]["lifecycle"] = [
        {"kind": rng.choice(("deploy", "deploy", "crash")), "at_s": within(min(end_s, rng.choice((1, 3, 99))))}
        for _ in range(rng.choice((1, 1, 2, 3)))
    ]
    longer_us = 0
    if rng.random() < 0.4:  # a batch that is out when its server is told to stop, for longer than the grace
        at_s = data["server"]["lifecycle"][0]["at_s"]
        data["database"]["faults"] = [{"kind": "stall", "from_s": max(at_s - 0.2, 0.0), "to_s": at_s + within(8) + 1}]
        longer_us = 8_000_000
    data["server"]["logger"]["lines_per_request"] = 0  # whose CPU is not in the twin's scenario
    data["workload"]["live_sessions"] = None
    scenario = type(case.scenario).model_validate(data)
    case = case._replace(scenario=scenario, shutdown_us=None, end_us=case.end_us + longer_us)
    return visited._replace(served=visited.served._replace(case=case))


@dataclass
class Plain:
    """One process, as the platform sees it [us]."""

    replica: int
    healthy_us: int
    unserved_us: int  # from when on requests go elsewhere
    sigterm_us: int | None = None
    killed_us: int | None = None
    end: str = "run"


def plain_lives(process: ProcessSpec, events: list[LifecycleSpec], end_us: int, replica: int) -> list[Plain]:
    """Told as a story: what a deploy does, what a crash does, one after the other."""

    def us(seconds: float) -> int:
        return round(seconds * 1e6)

    up_us = us(process.migration_s) + us(process.start_s)
    story = [Plain(replica, 0, end_us)]
    serving: Plain | None = story[0]
    restarts = 0
    for event in sorted(events, key=lambda event: us(event.at_s)):
        now_us = us(event.at_s)
        if now_us >= end_us or (serving is not None and now_us < serving.healthy_us):
            continue  # whatever is coming up goes on coming up
        if event.kind == "crash":
            if serving is None:
                continue
            serving.unserved_us = serving.killed_us = now_us
            serving.end, serving, restarts = "crash", None, restarts + 1
            again_us = now_us + us(process.restart_delay_s) + up_us
            if restarts <= process.restarts_max and again_us < end_us:
                serving = Plain(replica, again_us, end_us)
                story.append(serving)
            continue
        ready_us = now_us + up_us
        if ready_us >= end_us:
            continue
        if serving is not None:
            serving.unserved_us = ready_us
            told_us = ready_us + us(process.overlap_s)
            kill_us = told_us + us(process.draining_s)
            if process.handles_sigterm and told_us < min(kill_us, end_us):
                serving.sigterm_us = told_us
            if kill_us < end_us:
                serving.killed_us, serving.end = kill_us, "killed"
        serving, restarts = Plain(replica, ready_us, end_us), 0
        story.append(serving)
    return story


def numbered(draws: DurationUs, first: dict[str, int]) -> DurationUs:
    """A process numbers its items from 0; the database's draws go by their numbers over the whole load."""

    def duration_us(
        kind: str, stream: str, attempt: int, item: int, rows: int, start_us: int, crowding: float
    ) -> tuple[int, bool]:
        return draws(kind, stream, attempt, item + first.get(stream, 0), rows, start_us, crowding)

    return duration_us


def twins(visited: Visited) -> tuple[list[Plain], list[Replica], list[dict[str, int]]]:
    """All processes in the order in which they become healthy, played; and the first item of each."""
    case, found = visited.served.case, list[Replica]()
    scenario = case.scenario
    many, end_us = scenario.server.process.replicas, case.end_us + 1
    http = with_lines(scenario.server.http, scenario.server.logger)
    scenario = scenario.model_copy(update={"server": scenario.server.model_copy(update={"http": http})})
    sessions = {i: Session(start_us, leaves_us) for i, (start_us, leaves_us) in visited.sessions.items()}
    arrivals = {**case.arrivals, "other": visited.served.other_us}
    story = [
        plain
        for replica in range(many)
        for plain in plain_lives(scenario.server.process, scenario.server.lifecycle, end_us, replica)
    ]
    story.sort(key=lambda plain: (plain.healthy_us, plain.replica))
    firsts = []
    for place, plain in enumerate(story):
        replica = plain.replica

        def own(times_us: list[int], plain: Plain = plain, replica: int = replica) -> slice:
            turn = times_us[replica::many]
            return slice(bisect_left(turn, plain.healthy_us), bisect_left(turn, plain.unserved_us))

        draws = Queries(scenario.server.queries, None, seed=SEED, replicate=0, of=of_replica(replica))
        reads_us = visited.reads_us[replica::many]
        rows = draws.rows(np.arange(len(reads_us))).tolist()
        reads = [
            (at_us, int(draws._which[read] * scenario.server.queries.distinct), rows[read])
            for read, at_us in enumerate(reads_us)
        ]
        first = {stream: own(case.arrivals.get(stream, [])).start for stream in STREAMS}
        firsts.append(first)

        def others(place: int = place) -> int:
            now_us = found[place].clock.now_us
            return sum(other.pool.open for at, other in enumerate(found) if at != place and now_us < other.end_us + 1)

        mine = own(visited.reads_us)
        beats = own(case.arrivals["heartbeats"])
        twin = Replica(
            scenario,
            {kind: arrivals.get(kind, [])[replica::many][own(arrivals.get(kind, []))] for kind in CLASSES},
            visited.heartbeat_sessions[replica::many][beats],
            sessions,
            reads[mine],
            (end_us if plain.killed_us is None else plain.killed_us) - 1,
            numbered(shared_database(scenario), first),
            pauses(scenario),
            others,
            plain.healthy_us,
            mine.start,
        )
        if plain.sigterm_us is not None:
            twin.shut_down(plain.sigterm_us, exits=True)
        found.append(twin)
    run_together(found)
    return story, found, firsts


def played(visited: Visited, blocks: int) -> tuple[Fleet, list[tuple[Process, Happened]], Counter[str]]:
    case = visited.served.case
    scenario, end_us = case.scenario, case.end_us + 1
    server = scenario.server
    rows = [lives(server.process, server.lifecycle, end_us) for _ in range(server.process.replicas)]
    if visited.reads_us:  # that there are any is all that the fleet wants to know; the test brings them
        scenario = scenario.replace("workload.queries_hz", 1.0)
    scenario = scenario.replace("workload.sessions", SessionsSpec())  # and so with the players
    fleet = Fleet(scenario, SEED, 0, rows, lambda _: LatencyDatabase(scenario.database, SEED, 0), 60_000_000)
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
    return fleet, happened, fleet.refused


def _held(twin: Replica, stream: str) -> int:
    """Items that a process has been sent and has neither written nor given up."""
    writer = twin.writers[stream]
    jobs = [*twin.thread.jobs, *twin.thread.arrived]
    unserved = sum(job.kind == stream and job.done_us == -1 for job in jobs)
    in_flight = len(writer.batch) - writer.written if writer.batch else 0
    return unserved + len(writer.buffer) + in_flight


def check(number: int, monkeypatch: pytest.MonkeyPatch, seen: Counter[str]) -> None:
    """One configuration; counts what it was about."""
    visited = random_deployed(number)
    case = visited.served.case
    monkeypatch.setattr(loop, "STRETCH", random.Random(number).choice((5, 40, 4_096)))
    fleet, happened, refused = played(visited, blocks=1 + number % 4)
    story, expected, firsts = twins(visited)
    said = f"configuration {number}, reads {visited.reads_us}, {story}:\n{to_toml(case.scenario)}"
    by_start = sorted(fleet.processes, key=lambda process: (process.life.accepts_from_us, process.replica))
    assert [(p.replica, p.life.accepts_from_us) for p in by_start] == [(p.replica, p.healthy_us) for p in story], said
    for process, plain, twin, first in zip(by_start, story, expected, firsts, strict=True):
        exited = twin.exited_us >= 0
        end = "exited" if exited else plain.end
        assert (process.life.end, process.life.end_us) == (end, twin.end_us + 1), said
        own = [h for who, h in happened if who is process]
        model, theirs = facts_of_model(process.server, own, twin.end_us - exited), facts_of_twin(twin.result())
        for stream in STREAMS:
            rows = theirs[stream]["attempts"]  # type: ignore[index]
            theirs[stream]["attempts"] = [(*row[:-1], row[-1] + first[stream]) for row in rows]  # type: ignore[index]
        differs = [(name, model[name], theirs[name]) for name in theirs if model[name] != theirs[name]]
        assert not differs, f"{differs[:1]}\n{said}"
        visits = sorted((v.part, v.number, v.start_us, v.end_us, int(v.ok), v.rows, int(v.cached), v.calls, v.updated)
                        for v in twin.visitors.visits)  # fmt: skip
        assert visits_of_model(own) == visits, said
        assert process.server.pool.refusals == twin.pool.refusals, said
        if process.life.end != "run":
            lost = {stream: _held(twin, stream) for stream in STREAMS}
            assert process.lost == lost, said
            seen[f"lost by {end}"] += sum(lost.values()) > 0
        seen[end] += 1
        seen["exited before the kill"] += exited and plain.killed_us is not None and twin.end_us + 1 < plain.killed_us
        seen["batch out at exit"] += exited and any(writer.batch for writer in twin.writers.values())
    many = case.scenario.server.process.replicas
    for stream in STREAMS:
        nobody = [
            at_us
            for i, at_us in enumerate(case.arrivals.get(stream, []))
            if not any(p.replica == i % many and p.healthy_us <= at_us < p.unserved_us for p in story)
        ]
        assert refused[stream] == len(nobody), said
    seen["refused"] += sum(refused.values()) > 0
    seen["replicas"] += many > 1


@pytest.mark.parametrize("numbers", [range(100), range(100, 200), range(200, 300)])
def test_every_process_of_a_deployed_server_agrees_with_its_twin(
    numbers: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: Counter[str] = Counter()
    for number in numbers:
        check(number, monkeypatch, seen)
    least = {"exited": 20, "killed": 10, "crash": 5, "exited before the kill": 10, "batch out at exit": 1,
             "lost by exited": 2, "refused": 3, "replicas": 20}  # fmt: skip
    assert all(seen[name] >= many for name, many in least.items()), seen

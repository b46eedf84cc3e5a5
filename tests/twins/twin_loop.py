"""The plain twin of the event loop: one event for every arrival, start and end of a job; no arrays.

It plays the twin's writers and pool behind a single thread, and clients that send again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from capsim.memory.pauses import Pauses
from capsim.scenario.scenario import Scenario
from capsim.scenario.server import HttpSpec
from capsim.scenario.workload import STREAMS
from twin import DurationUs, Grant, Pool, TwinResult, _result, rules_of
from twin_writer import ARRIVALS, CONNECTIONS, SHUTDOWN, Clock, Writer

THREAD = CONNECTIONS + 1  # what starts next is decided when everything else of the instant has happened
PATIENCE = ARRIVALS + 0.5  # an answer in the very instant is in time
CLASSES = (*STREAMS, "other")


@dataclass
class Job:
    """Something that needs the thread; `kind` is a class of requests, "flush" or "job"."""

    at_us: int
    kind: str
    cpu_us: int
    session: int | None = None
    tries: int = 0
    done_us: int = -1
    late: bool = False
    given_up: bool = False


@dataclass
class Thread:
    """One job after the other, in order of arrival; of one instant, requests by class and then the rest."""

    clock: Clock
    spec: HttpSpec
    writers: Mapping[str, Writer]
    pauses: Pauses
    waiting: list[Job] = field(default_factory=list)
    arrived: list[Job] = field(default_factory=list)  # in this instant
    busy: bool = False
    requests: int = 0
    jobs: list[Job] = field(default_factory=list)

    def add(self, job: Job) -> None:
        self.arrived.append(job)
        self.clock.at(self.clock.now_us, THREAD, self.settle)

    def settle(self) -> None:
        order = {**{name: place for place, name in enumerate(CLASSES)}, "job": 4, "flush": 6}
        for job in sorted(self.arrived, key=lambda job: 5 if job.tries else order[job.kind]):
            if job.kind in CLASSES:
                self.requests += 1
                if self.requests % self.pauses.scavenge_every == 0:
                    job.cpu_us += self.pauses.scavenge_us
                if self.requests % self.pauses.full_every == 0:
                    job.cpu_us += self.pauses.full_us
            self.waiting.append(job)
            self.jobs.append(job)
        self.arrived = []
        if not self.busy and self.waiting:
            self.busy = True
            job = self.waiting.pop(0)
            self.clock.at(self.clock.now_us + job.cpu_us, ARRIVALS, lambda: self.end(job))

    def end(self, job: Job) -> None:
        self.busy = False
        job.done_us = self.clock.now_us
        if job.kind in self.writers:
            self.writers[job.kind].arrive(job.session)
        self.clock.at(self.clock.now_us, THREAD, self.settle)

    def request(self, kind: str, session: int | None, tries: int = 0) -> None:
        cpu_us = round(getattr(self.spec, f"{kind}_cpu_ms") * 1000)
        job = Job(self.clock.now_us, kind, cpu_us, session, tries)
        self.add(job)
        clients = self.spec.clients
        if clients is not None:
            timeout_us = round(clients.timeout_s * 1e6)
            self.clock.at(job.at_us + timeout_us, PATIENCE, lambda: self.lose_patience(job))

    def lose_patience(self, job: Job) -> None:
        clients = self.spec.clients
        if clients is None or job.done_us != -1:
            return
        job.late, job.given_up = True, job.tries >= clients.retries
        if not job.given_up:
            pause_us = round(clients.backoff_s * 1e6) * 2**job.tries
            again_us = job.at_us + round(clients.timeout_s * 1e6) + pause_us
            self.clock.at(again_us, PATIENCE, lambda: self.request(job.kind, job.session, job.tries + 1))


def simulate(
    scenario: Scenario,
    arrivals: Mapping[str, Sequence[int]],
    heartbeat_sessions: Sequence[int] | None,
    other_jobs: Sequence[tuple[int, int]],
    end_us: int,
    duration_us: DurationUs,
    pauses: Pauses,
    shutdown_us: int | None = None,
) -> tuple[TwinResult, list[Job]]:
    """As `twin.simulate`, with requests (class "other" among `arrivals`) and further jobs (start, CPU) on a thread."""
    clock = Clock()
    pool = Pool(clock, scenario, duration_us)
    writers: dict[str, Writer] = {}
    thread = Thread(clock, scenario.server.http, writers, pauses)
    for stream in STREAMS:
        writers[stream] = Building(stream, rules_of(scenario, stream), clock, pool, thread=thread)
    for kind in CLASSES:
        for i, at_us in enumerate(arrivals.get(kind, ())):
            session = heartbeat_sessions[i] if heartbeat_sessions and kind == "heartbeats" else None
            clock.at(at_us, ARRIVALS, lambda kind=kind, session=session: thread.request(kind, session))
    for at_us, cpu_us in other_jobs:
        clock.at(at_us, ARRIVALS, lambda at_us=at_us, cpu_us=cpu_us: thread.add(Job(at_us, "job", cpu_us)))
    if shutdown_us is not None:
        for writer in writers.values():
            clock.at(shutdown_us, SHUTDOWN, writer.shutdown)

    def look() -> None:
        for writer in writers.values():
            writer.note_stuck()

    clock.run(end_us, look)
    grants: list[Grant] = sorted(pool.grants, key=lambda grant: (grant.asked_us, STREAMS.index(grant.part)))
    return TwinResult({stream: _result(writer) for stream, writer in writers.items()}, grants), thread.jobs


@dataclass
class Building(Writer):
    """A writer that needs the thread to build what it writes."""

    thread: Thread | None = None

    def start_attempt(self, number: int, first_item: int, accepted_to: int, next_item: int) -> None:
        if number == 1:
            assert self.thread is not None
            row_ms = self.thread.spec.row_cpu_ms
            cpu_us = round(len(self.batch) * row_ms * 1000)
            self.thread.add(Job(self.clock.now_us, "flush", cpu_us))
        super().start_attempt(number, first_item, accepted_to, next_item)

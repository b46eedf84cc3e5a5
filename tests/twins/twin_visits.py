"""The plain twin of what visits the database beside the writers: cleanup, analytics reads, metrics calls.

One event for everything that happens, dictionaries of sessions and cached responses; nothing of `capsim.engine` but
the draws (how many rows a read finds), which are data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from capsim.memory.pauses import Pauses
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from twin import DurationUs, Pool, TwinResult, _result, rules_of
from twin_loop import CLASSES, Building, Job, Thread
from twin_writer import ARRIVALS, SHUTDOWN, Attempt, Clock

NEVER_US = 1 << 62


@dataclass
class Session:
    """One player's session in the database."""

    start_us: int
    leaves_us: int  # when it says that it ends; NEVER_US if it just goes
    last_us: int = 0
    closed: bool = False


@dataclass
class Beating(Building):
    """A heartbeat writer whose flushes, when they are over, move the last heartbeats of sessions."""

    sessions: dict[int, Session] = field(default_factory=dict)
    came: list[tuple[int, int]] = field(default_factory=list)  # by number: session, arrival of its request

    def end_attempt(self, attempt: Attempt, ok: bool, counted: int) -> None:
        if ok:
            for number in range(attempt.first_item, attempt.accepted_to):
                if number - attempt.first_item in self.missed:
                    continue
                session, at_us = self.came[number]
                if session in self.sessions:
                    found = self.sessions[session]
                    found.last_us = max(found.last_us, at_us)
        super().end_attempt(attempt, ok, counted)


@dataclass
class Telling(Thread):
    """A thread that notes whose heartbeat it hands over."""

    def end(self, job: Job) -> None:
        if job.kind == "heartbeats":
            writer = self.writers["heartbeats"]
            assert isinstance(writer, Beating) and job.session is not None
            writer.came.append((job.session, job.at_us))
        super().end(job)


@dataclass
class Visit:
    """What came of a visit, in the order of the model's columns."""

    part: str
    number: int
    start_us: int
    end_us: int = -1
    ok: bool = False
    rows: int = 0
    cached: bool = False
    calls: int = 0
    updated: int = 0


class Visitors:
    """The parts, each a few callbacks."""

    def __init__(
        self,
        scenario: Scenario,
        clock: Clock,
        pool: Pool,
        thread: Thread,
        sessions: dict[int, Session],
        begins_us: int,
        end_us: int,
    ) -> None:
        self.scenario, self.clock, self.pool, self.thread, self.sessions = scenario, clock, pool, thread, sessions
        self.end_us = end_us
        self.visits: list[Visit] = []
        self.due: list[tuple[int, int]] = []
        self.cleaning = False
        self.kept: list[tuple[int, int, int]] = []  # query, expiry, rows; the oldest first
        spec = scenario.server
        for name, part, action in (("cleanup", spec.cleanup, self.clean), ("metrics", spec.metrics, self.measure)):
            if part is not None:
                every_us = round((part.interval_s if name == "cleanup" else part.every_s) * 1e6)
                for turn in range(1, max(end_us - begins_us, 0) // every_us + 1):
                    clock.at(begins_us + turn * every_us, ARRIVALS, lambda action=action, turn=turn: action(turn))

    def call(self, visit: Visit, kind: str, item: int, rows: int, done: Callable[[str], None]) -> None:
        visit.calls += 1
        self.pool.call(visit.part, kind, 1, item, rows, done)  # type: ignore[arg-type]

    def work(self, cpu_ms: float) -> None:
        self.thread.add(Job(self.clock.now_us, "flush", round(cpu_ms * 1000)))

    def over(self, visit: Visit, ok: bool, rows: int = 0, cached: bool = False) -> None:
        visit.end_us, visit.ok, visit.rows, visit.cached = self.clock.now_us, ok, rows, cached
        self.visits.append(visit)

    def measure(self, turn: int) -> None:
        visit = Visit("metrics", turn, self.clock.now_us)

        def counted(outcome: str) -> None:
            self.work(self.scenario.server.metrics.cpu_ms)  # type: ignore[union-attr]
            self.over(visit, outcome == "ok", 1)

        self.call(visit, "query", turn, 1, counted)

    def clean(self, turn: int) -> None:
        if self.cleaning:
            return
        self.cleaning = True
        spec = self.scenario.server.cleanup
        assert spec is not None
        now_us, timeout_us = self.clock.now_us, round(spec.timeout_s * 1e6)
        silent = sorted(
            (session.last_us, number)
            for number, session in self.sessions.items()
            if not session.closed
            and session.start_us <= now_us < session.leaves_us
            and session.last_us < now_us - timeout_us
        )
        self.due.append((now_us, len(silent)))
        found = [number for _, number in silent]
        if spec.limit_rows != "none":
            found = found[: spec.limit_rows]
        visit = Visit("cleanup", turn, now_us)
        groups = [found] if spec.one_statement and found else [[number] for number in found]

        def loaded(outcome: str) -> None:
            if outcome != "ok":
                self.over(visit, False)
                self.cleaning = False
                return
            self.work(len(found) * spec.row_cpu_ms)
            update(0)

        def update(place: int) -> None:
            if place == len(groups):
                self.over(visit, True, len(found))
                self.cleaning = False
                return

            def updated(outcome: str) -> None:
                if outcome == "ok":
                    for number in groups[place]:
                        session = self.sessions[number]
                        visit.updated += not session.closed and session.leaves_us > self.clock.now_us
                        session.closed = True
                update(place + 1)

            self.call(visit, "update", groups[place][0], len(groups[place]), updated)

        self.call(visit, "query", turn, len(found), loaded)

    def read(self, number: int, query: int, finds: int) -> None:
        spec, cache = self.scenario.server.queries, self.scenario.server.cache
        visit = Visit("queries", number, self.clock.now_us)

        def packing_ms(rows: int) -> float:
            size = round(rows * spec.row_json_bytes)
            return size / 2**20 * spec.compression_cpu_ms_per_mib if spec.compression else 0.0

        if cache is not None:
            for kept, expiry_us, rows in self.kept:
                if kept == query and self.clock.now_us < expiry_us:
                    whole = round((rows * spec.row_cpu_ms + packing_ms(rows)) * 1000)
                    self.work((round(spec.cpu_ms * 1000) + whole - round(rows * spec.row_cpu_ms * 1000)) / 1000)
                    self.over(visit, True, rows, cached=True)
                    return
        rows = finds if spec.take_rows == "none" else min(finds, spec.take_rows)

        def loaded(outcome: str) -> None:
            if outcome != "ok":
                self.work(spec.cpu_ms)
                self.over(visit, False)
                return
            if cache is not None:
                now_us = self.clock.now_us
                self.kept = [entry for entry in self.kept if entry[1] > now_us and entry[0] != query]
                self.kept.append((query, now_us + round(cache.ttl_s * 1e6), rows))
                while cache.entries_max != "none" and len(self.kept) > cache.entries_max:
                    self.kept.pop(0)
            whole = round((rows * spec.row_cpu_ms + packing_ms(rows)) * 1000)
            self.work((round(spec.cpu_ms * 1000) + whole) / 1000)
            self.over(visit, True, rows)

        self.call(visit, "query", number, rows, loaded)


def simulate(
    scenario: Scenario,
    arrivals: Mapping[str, Sequence[int]],
    heartbeat_sessions: Sequence[int],
    sessions: dict[int, Session],
    reads: Sequence[tuple[int, int, int]],
    end_us: int,
    duration_us: DurationUs,
    pauses: Pauses,
    shutdown_us: int | None = None,
) -> tuple[TwinResult, list[Job], Visitors]:
    """As `twin_loop.simulate`, with sessions by number, and reads as (arrival, query, rows that it finds)."""
    one = Replica(scenario, arrivals, heartbeat_sessions, sessions, reads, end_us, duration_us, pauses)
    if shutdown_us is not None:
        one.shut_down(shutdown_us)
    one.clock.run(end_us, one.look)
    return one.result(), one.thread.jobs, one.visitors


class Replica:
    """One process of the server: its clock, pool, thread, writers and visitors."""

    def __init__(
        self,
        scenario: Scenario,
        arrivals: Mapping[str, Sequence[int]],
        heartbeat_sessions: Sequence[int],
        sessions: dict[int, Session],
        reads: Sequence[tuple[int, int, int]],
        end_us: int,
        duration_us: DurationUs,
        pauses: Pauses,
        others: Callable[[], int] = lambda: 0,
        begins_us: int = 0,
        first_read: int = 0,
    ) -> None:
        self.end_us = end_us
        self.exited_us = -1
        clock = self.clock = Clock()
        self.pool = Pool(clock, scenario, duration_us, others)
        self.writers: dict[str, Building] = {}
        thread = self.thread = Telling(clock, scenario.server.http, self.writers, pauses)
        for stream in STREAMS:
            rules = rules_of(scenario, stream)
            if stream == "heartbeats":
                self.writers[stream] = Beating(stream, rules, clock, self.pool, thread=thread, sessions=sessions)
            else:
                self.writers[stream] = Building(stream, rules, clock, self.pool, thread=thread)
        for session in sessions.values():
            session.last_us = session.start_us
        visitors = self.visitors = Visitors(scenario, clock, self.pool, thread, sessions, begins_us, end_us)
        for kind in CLASSES:
            for i, at_us in enumerate(arrivals.get(kind, ())):
                session_of = heartbeat_sessions[i] if kind == "heartbeats" else None
                clock.at(at_us, ARRIVALS, lambda kind=kind, session=session_of: thread.request(kind, session))
        for number, (at_us, query, rows) in enumerate(reads, first_read):
            clock.at(at_us, ARRIVALS, lambda number=number, query=query, rows=rows: visitors.read(number, query, rows))

    def shut_down(self, when_us: int, *, exits: bool = False) -> None:
        """Call every writer's shutdown; a process that exits does nothing from where the last of them has resolved."""
        left = set(self.writers)

        def resolved(stream: str) -> None:
            left.discard(stream)
            if not left:
                self.exited_us = self.end_us = self.clock.now_us
                self.clock.stopped = True

        for stream, writer in self.writers.items():
            if exits:
                writer.resolved = lambda stream=stream: resolved(stream)
            self.clock.at(when_us, SHUTDOWN, writer.shutdown)

    def look(self) -> None:
        for writer in self.writers.values():
            writer.note_stuck()

    def result(self) -> TwinResult:
        grants = sorted(self.pool.grants, key=lambda grant: grant.asked_us)
        return TwinResult({s: _result(writer) for s, writer in self.writers.items()}, grants)


def run_together(replicas: Sequence[Replica]) -> None:
    """Play all to their ends, instant by instant; of one instant, in their order."""
    while True:
        coming = [(when_us, place) for place, replica in enumerate(replicas)
                  if (when_us := replica.clock.next_us()) is not None and when_us <= replica.end_us]  # fmt: skip
        if not coming:
            break
        when_us, place = min(coming)
        replicas[place].clock.run(when_us, replicas[place].look)

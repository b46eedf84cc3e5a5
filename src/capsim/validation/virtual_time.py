"""The reference in virtual time with all its parts, on the model's call durations: what the model is compared with.

Only what both sides are given is shared: arrivals, sessions, reads and the rows they find, and how long each call
takes, drawn by its address. Which sessions are silent, what is cached and who waits for whom is the reference's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from capsim.base.units import us_from_ms, us_from_s
from capsim.engine.database import Kind, LatencyDatabase
from capsim.engine.database import Statement as ModelStatement
from capsim.scenario.scenario import Scenario
from capsim.validation.reference.clock import Phase, at_every
from capsim.validation.reference.database import Answer, CallFailed, Statement
from capsim.validation.reference.log import Log
from capsim.validation.reference.observer import Tried
from capsim.validation.reference.recorder import Recorder
from capsim.validation.reference.replay import Replay
from capsim.validation.reference.rows import Heartbeat
from capsim.validation.reference.service import Service
from capsim.validation.reference.timed import Outcome, TimedDatabase
from capsim.validation.reference.timed_redis import TimedRedis
from capsim.validation.reference.virtual import VirtualLoop

KINDS: Mapping[str, Kind] = {
    "insert_events": "insert",
    "insert_revenue": "insert",
    "touch_session": "update",
    "touch_sessions": "update",
    "end_session": "update",
    "stale_sessions": "query",
    "analytics": "query",
    "connections": "query",
}
NEVER_US = 1 << 62


class Read(NamedTuple):
    """An analytics read: when it comes, which query it asks, and how many rows that finds."""

    at_us: int
    query: int
    rows: int


@dataclass
class ReferenceInputs:
    """What both sides are given."""

    scenario: Scenario
    times: Mapping[str, Sequence[int]]  # arrivals by stream, and of "other" requests [us]
    heartbeat_sessions: Sequence[int]
    end_us: int
    sessions: Mapping[int, tuple[int, int]] = field(default_factory=dict)  # start and end, NEVER_US if never said [us]
    reads: Sequence[Read] = ()
    shutdown_us: int | None = None


class SessionTable(Recorder):
    """The sessions that a database would hold, by the two rules of the model that are coarser than a real one's.

    A flush of heartbeats shows when it is over and has succeeded, as a whole (those of the earlier writer are single
    statements, which a real database shows one by one). And the cleanup finds what there was when its turn came (a real
    one, when its query has a connection).
    """

    def __init__(self, inputs: ReferenceInputs) -> None:
        super().__init__()
        self._inputs = inputs
        self._open = dict(inputs.sessions)
        self._last_us = {number: start_us for number, (start_us, _) in inputs.sessions.items()}
        self._coming: list[tuple[int, int, int]] = []  # shown from, session, arrival [us]
        self._touched: set[int] = set()  # heartbeats whose own statement went well
        self._found: dict[int, list[int]] = {}  # by turn

    def called(self, statement: Statement, *args: Any) -> None:
        """A statement has run."""
        super().called(statement, *args)
        if statement.operation == "touch_session" and args[-1]:
            self._touched.add(statement.item)

    def attempted(self, tried: Tried) -> None:
        """An attempt is over: its heartbeats show."""
        super().attempted(tried)
        if tried.writer != "heartbeats" or not tried.ok:
            return
        single = self._inputs.scenario.server.writers.heartbeats.semantics == "seed"
        times_us = self._inputs.times["heartbeats"]
        for number in range(tried.first_item, tried.accepted_to):
            if number in self._touched or not single:
                session = self._inputs.heartbeat_sessions[number]
                self._coming.append((tried.end_us, session, times_us[number]))

    def silent(self, turn: int, most: int | None) -> list[int]:
        """The sessions that the cleanup of a turn finds, the longest silent first."""
        if turn not in self._found:
            spec = self._inputs.scenario.server.cleanup
            assert spec is not None
            now_us = turn * us_from_s(spec.interval_s)
            for shown_us, session, at_us in self._coming:
                if shown_us <= now_us and session in self._last_us:
                    self._last_us[session] = max(self._last_us[session], at_us)
            self._coming = [entry for entry in self._coming if entry[0] > now_us]
            before_us = now_us - us_from_s(spec.timeout_s)
            found = sorted(
                (self._last_us[number], number)
                for number, (start_us, leaves_us) in self._open.items()
                if start_us <= now_us < leaves_us and self._last_us[number] < before_us
            )
            self._found[turn] = [number for _, number in found][:most]
        return self._found[turn]

    def close(self, ended: Sequence[Heartbeat], now_us: int) -> int:
        """Close sessions; how many had not ended by themselves."""
        gone = [self._open.pop(int(heartbeat.session_id), (0, 0)) for heartbeat in ended]
        return sum(leaves_us > now_us for _, leaves_us in gone)

    def last_ms(self, number: int) -> int:
        """Last heartbeat of a session [ms]."""
        return self._last_us[number] // 1_000


class _Calls:
    """How long each call of the reference lasts, by the model's draws, and what the database answers."""

    def __init__(self, inputs: ReferenceInputs, draws: LatencyDatabase, table: SessionTable, loop: VirtualLoop) -> None:
        self._inputs, self._draws, self._table = inputs, draws, table
        self.service: Service | None = None  # begins with the loop
        spec = inputs.scenario.database
        downs = [(us_from_s(f.from_s), us_from_s(f.to_s)) for f in spec.faults if f.kind == "down"]
        self.database = TimedDatabase(
            loop,
            self._lasts,
            us_from_ms(spec.connect_ms),
            refused_us=us_from_ms(spec.refused_ms),
            answers=self._answer,
            most=spec.clients_max,
            downs_us=sorted(downs),
        )

    def _rows(self, statement: Statement) -> int:
        if statement.operation == "stale_sessions":
            return len(self._table.silent(statement.item, statement.values[1]))
        if statement.operation == "analytics":
            rows, take = self._inputs.reads[statement.item].rows, statement.values[1]
            return rows if take is None else min(rows, int(take))
        return 1 if statement.operation == "connections" else len(statement.values)

    def _lasts(self, statement: Statement, start_us: int) -> tuple[int, Outcome]:
        assert self.service is not None
        spec, item = self._inputs.scenario.database, statement.item
        if statement.operation == "end_session":
            item = int(statement.values[0].session_id)
        asked = ModelStatement(KINDS[statement.operation], item, self._rows(statement))
        # Of the calls that hold a place some may just be turned away: no more run than the database lets in.
        calls = min(self.service.pool.held - self.database.refusing, spec.clients_max)
        crowding = max(1.0, calls / spec.parallel_calls)
        outcome = self._draws.run(statement.part, statement.attempt, asked, start_us, crowding)
        return outcome.duration_us, outcome.result

    def _answer(self, statement: Statement, end_us: int) -> Answer:
        if statement.operation == "stale_sessions":
            found = self._table.silent(statement.item, statement.values[1])
            return Answer(rows=[{"id": str(n), "last_heartbeat_ms": self._table.last_ms(n)} for n in found])
        if statement.operation == "end_session":
            return Answer(changed=self._table.close(statement.values, end_us))
        if statement.operation == "analytics":
            return Answer(rows=[{}] * self._rows(statement))
        return Answer(changed=len(statement.values))


def run_reference(
    inputs: ReferenceInputs,
    draws: LatencyDatabase,
    *,
    begun: Callable[[VirtualLoop, Service], object] = lambda loop, service: None,
) -> tuple[Service, SessionTable]:
    """Run the reference to the end; the server as it is then, and what happened.

    Parameters
    ----------
    inputs : ReferenceInputs
        What it is given.
    draws : LatencyDatabase
        The model's, by address: only the rules are compared, not the arithmetic of a latency.
    begun : callable, optional
        Called with loop and server when the server has begun.
    """
    scenario = inputs.scenario
    table = SessionTable(inputs)
    running: list[Service] = []
    keep: set[object] = set()  # tasks, which the loop holds weakly
    loop = VirtualLoop(after_instant=lambda now_us: table.note_stuck(running[0].ingestion.writers, now_us))
    calls = _Calls(inputs, draws, table, loop)

    def begin() -> None:
        redis, database = TimedRedis(loop, scenario.redis.faults), calls.database
        service = Service(
            scenario.server, database, Log(), redis.of, table, clock=loop, now_ms=lambda: loop.now_us() / 1_000
        )
        calls.service = service
        running.append(service)
        _schedule(loop, service, inputs, keep)
        begun(loop, service)

    loop.at(0, Phase.TIMERS, begin)
    loop.run_to(inputs.end_us)
    loop.close()
    return running[0], table


def _schedule(loop: VirtualLoop, service: Service, inputs: ReferenceInputs, keep: set[object]) -> None:
    """Arrivals, reads, calls of the metrics and the shutdown, each at its instant."""
    for stream, writer in service.ingestion.writers.items():

        def offer(i: int, stream: str = stream, take: Callable[[Any], object] = writer.offer) -> None:
            service.requested(stream)
            session = inputs.heartbeat_sessions[i] if stream == "heartbeats" else i
            take(Heartbeat(str(session), i))

        Replay(loop, inputs.times[stream], offer)
    Replay(loop, inputs.times.get("other", ()), lambda _: service.requested("other"))
    for read in inputs.reads:
        loop.at(read.at_us, Phase.VISITS, lambda read=read: keep.add(loop.create_task(_read(service, read))))  # type: ignore[misc]
    metrics = inputs.scenario.server.metrics
    if service.metrics is not None and metrics is not None:
        every_us, ask = us_from_s(metrics.every_s), service.metrics.connections
        keep.add(loop.create_task(at_every(loop, every_us, lambda _: keep.add(loop.create_task(ask())))))
    if inputs.shutdown_us is not None:
        end = service.ingestion.shutdown
        loop.at(inputs.shutdown_us, Phase.SHUTDOWN, lambda: keep.add(loop.create_task(end())))


async def _read(service: Service, read: Read) -> None:
    with suppress(CallFailed):
        await service.analytics.events(str(read.query))

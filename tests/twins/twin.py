"""The plain twin: the writers, the pool and the database a second time, one event per arrival.

Written from the rules alone, and as slow and obvious as they are: one heap of (time, phase, order), one entry
per arrival, no arrays and no look-ahead. `play_case` plays a recorded case of the production writers;
`simulate` plays a scenario of three writers on one pool. The model in `capsim.engine` has to agree with both
to the last item.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from twin_cases import play_case
from twin_writer import (
    ARRIVALS,
    CALL_ENDS,
    CONNECTIONS,
    SHUTDOWN,
    TIMERS,
    Attempt,
    Clock,
    Done,
    Kind,
    Rules,
    Writer,
)

__all__ = ["Attempt", "Grant", "TwinResult", "WriterResult", "play_case", "simulate"]

DurationUs = Callable[[str, str, int, int, int, int, float], tuple[int, bool]]
PARTS = (*STREAMS, "cleanup", "queries", "metrics")  # who is served first of those who ask in one instant


@dataclass
class Grant:
    """One call's way through the pool; -1 for what has not happened."""

    part: str
    asked_us: int
    granted_us: int = -1  # still -1 at the end: it gave up, or waits
    released_us: int = -1
    opens: bool = False  # a connection has to be opened for it
    refused: bool = False  # and Postgres has no room for that


class Pool:
    """The connections that the writers share, and the database behind them."""

    def __init__(
        self, clock: Clock, scenario: Scenario, duration_us: DurationUs, others: Callable[[], int] = lambda: 0
    ) -> None:
        pool = scenario.server.pool
        self._clock, self._duration_us = clock, duration_us
        self._limit = scenario.server.pool_limit
        self._timeout_us = round(pool.pool_timeout_s * 1_000_000)
        self._connect_us = round(scenario.database.connect_ms * 1000)
        self._connect_timeout_us = round(pool.connect_timeout_s * 1_000_000)
        self._held = self._idle = self._given_back = 0
        self._asked: list[tuple[Grant, Callable[[], None]]] = []  # in this instant
        self._waiting: list[tuple[Grant, Callable[[], None]]] = []  # since earlier ones, in order
        self._settling = False
        database = scenario.database
        self._parallel = database.parallel_calls
        self._others = others  # connections that other processes hold open
        self._open = self._broken = 0
        self._room = database.max_connections - 3
        self._refused_us = round(database.refused_ms * 1000)
        self._downs = [(round(f.from_s * 1e6), round(f.to_s * 1e6)) for f in database.faults if f.kind == "down"]
        for from_us, _ in self._downs:
            clock.at(from_us, TIMERS, self._break_all)
        self.refusals = 0
        self.grants: list[Grant] = []

    @property
    def open(self) -> int:
        """Connections to Postgres."""
        return self._open

    def call(self, part: str, kind: Kind, attempt: int, item: int, rows: int, done: Done) -> None:
        grant = Grant(part, self._clock.now_us)
        self.grants.append(grant)
        self._asked.append((grant, lambda: self._connect(grant, kind, attempt, item, rows, done)))
        self._clock.at(self._clock.now_us + self._timeout_us, TIMERS, lambda: self._give_up(grant, done))
        self._settle_later()

    def _settle_later(self) -> None:
        if not self._settling:
            self._settling = True
            self._clock.at(self._clock.now_us, CONNECTIONS, self._settle)

    def _settle(self) -> None:
        self._settling = False
        self._held -= self._given_back
        self._given_back = 0
        self._waiting += sorted(self._asked, key=lambda asked: PARTS.index(asked[0].part))
        self._asked = []
        granted = []
        while self._waiting and self._held < self._limit:
            grant, go_on = self._waiting.pop(0)
            grant.granted_us = self._clock.now_us
            self._held += 1
            grant.opens = not self._idle
            grant.refused = grant.opens and self._open + self._others() >= self._room
            self._idle -= not grant.opens
            self._open += grant.opens and not grant.refused
            granted.append(go_on)
        for go_on in granted:  # what starts now is slowed down by all that starts now
            go_on()

    def _give_up(self, grant: Grant, done: Done) -> None:
        if grant.granted_us == -1:
            self._waiting = [waiting for waiting in self._waiting if waiting[0] is not grant]
            done("fail")

    def _connect(self, grant: Grant, kind: Kind, attempt: int, item: int, rows: int, done: Done) -> None:
        def run() -> None:
            crowding = max(1.0, (self._open - self._idle) / self._parallel)  # those refused are not open
            duration_us, ok = self._duration_us(kind, grant.part, attempt, item, rows, self._clock.now_us, crowding)
            self._clock.at(self._clock.now_us + duration_us, CALL_ENDS, lambda: release("ok" if ok else "fail"))

        def release(outcome: str, is_open: bool = True) -> None:
            grant.released_us = self._clock.now_us
            self._given_back += 1
            if self._broken:
                self._broken -= 1
                is_open = False
            self._idle += is_open
            self._open -= not is_open and not grant.refused
            self._settle_later()
            done(outcome)

        if not grant.opens:
            run()
            return
        now_us = self._clock.now_us
        most_us = min(self._connect_timeout_us, grant.asked_us + self._timeout_us - now_us)
        if grant.refused or any(from_us <= now_us < to_us for from_us, to_us in self._downs):
            self._open -= not grant.refused
            grant.refused = True
            self.refusals += 1
            wait_us = min(self._refused_us, most_us)
            self._clock.at(now_us + wait_us, CALL_ENDS, lambda: release("fail", is_open=False))
        elif self._connect_us > most_us:
            self._clock.at(now_us + most_us, CALL_ENDS, lambda: release("fail", is_open=False))
        elif self._connect_us == 0:
            run()
        else:
            self._clock.at(self._clock.now_us + self._connect_us, CALL_ENDS, run)

    def _break_all(self) -> None:
        self._broken = self._open - self._idle
        self._open -= self._idle
        self._idle = 0


@dataclass(frozen=True)
class WriterResult:
    """What one writer did, and what it holds at the end."""

    attempts: list[Attempt]
    arrived: int
    written: int
    dropped_cap: int
    dropped_failed: int
    failed_batches: int
    rejected: int
    replaced: int
    buffered: int
    in_flight: int
    stuck: list[tuple[int, int]]
    immediates: int
    resolved_us: int  # -1: no shutdown, or it has not resolved


@dataclass(frozen=True)
class TwinResult:
    """Three writers by name, and every call's way through the pool in order of asking."""

    writers: dict[str, WriterResult]
    grants: list[Grant]


def simulate(
    scenario: Scenario,
    arrivals: Mapping[str, Sequence[int]],
    heartbeat_sessions: Sequence[int] | None,
    end_us: int,
    duration_us: DurationUs,
    shutdown_us: int | None = None,
) -> TwinResult:
    """Play a scenario's writers on their pool up to `end_us` inclusive.

    `arrivals` are sorted times [us] by stream; `heartbeat_sessions` names the session of each heartbeat
    (without it each has its own). ``duration_us(kind, stream, attempt, item, rows, start_us)`` tells how long
    the database takes over a call that has its connection [us, at least 1], and whether the call succeeds.
    """
    clock = Clock()
    pool = Pool(clock, scenario, duration_us)
    writers: dict[str, Writer] = {}
    for stream in STREAMS:
        writers[stream] = Writer(stream, rules_of(scenario, stream), clock, pool)
    for stream, writer in writers.items():
        for i, at_us in enumerate(arrivals.get(stream, ())):
            session = heartbeat_sessions[i] if heartbeat_sessions and stream == "heartbeats" else None
            clock.at(
                at_us, ARRIVALS,
                lambda writer=writer, session=session: writer.arrive(session),  # type: ignore[misc]
            )  # fmt: skip
        if shutdown_us is not None:
            clock.at(shutdown_us, SHUTDOWN, writer.shutdown)

    def look() -> None:
        for writer in writers.values():
            writer.note_stuck()

    clock.run(end_us, look)
    grants = sorted(pool.grants, key=lambda grant: (grant.asked_us, STREAMS.index(grant.part)))
    return TwinResult({stream: _result(writer) for stream, writer in writers.items()}, grants)


def rules_of(scenario: Scenario, stream: str) -> Rules:
    """What a writer is told before the run."""
    spec = getattr(scenario.server.writers, stream)
    return Rules(
        stream == "heartbeats",
        spec.semantics == "fixed",
        spec.batch_rows,
        spec.delay_ms * 1000,
        None if spec.buffer_cap_rows == "none" else spec.buffer_cap_rows,
        recommended=spec.semantics == "recommended",
        retry_for_us=spec.retry_for_ms * 1000,
    )


def _result(writer: Writer) -> WriterResult:
    return WriterResult(
        attempts=writer.attempts,
        arrived=writer.arrived,
        written=writer.flushed,
        dropped_cap=writer.dropped_cap,
        dropped_failed=writer.dropped_failed,
        failed_batches=writer.failed,
        rejected=writer.rejected,
        replaced=writer.replaced,
        buffered=len(writer.buffer),
        in_flight=len(writer.batch) - writer.written if writer.batch else 0,
        stuck=writer.stuck,
        immediates=writer.requests,
        resolved_us=-1 if writer.stop is None else writer.stop.resolve_us,
    )

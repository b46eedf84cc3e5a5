"""Recorded cases played by the reference: its own coroutines, in virtual time, with a scripted database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from capsim.base.units import US_PER_MS, US_PER_S
from capsim.scenario.workload import Stream
from capsim.validation.oracle import Case
from capsim.validation.reference.attempts import CHUNK_ROWS, Attempt, Call
from capsim.validation.reference.clock import Phase
from capsim.validation.reference.database import Statement
from capsim.validation.reference.log import Log
from capsim.validation.reference.observer import Tried, Watch
from capsim.validation.reference.pool import Pool
from capsim.validation.reference.timed import Outcome, TimedDatabase
from capsim.validation.reference.virtual import VirtualLoop
from capsim.validation.reference.writer import BatchWriter, Rules

STREAM: dict[str, Stream] = {"event": "events", "revenue": "revenue", "heartbeat": "heartbeats"}
OUTCOME: dict[str, Outcome] = {"ok": "ok", "fail": "fail", "notfound": "missing"}


class _Script:
    """Answers calls from the script, numbering them over the whole case."""

    def __init__(self, case: Case, loop: VirtualLoop) -> None:
        self._case, self._loop = case, loop
        self.calls = self.rows_inserted = 0

    def lasts(self, statement: Statement, start_us: int) -> tuple[int, Outcome]:
        """Duration [us] and outcome of the next call."""
        duration_ms, outcome = self._case.db.answer(self.calls, start_us // US_PER_MS)
        self.calls += 1
        if outcome == "ok" and statement.operation.startswith("insert"):
            rows = len(statement.values)
            self._loop.at(start_us + duration_ms * US_PER_MS, Phase.COMPLETIONS, lambda: self._inserted(rows))
        return duration_ms * US_PER_MS, OUTCOME[outcome]

    def _inserted(self, rows: int) -> None:
        self.rows_inserted += rows


def _reconciled(closed_sessions: int, too_late: bool) -> Attempt:
    """Insert, then ask for sessions that were closed meanwhile and touch each of them (oracle §5)."""

    async def attempt(call: Call, rows: Sequence[Any], log: Log) -> int:
        await call("insert_events", rows)
        closed = min(closed_sessions, len(set(rows)))
        await call("follow_up", ())
        for _ in range(0 if too_late else closed):
            await call("follow_up", ())
        if closed:
            (log.warn if too_late else log.info)(f"{closed} closed sessions")
        return len(rows)

    return attempt


def _matched(unmatched_per_call: int) -> Attempt:
    """In chunks, each of which finds fewer sessions than it names."""

    async def attempt(call: Call, rows: Sequence[Any], log: Log) -> int:
        counted = 0
        for start in range(0, len(rows), CHUNK_ROWS):
            answer = await call("touch_sessions", rows[start : start + CHUNK_ROWS])
            counted += max(0, answer.changed - unmatched_per_call)
        return counted

    return attempt


def _attempt(case: Case) -> Attempt | None:
    if case.reconcile is not None:
        return _reconciled(case.reconcile.closed_sessions, case.reconcile.too_late)
    if case.writer == "heartbeat" and case.semantics == "fixed":
        return _matched(case.db.unmatched_per_call)
    return None


def play(case: Case) -> dict[str, Any]:
    """Everything that the recording holds of a case, as the reference does it.

    Returns
    -------
    dict
        In the schema of ``expected``; times in milliseconds.
    """
    played = _OracleCase(case)
    try:
        played.loop.run_to(case.end_ms * US_PER_MS)
        return played.answer()
    finally:
        played.loop.close()


class _Tries(Watch):
    """Keeps every attempt."""

    def __init__(self) -> None:
        self.tries: list[Tried] = []

    def attempted(self, tried: Tried) -> None:
        """Keep it."""
        self.tries.append(tried)


@dataclass
class _Standing:
    """A writer at one moment of its shutdown."""

    when_us: int
    buffer: int
    in_flight: int
    flushed: int
    dropped: int


class _OracleCase:
    """One case on its way: writer, script, and notes on what can be seen from outside."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.loop = loop = VirtualLoop(after_instant=self._note)
        self.script = _Script(case, loop)
        self.log = Log()
        stream = STREAM[case.writer]
        rules = Rules(
            case.semantics,
            case.config.batch_size,
            case.config.batch_delay_ms * US_PER_MS,
            case.config.buffer_cap,
        )
        forever_us = (case.end_ms + 1) * US_PER_MS
        pool = Pool(loop, TimedDatabase(loop, self.script.lasts), 1, forever_us, 10 * US_PER_S)
        self.watch = _Tries()
        self.writer: BatchWriter[int] = BatchWriter(
            stream,
            rules,
            loop,
            pool.call,
            self.log,
            key=(lambda session: session) if stream == "heartbeats" and case.semantics == "fixed" else None,
            attempt=_attempt(case),
            watch=self.watch,
        )
        self.states: list[tuple[int, tuple[int, ...]]] = [(0, (0, 0, 0, 0, 0))]
        self.stuck: list[list[int | None]] = []
        self.largest = 0
        self.first_drop_us: int | None = None
        self.refused_us: list[int] = []
        self.runs_of_refusals_us: list[int] = []
        self.refused_before = False
        self.standings: list[_Standing] = []
        for number, at_ms in enumerate(case.times_ms):
            session = number % case.sessions if case.sessions else number
            loop.at(at_ms * US_PER_MS, Phase.ARRIVALS, lambda session=session: self._arrive(session))  # type: ignore[misc]
        if case.shutdown_at_ms is not None:
            loop.at(case.shutdown_at_ms * US_PER_MS, Phase.SHUTDOWN, lambda: self._shut_down())

    def _arrive(self, session: int) -> None:
        offered = self.writer.offer(session)
        if offered == "full":
            now_us = self.loop.now_us()
            self.refused_us.append(now_us)
            if not self.refused_before:
                self.runs_of_refusals_us.append(now_us)
        if offered != "closing":
            self.refused_before = offered == "full"
        self.largest = max(self.largest, self.writer.count)

    def _shut_down(self) -> None:
        self.closing = self.loop.create_task(self._shutdown())

    async def _shutdown(self) -> None:
        self.standings.append(self._standing())
        await self.writer.shutdown()
        self.standings.append(self._standing())

    def _standing(self) -> _Standing:
        writer = self.writer
        return _Standing(self.loop.now_us(), writer.count, writer.in_flight, writer.flushed, writer.dropped)

    def _note(self, now_us: int) -> None:
        writer = self.writer
        self.states.append(
            (now_us, (writer.count, writer.flushed, writer.failed, writer.dropped, int(writer.flushing)))
        )
        if writer.dropped and self.first_drop_us is None:
            self.first_drop_us = now_us
        open_ = bool(self.stuck) and self.stuck[-1][1] is None
        if writer.stuck and not open_:
            self.stuck.append([now_us // US_PER_MS, None])
        elif open_ and not writer.stuck:
            self.stuck[-1][1] = now_us // US_PER_MS

    def answer(self) -> dict[str, Any]:
        """All fields of ``expected``."""
        writer, case = self.writer, self.case
        answer = {
            "flushes": self._flushes(),
            "samples": self._samples(),
            "final": {
                "end_ms": case.end_ms,
                "buffer": writer.count,
                "flushed": writer.flushed,
                "failed": writer.failed,
                "dropped": writer.dropped,
                "flushing": int(writer.flushing),
            },
            "max_buffer": self.largest,
            "dropped_total": writer.dropped,
            "dropped_at_cap": writer.dropped_cap,
            "dropped_batches": writer.dropped_failed,
            "rejected_after_shutdown": writer.rejected,
            "first_drop_ms": None if self.first_drop_us is None else self.first_drop_us // US_PER_MS,
            "first_cap_drop_ms": self.refused_us[0] // US_PER_MS if self.refused_us else None,
            "cap_drop_starts": {
                "count": len(self.runs_of_refusals_us),
                "first_20_ms": [at_us // US_PER_MS for at_us in self.runs_of_refusals_us[:20]],
            },
            "stuck": self._stuck(),
            "max_wait_ms": writer.longest_wait_us // US_PER_MS,
            "immediates_scheduled": writer.requests,
            "db_calls": self.script.calls,
            "rows_inserted": None if case.writer == "heartbeat" else self.script.rows_inserted,
            "log_lines": dict(self.log.lines),
        }
        if case.shutdown_at_ms is not None:
            answer["shutdown"] = self._shutdown_facts()
        return answer

    def _flushes(self) -> list[dict[str, Any]]:
        out = self.writer.out
        return [
            {
                "start_ms": tried.start_us // US_PER_MS,
                "size": tried.rows,
                "end_ms": None if tried is out else tried.end_us // US_PER_MS,
                "ok": None if tried is out else tried.ok,
                "attempt": tried.attempt,
                "calls": tried.calls,
                "counted": tried.counted,
            }
            for tried in [*self.watch.tries, *([out] if out is not None else [])]
        ]

    def _samples(self) -> dict[str, Any]:
        step_us = self.case.sample_step_ms * US_PER_MS
        rows: list[list[int]] = []
        place = 0
        for at_us in range(0, self.case.end_ms * US_PER_MS + 1, step_us):
            while place + 1 < len(self.states) and self.states[place + 1][0] <= at_us:
                place += 1
            state = self.states[place][1]
            if not rows or rows[-1][1:] != list(state):
                rows.append([at_us // US_PER_MS, *state])
        names = ["t_ms", "buffer", "flushed", "failed", "dropped", "flushing"]
        return {"step_ms": self.case.sample_step_ms, "columns": names, "rows": rows}

    def _stuck(self) -> dict[str, Any]:
        lengths = [(self.case.end_ms if to is None else to) - (since or 0) for since, to in self.stuck]
        at_the_end = bool(self.stuck) and self.stuck[-1][1] is None
        return {
            "final": at_the_end,
            "items_final": self.writer.count if at_the_end else 0,
            "intervals": len(self.stuck),
            "total_ms": sum(lengths),
            "longest_ms": max(lengths, default=0),
            "first_20": self.stuck[:20],
        }

    def _shutdown_facts(self) -> dict[str, Any]:
        called, resolved = self.standings
        return {
            "call_ms": called.when_us // US_PER_MS,
            "buffer_at_call": called.buffer,
            "inflight_at_call": called.in_flight,
            "resolve_ms": resolved.when_us // US_PER_MS,
            "buffer_at_resolve": resolved.buffer,
            "inflight_at_resolve": resolved.in_flight,
            "flushed_since_call": resolved.flushed - called.flushed,
            "dropped_since_call": resolved.dropped - called.dropped,
            "lost_if_exit": resolved.buffer + resolved.in_flight,
        }

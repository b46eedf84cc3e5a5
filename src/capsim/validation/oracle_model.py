"""Recorded cases played by the simulation: the same engine that simulates a day, with a scripted database."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capsim.base.units import US_PER_MS
from capsim.engine.attempts import Attempt, Result, attempt_rules, in_chunks
from capsim.engine.database import Database, Ints, Kind, Outcome, Statement
from capsim.engine.flusher import Standing
from capsim.engine.model import Server
from capsim.engine.writer import Batch
from capsim.scenario.server import PoolSpec, WriterSpec
from capsim.scenario.workload import Stream
from capsim.validation.oracle import Case, Script

STREAM: dict[str, Stream] = {"event": "events", "revenue": "revenue", "heartbeat": "heartbeats"}
RESULT = {"ok": "ok", "fail": "fail", "notfound": "missing"}


class ScriptedDatabase(Database):
    """Answers calls from a script, numbering them over the whole case."""

    connect_us = 0
    by_address = False

    def __init__(self, script: Script) -> None:
        self._script = script
        self.calls = 0

    def run(self, stream: str, attempt: int, statement: Statement, start_us: int, crowding: float = 1.0) -> Outcome:
        duration_ms, outcome = self._script.answer(self.calls, start_us // US_PER_MS)
        self.calls += 1
        return Outcome(duration_ms * US_PER_MS, RESULT[outcome])  # type: ignore[arg-type]

    def durations(self, stream: str, kind: Kind, items: Ints, rows: Ints | np.int64, starts_us: Ints) -> Ints:
        raise AssertionError("calls are numbered, so none may be tried out")

    def steady(self, from_us: Ints, to_us: Ints) -> NDArray[np.bool_]:
        raise AssertionError("calls are numbered, so none may be tried out")


def reconciled(case: Case) -> Callable[[Batch], Attempt]:
    """Insert, then ask for closed sessions and touch each of them (oracle §5)."""
    assert case.reconcile is not None
    rules, sessions = case.reconcile, case.sessions

    def attempt(batch: Batch) -> Attempt:
        closed = min(rules.closed_sessions, batch.rows if sessions is None else min(batch.rows, sessions))
        follow_ups = 1 + (0 if rules.too_late else closed)
        for call in range(1 + follow_ups):
            outcome = yield Statement("insert" if call == 0 else "query", batch.first_item + call, batch.rows)
            if outcome.result != "ok":
                return Result(False, 0, batch.rows if call else 0)
        return Result(True, batch.rows, batch.rows)

    return attempt


def play(case: Case) -> dict[str, Any]:
    """Everything that the recording holds of a case, as the simulation has it.

    Returns
    -------
    dict
        In the schema of ``expected``; times in milliseconds.
    """
    stream = STREAM[case.writer]
    spec = WriterSpec(
        semantics=case.semantics,
        batch_rows=case.config.batch_size,
        delay_ms=case.config.batch_delay_ms,
        buffer_cap_rows=case.config.buffer_cap or "none",
    )
    rules = attempt_rules(stream, spec)
    if case.reconcile is not None:
        rules = reconciled(case)
    elif rules is in_chunks:
        rules = lambda batch: in_chunks(batch, case.db.unmatched_per_call)  # noqa: E731
    server = Server({stream: spec}, PoolSpec(), 1, ScriptedDatabase(case.db), {stream: rules})
    closing = None if case.shutdown_at_ms is None else server.shut_down(case.shutdown_at_ms * US_PER_MS)[stream]
    times = np.asarray(case.times_ms, np.int64) * US_PER_MS
    sessions = np.arange(len(times)) % case.sessions if case.sessions else None
    end_us = case.end_ms * US_PER_MS
    happened = server.advance(
        SimpleNamespace(from_us=0, to_us=end_us + 1, times={stream: times}, heartbeat_sessions=sessions)
    )
    return _Observed(case, server, stream, happened, times, sessions, closing).answer()


class _Observed:
    """Reads the recorded fields off a finished run."""

    def __init__(self, case, server, stream, happened, times, sessions, closing) -> None:  # type: ignore[no-untyped-def]
        self.case, self.times, self.sessions, self.closing = case, times, sessions, closing
        self.end_us = case.end_ms * US_PER_MS
        self.writer, self.flusher = server.writers[stream], server.flushers[stream]
        self.takes, self.attempts = happened.takes, happened.attempts
        self.stretch = happened.stretches[stream]
        last = (self.attempts["ok"] == 1) | (self.attempts["attempt"] == 2)
        self.ended = {name: column[last] for name, column in self.attempts.items()}

    def answer(self) -> dict[str, Any]:
        """All fields of ``expected``."""
        writer, case = self.writer, self.case
        refused_ms = (self.stretch.refused_us // US_PER_MS).tolist()
        failed = self.ended["end_us"][self.ended["ok"] == 0]
        drops_ms = [*refused_ms[:1], *(failed[:1] // US_PER_MS).tolist()]
        calls, inserted, logged = self._calls()
        refused = self.stretch.refused
        starts = self.times[refused & ~np.concatenate(([False], refused[:-1]))] // US_PER_MS
        answer = {
            "flushes": self._flushes(),
            "samples": self._samples(),
            "final": {
                "end_ms": case.end_ms,
                "buffer": writer.count,
                "flushed": writer.flushed,
                "failed": writer.failed_batches,
                "dropped": writer.dropped_cap + writer.dropped_failed,
                "flushing": int(writer.flushing),
            },
            "max_buffer": writer.largest_buffer,
            "dropped_total": writer.dropped_cap + writer.dropped_failed,
            "dropped_at_cap": writer.dropped_cap,
            "dropped_batches": writer.dropped_failed,
            "rejected_after_shutdown": writer.rejected,
            "first_drop_ms": min(drops_ms, default=None),
            "first_cap_drop_ms": refused_ms[0] if refused_ms else None,
            "cap_drop_starts": {"count": len(starts), "first_20_ms": starts[:20].tolist()},
            "stuck": self._stuck(),
            "max_wait_ms": self._longest_wait_ms(),
            "immediates_scheduled": writer.requests_made,
            "db_calls": calls,
            "rows_inserted": None if case.writer == "heartbeat" else inserted,
            "log_lines": logged,
        }
        if self.closing is not None:
            answer["shutdown"] = self._shutdown(*self.closing.value[:2])
        return answer

    def _flushes(self) -> list[dict[str, Any]]:
        columns = ("start_us", "rows", "end_us", "ok", "attempt", "calls", "counted")
        flushes = [
            {
                "start_ms": start // US_PER_MS,
                "size": rows,
                "end_ms": end // US_PER_MS,
                "ok": bool(ok),
                "attempt": attempt,
                "calls": calls,
                "counted": counted,
            }
            for start, rows, end, ok, attempt, calls, counted in zip(
                *(self.attempts[c].tolist() for c in columns), strict=True
            )
        ]
        if self.flusher.out is not None:
            batch, attempt, start_us = self.flusher.out
            calls = sum(1 for started in self.flusher.calls_started if started <= self.end_us)
            flushes.append(
                {
                    "start_ms": start_us // US_PER_MS,
                    "size": batch.rows,
                    "end_ms": None,
                    "ok": None,
                    "attempt": attempt,
                    "calls": calls,
                    "counted": 0,
                }
            )
        return flushes

    def _samples(self) -> dict[str, Any]:
        step_us = self.case.sample_step_ms * US_PER_MS
        grid = np.arange(0, self.end_us + 1, step_us)

        def upto(times_us: Any, weights: Any = None) -> Any:
            totals = np.concatenate(([0], np.cumsum(np.ones(len(times_us), int) if weights is None else weights)))
            return totals[np.searchsorted(times_us, grid, "right")]

        ended = self.ended
        failed = 1 - ended["ok"]
        taken = self.takes["taken_us"]
        columns = (
            grid // US_PER_MS,
            upto(self.stretch.stored_us) - upto(taken, self.takes["rows"]),
            upto(ended["end_us"], ended["counted"]),
            upto(ended["end_us"], failed),
            upto(self.stretch.refused_us) + upto(ended["end_us"], failed * ended["rows"]),
            upto(taken) - upto(ended["end_us"]),
        )
        rows: list[list[int]] = []
        for row in zip(*(column.tolist() for column in columns), strict=True):
            if not rows or list(row[1:]) != rows[-1][1:]:
                rows.append(list(row))
        names = ["t_ms", "buffer", "flushed", "failed", "dropped", "flushing"]
        return {"step_ms": self.case.sample_step_ms, "columns": names, "rows": rows}

    def _stuck(self) -> dict[str, Any]:
        since = self.writer.stuck_at(self.end_us)
        closed = [[a // US_PER_MS, b // US_PER_MS] for a, b in self.writer.stuck]
        intervals: list[list[int | None]] = [*closed, *([[since // US_PER_MS, None]] if since is not None else [])]
        lengths = [(self.case.end_ms if to is None else to) - (start or 0) for start, to in intervals]
        return {
            "final": since is not None,
            "items_final": self.writer.count if since is not None else 0,
            "intervals": len(intervals),
            "total_ms": sum(lengths),
            "longest_ms": max(lengths, default=0),
            "first_20": intervals[:20],
        }

    def _longest_wait_ms(self) -> int:
        longest = 0
        columns = ("taken_us", "first_item", "accepted_to")
        for taken, first, to in zip(*(self.takes[c].tolist() for c in columns), strict=True):
            oldest = int(self.times[first])
            if self.writer.arrivals.keyed and self.sessions is not None:
                # A replaced heartbeat counts from its replacement: look at the last one of each session.
                _, from_the_end = np.unique(self.sessions[first:to][::-1], return_index=True)
                oldest = int(self.times[to - 1 - from_the_end].min())
            longest = max(longest, taken - oldest)
        return longest // US_PER_MS

    def _calls(self) -> tuple[int, int, dict[str, int]]:
        """Database calls started, rows inserted, and log lines by level."""
        writer, case, attempts = self.writer, self.case, self.attempts
        errors, missing = self.flusher.call_errors, self.flusher.calls_missing
        calls, inserted = int(attempts["calls"].sum()), int(attempts["inserted"].sum())
        if self.flusher.out is not None:
            batch = self.flusher.out[0]
            calls += sum(1 for started in self.flusher.calls_started if started <= self.end_us)
            for place, (started, outcome) in enumerate(
                zip(self.flusher.calls_started, self.flusher.outcomes, strict=False)
            ):
                if started + outcome.duration_us <= self.end_us:
                    one_by_one = case.writer == "heartbeat" and case.semantics == "seed"
                    errors += one_by_one and outcome.result == "fail"
                    missing += outcome.result == "missing"
                    inserted += batch.rows * (place == 0 and outcome.result == "ok")
        good = int(attempts["ok"].sum())
        lines = {
            "error": writer.dropped_cap + int((attempts["ok"] == 0).sum()),
            "warn": writer.rejected + errors,
            "info": good,
            "debug": missing,
        }
        if case.reconcile is not None and case.reconcile.closed_sessions > 0:
            lines["warn" if case.reconcile.too_late else "info"] += good
        if self.closing is not None:
            lines["info"] += 2 + self.closing.value[2]
        return calls, inserted, lines

    def _shutdown(self, called: Standing, resolved: Standing) -> dict[str, Any]:
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

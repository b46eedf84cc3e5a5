"""The plain twin on a recorded case: one writer, a scripted database, whole milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twin_writer import ARRIVALS, CALL_ENDS, CONNECTIONS, SHUTDOWN, Clock, Done, Kind, Rules, Writer


class ScriptedDatabase:
    """Plays the script of a recorded case: the k-th call takes what the script says."""

    def __init__(self, clock: Clock, script: Mapping[str, Any]) -> None:
        self._clock, self._script = clock, script
        self.calls = 0

    def _entry(self, name: str) -> Any:
        entries = self._script[name]
        if self._script["repeat"] == "cycle":
            return entries[self.calls % len(entries)]
        return entries[min(self.calls, len(entries) - 1)]

    def call(self, part: str, kind: Kind, attempt: int, item: int, rows: int, done: Done) -> None:
        now_ms = self._clock.now_us // 1000
        duration_ms, outcome = self._entry("durations_ms"), self._entry("outcomes")
        for window in self._script.get("windows", ()):
            if window["from_ms"] <= now_ms < window["to_ms"]:
                duration_ms = duration_ms if window["duration_ms"] is None else window["duration_ms"]
                outcome = outcome if window["outcome"] is None else window["outcome"]
                break
        self.calls += 1
        self._clock.at((now_ms + duration_ms) * 1000, CALL_ENDS, lambda: done(outcome))


def _case_arrivals_ms(case: Mapping[str, Any]) -> list[int]:
    if "arrivals_ms" in case:
        return list(case["arrivals_ms"])
    times = [
        run["at_ms"] + (0 if run["rate_per_s"] is None else int(1000 * i // run["rate_per_s"]))
        for run in case["runs"]
        for i in range(run["count"])
    ]
    return sorted(times)


def play_case(case: Mapping[str, Any]) -> dict[str, Any]:
    """Play a recorded case and return what its `expected` should be."""
    clock, config, reconcile = Clock(), case["config"], case.get("reconcile") or {}
    rules = Rules(
        heartbeats=case["writer"] == "heartbeat",
        fixed=case["semantics"] == "fixed",
        batch_rows=config["batch_size"],
        delay_us=config["batch_delay_ms"] * 1000,
        cap_rows=config["buffer_cap"],
        unmatched_per_call=case["db"].get("unmatched_per_call", 0),
        closed_sessions=reconcile.get("closed_sessions"),
        too_late=reconcile.get("too_late", False),
    )
    database = ScriptedDatabase(clock, case["db"])
    writer = Writer(case["writer"], rules, clock, database)
    arrivals_ms, sessions = _case_arrivals_ms(case), case.get("sessions")
    for i, at_ms in enumerate(arrivals_ms):
        session = i % sessions if sessions else i
        clock.at(at_ms * 1000, ARRIVALS, lambda session=session: writer.arrive(session))  # type: ignore[misc]
    shutdown_ms = case.get("shutdown_at_ms")
    if shutdown_ms is not None:
        clock.at(shutdown_ms * 1000, SHUTDOWN, writer.shutdown)
    end_ms = max([*arrivals_ms[-1:], *([] if shutdown_ms is None else [shutdown_ms])], default=0) + 120_000

    states: list[list[int]] = []  # [t_us, buffer, flushed, failed, dropped, flushing] after each instant

    def look() -> None:
        writer.note_stuck()
        dropped = writer.dropped_cap + writer.dropped_failed
        states.append([clock.now_us, len(writer.buffer), writer.flushed, writer.failed, dropped, int(writer.flushing)])

    step_ms = case["sample_step_ms"]
    for t_ms in range(0, end_ms + 1, step_ms):
        clock.at(t_ms * 1000, CONNECTIONS, lambda: None)  # only so that the state is looked at
    clock.run(end_ms * 1000, look)
    return _observed(case, writer, database, states, end_ms)


def _observed(
    case: Mapping[str, Any], writer: Writer, database: ScriptedDatabase, states: list[list[int]], end_ms: int
) -> dict[str, Any]:
    step_ms = case["sample_step_ms"]
    rows: list[list[int]] = []
    for at_us, *state in states:
        if at_us % (step_ms * 1000) == 0 and (not rows or rows[-1][1:] != state):
            rows.append([at_us // 1000, *state])
    columns = ["t_ms", "buffer", "flushed", "failed", "dropped", "flushing"]
    lengths_ms = [((end_ms * 1000 if to == -1 else to) - start) // 1000 for start, to in writer.stuck]
    stuck_now = bool(writer.stuck) and writer.stuck[-1][1] == -1
    observed: dict[str, Any] = {
        "flushes": [
            {
                "start_ms": a.start_us // 1000,
                "size": a.rows,
                "end_ms": _ms(a.end_us),
                "ok": None if a.end_us == -1 else a.ok,
                "attempt": a.attempt,
                "calls": a.calls,
                "counted": a.counted,
            }
            for a in writer.attempts
        ],
        "samples": {"step_ms": step_ms, "columns": columns, "rows": rows},
        "final": {"end_ms": end_ms, **dict(zip(columns[1:], states[-1][1:], strict=True))},
        "max_buffer": writer.max_buffer,
        "dropped_total": writer.dropped_cap + writer.dropped_failed,
        "dropped_at_cap": writer.dropped_cap,
        "dropped_batches": writer.dropped_failed,
        "rejected_after_shutdown": writer.rejected,
        "first_drop_ms": _ms(writer.first_drop_us),
        "first_cap_drop_ms": _ms(writer.first_cap_drop_us),
        "cap_drop_starts": {
            "count": len(writer.cap_drop_starts_us),
            "first_20_ms": [t // 1000 for t in writer.cap_drop_starts_us[:20]],
        },
        "stuck": {
            "final": stuck_now,
            "items_final": len(writer.buffer) if stuck_now else 0,
            "intervals": len(writer.stuck),
            "total_ms": sum(lengths_ms),
            "longest_ms": max(lengths_ms, default=0),
            "first_20": [[start // 1000, _ms(to)] for start, to in writer.stuck[:20]],
        },
        "max_wait_ms": writer.max_wait_us // 1000,
        "immediates_scheduled": writer.requests,
        "db_calls": database.calls,
        "rows_inserted": None if writer.rules.heartbeats else writer.rows_inserted,
        "log_lines": writer.log,
    }
    if writer.stop is not None:
        stop = writer.stop
        observed["shutdown"] = {
            "call_ms": stop.call_us // 1000,
            "buffer_at_call": stop.buffer_at_call,
            "inflight_at_call": stop.inflight_at_call,
            "resolve_ms": _ms(stop.resolve_us),
            "buffer_at_resolve": stop.buffer_at_resolve,
            "inflight_at_resolve": stop.inflight_at_resolve,
            "flushed_since_call": stop.flushed_since_call,
            "dropped_since_call": stop.dropped_since_call,
            "lost_if_exit": stop.buffer_at_resolve + stop.inflight_at_resolve,
        }
    return observed


def _ms(time_us: int) -> int | None:
    return None if time_us == -1 else time_us // 1000

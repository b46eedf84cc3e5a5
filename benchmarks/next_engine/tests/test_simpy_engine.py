"""The readable engine: does what the originals did, and what the kernel does, to the last item, microsecond and bin."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simpy

from capsim.base.units import US_PER_MS
from capsim.engine.kernel.driver import Kernel
from capsim.engine.kernel.fields import whole as G
from capsim.engine.lives import lives
from capsim.engine.simpy_engine.bins import ERROR, INFO, WARN, Bins
from capsim.engine.simpy_engine.clock import ARRIVAL, SHUTDOWN, Time
from capsim.engine.simpy_engine.connections import Connections
from capsim.engine.simpy_engine.database import Database, Statement
from capsim.engine.simpy_engine.engine import FACTS, SimpyEngine
from capsim.engine.simpy_engine.pool import Pool, PoolLimits
from capsim.engine.simpy_engine.writer import BatchWriter, Facts
from capsim.scenario.database import DatabaseSpec
from capsim.scenario.scenario import Scenario
from capsim.scenario.server import WriterSpec
from capsim.scenario.workload import STREAMS
from capsim.validation.oracle import Case, Script, differences, read_cases
from capsim.workload.load import load_of

KEPT = Path(__file__).parents[1] / "data" / "oracle" / "cases.json"
SHARED = Path(__file__).parents[3] / "shared" / "oracle" / "cases_open.json"
LAST_PHASE = 63
WRITERS = ("event", "revenue", "heartbeat")


class Scripted(Database):
    """Answers calls from a script, numbering them over the whole case."""

    def __init__(self, script: Script) -> None:
        super().__init__(DatabaseSpec(), 0, 0)
        self.script, self.calls = script, 0
        self.missing_us: list[int] = []

    def run(self, statement: Statement, now_us: int, in_use: int = 1) -> tuple[int, bool]:
        duration_ms, outcome = self.script.answer(self.calls, now_us // US_PER_MS)
        self.calls += 1
        if outcome == "notfound":
            self.missing_us.append(now_us + duration_ms * US_PER_MS)
        return duration_ms * US_PER_MS, outcome != "fail"


class Recorded(BatchWriter):
    """A writer whose attempts may ask for closed sessions, or match fewer rows than they have (oracle §5)."""

    case: Case

    def attempt(self, batch, attempt):  # type: ignore[no-untyped-def]
        rules, unmatched = self.case.reconcile, self.case.db.unmatched_per_call
        if rules is None:
            ok = yield from super().attempt(batch, attempt)
            if ok and unmatched and self.case.semantics == "fixed":
                attempt.counted = sum(max(0, min(250, batch.rows - b) - unmatched) for b in range(0, batch.rows, 250))
            return ok
        distinct = batch.rows if self.case.sessions is None else min(batch.rows, self.case.sessions)
        follow_ups = 1 + (0 if rules.too_late else min(rules.closed_sessions, distinct))
        for call in range(1 + follow_ups):
            attempt.calls += 1
            kind = "query" if call else "insert"
            if not (yield from self.pool.call(self.stream, kind, attempt.number, batch.first + call, batch.rows)):
                return False
            attempt.inserted = batch.rows
        attempt.counted = batch.rows
        return True


class Play:
    """A recorded case, and everything that the recording holds of it."""

    def __init__(self, case: Case) -> None:
        self.case, self.time, self.bins, self.end_us = case, Time(simpy.Environment(0)), Bins(), case.end_ms * US_PER_MS
        self.bins.open(0, 1 << 50)
        self.database = Scripted(case.db)
        pool = Pool(self.time, PoolLimits(1, 1 << 45, 1 << 45, 0), self.database, Connections(), self.bins)
        spec = WriterSpec(
            semantics=case.semantics,
            batch_rows=case.config.batch_size,
            delay_ms=case.config.batch_delay_ms,
            buffer_cap_rows=case.config.buffer_cap or "none",
        )
        facts = Facts(self.take, self.attempted, lambda _, a, b: self.stuck.append([a // US_PER_MS, b // US_PER_MS]))
        self.writer = Recorded(self.time, pool, self.bins, WRITERS.index(case.writer), spec, facts=facts)
        self.writer.case = case
        self.flushes: list[dict[str, Any]] = []
        self.stuck: list[list[int | None]] = []
        self.rows: list[list[int]] = []
        self.cap_us: list[int] = []
        self.starts: list[int] = []
        self.drops_us: list[int] = []
        self.inserted = self.longest_us = self.good = self.shutdown_lines = 0
        self.shutdown: dict[str, Any] = {}

    def take(self, _, batch, phase) -> None:  # type: ignore[no-untyped-def]
        latest = {session if session >= 0 else -1 - place: came for place, (session, came) in enumerate(batch.items)}
        keyed = self.writer.stream == 2 and self.writer.spec.keyed
        oldest = min(latest.values()) if keyed else batch.items[0][1]
        self.longest_us = max(self.longest_us, batch.taken_us - oldest)

    def attempted(self, _, batch, attempt, ok, last, lost) -> None:  # type: ignore[no-untyped-def]
        self.inserted += attempt.inserted
        self.good += ok
        self.flushes.append({
            "start_ms": attempt.start_us // US_PER_MS, "size": batch.rows, "end_ms": self.time.now // US_PER_MS,
            "ok": ok, "attempt": attempt.number, "calls": attempt.calls, "counted": attempt.counted,
        })  # fmt: skip
        if last and not ok:
            self.drops_us.append(self.time.now)

    def arrivals(self):  # type: ignore[no-untyped-def]
        refused = False
        for number, at_ms in enumerate(self.case.times_ms):
            yield self.time.at(at_ms * US_PER_MS, ARRIVAL)
            before, rejected = self.writer.dropped_cap, self.writer.rejected
            self.writer.arrive(number % self.case.sessions if self.case.sessions else -1, self.time.now)
            if self.writer.dropped_cap > before:
                self.cap_us.append(self.time.now)
                if not refused:
                    self.starts.append(at_ms)
            if self.writer.rejected == rejected:
                refused = self.writer.dropped_cap > before

    def samples(self):  # type: ignore[no-untyped-def]
        writer = self.writer
        for at_ms in range(0, self.case.end_ms + 1, self.case.sample_step_ms):
            yield self.time.at(at_ms * US_PER_MS, LAST_PHASE)
            row = [at_ms, writer.count, writer.flushed, writer.failed, writer.dropped_cap + writer.dropped_failed,
                   int(writer.batch is not None)]  # fmt: skip
            if not self.rows or row[1:] != self.rows[-1][1:]:
                self.rows.append(row)

    def standing(self) -> tuple[int, int, int, int]:
        writer = self.writer
        out = writer.batch.rows if writer.batch else 0
        return writer.count, out, writer.flushed, writer.dropped_cap + writer.dropped_failed

    def closing(self):  # type: ignore[no-untyped-def]
        yield self.time.at(self.case.shutdown_at_ms * US_PER_MS, SHUTDOWN)
        called = self.standing()
        left = yield self.time.tell(self.writer.shut_down())
        resolved = self.standing()
        self.shutdown_lines = 2 + bool(left)
        self.shutdown = {
            "call_ms": self.case.shutdown_at_ms, "buffer_at_call": called[0], "inflight_at_call": called[1],
            "resolve_ms": self.time.now // US_PER_MS, "buffer_at_resolve": resolved[0],
            "inflight_at_resolve": resolved[1], "flushed_since_call": resolved[2] - called[2],
            "dropped_since_call": resolved[3] - called[3], "lost_if_exit": resolved[0] + resolved[1],
        }  # fmt: skip

    def answer(self) -> dict[str, Any]:
        case, writer = self.case, self.writer
        self.time.tell(self.arrivals())
        self.time.tell(self.samples())
        if case.shutdown_at_ms is not None:
            self.time.tell(self.closing())
        self.time.env.run(until=self.end_us + 1)
        if writer.batch is not None:
            attempt = writer.trying
            self.inserted += attempt.inserted
            self.flushes.append({
                "start_ms": attempt.start_us // US_PER_MS, "size": writer.batch.rows, "end_ms": None, "ok": None,
                "attempt": attempt.number, "calls": attempt.calls, "counted": 0,
            })  # fmt: skip
        dropped = writer.dropped_cap + writer.dropped_failed
        names = ["t_ms", "buffer", "flushed", "failed", "dropped", "flushing"]
        answer = {
            "flushes": self.flushes,
            "samples": {"step_ms": case.sample_step_ms, "columns": names, "rows": self.rows},
            "final": {"end_ms": case.end_ms, "buffer": writer.count, "flushed": writer.flushed,
                      "failed": writer.failed, "dropped": dropped, "flushing": int(writer.batch is not None)},
            "max_buffer": writer.largest, "dropped_total": dropped, "dropped_at_cap": writer.dropped_cap,
            "dropped_batches": writer.dropped_failed, "rejected_after_shutdown": writer.rejected,
            "first_drop_ms": min((t // US_PER_MS for t in self.cap_us[:1] + self.drops_us[:1]), default=None),
            "first_cap_drop_ms": self.cap_us[0] // US_PER_MS if self.cap_us else None,
            "cap_drop_starts": {"count": len(self.starts), "first_20_ms": self.starts[:20]},
            "stuck": self.stuck_fields(), "max_wait_ms": self.longest_us // US_PER_MS,
            "immediates_scheduled": writer.requests, "db_calls": self.database.calls,
            "rows_inserted": None if case.writer == "heartbeat" else self.inserted, "log_lines": self.lines(),
        }  # fmt: skip
        return answer | ({"shutdown": self.shutdown} if case.shutdown_at_ms is not None else {})

    def stuck_fields(self) -> dict[str, Any]:
        since_us, end_ms = self.writer.stuck_us, self.case.end_ms
        intervals = [*self.stuck, *([[since_us // US_PER_MS, None]] if since_us >= 0 else [])]
        lengths = [(end_ms if to is None else to) - (start or 0) for start, to in intervals]
        return {
            "final": since_us >= 0, "items_final": self.writer.count if since_us >= 0 else 0,
            "intervals": len(intervals), "total_ms": sum(lengths), "longest_ms": max(lengths, default=0),
            "first_20": intervals[:20],
        }  # fmt: skip

    def lines(self) -> dict[str, int]:
        said: Counter[int] = Counter()
        for (_, level), count in self.bins.lines.items():
            said[level] += count
        lines = {"error": said[ERROR], "warn": said[WARN] + self.writer.rejected, "info": said[INFO],
                 "debug": sum(t <= self.end_us for t in self.database.missing_us)}  # fmt: skip
        if self.writer.trying is not None:  # what an attempt that is out has skipped
            lines["warn"] += len(self.writer.trying.failed)
        if self.case.reconcile is not None and self.case.reconcile.closed_sessions > 0:
            lines["warn" if self.case.reconcile.too_late else "info"] += self.good
        lines["info"] += self.shutdown_lines
        return lines


@pytest.mark.parametrize("case", read_cases(KEPT), ids=lambda case: case.id)
def test_writer_does_what_the_original_did(case: Case) -> None:
    assert differences(case.expected, Play(case).answer()) == []


@pytest.mark.skipif(not SHARED.exists(), reason="the full set of recorded cases is not on this machine")
def test_writer_does_what_the_original_did_in_every_open_case() -> None:
    cases = read_cases(SHARED)
    wrong = {case.id: found for case in cases if (found := differences(case.expected, Play(case).answer()))}
    assert wrong == {}


# --- the kernel ---


def both(scenario: Scenario, seed: int, width_us: int = 60_000_000) -> tuple[Kernel, SimpyEngine]:
    """A scenario played by the kernel and by the readable engine."""
    load = load_of(scenario, None, seed, 0)
    spec = scenario.server
    rows = [lives(spec.process, spec.lifecycle, load.until_us, []) for _ in range(spec.process.replicas)]
    found = []
    for engine in (Kernel, SimpyEngine):
        found.append(engine(scenario, seed, 0, rows, width_us, load.span_us, [load.span_us // 2], keep=True))
        for block in load.blocks():
            found[-1].play(block)
    return found[0], found[1]


def facts_of(engine: Kernel | SimpyEngine, name: str) -> list[list[int]]:
    """All facts of a kind, in an order of their own."""
    return sorted(row for rows in engine.facts[name] for row in rows.tolist())


def unequal(kernel: Kernel, readable: SimpyEngine) -> list[str]:
    """What differs between the two."""
    found = [name for name in FACTS if facts_of(kernel, name) != facts_of(readable, name)]
    times = kernel.memory.m[kernel.memory.m[G.TIMES] :][: readable.times.size].reshape(readable.times.shape)
    found += ["response times"] * bool((times != readable.times).any())
    for one, other in zip(kernel.blocks, readable.blocks, strict=True):
        for name in ("edges_us", "in_use_max", "open_max"):
            found += [name] * (not np.array_equal(getattr(one, name), getattr(other, name)))
        found += [f"{s} refused" for s in STREAMS if not np.array_equal(one.refused_us[s], other.refused_us[s])]
    for one, other in zip(kernel.processes, readable.processes, strict=True):
        found += [f"life of process {one.number}"] * (one.life != other.life)
        for name in ("counts", "out", "timeouts", "refusals"):
            found += [f"{name} of process {one.number}"] * (getattr(one, name) != getattr(other, name))
        for mine, its in zip(one.bins, other.blocks, strict=True):
            for name in its._fields:
                if not np.array_equal(getattr(mine, name), getattr(its, name)):
                    found.append(f"{name} of process {one.number}")
    return found


def random_scenario(number: int) -> Scenario:
    """A small server of which any part may be there, and any of its settings awkward."""
    rnd = random.Random(number)
    some = rnd.choice
    span_s = some([20, 60, 300])

    def latency(low: float, high: float) -> dict[str, Any]:
        return {"call_ms": some([low, high]), "row_ms": some([0, 0.1, 1.0]), "sigma": some([0.3, 1.0]),
                "distribution": some(["constant", "lognormal", "exponential"])}  # fmt: skip

    def writer() -> dict[str, Any]:
        return {"semantics": some(["seed", "fixed", "recommended"]), "batch_rows": some([1, 5, 100]),
                "delay_ms": some([50, 1000, 5000]), "buffer_cap_rows": some([3, 40, 1000, "none"]),
                "retry_for_ms": some([0, 3000, 120000])}  # fmt: skip

    def fault() -> dict[str, Any]:
        kind, from_s = some(["slow", "fail", "stall", "down", "full"]), round(rnd.uniform(0, span_s * 0.8), 3)
        given = {"duration_ms": some([1, 300, 9000])} if kind in ("slow", "fail") else {}
        return {"kind": kind, "from_s": from_s, "to_s": round(from_s + some([0.5, 7, 60]), 3), **given}

    mix = some([(0.6, 0.05, 0.35), (0.2, 0.2, 0.6), (1.0, 0, 0)])
    workload: dict[str, Any] = {"rate_hz": some([2, 20, 60]), "duration_s": span_s, "queries_hz": some([0, 0.3, 3]),
                                "mix": dict(zip(STREAMS, mix, strict=True))}  # fmt: skip
    if rnd.random() < 0.5:
        workload["sessions"] = {"heartbeat_every_s": some([5, 30]), "length_median_s": some([20, 200]),
                                "abandoned": some([0.2, 0.9])}  # fmt: skip
    elif rnd.random() < 0.5:
        workload["live_sessions"] = some([3, 50])
    server: dict[str, Any] = {
        "writers": {stream: writer() for stream in STREAMS},
        "pool": {"limit": some([1, 2, 5, 20]), "pool_timeout_s": some([0.04, 1, 20]),
                 "connect_timeout_s": some([0.003, 1, 10])},
        "http": {"events_cpu_ms": some([0.25, 4, 0.0]), "row_cpu_ms": some([0.04, 0, 1.0])},
        "queries": {"rows_median": some([10, 2000]), "distinct": some([3, 50]), "compression": some([True, False]),
                    "take_rows": some(["none", 100])},
        "process": {"replicas": some([1, 1, 2, 3]), "start_s": some([0, 4]), "overlap_s": some([0, 3]),
                    "draining_s": some([0, 2, 10]), "handles_sigterm": some([True, False])},
    }  # fmt: skip
    if rnd.random() < 0.4:
        server["http"]["clients"] = {"timeout_s": some([0.1, 1]), "retries": some([0, 2]), "backoff_s": some([0, 0.5])}
    if rnd.random() < 0.5:
        server["cleanup"] = {"interval_s": some([5, 20]), "timeout_s": some([10, 60]),
                             "limit_rows": some([3, 100, "none"]), "one_statement": some([True, False])}  # fmt: skip
    if rnd.random() < 0.5:
        server["cache"] = {"ttl_s": some([5, 300]), "entries_max": some([2, "none"]),
                           "size_max_mib": some([0.5, "none"]), "store": some(["memory", "redis"])}  # fmt: skip
    if rnd.random() < 0.4:
        server["metrics"] = {"every_s": some([0.5, 10])}
    redis: dict[str, Any] = {}
    if rnd.random() < 0.4:
        redis["faults"] = [{"kind": some(["down", "unreachable"]), "from_s": span_s * 0.3, "to_s": span_s * 0.5 + 1}]
        server["redis_client"] = {"queue_limit": some([5, 1000, "none"]), "commands_per_request": some([0, 1])}
    if rnd.random() < 0.5:
        server["lifecycle"] = [{"kind": some(["deploy", "crash"]), "at_s": round(rnd.uniform(0, span_s), 2)}
                               for _ in range(some([1, 2]))]  # fmt: skip
    database: dict[str, Any] = {
        "insert": latency(1, 40), "update": latency(1, 10), "query": latency(2, 60), "connect_ms": some([0, 5, 50]),
        "max_connections": some([4, 5, 8, 100]), "refused_ms": some([1, 20]), "parallel_calls": some([1, 3, 8]),
        "faults": [fault() for _ in range(some([0, 0, 1, 2]))], "warm_up_s": some([0, 60]),
    }  # fmt: skip
    if rnd.random() < 0.2:
        database["bursts"] = {"calm_s": 20, "slow_s": 5, "factor": 8}
    given = {"workload": workload, "server": server, "database": database, "redis": redis}
    return Scenario(name=f"random-{number}", billing={"from": "2026-02-03"}, **given)


@pytest.mark.parametrize("first", range(0, 200, 10))
def test_readable_engine_and_kernel_agree_to_the_last_item_microsecond_and_bin(first: int) -> None:
    wrong = {number: found for number in range(first, first + 10)
             if (found := unequal(*both(random_scenario(number), number, 7_000_000)))}  # fmt: skip
    assert wrong == {}

"""Model and running reference side by side: a matrix of scenarios, loads and faults, each figure with a verdict.

In virtual time both play the same arrivals against the same call durations, so every figure has to be the same, and so
has every attempt. In real time the reference runs on a real database; the model is then given the durations that were
measured, and has to predict the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from capsim.base.units import US_PER_MS, US_PER_S
from capsim.engine.database import LatencyDatabase
from capsim.scenario.changes import applied
from capsim.scenario.file import load
from capsim.scenario.parts import RedisClientSpec
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from capsim.validation.matrix_sides import ArrivalTimes, Ints, SideLog
from capsim.validation.model_side import run_model
from capsim.validation.reference.database import Database
from capsim.validation.reference.redis import Connect
from capsim.validation.reference.rows import Event
from capsim.validation.reference_sides import MeasuredDatabase, RealRun, run_real, run_virtual
from capsim.workload import Trace, find_trace, load_of, read_trace

Fault = Literal["calm", "stall", "outage"]
FAULTS: tuple[Fault, ...] = ("calm", "stall", "outage")
WINDOW_US = 900 * US_PER_S  # played of each trace
FAULT_S = (300.0, 360.0)  # of that: the minute of the scenarios' stress envelope

# What a prediction in real time may be off by: the 2 % and 1 %; for times, what a busy event loop adds.
FLUSHES_SHARE, FLUSHES = 0.02, 1.0
DROPS_SHARE = 0.01
# Of all calls, beyond the 95 % interval. Timers of an event loop go off once a millisecond, so calls come and end
# together more often than by chance: of the reads on a crowded pool, 2.4 to 2.7 % more waited, many less than 1 ms.
WAITS_SHARE = 0.03
TIMES_SHARE, TIMES_MS = 0.10, 5.0
BUFFER_ROWS = 10.0
MEMORY_MIB = 16.0
READS_HZ = 1.0  # analytics reads of a run in real time
FEW = 30  # percentiles of fewer waits that were seen say nothing
KEPT_BYTES = 400  # assumed: what the recorder of this comparison keeps of one call, beside the server itself


class ReferenceCheck(NamedTuple):
    """One figure of a cell.

    Attributes
    ----------
    quantity, unit : str
        What, and in what.
    model, reference : float
        As predicted, as seen.
    error : float
        Model minus reference.
    lower, upper : float
        95 % interval of what was seen: of a percentile from the order of the sample, of a count the count itself.
    tolerance : float
        By how much the model may lie outside the interval.
    passed : bool
        Whether it does not.
    """

    quantity: str
    unit: str
    model: float
    reference: float
    error: float
    lower: float
    upper: float
    tolerance: float
    passed: bool


@dataclass(frozen=True)
class ReferenceCell:
    """One place of the matrix: a name, its checks, and both sides for whoever wants to draw them."""

    name: str
    clock: Literal["virtual", "real"]
    arrivals: int
    checks: tuple[ReferenceCheck, ...]
    late_ms: tuple[float, float, float] | None = None  # p50, p95, p99 of the driver's lateness
    model: SideLog = field(repr=False, kw_only=True)
    reference: SideLog = field(repr=False, kw_only=True)
    processes: Any = field(default=None, repr=False, kw_only=True)

    @property
    def failed(self) -> list[ReferenceCheck]:
        """What does not hold."""
        return [check for check in self.checks if not check.passed]

    def document(self) -> dict[str, Any]:
        """The cell as plain values."""
        late = None if self.late_ms is None else dict(zip(("p50_ms", "p95_ms", "p99_ms"), self.late_ms, strict=True))
        checks = [{k: None if v == np.inf else v for k, v in check._asdict().items()} for check in self.checks]
        return {"name": self.name, "clock": self.clock, "arrivals": self.arrivals, "late": late, "checks": checks}


# --- virtual time -------------------------------------------------------------------------------------------


def virtual_cells(scenarios: Sequence[str], traces: Sequence[str], seed: int = 0) -> Iterator[ReferenceCell]:
    """Every scenario under the busiest part of every trace: as it is, with a stall, and with an outage."""
    loads = [(name, busiest(read_trace(find_trace(name)))) for name in traces]
    for scenario_name in scenarios:
        scenario = applied(load(scenario_name))
        for trace_name, trace in loads:
            arrivals = ArrivalTimes(load_of(scenario, trace, seed).blocks())
            for fault in FAULTS:
                hit = with_fault(scenario, fault)
                model = run_model(hit, arrivals, LatencyDatabase(hit.database, seed, 0), seed)
                seen = run_virtual(hit, arrivals, LatencyDatabase(hit.database, seed, 0), seed)
                name = f"{Path(scenario_name).stem}, {Path(trace_name).stem}, {fault}"
                checks = (_item_for_item(model, seen), *_checks(model, seen, exact=True))
                yield ReferenceCell(name, "virtual", arrivals.total, checks, model=model, reference=seen)


def busiest(trace: Trace) -> Trace:
    """The busiest quarter of an hour of a trace, or all of one that is shorter."""
    times = trace.bin_start_us if trace.kind == "counts" else trace.times_us
    weights = trace.counts if trace.kind == "counts" else np.ones(len(times))
    totals = np.concatenate(([0], np.cumsum(weights)))
    inside = totals[times.searchsorted(times + WINDOW_US)] - totals[:-1]
    begin_us = int(times[int(inside.argmax())])
    return trace.window(begin_us, begin_us + WINDOW_US)


def with_fault(scenario: Scenario, fault: Fault) -> Scenario:
    """The scenario with a minute in which the database stalls, or is out and fails calls after 1 ms."""
    if fault == "calm":
        return scenario
    period: dict[str, Any] = {"from_s": FAULT_S[0], "to_s": FAULT_S[1]}
    kind: dict[str, Any] = {"kind": "stall"} if fault == "stall" else {"kind": "fail", "duration_ms": 1.0}
    return scenario.replace("database.faults", [period | kind])


def attempts_that_differ(model: SideLog, seen: SideLog) -> int:
    """Attempts to write a batch of which number, start, end, outcome or rows are not the same."""
    different = 0
    for stream in STREAMS:
        ours, theirs = model.attempts[stream], seen.attempts[stream]
        shorter = min(len(ours), len(theirs))
        different += max(len(ours), len(theirs)) - shorter
        different += int((ours[:shorter] != theirs[:shorter]).any(axis=1).sum())
    return different


def _item_for_item(model: SideLog, seen: SideLog) -> ReferenceCheck:
    """Attempts, totals, waits, buffers, stuck intervals, visits: all; the figure counts attempts that differ."""
    different = attempts_that_differ(model, seen)
    same = (
        different == 0
        and model.counts == seen.counts
        and model.stuck == seen.stuck
        and model.visits == seen.visits
        and np.array_equal(np.sort(model.waits_us), np.sort(seen.waits_us))
        and np.array_equal(np.sort(model.others_waits_us), np.sort(seen.others_waits_us))
        and all(np.array_equal(model.buffers[stream], seen.buffers[stream]) for stream in STREAMS)
    )
    return ReferenceCheck("attempts that differ", "attempts", different, 0, different, 0, 0, 0, same)


# --- real time ----------------------------------------------------------------------------------------------


def real_cell(
    scenario_name: str,
    where: str,
    database: Callable[[Path], Database],
    rate_hz: float,
    duration_s: float,
    seed: int = 0,
    redis: Callable[[RedisClientSpec], Connect] | None = None,
    reads_hz: float = READS_HZ,
) -> ReferenceCell:
    """A scenario's server in real time under Poisson arrivals, and the model with the durations that were measured.

    Parameters
    ----------
    scenario_name : str
        Its server is used, with analytics reads beside the load.
    where : str
        Name of the database, for people.
    database : callable
        Makes it, given a folder that lasts as long as the run.
    rate_hz, duration_s : float
        All requests together [1/s]; length of the run [s].
    redis : callable, optional
        How to reach a Redis; with one, the answers to reads are kept in it for 5 s.
    reads_hz : float
        Analytics reads [1/s].
    """
    workload = {"rate_hz": rate_hz, "duration_s": duration_s, "live_sessions": 500, "queries_hz": reads_hz}
    scenario = applied(load(scenario_name)).replace("workload", workload)
    if redis is not None:
        scenario = scenario.replace("server.cache", {"store": "redis", "ttl_s": 5.0})
    arrivals = ArrivalTimes(load_of(scenario, seed=seed).blocks())
    run = run_real(scenario, arrivals, database, redis)
    model = run_model(scenario, arrivals, MeasuredDatabase(run))
    late_s = float(run.late_us.max(initial=0)) / US_PER_S
    checks = [*_checks(model, run.seen, exact=False, late_s=late_s, run_s=duration_s), _memory(model, run)]
    p50, p95, p99 = (float(np.percentile(run.late_us, p)) / US_PER_MS for p in (50, 95, 99))
    name = f"{Path(scenario_name).stem}, {rate_hz:g}/s for {duration_s:g} s, {where}"
    return ReferenceCell(
        name,
        "real",
        arrivals.total,
        tuple(checks),
        (p50, p95, p99),
        model=model,
        reference=run.seen,
        processes=run.processes,
    )


def _memory(model: SideLog, run: RealRun) -> ReferenceCheck:
    """Growth of this Python process, calibrated by one row's size here: says nothing of Node."""
    server = run.processes[run.processes["of"] == "server"]
    grown_mib = float(server["uss_mib"].max() - server["uss_mib"].iloc[0])
    rows = sum(int(model.buffers[stream].max(initial=0)) for stream in STREAMS)
    calls = sum(len(calls) for calls in run.calls.values())
    predicted_mib = (rows * row_bytes() + calls * KEPT_BYTES) / 2**20
    return _check("growth of this Python process", "MiB", predicted_mib, grown_mib, MEMORY_MIB)


def row_bytes(rows: int = 2_000) -> float:
    """Bytes that one buffered event takes in this Python process, measured by making some [bytes]."""
    import tracemalloc

    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = {i: (Event(f"e{i}", "game", f"user-{i}", None, "level", '{"score":1}', i), i) for i in range(rows)}
        after, _ = tracemalloc.get_traced_memory()
        return (after - before) / len(kept)
    finally:
        tracemalloc.stop()


# --- figures ------------------------------------------------------------------------------------------------


def _checks(
    model: SideLog, seen: SideLog, *, exact: bool, late_s: float = 0.0, run_s: float = 1.0
) -> Iterator[ReferenceCheck]:
    """All figures; of a run in real time also how late its driver was at worst, and how long it took [s]."""

    def allowed(tolerance: float) -> float:
        return 0.0 if exact else tolerance

    for stream in STREAMS:
        ours, theirs = model.counts[stream], seen.counts[stream]
        flushes = allowed(max(FLUSHES, FLUSHES_SHARE * theirs["flushes"]))
        yield _check(f"{stream}: flushes", "flushes", ours["flushes"], theirs["flushes"], flushes)
        sizes = [_first(side.attempts[stream])[:, 5] for side in (model, seen)]
        ours_mean, theirs_mean = (float(size.mean()) if len(size) else 0.0 for size in sizes)
        rows = allowed(max(1.0, FLUSHES_SHARE * theirs_mean))
        yield _check(f"{stream}: mean flush", "rows", ours_mean, theirs_mean, rows)
        for name in ("dropped_cap", "dropped_failed", "uncounted"):
            share = allowed(DROPS_SHARE * theirs["arrived"])
            yield _check(f"{stream}: {name.replace('_', ' ')}", "items", ours[name], theirs[name], share)
        durations = [_durations(side.attempts[stream]) for side in (model, seen)]
        yield from _percentiles(f"{stream}: attempt", durations[0], durations[1], exact)
        for word, figure in (("mean", np.mean), ("highest", np.max)):
            ours_rows, theirs_rows = (float(figure(side.buffers[stream])) for side in (model, seen))
            # What a late driver brings, it brings at once.
            bunch = theirs["arrived"] / run_s * late_s if word == "highest" else 0.0
            rows = allowed(max(BUFFER_ROWS, TIMES_SHARE * theirs_rows) + bunch)
            yield _check(f"{stream}: {word} buffer", "rows", ours_rows, theirs_rows, rows)
    yield from _percentiles("pool wait", model.waits_us, seen.waits_us, exact)
    yield from _percentiles("reads of the database", _reads_us(model), _reads_us(seen), exact)
    writers = [side.waits_us[side.waits_us > 0] for side in (model, seen)]
    others = [side.others_waits_us for side in (model, seen)]
    calls = len(seen.waits_us), sum(visit[7] for visit in seen.visits)
    for who, (ours_us, theirs_us), of in zip(("writers", "others"), (writers, others), calls, strict=True):
        share = len(theirs_us) / of if of else 0.0
        half = allowed(1.96 * (of * share * max(0.0, 1 - share)) ** 0.5)
        seen_waits = len(theirs_us) - half, len(theirs_us) + half
        name = f"calls of {who} that waited"
        yield _check(name, "calls", len(ours_us), len(theirs_us), allowed(WAITS_SHARE * of), *seen_waits)
        if exact or len(theirs_us) >= FEW:
            yield from _percentiles(f"wait of {who} that waited", ours_us, theirs_us, exact)


def _reads_us(side: SideLog) -> Ints:
    """How long the reads took that no cache answered, waits for a connection included."""
    took_us = [end_us - start_us for part, _, start_us, end_us, ok, _, cached, *_ in side.visits
               if part == "queries" and ok and not cached]  # fmt: skip
    return np.array(took_us, np.int64)


def _first(attempts: Ints) -> Ints:
    first: Ints = attempts[attempts[:, 1] == 1]
    return first


def _durations(attempts: Ints) -> Ints:
    durations: Ints = attempts[:, 3] - attempts[:, 2]
    return durations


def _percentiles(name: str, ours_us: Ints, theirs_us: Ints, exact: bool) -> Iterator[ReferenceCheck]:
    for percent in (50, 95, 99):
        ours, theirs = _percentile_ms(ours_us, percent), _percentile_ms(theirs_us, percent)
        lower, upper = (theirs, theirs) if exact else _interval_ms(theirs_us, percent)
        tolerance = 0.0 if exact else max(TIMES_MS, TIMES_SHARE * theirs)
        yield _check(f"{name}, p{percent}", "ms", ours, theirs, tolerance, lower, upper)


def _percentile_ms(sample_us: Ints, percent: float) -> float:
    return float(np.percentile(sample_us, percent)) / US_PER_MS if len(sample_us) else 0.0


def _interval_ms(sample_us: Ints, percent: float) -> tuple[float, float]:
    """95 % interval of a percentile, from the order of the sample; binomial, by its normal approximation.

    A sample that is too small to bound a high percentile leaves it open upwards.
    """
    n, p = len(sample_us), percent / 100
    if not n:
        return 0.0, 0.0
    half = 1.96 * (n * p * (1 - p)) ** 0.5
    ordered = np.sort(sample_us) / US_PER_MS
    low, high = max(0, int(n * p - half)), int(np.ceil(n * p + half))
    return float(ordered[low]), float(ordered[high]) if high < n else np.inf


def _check(
    quantity: str,
    unit: str,
    model: float,
    reference: float,
    tolerance: float,
    lower: float | None = None,
    upper: float | None = None,
) -> ReferenceCheck:
    low, high = reference if lower is None else lower, reference if upper is None else upper
    passed = low - tolerance <= model <= high + tolerance
    return ReferenceCheck(quantity, unit, model, reference, model - reference, low, high, tolerance, passed)

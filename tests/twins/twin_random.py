"""Random configurations for comparing the model with its twin, and how to print one for a rerun."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import tomlkit

from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS, RunSpec

# A coarse grid makes timers, ends of calls and arrivals coincide. Every rate is exact in binary, so
# that evenly spaced arrivals stay on the grid too.
GRIDS_MS = (1, 5, 25, 50)
SPACINGS = (1, 2, 4, 5, 8, 10, 20)  # in units of the grid


class Case(NamedTuple):
    """A scenario with scripted arrivals, already spelled out in microseconds."""

    scenario: Scenario
    arrivals: dict[str, list[int]]
    sessions: list[int] | None  # of each heartbeat
    end_us: int
    shutdown_us: int | None


def arrivals_of(runs: Sequence[RunSpec], stream: str) -> list[int]:
    """Arrival times of one stream [us]: item i of a run comes i / rate after its first, rounded down."""
    return sorted(
        run.at_ms * 1000 + (0 if run.rate_hz is None else int(1_000_000 * i // run.rate_hz))
        for run in runs
        if run.stream == stream
        for i in range(run.count)
    )


def random_case(rng: random.Random) -> Case:
    """One configuration, of the size of the production constants in one case of ten."""
    production = rng.random() < 0.1
    grid_ms = rng.choice(GRIDS_MS)
    runs = _production_runs(rng) if production else _small_runs(rng, grid_ms)
    last_ms = max(run["at_ms"] + _length_ms(run) for run in runs)
    # Some runs are cut off while batches are out; most go on until only a stuck buffer can be left.
    end_ms = rng.choice((last_ms, last_ms + 40 * grid_ms, last_ms + 30_000, last_ms + 30_000)) + 1
    writer = {"batch_rows": 100, "delay_ms": 5_000, "buffer_cap_rows": 1_000}
    span_ms = last_ms + 20 * grid_ms
    data = {
        "name": "random",
        "workload": {
            "runs": runs,
            "duration_s": end_ms / 1000,
            "live_sessions": rng.choice((None, 1, 2, rng.randint(3, 12), rng.randint(50, 400))),
        },
        "server": {
            "writers": {
                stream: {
                    **(writer if production else _small_writer(rng, grid_ms)),
                    "semantics": rng.choice(("seed", "fixed", "recommended")),
                    "retry_for_ms": rng.choice((120_000, rng.randint(0, 3_000))),
                }
                for stream in STREAMS
            },
            "pool": {
                "limit": rng.choice((1, 1, 1, 2, 2, 3, 4)),
                "pool_timeout_s": rng.choice((20, grid_ms * rng.randint(1, 12) / 1000)),
                "connect_timeout_s": rng.choice((10, 10, 10, grid_ms * rng.randint(1, 3) / 1000)),
            },
        },
        "database": {
            "insert": _latency(rng, grid_ms, production),
            "update": _latency(rng, grid_ms, production),
            "connect_ms": rng.choice((0, 0, grid_ms, 2 * grid_ms, 0.4)),
            "faults": [_fault(rng, grid_ms, span_ms) for _ in range(rng.choice((0, 0, 1, 2)))],
            "bursts": rng.choice((None, None, None, {"calm_s": 0.5, "slow_s": 0.2, "factor": 5})),
        },
        "billing": {"from": "2026-02-03"},
    }
    scenario = Scenario.model_validate(data)
    arrivals = {stream: arrivals_of(scenario.workload.runs, stream) for stream in STREAMS}
    live = scenario.workload.live_sessions
    sessions = None if live is None else [i % live for i in range(len(arrivals["heartbeats"]))]
    shutdown_ms = rng.randint(0, span_ms // grid_ms) * grid_ms if rng.random() < 0.25 else None
    shutdown_us = None if shutdown_ms is None else shutdown_ms * 1000
    return Case(scenario, arrivals, sessions, end_ms * 1000, shutdown_us)


def _length_ms(run: dict[str, Any]) -> int:
    return 0 if run.get("rate_hz") is None else int(1000 * run["count"] / run["rate_hz"])


def _production_runs(rng: random.Random) -> list[dict[str, Any]]:
    runs = []
    for stream in STREAMS:
        rate_hz = rng.choice((5, 20, 50, 97.3, 100, 500, 2_000))
        count = rng.randint(1, min(1_500, int(20 * rate_hz)))
        runs.append({"stream": stream, "at_ms": rng.randint(0, 1_000), "count": count, "rate_hz": rate_hz})
    return runs


def _small_runs(rng: random.Random, grid_ms: int) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = []
    for stream in STREAMS:
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            spacing_ms = grid_ms * rng.choice(SPACINGS)
            run = {"stream": stream, "at_ms": grid_ms * rng.randint(0, 60), "count": rng.randint(1, 40)}
            shape = rng.random()
            if shape < 0.8:
                run["rate_hz"] = 1000 / spacing_ms
            elif shape < 0.9:
                run["rate_hz"] = round(rng.uniform(5, 400), 1)  # off the grid
            runs.append(run)
    return runs or [{"stream": "events", "at_ms": 0, "count": 3}]


def _small_writer(rng: random.Random, grid_ms: int) -> dict[str, Any]:
    return {
        "batch_rows": rng.randint(1, 8),
        "delay_ms": grid_ms * rng.randint(1, 16),
        "buffer_cap_rows": rng.choice(("none", rng.randint(1, 4), rng.randint(4, 12), rng.randint(4, 40))),
    }


def _latency(rng: random.Random, grid_ms: int, production: bool) -> dict[str, Any]:
    call_ms: float = rng.choice((5, 20, 40, 700)) if production else grid_ms * rng.randint(1, 10)
    if rng.random() < 0.6:
        return {"distribution": "constant", "call_ms": call_ms, "row_ms": rng.choice((0, 0, 0, grid_ms))}
    return {
        "distribution": rng.choice(("lognormal", "exponential", "constant")),
        "call_ms": rng.choice((call_ms, 0.001)),
        "row_ms": rng.choice((0, 0.1)),
        "sigma": rng.choice((0, 0.5, 1.5)),
    }


def _fault(rng: random.Random, grid_ms: int, span_ms: int) -> dict[str, Any]:
    kind = rng.choice(("slow", "fail", "stall", "full"))
    from_ms = grid_ms * rng.randint(0, span_ms // grid_ms)
    to_ms = from_ms + grid_ms * rng.randint(1, 60)
    fault: dict[str, Any] = {"kind": kind, "from_s": from_ms / 1000, "to_s": to_ms / 1000}
    if kind == "slow" or (kind == "fail" and rng.random() < 0.7):
        fault["duration_ms"] = rng.choice((1, grid_ms * rng.randint(1, 60)))
    return fault


def to_toml(scenario: Scenario) -> str:
    """The scenario as a file that `capsim run` reads."""
    return tomlkit.dumps(scenario.model_dump(by_alias=True, exclude_none=True))


def describe(case: Case) -> str:
    """The case, ready to be saved and rerun; a shutdown is no part of a scenario and comes as a comment."""
    shutdown = "never" if case.shutdown_us is None else f"at {case.shutdown_us} us"
    return f"# shutdown: {shutdown}; end: {case.end_us} us\n{to_toml(case.scenario)}"

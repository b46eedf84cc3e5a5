"""The benchmark compares ways that do the same: its plain SimPy writer is the plain twin's writer."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from capsim.specs import Scenario
from twin import simulate

MINUTE_US = 60_000_000


@pytest.fixture(scope="module")
def job() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "writer_job.py"
    spec = importlib.util.spec_from_file_location("writer_job", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("rate_hz", "median_us", "drops"),
    [(10, 20_000, False), (100, 20_000, False), (25, 3_000_000, False), (100, 8_000_000, True)],
    ids=["light load", "full batches", "spent timers", "slow database"],
)
def test_plain_simpy_counts_what_the_twin_counts(
    job: ModuleType, rate_hz: float, median_us: float, drops: bool
) -> None:
    arrivals_us = job.make_arrivals(end_us=5 * MINUTE_US, rate_hz=rate_hz)
    durations_us = job.make_durations(len(arrivals_us), median_us=median_us)
    scenario = Scenario.model_validate(
        {
            "name": "job",
            "workload": {"rate_hz": rate_hz, "duration_s": 300},
            "database": {"connect_ms": 0},
            "billing": {"from": "2026-02-03"},
        }
    )
    events = simulate(
        scenario,
        {"events": arrivals_us.tolist()},
        None,
        job.END_US,
        lambda kind, stream, attempt, item, rows, start_us, crowding: (durations_us[item], True),
    ).writers["events"]

    counts = job.run_plain(arrivals_us, durations_us)
    assert counts == (len(events.attempts), events.written, events.dropped_cap)
    assert (counts.dropped > 0) is drops

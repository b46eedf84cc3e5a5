"""Whole runs with and without look-ahead: the same tables to the last bit, whatever happens to the server.

The twins of the parts look at single servers (`test_model_twin`, `test_loop_twin`, `test_visits_twin` and
`test_fleet_twin`); here everything is together as `capsim run` plays it: faults, deploys, crashes, replicas on one
Postgres, heap caps.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest

from capsim import load
from capsim.engine import ahead, fleet
from capsim.engine.arrivals import Arrivals
from capsim.engine.model import Server
from capsim.engine.writer import Writer
from capsim.results.run import Run, simulate
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from twin_random import to_toml

CLASSES = ("plain", "faults", "coupled", "deploys", "caps", "all")


def random_scenario(kind: str, number: int) -> Scenario:
    """A few minutes of a server of one class."""
    rng = random.Random(f"look ahead {kind} {number}")
    span_s = rng.choice((120, 300))
    writer = {
        "semantics": rng.choice(("seed", "fixed", "recommended")),
        "batch_rows": rng.choice((10, 100)),
        "delay_ms": rng.choice((500, 5_000)),
        "buffer_cap_rows": rng.choice(("none", 200, 1_000)),
    }
    server: dict[str, Any] = {"writers": {name: dict(writer) for name in ("events", "revenue", "heartbeats")}}
    database: dict[str, Any] = {"insert": {"call_ms": rng.choice((2, 20)), "distribution": "lognormal"}}
    workload: dict[str, Any] = {"rate_hz": rng.choice((5, 40, 120)), "duration_s": span_s}
    if kind in ("faults", "all"):
        kinds = ("slow", "fail", "stall", "down", "full")
        database["faults"] = [
            {
                "kind": (what := rng.choice(kinds)),
                "from_s": at_s,
                "to_s": at_s + rng.choice((3, 20)),
                **({"duration_ms": rng.choice((200, 6_000))} if what in ("slow", "fail") else {}),
            }
            for at_s in sorted(rng.sample(range(10, span_s - 25, 25), rng.choice((1, 3))))
        ]
    if kind in ("coupled", "all"):
        server["pool"] = {"limit": rng.choice((1, 2, 3)), "pool_timeout_s": rng.choice((0.5, 10))}
        server["metrics"] = {"every_s": rng.choice((1, 15))}
        workload["queries_hz"] = rng.choice((0.2, 3))
        if rng.random() < 0.5:
            workload["sessions"] = {"length_median_s": 60}
            server["cleanup"] = {"interval_s": 30, "timeout_s": 40, "limit_rows": 20}
    if kind in ("deploys", "all"):
        server["lifecycle"] = [
            {"kind": rng.choice(("deploy", "crash")), "at_s": rng.uniform(5, span_s)} for _ in range(rng.choice((1, 3)))
        ]
        server["process"] = {
            "start_s": rng.choice((0, 4)),
            "handles_sigterm": rng.random() < 0.5,
            "draining_s": rng.choice((0, 5)),
            "overlap_s": rng.choice((0, 10)),
            "replicas": rng.choice((1, 1, 2)),
        }
    if kind in ("caps", "all"):
        server["node"] = {"heap_cap_mib": rng.choice((32, 48, 96))}
        if kind == "caps":
            database["faults"] = [{"kind": "stall", "from_s": 30, "to_s": 90}]
    return Scenario.model_validate({
        "name": kind, "workload": workload, "server": server, "database": database, "billing": {"from": "2026-02-03"},
    })  # fmt: skip


def played(scenario: Scenario, seed: int, monkeypatch: pytest.MonkeyPatch, *, look_ahead: bool) -> tuple[Run, int, int]:
    """A run; flushes that were played ahead, and all."""
    servers: list[Server] = []

    class Watched(Server):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **(options | {"look_ahead": look_ahead}))
            servers.append(self)

    with monkeypatch.context() as patch:  # undone at once: 2,000 runs would all be kept
        patch.setattr(fleet, "Server", Watched)
        run = simulate(scenario, month=False, seed=seed, batches=True)
    assert run.batches is not None
    ahead = sum(server.ahead.flushes for server in servers)
    return run, ahead, sum(writer.batches for server in servers for writer in server.writers.values())


def check(kind: str, number: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    scenario = random_scenario(kind, number)
    runs = [played(scenario, number, monkeypatch, look_ahead=look_ahead) for look_ahead in (True, False)]
    (ahead, looked, flushes), (events, none, _) = runs
    assert none == 0
    try:
        for name in ("samples", "batches", "stuck", "waits", "lives"):
            pd.testing.assert_frame_equal(getattr(ahead, name), getattr(events, name), check_exact=True)
        pd.testing.assert_frame_equal(ahead.accounting(), events.accounting())
        assert ahead.warnings == events.warnings
    except AssertionError as error:
        raise AssertionError(f"{kind} {number}: {error}\n{to_toml(scenario)}") from None
    return looked, flushes


def compare(numbers: range, kind: str, monkeypatch: pytest.MonkeyPatch) -> float:
    """Share of the flushes that were played ahead."""
    found = Counter[str]()
    for number in numbers:
        looked, flushes = check(kind, number, monkeypatch)
        found.update(ahead=looked, all=flushes)
    return found["ahead"] / found["all"]


@pytest.mark.parametrize("kind", CLASSES)
def test_runs_with_and_without_look_ahead_are_equal(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    share = compare(range(3), kind, monkeypatch)
    assert share > 0.05 or kind == "all"  # with all of it at once there may be nothing that is undisturbed


@pytest.mark.slow
@pytest.mark.timeout(3_000)
@pytest.mark.parametrize("kind", CLASSES)
def test_two_thousand_runs_are_equal(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    share = compare(range(1_000, 1_334), kind, monkeypatch)
    print(f"{kind}: {share:.1%} of the flushes were played ahead")


def test_arrivals_that_are_moved_leave_the_load_as_it_was():
    """The load may be played again: the explorer keeps its arrivals, and none of them is copied unless it moves."""
    given = np.array([10, 20, 30])
    arrivals = Arrivals()
    arrivals.extend(given, None, 0)
    arrivals.move(1, np.array([25]))

    assert arrivals.times(slice(0, 3)).tolist() == [10, 25, 30] and arrivals.time_us(1) == 25
    assert given.tolist() == [10, 20, 30]


@pytest.mark.parametrize("rows", [1, 7, 30])
@pytest.mark.parametrize("rate_hz", [30, 35, 60])
def test_a_run_of_full_batches_is_the_beginning_of_the_chain(rows, rate_hz, monkeypatch):
    """Found by slices, without following the chain; the times are coarse, so that many are the same."""
    gaps_us = np.random.default_rng(rate_hz).exponential(1e6 / rate_hz, 4_000)
    arrivals = Arrivals()
    arrivals.extend(gaps_us.cumsum().astype(np.int64) // 50_000 * 50_000, None, 0)
    lengths = set()
    for first in range(0, 3_000, 11):
        if arrivals.time_us(first + rows - 1) >= arrivals.time_us(first) + 1_000_000:
            continue  # its timer goes off before
        found = []
        for least in (1, 10**9):
            monkeypatch.setattr("capsim.engine.arrivals.RUN", least)
            found.append(
                arrivals.batches(first, first + rows, None, rows=rows, apart_us=1_000_000, most=20, until_us=10**12)
            )
            monkeypatch.undo()
        run, chain = found
        count = len(run.following)
        assert run.full.all() and count == min(20, int(np.append(chain.full, False).argmin()))
        for one, other in zip(run, chain, strict=True):
            assert np.array_equal(one, other[:count])
        lengths.add(count)
    assert 20 in lengths or len(lengths) > 3


@pytest.mark.parametrize(("rate_hz", "turns"), [(20, 1.4), (30, 1.9), (50, 1.6), (100, 1.2)])
def test_a_stretch_is_played_once_as_a_rule_and_in_one_series(rate_hz, turns, monkeypatch):
    """Its flushes are guessed first; without a guess more than half of the writers play again.

    At 20/s batches are started by their timers, at 100/s they are full before, in between both happen in turn.

    A writer is asked for its next series to guess, to play, and in vain where none is left.
    """
    played, looks, series = [], [], []
    play, look, regular = ahead._Player.play, ahead.LookAhead.play, Writer.regular_flushes
    monkeypatch.setattr(Writer, "regular_flushes", lambda self, *given: (series.append(self), regular(self, *given))[1])
    monkeypatch.setattr(ahead._Player, "play", lambda self, *given: (played.append(self), play(self, *given))[1])
    monkeypatch.setattr(ahead.LookAhead, "play", lambda self, *given: (looks.append(self), look(self, *given))[1])

    simulate(load("after").replace("workload", {"rate_hz": rate_hz, "duration_s": 6 * 3_600}), seed=1, month=False)

    assert len(played) < turns * len(STREAMS) * len(looks)
    assert len(series) < 4 * len(STREAMS) * len(looks)

"""Bins are exact: they say what looking at every microsecond would say."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from capsim import load
from capsim.engine.database import LatencyDatabase
from capsim.engine.model import Server
from capsim.engine.recorder import FIRST_ROWS, Pieces
from capsim.engine.sampler import Sampler, Step, edges_of
from capsim.engine.simulation import play
from capsim.results.run import _resolution_s
from capsim.scenario.scenario import Scenario
from capsim.scenario.server import HttpSpec
from capsim.scenario.workload import STREAMS
from capsim.workload.load import load_of

FREE = HttpSpec(  # a loop on which nothing takes time
    events_cpu_ms=0, revenue_cpu_ms=0, heartbeats_cpu_ms=0, other_cpu_ms=0, row_cpu_ms=0, gc_pause_ms=0
)
EDGES = np.array([0, 10, 20, 30])


def test_a_step_is_averaged_over_the_time_it_lasts() -> None:
    """Level 2 until 5, then 3 until 15, then 1: means 2.5, 2, 1."""
    step = Step(2)

    mean, largest = step.bins(np.array([5, 15]), np.array([1, -2]), EDGES)

    assert mean.tolist() == [2.5, 2.0, 1.0]
    assert largest.tolist() == [3, 3, 1]
    assert step.level == 1


@pytest.mark.parametrize("seed", range(20))
def test_means_and_largest_values_are_those_of_every_single_microsecond(seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, 30, 12))
    deltas = rng.integers(-2, 4, 12)
    level = np.array([3 + deltas[times <= at].sum() for at in range(30)])

    mean, _ = Step(3).bins(times, deltas, EDGES)

    assert np.allclose(mean, level.reshape(3, 10).mean(axis=1))


def plain_level(times_us: np.ndarray, deltas: np.ndarray, at_us: np.ndarray) -> np.ndarray:
    order = np.argsort(times_us, kind="stable")
    totals = np.concatenate(([0], np.cumsum(deltas[order])))
    return totals[np.searchsorted(times_us[order], at_us, "right")]


@pytest.mark.parametrize("seed", range(4))
def test_buffers_in_bins_are_the_buffers_of_the_facts(seed: int) -> None:
    """Sampled every millisecond from the facts, in four blocks: same mean, same extremes."""
    rng = np.random.default_rng(seed)
    scenario = Scenario.model_validate({
        "name": "bins",
        "workload": {"rate_hz": 1, "duration_s": 40},
        "server": {"writers": {s: {"batch_rows": 20, "delay_ms": 700, "buffer_cap_rows": 60} for s in STREAMS}},
        "database": {
            "insert": {"call_ms": 40},
            "update": {"call_ms": 4},
            "faults": [{"kind": "stall", "from_s": 12, "to_s": 19}],
        },
        "billing": {"from": "2026-02-03"},
    })  # fmt: skip
    writers = {stream: getattr(scenario.server.writers, stream) for stream in STREAMS}
    server = Server(writers, scenario.server.pool, 10, LatencyDatabase(scenario.database, seed, 0), http=FREE)
    sampler = Sampler(1_000_000)
    arrivals = {s: np.unique(rng.integers(0, 40_000, 1_000)) * 1_000 + 500 for s in STREAMS}
    stored, takes = {s: [] for s in STREAMS}, {s: [] for s in STREAMS}
    for start in range(0, 40_000_000, 10_000_000):
        stop = start + 10_000_000
        times = {s: t[(t >= start) & (t < stop)] for s, t in arrivals.items()}
        block = SimpleNamespace(from_us=start, to_us=stop, times=times, heartbeat_sessions=None,
                                other_us=np.empty(0, np.int64), covered_us=[(start, stop)], in_order=None)  # fmt: skip
        happened = sampler.play(server, block)
        for part, s in enumerate(STREAMS):
            stored[s].append(happened.stretches[s].stored_us)
            own = happened.takes["part"] == part
            takes[s].append(np.column_stack((happened.takes["taken_us"][own], happened.takes["rows"][own])))
    table = sampler.table()

    for s in STREAMS:
        stored_us, taken = np.concatenate(stored[s]), np.concatenate(takes[s])
        times_us = np.concatenate((stored_us, taken[:, 0]))
        deltas = np.concatenate((np.ones(len(stored_us), int), -taken[:, 1]))
        moments = np.unique(np.concatenate((times_us, np.arange(0, 40_000_000, 1_000_000))))
        level = plain_level(times_us, deltas, moments)
        lasts = np.diff(np.append(moments, 40_000_000))
        for second in range(40):
            inside = (moments >= second * 1_000_000) & (moments < (second + 1) * 1_000_000)
            row = table.iloc[second]
            assert row[f"{s}_buffer_mean_rows"] == pytest.approx((level * lasts)[inside].sum() / 1e6)
            took = [rows for at, rows in taken if at // 1_000_000 == second]
            assert row[f"{s}_buffer_max_rows"] == max(level[inside].max(), *took, 0)
            # A take leaves nothing, even if an arrival follows in the same microsecond.
            assert row[f"{s}_buffer_min_rows"] == (0 if took else level[inside].min())


def test_a_bin_ends_where_the_load_ends() -> None:
    minute = 60_000_000

    assert edges_of(0, 3 * minute, minute, 90_000_000).tolist() == [0, minute, 90_000_000, 2 * minute, 3 * minute]


def test_bins_of_a_process_that_starts_late_lie_on_the_common_grid() -> None:
    assert edges_of(75, 215, 60).tolist() == [75, 120, 180, 215]


def test_pieces_are_put_together_in_order_however_many() -> None:
    """Some are longer than the room there is, one has real numbers, and the last may still be changed."""
    pieces, sizes = Pieces(), [3, 0, 2 * FIRST_ROWS, 1, FIRST_ROWS]
    whole = np.arange(sum(sizes))
    for piece in np.split(whole, np.cumsum(sizes)[:-1]):
        pieces.add({"rows": piece, "mean": piece / 2 if len(piece) == 1 else piece})
    pieces.last["mean"] = pieces.last["mean"] + 0.25

    assert len(pieces) == len(whole)
    together = pieces.together()
    assert together["rows"].tolist() == whole.tolist() and together["rows"].dtype == np.int64
    expected = whole.astype(float)
    expected[-FIRST_ROWS - 1] /= 2
    expected[-FIRST_ROWS:] += 0.25
    assert together["mean"].tolist() == expected.tolist()


@pytest.mark.parametrize(("days", "width_s"), [(1, 60), (62, 60), (365, 360), (100_000, 3_600)])
def test_a_long_load_gets_wider_bins(days: int, width_s: float) -> None:
    """Memory is bounded whatever the length of the load."""
    assert _resolution_s(days * 86_400 * 1_000_000) == width_s


def test_a_process_that_has_ended_holds_no_arrivals() -> None:
    spec = load("after").replace("workload", {"rate_hz": 5, "duration_s": 600})
    spec = spec.replace("server.lifecycle", [{"kind": "deploy", "at_s": 300}])
    played, _ = play(spec, load_of(spec), seed=0, replicate=0, resolution_s=60, keep=False, progress=None)
    first, second = (process.server for process in played.fleet.processes)

    assert first.writers["events"].arrivals.known > 0
    assert not len(first.writers["events"].arrivals._times) and not len(first.loop._jobs.at_us)
    assert len(second.writers["events"].arrivals._times)

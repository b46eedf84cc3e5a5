"""A volume that fills in the middle of a run, and what is lost from then on."""

from __future__ import annotations

import pandas as pd
import pytest

from capsim import load
from capsim.memory.volume import volume_full
from capsim.results.accounting import FATES
from capsim.results.run import Run, simulate
from capsim.scenario.columns import LOSSES, SAMPLES
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS


def scenario(volume_gb: float, *, stops: bool) -> Scenario:
    spec = load("recommended").replace("workload", {"rate_hz": 40, "duration_s": 7_200})
    return spec.replace("database.volume_gb", volume_gb).replace("database.stops_when_full", stops)


@pytest.fixture(scope="module")
def told() -> Run:
    return simulate(scenario(0.25, stops=False), month=False)


@pytest.fixture(scope="module")
def stopped() -> Run:
    return simulate(scenario(0.25, stops=True), month=False)


def test_it_is_the_same_run_until_then_and_writes_nothing_afterwards(told: Run, stopped: Run) -> None:
    full = volume_full(told.samples, told.scenario)
    assert full is not None and full.simulated and 600 < full.at_s < 6_600
    ends_s = told.samples.time_s + told.samples.width_s

    before, after = ends_s < full.at_s, told.samples.time_s > full.at_s + 60
    counted = [column.name for column in SAMPLES]  # the heap of a bin knows the next collection
    pd.testing.assert_frame_equal(told.samples.loc[before, counted], stopped.samples.loc[before, counted])
    assert told.samples.db_rows[after].min() > 0 and stopped.samples.db_rows[after].sum() == 0
    assert stopped.samples.postgres_volume_mib.iloc[-1] == pytest.approx(full.volume_gb * 1e9 / 2**20, rel=0.01)


def test_what_is_lost_is_counted_and_said(told: Run, stopped: Run) -> None:
    lost = stopped.accounting()
    assert (lost.arrived == lost[list(FATES)].sum(axis=1)).all()
    dropped = int(lost[list(LOSSES)].to_numpy().sum())

    assert dropped > 10_000 and int(told.accounting().dropped_cap.sum()) == 0
    (said,) = [line for line in stopped.warnings if "volume of postgres" in line]
    assert f"every write fails from then on; {dropped:,} items are lost" in said
    assert any("database.stops_when_full = true does" in line for line in told.warnings)


@pytest.mark.parametrize("semantics", ["seed", "recommended"])
def test_a_month_beyond_a_full_volume_never_loses_0(semantics: str) -> None:
    """Without simulating it, the items that come later are lost: the same as the simulation of it, within 1 %."""
    found = []
    for stops in (False, True):
        spec = scenario(0.25, stops=stops)
        for stream in STREAMS:
            spec = spec.replace(f"server.writers.{stream}.semantics", semantics)
        found.append(simulate(spec, month=False))
    held = found[1].accounting()[["buffered", "in_flight", "coalesced"]].to_numpy().sum()  # not lost yet, in two hours
    told, stopped = (run.summary().set_index("metric") for run in found)

    assert told.value["items_lost_volume_full"] > 10_000 and stopped.value["items_lost_volume_full"] == 0
    assert told.value["items_lost"] == pytest.approx(stopped.value["items_lost"] + held, rel=0.015)
    assert told.value["volume_full_after"] == pytest.approx(stopped.value["volume_full_after"])
    assert "simulated to day" in told.basis["items_lost"]


def test_the_lost_items_of_a_full_volume_are_all_kinds(stopped: Run) -> None:
    """Items that no counter of the server has are lost, too."""
    spec = scenario(0.25, stops=True)
    for stream in STREAMS:
        spec = spec.replace(f"server.writers.{stream}.semantics", "seed")
    run = simulate(spec, month=False)
    lost = int(run.accounting()[list(LOSSES)].to_numpy().sum())

    assert int(run.accounting().uncounted.sum()) > 0
    (said,) = [line for line in run.warnings if "volume of postgres" in line]
    assert f"{lost:,} items are lost" in said


def test_a_volume_that_lasts_changes_nothing() -> None:
    runs = [simulate(scenario(50, stops=stops), month=False) for stops in (False, True)]
    pd.testing.assert_frame_equal(runs[0].samples, runs[1].samples)

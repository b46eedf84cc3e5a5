"""The stress test: its figures do not depend on how long it goes on."""

from __future__ import annotations

import importlib
import math

import pytest

from capsim import load
from capsim.results.stress_test import stress

module = importlib.import_module("capsim.results.stress_test")


def figures(scenario, test="stall", peak_hz=12.0):
    table = stress(scenario, peak_hz, seed=0)
    return table[table["test"] == test].set_index("metric")["value"]


@pytest.fixture(scope="module")
def stuck():
    return figures(load("after"))


def test_a_writer_that_never_recovers_is_a_rate_and_not_a_count_that_grows_with_the_window(stuck, monkeypatch):
    monkeypatch.setattr(module, "LONGER_S", (1_800.0,))
    longer = figures(load("after"))

    assert stuck["writers_stuck"] == longer["writers_stuck"] == 2
    assert stuck["items_lost"] == longer["items_lost"] > 1_000
    assert stuck["loss_rate_until_restart"] == pytest.approx(0.95 * 60, rel=0.03)  # events and heartbeats of 60/s
    assert longer["loss_rate_until_restart"] == pytest.approx(0.95 * 60, rel=0.03)
    assert math.isnan(stuck["recovery_time"])


def test_the_window_and_the_factor_are_written(stuck):
    assert dict(stuck[["time_before", "length", "time_after", "load_factor"]]) == {
        "time_before": 30, "length": 60, "time_after": 300, "load_factor": 5,
    }  # fmt: skip


def test_a_test_goes_on_until_it_has_healed(monkeypatch):
    usual = figures(load("fixed"))
    monkeypatch.setattr(module, "LONGER_S", (10.0, 300.0))
    found = figures(load("fixed"))

    assert found["time_after"] == 300 and found["items_lost"] == usual["items_lost"]


def test_what_heals_has_no_rate():
    healed = figures(load("fixed"))

    assert healed["loss_rate_until_restart"] == 0 and healed["items_lost"] > 1_000
    assert healed["recovery_time"] >= 0


def test_a_writer_that_loses_to_the_end_has_a_rate_though_none_is_stuck(monkeypatch):
    monkeypatch.setattr(module, "LONGER_S", (300.0,))
    slow = load("fixed").replace("database.insert.call_ms", 20_000.0).replace("stress.load_factor", 20.0)
    found = figures(slow)

    assert found["writers_stuck"] == 0 and found["loss_rate_until_restart"] > 1


def test_targets_count_losses_without_end(stuck):
    from capsim.results.run import simulate
    from capsim.study.slo import measured, read

    spec = load("after").replace("workload", {"rate_hz": 12, "duration_s": 60})
    targets = read("seed").model_copy(update={"loss_share_most": 0.01, "target": ()})
    share = measured(targets, simulate(spec, month=False))

    assert share.lost_shares["stall"] > 0.5

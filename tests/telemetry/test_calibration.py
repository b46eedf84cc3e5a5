"""Constants that are known come back from samples of seconds and whole MiB, and what cannot come back is named."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from capsim.base.errors import CapsimError
from capsim.cli import main
from capsim.memory.constants import PUBLISHED as value
from capsim.memory.server import process_of
from capsim.scenario.file import dumps, loads
from capsim.scenario.workload import STREAMS
from capsim.telemetry.calibration.fit import FitTask, _root_of
from capsim.telemetry.calibration.identify import identified
from capsim.telemetry.calibration.parameters import DEFAULT, bounds, chosen, merged, published
from capsim.telemetry.calibration.response_surface import learn
from capsim.telemetry.calibration.segments import measured, stretches
from capsim.telemetry.calibration.simulator import Simulator
from capsim.workload.recordings.latency import flush_latency
from capsim.workload.recordings.load import arrivals, load_trace, mix, rates
from capsim.workload.recordings.write import write_recording
from twins import scenario_of, server_side, twin

PARAMETERS = chosen(DEFAULT)
MINUTES = 10
QUICK = {"FIRST": 384, "LATER": 96, "AGAIN": 40, "ROUNDS": 4, "CLOSEST": 60}  # wider intervals, in seconds


def truth(factor: float = 1.0) -> np.ndarray:
    base = published(scenario_of(MINUTES))
    return np.log([factor * base[p.key] for p in PARAMETERS])


@pytest.fixture(scope="module")
def recording():
    return twin(truth(1.3), PARAMETERS, 11, minutes=MINUTES)


@pytest.fixture(scope="module")
def fitted(recording):
    import capsim as cs
    from capsim.telemetry.calibration import fit as fitting

    with pytest.MonkeyPatch.context() as patch:
        for name, few in QUICK.items():
            patch.setattr(fitting, name, few)
        return cs.calibrate(scenario_of(MINUTES), recording, seed=3)


# --- load from counters


def test_arrivals_come_back_from_totals_and_buffers(recording):
    table = server_side(MINUTES)
    told = arrivals(recording)[0]
    came = np.cumsum(table["events_arrived"].to_numpy())[4::5]

    assert np.abs(told.arrived["events"] - came).max() <= table["events_in_flight_max_rows"].max()
    assert told.arrived["events"][-1] == pytest.approx(came[-1], abs=100)
    assert (np.diff(told.requests) >= 0).all()


def test_the_rate_lies_in_its_interval(recording):
    table = server_side(MINUTES).iloc[5:]
    for rate in rates(recording):
        true = table[f"{rate.stream}_arrived"].sum() / table["width_s"].sum()
        assert rate.low_hz < true < rate.high_hz
        assert rate.high_hz - rate.low_hz < 2


def test_the_mix_adds_up_to_one(recording):
    shares = mix(recording)

    assert sum(shares.values()) == pytest.approx(1, abs=1e-9)
    assert shares["events"] == pytest.approx(0.6, abs=0.02)


def test_a_restart_is_a_gap_of_the_load(recording):
    samples = recording.samples.copy()
    late = samples["time_s"] > 300
    samples.loc[late, "process"] = 1
    for stream in STREAMS:
        samples.loc[late, f"{stream}_flushed"] -= samples.loc[late, f"{stream}_flushed"].iloc[0]
    from dataclasses import replace

    trace = load_trace(replace(recording, samples=samples))

    assert len(trace.gaps) == 1
    assert trace.total <= load_trace(recording).total


def test_a_recording_without_totals_tells_no_load(recording):
    from dataclasses import replace

    bare = recording.samples.assign(**{f"{s}_flushed": np.nan for s in STREAMS})
    with pytest.raises(CapsimError, match="no totals of writers"):
        rates(replace(recording, samples=bare))


def dipping(latency_s: float, hours: float = 3.0, rate_hz: float = 15.0, every_s: float = 1.0):
    """Samples of a writer whose flushes take a known time."""
    from capsim.scenario.columns import empty
    from capsim.workload.recordings.metrics_response import VALUES
    from capsim.workload.recordings.model import MISSED, Recording

    draws = np.random.default_rng(5)
    at = np.sort(draws.uniform(0, hours * 3_600, draws.poisson(rate_hz * hours * 3_600)))
    t = np.arange(0, hours * 3_600, every_s)
    taken = np.arange(5.0, hours * 3_600, 5.0 + latency_s + 1 / rate_hz)
    upto = np.searchsorted(at, taken)
    done = np.searchsorted(taken + latency_s, t, side="right")
    flushed = np.append(0, upto)[done]
    gone = np.append(0, upto)[np.searchsorted(taken, t, side="right")]
    buffered = np.searchsorted(at, t) - gone
    import pandas as pd

    samples = pd.DataFrame({"time_s": t, "process": 0}).reindex(columns=["time_s", "process", *VALUES])
    samples = samples.assign(events_flushed=flushed, events_buffer_rows=buffered, events_dropped=0.0)
    return Recording(name="d", source="", sha256="", start_us=0, every_s=every_s, samples=samples, missed=empty(MISSED))


@pytest.mark.parametrize("latency_s", [0.05, 0.4])
def test_the_mean_duration_of_a_flush_comes_back_from_the_dips(latency_s):
    found = flush_latency(dipping(latency_s), scenario_of())

    assert found.low_ms < 1_000 * latency_s < found.high_ms
    assert found.high_ms / found.low_ms < 3


def test_dips_that_chance_could_make_are_not_read():
    assert flush_latency(dipping(0.4, rate_hz=10.0, every_s=5.0), scenario_of()) is None


# --- what can be told


def test_constants_that_act_alike_are_named_together():
    parameters = chosen(["server_off_heap_mib", "server_file_mib", "live_base_mib"])
    slope = np.array([[30.0, 30.0, 0.0], [0.0, 0.0, 40.0]])
    found = identified(slope, parameters, np.diff(bounds(parameters), axis=0)[0])

    assert found.told == ("live_base_mib",)
    assert found.together == (("server_off_heap_mib", "server_file_mib"),)
    assert "cannot be told apart" in found.sentences()[0]


def test_a_slope_has_the_information_of_its_covariance():
    covariance = np.array([[0.04, 0.01], [0.01, 0.09]])
    root = _root_of(covariance)

    assert np.linalg.inv(root.T @ root) == pytest.approx(covariance, rel=1e-6)


def test_the_surface_is_exact_where_the_truth_is_a_parabola():
    draws = np.random.default_rng(1)
    logs = draws.uniform(1, 2, (200, 2))
    numbers = np.column_stack([logs[:, 0] ** 2 + logs[:, 1], 3 * logs[:, 0] * logs[:, 1]])
    surface = learn(logs, numbers, np.ones(2), 2 * np.ones(2))
    at = np.array([1.3, 1.8])

    assert surface.at(at) == pytest.approx([1.3**2 + 1.8, 3 * 1.3 * 1.8])
    numeric = [(surface.at(at + 1e-6 * e) - surface.at(at - 1e-6 * e)) / 2e-6 for e in np.eye(2)]
    assert surface.slope(at) == pytest.approx(surface.root @ np.array(numeric).T, rel=1e-5)


def test_the_simulation_of_the_true_constants_is_at_the_level_of_the_samples():
    """Of six recordings: when new space shrinks is chance, and moves the mean of one by a few per cent."""
    scenario = scenario_of(MINUTES)
    true = merged(published(scenario), PARAMETERS, truth(1.3))
    told, runs = [], []
    for seed in range(11, 17):
        parts = stretches(twin(truth(1.3), PARAMETERS, seed, minutes=MINUTES), 4_000, scenario)
        told.append(measured(parts).mean(axis=1))
        runs += [Simulator(scenario, parts, 1.0).samples(true, i).mean(axis=1) for i in range(4)]

    assert np.abs(np.mean(runs, axis=0) / np.mean(told, axis=0) - 1).max() < 0.04


# --- the fit


def test_constants_come_back_within_their_intervals(fitted):
    truths = np.exp(truth(1.3))
    inside = [e.low <= t <= e.high for e, t in zip(fitted.estimates, truths, strict=True)]
    near = [
        (e.low / e.value) ** 2 < t / e.value < (e.high / e.value) ** 2
        for e, t in zip(fitted.estimates, truths, strict=True)
    ]

    assert sum(inside) >= 3 and all(near)
    assert all(e.identified for e in fitted.estimates)
    assert all(e.high / e.low < 10 for e in fitted.estimates)


def test_the_held_out_part_is_predicted(fitted):
    mean = next(c for c in fitted.checks if (c.part, c.figure) == ("held out", "rss mean"))

    assert abs(mean.error) < 0.05 and mean.low <= mean.predicted <= mean.high


def test_measured_fitted_and_assumed_are_visibly_apart(fitted):
    standing = dict(fitted.table()[["key", "status"]].values.tolist())

    assert standing["events arrivals [1/s]"] == "measured"
    assert standing["constants.live_base_mib"] == "fitted"
    assert standing["constants.server_file_mib"] == "as before"


def test_the_fitted_scenario_is_a_scenario_and_says_what_is_fitted(fitted):
    again = loads(dumps(fitted.scenario))
    calibration = again.calibration

    assert again == fitted.scenario
    assert {v.key: v.status for v in calibration.values}["constants.live_base_mib"] == "fitted"
    assert {v.key: v.status for v in calibration.values}["workload.mix.events"] == "measured"
    assert calibration.sha256 == fitted.recording.sha256 and calibration.source == "http://twin/api/metrics"


def test_a_fitted_scenario_is_simulated_with_its_constants(fitted):
    import capsim as cs

    load = {"rate_hz": 20, "duration_s": 600}
    plain = scenario_of(MINUTES).replace("workload", load)
    own = plain.replace("constants", {"server_off_heap_mib": value("server_off_heap") + 40})
    means = [cs.simulate(s, month=False).samples["server_rss_mib"].mean() for s in (plain, own)]

    assert means[1] - means[0] == pytest.approx(40, abs=2)
    assert value("server_off_heap") == process_of(plain).off_heap_mib


def test_a_sweep_of_a_constant_overrides_the_scenarios_own():
    import capsim as cs

    load = {"rate_hz": 20, "duration_s": 600}
    own = scenario_of(MINUTES).replace("workload", load).replace("constants", {"server_off_heap_mib": 20.0})
    table = cs.sweep(own, {"constants.server_off_heap": [10.0, 50.0]})
    rss = table["server_rss_mean_mib"]

    assert rss[1] - rss[0] == pytest.approx(40, abs=2)


@pytest.mark.parametrize(
    ("fit", "said"),
    [
        (["live_bas_mib"], "did you mean live_base_mib"),
        (["server.http.events_cpu_ms"], "no metric tells it from the collector's"),
        (["request_cpu_factor"], "give an export of Railway's metrics"),
        (["live_base_mib", "constants.live_base_mib"], "named twice"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_the_reason(fit, said):
    with pytest.raises(CapsimError, match=said):
        chosen(fit)


def test_a_recording_that_is_too_short_is_refused(recording):
    from capsim.telemetry.calibration import calibrate

    with pytest.raises(CapsimError, match="record for longer"):
        calibrate(scenario_of(MINUTES), recording.window(0, 60))


def test_the_command_writes_the_scenario_and_says_what_it_rests_on(recording, tmp_path, monkeypatch):
    from capsim.telemetry.calibration import fit as fitting

    for name, few in (("FIRST", 64), ("LATER", 32), ("AGAIN", 10), ("ROUNDS", 1), ("CLOSEST", 30)):
        monkeypatch.setattr(fitting, name, few)
    write_recording(recording, tmp_path / "r.csv")
    own = scenario_of(MINUTES).replace("workload", {"rate_hz": 70, "duration_s": 600})
    known = {p.key: float(f"{v:.4g}") for p, v in zip(PARAMETERS, np.exp(truth(1.3)), strict=True)}
    del known["server_off_heap_mib"]
    (tmp_path / "own.toml").write_text(dumps(own.replace("constants", known)), encoding="utf-8")
    out, plot = tmp_path / "fitted.toml", tmp_path / "fit.png"
    arguments = ["calibrate", str(tmp_path / "own.toml"), str(tmp_path / "r.csv"), "--fit", "server_off_heap_mib"]
    done = CliRunner().invoke(main, [*arguments, "--out", str(out), "--plot", str(plot)])

    assert done.exit_code == 0, done.output
    assert all(word in done.output for word in ("measured", "fitted", "as before", "held out", "Not told"))
    written = loads(out.read_text()).constants
    assert written.live_base_mib == known["live_base_mib"] and 5 < written.server_off_heap_mib < 13
    assert plot.read_bytes()[:4] == b"\x89PNG"
    as_json = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert {k["standing"] for k in as_json["keys"]} >= {"measured", "fitted", "as before"}


def test_a_seed_gives_the_same_simulations_again(recording):
    scenario = scenario_of(MINUTES)
    parts = stretches(recording, 4_000, scenario)
    one = FitTask(Simulator(scenario, parts, 1.0), PARAMETERS, published(scenario), np.zeros(1), 5)
    low, high = bounds(PARAMETERS)
    first, again = (one.draw(low, high, 4, 1, lambda share: None) for _ in range(2))

    assert (first[0] == again[0]).all() and (first[1] == again[1]).all()

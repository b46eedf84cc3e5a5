"""A recording beside a prediction: what left its band, in which part, since when; and where the error comes from."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from capsim.cli import main
from capsim.scenario.file import dumps
from capsim.telemetry.calibration.drift import drift
from capsim.telemetry.calibration.parameters import DEFAULT, chosen, published
from capsim.telemetry.calibration.prediction_interval import spreads
from capsim.telemetry.calibration.recording_comparison import is_recording
from capsim.telemetry.calibration.variance_decomposition import budget
from capsim.workload.recordings.write import write_recording
from twins import scenario_of, twin

PARAMETERS = chosen(DEFAULT)
MINUTES = 20


@pytest.fixture(scope="module")
def recording():
    base = published(scenario_of(MINUTES, 0.0))
    return twin(np.log([base[p.key] for p in PARAMETERS]), PARAMETERS, 4, minutes=MINUTES, stall_s=0.0)


@pytest.fixture(scope="module")
def scenario():
    return scenario_of(MINUTES, 0.0)


def changed(recording, from_s, **more):
    samples = recording.samples.copy()
    late = samples["time_s"] > from_s
    for column, by in more.items():
        samples.loc[late, column] += by
    return replace(recording, samples=samples)


def test_a_server_as_predicted_does_not_drift(recording, scenario):
    found = drift(scenario, recording)

    assert found.left == ()
    assert (found.blocks["outside"] != 0).mean() < 0.1


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({"rss_mib": 60}, {"resident", "beside the heap"}),
        ({"rss_mib": 30, "heap_total_mib": 30, "heap_used_mib": 30}, {"resident", "heap total", "heap used"}),
    ],
)
def test_what_leaves_its_band_is_named_with_the_time(recording, scenario, more, part):
    found = drift(scenario, changed(recording, 700.0, **more))
    since_s = [(one.since_us - recording.start_us) / 1e6 for one in found.left]

    assert {one.part for one in found.left} == part
    assert all(one.side == "above" and one.to_the_end for one in found.left)
    assert all(600 < at < 1_000 for at in since_s)


def test_drops_and_full_pools_are_told_from_the_sample_in_which_they_begin(recording, scenario):
    samples = recording.samples.assign(db_connections=4.0)
    samples.loc[samples["time_s"] >= 500, "db_connections"] = 12.0
    samples.loc[samples["time_s"] >= 800, "events_dropped"] = 50.0
    found = {one.part: one for one in drift(scenario, replace(recording, samples=samples)).left}

    assert found["connections"].since_us - recording.start_us == 500_000_000 and found["connections"].to_the_end
    assert found["drops of events"].since_us - recording.start_us == 800_000_000
    assert not found["drops of events"].to_the_end


def test_a_fitted_scenario_is_as_sure_as_its_intervals(scenario):
    values = [{"key": "constants.live_base_mib", "status": "fitted", "value": 9.0, "low": 8.0, "high": 10.0}]
    block = {"recording": "r", "source": "s", "sha256": "0", "start": "2026-01-01T00:00:00Z", "hours": 1.0,
             "samples": 9, "method": "least-squares", "values": values}  # fmt: skip
    fitted = scenario.replace("calibration", block)

    assert spreads(fitted)["live_base_mib"] == pytest.approx(np.log(10 / 8) / 2 / 1.645, rel=1e-3)
    assert spreads(fitted)["promoted_request_kib"] == spreads(scenario)["promoted_request_kib"] > 0


def test_the_budget_divides_the_variance_and_a_surer_constant_takes_less_of_it(recording, scenario):
    table = budget(scenario, recording).set_index(["figure", "part"])
    wide = {"recording": "r", "source": "s", "sha256": "0", "start": "2026-01-01T00:00:00Z", "hours": 1.0, "samples": 9,
            "method": "least-squares", "model_error": 0.0,
            "values": [{"key": "constants.server_off_heap_mib", "status": "fitted", "value": 6.3, "low": 2.0,
                        "high": 20.0}]}  # fmt: skip
    unsure = budget(scenario.replace("calibration", wide), recording).set_index(["figure", "part"])

    assert table.groupby("figure")["share"].sum().tolist() == pytest.approx([1, 1])
    assert table.loc[("rss mean", "model"), "sd_mib"] > 1
    assert unsure.loc[("rss mean", "model"), "sd_mib"] == 0
    assert unsure.loc[("rss mean", "constants"), "sd_mib"] > table.loc[("rss mean", "constants"), "sd_mib"]


def test_the_command_puts_a_recording_beside_a_scenario(recording, scenario, tmp_path):
    write_recording(changed(recording, 700.0, rss_mib=40), tmp_path / "r.csv")
    own = scenario.replace("workload", {"rate_hz": 70, "duration_s": 600})
    (tmp_path / "s.toml").write_text(dumps(own), encoding="utf-8")
    done = CliRunner().invoke(main, ["compare", str(tmp_path / "s.toml"), str(tmp_path / "r.csv")])
    told = json.loads(
        CliRunner().invoke(main, ["compare", str(tmp_path / "s.toml"), str(tmp_path / "r.csv"), "--json"]).stdout
    )

    assert done.exit_code == 0, done.output
    assert "Drift: resident left its band at 2026-01-05T00:1" in done.output and "comes from" in done.output
    assert max(len(line) for line in done.output.splitlines()) <= 100
    assert told["kind"] == "recording-comparison" and told["drift"][0]["part"] in ("resident", "beside the heap")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["after", "before"], "beside one scenario"), ([], "beside one scenario"), (["after", "--scale", "2"], "--scale")],
)
def test_what_has_no_meaning_beside_a_recording_is_refused(recording, tmp_path, arguments, said):
    write_recording(recording, tmp_path / "r.csv")
    done = CliRunner().invoke(main, ["compare", str(tmp_path / "r.csv"), *arguments])

    assert done.exit_code == 2 and said in done.output


def test_other_files_are_no_recordings(tmp_path):
    (tmp_path / "a.csv").write_text("timestamp,count\n")
    (tmp_path / "b.jsonl").write_text('{"timestamp": 1}\n')

    assert not any(map(is_recording, [str(tmp_path / "a.csv"), str(tmp_path / "b.jsonl"), "after", "x.json"]))

"""Made-up loads follow their parameters, and the bundled ones can be made again."""

from __future__ import annotations

import json
import re
import shlex

import numpy as np
import pytest
from click.testing import CliRunner

from capsim.base.paths import data_dir
from capsim.cli import main
from capsim.workload import find_trace, read_trace
from capsim.workload.document import schema_text
from capsim.workload.synth import SHAPES, bursty, diurnal, flash_crowd

README = (data_dir() / "traces" / "README.md").read_text(encoding="utf-8")
COMMANDS = [line.strip() for line in README.splitlines() if line.startswith("    capsim trace synth")]


def capsim(*arguments: object):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.split()[-1])
def test_a_bundled_trace_is_made_again_byte_for_byte(tmp_path, command):
    words = shlex.split(command)
    name = words[-1]
    words[-1] = str(tmp_path / name)

    result = capsim(*words[1:])

    assert result.exit_code == 0, result.output
    assert (tmp_path / name).read_bytes() == (data_dir() / "traces" / name).read_bytes()


def test_every_bundled_trace_has_its_command():
    assert sorted(c.split()[-1] for c in COMMANDS) == sorted(p.name for p in (data_dir() / "traces").glob("*.csv"))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_diurnal_load_has_the_hourly_means_of_its_shape(shape):
    trace = diurnal(days=1, mean_hz=500, shape=shape, seed=4)
    hours = trace.counts.reshape(24, 60).sum(axis=1)

    assert hours / hours.mean() == pytest.approx(np.array(SHAPES[shape]) / np.mean(SHAPES[shape]), rel=0.02, abs=0.002)


def test_a_weekend_has_its_share():
    days = diurnal(days=7, mean_hz=50, shape="flat", weekend=0.5, seed=5).counts.reshape(7, -1).sum(axis=1)

    assert days[5:].mean() / days[:5].mean() == pytest.approx(0.5, rel=0.01)
    assert days.sum() / (7 * 86_400) == pytest.approx(50, rel=0.01)


def test_bursts_raise_the_dispersion_and_keep_the_long_run_mean():
    trace = bursty(days=60, mean_hz=2, factor=10, calm_s=1_800, burst_s=120, seed=6)

    assert trace.counts.mean() / 60 == pytest.approx(2, rel=0.1)
    assert trace.counts.var() / trace.counts.mean() > 20


def test_a_flash_crowd_reaches_its_peak_at_the_end_of_the_climb():
    trace = flash_crowd(mean_hz=50, shape="flat", peak=20, at_h=6, rise_min=30, seed=7)
    minute = int(np.argmax(trace.counts))

    assert 6 * 60 + 27 <= minute <= 6 * 60 + 31
    assert trace.counts[minute] / trace.counts[:360].mean() == pytest.approx(20, rel=0.05)


def test_another_seed_is_another_load():
    assert diurnal(seed=1).counts.tolist() != diurnal(seed=2).counts.tolist()


# --- the command line -----------------------------------------------------------------------------------------------


def test_describe_prints_the_figures_and_json_prints_them_all():
    shown = capsim("trace", "describe", "game-day")
    document = json.loads(capsim("trace", "describe", "game-day", "--json").stdout)

    assert "busiest_hour" in shown.stdout and "mean_hz" in shown.stdout
    metrics = {m["metric"]: m["value"] for m in document["metrics"]}
    assert (document["schema_version"], metrics["requests"]) == (1, read_trace(find_trace("game-day")).total)
    assert json.loads(schema_text())["required"] == ["name", "sha256", "metrics", "notes"]


def test_the_kept_schema_is_the_one_in_use():
    assert (data_dir() / "schema" / "trace.schema.json").read_text(encoding="utf-8") == schema_text()


def test_import_and_convert_write_what_can_be_read_again(tmp_path):
    day, hours = tmp_path / "day.csv", tmp_path / "hours.csv"

    assert capsim("trace", "import", "game-day", "--from", "6h", "--out", day).exit_code == 0
    assert (
        capsim("trace", "convert", day, "--width", "1h", "--scale", "2", "--repeat", "2", "--out", hours).exit_code == 0
    )

    assert read_trace(day).span_us == 18 * 3_600_000_000
    assert read_trace(hours).total == 4 * read_trace(day).total
    assert read_trace(hours).counts.size == 36


def test_bad_input_is_one_line_and_leaves_nothing_behind(tmp_path):
    for arguments in (
        ("describe", tmp_path / "absent.csv"),
        ("convert", "game-day", "--width", "7 parsecs", "--out", tmp_path / "x.csv"),
        ("convert", "game-day", "--scale", "nan", "--out", tmp_path / "x.csv"),
        ("synth", "bursty", "--shape", "game", "--out", tmp_path / "x.csv"),
        ("synth", "diurnal", "--days", "0", "--out", tmp_path / "x.csv"),
        ("synth", "diurnal", "--start", "tomorrow", "--out", tmp_path / "x.csv"),
    ):
        result = capsim("trace", *arguments)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["describe", "import", "convert", "synth"])
def test_every_command_has_help_with_an_example(command):
    assert re.search(r"Examples?:\s+capsim trace", capsim("trace", command, "--help").stdout)

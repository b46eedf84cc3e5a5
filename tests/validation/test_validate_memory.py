"""Measured memory beside the model's: what is compared, what is said of a series that is not as it should be."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from capsim.base.errors import CapsimError
from capsim.cli import main
from capsim.memory.fitted import FITTED
from capsim.telemetry.measure.write import COLUMNS
from capsim.validation.buffers import arrival_times, retained
from capsim.validation.memory import COLLECTIONS, RESIDENT, MemoryCheck, check
from capsim.validation.memory_screen import plot, text
from capsim.validation.series import read_series
from capsim.workload.companion import STANDARD, Companion, Mix, Program, Run, Stall, Writer, read_companion

RUNS = Path(__file__).parents[1] / "data" / "memory_runs"
SHARED = Path(__file__).parents[3] / "shared" / "measurements" / "timeseries.csv"


@pytest.fixture(scope="module")
def checked():
    return {one.series.name: one for one in check(read_series(RUNS / "stand_in.csv")[0])}


# --- the recorded runs


def test_alive_or_dead_is_right_in_every_recorded_run(checked):
    """31 runs; eleven leaks and one large live set died by the cap."""
    ends = [c for one in checked.values() for c in one.checks if c.quantity.name == "end"]

    assert len(ends) == 31
    assert sum(c.measured for c in ends) == 12
    assert all(c.passed for c in ends)


MISSES = {  # and why: docs/measuring.md
    "r50_none",
    "r500_live55_64",
    "r500_live150_none",
    "stall_cap",
    "leak_64_20000",
    "leak_128_20000",
}


def test_every_other_quantity_is_within_its_tolerance_but_for_the_known_misses(checked):
    failed = {name for name, one in checked.items() if not all(c.passed for c in one.checks)}

    assert failed <= MISSES


def test_runs_recorded_afterwards_are_right_but_for_two_known_misses():
    """Settings absent from the first recording: 10, 35, 350/s, a stall of 20 s at 350/s, 87 MiB live under 192."""
    own = check(read_series(RUNS / "own.csv")[0])
    failed = {one.series.name for one in own if not all(c.passed for c in one.checks)}

    assert len(own) == 10
    assert failed <= {"own_r500_live29_64", "own_r500_live35_64"}


def test_the_runs_that_were_fitted_on_are_among_the_recorded_and_listed_apart(checked):
    fitted, held_out = text(list(checked.values())).split("Runs held out\n")
    names = [name for name in checked if name in FITTED]

    assert len(names) == 18
    assert all(f"\n{name}: " in fitted and f"\n{name}: " not in held_out for name in names)
    assert "\nstall2_unb: " in held_out


def test_a_plot_shows_measured_and_predicted(checked):
    ax = plot(checked["stall2_unb"])

    assert ax.get_ylabel() == "resident memory [MiB]"
    assert [line.get_label() for line in ax.get_lines()][:2] == ["measured", "predicted (one of eight seeds)"]


def test_the_excerpt_is_the_recording():
    if not SHARED.exists():
        pytest.skip(f"{SHARED} is not here; the excerpt stands for it")
    whole = pd.read_csv(SHARED).set_index(["run", "t_s"])
    part = pd.read_csv(RUNS / "stand_in.csv").set_index(["run", "t_s"])
    found = whole.loc[part.index, ["rss", "gcMajor", "reqs_or_count"]]

    pd.testing.assert_frame_equal(found, part[["rss", "gcMajor", "reqs_or_count"]])


# --- verdicts

MEAN = RESIDENT[0]


def test_a_mean_may_be_5_percent_off():
    assert MemoryCheck(MEAN, 100, 104.9, MEAN.tolerance).passed
    assert not MemoryCheck(MEAN, 100, 94.9, MEAN.tolerance).passed


def test_collections_may_be_off_by_a_factor_either_way():
    assert MemoryCheck(COLLECTIONS, 10, 15.9, 1.6).passed
    assert MemoryCheck(COLLECTIONS, 10, 6.3, 1.6).passed
    assert not MemoryCheck(COLLECTIONS, 10, 6.2, 1.6).passed


def test_no_prediction_is_a_failure():
    assert not MemoryCheck(MEAN, 100, np.nan, MEAN.tolerance).passed


# --- files made by hand

STEADY = """format = 1
[[runs]]
name = "r"
"""


def steady(seconds=60, rate=500):
    t = np.arange(0.0, seconds + 1)
    return pd.DataFrame({"t_s": t, "rss": 100.0, "gcMajor": t // 3, "reqs_or_count": rate * t})


def written(folder, table, companion=STEADY, name="a"):
    table.to_csv(folder / f"{name}.csv", index=False)
    (folder / f"{name}.run.toml").write_text(companion, encoding="utf-8")
    return folder / f"{name}.csv"


def only(path):
    (series,), notes = read_series(path)
    return series, notes


def test_twice_the_spread_of_repeats_is_a_tolerance_where_it_is_larger(tmp_path):
    two = pd.concat([steady().assign(run="a"), steady().assign(run="b", rss=120.0)])
    companion = 'format = 1\nrun_column = "run"\n' + "".join(
        f'[[runs]]\nname = "{name}"\nrepeats = "the same"\n' for name in "ab"
    )
    checks = {c.quantity.name: c for c in check(read_series(written(tmp_path, two, companion))[0])[0].checks}

    assert checks["mean"].tolerance == pytest.approx(0.4)
    assert checks["full collections"].tolerance == 1.6


def test_a_measured_run_that_is_a_fifth_higher_fails(tmp_path):
    as_predicted, higher = (
        check([only(written(tmp_path, steady().assign(rss=rss)))[0]])[0].checks[0] for rss in (100.0, 122.0)
    )

    assert as_predicted.passed
    assert not higher.passed


@pytest.mark.parametrize(("limit", "end"), [(512, "abort"), (256, "killed")])
def test_a_leak_is_killed_by_the_kernel_where_the_container_is_too_small_for_the_cap(tmp_path, limit, end):
    """A cap of 256 needs some 300 MiB of container (C14); in 512 the process gives up by itself."""
    t = np.arange(0.0, 25.0)
    table = pd.DataFrame({"t_s": t, "rss": 200.0, "gcMajor": t // 3, "reqs_or_count": 5000 * t})
    companion = STEADY + f'kind = "leak"\nheap_cap_mib = 256\ncontainer_limit_mib = {limit}\nended = "{end}"\n'
    checks = {c.quantity.name: c for c in check([only(written(tmp_path, table, companion))[0]])[0].checks}

    assert checks["end"].passed


def test_other_units_are_converted(tmp_path):
    table = steady().assign(t_s=lambda x: 1000 * x.t_s, rss=100.0 * 2**20)
    columns = '[columns]\ntime = { name = "t_s", unit = "ms" }\nrss = { name = "rss", unit = "bytes" }\n'
    series, _ = only(written(tmp_path, table, STEADY.replace("[[runs]]", columns + "[[runs]]")))

    assert series.table["time"].iloc[-1] == 60
    assert series.table["rss"].iloc[0] == 100


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rss": 100.0 * 2**20}, "rss in 'MiB' means a resident memory of 1.05e+08 MiB, which cannot be"),
        ({"t_s": 1000 * np.arange(61.0)}, "t_s in 's' means 1e+03 s from sample to sample, which cannot be"),
    ],
)
def test_units_that_cannot_be_right_are_refused(tmp_path, change, said):
    with pytest.raises(CapsimError) as caught:
        read_series(written(tmp_path, steady().assign(**change)))

    assert said in str(caught.value)
    assert "correct its unit in a.run.toml" in str(caught.value)


def test_a_needed_column_that_is_missing_is_named_with_those_that_are_there(tmp_path):
    with pytest.raises(CapsimError, match=r"a\.csv: no column 'rss' \(rss\); the columns are t_s, gcMajor"):
        read_series(written(tmp_path, steady().drop(columns="rss")))


def test_without_collections_the_rest_is_compared(tmp_path):
    series, notes = only(written(tmp_path, steady().drop(columns="gcMajor")))

    assert "full collections are not compared" in notes[0]
    assert [c.quantity.name for c in check([series])[0].checks] == ["mean", "median", "p95", "peak", "end"]


def test_a_restart_begins_another_process(tmp_path):
    """As the platform restarts a server: the clock of the recording goes on, the counters begin anew."""
    second = steady(30).assign(t_s=lambda x: 63 + x.t_s)
    (first, again), _ = read_series(written(tmp_path, pd.concat([steady(), second])))

    assert [first.name, again.name] == ["r", "r #2"]
    assert "1 restarts (a counter or the time falls back at 63 s)" in first.notes[0]
    assert len(first.table) == 61 and len(again.table) == 31


def test_only_the_last_process_ended_as_the_companion_says(tmp_path):
    companion = STEADY + 'ended = "abort"\nheap_cap_mib = 64\n'
    runs, _ = read_series(written(tmp_path, pd.concat([steady(), steady()]), companion))

    assert [one.run.ended for one in runs] == ["stopped", "abort"]


def test_a_gap_is_said_and_the_rest_used(tmp_path):
    series, _ = only(written(tmp_path, steady().drop(index=range(20, 40))))

    assert "1 gaps (19 to 40 s)" in series.notes[0]
    assert len(series.table) == 41


def test_samples_without_a_number_are_counted_and_left_out(tmp_path):
    table = steady().astype({"rss": object})
    table.loc[[3, 9], "rss"] = ["much", -1]
    series, _ = only(written(tmp_path, table))

    assert "2 of 61 samples without a usable number (first: line 5)" in series.notes[0]
    assert len(series.table) == 59


def test_runs_that_are_not_described_are_named(tmp_path):
    table = pd.concat([steady().assign(run=name) for name in ("r", "x", "y")])
    companion = STEADY.replace("[[runs]]", 'run_column = "run"\n[[runs]]')
    _, notes = only(written(tmp_path, table, companion))

    assert "2 runs that the companion does not describe (x, y); skipped" in notes[0]


@pytest.mark.parametrize(
    ("companion", "said"),
    [
        ("format = 2\n[[runs]]\nname = 'r'\n", "format is 2"),
        ("format = 1\n", "runs: missing; add it"),
        (STEADY + "heap_cap_mb = 64\n", "run r.heap_cap_mb: unknown key"),
        (STEADY + "cpu_share = 0\n", "run r.cpu_share is 0"),
        (STEADY + "mix = { events = 0.5 }\n", "the shares add up to 0.9; make it 1"),
        (STEADY + "[[runs]]\nname = 'r'\n", "run r is described twice"),
        (STEADY + "[[runs]]\nname = 's'\n", "run_column does not say"),
        (STEADY + "[columns]\nrss = { name = 'rss', unit = 'pages' }\n", "in 'pages', which is no known unit"),
        (STEADY + "[columns]\nheap = { name = 'rss', unit = 'MiB' }\n", "columns.heap is no known quantity"),
        ("format = \n", "not TOML"),
    ],
)
def test_a_companion_that_cannot_be_used_is_refused_in_one_line(tmp_path, companion, said):
    with pytest.raises(CapsimError) as caught:
        read_series(written(tmp_path, steady(), companion))

    assert said in str(caught.value)
    assert all(line.startswith(str(tmp_path / "a.run.toml")) for line in caught.value.problems)


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "is empty"), ("t_s,rss,reqs_or_count\n", "has a head but no samples"), (None, "no such file")],
)
def test_a_series_that_cannot_be_used_is_refused(tmp_path, content, said):
    path = written(tmp_path, steady())
    path.unlink()
    if content is not None:
        path.write_text(content)

    with pytest.raises(CapsimError, match=said):
        read_series(path)


def test_defaults_of_a_companion_hold_for_every_run_that_does_not_say_otherwise(tmp_path):
    companion = """format = 1
run_column = "run"
[defaults.writer]
rules = "fixed"
flush_ms = 30
[[runs]]
name = "a"
[[runs]]
name = "b"
writer = { flush_ms = 40 }
"""
    a, b = read_companion(written(tmp_path, steady(), companion)).runs

    assert (a.writer.rules, a.writer.flush_ms) == ("fixed", 30)
    assert (b.writer.rules, b.writer.flush_ms) == ("fixed", 40)


# --- the writers, played again

T = np.arange(0.0, 41.0)


def rows_of(rules, **writer):
    run = Run(
        name="x",
        mix=Mix(events=1, revenue=0, heartbeats=0),
        writer=Writer(rules=rules, **writer),
        stalls=(Stall(from_s=10, length_s=20, flush_s=20),),
    )
    return retained(T, 50 * T, run, 0)[1]


@pytest.mark.parametrize("rules", ["kit", "seed", "fixed"])
def test_a_stall_of_20_s_holds_what_arrives_in_it(rules):
    assert rows_of(rules).max() == pytest.approx(50 * 20 + 100, abs=101)


@pytest.mark.parametrize("rules", ["kit", "seed", "fixed"])
def test_under_load_what_a_stall_held_is_written_after_it(rules):
    assert rows_of(rules)[33:].max() <= 200


def test_a_full_buffer_of_seed_rules_stays_full():
    """The wedge: during the flush 1,000 items arrive at 50/s, and nobody asks for a flush again."""
    assert rows_of("seed", buffer_cap_rows=500)[40] == 500
    assert rows_of("fixed", buffer_cap_rows=500)[40] <= 100


def test_requests_between_two_samples_are_even():
    assert arrival_times(np.array([0.0, 2.0]), np.array([0.0, 4.0])).tolist() == [0.5, 1.0, 1.5, 2.0]


def test_bytes_follow_the_rows_of_the_companion():
    run = Run(name="x", kind="leak")

    assert retained(T, 50 * T, run, 0)[0][-1] == pytest.approx(2000 * 2387 / 2**20)


# --- the command


def test_the_command_ends_in_a_count_and_tells_failure_by_its_exit_code(tmp_path):
    path = written(tmp_path, steady().assign(rss=300.0))
    result = CliRunner().invoke(main, ["validate", "memory", str(path), "--out", str(tmp_path / "out")])

    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "2 passed, 4 failed"
    assert {"checks.csv", "r.png"} <= {p.name for p in (tmp_path / "out").iterdir()}


def test_bad_input_is_told_in_one_line_and_nothing_is_written(tmp_path):
    path = written(tmp_path, steady().drop(columns="rss"))
    result = CliRunner().invoke(main, ["validate", "memory", str(path), "--out", str(tmp_path / "out")])

    assert result.exit_code == 2
    assert result.stderr.startswith(f"capsim: {path}: no column 'rss'")
    assert not (tmp_path / "out").exists()


# --- runs of the measuring kit


@pytest.fixture(scope="module")
def kit():
    paths = sorted(RUNS.glob("kit*.csv"))
    return {one.series.name: one for one in check([s for path in paths for s in read_series(path)[0]])}


KIT_MISSES = {  # and why: docs/measuring.md
    "kit20_50: peak",
    "kit20_cap250_in320: retained at death",
    "kit20_cap300_in320: retained at death",
    "kit24_420_live40_110: peak",
    "kit24_450_live25_120: mean",
    "kit24_450_live25_120: peak",
}
ASKED = ("mean", "peak", "full collections", "end", "retained at death")


def failed(runs):
    return {f"{one.series.name}: {c.quantity.name}" for one in runs for c in one.checks if not c.passed}


def test_settings_that_the_model_had_never_seen_are_right_under_node_20(kit):
    """Stalls of 20 and 25 s (twice each), 80 and 120 MiB live under caps, deaths by the cap, kills by the kernel."""
    seen = [one for name, one in kit.items() if name.startswith("kit20") and not one.fitted]

    assert len(seen) == 11
    assert failed(seen) == {miss for miss in KIT_MISSES if miss.startswith("kit20")}


def test_memory_is_right_under_node_24(kit):
    """Mean, peak and collections; medians fall between two plateaus of the growing new space."""
    runs = [one for name, one in kit.items() if name.startswith("kit24")]
    never_seen = {"kit24_700", "kit24_275_stall25", "kit24_300_live90", "kit24_420_live40_110", "kit24_450_live25_120"}

    assert {one.series.name for one in runs if not one.fitted} == never_seen
    assert {line for line in failed(runs) if line.split(": ")[1] in ASKED} == {m for m in KIT_MISSES if "kit24" in m}


@pytest.mark.parametrize(
    ("name", "quantity", "measured", "predicted"),
    [
        ("kit20_275_stall25", "mean", 89.8, 90.8),
        ("kit20_275_stall25", "peak", 103.2, 101.2),
        ("kit20_650_live80_150", "mean", 177.7, 174.8),
        ("kit20_650_live80_150", "peak", 184.4, 184.4),
        ("kit24_275_stall25", "mean", 114.4, 110.8),
        ("kit24_275_stall25", "peak", 153.3, 157.0),
        ("kit24_300_live90", "mean", 280.2, 287.7),
        ("kit24_300_live90", "peak", 290.6, 292.0),
    ],
)
def test_the_figures_of_fresh_settings_are_those_of_the_page(kit, name, quantity, measured, predicted):
    """Two settings for each Node, measured after every constant that bears on them was chosen."""
    found = next(c for c in kit[name].checks if c.quantity.name == quantity)

    assert found.measured == pytest.approx(measured, abs=0.06)
    assert found.predicted == pytest.approx(predicted, abs=0.06)


def test_what_a_heap_takes_beside_its_pages_decides_between_abort_and_kill(kit):
    """A cap of 300 in a container of 320 MiB was killed; without the share of memory off the heap it would abort."""
    series = kit["kit20_cap300_in320"].series
    program = series.run.program.model_copy(update={"off_heap_mib": 4.5, "off_heap_share": 0.0})
    without = dataclasses.replace(series, run=series.run.model_copy(update={"program": program}))
    ends = [next(c for c in one.checks if c.quantity.name == "end").predicted for one in check([series, without])]

    assert ends == [2, 1]


def test_ends_are_right_under_either_node(kit):
    ends = {name: c for name, one in kit.items() for c in one.checks if c.quantity.name == "end"}

    assert all(c.passed for c in ends.values())
    assert ends["kit20_death_64"].measured == 1 and ends["kit20_killed"].measured == 2


def test_every_column_that_the_kit_writes_is_described(kit):
    named = {column.name for column in STANDARD.values()}

    assert set(COLUMNS) - named == {"external", "arrayBuffers", "loUsed", "gcMinorMs", "gcMajorMs"}
    assert named <= set(COLUMNS)


def test_every_key_of_a_companion_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "measuring.md").read_text(encoding="utf-8")
    keys = {
        *Companion.model_fields,
        *Run.model_fields,
        *Program.model_fields,
        *Stall.model_fields,
        *Writer.model_fields,
    }

    assert [key for key in sorted(keys) if key not in page] == []

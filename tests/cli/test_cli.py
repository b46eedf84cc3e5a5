"""The command line: what it prints, what it leaves behind, and how it says no."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from capsim.base.files import SUMS
from capsim.cli import COMMANDS, main
from capsim.results.document import load_document
from fake_run import fake_simulate

SCENARIO = """
name = "{name}"
[workload]
rate_hz = 5
duration_s = 120
[billing]
from = "{day}"
"""
TRACE = "timestamp,count\n" + "".join(f"2026-02-03T{i // 60:02}:{i % 60:02}:00Z,{i % 7}\n" for i in range(300))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder with two scenarios and a trace; a simulation that takes no time."""
    monkeypatch.chdir(tmp_path)
    for name in ("before", "after"):
        Path(f"{name}.toml").write_text(SCENARIO.format(name=name, day="2026-02-03"), encoding="utf-8")
    Path("day.csv").write_text(TRACE, encoding="utf-8")
    pretend(monkeypatch, fake_simulate(lambda scenario, seed, replicate: 100.0 + seed + replicate))
    return tmp_path


def pretend(monkeypatch, simulate, write=lambda results, out: (out / "report.html").write_text("<html>")):
    fakes = (("capsim.results.run", "simulate", simulate), ("capsim.show.report", "write", write))
    for module, name, function in fakes:
        fake = types.ModuleType(module)
        setattr(fake, name, function)
        monkeypatch.setitem(sys.modules, module, fake)


def capsim(*arguments: str):
    return CliRunner().invoke(main, arguments)


def refused(result, *says: str) -> bool:
    """One clear line on stderr, nothing on stdout, exit 2, no traceback."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("capsim: "), result.stderr
    assert all(text in lines[0] for text in says), lines[0]
    return True


def entries(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


# --- what it prints -------------------------------------------------------------------------------------------------


def test_run_prints_tables_with_units(here):
    result = capsim("run", "after.toml")

    assert result.exit_code == 0, result.output
    assert "server rss mean" in result.stdout and "MiB" in result.stdout and "USD" in result.stdout


def test_json_is_one_document_and_nothing_else(here):
    document = json.loads(capsim("run", "after.toml", "--json").stdout)
    assert (document["kind"], document["name"], document["schema_version"]) == ("run", "after", 1)

    document = json.loads(capsim("compare", "before.toml", "after.toml", "--json").stdout)
    assert (document["kind"], [r["name"] for r in document["results"]]) == ("comparison", ["before", "after"])


def test_the_same_command_prints_the_same_bytes(here):
    first, second = (capsim("compare", "before.toml", "after.toml", "--json").stdout for _ in range(2))

    assert first == second != capsim("compare", "before.toml", "after.toml", "--json", "--seed", "1").stdout


def test_replicates_are_addressed_from_zero_and_averaged(here):
    document = json.loads(capsim("run", "after.toml", "--json", "--replicates", "3", "--seed", "10").stdout)

    assert document["summary"]["trace"][0]["value"] == 111  # of 110, 111, 112
    assert document["summary"]["trace"][0]["half_width"] > 0


def test_a_trace_replaces_the_load_of_every_side_and_is_named_with_its_hash(here):
    result = capsim("compare", "before.toml", "after.toml", "--json", "--trace", "day.csv", "--scale", "0.5")
    document = json.loads(result.stdout)

    for side in document["results"]:
        workload = side["provenance"]["scenario"]["workload"]
        assert (workload["trace"], workload["rate_hz"], workload["scale"]) == ("day", None, 0.5)
        assert len(side["provenance"]["load"]["sha256"]) == 64


def test_a_window_of_the_trace_is_used(here, monkeypatch):
    spans = []

    def simulate(scenario, trace=None, **given):
        spans.append(trace.span_us)
        return fake_simulate()(scenario, trace, **given)

    pretend(monkeypatch, simulate)
    assert capsim("run", "after.toml", "--trace", "day.csv", "--from", "1h", "--to", "3h").exit_code == 0
    assert spans == [2 * 3_600 * 10**6]


def test_a_saved_result_is_a_side_like_any_other(here):
    Path("saved.json").write_text(capsim("run", "before.toml", "--json").stdout, encoding="utf-8")
    document = json.loads(capsim("compare", "saved.json", "after.toml", "--json").stdout)

    assert document == json.loads(capsim("compare", "before.toml", "after.toml", "--json").stdout)


@pytest.mark.parametrize("extra", ["[stress]\nload_factor = 5\n", "[workload.mix]\nevents = 0.5\nheartbeats = 0.45\n"])
def test_sides_that_meet_other_conditions_are_refused_before_anything_runs(here, monkeypatch, extra):
    def never(*_, **__):
        raise AssertionError

    Path("mine.toml").write_text(Path("after.toml").read_text(encoding="utf-8") + extra, encoding="utf-8")
    one = capsim("compare", "before.toml", "mine.toml", "--conditions", "mine.toml", "--json")
    pretend(monkeypatch, never)
    result = capsim("compare", "before.toml", "mine.toml")

    sides = json.loads(one.stdout)["results"]
    assert len({json.dumps(side["provenance"]["scenario"][table]) for side in sides for table in ["stress"]}) == 1
    assert len({json.dumps(side["provenance"]["scenario"]["workload"]["mix"]) for side in sides}) == 1
    assert (result.exit_code, result.stdout) == (2, "")
    assert "mine.toml: " in result.stderr and "--conditions SIDE" in result.stderr


# --- regression -----------------------------------------------------------------------------------------------------


def test_against_an_equal_document_exits_with_0(here):
    Path("saved.json").write_text(capsim("run", "after.toml", "--json").stdout, encoding="utf-8")
    result = capsim("run", "after.toml", "--against", "saved.json")

    assert (result.exit_code, result.stdout) == (0, "saved.json: every number is as saved\n")


def test_drift_exits_with_1_and_shows_what_and_why(here):
    Path("saved.json").write_text(capsim("run", "after.toml", "--json").stdout, encoding="utf-8")
    result = capsim("run", "after.toml", "--seed", "5", "--against", "saved.json")

    assert result.exit_code == 1
    assert "seed was 0, is 5" in result.stdout
    assert "server_rss_mean [MiB]" in result.stdout and "+5 %" in result.stdout


def test_with_json_drift_is_told_on_stderr(here):
    Path("saved.json").write_text(capsim("run", "after.toml", "--json").stdout, encoding="utf-8")
    result = capsim("run", "after.toml", "--seed", "5", "--against", "saved.json", "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["provenance"]["seed"] == 5
    assert "figures differ" in result.stderr


def test_a_saved_document_of_another_kind_is_refused_before_anything_runs(here, monkeypatch):
    Path("both.json").write_text(capsim("compare", "before.toml", "after.toml", "--json").stdout, encoding="utf-8")

    def simulate(*_, **__):
        raise AssertionError("simulated although there is nothing to hold the result against")

    pretend(monkeypatch, simulate)
    assert refused(capsim("run", "after.toml", "--against", "both.json"), "both.json holds a comparison")


# --- what it leaves behind ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("section", ["summary", "bill", "stress"])
def test_a_saved_document_with_an_unknown_unit_is_refused(here, section):
    """By all commands that read one; a figure in a unit that nobody knows says nothing."""
    saved = json.loads(capsim("run", "after.toml", "--json").stdout)
    rows = saved[section] if section == "stress" else saved[section]["trace"]
    for row in rows:
        if row["unit"] in ("MiB", "s", "GB-minute"):
            row["unit"] = "parsec"
    Path("saved.json").write_text(json.dumps(saved), encoding="utf-8")

    for words in (("compare", "saved.json", "after.toml"), ("run", "after.toml", "--against", "saved.json")):
        assert refused(capsim(*words), f"saved.json: {section}.", "'parsec' is not a unit of a result")


def test_out_holds_the_document_and_the_report(here):
    result = capsim("run", "after.toml", "--out", "a/b/out")

    assert result.exit_code == 0, result.output
    assert {"result.json", "report.html", SUMS} <= entries(here / "a/b/out")
    assert load_document("a/b/out/result.json").name == "after"
    assert not [name for name in entries(here) if ".capsim-" in name]


def test_a_second_run_into_the_same_folder_replaces_its_files_only(here, monkeypatch):
    assert capsim("run", "after.toml", "--out", "out").exit_code == 0
    Path("out/notes.txt").write_text("mine", encoding="utf-8")

    pretend(monkeypatch, fake_simulate(), lambda results, out: (out / "other.html").write_text("<html>"))
    assert capsim("run", "before.toml", "--out", "out").exit_code == 0
    left = entries(here / "out")
    assert {"notes.txt", "other.html", "result.json"} <= left and "report.html" not in left
    assert load_document("out/result.json").name == "before"


def test_a_folder_of_somebody_else_is_left_alone(here):
    before = entries(here)

    assert refused(capsim("run", "after.toml", "--out", "."), "capsim did not write")
    assert entries(here) == before


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device", "out/x"), KeyboardInterrupt()])
def test_a_failing_report_leaves_nothing(here, monkeypatch, failure):
    def write(results, out):
        (out / "half.html").write_text("<ht")
        raise failure

    before = entries(here)
    pretend(monkeypatch, fake_simulate(), write)
    result = capsim("run", "after.toml", "--out", "out")

    assert result.exit_code == (130 if isinstance(failure, KeyboardInterrupt) else 3)
    assert "Traceback" not in result.output and len(result.stderr.splitlines()) == 1
    assert entries(here) == before


def test_ctrl_c_during_a_simulation_exits_with_130(here, monkeypatch):
    def simulate(*_, **__):
        raise KeyboardInterrupt

    pretend(monkeypatch, simulate)
    result = capsim("run", "after.toml")

    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "capsim: interrupted\n")


# --- how it says no -------------------------------------------------------------------------------------------------


BAD = {
    "no such scenario": (["run", "gone.toml"], ["gone.toml"]),
    "no such side": (["compare", "before.toml", "gone.toml"], ["gone.toml"]),
    "no such trace": (["run", "after.toml", "--trace", "gone.csv"], ["gone.csv"]),
    "no such saved document": (["run", "after.toml", "--against", "gone.json"], ["gone.json", "cannot be read"]),
    "an instant that is none": (["run", "after.toml", "--trace", "day.csv", "--from", "teatime"], ["teatime"]),
    "a window without a trace": (["run", "after.toml", "--from", "1h"], ["--from", "--trace"]),
    "a window without data": (["run", "after.toml", "--trace", "day.csv", "--from", "2030-01-01"], ["2030"]),
    "one side": (["compare", "after.toml"], ["name another"]),
    "a saved result to run": (["run", "saved.json"], ["is a saved result"]),
    "an output that is a file": (["run", "after.toml", "--out", "day.csv"], ["day.csv", "choose another --out"]),
    "an output below a file": (["run", "after.toml", "--out", "day.csv/out"], ["day.csv", "choose another --out"]),
}


@pytest.mark.parametrize(("arguments", "says"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(here, arguments, says):
    before = entries(here)
    out = [] if "--out" in arguments else ["--out", "out"]

    assert refused(capsim(*arguments, *out), *says)
    assert entries(here) == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SCENARIO.format(name="x", day="2026-02-03") + "[server.pool]\nlimitt = 3\n", ["limitt", "limit"]),
        (SCENARIO.format(name="x", day="1999-01-01"), ["1999-01-01"]),
        ("name = [", ["x.toml"]),
    ],
)
def test_a_broken_scenario_is_refused_before_anything_runs(here, monkeypatch, text, says):
    def simulate(*_, **__):
        raise AssertionError("simulated before all sides were read")

    pretend(monkeypatch, simulate)
    Path("x.toml").write_text(text, encoding="utf-8")

    assert refused(capsim("compare", "before.toml", "x.toml", "--out", "out"), *says)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "arguments",
    [["--seed", "-1"], ["--replicates", "0"], ["--scale", "0"], ["--scale", "nan"], ["--sead", "1"], ["--seed", "x"]],
)
def test_impossible_options_are_named_in_one_line_that_points_to_the_help(here, arguments):
    assert refused(capsim("run", "after.toml", *arguments), arguments[0], "see", "run --help")


@pytest.mark.parametrize("arguments", [["run"], ["gone"], ["trace", "describe"], ["trace", "gone"]])
def test_a_missing_or_unknown_word_is_one_line_too(here, arguments):
    assert refused(capsim(*arguments), "--help")


def test_a_command_without_words_shows_its_help(here):
    assert "Commands:" in capsim("trace").output


def test_a_full_disk_names_the_place_that_was_asked_for(here, monkeypatch):
    def write(results, out):
        (out / "series.csv").write_text("whole")
        os.utime(out / "series.csv", (0, 0))
        (out / "report.html").write_text("<ht")
        raise OSError(28, "No space left on device")

    pretend(monkeypatch, fake_simulate(), write)
    done = capsim("run", "after.toml", "--out", "report")
    assert done.exit_code == 3
    assert done.stderr.startswith("capsim: report/report.html: cannot be written (No space left on device); free")


def test_an_absent_folder_is_told_by_the_name_that_was_given(here):
    assert refused(capsim("trace", "import", "day.csv", "--out", "gone/x.csv"), "gone/x.csv: No such file")


def test_a_scenario_check_finds_a_day_without_prices(here):
    Path("old.toml").write_text(SCENARIO.format(name="old", day="1999-01-01"), encoding="utf-8")

    assert refused(capsim("scenario", "check", "old.toml"), "1999-01-01")


def test_an_unwritable_output_is_refused_before_the_run(here, monkeypatch):
    def forbidden(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("capsim.base.files._made", forbidden)

    assert refused(capsim("run", "after.toml", "--out", "out"), "out: cannot be written (Permission denied)")


# --- with the real simulation ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Two equal scenarios under a thin load, compared twice with different hash seeds, the second against the first."""
    folder = tmp_path_factory.mktemp("real")
    for name in ("before", "after"):
        text = SCENARIO.format(name=name, day="2026-02-03").replace("rate_hz = 5", "rate_hz = 0.002")
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "capsim", "compare", "before.toml", "after.toml", "--seed", "7", "--json"]
    done = []
    for hash_seed, against in (("1", []), ("2", ["--against", "saved.json"])):
        env = os.environ | {"PYTHONHASHSEED": hash_seed}
        done.append(subprocess.run([*command, *against], cwd=folder, env=env, capture_output=True, timeout=120))
        (folder / "saved.json").write_bytes(done[0].stdout)
    return done


def test_the_same_bytes_whatever_the_hash_seed(real):
    first, second = real

    assert (first.returncode, first.stderr) == (0, b"")
    assert first.stdout == second.stdout and b"comparison" in first.stdout


def test_a_real_result_repeats_itself(real):
    assert real[1].returncode == 0 and b"every number is as saved" in real[1].stderr


def test_equal_scenarios_differ_in_nothing(real):
    document = json.loads(real[0].stdout)

    assert all(d["values"][0] == d["values"][1] for d in document["differences"])
    assert set(document["results"][0]["bill"]) == {"trace", "month"}


def test_every_item_of_a_real_run_is_somewhere(real):
    for row in json.loads(real[0].stdout)["results"][0]["accounting"]:
        fates = [value for key, value in row.items() if key not in ("writer", "arrived", "half_width")]
        assert row["arrived"] == sum(fates) > 0


# --- as a process ---------------------------------------------------------------------------------------------------


def process(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "capsim", *arguments]
    return subprocess.run(command, text=True, stderr=subprocess.PIPE, timeout=60, **options)


def test_help_is_answered_without_the_heavy_libraries():
    code = (
        "import sys; from capsim.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print({'pandas', 'numpy', 'matplotlib', 'pydantic'} & set(sys.modules) or 'light')"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout

    assert "Commands:" in out and out.splitlines()[-1] == "light"


@pytest.mark.parametrize("name", ["run", "compare"])
def test_every_command_has_help_with_an_example(name):
    text = capsim(name, "--help").stdout

    assert f"capsim {name} " in text and "Example" in text


def test_the_overview_names_the_commands_with_one_sentence_each():
    text = capsim("--help").stdout

    assert all(name in text and lazy.summary in text for name, lazy in COMMANDS.items())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_stdout_is_one_line(tmp_path):
    with open("/dev/full", "w") as full:
        done = process("--version", stdout=full)

    assert (done.returncode, done.stderr.count("\n")) == (3, 1) and "No space left" in done.stderr


def test_a_reader_who_leaves_is_no_error():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        done = process("--help", stdout=pipe)

    assert (done.returncode, done.stderr) == (0, "")


def test_bad_input_of_a_process_has_no_traceback(tmp_path):
    done = process("run", "gone.toml", stdout=subprocess.PIPE, cwd=tmp_path)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_every_command_of_the_table_is_a_command():
    for name in COMMANDS:
        assert isinstance(main.get_command(click.Context(main), name), click.Command)

"""The measuring kit: a Node server that is loaded, sampled and stopped."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from capsim.base.errors import CapsimError
from capsim.cli import main
from capsim.telemetry.measure import group as groups
from capsim.telemetry.measure import session
from capsim.telemetry.measure.gclog import allocation, events
from capsim.telemetry.measure.group import group
from capsim.telemetry.measure.node import Node, find_node
from capsim.telemetry.measure.session import PROGRAMS, MeasureSettings, measure
from capsim.telemetry.measure.write import write
from capsim.validation.memory import check
from capsim.validation.series import read_series
from capsim.workload.companion import Companion, Run, companion_path, dumps, read_companion

try:
    NODE = find_node()
except CapsimError:
    NODE = None
needs_node = pytest.mark.skipif(NODE is None, reason="no Node on this machine (extra node, or node on PATH)")


# --- a measurement of one second


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """200 requests a second for two seconds, written out."""
    if NODE is None:
        pytest.skip("no Node on this machine (extra node, or node on PATH)")
    patch = pytest.MonkeyPatch()
    patch.setattr(session, "SETTLE_S", 0.3)
    patch.setattr(session, "TAIL_S", 0.5)
    settings = MeasureSettings(rate_hz=200, seconds=2, heap_cap_mib=64, sample_ms=100, stalls=((0.5, 1.0),))
    recording = measure(settings, NODE)
    patch.undo()
    out = tmp_path_factory.mktemp("measured") / "two_seconds.csv"
    write(recording, settings, out)
    return recording, out


def test_every_request_that_was_sent_was_served(recorded):
    recording, _ = recorded

    assert recording.load["sent"] == recording.load["answered"] == 400
    assert recording.rows[-1]["reqs_or_count"] == 400
    assert recording.ended == "stopped"


def test_the_files_are_read_by_validate_memory_without_a_remark(recorded):
    _, out = recorded
    (series,), notes = read_series(out)

    assert notes == [] and series.notes == ()
    assert 20 < series.table["rss"].max() < 150
    assert {"mean", "peak", "end"} <= {c.quantity.name for c in check([series])[0].checks}


def test_the_companion_tells_cap_stall_and_node(recorded):
    recording, out = recorded
    (run,) = read_companion(out).runs

    assert run.heap_cap_mib == 64 and run.flags == ("--max-old-space-size=64",)
    assert run.node == NODE.version
    assert run.semi_space_mib in (1, 2, 4, 8, 16, 32, 64)
    assert run.stalls[0].from_s == pytest.approx(recording.loaded_s + 0.5, abs=0.01)


def test_a_stall_holds_rows_back(recorded):
    """From 0.5 s on for a second: at least the 120 events of that second are held, at most all."""
    recording, _ = recorded
    most = max(row["buf"] + row["inflight"] for row in recording.rows)

    assert 100 <= most <= 400


def test_nothing_is_left_running(recorded):
    left = [child.cmdline() for child in psutil.Process().children(recursive=True)]

    assert not [words for words in left if str(PROGRAMS) in " ".join(words)]


@pytest.mark.slow  # needs a machine on which Node starts within five seconds
@needs_node
def test_ctrl_c_keeps_what_was_measured_so_far(tmp_path):
    out = tmp_path / "cut.csv"
    command = [sys.executable, "-m", "capsim", "measure", "--rate", "50", "--seconds", "60", "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until_s = time.monotonic() + 60
    while not any("load.cjs" in " ".join(c.cmdline()) for c in psutil.Process(process.pid).children(recursive=True)):
        assert time.monotonic() < until_s
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "wrote" in said
    assert len(out.read_text().splitlines()) > 2
    assert companion_path(out).is_file()


@pytest.mark.slow  # needs a machine on which Node starts within five seconds
@needs_node
def test_a_server_that_dies_before_it_is_loaded_is_told(tmp_path):
    with pytest.raises(CapsimError, match="before it was loaded; give it a larger cap or limit"):
        measure(MeasureSettings(rate_hz=10, seconds=1, heap_cap_mib=20, live_mib=60), NODE)


# --- the writers of the Node server

WRITERS = """
const { Writer } = require(process.argv[1]);
const taken = [];
const spec = { rules: process.argv[2], batch: 3, delay_ms: 40, cap: Number(process.argv[3]) };
const writer = new Writer(spec, () => { taken.push(writer.inFlight); return 30; }, false);
for (let i = 0; i < 7; i++) writer.add({ i });
setTimeout(() => console.log(JSON.stringify([taken, writer.dropped, writer.buffer.length])), 300);
"""


def played(rules, cap):
    command = [NODE.path, "-e", WRITERS, str(PROGRAMS / "writers.cjs"), rules, str(cap)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@needs_node
def test_kit_takes_a_batch_at_a_time_and_the_others_the_whole_buffer():
    assert played("kit", 100) == [[3, 3, 1], 0, 0]
    assert played("seed", 100) == [[7], 0, 0]
    assert played("fixed", 100) == [[7], 0, 0]


@needs_node
@pytest.mark.parametrize("rules", ["kit", "seed", "fixed"])
def test_an_arrival_at_a_full_buffer_is_dropped(rules):
    assert played(rules, 5)[1] == 2


# --- which Node


def test_a_path_that_is_no_node_is_refused(tmp_path):
    with pytest.raises(CapsimError, match="cannot be run as Node"):
        find_node(tmp_path / "node")
    with pytest.raises(CapsimError, match="so it is no Node"):
        find_node(Path(shutil.which("echo")))


def test_without_any_node_three_remedies_are_named(monkeypatch):
    monkeypatch.setattr("capsim.telemetry.measure.node._in_wheel", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)

    with pytest.raises(CapsimError, match=r"install capsim\[node\], put node on PATH, or give --node PATH"):
        find_node()


# --- the memory cgroup


def test_without_a_memory_cgroup_it_says_so(monkeypatch):
    monkeypatch.setattr(groups, "_own", lambda: None)
    with group(512) as (made, reason):
        assert made is None
        assert reason == "no memory cgroup is mounted here"


def test_a_hierarchy_without_the_memory_controller_is_no_group(monkeypatch, tmp_path):
    monkeypatch.setattr(groups, "_own", lambda: (tmp_path, 2))
    with group(None) as (made, reason):
        assert made is None
        assert "the memory controller is not handed down" in reason
    assert not list(tmp_path.iterdir())


def test_a_group_has_its_limit_and_is_removed():
    with group(256) as (made, reason):
        if made is None:
            pytest.skip(reason)
        name = "memory.limit_in_bytes" if made.version == 1 else "memory.max"
        assert int((made.folder / name).read_text()) == 256 * 2**20
        assert made.usage_mib() < 1
    assert not made.folder.exists()


# --- V8's log

NODE_20 = "[7:0x1]   {t} ms: pause=1 gc={gc} total_size_after=4194304 allocated=1048576 promoted=262144 x=1"
NODE_24 = "[7:0x1:0]   {t} ms: pause=1 gc={gc} end_object_size=4194304 allocated=1048576 promoted=262144 x=1"


@pytest.mark.parametrize("form", [NODE_20, NODE_24])
def test_allocation_is_counted_per_request(form):
    log = [form.format(t=1000 * i, gc="mc" if i == 3 else "s") for i in range(10)]
    got = allocation(events(log), 0.5, 4.5, 64)

    assert got.allocated_kib == 4 * 1024 / 64
    assert got.promoted_kib == 3 * 256 / 64
    assert got.least_left_mib == 4


def test_without_a_request_there_is_no_allocation_per_request():
    assert allocation([], 0, 1, 0) is None


# --- files and options


def test_a_companion_is_read_as_it_was_written(tmp_path):
    companion = Companion(format=1, recorded="2026-11-23", runs=(Run(name="x", heap_cap_mib=128, flags=("--a=1",)),))
    companion_path(tmp_path / "x.csv").write_text(dumps(companion))

    assert read_companion(tmp_path / "x.csv") == companion


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "x.txt"], "give --out a name that ends in .csv"),
        (["--out", "absent/x.csv"], "no such folder"),
        (["--out", "x.csv", "--stall", "ten"], "is not FROM:LENGTH"),
        (["--out", "x.csv", "--stall", "5:0"], "has no length"),
        (["--out", "x.csv", "--node", "absent/node"], "cannot be run as Node"),
    ],
)
def test_bad_input_is_told_before_anything_is_started(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["measure", "--rate", "10", *arguments])

    assert result.exit_code == 2
    assert said in result.stderr
    assert not list(tmp_path.iterdir())


def test_no_node_is_bad_input():
    with pytest.raises(CapsimError, match="v18"):
        session._weigh(Node(shutil.which("false"), "v18", "test"))

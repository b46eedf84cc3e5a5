"""A sweep gives one table, the same on every engine, after every failure; and refuses what it cannot do."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import capsim as cs
from capsim.base.document import dumps
from capsim.base.errors import CapsimError, MachineError
from capsim.base.intervals import Target
from capsim.base.paths import data_dir
from capsim.base.workers import Workers
from capsim.cli import main
from capsim.scenario.scenario import Scenario
from capsim.study.sweeps import cluster
from capsim.study.sweeps import run as sweep_run
from capsim.study.sweeps.design import Axis, Grid, Range, Sample
from capsim.study.sweeps.document import document_of, schema_text
from capsim.study.sweeps.journal import NAME
from capsim.study.sweeps.point import Outcome, Task, place, run_task
from capsim.study.sweeps.run import ABOUT, TABLE, Interrupted, csv, differences, means
from sweep_jobs import Dying, Hungry

SPEC = Scenario(name="small", workload={"rate_hz": 20, "duration_s": 60}, billing={"from": "2026-02-03"})
VARY = {"server.writers.events.batch_rows": [20, 100], "database.insert.call_ms": [5, 50, 500]}
TOML = 'name = "small"\n[workload]\nrate_hz = 20\nduration_s = 60\n[billing]\nfrom = "2026-02-03"\n'


@pytest.fixture(scope="module")
def table():
    return cs.sweep(SPEC, VARY, replicates=2)


def tasks(count):
    return [Task(n, 0, {"x": n}) for n in range(count)]


# --- the table


def test_a_row_is_a_point_and_replicate_in_the_order_of_the_design(table):
    assert table[["point", "replicate"]].to_numpy().tolist() == [[p, r] for p in range(6) for r in range(2)]
    assert table["database.insert.call_ms"].tolist() == [5, 5, 50, 50, 500, 500] * 2


def test_every_row_is_what_a_run_of_its_own_says(table):
    spec = SPEC.replace("server.writers.events.batch_rows", 100).replace("database.insert.call_ms", 50)
    alone = cs.simulate(spec, replicate=1, month=False).summary().set_index("metric")["value"]
    row = table.query("point == 4 and replicate == 1").iloc[0]

    assert row["events_buffer_mean_rows"] == pytest.approx(alone["events_buffer_mean"], rel=1e-8)
    assert row["server_rss_peak_mib"] == pytest.approx(alone["server_rss_peak"], rel=1e-8)


def test_all_points_of_a_replicate_see_the_same_arrivals(table):
    assert table.groupby("replicate")["requests"].nunique().tolist() == [1, 1]
    assert table.groupby("point")["requests"].nunique().tolist() == [2] * 6


def test_names_of_figures_carry_their_units(table):
    assert {"server_rss_mean_mib", "loop_wait_max_ms", "request_rate_mean_hz", "usage_usd"} <= set(table.columns)


def test_usage_is_the_bill_before_the_fee(table):
    bill = cs.simulate(SPEC, month=False).bill("trace")
    used = (bill["quantity"] * bill["price_usd"])[bill["service"] != "workspace"].sum()

    assert cs.sweep(SPEC, {"server.pool.limit": [10]})["usage_usd"].iloc[0] == pytest.approx(used, rel=1e-8)


def test_constants_can_be_varied_and_are_as_before_afterwards():
    found = cs.sweep(SPEC, {"constants.server_file": [42.6, 52.6]})

    assert np.diff(found["server_rss_mean_mib"])[0] == pytest.approx(10, abs=1e-6)
    assert cs.constants().set_index("name").loc["server_file", "value"] == 42.6


def test_a_table_that_the_scenario_leaves_out_is_made_by_varying_its_keys():
    assert len(cs.sweep(SPEC, {"server.http.clients.timeout_s": [1, 2]})) == 2


def test_keys_that_depend_on_each_other_are_changed_together():
    points = [{"workload.mix.events": 0.5, "workload.mix.heartbeats": 0.45, "workload.mix.revenue": 0.05}]

    assert len(cs.sweep(SPEC, points=points)) == 1


# --- designs


def test_a_grid_of_a_thousand_million_points_is_made_point_by_point():
    grid = Grid(tuple(Axis(f"k{n}", tuple(range(1_000))) for n in range(3)))

    assert grid.size == 10**9 and grid.point(10**9 - 1) == (999, 999, 999) and grid.point(1_000) == (0, 1, 0)


@pytest.mark.parametrize("kind", ["lhs", "sobol"])
def test_drawn_designs_fill_every_range_evenly(kind):
    sample = Sample(kind, 16, (Range("a", 0, 16), Range("b", 1, 10_000, log=True)), seed=3)
    points = np.array([sample.point(n) for n in range(16)])

    assert sorted(points[:, 0].astype(int)) == list(range(16))
    assert np.bincount(np.log10(points[:, 1]).astype(int)).tolist() == [4] * 4


def test_a_whole_number_is_drawn_with_both_ends():
    sample = Sample("sobol", 64, (Range("server.pool.limit", 2, 5, whole=True),))

    assert np.bincount([sample.point(n)[0] for n in range(64)]).tolist() == [0, 0, 16, 16, 16, 16]


def test_a_drawn_design_is_crossed_with_values():
    found = cs.sweep(SPEC, {"server.pool.limit": [5, 10]}, ranges={"workload.rate_hz": (10, 20)}, design="lhs:3")

    assert len(found) == 6 and found["workload.rate_hz"].nunique() == 3


def test_a_list_takes_values_side_by_side():
    found = cs.sweep(SPEC, {"server.pool.limit": [5, 10], "redis.keys": [1, 2]}, design="list")

    assert found[["server.pool.limit", "redis.keys"]].to_numpy().tolist() == [[5, 1], [10, 2]]


# --- engines


def test_processes_write_the_same_bytes(table, tmp_path):
    again = cs.sweep(SPEC, VARY, replicates=2, workers=2, out=tmp_path)

    assert csv(again) == csv(table) == (tmp_path / TABLE).read_text()


def test_a_cluster_writes_the_same_bytes(table, tmp_path):
    links = []
    again = cs.sweep(SPEC, VARY, replicates=2, workers=2, dask="local", announce=links.append)

    assert csv(again) == csv(table) and links[0].startswith("http")


def test_a_worker_that_dies_is_replaced_and_its_run_done_again(tmp_path):
    job = Dying(SPEC, marks=str(tmp_path), deaths=2)
    with Workers(2, work=partial(run_task, job), tries=3) as pool:
        found = sorted(pool.each(tasks(10)))

    assert found == [Outcome(n, 0, {"square": float(n * n)}) for n in range(10)]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_run_over_which_workers_keep_dying_is_named(tmp_path):
    job = Dying(SPEC, marks=str(tmp_path), deaths=99)
    with (
        pytest.raises(MachineError, match=r"point \d \(x = \d\): workers have died 3 times .*memory; --resume"),
        Workers(2, work=partial(run_task, job), tries=3, name=place, remedy="--resume") as pool,
    ):
        list(pool.each(tasks(4)))


def test_a_run_without_memory_is_named():
    with pytest.raises(MachineError, match=r"point 0 \(x = 0\): out of memory"):
        run_task(Hungry(SPEC), tasks(1)[0])


def test_a_script_needs_no_main_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import capsim as cs\nprint('begun')\n"
        f"open('s.toml', 'w').write({TOML!r})\n"
        "print(len(cs.sweep('s.toml', {'server.pool.limit': [5, 10]}, workers=2)))\n"
    )
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert done.stdout == "begun\n2\n"


# --- resuming


def test_finished_runs_are_not_run_again(tmp_path, monkeypatch, table):
    whole = cs.sweep(SPEC, VARY, replicates=1, out=tmp_path)
    seen = []
    monkeypatch.setattr(sweep_run, "run_task", lambda job, task: seen.append(task) or run_task(job, task))
    more = cs.sweep(SPEC, VARY, replicates=2, out=tmp_path, resume=True)

    assert [(task.point, task.replicate) for task in seen] == [(p, 1) for p in range(6)]
    assert csv(more) == csv(table) and len(whole) == 6


@pytest.mark.parametrize("cut", [1, 40, 2_000])
def test_a_line_cut_short_by_a_kill_is_run_again(tmp_path, table, cut):
    cs.sweep(SPEC, VARY, replicates=2, out=tmp_path)
    (tmp_path / TABLE).unlink()
    with (tmp_path / NAME).open("r+b") as file:
        file.truncate((tmp_path / NAME).stat().st_size - cut)
    cs.sweep(SPEC, VARY, replicates=2, out=tmp_path, resume=True)

    assert (tmp_path / TABLE).read_text() == csv(table)


def killed_and_resumed(tmp_path, kills, seed, workers):
    """Kill the command at random moments, then let it end; how many kills found it running, and its table."""
    (tmp_path / "s.toml").write_text(TOML.replace("duration_s = 60", "duration_s = 600"))
    command = [sys.executable, "-m", "capsim", "sweep", "s.toml", "--vary", "server.pool.limit=2,3,4,5,6",
               "--replicates", "6", "--workers", str(workers), "--out", "o", "--resume"]  # fmt: skip
    moments = random.Random(seed)
    runs_before = hit = 0
    for _ in range(kills):
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, start_new_session=True)
        journal = tmp_path / "o" / NAME
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if journal.exists() and journal.read_bytes().count(b"\n") > min(runs_before + 1, 30):
                break
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 0.3))
        process.kill()
        hit += process.wait() == -signal.SIGKILL
        runs_before = journal.read_bytes().count(b"\n") if journal.exists() else 0
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    return hit, (tmp_path / "o" / TABLE).read_bytes()


def undisturbed():
    spec = SPEC.replace("workload.duration_s", 600)
    return csv(cs.sweep(spec, {"server.pool.limit": [2, 3, 4, 5, 6]}, replicates=6)).encode()


def test_killed_twice_it_writes_the_same_table(tmp_path):
    hit, table = killed_and_resumed(tmp_path, kills=2, seed=1, workers=2)

    assert hit >= 1 and table == undisturbed()


@pytest.mark.slow
def test_killed_twenty_times_it_writes_the_same_table(tmp_path):
    expected = undisturbed()
    hits = seed = 0
    while hits < 20:
        (tmp_path / str(seed)).mkdir()
        hit, table = killed_and_resumed(tmp_path / str(seed), kills=5, seed=seed, workers=1 + seed % 2)
        hits, seed = hits + hit, seed + 1
        print(f"{hits} kills", flush=True)

        assert table == expected and seed < 20


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_half_way_writes_the_same_table():
    """The nanny of the local cluster replaces the worker; the scheduler gives its tasks to the other one."""
    spec = SPEC.replace("workload.duration_s", 1800)
    vary = {"server.pool.limit": [2, 3, 4, 5, 6]}
    killed = []

    def kill_once(share):
        if share >= 0.5 and not killed:
            import psutil

            # Their titles depend on what else is installed; the tracker of resources is small.
            workers = [p for p in psutil.Process().children(recursive=True) if p.memory_info().rss > 50 * 2**20]
            workers[0].kill()
            killed.append(workers[0].pid)

    table = cs.sweep(spec, vary, replicates=6, workers=2, dask="local", progress=kill_once)

    assert killed and csv(table) == csv(cs.sweep(spec, vary, replicates=6))


def test_another_design_is_not_resumed(tmp_path):
    cs.sweep(SPEC, {"server.pool.limit": [5]}, out=tmp_path)
    about = json.loads((tmp_path / ABOUT).read_text())

    assert about["design"]["axes"] == {"server.pool.limit": [5]} and len(about["design_sha256"]) == 64
    with pytest.raises(CapsimError, match="runs of another design, scenario, trace, seed or version"):
        cs.sweep(SPEC, {"server.pool.limit": [6]}, out=tmp_path, resume=True)
    with pytest.raises(CapsimError, match="holds 1 finished runs of this sweep; give --resume"):
        cs.sweep(SPEC, {"server.pool.limit": [5]}, out=tmp_path)


def test_a_file_that_is_no_record_of_runs_is_refused(tmp_path):
    (tmp_path / NAME).write_text("hello\n")
    with pytest.raises(CapsimError, match=r"runs\.jsonl:1: is not a finished run"):
        cs.sweep(SPEC, {"server.pool.limit": [5]}, out=tmp_path, resume=True)


def test_ctrl_c_keeps_what_is_done(tmp_path, table):
    def stop(share):
        if share > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as stopped:
        cs.sweep(SPEC, VARY, replicates=2, out=tmp_path, progress=stop)

    assert stopped.value.done == len(stopped.value.table) == 5
    assert csv(cs.sweep(SPEC, VARY, replicates=2, out=tmp_path, resume=True)) == csv(table)


def test_ctrl_c_on_the_command_line_exits_with_130(tmp_path, monkeypatch):
    (tmp_path / "s.toml").write_text(TOML)
    calls = []

    def second_is_interrupted(job, task):
        calls.append(task)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run_task(job, task)

    monkeypatch.setattr(sweep_run, "run_task", second_is_interrupted)
    done = CliRunner().invoke(
        main, ["sweep", str(tmp_path / "s.toml"), "--vary", "server.pool.limit=2,3,4", "--out", str(tmp_path / "o")]
    )

    assert done.exit_code == 130 and "interrupted; 1 of 3 runs are kept" in done.stderr


# --- replicates until a width


def test_replicates_go_on_until_the_interval_is_narrow(table):
    target = Target("events_buffer_mean_rows", 0.05, relative=True)
    found = cs.sweep(SPEC, {"server.pool.limit": [10]}, replicates=100, until=target)
    told = means(found, target.figure).iloc[0]

    assert 10 <= told["replicates"] < 100
    assert told["half_width"] <= 0.05 * told[target.figure]


def test_replicates_end_with_the_budget():
    target = Target("events_buffer_mean_rows", 1e-9)

    assert len(cs.sweep(SPEC, {"server.pool.limit": [10]}, replicates=12, until=target)) == 12


def test_differences_are_paired(table):
    found = differences(table, "events_buffer_mean_rows")
    apart = table.pivot(index="replicate", columns="point", values="events_buffer_mean_rows")

    assert found["difference"].iloc[0] == 0
    assert found["difference"].iloc[1] == pytest.approx((apart[1] - apart[0]).mean())


# --- bad input


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--vary", "server.pool.limt=1"], "server.pool.limt: there is no such key; did you mean server.pool.limit?"),
        (["--vary", "constants.event_rows=1"], "constants.event_rows: there is no such constant; did you mean"),
        (["--vary", "server.pool=1"], "server.pool: there is no such key; it is a table"),
        (["--vary", "server.pool.limit"], "--vary server.pool.limit: is not KEY=..."),
        (["--vary", "server.pool.limit=0"], "point 0 (server.pool.limit = 0): small: [server.pool] limit = 0"),
        (["--vary", "server.pool.limit=5MB"], "server.pool.limit: 5MB cannot be converted: the key has no unit"),
        (["--vary", "database.insert.call_ms=5_"], '[database.insert] call_ms = "5_" cannot be used; give a number'),
        (["--range", "database.insert.call_ms=5_:6"], "call_ms=5_:6: is not LO:HI"),
        (["--design", "lhs:8", "--range", "workload.rate_hz=9:1"], "the range 9 to 1 is the wrong way round"),
        (["--design", "lhs:8", "--range", "workload.rate_hz=0:1:log"], "a logarithmic range cannot begin at 0"),
        (["--design", "lhs:8", "--range", "workload.rate_hz=1"], "is not LO:HI or LO:HI:log"),
        (["--design", "lhs:0", "--range", "workload.rate_hz=1:2"], "a design needs at least one point"),
        (["--design", "lsh:8", "--range", "workload.rate_hz=1:2"], "design lsh:8 is not known"),
        (["--range", "workload.rate_hz=1:2"], "a range needs a design that draws from it"),
        ([], "there is nothing to vary"),
        (["--vary", "redis.keys=1", "--resume"], "--resume goes on from a folder"),
        (["--vary", "redis.keys=1", "--until", "x"], "--until x: is not FIGURE=WIDTH"),
        (["--vary", "redis.keys=1", "--until", "x=1", "--replicates", "2"], "x: there is no such figure"),
        (["--vary", "redis.keys=1", "--dask", "tcp://127.0.0.1:9"], "no Dask scheduler answers there"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path, monkeypatch, arguments, problem):
    (tmp_path / "s.toml").write_text(TOML)
    monkeypatch.setattr(cluster, "CONNECT_S", 1)
    done = CliRunner().invoke(main, ["sweep", str(tmp_path / "s.toml"), *arguments])

    assert done.exit_code == 2 and done.stdout == ""
    assert problem in done.stderr and done.stderr.count("\n") == 1


def test_a_thousand_million_points_are_refused_with_the_time_they_would_take():
    thousand = list(range(1, 1_001))
    vary = {"server.pool.limit": thousand, "redis.keys": thousand, "redis.clients": thousand}

    with pytest.raises(CapsimError, match=r"has 1,000,000,000 runs; the first took .* about .* (days|years) .*--yes"):
        cs.sweep(SPEC, vary)


def test_a_cluster_of_another_version_is_refused():
    theirs = {"tcp://a:1": {**cluster.versions(), "numpy": "1.0"}}

    with pytest.raises(CapsimError, match=r"worker tcp://a:1 has numpy 1\.0, here it is .*same versions"):
        cluster.refuse_others(theirs, "--dask tcp://s:8786")


def test_an_error_while_running_says_what_is_kept(tmp_path, monkeypatch):
    def second_fails(job, task):
        if task.point:
            raise CapsimError("out of luck")
        return run_task(job, task)

    monkeypatch.setattr(sweep_run, "run_task", second_fails)
    with pytest.raises(CapsimError, match="out of luck; 1 finished runs are kept in"):
        cs.sweep(SPEC, VARY, out=tmp_path)


def test_units_on_the_command_line_become_the_keys_own(tmp_path):
    (tmp_path / "s.toml").write_text(TOML)
    done = CliRunner().invoke(main, ["sweep", str(tmp_path / "s.toml"), "--vary", "database.insert.call_ms=0.5s,20ms"])

    assert [line.split(",")[2] for line in done.stdout.splitlines()[1:]] == ["500", "20"]


def test_a_trace_is_read_once_and_given_to_every_run(monkeypatch):
    trace = cs.read_trace(cs.find_trace("flash-crowd")).window("0h", "1h")
    found = cs.sweep("after", {"workload.scale": [0.1, 0.2]}, trace=trace)

    assert found["requests"].is_monotonic_increasing and isinstance(found, pd.DataFrame)
    assert sweep_run._job(cs.load("after"), Grid((Axis("redis.keys", (1,)),)), trace, 0, False).traces == {}


def test_the_json_of_a_sweep_has_the_table_and_obeys_its_schema():
    jsonschema = pytest.importorskip("jsonschema")
    kept = (data_dir() / "schema" / "sweep.schema.json").read_text(encoding="utf-8")
    assert kept == schema_text()
    table = cs.sweep(SPEC, {"server.writers.events.batch_rows": [50, 100]}, replicates=2)
    document = json.loads(dumps(document_of(table)))
    jsonschema.Draft202012Validator(json.loads(kept)).validate(document)
    assert document["columns"] == list(table.columns)
    assert [row[:3] for row in document["rows"]] == [[0, 0, 50], [0, 1, 50], [1, 0, 100], [1, 1, 100]]
    assert document["about"]["seed"] == 0

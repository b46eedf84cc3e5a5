"""The heap of a run, stepped through its collections where it matters; and the three ends that its memory can bring."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import capsim as cs
from capsim import memory
from capsim.base.units import MIB
from capsim.memory import heap_stepping as followed
from capsim.memory.heap import Heap, Process, advance, simulate
from capsim.memory.pauses import collector_share, scavenge_interval_bytes, scavenge_pause_ms
from capsim.memory.server import process_of
from capsim.scenario.columns import SAMPLES, empty
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS


def scenario(**changes):
    made = Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing={"from": "2026-02-03"})
    for path, value in changes.items():
        made = made.replace(path.replace("__", "."), value)
    return made


def minutes(count, requests, rows=0, width=60.0):
    """Bins of steady load with so many events buffered, a number or one for each bin."""
    rows = np.broadcast_to(rows, count)
    held = {f"events_buffer_{kind}_rows": rows for kind in ("mean", "min", "max")}
    table = empty(SAMPLES).reindex(range(count)).fillna(0)
    return table.assign(time_s=width * np.arange(count), width_s=width, requests=requests, **held)


# --- one heap for both


def test_a_run_steps_through_a_moving_heap_as_a_recording_does():
    """A leak of 200 rows a second: the run's bins are the means of the heap that validates recordings."""
    spec = scenario(server__container__memory_limit_mib=4096)
    rows = 12_000.0 * np.arange(21)
    middle = (rows[1:] + rows[:-1]) / 2
    bins = minutes(20, 12_000).assign(
        events_buffer_mean_rows=middle, events_buffer_min_rows=rows[:-1], events_buffer_max_rows=rows[1:]
    )
    got = memory.resident(bins, spec)
    t = np.arange(0, 1201.0)
    twin = simulate(t, 200 * t, 200 * t * 2387 / MIB, process_of(spec, 200))
    for i in range(8, 20):
        inside = twin[(twin.t_s >= 60 * i) & (twin.t_s <= 60 * (i + 1))]
        assert got.server_rss_mib[i] == pytest.approx(inside.rss.mean(), rel=0.05)


def test_a_calm_run_is_not_stepped_through():
    bins = memory.resident(minutes(60, 30_000, 1_000), scenario())
    before = followed.MOVES_MIB
    assert before > 1
    assert bins.server_rss_mib.iloc[-10:].nunique() == 1  # the closed form: the same minute after minute


def test_a_steady_kind_of_bin_is_stepped_through_eight_times_only(monkeypatch):
    """10,000 minutes with 100 MiB live cost no more than the first few."""
    stepped = []
    monkeypatch.setattr(followed, "advance", lambda *a: stepped.append(a) or advance(*a))
    bins = memory.resident(minutes(10_000, 30_000), scenario(server__node__loaded_mib=100.0))

    assert len(stepped) < 50
    assert bins.server_rss_mib.iloc[-1] == pytest.approx(bins.server_rss_mib.iloc[20], rel=0.02)


# --- the ends, out of the heap

LEAK_S = np.arange(0, 300, 0.5)


def leak(cap, container, own_files):
    """20 MiB a second are kept, in a process with a new space of 1 MiB."""
    process = Process(
        cap_mib=cap,
        semi_space_mib=1.0,
        live_mib=3.0,
        off_heap_share=memory.constants().set_index("name").value["off_heap_share"],
        container_mib=container,
        own_files=own_files,
        speed_sigma=0.0,
    )
    return simulate(LEAK_S, 5_000 * LEAK_S, 20.0 * LEAK_S, process)


@pytest.mark.parametrize(
    ("cap", "own_files", "ends", "anon_mib"),
    [
        (384, False, "abort", 399),
        (400, False, "abort", 414),
        (448, False, "abort", 464),
        (464, False, "abort", 480),
        (480, False, "kill", 495),
        (512, False, "kill", 495),
        (480, True, "hang", 473),
        (432, True, "abort", 447),
        (448, True, "abort", 464),
        (464, True, "hang", 478),
        (465, False, "abort", 482),
        (466, True, "hang", 473),
    ],
)
def test_ends_in_a_container_of_512_mib_come_out_of_the_heap(cap, own_files, ends, anon_mib):
    """Measured ends, and the anonymous memory at them."""
    run = leak(cap, 512, own_files)

    assert run.attrs["ended"] == ends
    assert run.rss.max() - Process().file_mib == pytest.approx(anon_mib, rel=0.025)


@pytest.mark.parametrize(("container", "ends"), [(128, "kill"), (256, "kill"), (512, "abort")])
def test_without_a_cap_the_default_of_the_container_decides(container, ends):
    assert leak(256, container, own_files=False).attrs["ended"] == ends


# --- the same in whole runs


def leaking(**more):
    """Unbounded buffers behind a stalled database: the server of the measured ends, 370 MiB live and 1,500/s."""
    changes = {
        "workload__rate_hz": 1_500,
        "workload__duration_s": 70,
        "server__node__loaded_mib": 370.0,
        "server__container__memory_limit_mib": 512,
        "server__process__restarts_max": 0,
        "server__writers__events__buffer_cap_rows": "none",
        "database__faults": [{"kind": "stall", "from_s": 5, "to_s": 4_000}],
    }
    return scenario(**{**changes, **more})


@pytest.mark.parametrize(("cap", "ends"), [(432, "abort"), (448, "abort"), (464, "hang"), (466, "hang"), (512, "hang")])
def test_a_leaking_server_ends_in_a_run_as_it_was_measured_to(cap, ends):
    run = cs.simulate(leaking(server__node__heap_cap_mib=cap), resolution_s=5, month=False)

    assert run.lives.end.tolist() == [ends]


@pytest.mark.parametrize(("container", "loaded", "ends"), [(128, 60, "hang"), (256, 180, "hang"), (512, 180, "abort")])
def test_without_a_cap_a_run_ends_as_the_container_decides(container, loaded, ends):
    spec = leaking(server__container__memory_limit_mib=container, server__node__loaded_mib=loaded)
    run = cs.simulate(spec, resolution_s=5, month=False)

    assert run.lives.end.tolist() == [ends]


@pytest.mark.parametrize("cap", [384, 464, 512])
def test_without_a_leak_nothing_happens_under_any_of_these_caps(cap):
    calm = leaking(
        server__node__heap_cap_mib=cap, database__faults=[], workload__rate_hz=500, server__node__loaded_mib=0.0
    )
    run = cs.simulate(calm, resolution_s=5, month=False)

    assert run.lives.end.tolist() == ["run"]
    assert not any("runs out" in w or "is killed" in w for w in run.warnings)


def test_a_hang_is_not_restarted_holds_its_container_and_loses_what_comes():
    """A deploy ends it; until then the limit is billed."""
    spec = leaking(server__node__heap_cap_mib=464, server__process__restarts_max=10, workload__duration_s=90)
    run = cs.simulate(spec, resolution_s=5, month=False)
    after = run.samples[run.samples.time_s > run.lives.end_s[0] + 5]
    deployed = cs.simulate(
        spec.replace("server.lifecycle", [{"kind": "deploy", "at_s": 80}]), resolution_s=5, month=False
    )

    assert run.lives.end.tolist() == ["hang"]
    assert any("hangs at its container's limit" in warning for warning in run.warnings)
    assert after.server_billed_mib.to_numpy() == pytest.approx(512)
    assert sum(after[f"{stream}_refused_down"].sum() for stream in STREAMS) == pytest.approx(after.requests.sum())
    assert deployed.lives.end.tolist() == ["hang", "run"]
    assert deployed.samples.set_index("time_s").server_billed_mib[80.0] < 500


# --- two that were predicted before they were measured (tests/data/memory_blind)

BLIND = Path(__file__).parents[1] / "data" / "memory_blind"


def test_n13_hangs_with_its_own_files_in_its_container_and_is_not_killed():
    run = cs.simulate(cs.load(BLIND / "N13.toml"), resolution_s=5, month=False)

    assert run.lives.end.tolist() == ["hang"]  # nothing restarts it
    assert run.lives.end_s[0] == pytest.approx(56, abs=25)


@pytest.mark.parametrize(("own_files", "ends"), [(True, "hang"), (False, "kill")])
def test_n13_and_n13_again_differ_only_in_who_holds_the_files(own_files, ends):
    spec = cs.load(BLIND / "N13.toml")
    rows = 787 * np.maximum(LEAK_S - 5, 0)  # on average
    process = replace(process_of(spec, 787.0), own_files=own_files)
    run = simulate(LEAK_S, 787 * LEAK_S, 1_620 * rows / MIB, process)

    assert run.attrs["ended"] == ends


@pytest.mark.parametrize("rate_hz", [500, 634, 787])
def test_n14_aborts_with_just_enough_of_its_files_left(rate_hz):
    mix = {"events": 0.6, "revenue": 0.05, "heartbeats": 0.35}
    spec = cs.load(BLIND / "N13.toml").replace("workload", {"rate_hz": rate_hz, "duration_s": 130, "mix": mix})
    for knob, value in (("container.memory_limit_mib", 256), ("node.heap_cap_mib", 208), ("node.loaded_mib", 120.0)):
        spec = spec.replace(f"server.{knob}", value)
    run = cs.simulate(spec, resolution_s=5, month=False)

    assert run.lives.end[0] == "abort"
    assert run.lives.lost_items[0] == pytest.approx(46_564, rel=0.1)


# --- live sets under a cap


@pytest.mark.parametrize(("loaded", "dies"), [(0, False), (45, False), (55, True)])
def test_a_live_set_under_a_cap_of_64(loaded, dies):
    """With 45 MiB loaded it lives, with 55 it dies; both measured."""
    spec = scenario(
        workload__rate_hz=500, workload__duration_s=30, server__node__heap_cap_mib=64, server__node__loaded_mib=loaded,
        server__process__restarts_max=0,
    )  # fmt: skip
    run = cs.simulate(spec, resolution_s=5, month=False)

    assert (run.lives.end.iloc[0] == "abort") == dies


def test_caps_change_nothing_with_a_small_live_set():
    """Measured 98 to 103 MiB under 64 to 512 at 500/s."""
    rss = [
        memory.resident(minutes(3, 30_000), scenario(server__node__heap_cap_mib=cap)).server_rss_mib.iloc[-1]
        for cap in (64, 128, 256, 512)
    ]

    assert max(rss) - min(rss) < 2


# --- every knob does something


@pytest.mark.parametrize(
    ("key", "value", "column"),
    [
        ("server__container__memory_limit_mib", 512, "server_rss_mib"),
        ("server__container__cpu", 0.1, "server_cpu_vcpu"),
        ("server__container__cpu", 0.25, "server_rss_mib"),
        ("server__node__semi_space_mib", 2, "server_rss_mib"),
        ("server__node__semi_space_mib", 2, "server_cpu_vcpu"),
        ("server__node__version", 24, "server_rss_mib"),
        ("server__node__loaded_mib", 50.0, "server_rss_mib"),
    ],
)
def test_every_knob_changes_the_bytes_or_the_cpu(key, value, column):
    bins = minutes(5, 30_000)
    before = memory.resident(bins, scenario())[column].iloc[-1]
    after = memory.resident(bins, scenario(**{key: value}))[column].iloc[-1]

    assert abs(after / before - 1) > 0.005


def test_program_files_give_way_at_the_limit():
    """Measured: 100 MiB live under a limit of 200 used 200, file pages squeezed from 78 to 37."""
    spec = scenario(server__container__memory_limit_mib=200, server__node__loaded_mib=100.0)
    billed = memory.resident(minutes(5, 30_000), spec).server_billed_upper_mib

    assert billed.max() == pytest.approx(200, rel=0.02)


def test_collections_of_a_small_new_space_come_sooner_and_are_shorter():
    small = scenario(server__container__memory_limit_mib=512)

    assert scavenge_interval_bytes(scenario()) / scavenge_interval_bytes(small) == pytest.approx(16)
    assert scavenge_interval_bytes(scenario()) / MIB == pytest.approx(10.7, rel=0.07)  # law L5
    assert scavenge_pause_ms(scenario()) == pytest.approx(6.09, rel=0.02)
    assert scavenge_pause_ms(scenario(server__node__semi_space_mib=4)) == pytest.approx(2.43, rel=0.16)
    assert scavenge_pause_ms(scenario(server__container__cpu=0.2)) == pytest.approx(9.68, rel=0.02)


@pytest.mark.parametrize(("quota", "rate", "measured"), [(0.5, 500, 5 / 8), (0.25, 500, 4 / 8), (0.5, 1000, 8 / 15)])
def test_a_quota_makes_full_collections_fewer(quota, rate, measured):
    """Full collections in 15 s under a quota, over those without one."""
    spec = scenario(server__container__cpu=quota)
    t = np.arange(0, 61.0)
    counts = [simulate(t, rate * t, 0 * t, process_of(s, rate)).collections.iloc[-1] for s in (spec, scenario())]

    assert collector_share(spec, 0.2) < 1
    assert counts[0] < counts[1]
    assert counts[0] / counts[1] == pytest.approx(measured, abs=0.35)


def test_a_heap_that_is_taken_up_goes_on_where_the_closed_form_left_it():
    at = followed.Resumed(60.0, semi_mib=16.0, retained_mib=10.0, committed_mib=40.0, collections=5, growth_mib_s=2.0)
    heap = Heap.resumed(Process(), at)

    assert heap.total == pytest.approx(40 + 32 + 1.3, abs=0.1)
    assert heap.old == pytest.approx(17.2)

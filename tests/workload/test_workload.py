"""A load as arrivals: the same for the same address, complete, in order, an hour at a time."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsim.base.errors import ScenarioError, TraceError
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from capsim.workload import BLOCK_US, Load, Trace, load_of
from capsim.workload.load import by_stream

S_US, MINUTE_US, HOUR_US = 1_000_000, 60_000_000, 3_600_000_000


def scenario(**workload) -> Scenario:
    return Scenario(name="x", workload=workload, billing={"from": "2026-02-03"})


def counts(*values: int, width_us: int = MINUTE_US, start_us: int = 17 * S_US) -> Trace:
    return Trace.from_counts("t", start_us + width_us * np.arange(len(values)), values, width_us)


def arrivals(load: Load) -> np.ndarray:
    """Every arrival of every stream, sorted."""
    return np.sort(np.concatenate([times for block in load.blocks() for times in block.times.values()]))


def digest(load: Load) -> str:
    found = hashlib.sha256()
    for block in load.blocks():
        for part in (*block.times.values(), block.heartbeat_sessions, block.other_us):
            found.update(b"-" if part is None else part.tobytes())
    return found.hexdigest()


LOADS = {
    "minutes": ({"trace": "t"}, counts(*range(150))),
    "seconds": ({"trace": "t", "scale": 0.4}, counts(*[3] * 4000, width_us=S_US)),
    "five minutes": ({"trace": "t", "scale": 2.5}, counts(*[40, 90, 10] * 20, width_us=5 * MINUTE_US)),
    "days": ({"trace": "t"}, counts(400, 900, width_us=24 * HOUR_US)),
    "events": (
        {"trace": "t", "scale": 3.7},
        Trace.from_times("t", np.arange(0, 4_000 * S_US, 7 * S_US) + 1_000 * S_US, S_US),
    ),
    "sessions": (
        {"trace": "t", "sessions": {"length_median_s": 2_000, "abandoned": 0.3}},
        counts(*[20] * 150),
    ),
    "rate": ({"rate_hz": 2.0, "duration_s": 9_000, "live_sessions": 7}, None),
}


@pytest.fixture(params=LOADS)
def case(request):
    workload, trace = LOADS[request.param]
    return scenario(**workload), trace


def test_blocks_tile_the_load_in_hours_and_hold_what_arrives_in_them(case):
    load = load_of(*case, seed=1)
    blocks = list(load.blocks())

    assert [b.from_us for b in blocks] == [i * BLOCK_US for i in range(len(blocks))]
    assert [b.to_us for b in blocks[:-1]] == [b.from_us for b in blocks[1:]]
    assert blocks[-1].to_us == load.until_us == load.span_us
    for block in blocks:
        assert tuple(block.times) == STREAMS
        for times in (*block.times.values(), block.other_us):
            assert times.dtype == np.int64
            assert (np.diff(times) >= 0).all()
            assert not times.size or (block.from_us <= times[0] and times[-1] < block.to_us)
        if block.heartbeat_sessions is not None:
            assert block.heartbeat_sessions.size == block.times["heartbeats"].size


@pytest.mark.parametrize("until_s", [None, 5_000])
def test_arrivals_in_one_order_are_those_of_the_streams(case, until_s):
    """Of one instant those of earlier streams first: sorted one by one, in blocks that end early too."""
    workload, trace = case
    blocks = list(load_of(workload, trace, seed=1, until_us=until_s and until_s * S_US).blocks())
    kept = [block for block in blocks if block.in_order is not None]

    assert bool(kept) is not bool(workload.workload.sessions)
    for block in kept:
        each = [(at_us, kind) for kind, stream in enumerate(STREAMS) for at_us in block.times[stream].tolist()]
        at_us, kinds = block.in_order
        assert list(zip(at_us.tolist(), kinds.tolist(), strict=True)) == sorted(each)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), max_size=30))
def test_kinds_of_one_instant_are_exchanged_until_they_ascend(arrivals):
    arrivals.sort(key=lambda arrival: arrival[0])
    times, kinds = np.array(arrivals, np.int64).reshape(-1, 2).T
    kinds = kinds.astype(np.int8)

    if by_stream(times, kinds):
        assert list(zip(times.tolist(), kinds.tolist(), strict=True)) == sorted(arrivals)
    else:
        assert max(times.tolist().count(at) for at in times.tolist()) > 3


def test_the_same_address_gives_the_same_arrivals_and_another_gives_others(case):
    assert digest(load_of(*case, seed=1, replicate=2)) == digest(load_of(*case, seed=1, replicate=2))
    assert len({digest(load_of(*case, seed=s, replicate=r)) for s, r in ((1, 0), (1, 1), (2, 0))}) == 3


def test_where_a_run_stops_changes_nothing_before_it(case):
    long = load_of(*case, seed=1, until_us=3 * load_of(*case).span_us)
    whole = list(long.blocks())
    for until_us in (1, 40 * MINUTE_US, load_of(*case).span_us, 2 * HOUR_US + 1):
        for short, full in zip(load_of(*case, seed=1, until_us=until_us).blocks(), whole, strict=False):
            cut = full.until(short.to_us)
            assert all((short.times[s] == cut.times[s]).all() for s in STREAMS)
            assert (short.other_us == cut.other_us).all()
            assert short.covered_us == cut.covered_us
            if short.heartbeat_sessions is not None:
                assert (short.heartbeat_sessions == cut.heartbeat_sessions).all()


def test_no_arrival_is_lost_where_a_bin_crosses_the_hour():
    trace = counts(*[700] * 60, width_us=7 * MINUTE_US)

    found = arrivals(load_of(scenario(trace="t"), trace, seed=1))

    assert np.bincount(found // (7 * MINUTE_US)).tolist() == [700] * 60


def test_a_server_does_not_change_its_load():
    one, other = scenario(trace="t"), scenario(trace="t").replace("server.pool.limit", 3)

    assert digest(load_of(one, counts(5, 6), seed=1)) == digest(load_of(other, counts(5, 6), seed=1))


def test_a_bins_requests_arrive_in_that_bin_and_evenly():
    found = arrivals(load_of(scenario(trace="t"), counts(0, 5_000, 3, 0, 8_000), seed=1))

    assert np.bincount(found // MINUTE_US, minlength=5).tolist() == [0, 5_000, 3, 0, 8_000]
    inside = found[found // MINUTE_US == 4] % MINUTE_US
    assert inside.mean() == pytest.approx(30 * S_US, rel=0.02)
    assert inside.std() == pytest.approx(60 / 12**0.5 * S_US, rel=0.02)


def test_an_events_stamp_is_spread_over_its_resolution_only():
    trace = Trace.from_times("t", np.repeat([0, 9 * S_US], 2_000), S_US)

    found = arrivals(load_of(scenario(trace="t"), trace, seed=1))

    assert np.unique(found // S_US).tolist() == [0, 9]
    assert np.unique(found).size > 3_900


def test_wide_bins_keep_their_totals_whichever_process_fills_them():
    trace = counts(*[400, 0, 900, 20] * 24, width_us=5 * MINUTE_US)
    for process in ("poisson", "modulated"):
        found = arrivals(load_of(scenario(trace="t"), trace, seed=1, binned_as=process))
        assert np.bincount(found // (5 * MINUTE_US)).tolist()[:4] == [400, 0, 900, 20]


def test_peaks_inside_wide_bins_are_marked_as_assumed():
    load = load_of(scenario(trace="t"), counts(*[40, 90, 10] * 20, width_us=5 * MINUTE_US))

    assert any("assumed" in sentence for sentence in load.provenance()["assumptions"])


def test_scaling_thins_and_superposes():
    trace = counts(*[600] * 100)

    assert arrivals(load_of(scenario(trace="t", scale=2), trace)).size == 120_000
    assert arrivals(load_of(scenario(trace="t", scale=0.01), trace)).size == pytest.approx(600, abs=100)
    assert arrivals(load_of(scenario(trace="t", scale=1.01), trace)).size == pytest.approx(60_600, abs=100)


def test_copies_of_events_do_not_arrive_together():
    trace = Trace.from_times("t", [30 * S_US, 3_000 * S_US], S_US, start_us=0, end_us=3_060 * S_US)

    found = arrivals(load_of(scenario(trace="t", scale=40), trace, seed=1))

    assert np.bincount(found // MINUTE_US).nonzero()[0].tolist() == [0, 50]
    assert np.unique(found // S_US).size > 40


def test_a_repeated_trace_has_the_same_counts_and_fresh_places():
    load = load_of(scenario(trace="t"), counts(50, 0, 70), seed=1, until_us=6 * MINUTE_US)

    found = arrivals(load)

    assert np.bincount(found // MINUTE_US).tolist() == [50, 0, 70, 50, 0, 70]
    first = found[found < 3 * MINUTE_US]
    assert not np.isin(found[found >= 3 * MINUTE_US] - 3 * MINUTE_US, first).all()


def test_nothing_arrives_where_there_is_no_data_and_the_block_says_where():
    trace = Trace.from_counts("t", [0, MINUTE_US, 90 * MINUTE_US], [10, 10, 10], MINUTE_US)
    load = load_of(scenario(trace="t"), trace, seed=1)

    covered = [span for block in load.blocks() for span in block.covered_us]

    assert covered == [(0, 2 * MINUTE_US), (90 * MINUTE_US, 91 * MINUTE_US)]
    assert load.gaps == ((2 * MINUTE_US, 90 * MINUTE_US),)
    assert np.unique(arrivals(load) // MINUTE_US).tolist() == [0, 1, 90]
    assert load.mean_hz == pytest.approx(30 / 180)


def test_requests_are_divided_by_the_mix():
    mix = {"events": 0.5, "revenue": 0.2, "heartbeats": 0.3}
    (block,) = load_of(scenario(rate_hz=100, duration_s=3_600, mix=mix), seed=1).blocks()

    assert [block.times[s].size / block.requests for s in STREAMS] == pytest.approx([0.5, 0.2, 0.3], abs=0.005)


def test_a_rate_is_a_poisson_process():
    found = arrivals(load_of(scenario(rate_hz=5, duration_s=36_000), seed=2))
    per_s = np.bincount(found // S_US, minlength=36_000)

    assert per_s.mean() == pytest.approx(5, rel=0.02)
    assert per_s.var() == pytest.approx(5, rel=0.04)


def test_heartbeats_go_round_the_live_sessions_over_the_whole_load():
    blocks = load_of(scenario(rate_hz=1, duration_s=9_000, live_sessions=7), seed=1).blocks()

    sessions = np.concatenate([block.heartbeat_sessions for block in blocks])

    assert (sessions == np.arange(sessions.size) % 7).all()


# --- scripts --------------------------------------------------------------------------------------------------------


def test_a_script_is_played_to_the_millisecond_by_floor():
    runs = [
        {"stream": "events", "at_ms": 100, "count": 4, "rate_hz": 3},
        {"stream": "events", "at_ms": 500, "count": 2},
        {"stream": "heartbeats", "at_ms": 0, "count": 5, "rate_hz": 1},
    ]
    (block,) = load_of(scenario(runs=runs, live_sessions=2)).blocks()

    assert (block.times["events"] / 1_000).tolist() == [100, 433, 500, 500, 766, 1100]
    assert block.heartbeat_sessions.tolist() == [0, 1, 0, 1, 0]
    assert block.times["revenue"].size == 0


@pytest.mark.parametrize("rate_hz", [0.001, 0.3, 7, 999, 1_001, 12_345.6])
def test_a_script_cut_into_hours_loses_nothing(rate_hz):
    run = {"stream": "revenue", "at_ms": 3_599_000, "count": 5_000, "rate_hz": rate_hz}
    expected = 3_599_000 + np.floor(1_000 * np.arange(5_000) / rate_hz)

    found = arrivals(load_of(scenario(runs=[run])))

    assert (found == expected * 1_000).all()


def test_a_script_is_over_when_it_is_over():
    load = load_of(scenario(runs=[{"stream": "events", "at_ms": 0, "count": 3}]), until_us=5 * HOUR_US)

    assert arrivals(load).size == 3
    assert load_of(scenario(runs=[{"stream": "events", "at_ms": 0, "count": 3}])).span_us == MINUTE_US


def test_a_script_cannot_be_scaled():
    with pytest.raises(ScenarioError, match="scale"):
        load_of(scenario(runs=[{"stream": "events", "at_ms": 0, "count": 3}], scale=2))


# --- sessions -------------------------------------------------------------------------------------------------------


def gathered(load: Load):
    """Sessions as started and as ended, and heartbeats by session."""
    started, ended, beats, other = {}, {}, {}, []
    for block in load.blocks():
        for table, found in ((started, block.started), (ended, block.ended)):
            rows = zip(
                found.ids.tolist(),
                found.start_us.tolist(),
                found.end_us.tolist(),
                found.abandoned.tolist(),
                strict=True,
            )
            table.update({row[0]: row[1:] for row in rows})
        for at, who in zip(block.times["heartbeats"].tolist(), block.heartbeat_sessions.tolist(), strict=True):
            beats.setdefault(who, []).append(at)
        other += block.other_us.tolist()
    return started, ended, beats, other


def test_a_session_sends_heartbeats_at_its_interval_across_blocks_until_it_ends():
    spec = {"heartbeat_every_s": 30, "length_median_s": 3_000, "length_sigma": 0.7, "abandoned": 0.4}
    load = load_of(scenario(trace="t", sessions=spec), counts(*[6] * 300), seed=3, until_us=40 * HOUR_US)
    started, ended, beats, other = gathered(load)

    assert sorted(started) == list(range(len(started)))
    assert all(started[who][1] >= 40 * HOUR_US for who in set(started) - set(ended))
    assert len(ended) > 100
    for who, (start_us, end_us, abandoned) in ended.items():
        assert started[who] == (start_us, end_us, abandoned)
        due = range(start_us + 30 * S_US, end_us + abandoned, 30 * S_US)
        assert beats.get(who, []) == list(due)
        if abandoned:
            assert end_us == max([start_us, *due])
    told = [end for _, end, abandoned in ended.values() if not abandoned]
    assert sorted(other) == sorted([s[0] for s in started.values()] + told)


def test_sessions_have_the_stated_length_and_share_of_abandoned():
    spec = {"heartbeat_every_s": 1, "length_median_s": 100, "length_sigma": 0.5, "abandoned": 0.25}
    load = load_of(scenario(rate_hz=3, duration_s=20_000, sessions=spec), seed=4)
    ended = gathered(load)[1].values()

    lengths = np.array([end - start for start, end, _ in ended]) / S_US
    assert np.median(lengths) == pytest.approx(100, rel=0.03)
    assert np.log(lengths[lengths > 0]).std() == pytest.approx(0.5, rel=0.05)
    assert np.mean([abandoned for *_, abandoned in ended]) == pytest.approx(0.25, abs=0.02)


# --- figures and refusals -------------------------------------------------------------------------------------------


def test_peak_and_mean_are_of_all_requests_after_scaling():
    by_minute = load_of(scenario(trace="t", scale=2), counts(60, 600, 0))
    by_20_s = load_of(scenario(trace="t"), counts(*[10] * 3, *[20] * 3, width_us=20 * S_US))
    by_event = load_of(scenario(trace="t"), Trace.from_times("t", [0, S_US, 70 * S_US], S_US))

    assert (by_minute.peak_hz, by_minute.mean_hz) == (20, pytest.approx(660 * 2 / 180))
    assert by_20_s.peak_hz == 1
    assert by_event.peak_hz == pytest.approx(2 / 60)
    assert load_of(scenario(rate_hz=3, duration_s=60, scale=2)).peak_hz == 6
    events = Trace.from_times("t", [0, S_US, 70 * S_US], S_US)
    assert load_of(scenario(trace="t", scale=3), events).peak_hz == pytest.approx(6 / 60)
    runs = [
        {"stream": "events", "at_ms": 0, "count": 1_000, "rate_hz": 2},
        {"stream": "revenue", "at_ms": 400_000, "count": 600},
    ]
    assert load_of(scenario(runs=runs)).peak_hz == (120 + 600) / 60


def test_the_peak_of_wide_bins_is_the_busiest_minute_as_drawn():
    load = load_of(scenario(trace="t"), counts(*[400, 0, 900, 20] * 24, width_us=5 * MINUTE_US), seed=9)

    assert load.peak_hz == np.bincount(arrivals(load) // MINUTE_US).max() / 60


def test_a_load_that_cannot_fit_in_memory_is_refused_before_it_is_made():
    with pytest.raises(TraceError, match="lower the load"):
        load_of(scenario(trace="t", scale=1e6), counts(1_000, 1_000))
    with pytest.raises(ScenarioError, match="length above 0"):
        load_of(scenario(rate_hz=1, duration_s=60), until_us=0)


def test_a_bundled_trace_is_read_by_name():
    load = load_of(scenario(trace="game-day", scale=0.01))

    assert load.name == "game-day"
    assert load.provenance()["source"] == "game-day.csv"
    assert len(load.provenance()["sha256"]) == 64


PRINT_DIGESTS = (
    "import test_workload as t; print([t.digest(t.load_of(t.scenario(**w), x)) for w, x in t.LOADS.values()])"
)


def test_newer_vector_instructions_and_hash_seeds_change_no_arrival():
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    newer = " ".join(feature for feature in __cpu_dispatch__ if __cpu_features__[feature])
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PRINT_DIGESTS],
            cwd=os.path.dirname(__file__),
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "NPY_DISABLE_CPU_FEATURES": disabled},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed, disabled in (("1", ""), ("2", newer))
    }
    assert len(outputs) == 1

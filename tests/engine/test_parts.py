"""Each part of the server alone: what it does, that its knobs matter, and that the rows add up."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pytest

import capsim as cs
from capsim.base.units import MIB
from capsim.engine.redis import PROBES_US, RedisClient, disconnected
from capsim.engine.simulation import play
from capsim.memory.component_memory import held
from capsim.results.accounting import FATES
from capsim.scenario import columns as tables
from capsim.scenario.changes import applied
from capsim.scenario.columns import empty
from capsim.scenario.parts import RedisClientSpec
from capsim.scenario.plan import CHANGES, FUTURE, KNOBS
from capsim.scenario.redis import RedisFaultSpec
from capsim.scenario.scenario import Scenario
from capsim.workload import load_of


def scenario_of(workload: dict, **tables) -> Scenario:
    return Scenario.model_validate({"name": "x", "workload": workload, "billing": {"from": "2026-02-03"}, **tables})


def day(**tables) -> Scenario:
    return scenario_of({"rate_hz": 4, "duration_s": 7_200, "queries_hz": 0.2}, **tables)


# --- session cleanup ---


def backlog(abandoned_hz: float) -> np.ndarray:
    """Sessions that each run of a cleanup of 100 every 120 s finds due, over 12 hours."""
    spec = scenario_of(
        {
            "rate_hz": abandoned_hz,
            "duration_s": 43_200,
            "mix": {"events": 0, "revenue": 0, "heartbeats": 1},
            "sessions": {"abandoned": 1, "length_median_s": 100, "length_sigma": 0.5},
        },
        server={"cleanup": {}},
    )
    samples = cs.simulate(spec, month=False, resolution_s=120).samples
    return samples["sessions_due_max"].to_numpy()


def test_a_cleanup_of_100_every_120_s_is_stable_at_0_80_abandoned_a_second():
    due = backlog(0.80)

    assert due[60:].mean() < 250
    assert abs(np.polyfit(np.arange(60, len(due)) * 120, due[60:], 1)[0]) < 0.01


def test_at_0_87_the_backlog_grows_at_the_rate_that_arithmetic_gives():
    due = backlog(0.87)
    slope_hz = np.polyfit(np.arange(60, len(due)) * 120, due[60:], 1)[0]

    # 0.87 - 100/120 = 0.0367/s; over 10 hours of Poisson arrivals the standard error is about 0.006
    assert slope_hz == pytest.approx(0.87 - 100 / 120, abs=0.018)


def test_sessions_whose_heartbeats_are_stuck_are_closed_though_their_players_are_there():
    load = {
        "rate_hz": 0.2,
        "duration_s": 7_200,
        "mix": {"events": 0, "revenue": 0, "heartbeats": 1},
        "sessions": {"abandoned": 0, "length_median_s": 900},
    }
    fault = {"kind": "fail", "from_s": 1_800, "to_s": 3_600}
    calm = cs.simulate(scenario_of(load, server={"cleanup": {}}), month=False).samples
    out = cs.simulate(scenario_of(load, server={"cleanup": {}}, database={"faults": [fault]}), month=False).samples

    assert calm["sessions_closed_alive"].sum() == 0
    assert out["sessions_closed_alive"].sum() > 20


def test_replicas_close_the_sessions_that_one_process_would():
    """All look for silent sessions at the same turns; what one has closed another finds closed."""
    load = {"rate_hz": 20, "duration_s": 3_600, "sessions": {}}
    cleanup = {"interval_s": 120, "timeout_s": 120, "limit_rows": 100}
    closed = {}
    for replicas in (1, 2):
        spec = scenario_of(load, server={"cleanup": cleanup, "process": {"replicas": replicas}})
        run = cs.simulate(spec, month=False)
        closed[replicas] = run.samples.sessions_closed.sum()
    assert closed[1] == closed[2] > 1_000


# --- reads ---


def test_pagination_cache_and_compression_do_what_they_say():
    plain = cs.simulate(day(), month=False).samples
    paged = cs.simulate(day(server={"queries": {"take_rows": 100}}), month=False).samples
    cached = cs.simulate(day(server={"cache": {}}), month=False).samples
    packed = cs.simulate(day(server={"queries": {"compression": True}}), month=False).samples

    assert paged["result_max_rows"].max() <= 100 * 10 < plain["result_max_rows"].max()
    assert paged["server_rss_peak_mib"].max() < plain["server_rss_peak_mib"].max()
    assert plain["queries"].sum() == cached["queries"].sum()  # common random numbers
    assert 0.2 < cached["queries_cached"].sum() / cached["queries"].sum() < 0.8
    assert packed["response_bytes"].sum() == pytest.approx(0.15 * plain["response_bytes"].sum(), rel=1e-3)
    assert packed["server_cpu_vcpu"].mean() > plain["server_cpu_vcpu"].mean()


def test_hits_of_a_cache_follow_from_the_rate_of_each_query_and_the_time_it_is_kept():
    spec = scenario_of(
        {"rate_hz": 1, "duration_s": 36_000, "queries_hz": 0.5}, server={"cache": {"ttl_s": 300}, "queries": {}}
    )
    samples = cs.simulate(spec, month=False).samples
    each_hz = 0.5 / 50  # a cycle: kept for 300 s, then 1 / rate until somebody asks; one miss in it
    expected = 300 * each_hz / (300 * each_hz + 1)

    assert samples["queries_cached"].sum() / samples["queries"].sum() == pytest.approx(expected, abs=0.01)


def test_a_cache_in_redis_is_no_cache_while_redis_is_away():
    fault = {"kind": "down", "from_s": 1_000, "to_s": 2_500}
    server = {"cache": {"store": "redis", "ttl_s": 600}, "redis_client": {"queue_limit": 10}}
    away = cs.simulate(day(server=server, redis={"faults": [fault]}), month=False).samples
    there = cs.simulate(day(server=server), month=False).samples

    assert away["redis_queued_max"].max() == 10
    assert away["redis_rejected"].sum() > 200
    assert away["queries_cached"].sum() < there["queries_cached"].sum()
    assert away["queries"].sum() == there["queries"].sum()


# --- Redis ---


@pytest.mark.parametrize(
    ("kind", "from_s", "to_s", "back_s"),
    [
        ("down", 10, 10.04, 10.05),  # first try after 50 ms
        ("down", 10, 10.2, 10.3),  # 50, then 100 ms later, then 150
        ("down", 0, 60, 60.25),  # ten tries take 2.75 s, then one every half second
        ("unreachable", 10, 20, 20),  # over before it was noticed
        ("unreachable", 0, 1_000, 1_000),  # a try is under way
    ],
)
def test_a_client_is_back_when_its_next_try_succeeds(kind, from_s, to_s, back_s):
    (window,) = disconnected(RedisClientSpec(), [RedisFaultSpec(kind=kind, from_s=from_s, to_s=to_s)])

    assert window == (from_s * 1e6, back_s * 1e6)


def try_by_try_us(spec, fault):
    """When a client is connected again, every try played."""
    silent, noticed_us = fault.kind == "unreachable", round(fault.from_s * 1e6)
    back_us = round(fault.to_s * 1e6)
    if silent:
        noticed_us += round(spec.keep_alive_s * 1e6) + PROBES_US
    if noticed_us >= back_us:
        return back_us
    at_us, tries = noticed_us, 0
    while True:
        tries += 1
        at_us += round(1e3 * min(tries * spec.reconnect_step_ms, spec.reconnect_max_ms))
        if at_us >= back_us:
            return at_us
        if silent:
            at_us += round(spec.connect_timeout_s * 1e6)
            if at_us >= back_us:
                return back_us


@pytest.mark.parametrize("number", range(200))
def test_the_tries_that_are_all_alike_need_not_be_played(number):
    draw = np.random.default_rng(number)
    spec = RedisClientSpec(
        reconnect_step_ms=draw.choice([1, 50, 333]), reconnect_max_ms=draw.choice([1, 100, 500, 5_000]),
        keep_alive_s=draw.choice([1, 5]), connect_timeout_s=draw.choice([0.1, 1, 10]),
    )  # fmt: skip
    from_s = round(draw.uniform(0, 100), 3)
    to_s = round(from_s + draw.choice([draw.uniform(0.001, 2), draw.uniform(1, 500)]), 3)
    fault = RedisFaultSpec(kind=draw.choice(["down", "unreachable"]), from_s=from_s, to_s=to_s)

    assert disconnected(spec, [fault])[0][1] == try_by_try_us(spec, fault)


def test_commands_wait_up_to_the_limit_and_then_are_rejected():
    client = RedisClient(
        RedisClientSpec(commands_per_request=2, queue_limit=7), [RedisFaultSpec(kind="down", from_s=1, to_s=4)]
    )
    client.come(0, [np.arange(10) * 500_000], np.empty(0, np.int64))

    assert [client.queued(at_us) for at_us in (900_000, 1_000_000, 2_000_000, 3_600_000)] == [0, 0, 4, 7]
    assert (
        client.answered_us(1_500_000)
        == disconnected(RedisClientSpec(), [RedisFaultSpec(kind="down", from_s=1, to_s=4)])[0][1]
    )
    assert client.answered_us(3_600_000) is None
    most, rejected = client.bins(np.array([0, 2_000_000, 5_000_000]))
    assert most.tolist() == [4, 7]
    assert rejected.sum() == 7 * 2 - 7


# --- log ---


def test_a_full_buffer_logs_a_line_an_item_and_the_platform_drops_beyond_500_a_second():
    runs = [{"stream": "events", "at_ms": 0, "count": 60_000, "rate_hz": 1_000}]
    fault = {"kind": "stall", "from_s": 5, "to_s": 60}
    spec = scenario_of({"runs": runs, "duration_s": 120}, database={"faults": [fault]})
    samples = cs.simulate(spec, month=False).samples
    refused = samples["events_dropped_cap"].sum()

    assert samples["log_error_lines"].sum() == pytest.approx(refused, abs=5)
    assert samples["log_lines_dropped"].sum() == pytest.approx(refused * 0.5, rel=0.05)


def test_log_level_files_and_a_slow_reader_matter():
    quiet, loud = day(), day(server={"logger": {"level": "info", "files": 5}})
    slow = day(server={"logger": {"level": "info", "consumer_hz": 2}})
    runs = {name: cs.simulate(spec, month=False).samples for name, spec in
            {"quiet": quiet, "loud": loud, "slow": slow}.items()}  # fmt: skip

    assert runs["quiet"]["log_lines"].sum() < 0.01 * runs["loud"]["log_lines"].sum()
    assert runs["loud"]["server_billed_mib"].iloc[-1] > runs["quiet"]["server_billed_mib"].iloc[-1] + 5
    assert runs["loud"]["server_cpu_vcpu"].mean() > runs["quiet"]["server_cpu_vcpu"].mean()
    # what is logged beyond two lines a second waits, 690 bytes each
    behind = runs["slow"]["log_behind_max_lines"].iloc[-1]
    assert behind == pytest.approx(runs["slow"]["log_lines"].sum() - 2 * 7_200, rel=0.01)
    assert runs["slow"]["server_heap_mib"].iloc[-1] > runs["quiet"]["server_heap_mib"].iloc[-1] + 5


@pytest.mark.parametrize(("line_bytes", "held_bytes"), [(200, 629), (1_000, 1_430), (10_000, 10_776)])
def test_a_line_that_waits_costs_its_length_and_some(line_bytes, held_bytes):
    """Measured: 20,000 lines of winston in a pipe that nobody reads, Node 20."""
    table = empty(tables.SAMPLES).reindex(range(1)).fillna(0).assign(width_s=60.0, log_behind_max_lines=20_000.0)
    found = held(table, scenario_of({"rate_hz": 1, "duration_s": 60}, server={"logger": {"line_bytes": line_bytes}}))

    assert found.mean_mib[0] * MIB / 20_000 == pytest.approx(held_bytes, rel=0.03)


def test_a_rotated_file_that_does_not_keep_up_fills_the_heap_to_its_end():
    """winston #1445: 25,000 lines/s and 10 MB/s into a file; the process dies with 1 GB free."""
    logger = {"level": "info", "files": 5, "lines_per_request": 500, "line_bytes": 400}
    load = {"rate_hz": 50, "duration_s": 600}
    ends = {}
    for takes in ("none", 10_000):
        server = {"logger": logger | {"file_consumer_hz": takes}, "process": {"restarts_max": 0}}
        run = cs.simulate(scenario_of(load, server=server), month=False, resolution_s=5)
        ends[takes] = run.lives.end[0]
        if takes != "none":
            behind = run.samples["log_behind_max_lines"]
            assert behind.iloc[10] == pytest.approx(15_000 * run.samples.time_s.iloc[11], rel=0.1)

    assert ends == {"none": "run", 10_000: "abort"}


def test_an_error_takes_as_many_lines_as_its_stack_is_printed_in():
    fault = {"kind": "fail", "from_s": 5, "to_s": 60}
    runs = [{"stream": "events", "at_ms": 0, "count": 6_000, "rate_hz": 100}]
    one, ten = (
        cs.simulate(
            scenario_of({"runs": runs, "duration_s": 90}, database={"faults": [fault]},
                        server={"logger": {"level": "info", "lines_per_request": 0, "lines_per_error": lines}}),
            month=False,
        ).samples
        for lines in (1, 10)
    )  # fmt: skip

    assert ten["log_error_lines"].sum() == 10 * one["log_error_lines"].sum() > 0
    more = ten["log_lines"].sum() - one["log_lines"].sum()
    assert more == pytest.approx(9 * one["log_error_lines"].sum())


# --- Postgres ---


def concurrent_reads(count: int, replicas: int = 1):
    """So many reads in one instant, each lasting a second, on the default pool of a host with 48 CPUs."""
    spec = scenario_of(
        {"rate_hz": 0.001, "duration_s": 600, "queries_hz": 1e-9},
        server={"pool": {"limit": "default"}, "process": {"replicas": replicas}},
        database={"query": {"call_ms": 1_000, "distribution": "constant", "row_ms": 0}, "parallel_calls": 1_000},
    )
    load = load_of(spec, None, 1, 0)
    block = next(iter(load.blocks()))
    object.__setattr__(block, "queries_us", np.full(count, 60_000_000, np.int64))
    object.__setattr__(load, "blocks", lambda: iter([block]))
    played, _ = play(spec, load, seed=1, replicate=0, resolution_s=60, keep=True, progress=None)
    return played


@pytest.mark.parametrize(("reads", "opened", "refused"), [(90, 90, 0), (97, 97, 0), (120, 97, 0)])
def test_an_uncapped_pool_opens_what_is_needed_at_once_and_at_most_97(reads, opened, refused):
    samples = concurrent_reads(reads).samples()

    assert samples["pool_open_max"].max() == opened
    assert samples["connections_refused"].sum() == refused
    assert samples["queries_failed"].sum() == 0  # the rest wait a second for one of the 97


def test_two_replicas_are_refused_beyond_97_connections_in_all():
    played = concurrent_reads(120, replicas=2)
    samples = played.samples()

    assert samples["connections_refused"].sum() == 120 - 97
    assert samples["queries_failed"].sum() == 120 - 97
    assert sum(process.server.pool.open for process in played.fleet.processes) == 97


def test_connections_break_when_postgres_goes_down_and_it_is_slow_for_a_while_after():
    fault = {"kind": "down", "from_s": 600, "to_s": 660}
    run = cs.simulate(day(database={"faults": [fault]}), month=False, batches=True)
    usual = cs.simulate(day(), month=False, batches=True)
    batches = run.batches.assign(took_us=run.batches.end_us - run.batches.start_us)
    after = batches.query("start_us >= 660e6 and start_us < 690e6 and ok")
    later = batches.query("start_us >= 800e6 and ok")

    assert run.samples["connections_refused"].sum() > 0
    assert run.accounting().dropped_failed.sum() > 0 == usual.accounting().dropped_failed.sum()
    assert after.took_us.median() > 1.7 * later.took_us.median()


def test_a_full_volume_lets_reads_through_and_nothing_that_writes():
    fault = {"kind": "full", "from_s": 600, "to_s": 1_200}
    run = cs.simulate(day(database={"faults": [fault]}), month=False, batches=True)
    inside = run.batches.query("start_us >= 600e6 and start_us < 1200e6")

    assert not inside.query("writer != 'heartbeats'").ok.any()
    assert run.accounting().set_index("writer").dropped_failed["events"] > 1_000
    assert run.accounting().set_index("writer").uncounted["heartbeats"] > 500
    assert run.samples["queries_failed"].sum() == 0


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"server": {"pool": {"limit": 0}}}, "limit"),
        ({"server": {"cleanup": {"limit_rows": 0}}}, "limit_rows"),
        ({"server": {"redis_client": {"queue_limit": 0}}}, "queue_limit"),
        ({"server": {"queries": {"cpu_ms": -1}}}, "cpu_ms"),
        ({"database": {"query": {"call_ms": -5}}}, "call_ms"),
        ({"database": {"max_connections": 3}}, "max_connections"),
        ({"redis": {"faults": [{"kind": "down", "from_s": 9, "to_s": 5}]}}, "it must end later"),
        ({"database": {"faults": [{"kind": "down", "from_s": 1, "to_s": 5, "duration_ms": 3}]}}, "leave duration_ms"),
        ({"plan": {"changes": ["event_capp"]}}, "event_cap"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(tables, words):
    from capsim.scenario.validation import validated

    data = {"name": "x", "workload": {"rate_hz": 1, "duration_s": 60}, "billing": {"from": "2026-02-03"}, **tables}
    with pytest.raises(cs.CapsimError, match=words):
        validated(Scenario, data, "a.toml")


def test_unused_indexes_make_inserts_slower_and_tables_larger():
    few, many = (cs.simulate(day(database={"unused_indexes": n}), month=False).samples for n in (0, 10))

    assert many["events_in_flight_mean_rows"].mean() > 1.05 * few["events_in_flight_mean_rows"].mean()
    assert many["postgres_volume_mib"].iloc[-1] > few["postgres_volume_mib"].iloc[-1] + 5


# --- switches ---


def test_metrics_change_nothing_but_the_endpoints_own_cost():
    off = cs.simulate(day(), month=False)
    on = cs.simulate(day(server={"metrics": {}}), month=False)

    pd_columns = [c for c in off.samples if "written" in c or "buffer_max" in c or "dropped" in c]
    assert on.samples[pd_columns].equals(off.samples[pd_columns])
    assert on.samples["db_calls"].sum() == off.samples["db_calls"].sum() + 119


def test_every_switch_changes_the_server_and_only_its_knobs():
    before = cs.load("before")
    for switch, knobs in KNOBS.items():
        field = "changes" if switch in CHANGES else "future" if switch in FUTURE else "manual"
        changed = applied(before.replace(f"plan.{field}", [switch]))
        undone = changed
        for knob in knobs:
            undone = undone.replace(knob, _at(before.model_dump(mode="python", by_alias=True), knob))
        assert changed != before, switch
        assert undone == before, switch


def _at(data, knob):
    for name in knob.split("."):
        data = data[name]
    return data


@pytest.mark.slow
def test_all_256_subsets_of_the_eight_changes_over_one_day():
    """Prints the table of main effects of docs/parts.md (``pytest -s``)."""
    import pandas as pd

    rows = []
    for size in range(len(CHANGES) + 1):
        for subset in combinations(CHANGES, size):
            run = cs.simulate(cs.load("before").replace("plan.changes", list(subset)), month=False, resolution_s=300)
            summary = run.summary().set_index("metric").value
            wanted = ("server_rss_mean", "server_rss_peak", "server_billed_mean", "server_cpu_mean", "log_lines",
                      "items_lost", "pool_open_peak")  # fmt: skip
            rows.append({**{c: c in subset for c in CHANGES}, **summary[list(wanted)]})
    table = pd.DataFrame(rows)
    effects = {c: table[table[c]].mean(numeric_only=True) - table[~table[c]].mean(numeric_only=True) for c in CHANGES}
    print(pd.DataFrame(effects).drop(list(CHANGES), errors="ignore").T.to_string())
    assert len(table) == 256
    assert len(table[list(CHANGES)].drop_duplicates()) == 256


# --- accounting ---

FAULTS = {
    "slow": {"database.faults": [{"kind": "slow", "from_s": 60, "to_s": 120, "duration_ms": 8_000}]},
    "fail": {"database.faults": [{"kind": "fail", "from_s": 60, "to_s": 120, "duration_ms": 1}]},
    "fail slowly": {"database.faults": [{"kind": "fail", "from_s": 60, "to_s": 120, "duration_ms": 7_000}]},
    "stall": {"database.faults": [{"kind": "stall", "from_s": 60, "to_s": 120}]},
    "down": {"database.faults": [{"kind": "down", "from_s": 60, "to_s": 120}]},
    "volume full": {"database.faults": [{"kind": "full", "from_s": 60, "to_s": 120}]},
    "redis down": {"redis.faults": [{"kind": "down", "from_s": 60, "to_s": 120}]},
    "redis unreachable": {"redis.faults": [{"kind": "unreachable", "from_s": 60, "to_s": 120}]},
    "deploy": {"server.lifecycle": [{"kind": "deploy", "at_s": 90}], "server.process.start_s": 3},
    "drained deploy": {
        "server.lifecycle": [{"kind": "deploy", "at_s": 95}],
        "server.process": {"handles_sigterm": True, "draining_s": 4, "overlap_s": 2, "migration_s": 5},
    },
    "crash": {"server.lifecycle": [{"kind": "crash", "at_s": 100}]},
    "crash and a migration": {
        "server.lifecycle": [{"kind": "crash", "at_s": 70}],
        "server.process.migration_s": 20,
    },
}


@pytest.mark.parametrize("semantics", ["seed", "fixed", "recommended"])
@pytest.mark.parametrize("faults", [*combinations(FAULTS, 1), *combinations(FAULTS, 2)], ids=" + ".join)
def test_every_item_is_somewhere_whatever_happens(faults, semantics):
    rng = random.Random(str(faults))
    cap = rng.choice((100, 1_000))
    writer = {"semantics": semantics, "buffer_cap_rows": cap}
    spec = scenario_of(
        {"rate_hz": rng.choice((20, 60)), "duration_s": 240, "queries_hz": 0.5},
        server={
            "writers": dict.fromkeys(("events", "revenue", "heartbeats"), writer),
            "cache": {"store": "redis"},
            "cleanup": {},
            "metrics": {},
            "pool": {"limit": rng.choice((1, 3, 10))},
        },
    )
    for name in faults:
        for knob, value in FAULTS[name].items():
            if knob == "database.faults":
                value = [*spec.model_dump(mode="python")["database"]["faults"], *value]
            spec = spec.replace(knob, value)
    table = cs.simulate(spec, month=False, resolution_s=30).accounting()

    assert (table.arrived - table[list(FATES)].sum(axis=1)).tolist() == [0, 0, 0]
    assert (table[list(FATES)] >= 0).all(axis=None)

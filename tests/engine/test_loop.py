"""The HTTP loop: who waits for whom, what clients do about it, and what is said of it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from capsim.base.units import US_PER_MINUTE, US_PER_S
from capsim.engine import loop
from capsim.engine.ahead import _Batches
from capsim.engine.arrivals import Arrivals
from capsim.engine.database import Database, Outcome
from capsim.engine.jobs import CLASSES, Queue, finished, joined
from capsim.engine.model import Server
from capsim.engine.responses import RELATIVE_ERROR, Responses, bin_of, middle_us, sums
from capsim.engine.writer import Writer
from capsim.memory.pauses import Pauses, pauses
from capsim.results.run import simulate
from capsim.results.verdict import verdict_of
from capsim.scenario.scenario import Scenario
from capsim.scenario.server import HttpSpec, PoolSpec, WriterSpec
from capsim.scenario.workload import STREAMS

FREE = {f"{name}_cpu_ms": 0 for name in (*CLASSES, "row")} | {"gc_pause_ms": 0}


class Steady(Database):
    """A database that takes 5 ms over everything."""

    connect_us = 0
    by_address = True

    def run(self, stream, attempt, statement, start_us, crowding=1.0):
        return Outcome(5_000, "ok")

    def durations(self, stream, kind, items, rows, starts_us):
        return np.full(len(items), 5_000)

    def steady(self, from_us, to_us):
        return np.ones(len(from_us), bool)


def block(*events_us: int, other=(), heartbeats=(), to_us=US_PER_MINUTE):
    times = {"events": np.array(events_us, np.int64), "revenue": np.empty(0, np.int64)}
    times["heartbeats"] = np.array(heartbeats, np.int64)
    other_us = np.array(other, np.int64)
    return SimpleNamespace(from_us=0, to_us=to_us, times=times, heartbeat_sessions=None, other_us=other_us,
                           in_order=None)  # fmt: skip


def served(load, announced=(), **http):
    """What became of each job, and the starts of the flushes."""
    writers = {stream: WriterSpec(batch_rows=2, delay_ms=100) for stream in STREAMS}
    server = Server(writers, PoolSpec(), 10, Steady(), http=HttpSpec(**FREE | http))
    if announced:
        at_us, cpu_us = zip(*announced, strict=True)
        server.loop.announce(np.array(at_us), np.array(cpu_us))
    happened = server.advance(load)
    return happened.served, happened.takes["taken_us"].tolist()


def test_an_item_reaches_its_writer_when_its_request_has_been_served():
    """Two events at 0 and 1 ms of 3 ms each: the second is done at 6 ms and completes the batch."""
    done, flushes = served(block(0, 1_000), events_cpu_ms=3)

    assert done.done_us.tolist() == [3_000, 6_000]
    assert flushes == [6_000]


def test_a_request_waits_for_the_insert_of_a_flush_that_began_before_it():
    """The batch is full at 2 ms, its two rows take 10 ms; what comes at 3 ms is served at 13 ms."""
    done, _ = served(block(0, 1_000, other=[3_000]), events_cpu_ms=1, other_cpu_ms=1, row_cpu_ms=5)

    assert done.flush_us.tolist() == [2_000] and done.flush_done_us.tolist() == [12_000]
    assert done.done_us.tolist() == [1_000, 2_000, 13_000]


def test_a_flush_makes_a_later_flush_wait():
    """Events flush at 2 ms and hold the loop until 12; the second heartbeat, there at 1.5, is served at 14 ms."""
    load = block(0, 1_000, heartbeats=[1_200, 2_500])
    done, flushes = served(load, events_cpu_ms=1, heartbeats_cpu_ms=1, row_cpu_ms=5)

    assert done.done_us.tolist() == [1_000, 2_000, 3_000, 14_000]
    assert flushes == [2_000, 14_000]


def test_a_long_job_blocks_everyone():
    done, _ = served(block(0, 2_000), announced=[(1_000, 500_000)], events_cpu_ms=1)

    assert done.done_us.tolist() == [1_000, 501_000, 502_000]


def test_every_334th_request_waits_for_a_scavenge_and_every_1100th_for_a_full_collection():
    """10.8 MiB of new space at 33 KiB a request."""
    done, _ = served(block(*range(0, 1_200 * 10_000, 10_000)), events_cpu_ms=1, gc_pause_ms=6)

    assert np.flatnonzero(done.cpu_us > 1_000).tolist() == [333, 667, 1_001, 1_099]
    assert set((done.done_us - done.at_us).tolist()) == {1_000, 7_000}


def test_the_collector_stops_a_server_in_a_small_container_more_often_and_for_less():
    """A half of new space of 1 MiB: 21 requests fill it, and 0.75 ms clear it."""
    large = scenario(300, duration_s=120, **FREE | {"gc_pause_ms": 6.5})
    small = large.replace("server.container.memory_limit_mib", 512)
    collector = pauses(large), pauses(small)
    samples = [simulate(server, month=False).samples for server in (large, small)]
    blocked = [table.eval("loop_offered * width_s / requests").mean() for table in samples]

    assert [found.scavenge_every for found in collector] == [334, 21]
    assert collector[0].scavenge_us / collector[1].scavenge_us == pytest.approx(6.1 / 0.70, rel=0.01)
    assert collector[0].full_us == collector[1].full_us == 6_500
    assert blocked == pytest.approx([found.mean_us / 1e6 for found in collector], rel=0.01)


def test_mean_and_second_moment_of_the_pauses_are_those_that_requests_wait():
    """The queueing formula of ``fidelity = "law"`` takes them."""
    found = Pauses(scavenge_every=4, full_every=7, scavenge_us=300, full_us=5_000)
    each = np.concatenate([found.us(5_000), found.us(23_000, 5_000)]).astype(float)

    assert found.mean_us == pytest.approx(each.mean())
    assert found.square_us2 == pytest.approx((each**2).mean())


def test_a_client_that_waits_too_long_comes_back_later_each_time_and_then_gives_up():
    """The loop is blocked for 10 s; the timeout is 1 s, the pause 0.5 s and then 1 s."""
    clients = {"timeout_s": 1, "retries": 2, "backoff_s": 0.5}
    done, _ = served(block(1, to_us=20 * US_PER_S), announced=[(0, 10 * US_PER_S)], events_cpu_ms=1, clients=clients)

    assert done.at_us[done.kind == 0].tolist() == [1, 1_500_001, 3_500_001]
    assert done.late[done.kind == 0].all() and done.given_up[done.kind == 0].tolist() == [False, False, True]


def test_an_answer_at_the_very_end_of_the_timeout_is_in_time():
    done, _ = served(block(0), events_cpu_ms=100, clients={"timeout_s": 0.1})
    late, _ = served(block(0, to_us=50 * US_PER_S), events_cpu_ms=100.001, clients={"timeout_s": 0.1})

    assert not done.late.any() and late.late.all()


def test_requests_in_blocks_and_stretches_wait_as_in_one(monkeypatch):
    """The work that is left over goes from stretch to stretch and from block to block."""
    rng = np.random.default_rng(1)
    at_us = np.sort(rng.integers(0, US_PER_S, 500))
    monkeypatch.setattr(loop, "STRETCH", 7)
    writers = {stream: WriterSpec(buffer_cap_rows="none") for stream in STREAMS}
    server = Server(writers, PoolSpec(), 10, Steady(), http=HttpSpec(**FREE | {"events_cpu_ms": 2.1}))
    found = []
    for start in range(0, US_PER_S, 250_000):
        inside = at_us[(at_us >= start) & (at_us < start + 250_000)]
        part = block(*inside, to_us=start + 250_000)
        part.from_us = start
        found.append(server.advance(part).served.done_us)

    assert np.array_equal(np.concatenate(found), finished(at_us, np.full(500, 2_100)))
    assert server.writers["events"].seen == np.count_nonzero(finished(at_us, np.full(500, 2_100)) < US_PER_S)


# --- what is said of it ---------------------------------------------------------------------------------------------


def scenario(rate_hz: float, duration_s: float = 300, **http) -> Scenario:
    data = {"name": "x", "workload": {"rate_hz": rate_hz, "duration_s": duration_s}, "billing": {"from": "2026-02-03"}}
    return Scenario(**data, server={"http": http})


def test_five_milliseconds_at_100_per_second_are_half_of_the_loop():
    http = FREE | {f"{name}_cpu_ms": 5 for name in STREAMS}
    run = simulate(scenario(100, duration_s=3_600, **http), month=False)
    figures = run.summary().set_index("metric")["value"]

    assert figures["loop_utilisation_mean"] == pytest.approx(0.5, rel=0.01)
    assert figures["loop_headroom"] == pytest.approx(1.0, rel=0.1)  # of the busiest minute
    assert run.saturation().verdict == "stable"


def test_every_knob_of_the_loop_reaches_the_summary():
    """None of them may be taken and then ignored."""
    base = simulate(scenario(100), month=False).summary().set_index("metric")["value"]
    for key, value in {
        "events_cpu_ms": 2, "revenue_cpu_ms": 2, "heartbeats_cpu_ms": 2, "row_cpu_ms": 2, "gc_pause_ms": 20,
    }.items():  # fmt: skip
        figures = simulate(scenario(100, **{key: value}), month=False).summary().set_index("metric")["value"]
        assert figures["loop_utilisation_mean"] > base["loop_utilisation_mean"], key


def test_a_load_above_what_one_thread_can_do_is_overloaded_and_said_so():
    slow = {f"{name}_cpu_ms": 2.6 for name in STREAMS} | {"row_cpu_ms": 0.28, "gc_pause_ms": 6.5}
    run = simulate(scenario(500, duration_s=60, **slow), month=False)

    assert run.saturation().verdict == "overloaded"
    assert -0.4 < run.saturation().headroom < -0.2  # 2.9 ms x 500/s
    assert any("HTTP loop is overloaded" in line for line in run.warnings)


def test_a_backlog_that_is_worked_off_is_no_overload():
    """4 s of work at once, then nothing."""
    runs = [{"stream": "events", "at_ms": 0, "count": 4_000}]
    data = {"name": "x", "workload": {"runs": runs, "duration_s": 60}, "billing": {"from": "2026-02-03"}}
    run = simulate(Scenario(**data, server={"http": FREE | {"events_cpu_ms": 1}}), month=False)

    assert run.saturation().verdict == "backlogged"
    assert run.responses().loc["events", "max_ms"] == 4_000


def test_retries_can_keep_a_server_down_that_would_have_recovered():
    """A stall of 20 s of the loop: without retries it is over in a minute, with eager ones it feeds itself."""
    runs = [{"stream": "events", "at_ms": 0, "count": 24_000, "rate_hz": 200}]
    burst = [{"stream": "revenue", "at_ms": 10_000, "count": 1}]
    data = {"name": "x", "workload": {"runs": runs + burst, "duration_s": 120}, "billing": {"from": "2026-02-03"}}
    http = FREE | {"events_cpu_ms": 3.5, "revenue_cpu_ms": 20_000}
    patient = simulate(Scenario(**data, server={"http": http}), month=False)
    eager = {"timeout_s": 1, "retries": 5, "backoff_s": 0}
    storm = simulate(Scenario(**data, server={"http": http | {"clients": eager}}), month=False)

    assert patient.samples["requests"].sum() == 24_001
    assert patient.saturation().verdict == "backlogged"
    assert storm.samples["requests"].sum() > 40_000 and storm.samples["requests_given_up"].sum() > 1_000
    assert storm.saturation().verdict == "overloaded"


def test_busy_time_and_work_agree_over_the_run():
    """What arrived was done or is left."""
    run = simulate(scenario(300, duration_s=120, events_cpu_ms=4, gc_pause_ms=200), month=False, resolution_s=1)
    samples = run.samples

    done_s = (samples["loop_utilisation"] * samples["width_s"]).sum()
    asked_s = (samples["loop_offered"] * samples["width_s"]).sum()
    assert done_s + samples["loop_backlog_ms"].iloc[-1] / 1e3 == pytest.approx(asked_s, abs=1e-6)
    assert samples["loop_utilisation"].between(0, 1 + 1e-12).all()


def test_percentiles_are_within_their_stated_error():
    rng = np.random.default_rng(3)
    took_us = np.rint(rng.lognormal(7, 2, 20_000)).astype(np.int64)
    responses = Responses([10**9])
    responses.count(np.zeros(20_000, np.int64), np.zeros(20_000, np.int8), took_us)
    row = responses.table(10**9).loc["events"]

    for name, share in (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99)):
        true_ms = np.sort(took_us)[int(np.ceil(share * 20_000)) - 1] / 1e3
        assert abs(row[name] - true_ms) <= RELATIVE_ERROR * true_ms, name
    assert row["max_ms"] == took_us.max() / 1e3
    assert row["mean_ms"] == pytest.approx(took_us.mean() / 1e3, rel=1e-12)


def test_every_time_is_close_to_the_middle_of_its_bin():
    values_us = np.unique(np.geomspace(1, 2**55, 5_000).astype(np.int64))

    error = np.abs(middle_us(bin_of(values_us)) - values_us) / values_us
    assert error.max() <= RELATIVE_ERROR


def test_the_verdict_needs_no_load_at_all():
    runs = [{"stream": "events", "at_ms": 0, "count": 1}]
    data = {"name": "x", "workload": {"runs": runs, "duration_s": 120}, "billing": {"from": "2026-02-03"}}
    samples = simulate(Scenario(**data, server={"http": FREE}), month=False).samples

    assert verdict_of(samples).verdict == "stable" and np.isnan(verdict_of(samples).headroom)


def test_one_long_job_is_no_backlog():
    """One read of 1.5 s in a minute that needs 4 % of the loop."""
    runs = [{"stream": "revenue", "at_ms": 1_000, "count": 1}]
    runs += [{"stream": "events", "at_ms": 0, "count": 600, "rate_hz": 10}]
    data = {"name": "x", "workload": {"runs": runs, "duration_s": 60}, "billing": {"from": "2026-02-03"}}
    run = simulate(Scenario(**data, server={"http": FREE | {"revenue_cpu_ms": 1_500}}), month=False)

    assert (run.saturation().verdict, run.saturation().part) == ("blocked", "loop")
    assert any("one long job blocked Node's event loop for 1.5 s" in line for line in run.warnings)
    assert not any("backlogged" in line for line in run.warnings)


def test_reads_that_pile_up_behind_the_pool_are_not_stable():
    """W1 of the public reports, a tenth as long: 100 reads/s of 0.94 s on 10 connections."""
    load = {"rate_hz": 1, "duration_s": 180, "queries_hz": 100}
    data = {"name": "x", "workload": load, "billing": {"from": "2026-02-03"}}
    read = {"call_ms": 940, "row_ms": 0, "distribution": "constant"}
    run = simulate(
        Scenario(**data, server={"pool": {"limit": 10, "pool_timeout_s": 1e5}}, database={"query": read}), month=False
    )
    verdict, figures = run.saturation(), run.summary().set_index("metric")["value"]

    assert (verdict.verdict, verdict.part) == ("overloaded", "pool") and verdict.headroom < 0.1
    assert figures["pool_wait_max"] > 100
    assert any("the connection pool is overloaded" in line for line in run.warnings)


def test_a_server_that_hangs_has_no_headroom():
    samples = simulate(scenario(1, 60), month=False).samples
    gone = samples.assign(loop_offered=0.0, events_refused_down=60)

    assert verdict_of(gone).verdict == "down" and np.isnan(verdict_of(gone).headroom)


def test_log_lines_are_whole():
    spec = scenario(7, 90).replace("server.logger.level", "info").replace("server.logger.lines_per_request", 0.3)
    run = simulate(spec, month=False)
    lines = run.summary().set_index("metric")["value"]["log_lines"]

    assert lines > 100 and lines == int(lines)


@pytest.mark.parametrize("seed", range(200))
def test_others_between_the_jobs_are_done_as_if_all_stood_in_one_queue(seed: int) -> None:
    """Ties, jobs that take no time, nothing before the first job or behind the last one."""
    rng = np.random.default_rng(seed)
    at_us, others_at_us = (np.sort(rng.integers(0, 60, rng.integers(0, 30))) for _ in range(2))
    cpu_us, others_cpu_us = rng.integers(0, 5, len(at_us)), rng.integers(0, 9, len(others_at_us))
    free_us = int(rng.integers(0, 20))

    found = Queue(at_us, cpu_us).with_others(others_at_us, others_cpu_us, free_us)

    order = np.argsort(np.concatenate((at_us, others_at_us)), kind="stable")
    done_us = np.empty(len(order), np.int64)
    done_us[order] = finished(
        np.concatenate((at_us, others_at_us))[order], np.concatenate((cpu_us, others_cpu_us))[order], free_us
    )
    assert found[0].tolist() == done_us[: len(at_us)].tolist()
    assert found[1].tolist() == done_us[len(at_us) :].tolist()


@pytest.mark.parametrize(
    ("number", "from_us", "to_us", "changes"),
    [
        (5, 90, 110, False),  # the second of four behind a flush passes its end: it neither begins nor completes
        (4, 90, 110, True),  # the first one: at the end the buffer is empty, or not
        (7, 90, 110, True),  # the fourth: it completes a batch while the flush is out, or when it is not
        (6, 490, 505, True),  # past the instant at which the next batch is taken
        (13, 990, 1_010, True),  # past the last end: from there on the writer goes on
        (8, 510, 520, False),  # the first of the last batch: its timer, 300 us, is due after that has been taken
        (4, 195, 210, True),  # the first of the second batch: its timer was due before that was taken
        (12, 1_050, 1_060, True),  # the first of a batch that has not been taken
        (13, 1_050, 1_060, False),
    ],
)
def test_a_moved_item_matters_only_where_it_decides_something(
    number: int, from_us: int, to_us: int, changes: bool
) -> None:
    spec = WriterSpec(semantics="seed", batch_rows=4, buffer_cap_rows=100, delay_ms=1)
    writer = Writer("events", spec, Arrivals())
    writer.head, writer.delay_us = 12, 300
    batches = _Batches(
        writer,
        taken_us=np.array([0, 500, 800]),
        first_items=np.array([0, 4, 8]),
        end_us=np.array([100, 560, 1_000]),
        next_items=np.array([4, 8, 12]),
        rows=np.array([4, 4, 4]),
    )

    assert batches.change_by(np.array([number]), np.array([from_us]), np.array([to_us])) == changes


@pytest.mark.parametrize(
    ("cut", "copied"),
    [
        pytest.param(lambda a: (a[2:5], a[5:5], a[5:9]), False, id="side by side, one empty"),
        pytest.param(lambda a: (a[2:5], a[6:9]), True, id="a gap"),
        pytest.param(lambda a: (a[5:9], a[2:5]), True, id="the other way round"),
        pytest.param(lambda a: (a[2:5], a[4:9]), True, id="overlapping"),
        pytest.param(lambda a: (a[0:6:2], a[6:12:2]), True, id="every other one"),
        pytest.param(lambda a: (a[2:5], a[5:9].copy()), True, id="of two arrays"),
        pytest.param(lambda a: (a[2:5], a.view(np.uint64)[5:9]), True, id="of two types"),
        pytest.param(lambda a: (a.reshape(3, 4)[0], a.reshape(3, 4)[1]), False, id="rows of one table"),
        pytest.param(lambda a: (a, a), True, id="the array itself, twice"),
    ],
)
def test_columns_are_joined_without_a_copy_only_where_they_lie_side_by_side(cut, copied):
    column = np.arange(12, dtype=np.int64)
    parts = cut(column)
    found = joined(*parts)
    assert found.tolist() == np.concatenate(parts).tolist()
    assert np.shares_memory(found, column) is not copied


@pytest.mark.parametrize("value", [np.int64(7), np.True_, np.False_])
def test_the_sums_of_one_number_repeated_are_those_of_its_copies(value):
    bounds = np.array([0, 0, 3, 10])
    assert sums(np.broadcast_to(value, 10), bounds).tolist() == sums(np.full(10, value), bounds).tolist()

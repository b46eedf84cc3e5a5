"""What several processes do together: the load is shared out, and what ends with a process is lost and counted."""

from __future__ import annotations

import random

import pytest

from capsim.results.run import Run, simulate
from capsim.scenario.scenario import Scenario

FATES = ("written", "coalesced", "buffered", "in_flight", "dropped_cap", "dropped_failed", "uncounted", "lost_exit",
         "refused_down", "rejected")  # fmt: skip


def scenario(**changes: object) -> Scenario:
    spec = Scenario.model_validate({
        "name": "fleet",
        "workload": {"rate_hz": 40, "duration_s": 1_200},
        "billing": {"from": "2026-02-03"},
    })  # fmt: skip
    for knob, value in changes.items():
        spec = spec.replace(knob.replace("__", "."), value)
    return spec


def played(**changes: object) -> Run:
    return simulate(scenario(**changes), month=False, seed=3)


def total(run: Run, fate: str) -> int:
    return int(run.accounting()[fate].sum())


def deploy(at_s: float) -> dict[str, object]:
    return {"kind": "deploy", "at_s": at_s}


def test_a_deploy_with_no_draining_loses_what_the_process_holds() -> None:
    run = played(server__lifecycle=[deploy(600)])

    held = run.lives.lost_items.tolist()
    assert held[0] == total(run, "lost_exit") > 0
    assert total(run, "refused_down") == 0  # the new process is there before the old one goes


def test_a_shutdown_with_time_to_drain_loses_nothing() -> None:
    process = {"handles_sigterm": True, "draining_s": 5, "start_s": 3}

    run = played(server__lifecycle=[deploy(600)], server__process=process)

    assert total(run, "lost_exit") == 0
    assert total(run, "written") + total(run, "buffered") + total(run, "in_flight") == total(run, "arrived")


def test_a_draining_time_shorter_than_the_flush_still_loses_what_is_out() -> None:
    process = {"handles_sigterm": True, "draining_s": 5}
    stall = [{"kind": "stall", "from_s": 590, "to_s": 640}]

    run = played(server__lifecycle=[deploy(600)], server__process=process, database__faults=stall)

    assert total(run, "lost_exit") > 0


def test_no_draining_time_saves_a_batch_that_is_out_for_longer_than_the_writers_wait() -> None:
    """They wait for 3 s; then shutdown() has resolved and the process exits."""
    stall = [{"kind": "stall", "from_s": 590, "to_s": 606}]  # over before the draining time is

    for draining_s in (10, 60):
        process = {"handles_sigterm": True, "draining_s": draining_s}
        run = played(server__lifecycle=[deploy(600)], server__process=process, database__faults=stall)

        old = run.lives.iloc[0]
        assert (old.end, old.end_s) == ("exited", pytest.approx(603, abs=0.01))
        assert total(run, "lost_exit") == old.lost_items > 0


def test_an_idle_process_is_gone_and_not_billed_until_draining_is_over() -> None:
    billed = {}
    for draining_s in (5, 60):
        process = {"handles_sigterm": True, "draining_s": draining_s}
        run = played(server__lifecycle=[deploy(600)], server__process=process)
        assert run.lives.end.tolist() == ["exited", "run"]
        assert run.lives.end_s[0] < 601
        billed[draining_s] = run.samples.server_billed_mib.tolist()

    assert billed[5] == billed[60]


def test_while_a_crashed_server_starts_again_requests_are_refused() -> None:
    process = {"start_s": 9, "restart_delay_s": 1}

    run = played(server__lifecycle=[{"kind": "crash", "at_s": 600}], server__process=process)

    assert total(run, "refused_down") == pytest.approx(400, rel=0.15)  # 10 s at 40/s
    assert run.lives.end.tolist() == ["crash", "run"]


def test_replicas_share_the_load_and_each_holds_a_pool_of_its_own() -> None:
    one, two = played(), played(server__process={"replicas": 2})

    assert total(one, "arrived") == total(two, "arrived")
    last = {"one": one.samples.iloc[-1], "two": two.samples.iloc[-1]}
    assert last["two"].pool_open_max == pytest.approx(2 * last["one"].pool_open_max, abs=2)
    half = played(workload__rate_hz=20).samples.iloc[-1]
    assert last["two"].server_rss_mib == pytest.approx(2 * half.server_rss_mib, rel=0.02)


def test_a_process_that_runs_out_of_heap_dies_and_is_replaced() -> None:
    """An unbounded buffer behind a stall of ten minutes does not fit under a cap of 64 MiB."""
    run = played(
        workload__rate_hz=200,
        server__node__heap_cap_mib=64,
        server__writers__events__buffer_cap_rows="none",
        database__faults=[{"kind": "stall", "from_s": 60, "to_s": 660}],
    )

    assert (run.lives.end == "abort").sum() >= 1
    assert total(run, "lost_exit") > 10_000
    assert any("out of heap" in warning for warning in run.warnings)


@pytest.mark.parametrize("seed", range(25))
def test_every_arrival_has_one_fate_whatever_happens(seed: int) -> None:
    rng = random.Random(seed)
    kinds = [
        {"kind": rng.choice(("deploy", "crash")), "at_s": rng.uniform(0, 1_200), "every_s": rng.choice((None, 90, 400))}
        for _ in range(rng.randint(0, 4))
    ]
    process = {
        "start_s": rng.choice((0, 4)),
        "migration_s": rng.choice((0, 15)),
        "handles_sigterm": rng.random() < 0.5,
        "draining_s": rng.choice((0, 2, 10)),
        "overlap_s": rng.choice((0, 20)),
        "restarts_max": rng.choice((1, 10)),
        "replicas": rng.choice((1, 1, 3)),
    }
    faults = [{"kind": rng.choice(("stall", "fail")), "from_s": start, "to_s": start + 40} for start in (200, 700)]

    run = played(server__lifecycle=kinds, server__process=process, database__faults=faults[: rng.randint(0, 2)])

    for row in run.accounting().to_dict("records"):
        assert sum(row[fate] for fate in FATES) == row["arrived"]
        samples = run.samples
        assert samples[f"{row['writer']}_arrived"].sum() == row["arrived"]
        for fate, column in (("lost_exit", "lost_exit"), ("refused_down", "refused_down"), ("written", "written_rows")):
            assert samples[f"{row['writer']}_{column}"].sum() == row[fate], fate
    assert int(run.samples.requests.sum()) == total(run, "arrived")


def test_a_server_that_dies_at_its_start_has_tables_without_rows() -> None:
    run = simulate(scenario(server__node__heap_cap_mib=64, server__node__loaded_mib=4_096), month=False, batches=True)
    assert run.lives.end.eq("abort").all() and len(run.lives) > 1
    assert run.batches is not None
    assert (len(run.batches), len(run.waits), total(run, "written")) == (0, 0, 0)
    assert total(run, "arrived") == total(run, "refused_down") + total(run, "lost_exit") > 40_000


def test_of_a_flush_that_is_out_at_the_end_only_the_calls_that_have_begun_are_counted() -> None:
    """Heartbeats one by one, 0.5 s each, from 5 s on: the run ends in the fifth call of the first batch."""
    spec = scenario(workload__rate_hz=100, workload__duration_s=7.2, server__writers__heartbeats__semantics="seed")
    spec = spec.replace("database.update", {"distribution": "constant", "call_ms": 500})

    run = simulate(spec, month=False, batches=True)

    assert run.batches is not None
    (out,) = run.batches[(run.batches.writer == "heartbeats") & (run.batches.end_us == -1)].to_dict("records")
    assert out["calls"] == -(-(7_200_000 - out["start_us"]) // 500_000) < out["rows"]


@pytest.mark.parametrize(("pool_timeout_s", "served"), [(1.0, False), (2.0, True)])
def test_the_time_to_wait_for_a_connection_goes_on_while_it_is_opened(pool_timeout_s: float, served: bool) -> None:
    """Prisma #12858: a pool of 100, 1 s to wait, a database that takes longer than that to let one in."""
    spec = scenario(workload__queries_hz=10, workload__duration_s=120, workload__rate_hz=5)
    for knob, value in (("pool.limit", 100), ("pool.pool_timeout_s", pool_timeout_s)):
        spec = spec.replace(f"server.{knob}", value)

    run = simulate(spec.replace("database.connect_ms", 1_500), month=False)

    assert (total(run, "written") > 0) == served
    assert (int(run.samples.queries_failed.sum()) == 0) == served
    assert run.waits.granted.all() == served  # the figure `pool_timeouts` counts the others
    assert (run.samples.pool_open_max.max() > 0) == served


def test_peaks_of_connections_over_processes_are_those_of_one_moment() -> None:
    """Two replicas and, when these have gone, their two successors: three writers each open three at the most."""
    process = {"replicas": 2, "handles_sigterm": True, "draining_s": 5}
    run = played(server__lifecycle=[deploy(600)], server__process=process, workload__duration_s=900)

    assert len(run.lives) == 4
    assert 2 <= run.samples.pool_open_max.max() <= 6  # not those of all four, in the minute of the deploy
    assert (run.samples.pool_in_use_max <= run.samples.pool_open_max).all()


def test_no_more_connections_are_open_or_in_use_than_postgres_lets_in() -> None:
    """Two replicas and their successors want 24; Postgres has room for 9 (prisma #7120 in small)."""
    spec = scenario(workload__duration_s=60, workload__queries_hz=60, server__lifecycle=[deploy(30)])
    spec = spec.replace("server.process", {"replicas": 2, "overlap_s": 10}).replace("server.pool.limit", 6)
    spec = spec.replace("database.query", {"call_ms": 300, "row_ms": 0, "distribution": "constant"})

    run = simulate(spec.replace("database.max_connections", 12), month=False)

    assert run.samples.connections_refused.sum() > 0
    assert run.samples.pool_open_max.max() == 9
    assert 6 <= run.samples.pool_in_use_max.max() <= 9

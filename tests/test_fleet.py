"""What several processes do together: the load is shared out, and what ends with a process is lost and counted."""

from __future__ import annotations

import random

import pytest

from capsim.run import Run, simulate
from capsim.specs import Scenario

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

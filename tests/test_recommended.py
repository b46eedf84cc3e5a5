"""The repaired writer inside its envelope: nothing is lost, and nothing waits longer than the delay or a flush."""

from __future__ import annotations

import random

import pytest

from capsim.specs import STREAMS, Scenario
from test_model_twin import played_by_model
from twin_random import Case

DELAY_MS, STALL_S, SLACK_S = 1_000, 20, 15


def schedule(number: int) -> Case:
    """Stalls and outages of at most `STALL_S` each, far enough apart to recover, under a bursty load."""
    rng = random.Random(f"envelope {number}")
    peak_hz, span_s = rng.choice((2, 20, 60)), 120
    faults, at_s = [], rng.uniform(1, 10)
    while at_s < span_s - STALL_S:
        to_s = at_s + rng.uniform(0.05, STALL_S)
        kind = rng.choice(("stall", "fail", "fail"))
        fault = {"kind": kind, "from_s": round(at_s, 3), "to_s": round(to_s, 3)}
        if kind == "fail":
            fault["duration_ms"] = rng.choice((1, 300))
        faults.append(fault)
        at_s = to_s + rng.uniform(SLACK_S, 2 * SLACK_S)
    writer = {
        "semantics": "recommended",
        "batch_rows": rng.choice((5, 20, 100)),
        "delay_ms": DELAY_MS,
        "buffer_cap_rows": peak_hz * (STALL_S + SLACK_S),
        "retry_for_ms": 120_000,
    }
    scenario = Scenario.model_validate({
        "name": "envelope",
        "workload": {"rate_hz": 1, "duration_s": span_s},
        "server": {"writers": dict.fromkeys(STREAMS, writer)},
        "database": {"insert": {"call_ms": 10, "row_ms": 0.1}, "update": {"call_ms": 3}, "faults": faults},
        "billing": {"from": "2026-02-03"},
    })  # fmt: skip
    arrivals = {}
    for stream in STREAMS:  # never faster than the peak
        at_us, times = 0, []
        while at_us < span_s * 1_000_000:
            times.append(at_us)
            at_us += round(1_000_000 / peak_hz * rng.choice((1, 1, 1, 1.5, 4)))
        arrivals[stream] = times
    return Case(scenario, arrivals, None, (span_s + 60) * 1_000_000, None)


def check(number: int) -> None:
    case = schedule(number)
    server, happened = played_by_model(case, 1)
    for part, (stream, writer) in enumerate(server.writers.items()):
        assert writer.flushed == len(case.arrivals[stream]), (number, stream)
        assert writer.dropped_cap == writer.dropped_failed == writer.count == 0
        assert writer.stuck == []
        own = happened[0].takes["part"] == part
        taken, first = (happened[0].takes[name][own] for name in ("taken_us", "first_item"))
        tried = happened[0].attempts
        mine = (tried["part"] == part) & (tried["last"] == 1)
        ended = [0, *tried["end_us"][mine].tolist()]
        for taken_us, item, before_us in zip(taken.tolist(), first.tolist(), ended, strict=False):
            due_us = case.arrivals[stream][item] + 1_000 * DELAY_MS
            assert taken_us <= max(due_us, before_us), (number, stream, item)


@pytest.mark.parametrize("hundred", range(3))
def test_nothing_is_lost_nor_stuck_inside_the_envelope(hundred: int) -> None:
    for number in range(100 * hundred, 100 * (hundred + 1)):
        check(number)


@pytest.mark.slow
@pytest.mark.parametrize("thousand", range(10))
def test_nothing_is_lost_nor_stuck_in_ten_thousand_schedules(thousand: int) -> None:
    for number in range(1_000 * thousand, 1_000 * (thousand + 1)):
        check(number)

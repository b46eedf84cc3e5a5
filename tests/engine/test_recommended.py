"""The repaired writer: inside its envelope nothing is lost nor waits longer than the delay or a flush; beyond it every
loss is counted.

Ten thousand schedules of each: ``pytest -m slow -s tests/engine/test_recommended.py``.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from test_model_twin import played_by_model
from twin_random import Case

DELAY_MS, STALL_S, SLACK_S = 1_000, 20, 15


def schedule(number: int, room: float = 1.0, retry_for_ms: int = 120_000) -> Case:
    """Stalls and outages of at most `STALL_S` each, far enough apart to recover, under a bursty load.

    With less ``room`` in the buffers than that needs, or less time to retry, it is beyond the envelope.
    """
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
        "buffer_cap_rows": max(1, round(room * peak_hz * (STALL_S + SLACK_S))),
        "retry_for_ms": retry_for_ms,
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


def check(number: int) -> Counter[str]:
    """Play one schedule inside the envelope; what it held."""
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
    items = sum(map(len, case.arrivals.values()))
    return Counter(schedules=1, faults=len(case.scenario.database.faults), items=items)


def check_beyond(number: int) -> Counter[str]:
    """Play one schedule beyond the envelope: what is not written is in a counter, and no writer is stuck."""
    case = schedule(number, room=0.2, retry_for_ms=2_000)
    server, _ = played_by_model(case, 1)
    told: Counter[str] = Counter(schedules=1)
    for stream, writer in server.writers.items():
        arrived = len(case.arrivals[stream])
        lost = writer.dropped_cap + writer.dropped_failed
        assert writer.flushed + lost == arrived, (number, stream)
        assert writer.count == 0 and writer.stuck == [], (number, stream)
        told.update(items=arrived, dropped_cap=writer.dropped_cap, dropped_failed=writer.dropped_failed)
    return told


@pytest.mark.parametrize("hundred", range(3))
def test_nothing_is_lost_nor_stuck_inside_the_envelope(hundred: int) -> None:
    for number in range(100 * hundred, 100 * (hundred + 1)):
        check(number)


def test_every_loss_beyond_the_envelope_is_counted() -> None:
    told = sum((check_beyond(number) for number in range(40)), Counter[str]())
    assert told["dropped_cap"] > 0 and told["dropped_failed"] > 0  # there is something to count


@pytest.mark.slow
@pytest.mark.parametrize("thousand", range(10))
@pytest.mark.parametrize("play", [check, check_beyond])
def test_ten_thousand_schedules(play: Callable[[int], Counter[str]], thousand: int) -> None:
    told = sum((play(number) for number in range(1_000 * thousand, 1_000 * (thousand + 1))), Counter[str]())
    print(dict(told))

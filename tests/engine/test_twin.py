"""The plain twin is worth comparing with: it plays the recorded originals, and its pool keeps the rules."""

from __future__ import annotations

import json
import random
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from twin import DurationUs, TwinResult, play_case, simulate
from twin_random import Case, arrivals_of, describe, random_case, to_toml

RECORDED = Path(__file__).parents[1] / "data" / "oracle" / "cases.json"
ALL_RECORDED = Path(__file__).parents[3] / "shared" / "oracle" / "cases_open.json"
MS, S = 1_000, 1_000_000


def plain_database(scenario: Scenario) -> DurationUs:
    """Constant latency with the scenario's faults; where latency is drawn, a draw by address."""

    def duration_us(
        kind: str, stream: str, attempt: int, item: int, rows: int, start_us: int, crowding: float
    ) -> tuple[int, bool]:
        spec = scenario.database.insert if kind == "insert" else scenario.database.update
        chance = random.Random(f"{stream} {attempt} {item}")
        draw = 1.0 if spec.distribution == "constant" else chance.lognormvariate(0, 0.5)
        latency_us = max(1, round((spec.call_ms + spec.row_ms * rows) * draw * MS))
        for fault in scenario.database.faults:
            to_us = round(fault.to_s * S)
            if round(fault.from_s * S) <= start_us < to_us:
                if fault.kind == "stall":
                    return to_us - start_us, True
                fault_us = latency_us if fault.duration_ms is None else max(1, round(fault.duration_ms * MS))
                return fault_us, fault.kind == "slow"
        return latency_us, True

    return duration_us


def play(runs: list[dict[str, Any]], end_s: float, **knobs: Any) -> TwinResult:
    """Scripted arrivals through writers of batch 100, 5 s and cap 1000 on a database of 20 ms a call."""
    data = {"name": "twin", "workload": {"runs": runs}, "billing": {"from": "2026-02-03"}}
    scenario = Scenario.model_validate(data)
    known = {
        "database.insert": {"call_ms": 20, "distribution": "constant"},
        "database.update": {"call_ms": 20, "distribution": "constant"},
        "database.connect_ms": 0,
    }
    for path, value in {**known, **{k.replace("__", "."): v for k, v in knobs.items()}}.items():
        scenario = scenario.replace(path, value)
    arrivals = {stream: arrivals_of(scenario.workload.runs, stream) for stream in STREAMS}
    live = scenario.workload.live_sessions
    sessions = None if live is None else [i % live for i in range(len(arrivals["heartbeats"]))]
    return simulate(scenario, arrivals, sessions, round(end_s * S), plain_database(scenario))


def play_random(seed: int) -> tuple[Case, TwinResult]:
    case = random_case(random.Random(seed))
    database = plain_database(case.scenario)
    return case, simulate(case.scenario, case.arrivals, case.sessions, case.end_us, database, case.shutdown_us)


def at_once(stream: str, count: int, at_ms: int = 0) -> dict[str, Any]:
    return {"stream": stream, "at_ms": at_ms, "count": count}


def calls_ms(result: TwinResult) -> list[tuple[str, int, int, int]]:
    """(part, asked, granted, released) of every call; -1 for what never happened (and -1 // 1000 is -1)."""
    return [(g.part, g.asked_us // MS, g.granted_us // MS, g.released_us // MS) for g in result.grants]


# --- the recorded originals --------------------------------------------------------------------------------


@pytest.mark.parametrize("case", json.loads(RECORDED.read_text()), ids=lambda case: case["id"])
def test_plays_a_recorded_case(case: dict[str, Any]) -> None:
    got = play_case(case)

    assert set(got) == set(case["expected"])
    assert [(name, got[name]) for name in got] == [(name, case["expected"][name]) for name in got]


@pytest.mark.skipif(not ALL_RECORDED.exists(), reason="../shared/oracle is not here; the copied cases are played")
def test_plays_every_recorded_case() -> None:
    cases = json.loads(ALL_RECORDED.read_text())

    assert [case["id"] for case in cases if play_case(case) != case["expected"]] == []
    assert len(cases) == 129


def test_copied_cases_hold_every_writer_in_both_semantics() -> None:
    cases = json.loads(RECORDED.read_text())

    assert len({(case["writer"], case["semantics"]) for case in cases}) == 6
    assert len({case["category"] for case in cases}) == 21


# --- the pool ----------------------------------------------------------------------------------------------


def test_the_only_connection_is_asked_for_by_events_then_revenue_then_heartbeats() -> None:
    """All three batches fill in one instant; heartbeats (fixed) are one call of 20 ms like the others."""
    result = play(
        [at_once("heartbeats", 100), at_once("revenue", 100), at_once("events", 100)],
        end_s=1,
        server__pool__limit=1,
        server__writers__heartbeats__semantics="fixed",
    )

    assert calls_ms(result) == [("events", 0, 0, 20), ("revenue", 0, 20, 40), ("heartbeats", 0, 40, 60)]


def test_who_waits_since_an_earlier_instant_goes_before_who_asks_now() -> None:
    """At 20 ms the first connection comes back; revenue asked at 10 ms, events ask again at that instant."""
    result = play(
        [at_once("events", 100), at_once("revenue", 100, at_ms=10), at_once("events", 100, at_ms=20)],
        end_s=1,
        server__pool__limit=1,
    )

    assert calls_ms(result) == [("events", 0, 0, 20), ("revenue", 10, 20, 40), ("events", 20, 40, 60)]


def test_a_heartbeat_gives_its_connection_back_between_two_updates() -> None:
    """Revenue asks during the first of three updates, and gets the connection before the second."""
    result = play(
        [at_once("heartbeats", 3), at_once("revenue", 1, at_ms=5)],
        end_s=1,
        server__pool__limit=1,
        server__writers__heartbeats__batch_rows=3,
        server__writers__revenue__batch_rows=1,
    )

    assert calls_ms(result) == [
        ("heartbeats", 0, 0, 20),
        ("revenue", 5, 20, 40),
        ("heartbeats", 20, 40, 60),
        ("heartbeats", 60, 60, 80),
    ]


def test_waiting_for_a_connection_is_part_of_the_attempt() -> None:
    result = play([at_once("events", 100), at_once("revenue", 100)], end_s=1, server__pool__limit=1)

    (attempt,) = result.writers["revenue"].attempts
    assert (attempt.start_us, attempt.end_us) == (0, 40 * MS)


def test_a_call_whose_wait_runs_out_as_the_connection_comes_back_has_failed() -> None:
    """Revenue waits 20 ms, exactly as long as the call before it; its second attempt finds the connection."""
    result = play(
        [at_once("events", 100), at_once("revenue", 100)],
        end_s=1,
        server__pool__limit=1,
        server__pool__pool_timeout_s=0.020,
    )

    assert calls_ms(result) == [("events", 0, 0, 20), ("revenue", 0, -1, -1), ("revenue", 20, 20, 40)]
    assert [a.ok for a in result.writers["revenue"].attempts] == [False, True]


def test_two_waits_that_run_out_lose_the_batch() -> None:
    result = play(
        [at_once("events", 100), at_once("revenue", 100)],
        end_s=1,
        server__pool__limit=1,
        server__pool__pool_timeout_s=0.005,
    )

    revenue = result.writers["revenue"]
    assert (revenue.dropped_failed, revenue.failed_batches, revenue.written) == (100, 1, 0)


def test_connections_are_opened_when_first_needed_and_kept() -> None:
    """Opening takes 7 ms: events and revenue pay for the connections they open, later calls for none."""
    result = play(
        [at_once("events", 100), at_once("revenue", 100, at_ms=10), at_once("events", 100, at_ms=100)],
        end_s=1,
        database__connect_ms=7,
    )

    assert calls_ms(result) == [("events", 0, 0, 27), ("revenue", 10, 10, 37), ("events", 100, 100, 120)]


def test_a_connection_that_takes_too_long_to_open_fails_the_call_and_is_not_kept() -> None:
    result = play([at_once("events", 100)], end_s=1, database__connect_ms=7, server__pool__connect_timeout_s=0.006)

    assert calls_ms(result) == [("events", 0, 0, 6), ("events", 6, 6, 12)]
    assert result.writers["events"].dropped_failed == 100


def test_opening_for_exactly_as_long_as_allowed_succeeds() -> None:
    result = play([at_once("events", 100)], end_s=1, database__connect_ms=6, server__pool__connect_timeout_s=0.006)

    assert calls_ms(result) == [("events", 0, 0, 26)]


@pytest.mark.parametrize(("arrives_ms", "delay_ms", "flushed_at_us"), [(15, 5, 20 * MS), (5, 15, None)])
def test_of_a_wait_and_a_timer_due_together_the_earlier_armed_goes_first(
    arrives_ms: int, delay_ms: int, flushed_at_us: int | None
) -> None:
    """Revenue waits in vain from 0 and again from 10 to 20 ms, when the timer of a third item comes due.

    Armed after the second wait began, the timer finds the batch given up and flushes; armed before, it is
    spent on a writer whose batch is still out.
    """
    result = play(
        [at_once("events", 100), at_once("revenue", 2), at_once("revenue", 1, at_ms=arrives_ms)],
        end_s=1,
        database__insert={"call_ms": 25, "distribution": "constant"},
        server__pool__limit=1,
        server__pool__pool_timeout_s=0.010,
        server__writers__revenue__batch_rows=2,
        server__writers__revenue__delay_ms=delay_ms,
    )

    starts_us = [a.start_us for a in result.writers["revenue"].attempts]
    assert starts_us == [0, 10 * MS] + ([] if flushed_at_us is None else [flushed_at_us])
    assert result.writers["revenue"].stuck == ([(20 * MS, -1)] if flushed_at_us is None else [])


def test_a_batch_says_which_arrivals_it_took_and_which_were_refused() -> None:
    """Batch 2, cap 3: of five items that arrive during the first flush two are refused."""
    result = play(
        [at_once("events", 2), at_once("events", 5, at_ms=10), at_once("events", 2, at_ms=30)],
        end_s=1,
        server__writers__events={
            "semantics": "fixed", "batch_rows": 2, "delay_ms": 5_000, "buffer_cap_rows": 3,
        },
    )  # fmt: skip

    attempts = result.writers["events"].attempts
    assert [(a.first_item, a.accepted_to, a.next_item, a.rows) for a in attempts] == [
        (0, 2, 2, 2),
        (2, 5, 7, 3),
        (7, 9, 9, 2),
    ]


def test_the_start_of_the_statement_decides_whether_it_fails() -> None:
    """Asked at 0, connected at 7 ms: a failure from 5 ms on hits the call, one until 5 ms does not."""
    for from_s, to_s, ok in ((0.005, 1, False), (0, 0.005, True)):
        fault = {"kind": "fail", "from_s": from_s, "to_s": to_s}
        result = play([at_once("events", 100)], 1, database__connect_ms=7, database__faults=[fault])

        assert result.writers["events"].attempts[0].ok is ok


# --- what is known of the whole ----------------------------------------------------------------------------


@pytest.mark.parametrize(("rate_hz", "stall_ms"), [(2_000, 501), (500, 2_001), (100, 10_001), (20, 50_001)])
def test_a_flush_during_which_a_thousand_items_arrive_wedges_the_writer(rate_hz: int, stall_ms: int) -> None:
    """The thresholds of evenly spaced arrivals: one millisecond less and the writer goes on."""
    for duration_ms, wedged in ((stall_ms, True), (stall_ms - 1, False)):
        fault = {"kind": "slow", "from_s": 0, "to_s": 6, "duration_ms": duration_ms}
        run = {"stream": "events", "at_ms": 0, "count": 2_000 + int(rate_hz * 60), "rate_hz": rate_hz}
        # Only the first flush is slow: it fills at 100 items, or its timer comes due, before 5.1 s.
        fault["to_s"] = min(5.001, 99 / rate_hz + 0.001)
        events = play([run], 180, database__faults=[fault]).writers["events"]

        assert (len(events.attempts) == 1 and events.buffered == 1_000) is wedged


def test_heartbeats_one_by_one_at_30_per_second_and_40_ms_first_drop_after_196_s() -> None:
    run = {"stream": "heartbeats", "at_ms": 0, "count": 30 * 220, "rate_hz": 30}
    update = {"call_ms": 40, "distribution": "constant"}
    before = play([run], 195.5, database__update=update).writers["heartbeats"]
    after = play([run], 196.5, database__update=update).writers["heartbeats"]

    assert before.dropped_cap == 0 < after.dropped_cap


@pytest.mark.parametrize(("rate_hz", "lost"), [(20, 1_200), (100, 6_000)])
def test_an_outage_of_a_minute_loses_a_minute_of_items(rate_hz: int, lost: int) -> None:
    """Calls fail after 1 ms; what is lost is a minute's arrivals within one batch, and nothing at the cap."""
    run = {"stream": "events", "at_ms": 0, "count": rate_hz * 120, "rate_hz": rate_hz}
    fault = {"kind": "fail", "from_s": 30, "to_s": 90, "duration_ms": 1}
    events = play([run], 200, database__faults=[fault]).writers["events"]

    assert abs(events.dropped_failed - lost) <= 100
    assert events.dropped_cap == 0


@pytest.mark.parametrize("seed", range(300))
def test_every_arrival_is_accounted_for_and_the_pool_keeps_its_limit(seed: int) -> None:
    case, result = play_random(seed)

    for stream, writer in result.writers.items():
        unmatched = sum(a.rows - a.counted for a in writer.attempts if a.ok)  # heartbeats that failed
        assert writer.arrived == sum(at_us <= case.end_us for at_us in case.arrivals[stream])
        assert writer.arrived == (
            writer.written + unmatched + writer.dropped_cap + writer.dropped_failed
            + writer.rejected + writer.replaced + writer.buffered + writer.in_flight
        )  # fmt: skip
        batches = [a for a in writer.attempts if a.attempt == 1]
        firsts, nexts = [a.first_item for a in batches], [a.next_item for a in batches]
        assert firsts == [0, *nexts][: len(firsts)]  # each batch begins where the last one was taken
    assert most_held(result) <= case.scenario.server.pool_limit


def most_held(result: TwinResult) -> int:
    steps: Counter[int] = Counter()
    for grant in result.grants:
        if grant.granted_us != -1:
            steps[grant.granted_us] += 1
            steps[grant.released_us if grant.released_us != -1 else 1 << 62] -= 1
    held, most = 0, 0
    for at_us in sorted(steps):
        held += steps[at_us]
        most = max(most, held)
    return most


# --- the random configurations -----------------------------------------------------------------------------


def test_random_configurations_hold_what_the_comparison_is_for() -> None:
    """Among 300 of them, each of these happens in at least ten."""
    seen: Counter[str] = Counter()
    for seed in range(300):
        case, result = play_random(seed)
        scenario = case.scenario
        events = scenario.server.writers.events
        seen["production constants"] += (events.batch_rows, events.delay_ms, events.cap) == (
            100,
            5_000,
            1_000,
        )
        seen["cap below the batch size"] += events.cap < events.batch_rows
        seen["no cap"] += events.buffer_cap_rows == "none"
        seen["pool timeout"] += any(g.granted_us == -1 and g.asked_us < case.end_us for g in result.grants)
        seen["wait for a connection"] += any(g.granted_us > g.asked_us for g in result.grants)
        seen["few sessions"] += any(writer.replaced for writer in result.writers.values())
        seen["shutdown"] += case.shutdown_us is not None
        seen["cut off while a batch is out"] += any(w.in_flight for w in result.writers.values())
        for name in ("dropped_cap", "dropped_failed", "stuck"):
            seen[name] += any(getattr(writer, name) for writer in result.writers.values())
        seen["retry that succeeds"] += any(a.ok and a.attempt == 2 for w in result.writers.values() for a in w.attempts)
        ends = {a.end_us for a in result.writers["events"].attempts}
        seen["an arrival as a flush ends"] += bool(ends & set(case.arrivals["events"]))
        seen["two parts ask in one instant"] += len({g.asked_us for g in result.grants}) < len(result.grants)

    assert {name: times for name, times in seen.items() if times < 10} == {}


@pytest.mark.parametrize("seed", range(20))
def test_a_random_configuration_is_printed_as_a_scenario_that_can_be_rerun(seed: int) -> None:
    case = random_case(random.Random(seed))

    assert Scenario.model_validate(tomllib.loads(to_toml(case.scenario))) == case.scenario
    assert Scenario.model_validate(tomllib.loads(describe(case))) == case.scenario
    assert round((case.scenario.workload.duration_s or 0) * S) == case.end_us

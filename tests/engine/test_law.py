"""Fidelity ``law``: the same distributions as the exact engine, and nothing told that it does not know."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from capsim.base.errors import CapsimError
from capsim.cli import main
from capsim.engine.arrivals import Arrivals
from capsim.engine.fidelity import check_law, loop_law
from capsim.engine.poisson import PoissonArrivals
from capsim.engine.simulation import play
from capsim.results.run import Run, simulate
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from capsim.show.explorer import Settings
from capsim.workload import load_of

LEVEL = 0.01  # of all tests of a case together: a true equality fails so rarely

NO_LOOP = {f"{name}_cpu_ms": 0 for name in ("events", "revenue", "heartbeats", "other", "row")} | {"gc_pause_ms": 0}


def scenario_of(rate_hz: float = 40.0, duration_s: float = 60.0, **changes: Any) -> Scenario:
    """Three writers with batches of 20 behind a loop that takes no time; ``changes`` by dotted knob."""
    writer = {"batch_rows": 20, "delay_ms": 1_000, "buffer_cap_rows": 60}
    scenario = Scenario.model_validate({
        "name": "law",
        "workload": {"rate_hz": rate_hz, "duration_s": duration_s},
        "server": {"http": NO_LOOP, "writers": dict.fromkeys(STREAMS, writer)},
        "billing": {"from": "2026-02-03"},
    })  # fmt: skip
    for knob, value in changes.items():
        scenario = scenario.replace(knob.replace("__", "."), value)
    return scenario


CASES: dict[str, Scenario] = {
    "timers and full batches": scenario_of(),
    "repaired and fixed": scenario_of(
        server__writers__events__semantics="recommended",
        server__writers__revenue__semantics="fixed",
        server__writers__heartbeats__semantics="fixed",
        database__insert={"call_ms": 150, "sigma": 1.0},
    ),
    "full buffers": scenario_of(database__insert={"call_ms": 2_000, "distribution": "exponential"}),
    "faults and slow periods": scenario_of(
        database__faults=[
            {"kind": "fail", "from_s": 10, "to_s": 13},
            {"kind": "stall", "from_s": 30, "to_s": 34},
        ],
        database__bursts={"calm_s": 8, "slow_s": 3, "factor": 20},
    ),
    "one connection for three": scenario_of(server__pool__limit=1, database__insert={"call_ms": 100}),
}  # fmt: skip


def figures(run: Run) -> dict[str, float]:
    """What is compared: flushes and their sizes, buffers, losses, stuck time, waits, bill."""
    assert run.batches is not None
    samples, accounts, found = run.samples, run.accounting().set_index("writer"), dict[str, float]()
    first = run.batches[run.batches["attempt"] == 1]
    for stream in STREAMS:
        rows = first.loc[first["writer"] == stream, "rows"]
        found |= {
            f"{stream} flushes": len(rows),
            f"{stream} mean flush": rows.mean() if len(rows) else 0.0,
            f"{stream} fourth flush": rows.iloc[3] if len(rows) > 3 else 0.0,
            f"{stream} largest flush": rows.max() if len(rows) else 0.0,
            f"{stream} mean buffer": samples[f"{stream}_buffer_mean_rows"].mean(),
            f"{stream} mean buffer of a bin": samples[f"{stream}_buffer_mean_rows"].iloc[3],
            f"{stream} largest buffer": samples[f"{stream}_buffer_max_rows"].max(),
            f"{stream} last buffer": accounts.loc[stream, "buffered"],
            f"{stream} in flight": samples[f"{stream}_in_flight_mean_rows"].mean(),
            f"{stream} arrived in a bin": samples[f"{stream}_arrived"].iloc[3],
            f"{stream} arrived": accounts.loc[stream, "arrived"],
            f"{stream} written": accounts.loc[stream, "written"],
            f"{stream} dropped at the cap": accounts.loc[stream, "dropped_cap"],
            f"{stream} dropped in a bin": samples[f"{stream}_dropped_cap"].iloc[3],
            f"{stream} dropped by failure": accounts.loc[stream, "dropped_failed"],
            f"{stream} uncounted": accounts.loc[stream, "uncounted"],
        }
    found["stuck time"] = float((run.stuck["to_s"].fillna(60.0) - run.stuck["from_s"]).sum())
    found["pool waits"] = float(len(run.waits))
    found["connections"] = float(samples["pool_in_use_mean"].mean())
    found["calls"] = float(samples["db_calls"].sum())
    bill = run.bill("trace")
    found["bill"] = float(bill["amount_usd"].astype(float).sum())
    usage = bill[bill["line"].isin(["memory", "cpu", "egress", "volume"])]
    found["quantities billed"] = float(usage["quantity"].astype(float).sum())
    return found


def _figures(case: str, fidelity: str, seed: int) -> dict[str, float]:
    run = simulate(CASES[case], seed=seed, month=False, batches=True, resolution_s=10.0, fidelity=fidelity)  # type: ignore[arg-type]
    return figures(run)


def smirnov(one: np.ndarray, other: np.ndarray) -> float:
    """p-value of the two-sample Kolmogorov-Smirnov test (asymptotic; ties make it larger, never smaller)."""
    one, other = np.sort(one), np.sort(other)
    values = np.concatenate((one, other))
    gap = one.searchsorted(values, "right") / len(one) - other.searchsorted(values, "right") / len(other)
    scaled = np.abs(gap).max() * np.sqrt(len(one) * len(other) / (len(one) + len(other)))
    if scaled < 0.2:
        return 1.0
    terms = np.arange(1, 101)
    return float(np.clip(2 * ((-1.0) ** (terms - 1) * np.exp(-2 * (terms * scaled) ** 2)).sum(), 0, 1))


def compare(case: str, runs: int, map_: Callable[..., Any] = map) -> tuple[int, str, float]:
    """Number of figures that vary, and the one that differs most with its p-value."""
    sides = []
    for fidelity, first in (("exact", 0), ("law", 10**6)):
        found = list(map_(_figures, [case] * runs, [fidelity] * runs, range(first, first + runs)))
        sides.append({name: np.array([row[name] for row in found]) for name in found[0]})
    values = {n: smirnov(sides[0][n], sides[1][n]) for n in sides[0] if len({*sides[0][n], *sides[1][n]}) > 1}
    worst = min(values, key=values.__getitem__)
    return len(values), worst, values[worst]


@pytest.mark.parametrize("case", ["timers and full batches", "full buffers", "faults and slow periods"])
def test_the_same_distributions_as_the_exact_engine(case: str) -> None:
    tests, worst, value = compare(case, runs=40)
    assert value > LEVEL / tests, f"{worst}: p = {value:.2g} in one of {tests} tests"


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_same_distributions_over_ten_thousand_runs(case: str) -> None:
    """Prints the table of docs/look-ahead.md (``pytest -s``)."""
    with ProcessPoolExecutor(2) as pool:
        tests, worst, value = compare(case, 10_000, lambda *columns: pool.map(*columns, chunksize=100))
    print(f"{case:28} {tests} figures, least p {value:.2g} ({worst}), allowed {LEVEL / tests:.2g}")
    assert value > LEVEL / tests


def test_where_one_connection_is_missing_now_and_then_most_flushes_are_still_played_ahead() -> None:
    """A look that gains nothing costs more than it saves; but to stop looking for an hour cost twenty seconds a day."""
    scenario = Settings(pool=1, load=30).scenario().replace("workload.duration_s", 4 * 3_600.0)
    played, _ = play(
        scenario, load_of(scenario, seed=1), seed=1, replicate=0, resolution_s=60, keep=False, progress=None,
        fidelity="law",
    )  # fmt: skip
    server, samples = played.fleet.processes[0].server, played.samples()
    assert server.ahead.flushes > sum(samples[f"{stream}_flushes"].sum() for stream in STREAMS) / 2


# --- arrivals that are drawn when somebody asks -------------------------------------------------------------------


def test_answers_fit_together_whatever_the_order_of_questions() -> None:
    chance = np.random.default_rng(3)
    for seed in range(30):
        arrivals = PoissonArrivals(1_000.0, np.random.default_rng(seed))
        times = {n: arrivals.time_us(n) for n in chance.integers(0, 300, 60).tolist()}
        counts = {t: arrivals.before(t, 0) for t in chance.integers(0, 400_000, 60).tolist()}
        numbers = np.sort(chance.choice(400, 80, replace=False))
        times |= dict(zip(numbers.tolist(), arrivals.times(numbers).tolist(), strict=True))
        assert list(times.values()) == [arrivals.time_us(n) for n in times]
        assert list(counts.values()) == [arrivals.before(t, 0) for t in counts]
        in_order = [times[n] for n in sorted(times)]
        assert in_order == sorted(in_order)
        assert all((times[n] < t) == (n < m) for n in times for t, m in counts.items())


@pytest.mark.parametrize("rows", [1, 2, 30])
@pytest.mark.parametrize("known", [[], [4, 5], [100]])
def test_full_batches_are_completed_by_numbered_arrivals(rows: int, known: list[int]) -> None:
    arrivals = PoissonArrivals(1_000.0, np.random.default_rng(2))
    for number in known:
        arrivals.time_us(number)
    full_us, after_us = arrivals.full_batches(3, rows, 20)
    last = [3 + rows * (batch + 1) - 1 for batch in range(20)]
    assert full_us.tolist() == [arrivals.time_us(number) for number in last]
    assert after_us.tolist() == [arrivals.time_us(number + 1) for number in last]
    at_us, before, upto = arrivals.path(np.array([0, int(after_us[-1]) + 1]))
    assert (np.diff(at_us) > 0).all() and (upto - before <= 1).all()


TURNS: dict[str, Any] = {"rows": 30, "apart_us": 1_000_000, "until_us": 10**12}  # of 30/s: half of all batches are full


@pytest.mark.parametrize("due_us", [None, 2_000_000])
@pytest.mark.parametrize("known", [[], [40, 41], [400]])
def test_batches_of_both_kinds_are_those_that_the_arrivals_make(due_us: int | None, known: list[int]) -> None:
    arrivals = PoissonArrivals(30.0, np.random.default_rng(8))
    for number in known:
        arrivals.time_us(number)
    second = 30 if due_us is None else arrivals.before(due_us, 0)
    found = arrivals.batches(0, second, due_us, most=200, **TURNS)

    at_us, before, upto = arrivals.path(np.array([0, int(found.start_us[-1]) + 10_000_000]))
    assert (np.diff(at_us) > 0).all() and (upto - before <= 1).all() and (before[1:] >= upto[:-1]).all()
    assert len(found.following) == 201 and found.certain.all() and 50 < found.full.sum() < 150
    first = 0
    for following, start_us, full in zip(*(c.tolist() for c in found[:3]), strict=True):
        timer_us = arrivals.time_us(first) + 1_000_000 if first or due_us is None else due_us
        if full:
            assert following == first + 30 and start_us == arrivals.time_us(following - 1)
            assert not first or start_us <= timer_us
        else:
            assert start_us == timer_us and following == arrivals.before(start_us, 0)
            assert start_us in at_us or start_us == due_us  # as it was when the others were drawn
            assert not first or following < first + 30
        first = following


def test_batches_of_both_kinds_have_the_distribution_of_those_of_single_arrivals() -> None:
    """20,000 of each: shares, sizes and times, within four standard errors."""
    drawn = PoissonArrivals(30.0, np.random.default_rng(6))
    single = Arrivals()
    single.extend(np.cumsum(np.random.default_rng(7).exponential(1e6 / 30, 700_000)).astype(np.int64), None, 0)
    sides = []
    for arrivals in (drawn, single):
        found = arrivals.batches(0, 30, None, most=20_000, **TURNS)
        rows, apart_us = np.diff(found.following)[:20_000], np.diff(found.start_us)[:20_000]
        full = found.full[1:20_001]
        gap = arrivals.times(found.following)[:20_000] - found.start_us[:20_000]
        sides.append([full, rows[~full], apart_us, apart_us[full], gap, full[1:] & full[:-1], rows**2, apart_us**2.0])
    for one, other in zip(*sides, strict=True):
        error = (one.var() / len(one) + other.var() / len(other)) ** 0.5
        assert abs(one.mean() - other.mean()) < 4 * error
    p = [smirnov(one.astype(float), other.astype(float)) for one, other in zip(*sides, strict=True)]
    assert min(p) > LEVEL / len(p)


def test_a_chain_is_of_first_arrivals_after_a_delay() -> None:
    arrivals = PoissonArrivals(1_000.0, np.random.default_rng(1))
    arrivals.time_us(40)  # known ahead: the chain starts where something is known
    numbers = arrivals.chain(0, 5_000, 200)
    times = arrivals.times(numbers)
    assert len(numbers) == 201
    for time_us, following in zip(times[:-1], numbers[1:], strict=True):
        assert arrivals.before(int(time_us) + 5_000, 0) == following


def test_counts_and_gaps_have_the_moments_of_a_poisson_process() -> None:
    """Asked from both ends: a count between two known arrivals is binomial, so all together they are Poisson."""
    counts, gaps = [], []
    for seed in range(2_000):
        arrivals = PoissonArrivals(100.0, np.random.default_rng(seed))
        arrivals.time_us(150)
        arrivals.times(np.array([20, 90]))
        counts.append(arrivals.before(700_000, 0) - arrivals.before(200_000, 0))
        gaps.append(arrivals.time_us(57) - arrivals.time_us(56))
    assert np.mean(counts) == pytest.approx(50, abs=4 * np.sqrt(50 / 2_000))
    assert np.var(counts) == pytest.approx(50, abs=4 * np.sqrt((2 * 50**2 + 50) / 2_000))
    assert np.mean(gaps) == pytest.approx(10_000, abs=4 * 10_000 / np.sqrt(2_000))


@pytest.mark.parametrize("many", [False, True])
def test_between_two_known_instants_arrivals_are_in_the_places_of_uniform_ones(many: bool) -> None:
    shift = []
    for seed in range(1_000):
        arrivals = PoissonArrivals(100.0, np.random.default_rng(seed))
        count = arrivals.before(1_000_000, 0)
        number = count // 2
        when_us = arrivals.times(np.array([number]))[0] if many else arrivals.time_us(number)
        shift.append(when_us / 1e6 - (number + 1) / (count + 1))  # the mean of an order statistic
    assert np.mean(shift) == pytest.approx(0, abs=4 * 0.05 / np.sqrt(1_000))


def test_no_rate_brings_no_arrival() -> None:
    arrivals = PoissonArrivals(0.0, np.random.default_rng(0))
    assert arrivals.before(10**12, 0) == 0
    assert arrivals.time_us(0) > 10**15


# --- what it says -------------------------------------------------------------------------------------------------


def test_nothing_is_lost_between_the_tables() -> None:
    run = simulate(CASES["full buffers"], seed=4, month=False, fidelity="law")
    accounts, samples = run.accounting().set_index("writer"), run.samples
    for stream in STREAMS:
        row = accounts.loc[stream]
        assert row["arrived"] == row.drop("arrived").sum() == samples[f"{stream}_arrived"].sum()
        assert row["dropped_cap"] == samples[f"{stream}_dropped_cap"].sum()
        assert stream != "events" or row["dropped_cap"] > 0
        assert (samples[f"{stream}_buffer_mean_rows"] <= samples[f"{stream}_buffer_max_rows"] + 1e-9).all()
        assert (samples[f"{stream}_buffer_mean_rows"] >= samples[f"{stream}_buffer_min_rows"] - 1e-9).all()


def test_the_same_address_gives_the_same_run() -> None:
    one, other = (simulate(CASES["full buffers"], seed=4, month=False, fidelity="law") for _ in range(2))
    assert one.samples.equals(other.samples)
    assert not one.samples.equals(simulate(CASES["full buffers"], seed=5, month=False, fidelity="law").samples)


def test_the_loop_is_told_by_formulas_that_say_so() -> None:
    scenario = scenario_of(server__http={"gc_pause_ms": 0})
    run = simulate(scenario, seed=1, month=False, fidelity="law")
    summary = run.summary("trace").set_index("metric")
    exact = simulate(scenario, seed=1, month=False).summary("trace").set_index("metric")
    assert summary.loc["loop_wait_mean", "basis"] == "closed formula"
    assert summary.loc["loop_wait_mean", "value"] == pytest.approx(loop_law(scenario).wait_ms)
    assert summary.loc["items_lost", "basis"] == "simulated in law"
    assert np.isnan(summary.loc["loop_wait_max", "value"])
    mean = "loop_utilisation_mean"
    assert summary.loc[mean, "value"] == pytest.approx(exact.loc[mean, "value"], rel=0.1)
    assert not [name for name in summary.index if name.startswith("response_")]


def test_the_mean_wait_is_that_of_an_m_d_1_queue_without_flushes() -> None:
    scenario = scenario_of(rate_hz=500, server__http=NO_LOOP | {f"{s}_cpu_ms": 1.0 for s in STREAMS})
    assert loop_law(scenario).utilisation == pytest.approx(0.5)
    assert loop_law(scenario).wait_ms == pytest.approx(0.5)  # rho / (2 (1 - rho)) services of 1 ms


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "sessions": ({"workload__sessions": {}}, "workload.sessions"),
    "replicas": ({"server__process__replicas": 2}, "server.process.replicas is 2"),
    "clients": ({"server__http__clients": {}}, "server.http.clients"),
    "deploys": ({"server__lifecycle": [{"kind": "deploy", "at_s": 1}]}, "server.lifecycle"),
    "a full loop": ({"workload__rate_hz": 10_000.0, "server__http": {}}, "fills the HTTP loop"),
    "reads": ({"workload__queries_hz": 1.0}, "workload.queries_hz"),
    "a slow reader": ({"server__logger__consumer_hz": 10}, "server.logger.consumer_hz"),
    "slow files": ({"server__logger__file_consumer_hz": 10}, "server.logger.file_consumer_hz"),
    "Redis away": ({"redis__faults": [{"kind": "down", "from_s": 1, "to_s": 2}]}, "redis.faults"),
    "scripts": ({"workload": {"runs": [{"stream": "events", "at_ms": 0, "count": 3}]}}, "workload.runs"),
    "replacing heartbeats": (
        {"workload__live_sessions": 3, "server__writers__heartbeats__semantics": "fixed"},
        "workload.live_sessions",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "told"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_told_is_refused_with_reason_and_remedy(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(CapsimError) as refused:
        simulate(scenario_of(**changes), month=False, fidelity="law")
    assert told in str(refused.value)
    assert all("exact" in line for line in refused.value.problems)


def test_traces_and_single_arrivals_are_refused() -> None:
    with pytest.raises(CapsimError, match="trace game-day"):
        simulate(scenario_of(), "game-day", fidelity="law")
    with pytest.raises(CapsimError, match="single arrivals"):
        simulate(scenario_of(), arrivals=True, fidelity="law")
    check_law(scenario_of())


def test_a_server_out_of_heap_is_refused() -> None:
    writer = {"batch_rows": 100, "buffer_cap_rows": "none"}
    scenario = scenario_of(
        rate_hz=400.0,
        duration_s=3_600.0,
        server__writers=dict.fromkeys(STREAMS, writer),
        server__node__heap_cap_mib=64,
        database__faults=[{"kind": "stall", "from_s": 10, "to_s": 3_600}],
    )
    with pytest.raises(CapsimError, match="runs out of heap"):
        simulate(scenario, month=False, fidelity="law")


def test_every_output_of_the_command_says_so(tmp_path: Any) -> None:
    (tmp_path / "x.toml").write_text(
        'name = "x"\n[workload]\nrate_hz = 5\nduration_s = 600\n[billing]\nfrom = "2026-02-03"\n[stress]\n'
        "stall_s = 0\noutage_s = 0\ndeploys = 0\n"
    )
    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["run", str(tmp_path / "x.toml"), "--fidelity", "law", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "fidelity law" in done.output
    assert "fidelity law" in (out / "report.html").read_text()
    assert "simulated in law" in (out / "summary.csv").read_text()
    assert json.loads((out / "result.json").read_text())["provenance"]["fidelity"] == "law"


def test_the_command_refuses_with_every_reason() -> None:
    done = CliRunner().invoke(main, ["run", "after", "--fidelity", "law"])
    assert done.exit_code == 2
    lines = done.stderr.splitlines()
    assert len(lines) >= 2
    assert all("fidelity law" in line for line in lines)


def test_a_writer_that_is_stuck_over_midnight_goes_on_refusing() -> None:
    """What began to be refused yesterday is refused today too, and told in no bin twice."""
    wedged = scenario_of(rate_hz=40, duration_s=2 * 86_400, database__insert={"call_ms": 30_000})
    run = simulate(wedged, month=False, resolution_s=3_600.0, fidelity="law")
    accounts = run.accounting().set_index("writer")
    for stream in STREAMS:
        dropped = run.samples[f"{stream}_dropped_cap"]
        assert dropped.sum() == accounts.loc[stream, "dropped_cap"]
    assert (run.samples["events_dropped_cap"] == run.samples["events_arrived"])[-24:].all()


def test_a_repaired_writer_that_refuses_logs_at_most_a_line_a_second() -> None:
    """Its lines were once not told, and then the server's memory was not a number."""
    case = CASES["repaired and fixed"]
    refused = 0
    for seed in range(12):
        samples = simulate(case, seed=seed, month=False, resolution_s=10.0, fidelity="law").samples
        refused += int(sum(samples[f"{stream}_dropped_cap"].sum() for stream in STREAMS))
        assert not samples.server_billed_mib.isna().any()
        assert (samples.log_error_lines <= 10 * len(STREAMS) + 5).all()
    assert refused > 10


def test_many_questions_about_one_stretch_share_out_what_is_known_of_it() -> None:
    """A thousand arrivals in 10 s, of which only the last is known; asked for every 10 ms."""
    edges_us = np.arange(0, 10_000_001, 10_000)
    each = []
    for seed in range(40):
        arrivals = PoissonArrivals(100.0, np.random.default_rng(seed))
        total = arrivals.before(10_000_000, 0)
        at_us, before, upto = arrivals.path(edges_us)
        assert np.isin(edges_us, at_us).all() and (np.diff(at_us) > 0).all()
        assert (np.diff(before) >= 0).all() and (before <= upto).all() and before[-1] == total
        each.append(np.diff(before[at_us.searchsorted(edges_us)]))
    counts = np.array(each)

    # Poisson of mean 1 in every part: mean and variance over 40,000 of them, within four standard errors.
    assert abs(counts.mean() - 1) < 4 * (1 / counts.size) ** 0.5
    assert abs(counts.var() - 1) < 4 * (3 / counts.size) ** 0.5
    assert abs(np.corrcoef(counts[:, :-1].ravel(), counts[:, 1:].ravel())[0, 1]) < 4 / counts.size**0.5


def test_what_was_known_before_a_look_is_not_drawn_anew() -> None:
    """It may have decided that a stretch is played again; to forget it preferred stretches that lack no connection."""
    arrivals = PoissonArrivals(100.0, np.random.default_rng(4))
    known = {number: arrivals.time_us(number) for number in (50, 900, 901)}
    arrivals.look()
    following = arrivals.chain(0, 100_000, 8)
    arrivals.forget_after(int(following[2]))

    assert {number: arrivals.time_us(number) for number in known} == known


def test_what_a_look_has_found_and_nobody_needs_is_forgotten() -> None:
    arrivals = PoissonArrivals(100.0, np.random.default_rng(4))
    arrivals.look()
    following = arrivals.chain(0, 100_000, 8)
    before = [arrivals.time_us(int(number)) for number in following]
    arrivals.forget_after(int(following[2]))
    again = [arrivals.time_us(int(number)) for number in following]

    assert again[:3] == before[:3] and again[4:] != before[4:]

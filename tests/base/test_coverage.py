"""Intervals hold what they promise: on queues and on a writer whose means are known, with seeds fixed here.

The long count (`make test-slow`, or ``pytest -m slow tests/base/test_coverage.py``) makes 200 intervals in each of 20
cells.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest

from capsim.base.intervals import (
    Interval,
    Target,
    TooShort,
    batch_interval,
    paired,
    quantile_interval,
    rare,
    steady_interval,
    t_quantile,
    warm_up,
)
from capsim.results.run import simulate
from capsim.scenario.scenario import Scenario
from capsim.validation import queueing

SEED = 20_261_126
INTERVALS = 200
SPARE = 60  # runs for those that are refused: about one of twenty by chance
LEAST, MOST = 180, 198
QUEUES = [(servers, load) for servers in (1, 2, 5) for load in (0.5, 0.7, 0.8, 0.9)]  # 12 cells
WRITERS = [(rate, delay_s) for rate in (5, 15, 25, 60) for delay_s in (2, 5)]  # 8 cells
WAITING = 600  # customers of a batch that wait
BATCH_RELAXATIONS = 60  # so many relaxation times to a batch; the test for correlation alone would allow fewer


def queue_waits_us(servers: int, load: float, count: int) -> np.ndarray:
    """Waits of successive customers in ``count`` queues side by side, means of five [us]: shape (n, count)."""
    seen = WAITING / queueing.erlang_c(servers, load)  # where few wait, batches must be longer to be about normal
    customers = 30 * 5 * math.ceil(max(BATCH_RELAXATIONS * queueing.relaxation(load), seen) / 5)
    waits = np.empty((customers // 5, count))
    left = np.zeros((servers, count))
    total = np.zeros(count)
    number = 0
    for gaps, services in queueing.lanes("coverage", servers, load, count, SEED):
        for gap, service in zip(gaps, services, strict=True):
            np.maximum(left - gap, 0, out=left)
            total += left[0]
            left[0] += service
            if servers > 1:
                left.sort(axis=0)
            number += 1
            if number % 5 == 0:
                waits[number // 5 - 1] = total / 5
                total[:] = 0
            if number == len(waits) * 5:
                return waits
    raise AssertionError("there is always another customer")


def writer_buffer_rows(rate_hz: float, delay_s: float, rows: int) -> float:
    """Mean buffer of a writer whose flushes take no time, by the renewal-reward theorem.

    A cycle begins empty, waits for the first item, then fills until the timer or the full batch. With A(u) Poisson
    arrivals after the first item, the integral over u of P(A(u) = k) up to the delay is P(A(delay) > k) / rate.
    S. M. Ross, "Stochastic Processes", 2nd edition, 1996, section 3.6.
    """
    mean = rate_hz * delay_s
    at_most, term, tails = 0.0, math.exp(-mean), []
    for k in range(rows - 1):
        at_most += term
        term *= mean / (k + 1)
        tails.append(1 - at_most)
    area = sum((k + 1) * tail for k, tail in enumerate(tails)) / rate_hz
    return area / ((1 + sum(tails)) / rate_hz)


def writer_scenario(rate_hz: float, delay_s: float, duration_s: float) -> Scenario:
    """One stream, no CPU, a database that answers in a microsecond: nothing but the batch rule."""
    free = dict.fromkeys(("events_cpu_ms", "revenue_cpu_ms", "heartbeats_cpu_ms", "other_cpu_ms", "row_cpu_ms"), 0)
    at_once = {"call_ms": 0.001, "row_ms": 0, "distribution": "constant"}  # a microsecond, the least there is
    return Scenario(
        name="renewal",
        workload={
            "rate_hz": rate_hz,
            "duration_s": duration_s,
            "mix": {"events": 1, "revenue": 0, "heartbeats": 0},
        },
        server={
            "http": {**free, "gc_pause_ms": 0},
            "writers": {"events": {"batch_rows": 100, "delay_ms": delay_s * 1_000}},
        },
        database={"insert": at_once, "connect_ms": 0},
        billing={"from": "2026-02-03"},
    )


def writer_series(rate_hz: float, delay_s: float, duration_s: float, replicate: int) -> np.ndarray:
    spec = writer_scenario(rate_hz, delay_s, duration_s)
    run = simulate(spec, seed=SEED, replicate=replicate, month=False, resolution_s=5)
    return run.samples["events_buffer_mean_rows"].to_numpy()


def covering(series: Iterable[np.ndarray], truth: float, intervals: int) -> tuple[int, int]:
    """How many of so many intervals cover, and how many runs were refused one: the next run takes their place."""
    held = given = refused = 0
    for values in series:
        try:
            held += steady_interval(values).holds(truth)
            given += 1
        except TooShort:
            refused += 1
        if given == intervals:
            return held, refused
    raise AssertionError(f"{refused} refused: too few runs for {intervals} intervals")


# --- the rules


def test_the_renewal_mean_is_that_of_a_plain_simulation():
    rng = np.random.default_rng(5)
    rate_hz, delay_s, rows = 15.0, 5.0, 100
    area = length = 0.0
    for _ in range(4_000):
        after = np.cumsum(rng.exponential(1 / rate_hz, rows))  # of the first item
        end = min(delay_s, after[rows - 2])
        inside = after[after < end]
        area += end + (end - inside).sum()
        length += rng.exponential(1 / rate_hz) + end

    assert area / length == pytest.approx(writer_buffer_rows(rate_hz, delay_s, rows), rel=0.01)


def test_the_models_writer_has_the_renewal_mean_within_its_interval():
    found = steady_interval(writer_series(25, 5, 3_600, 0))

    assert Interval(found.mean, 2 * found.half_width).holds(writer_buffer_rows(25, 5, 100))


def test_batch_means_cover_on_a_queue_that_is_known():
    """A short version of the long count: 40 intervals of M/M/1 at half load."""
    held, refused = covering(queue_waits_us(1, 0.5, 50).T, queueing.mmc_wait_us(1, 0.5), 40)

    assert held >= 34 and refused <= 8


def test_a_fixed_ten_thousand_customers_at_high_load_are_refused():
    """At 0.95 so many are seven relaxation times: an interval of them would cover about half of the time."""
    refused = covered = 0
    for number in range(60):
        waits = queueing.loop_waits_us("M", 0.95, 10_000, seed=SEED, number=number).astype(np.float64)
        size = len(waits) // 30
        means = waits[: size * 30].reshape(30, size).mean(axis=1)
        half = t_quantile(29) * means.std(ddof=1) / math.sqrt(30)  # what it would have said
        covered += abs(means.mean() - queueing.mmc_wait_us(1, 0.95)) <= half
        try:
            steady_interval(waits)
        except TooShort:
            refused += 1

    assert covered <= 40 and refused >= 48, (covered, refused)  # 36 and 51


def test_warm_up_is_found_and_a_run_that_never_settles_is_refused():
    noise = np.random.default_rng(1).standard_normal(2_000)

    assert 0 <= warm_up(noise) <= 300
    assert 380 <= warm_up(noise + np.where(np.arange(2_000) < 400, 20.0, 0.0)) <= 420
    with pytest.raises(TooShort, match="not settled by its middle"):
        warm_up(np.linspace(0, 1_000, 2_000) + noise)
    with pytest.raises(TooShort, match="too few"):
        batch_interval(np.arange(40.0))


@pytest.mark.parametrize(("share", "count"), [(0.5, 20), (0.9, 60), (0.95, 120)])
def test_quantile_intervals_cover_whatever_the_distribution(share, count):
    rng = np.random.default_rng(SEED)
    truth = -math.log(1 - share)
    held = sum(quantile_interval(rng.exponential(1, count), share).holds(truth) for _ in range(2_000))

    assert 0.945 * 2_000 <= held <= 0.99 * 2_000  # at least what is promised; the steps are whole values
    with pytest.raises(TooShort, match=r"cannot bracket the quantile .*; make \d+ or more"):
        quantile_interval([1.0, 2.0, 3.0], share)


def test_pairs_are_narrower_where_replicates_share_their_chance():
    rng = np.random.default_rng(2)
    shared = rng.normal(0, 10, 30)
    found = paired(shared, shared + 1 + rng.normal(0, 0.1, 30))

    assert found.holds(1) and found.half_width < 0.1


def test_what_never_happened_is_bounded_by_three_in_n():
    for n in (100, 1_000, 10_000):
        bound = rare(0, n)
        assert bound.low == 0 and 0.98 * 3 / n <= bound.high <= 3 / n
        assert (1 - bound.high) ** n == pytest.approx(0.05)
    assert rare(5, 5).high == 1 and rare(3, 10).holds(0.3)


def test_a_target_is_a_width_or_a_share_of_the_mean():
    values = [9.0, 10.0, 11.0]  # half width 2.48

    assert Target("x", 2.5).met(values) and not Target("x", 2.4).met(values)
    assert Target("x", 0.25, relative=True).met(values) and not Target("x", 0.24, relative=True).met(values)


# --- the long count


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_95_percent_intervals_cover_95_percent_of_the_time():
    """180 to 198 of 200 in each of 20 cells, 94 to 96 % over all 4,000."""
    held = {}
    for servers, load in QUEUES:
        waits = queue_waits_us(servers, load, INTERVALS + SPARE)
        held[f"M/M/{servers} at {load:.0%}"] = covering(waits.T, queueing.mmc_wait_us(servers, load), INTERVALS)
        print(list(held.items())[-1], flush=True)
    for rate_hz, delay_s in WRITERS:
        series = (writer_series(rate_hz, delay_s, 3_600, number) for number in range(INTERVALS + SPARE))
        truth = writer_buffer_rows(rate_hz, delay_s, 100)
        held[f"writer at {rate_hz}/s, {delay_s} s"] = covering(series, truth, INTERVALS)
        print(list(held.items())[-1], flush=True)
    share = sum(count for count, _ in held.values()) / (len(held) * INTERVALS)
    print(f"{share:.2%}")

    assert all(LEAST <= count <= MOST for count, _ in held.values()), held
    assert 0.94 <= share <= 0.96

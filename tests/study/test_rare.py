"""Rare wedges: estimated by playing calls of the tail, beside what follows from independent arrivals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from capsim import load
from capsim.base.units import BILLED_MONTH_MINUTES
from capsim.scenario.database import LatencySpec
from capsim.study.findings.schedule import Bench
from capsim.study.findings.tail_probability import laws, spread, tails

RATE_HZ, CAP, BATCH = 100.0, 300, 50
DRAWS = 40


def bench(sigma: float = 0.5) -> Bench:
    spec = load("after").replace("database.insert", {"call_ms": 20, "sigma": sigma})
    for knob, value in {"buffer_cap_rows": CAP, "batch_rows": BATCH, "delay_ms": 5_000}.items():
        spec = spec.replace(f"server.writers.events.{knob}", value)
    return Bench(spec, {"events": RATE_HZ}, seed=5)


@pytest.mark.parametrize("ratio", [1.3, 2.276, 4.32, 9.0])
def test_the_tails_agree_up_to_the_95th_percentile_and_not_beyond(ratio: float) -> None:
    weibull, lognormal, power = laws(ratio)
    for law in (weibull, lognormal, power):
        assert law.beyond(1.0) == pytest.approx(0.5)
        assert law.beyond(ratio) == pytest.approx(0.05)
        for p in (0.3, 1e-3, 1e-6):
            assert law.beyond(law.where(p)) == pytest.approx(p, rel=1e-6)
    assert weibull.beyond(5 * ratio) < lognormal.beyond(5 * ratio) < power.beyond(5 * ratio)


def test_a_latency_that_does_not_vary_has_no_tail() -> None:
    assert spread(LatencySpec(call_ms=20, distribution="constant")) == 1.0
    spec = load("after").replace("database.insert", {"call_ms": 20, "distribution": "constant"})
    assert tails(Bench(spec, {"events": 20}), "events", 50.0, (20.0,)) == ()


def test_it_is_the_chance_that_so_many_items_arrive_during_one_call() -> None:
    """Closed form: a wedge is a call during which the buffer fills, so p = E[P(Poisson(rate x duration) >= cap)]."""
    found = tails(bench(), "events", CAP / RATE_HZ, (RATE_HZ,), draws=DRAWS)
    power, law = found[-1], laws(spread(LatencySpec(call_ms=20)))[-1]
    median_s = 0.020

    # Over quantiles of the duration beyond a second, of which nothing that is shorter can wedge.
    beyond = law.beyond(1.0 / median_s)
    durations_s = np.array([median_s * law.where(beyond * (place + 0.5) / 2_000) for place in range(2_000)])
    counts = np.random.default_rng(1).poisson(RATE_HZ * durations_s, (200, 2_000))
    wedges = beyond * float((counts >= CAP).mean())
    calls = RATE_HZ / BATCH * BILLED_MONTH_MINUTES * 60
    expected = 1 - math.exp(-calls * wedges)

    assert power.tail.startswith("log-logistic") and 5 < power.seen < DRAWS - 1
    error = (power.upper - power.lower) / 4
    assert power.probability == pytest.approx(expected, abs=4 * error)
    assert 0 < power.lower < power.probability < power.upper < 1
    assert found[0].probability == 0.0 and found[0].expected == 0.0 and found[0].runs == 0  # and says so


def test_none_seen_is_a_bound_of_three_over_n() -> None:
    """A trigger taken for a quarter of what it is: some of the calls drawn are long, but none wedges."""
    (*_, power) = tails(bench(), "events", CAP / RATE_HZ / 4, (RATE_HZ / 8,), draws=6)
    if power.seen == 0:
        assert power.probability == power.lower == 0.0
        assert power.upper == pytest.approx(1 - math.exp(-power.expected * 3 / 6))

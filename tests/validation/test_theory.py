"""Queueing theory holds what the pool and the loop do, and would notice if they did something else."""

from __future__ import annotations

import math

import numpy as np
import pytest
from click.testing import CliRunner

from capsim.base.intervals import TooShort, batch_interval
from capsim.cli import main
from capsim.engine.jobs import finished
from capsim.engine.pool import Pool
from capsim.validation import queueing, theory


def test_the_short_check_passes_and_counts_its_lines():
    result = CliRunner().invoke(main, ["validate", "theory"])
    *lines, last = result.stdout.splitlines()

    assert result.exit_code == 0, result.stdout
    assert last == f"{len(lines)} passed, 0 failed" and len(lines) > 60


def test_a_pool_that_serves_the_last_comer_first_is_found_out(monkeypatch):
    class Stack(Pool):
        def _arbitrate(self, event):
            self._queue.reverse()
            super()._arbitrate(event)

    monkeypatch.setattr(queueing, "Pool", Stack)
    check = theory._pool_is_the_queue(2, 0.9, 30, 500)

    assert not check.passed


def test_a_loop_that_takes_a_tenth_longer_is_found_out(monkeypatch):
    monkeypatch.setattr(queueing, "finished", lambda at_us, cpu_us: finished(at_us, cpu_us * 11 // 10))
    found = [check for check in theory.checks() if "loop as M" in check.text]

    assert len(found) == 12 and sum(not check.passed for check in found) >= 10


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (2, 0.75), (5, 0.8), (20, 0.95)])
def test_erlang_c_is_the_sum_that_defines_it(servers, load):
    offered = servers * load
    last = offered**servers / math.factorial(servers) / (1 - load)
    others = sum(offered**k / math.factorial(k) for k in range(servers))

    assert queueing.erlang_c(servers, load) == pytest.approx(last / (others + last), rel=1e-12)


def test_the_general_service_has_the_mean_that_the_loads_assume():
    mean_us = queueing.LONG_SHARE * queueing.LONG_US + (1 - queueing.LONG_SHARE) * queueing.SHORT_US

    assert mean_us == pytest.approx(queueing.SERVICE_US)


def test_a_run_whose_batches_remember_each_other_is_refused_an_interval():
    drifting = np.cumsum(np.random.default_rng(1).standard_normal(10_000))
    steady = np.random.default_rng(1).standard_normal(10_000)

    assert batch_interval(steady).holds(0)
    with pytest.raises(TooShort, match="make the run longer"):
        batch_interval(drifting)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_95_percent_intervals_cover_95_percent_of_the_time():
    """180 to 198 of 200 in each of 32 cells, 94 to 96 % over all."""
    failed = [check.text for check in theory.checks(full=True) if not check.passed]

    assert not failed

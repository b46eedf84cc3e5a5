"""Indices have their known values on known functions, and tell which constants a figure depends on."""

from __future__ import annotations

import math

import numpy as np
import pytest

import capsim as cs
from capsim.base.errors import CapsimError
from capsim.memory.constants import CONSTANTS
from capsim.memory.uncertainty import residual
from capsim.scenario.scenario import Scenario
from capsim.study.sweeps import knee
from capsim.study.sweeps.sensitivity import indices, plan

SPEC = Scenario(name="small", workload={"rate_hz": 20, "duration_s": 60}, billing={"from": "2026-02-03"})
PAIR = ["server_file", "pg_wal_event"]


def test_sobol_indices_of_the_ishigami_function():
    """T. Ishigami, T. Homma, 1990, with a = 7, b = 0.1: variances in closed form."""
    a, b = 7.0, 0.1
    v1, v2, v13 = 0.5 * (1 + b * math.pi**4 / 5) ** 2, a**2 / 8, b**2 * math.pi**8 * (1 / 18 - 1 / 50)
    total = v1 + v2 + v13
    made = plan(["x1", "x2", "x3"], "sobol", 4_096, seed=1)
    x = (2 * made.shares - 1) * math.pi
    values = np.sin(x[:, 0]) + a * np.sin(x[:, 1]) ** 2 + b * x[:, 2] ** 4 * np.sin(x[:, 0])
    found = indices(made, values).set_index("factor")

    first, all_of_it = found["S1"], found["ST"]
    assert first[["x1", "x2", "x3"]].tolist() == pytest.approx([v1 / total, v2 / total, 0], abs=0.02)
    assert all_of_it[["x1", "x2", "x3"]].tolist() == pytest.approx(
        [(v1 + v13) / total, v2 / total, v13 / total], abs=0.02
    )


def test_sobol_indices_of_a_queue_in_closed_form():
    """Time in an M/M/1 queue, 1 / (mu - lambda), both even on a range: moments by the antiderivatives.

    With lambda on [0, 1] and mu on [2, 3]: E = 3 ln 3 - 4 ln 2, E[W^2] = ln(4/3), and the mean given one rate is a
    difference of logarithms, whose square is integrated numerically to 1e-6.
    """
    mean, square = 3 * math.log(3) - 4 * math.log(2), math.log(4 / 3)
    variance = square - mean**2
    grid = (np.arange(200_000) + 0.5) / 200_000
    given_rate = np.log((3 - grid) / (2 - grid))
    share = (float((given_rate**2).mean()) - mean**2) / variance  # the same for both, by symmetry
    made = plan(["lambda", "mu"], "sobol", 4_096, seed=2)
    found = indices(made, 1 / (2 + made.shares[:, 1] - made.shares[:, 0])).set_index("factor")

    assert found["S1"].tolist() == pytest.approx([share, share], abs=0.02)
    assert found["ST"].tolist() == pytest.approx([1 - share, 1 - share], abs=0.02)


def test_morris_ranks_a_linear_function_by_its_slopes():
    made = plan(["a", "b", "c"], "morris", 10)
    found = indices(made, made.shares @ [1.0, -5.0, 0.0])

    assert found["factor"].tolist() == ["b", "a", "c"]
    assert found["mu_star"].tolist() == pytest.approx([5, 1, 0]) and found["sigma"].max() == pytest.approx(0, abs=1e-9)


def test_a_figure_that_never_changes_has_no_indices():
    made = plan(["a", "b"], "sobol", 8)

    assert indices(made, np.full(32, 7.0))[["S1", "ST"]].to_numpy().tolist() == [[0, 0], [0, 0]]


def test_a_constant_moves_memory_by_its_residual():
    found = cs.sensitivity(
        SPEC, {"redis.keys": (0, 100)}, constants=PAIR, size=2, figures=["server_rss_mean_mib"]
    ).set_index("factor")

    assert found.loc["constants.server_file", "mu_star"] == pytest.approx(0.2, rel=1e-6)  # +-0.1 MiB
    assert found.loc[["constants.pg_wal_event", "redis.keys"], "mu_star"].tolist() == [0, 0]


def test_the_page_cache_is_a_factor_of_the_bill():
    found = cs.sensitivity(SPEC, constants=["server_file", "pg_cache_start"], size=4, figures=["usage_usd"])

    assert found["factor"].iloc[0] == "page_cache" and found["basis"].iloc[0] == "assumed"


@pytest.mark.slow
def test_all_constants_can_be_varied_at_once():
    found = cs.sensitivity(SPEC, size=2, figures=["server_rss_mean_mib"])
    moved = set(found.loc[found["mu_star"] > 0, "factor"])

    assert {"constants.server_off_heap", "constants.server_file"} <= moved
    assert not any("redis" in name for name in moved)


@pytest.mark.parametrize("constant", CONSTANTS, ids=lambda c: c.name)
def test_every_residual_is_a_range_around_its_constant(constant):
    span = residual(constant)

    assert (span is None) or (span.low <= constant.value <= span.high and span.low < span.high)
    assert "exact" not in constant.error or span is None


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("event_row", 2387 * 0.98, 2387 * 1.02),
        ("heap_overhead", 0.8, 1.8),
        ("server_off_heap", 1.5, 11.1),
        ("marking_share", 0.00065, 0.0026),
        ("node_kernel_share", 0.032, 0.0327),
        ("pages_kept", 0.34, 0.95),
    ],
)
def test_errors_written_for_people_are_read_as_numbers(name, low, high):
    span = residual(next(c for c in CONSTANTS if c.name == name))

    assert (span.low, span.high) == pytest.approx((low, high)) and span.basis == "measured"


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda: plan(["a"], "morris", 10), "1 factors cannot be ranked"),
        (lambda: plan(["a", "b"], "sobol", 12), "give a power of two"),
        (lambda: plan(["a", "b"], "fast", 12), "method fast is not known"),
        (lambda: cs.sensitivity(SPEC, constants=["growing_step"]), "growing_step: is no constant with an error"),
        (lambda: cs.sensitivity(SPEC, {"redis.kees": (1, 2)}), "redis.kees: there is no such key"),
        (lambda: cs.sensitivity(SPEC, constants=PAIR, size=2, figures=["x"]), "x: there is no"),
        (lambda: cs.growth(SPEC, (0, 1)), "load factors are positive numbers"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line(call, problem):
    with pytest.raises(CapsimError, match=problem):
        call()


def test_the_load_that_a_loop_can_bear_is_found():
    """10 ms of CPU a request and no clients that leave: 100 requests a second and no more."""
    cpu = dict.fromkeys(("events_cpu_ms", "revenue_cpu_ms", "heartbeats_cpu_ms"), 10)
    spec = Scenario(
        name="slow",
        workload={"rate_hz": 10, "duration_s": 300},
        server={"http": {**cpu, "row_cpu_ms": 0, "gc_pause_ms": 0}},
        billing={"from": "2026-02-03"},
    )
    found = cs.growth(spec, (1, 5, 20), sharpness=0.1)

    assert 7.5 <= found.holds_to < found.fails_from <= 10.5  # its busiest minute, not its mean, is at the limit
    assert found.table["factor"].is_monotonic_increasing and found.fails_from <= found.holds_to * 1.1


def test_a_load_that_always_holds_has_no_limit():
    assert cs.growth(SPEC, (0.5, 1)).fails_from == math.inf


def test_the_knee_is_where_fixed_cost_ends():
    x = np.geomspace(0.1, 100, 13)

    assert knee(x, 5 + x) == pytest.approx(x[7], rel=1.0)
    assert knee(x, 3 * x**0.7) is None and knee([1, 2], [1, 2]) is None

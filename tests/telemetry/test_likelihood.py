"""The compiled heap is the heap; the likelihood knows the true constants; its intervals are narrow and hold them."""

from __future__ import annotations

import builtins
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("numba")

from capsim.base import rng
from capsim.base.errors import CapsimError
from capsim.memory.heap import Process, simulate
from capsim.telemetry.calibration import fit as fitting
from capsim.telemetry.calibration.filter import log_between
from capsim.telemetry.calibration.fit import BUDGET, HELD_OUT, FitTask, by_likelihood, calibrate
from capsim.telemetry.calibration.heaps import follow, numbers_of
from capsim.telemetry.calibration.likelihood import Likeliest, Likelihood, _parabola, _power, _weights
from capsim.telemetry.calibration.parameters import DEFAULT, bounds, chosen, published
from capsim.telemetry.calibration.predictive_check import Likeness
from capsim.telemetry.calibration.segments import measured, stretches
from capsim.telemetry.calibration.simulator import Simulator
from twins import scenario_of, twin

MINUTES = 10
PARAMETERS = chosen(DEFAULT)
SCENARIO = scenario_of(MINUTES)
BASE = published(SCENARIO)
FEW = ("live_base_mib", "revenue_row_bytes")
TRUTH = np.log([1.2 * BASE[p.key] for p in PARAMETERS])


@pytest.fixture(scope="module")
def recording():
    return twin(TRUTH, PARAMETERS, 77, minutes=MINUTES)


@pytest.fixture(scope="module")
def task(recording):
    parts = stretches(recording, BUDGET, SCENARIO, 0.0, (1 - HELD_OUT) * recording.span_s)
    simulator = Simulator(SCENARIO, parts, recording.step_mib)
    return FitTask(simulator, PARAMETERS, BASE, simulator.statistics.of(measured(parts)), 0)


# --- the compiled heap and its slow twin


@pytest.mark.parametrize("number", range(40))
def test_the_compiled_heap_is_the_heap_to_the_last_bit(number):
    draw = np.random.default_rng(number)
    steps = 200
    time_s = np.cumsum(draw.uniform(0.5, 8, steps))
    requests = np.append(0, np.cumsum(draw.choice([0, 1, 30, 200], steps - 1) * draw.uniform(0, 5, steps - 1)))
    kept = np.abs(np.cumsum(draw.normal(0, 0.5 * draw.choice([0, 1, 4]), steps)))
    process = Process(
        cap_mib=draw.choice([64.0, 128, 512, 4096]), semi_space_mib=draw.choice([1.0, 8, 16]),
        live_mib=draw.uniform(3, 50), allocated_kib=draw.uniform(5, 80), promoted_kib=draw.uniform(0.5, 20),
        cpu_share=draw.choice([1.0, 0.5]), keeps_new_pages=bool(number % 2),
        container_mib=draw.choice([128.0, 512, np.inf]), speed_sigma=0.2,
    )  # fmt: skip
    slow = simulate(time_s, requests, kept, process, number)
    normals = rng.Table(number, 0, "heap", "normal").block(0)
    uniforms = rng.Table(number, 0, "heap reducer", "uniform").block(0)
    fast = follow(time_s, requests, kept, numbers_of(process), normals, uniforms)

    assert (fast[:, : len(slow)] == slow[["rss", "heap_total", "heap_used"]].to_numpy().T).all()
    assert (fast[:, len(slow) :] == fast[:, len(slow) - 1 : len(slow)]).all()


def test_without_numba_the_simulator_says_the_same(task, monkeypatch):
    constants = dict(BASE)
    fast = task.simulator.samples(constants, 5)
    real = builtins.__import__

    def without(name, *others):
        if name == "capsim.telemetry.calibration.heaps":
            raise ModuleNotFoundError(name)
        return real(name, *others)

    monkeypatch.setattr(builtins, "__import__", without)

    assert (task.simulator.samples(constants, 5) == fast).all()


def test_without_numba_the_method_says_what_to_install(task, monkeypatch):
    real = builtins.__import__

    def without(name, *others):
        if name == "capsim.telemetry.calibration.likelihood":
            raise ModuleNotFoundError(name)
        return real(name, *others)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(CapsimError, match=r"install capsim\[calibrate\], or give least-squares"):
        by_likelihood(task)


# --- the likelihood


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (0.5, 0.6), (5, 7), (-7, -5), (-40, 3)])
def test_a_rounded_size_is_an_interval(low, high):
    from scipy.stats import norm

    # Of the upper tail the distribution function leaves nothing; its mirror image does.
    expected = norm.cdf(high) - norm.cdf(low) if low < 0 else norm.sf(low) - norm.sf(high)

    assert log_between(float(low), float(high)) == pytest.approx(np.log(expected), rel=1e-6)


def test_far_from_a_sample_the_likelihood_still_tells_which_way_to_go():
    assert log_between(50.0, 51.0) < log_between(40.0, 41.0) < log_between(9.0, 10.0) < log_between(7.9, 8.9)


@pytest.mark.parametrize("key", range(len(PARAMETERS)), ids=DEFAULT)
def test_the_true_constants_are_likelier_than_others(task, key):
    likelihood = Likelihood(task.simulator, PARAMETERS, BASE)
    apart = 0.15 * np.eye(len(PARAMETERS))[key]
    true, below, above = (
        np.median([likelihood.at(logs, np.full(3, 0.4), 96, seed) for seed in range(8)])
        for logs in (TRUTH, TRUTH - apart, TRUTH + apart)
    )

    assert true > below + 5 and true > above + 5


def test_the_same_seed_gives_the_same_likelihood(task):
    likelihood = Likelihood(task.simulator, PARAMETERS, BASE)
    one, again, other = (likelihood.at(TRUTH, np.full(3, 0.4), 32, seed) for seed in (4, 4, 5))

    assert one == again != other


# --- whether the samples are like the model


@pytest.fixture
def quick(monkeypatch, task):
    """The search is left out: it found the truth."""
    from capsim.telemetry.calibration import likelihood as search

    found = Likeliest(TRUTH, 1e-4 * np.eye(len(TRUTH)), np.full(3, 0.3))
    monkeypatch.setattr(search, "likeliest", lambda *_: found)
    monkeypatch.setattr(fitting, "FIRST", 100)
    return task


def changed(task, change):
    """The task with other samples: change(rss, total, used) of those measured."""
    parts = [replace(part, measured=np.array(change(*part.measured))) for part in task.simulator.parts]
    simulator = Simulator(SCENARIO, parts, 1.0)
    return FitTask(simulator, PARAMETERS, BASE, simulator.statistics.of(measured(parts)), 0)


def drifting(rss, total, used):
    """Beside the heap a page is kept now and then: 8 MiB in the end, in steps that no single sample shows."""
    return np.round(rss + np.linspace(0, 8, len(rss))), total, used


def shuffled(rss, total, used):
    """Levels, spread and rounding are right, and no sample follows from the one before."""
    order = np.random.default_rng(0).permutation(len(used))
    return rss[order], total[order], used[order]


def test_a_server_like_the_model_is_said_to_be(quick):
    found = by_likelihood(quick)[0]

    assert found.like and "These samples are like the model (p = 0" in found.sentences()[0]


@pytest.mark.parametrize(("change", "part"), [(drifting, "memory beside the heap"), (shuffled, "")])
def test_samples_that_are_unlike_the_model_are_said_to_be(quick, change, part):
    found = by_likelihood(changed(quick, change))[0]

    assert not found.like
    assert f"These samples are unlike the model (p < 0.017): {part}" in found.sentences()[0]


def test_what_the_fit_misses_of_a_size_is_unlike_the_model_too():
    near, far = (Likeness(0.5, np.ones(3), np.ones(3), np.array([0.3, miss, 0.3])) for miss in (0.9, 1.1))

    assert near.like and not far.like
    assert far.sentence().startswith("These samples are unlike the model: heapTotal is 1.1 MiB off it")


def test_of_two_reasons_the_one_is_told_that_no_processor_changes():
    """p is a count of simulated recordings, some of which come out otherwise with another library of mathematics."""
    both = Likeness(0.0, np.ones(3), np.ones(3), np.array([6.2, 0.3, 0.3]))

    assert "heapUsed is 6.2 MiB off it from sample to sample" in both.sentence()


def test_by_default_the_likelihood_is_taken_where_the_samples_are_like_the_model(quick):
    found, _, method = fitting._automatic(quick, lambda share: None)

    assert method == "likelihood" and found.like


def test_by_default_a_server_unlike_the_model_is_fitted_by_least_squares_and_that_is_said(quick, monkeypatch):
    for name, few in (("LATER", 32), ("AGAIN", 10), ("ROUNDS", 1), ("CLOSEST", 30)):
        monkeypatch.setattr(fitting, name, few)
    other = changed(quick, drifting)
    found, posterior, method = fitting._automatic(other, lambda share: None)

    assert method == "least-squares" and posterior == fitting.least_squares(other)[1]
    assert "unlike the model" in found.sentences()[0] and "least squares were taken" in found.sentences()[1]


def test_by_default_without_numba_least_squares_are_taken_and_that_is_said(quick, monkeypatch):
    for name, few in (("LATER", 32), ("AGAIN", 10), ("ROUNDS", 1), ("CLOSEST", 30)):
        monkeypatch.setattr(fitting, name, few)
    real = builtins.__import__

    def without(name, *others):
        if name == "capsim.telemetry.calibration" and "likelihood" in (others[2] or ()):
            raise ModuleNotFoundError(name)
        return real(name, *others)

    monkeypatch.setattr(builtins, "__import__", without)
    found, _, method = fitting._automatic(quick, lambda share: None)

    assert method == "least-squares" and "needs numba" in found.sentences()[0]


# --- the search


def test_a_power_leaves_the_share_of_guesses_that_is_asked_for():
    logs = np.random.default_rng(0).normal(0, 30, 500)
    power = _power(logs)

    assert 0 < power < 1
    assert 1 / (_weights(power * logs) ** 2).sum() / 500 == pytest.approx(0.15, rel=0.01)
    assert _power(0.01 * logs) == 1


def test_the_parabola_is_found_under_noise_with_a_long_tail():
    draw = np.random.default_rng(3)
    places = draw.standard_normal((600, 2))
    curved = np.array([[2.0, 0.5], [0.5, 1.0]])
    top = np.array([0.4, -0.3])
    exact = -0.5 * np.einsum("ni,ij,nj->n", places - top, curved, places - top)
    lost = np.where(draw.random(600) < 0.1, -60.0, 0.0)  # filters that lost the track
    move, inverse, noise = _parabola(places, exact + draw.normal(0, 2, 600) + lost)

    assert move == pytest.approx(top, abs=0.3)
    assert inverse == pytest.approx(np.linalg.inv(curved), abs=0.25)
    assert (np.abs(move - top) < 4 * np.sqrt(np.diag(noise))).all()


def test_the_constants_come_back_in_narrow_intervals_that_hold_them(task):
    low, high = bounds(PARAMETERS)
    first = task.draw(low, high, fitting.FIRST, 0, lambda share: None)
    found, intervals = by_likelihood(task, first=first)
    low, _, high = np.log(intervals).T

    assert found.told == DEFAULT
    assert ((low <= TRUTH) & (high >= TRUTH)).sum() >= 4
    # The statistics of least squares, whose surface is a parabola, leave ten to forty per cent.
    assert (high - low < 0.12).all(), high - low


def test_what_the_samples_cannot_tell_is_named_and_stays_as_it_was(monkeypatch):
    """A dozen revenue records in a buffer weigh a hundredth of what sizes are rounded to."""
    monkeypatch.setattr(fitting, "FIRST", 256)
    known = {p.key: float(np.exp(t)) for p, t in zip(PARAMETERS, TRUTH, strict=True)}
    del known["live_base_mib"]
    own = scenario_of(MINUTES, 0.0).replace("constants", known)
    found = calibrate(own, twin(TRUTH, PARAMETERS, 78, minutes=MINUTES, stall_s=0.0), FEW, method="likelihood", seed=1)
    live, revenue = found.estimates

    assert live.identified and live.value == pytest.approx(np.exp(TRUTH[0]), rel=0.03)
    assert not revenue.identified and revenue.value == BASE["revenue_row_bytes"]
    assert "revenue_row_bytes is not told by these samples." in found.notes

"""Two hundred servers whose constants are known: how often the 90 % intervals hold them, and how wide they might be."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from capsim.telemetry.calibration.fit import BUDGET, FIRST, HELD_OUT, FitTask, by_likelihood
from capsim.telemetry.calibration.likelihood import Likelihood, _parabola
from capsim.telemetry.calibration.parameters import DEFAULT, bounds, chosen, published
from capsim.telemetry.calibration.segments import measured, stretches
from capsim.telemetry.calibration.simulator import Simulator
from twins import scenario_of, twin

MINUTES = 10
TWINS = 200
SPREAD = 0.5  # of the logarithms of the true constants around the published ones, either way
SEED = 31_415  # no twin of it served to choose anything

PARAMETERS = chosen(DEFAULT)
SCENARIO = scenario_of(MINUTES)
BASE = published(SCENARIO)
CENTRE = np.log([BASE[p.key] for p in PARAMETERS])


def simulator_of(recording) -> Simulator:
    parts = stretches(recording, BUDGET, SCENARIO, 0.0, (1 - HELD_OUT) * recording.span_s)
    return Simulator(SCENARIO, parts, recording.step_mib)


@pytest.mark.slow
@pytest.mark.timeout(7_200)
def test_ninety_of_a_hundred_intervals_hold_the_constant_and_are_narrow():
    """167 to 193 of 200 is what 90 % means, but for one case in a thousand; none wider than twice the best possible.

    Prints both, and how many of the twins are found to be like the model (``pytest -s``).
    """
    draws = np.random.default_rng(SEED)
    truths = CENTRE + draws.uniform(-SPREAD, SPREAD, (TWINS, len(PARAMETERS)))
    first = None
    inside, like, widths, best = np.zeros(len(PARAMETERS), int), 0, [], []
    for i, truth in enumerate(truths):
        recording = twin(truth, PARAMETERS, 1_000 * SEED + i, minutes=MINUTES)
        simulator = simulator_of(recording)
        task = FitTask(simulator, PARAMETERS, BASE, simulator.statistics.of(measured(simulator.parts)), i)
        # All twins have the same load, so the first look at the whole range is the same for all of them.
        first = first or task.draw(*bounds(PARAMETERS), FIRST, 0, lambda share: None)
        found, intervals = by_likelihood(task, first=first)
        low, _, high = np.log(intervals).T
        like += found.like
        inside += (low <= truth) & (truth <= high)
        if i % 10 == 0:
            widths.append(found.sd)
            best.append(best_possible(simulator, truth, found.sd, i))

    ratio = np.median(np.array(widths) / np.array(best), axis=0)
    print(f"\nlike the model: {like} of {TWINS}")
    for key, count, times in zip(DEFAULT, inside, ratio, strict=True):
        print(f"{key:22} inside {count} of {TWINS}, {times:.2f} times the best possible")
    assert ((inside >= 167) & (inside <= 193)).all()
    assert (ratio <= 2).all()
    assert like > 0.95 * TWINS


def best_possible(simulator: Simulator, truth: np.ndarray, sd: np.ndarray, seed: int) -> np.ndarray:
    """Standard deviations by the Fisher information of all samples, rounded as they are: the curvature at the truth.

    Eight times as many particles as the fit has, and of what the model misses only what the buffers between samples
    make; around the true constants, which a fit does not know.
    """
    from scipy.stats import norm, qmc

    apart = norm.ppf(0.01 + 0.98 * qmc.LatinHypercube(len(truth), rng=np.random.default_rng(seed)).random(300))
    likelihood = Likelihood(simulator, PARAMETERS, BASE)
    logs = likelihood.all(truth + apart * sd, np.full(3, 0.15), 384, 1_000_000 + 1_000 * seed)
    return sd * np.sqrt(np.diag(_parabola(apart, logs)[1]))

"""Two hundred servers whose constants are known: how often the 90 % intervals hold them, and how wide they might be."""

from __future__ import annotations

import numpy as np
import pytest

from capsim.calibration.fit import BUDGET, FIRST, HELD_OUT, Task, least_squares
from capsim.calibration.parameters import DEFAULT, bounds, chosen, merged, published
from capsim.calibration.simulator import Simulator
from capsim.calibration.stretches import measured, stretches
from twins import scenario_of, twin

MINUTES = 10
TWINS = 200
SPREAD = 0.5  # of the logarithms of the true constants around the published ones, either way


@pytest.mark.slow
@pytest.mark.timeout(7_200)
def test_ninety_of_a_hundred_intervals_hold_the_constant():
    """167 to 193 of 200 is what 90 % means, but for one case in a thousand."""
    parameters = chosen(DEFAULT)
    scenario = scenario_of(MINUTES)
    base = published(scenario)
    centre = np.log([base[p.key] for p in parameters])
    draws = np.random.default_rng(42)
    truths = centre + draws.uniform(-SPREAD, SPREAD, (TWINS, len(parameters)))
    first = None
    inside, widths = np.zeros(len(parameters), int), []
    for i, truth in enumerate(truths):
        recording = twin(truth, parameters, 1_000 + i, minutes=MINUTES)
        parts = stretches(recording, BUDGET, scenario, 0.0, (1 - HELD_OUT) * recording.span_s)
        simulator = Simulator(scenario, parts, recording.step_mib)
        task = Task(simulator, parameters, base, simulator.statistics.of(measured(parts)), i)
        # All twins have the same load, so the first look at the whole range is the same for all of them.
        first = first or task.draw(*bounds(parameters), FIRST, 0, lambda share: None)
        found, intervals = least_squares(task, first=first)
        low, _, high = np.log(intervals).T
        inside += (low <= truth) & (truth <= high)
        widths.append(found.sd)

    assert ((inside >= 167) & (inside <= 193)).all(), dict(zip(DEFAULT, inside.tolist(), strict=True))
    best = best_possible(scenario, parameters, centre, base)
    ratio = np.mean(widths, axis=0) / best
    # Twice was aimed at. The surface is no better than its parabolas, and its misfit is in every interval:
    # 3.2 (a row) to 7.7 (what a request promotes) times the information of the statistics (docs/calibrating.md).
    assert (ratio < 10).all(), dict(zip(DEFAULT, ratio.round(2).tolist(), strict=True))


def best_possible(scenario, parameters, centre, base, runs: int = 400, step: float = 0.05) -> np.ndarray:
    """Standard deviations by the Fisher information of the statistics, from many simulations at one point."""
    recording = twin(centre, parameters, 1, minutes=MINUTES)
    parts = stretches(recording, BUDGET, scenario, 0.0, (1 - HELD_OUT) * recording.span_s)
    simulator = Simulator(scenario, parts, recording.step_mib)

    def numbers(logs: np.ndarray, start: int) -> np.ndarray:
        constants = merged(base, parameters, logs)
        return np.array([simulator.numbers(constants, start + i) for i in range(runs)])

    covariance = np.cov(numbers(centre, 0).T) + 0.02**2 * np.eye(len(simulator.statistics.of(measured(parts))))
    slope = []
    for i in range(len(parameters)):
        apart = step * np.eye(len(parameters))[i]
        slope.append((numbers(centre + apart, 0).mean(axis=0) - numbers(centre - apart, 0).mean(axis=0)) / (2 * step))
    jacobian = np.array(slope).T
    return np.sqrt(np.diag(np.linalg.inv(jacobian.T @ np.linalg.solve(covariance, jacobian))))

"""What a scenario predicts for a recorded load, with a band: constants drawn from what is known of them, and chance."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from capsim.base import rng
from capsim.memory.constants import CONSTANTS
from capsim.memory.uncertainty import residual
from capsim.scenario.constants import NAMES
from capsim.scenario.scenario import Scenario
from capsim.telemetry.calibration.parameters import DEFAULT, chosen, published

Floats = NDArray[np.float64]

Z90 = 1.6448536269514722
_PUBLISHED = {constant.name: constant for constant in CONSTANTS}


def spreads(scenario: Scenario) -> dict[str, float]:
    """Standard deviation of the logarithm of each constant that samples can show.

    From the intervals of ``[calibration]`` where the scenario was fitted; otherwise from the published errors, whose
    range is taken for 90 %.
    """
    fitted = {v.key.removeprefix("constants."): v for v in scenario.calibration.values} if scenario.calibration else {}
    found = {}
    for parameter in chosen(DEFAULT):
        if (own := fitted.get(parameter.key)) is not None and own.low > 0:
            low, high = own.low, own.high
        else:
            known = residual(_PUBLISHED[NAMES[parameter.key]])
            low, high = (known.low, known.high) if known is not None and known.low > 0 else (1.0, 1.0)
        found[parameter.key] = float(np.log(high / low) / (2 * Z90))
    return found


def drawn(scenario: Scenario, seed: int, count: int) -> list[dict[str, float]]:
    """Constants drawn from what is known of them, each by itself; the first is the middle of all.

    The joint spread of a fit is smaller: what one constant takes from another is not told by the scenario.
    """
    middle, sd = published(scenario), spreads(scenario)
    normal = rng.generator(seed, 0, "band/constants").standard_normal((count, len(sd)))
    normal[0] = 0.0
    return [
        middle | {key: middle[key] * float(np.exp(s * z)) for (key, s), z in zip(sd.items(), row, strict=True)}
        for row in normal
    ]


def model_error(scenario: Scenario) -> float:
    """Relative error beyond constants and chance: of the held-out part where the scenario was fitted.

    Otherwise 4 %, which is what the published model reaches at steady load (docs/memory.md).
    """
    return scenario.calibration.model_error if scenario.calibration else 0.04


def sd_of(runs: Mapping[str, Floats] | Floats, error: float) -> Floats:
    """Standard deviation of a prediction from its draws, the model's own error added."""
    values = np.asarray(runs)
    out: Floats = np.sqrt(values.std(axis=0, ddof=1) ** 2 + (error * values.mean(axis=0)) ** 2)
    return out

"""The error of a prediction of memory, divided: how much comes of the load, the constants, chance, the model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from capsim.scenario.scenario import Scenario
from capsim.telemetry.calibration.parameters import published
from capsim.telemetry.calibration.prediction_interval import Z90, drawn, model_error
from capsim.telemetry.calibration.segments import stretches
from capsim.telemetry.calibration.simulator import Simulator
from capsim.workload.recordings.load import rates
from capsim.workload.recordings.model import Recording

Floats = NDArray[np.float64]

DRAWS = 24
BUDGET = 4_000.0


def budget(scenario: Scenario, recording: Recording, seed: int = 0) -> pd.DataFrame:
    """Divide the error of the predicted mean and peak of resident memory under a recorded load.

    Parameters
    ----------
    scenario : Scenario
        Fitted or not; its ``[calibration]`` says how sure its constants are and what the model was off by.
    recording : Recording
    seed : int
        Address of the draws.

    Returns
    -------
    DataFrame
        Columns ``figure``, ``part`` (workload, constants, chance, model), ``sd_mib`` and ``share`` of the variance.
        Each part is moved alone. Workload is the uncertainty of the rates that the counters tell; of a load that is
        foreseen, and not recorded, nothing is known here.
    """
    parts = stretches(recording, BUDGET, scenario)
    simulator = Simulator(scenario, parts, 0.0)
    middle = published(scenario)

    def figures(constants: dict[str, float], draw: int, of: Simulator = simulator) -> list[float]:
        rss = of.samples(constants, draw)[0]
        return [float(rss.mean()), float(rss.max())]

    known = rates(recording)
    total = sum(rate.mean_hz for rate in known)
    wide = (
        float(np.sqrt(sum(((rate.high_hz - rate.low_hz) / 2) ** 2 for rate in known))) / Z90 / total if total else 0.0
    )
    loads = []
    for sign in (-1.0, 1.0):
        scaled = [replace(p, requests=p.requests[0] + (p.requests - p.requests[0]) * (1 + sign * wide)) for p in parts]
        loads.append(np.mean([figures(middle, i, Simulator(scenario, scaled, 0.0)) for i in range(4)], axis=0))
    chance = np.array([figures(middle, i) for i in range(DRAWS)])
    constants = np.array([figures(c, i) for i, c in enumerate(drawn(scenario, seed, DRAWS))])
    spread = {
        "workload": np.abs(loads[1] - loads[0]) / 2,
        # The draws of constants have the same chance in them; what they vary by beyond it is theirs.
        "constants": np.sqrt(np.maximum(constants.var(axis=0, ddof=1) - chance.var(axis=0, ddof=1), 0.0)),
        "chance": chance.std(axis=0, ddof=1),
        "model": model_error(scenario) * chance.mean(axis=0),
    }
    rows = []
    for i, figure in enumerate(("rss mean", "rss peak")):
        whole = sum(float(s[i]) ** 2 for s in spread.values()) or 1.0
        rows += [(figure, part, float(s[i]), float(s[i]) ** 2 / whole) for part, s in spread.items()]
    return pd.DataFrame(rows, columns=["figure", "part", "sd_mib", "share"])

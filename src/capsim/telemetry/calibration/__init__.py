"""From a recording to fitted constants: simulate the recorded load, compare, say what the samples can tell."""

from capsim.telemetry.calibration.fit import calibrate
from capsim.telemetry.calibration.result import Calibration

__all__ = ["Calibration", "calibrate"]

"""From a recording to fitted constants: simulate the recorded load, compare, say what the samples can tell."""

from capsim.calibration.fit import calibrate
from capsim.calibration.result import Calibration

__all__ = ["Calibration", "calibrate"]

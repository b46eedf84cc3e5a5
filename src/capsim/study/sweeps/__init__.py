"""Many runs of one scenario: designs of points, engines that run them, one tidy table.

`sweep` runs a design; `sensitivity` says which key or constant moves a figure; `growth` says until what load a
configuration holds.
"""

from capsim.study.sweeps.design import Axis, Design, Grid, Points, Range, Sample
from capsim.study.sweeps.growth import growth, knee
from capsim.study.sweeps.run import Interrupted, differences, means, sweep
from capsim.study.sweeps.sensitivity import sensitivity

__all__ = [
    "Axis",
    "Design",
    "Grid",
    "Interrupted",
    "Points",
    "Range",
    "Sample",
    "differences",
    "growth",
    "knee",
    "means",
    "sensitivity",
    "sweep",
]

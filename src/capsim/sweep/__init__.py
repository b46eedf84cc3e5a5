"""Many runs of one scenario: designs of points, engines that run them, one tidy table.

`sweep` runs a design; `sensitivity` says which key or constant moves a figure; `growth` says until what load a
configuration holds.
"""

from capsim.sweep.design import Axis, Design, Grid, Points, Range, Sample
from capsim.sweep.growth import growth, knee
from capsim.sweep.run import Interrupted, differences, means, sweep
from capsim.sweep.sensitivity import sensitivity

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

"""Tables -> Axes. Every function takes the Axes to draw on, or makes one, and returns it.

Long runs are drawn from `steps`: a mean and a maximum for each of at most 750 steps of time, so a figure stays small
and a peak is never thinned away. Units stand on the axes, brackets are bands, caps and limits are dashed lines; a
limit far above everything else is written into the figure instead of flattening it.
"""

from capsim.show.plots.calibration import calibration_residuals, calibration_series, recorded_rates
from capsim.show.plots.canvas import described, save, style
from capsim.show.plots.run import RunPlots, bill, buffers, levels, load, losses, memory, services
from capsim.show.plots.sides import compare_bill, compare_memory, compare_stress, looks
from capsim.show.plots.steps import Caps, steps, steps_of
from capsim.show.plots.sweep import load_growth, sensitivities, sweep_means
from capsim.show.plots.trace import dispersion, dispersions, rate, rates

__all__ = [
    "Caps",
    "RunPlots",
    "bill",
    "buffers",
    "calibration_residuals",
    "calibration_series",
    "compare_bill",
    "compare_memory",
    "compare_stress",
    "described",
    "dispersion",
    "dispersions",
    "levels",
    "load",
    "load_growth",
    "looks",
    "losses",
    "memory",
    "rate",
    "rates",
    "recorded_rates",
    "save",
    "sensitivities",
    "services",
    "steps",
    "steps_of",
    "style",
    "sweep_means",
]

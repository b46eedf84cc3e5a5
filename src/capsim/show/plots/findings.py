"""Plots of findings: the buffer and the losses of the schedule that triggers a failure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from capsim.show.plots.canvas import QUIET, canvas, legend, styled
from capsim.show.plots.palette import BLUE, VERMILLION

BUFFER, LOST, DISTURBED = BLUE, VERMILLION, "0.85"


@styled
def finding(
    step_s: float,
    level: Sequence[float | None],
    lost_items: Sequence[float | None],
    disturbed_s: tuple[float | None, float | None] = (None, None),
    *,
    title: str = "",
    disturbance: str = "",
    level_of: str = "largest buffer [rows]",
    ax: Axes | None = None,
) -> Axes:
    """What piles up and the items lost so far, against time, with the disturbance shaded.

    Parameters
    ----------
    step_s : float
        Width of a step [s].
    level, lost_items : sequence of float
        For every step.
    level_of : str
        What piles up, with its unit.
    disturbed_s : pair of float
        From and to [s]; without an end it is an instant, without a begin the whole time.
    """
    ax = canvas(ax)
    edges = step_s * np.arange(len(level) + 1)
    from_s, to_s = disturbed_s
    if from_s is not None and to_s is not None:
        ax.axvspan(from_s, to_s, color=DISTURBED, linewidth=0, label=disturbance)
    elif from_s is not None:
        ax.axvline(from_s, color=QUIET, linestyle=":", label=disturbance)
    ax.stairs(np.array(level, dtype=float), edges, baseline=None, color=BUFFER, label=level_of)
    if any(lost_items):
        ax.stairs(
            np.array(lost_items, dtype=float), edges, baseline=None, color=LOST, linestyle="--",
            label="lost so far [items]",
        )  # fmt: skip
    ax.set_xlim(0, edges[-1])
    ax.set_ylim(bottom=0)
    ax.set_xlabel("time [s]")
    ax.set_ylabel("rows or items" if level_of.startswith("largest") else level_of)
    ax.set_title(title)
    return legend(ax)

"""The Pareto front of a search: what less loss or less latency costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from capsim.show.plots.canvas import canvas, legend, note, styled

Triple = tuple[float, float, float]


@styled
def front(
    cloud: Sequence[Triple], best: Sequence[Triple], own: Triple, chosen: Triple | None = None, ax: Axes | None = None
) -> Axes:
    """Cost against loss of all that was tried; colour is the latency.

    Parameters
    ----------
    cloud, best : sequence of (cost_index, lost_share, latency_s)
        All configurations, and those that no other one beats.
    own, chosen : (cost_index, lost_share, latency_s)
        The scenario as it is, whose cost is 100, and the answer if there is one.
    """
    ax = canvas(ax)
    costs, lost, latencies = np.array(cloud, dtype=float).T
    ax.scatter(costs, 100 * lost, color="0.8", s=14, label="tried", zorder=1)
    x, y, late = np.array(best, dtype=float).T
    dots = ax.scatter(
        x, 100 * y, c=late, cmap="viridis", s=40, edgecolor="black", linewidth=0.6, zorder=3,
        label="no other is better in all", vmin=float(latencies.min()), vmax=float(latencies.max()),
    )  # fmt: skip
    ax.figure.colorbar(dots, ax=ax, label="mean time until written [s]")
    ax.scatter(own[0], 100 * own[1], marker="x", color="#D55E00", s=60, zorder=4, label="as it is")
    if chosen is not None:
        ax.scatter(chosen[0], 100 * chosen[1], marker="o", facecolor="none", edgecolor="#D55E00", s=130, linewidth=1.6,
                   zorder=4, label="chosen")  # fmt: skip
    ax.set_xlabel("cost under the load [as it is = 100]")
    ax.set_ylabel("lost or stuck, worst case [%]")
    ax.set_ylim(bottom=-2)
    ax.set_title("Cost, loss and latency")
    note(ax, f"{len(cloud)} configurations")
    return legend(ax)

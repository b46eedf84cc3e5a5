"""Plots of an audit: what was promised beside what is predicted, and what each change does."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import StrMethodFormatter

from capsim.show.plots.canvas import bars, canvas, legend, styled

PROMISED, PREDICTED = "#E69F00", "#0072B2"
ROW_INCHES = 0.3


@styled
def ranges(claims: pd.DataFrame, title: str, xlabel: str, *, log: bool = False, ax: Axes | None = None) -> Axes:
    """The promised range of each claim as a bar, and what is predicted as a point with its interval.

    Parameters
    ----------
    claims : DataFrame
        Columns ``claim``, ``least``, ``most``, ``predicted``, ``predicted_low``, ``predicted_high``, as from
        `capsim.show.audit_page.tables`.
    """
    ax = _tall(ax, len(claims))
    names = claims["claim"].tolist()
    low, high, value = (claims[c].to_numpy(float) for c in ("predicted_low", "predicted_high", "predicted"))
    least, most = (claims[c].to_numpy(float) for c in ("least", "most"))
    ax.barh(names, most - least, 0.6, left=least, color=PROMISED, alpha=0.6, label="promised")
    ax.errorbar(value, names, xerr=[value - low, high - value], fmt="D", color=PREDICTED, markersize=4, capsize=3,
                label="predicted, over chance and page cache")  # fmt: skip
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    ax.grid(visible=True, axis="x")
    if log:
        ax.set_xscale("log")
    else:
        ax.set_xlim(left=min(-0.02 * float(most.max()), 1.1 * float(low.min())))  # a point at 0 is seen whole
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    ax.set_xlabel(xlabel)
    ax.set_title(title)
    return legend(ax)


@styled
def effects(
    changes: pd.DataFrame, figure: str, title: str, xlabel: str, *, sign: int = 1, ax: Axes | None = None
) -> Axes:
    """What each change saves of a figure, or adds to it: by itself, and when all others are made.

    Parameters
    ----------
    changes : DataFrame
        Columns ``family``, ``change``, ``figure``, ``saving``, ``half_width``.
    sign : {1, -1}
        -1 draws what is added.
    """
    own = changes[changes["figure"] == figure]
    alone, left = (own[own["family"] == family] for family in ("one at a time", "one left out"))
    ax = _tall(ax, 1.1 * len(alone))
    place = np.arange(len(alone))
    first, second = (sign * side["saving"].to_numpy(float) + 0.0 for side in (alone, left))
    error = alone["half_width"].astype(float).fillna(0.0)
    ax.barh(place - 0.2, first, 0.38, xerr=error, color=PREDICTED, label="by itself")
    ax.barh(place + 0.2, second, 0.38, color="white", edgecolor=PREDICTED, hatch="///",
            label="when all others are made")  # fmt: skip
    for row, value in zip(place, first, strict=True):
        reach = max(value, second[row], 0.0) + float(error.iloc[row])
        text = f"{value:,.0f}" if abs(value) >= 1_000 else f"{round(value, 1) + 0.0:,.1f}"
        ax.annotate(text, (reach, row), (4, 0), textcoords="offset points", va="center", fontsize=8)
    ax.set_yticks(place, alone["change"].tolist())
    return bars(ax, title, xlabel)


@styled
def in_order(changes: pd.DataFrame, figure: str, title: str, ylabel: str, ax: Axes | None = None) -> Axes:
    """A figure before the plan, and after each of its changes in turn."""
    ax = canvas(ax)
    own = changes[(changes["figure"] == figure) & (changes["family"] == "cumulative")]
    names = ["before", *(f"+ {name}" for name in own["change"])]
    values = [float(own["without"].iloc[0]), *own["with_change"].astype(float)]
    ax.bar(names, values, 0.7, color=[PROMISED, *[PREDICTED] * len(own)])
    for place, value in enumerate(values):
        ax.annotate(f"{value:,.1f}", (place, value), (0, 2), textcoords="offset points", ha="center", fontsize=8)
    ax.set_xticks(range(len(names)), names, rotation=35, ha="right")
    ax.set_ylim(0, 1.15 * max(values))
    ax.set_ylabel(ylabel)
    ax.set_title(title)
    return ax


def _tall(ax: Axes | None, rows: float) -> Axes:
    """An Axes with room for so many rows."""
    if ax is not None:
        return ax
    ax = canvas(None)
    drawing = ax.get_figure(root=True)
    assert drawing is not None
    drawing.set_figheight(max(2.4, 1.3 + ROW_INCHES * rows))
    return ax

"""What sweeps say: intervals over a key, which factors matter, and growth of the load."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from capsim.show.plots.canvas import bars, canvas, legend, note, styled

if TYPE_CHECKING:
    from capsim.study.sweeps.growth import Growth

MOST_BARS = 10
BASES = {
    "given": ("C0", "a key of the scenario"),
    "measured": ("C1", "a constant, within its residual"),
    "assumed": ("C3", "an assumed range"),
}


@styled
def sweep_means(means: pd.DataFrame, key: str, figure: str, ax: Axes | None = None) -> Axes:
    """A figure against a key, with its 95 % intervals; columns of `capsim.study.sweeps.means`."""
    ax = canvas(ax)
    for place, (name, part) in enumerate(_groups(means, key, figure)):
        ax.errorbar(
            part[key], part[figure], part["half_width"].fillna(0), color=f"C{place}", marker="o", markersize=3,
            capsize=3, linewidth=1.2, label=name,
        )  # fmt: skip
    ax.set_xlabel(key)
    ax.set_ylabel(figure)
    ax.set_title(f"{figure} by {key}")
    note(ax, "bars: 95 % intervals")
    return legend(ax)


def _groups(means: pd.DataFrame, key: str, figure: str) -> list[tuple[str, pd.DataFrame]]:
    others = [c for c in means.columns[1:] if c not in (key, figure, "half_width", "replicates")]
    if not others:
        return [("", means)]
    return [
        (", ".join(f"{o} {v}" for o, v in zip(others, values, strict=True)), part)
        for values, part in means.groupby(others, sort=False)
    ]


@styled
def sensitivities(table: pd.DataFrame, figure: str, unit: str, ax: Axes | None = None) -> Axes:
    """The factors that move a figure most, as bars; columns of `capsim.sensitivity`.

    Only factors with an effect are drawn, at most ten.
    """
    ax = canvas(ax)
    column, width = ("mu_star", "mu_star_half_width") if "mu_star" in table else ("ST", "ST_half_width")
    own = table[(table["figure"] == figure) & (table[column] > 0)].head(MOST_BARS)
    said: set[str] = set()
    for place, row in enumerate(own.to_dict("records")):
        colour, meaning = BASES[row["basis"]]
        label = meaning if meaning not in said else ""
        said.add(meaning)
        ax.barh(place, row[column], xerr=row[width], color=colour, capsize=2, label=label, error_kw={"linewidth": 0.8})
    ax.set_yticks(range(len(own)), own["factor"])
    what = "mean effect over its range" if column == "mu_star" else "total share of the variance"
    return bars(ax, f"What moves {figure}", f"{what} [{unit if column == 'mu_star' else '1'}]")


@styled
def load_growth(found: Growth, ax: Axes | None = None) -> Axes:
    """Usage and loss against load, with the limit and the knee; the answer of `capsim.growth`."""
    ax = canvas(ax)
    table = found.table
    ax.plot(table["factor"], table["usage_usd"], color="C0", marker="o", markersize=3, label="usage [USD], left")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylabel("usage [USD]")
    ax.set_xlabel("load, as a multiple of the scenario's")
    right = ax.twinx()
    right.plot(
        table["factor"], 100 * table["items_lost_share"], color="C3", marker="s", markersize=3, linestyle="--"
    )
    ax.plot([], [], color="C3", marker="s", markersize=3, linestyle="--", label="lost items [%], right")
    right.set_ylabel("lost items [%]")
    right.set_ylim(0, max(100 * float(table["items_lost_share"].max()) * 1.1, 1))
    right.grid(visible=False)
    if np.isfinite(found.fails_from):
        ax.axvspan(
            found.fails_from, float(table["factor"].max()), color="C3", alpha=0.08, linewidth=0,
            label=f"does not hold (from {found.fails_from:.3g} times)",
        )  # fmt: skip
    if found.knee is not None:
        ax.axvline(found.knee, color="0.4", linestyle=":", label=f"usage bends at {found.knee:g} times")
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    ax.xaxis.set_major_formatter(plain)
    ax.yaxis.set_major_formatter(plain)
    ax.set_title("Until what load it holds")
    return legend(ax)

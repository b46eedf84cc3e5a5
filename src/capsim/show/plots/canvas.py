"""What the plots have in common: the style, an Axes to begin with, lines and bands over time, limits, bars."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from matplotlib.transforms import ScaledTranslation

from capsim.base.errors import CapsimError
from capsim.base.files import write_bytes

P = ParamSpec("P")

STYLE = Path(__file__).parents[1] / "style" / "capsim.mplstyle"
QUIET = "0.3"  # grey of remarks
TALLEST = 2.5  # a limit more than this many times above the data is written, not drawn
_TIME_UNITS = (("days", 86_400, 3), ("h", 3_600, 3), ("min", 60, 3), ("s", 1, 0))  # unit, seconds, from how many


@cache
def _parameters() -> Any:  # matplotlib types its keys as literals
    return matplotlib.rc_params_from_file(STYLE, use_default_template=False)


@contextmanager
def style() -> Iterator[None]:
    """Draw in capsim's style, and leave the reader's own as it was."""
    # Not pyplot's own context: that undoes every parameter, also the one by which a notebook shows its figures, which
    # is set when the first of them is made.
    own: Any = {name: matplotlib.rcParams[name] for name in _parameters()}
    matplotlib.rcParams.update(_parameters())
    try:
        yield
    finally:
        matplotlib.rcParams.update(own)


def styled(function: Callable[P, Axes]) -> Callable[P, Axes]:
    """Make a function draw in `style`."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Axes:
        with style():
            return function(*args, **kwargs)

    return wrapper


def described(ending: str, alt: str) -> dict[str, str | None]:
    """What is written into a drawing's file beside the drawing: its description in words, for those who do not see it.

    No date and no program: the same numbers give the same bytes.
    """
    nothing: dict[str, str | None] = {"Date": None, "Creator": None} if ending == "svg" else {"Software": None}
    return nothing | ({"Description": alt} if alt else {})


def save(ax: Axes, folder: str | os.PathLike[str], name: str, alt: str = "") -> list[Path]:
    """Write the figure of an Axes as ``name.png`` and ``name.svg``.

    Parameters
    ----------
    ax : Axes
        From any function of `capsim.show.plots`.
    folder : path
        Made if it is absent.
    name : str
        Of the files, without an ending.
    alt : str
        What it shows, in words; by default its title and its axes.

    Returns
    -------
    list of Path
        The two files.

    Raises
    ------
    CapsimError
        If the name is none, or holds a folder.
    """
    if not name or Path(name).name != name:
        raise CapsimError(f"{name!r}: is no name for a figure; give one without folders and endings")
    title = ax.get_title("left") or ax.get_title()
    alt = alt or f"{title}: {ax.get_ylabel()} against {ax.get_xlabel()}."
    figure, place = ax.get_figure(root=True), Path(folder)
    assert figure is not None
    place.mkdir(parents=True, exist_ok=True)
    made = []
    with style():
        for ending in ("png", "svg"):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=ending, metadata=described(ending, alt))
            made.append(place / f"{name}.{ending}")
            write_bytes(made[-1], buffer.getvalue())
    return made


def canvas(ax: Axes | None) -> Axes:
    """The given Axes, or one of a new figure."""
    return plt.subplots()[1] if ax is None else ax


def line(
    ax: Axes, steps: pd.DataFrame, column: str, colour: str, style: str = "-", *, label: str = "", width: float = 1.4
) -> None:
    """A column against time, level within each step; NaN leaves a gap."""
    ax.stairs(steps[column], _edges(steps), baseline=None, color=colour, linestyle=style, label=label, linewidth=width)


def band(
    ax: Axes,
    steps: pd.DataFrame,
    low: str,
    high: str,
    colour: str,
    *,
    alpha: float = 0.25,
    hatch: str = "",
    label: str = "",
) -> None:
    """The space between two columns."""
    edges, bottom, top = (np.append(v, v[-1:]) for v in (_edges(steps)[:-1], steps[low], steps[high]))
    edges[-1] = _edges(steps)[-1]
    ax.fill_between(
        edges, bottom, top, step="post", alpha=alpha, hatch=hatch, label=label,
        facecolor=colour, edgecolor=colour if hatch else "none", linewidth=0,
    )  # fmt: skip


def band_key(ax: Axes, label: str) -> None:
    """One grey entry in the legend for bands of several colours."""
    ax.fill_between([], [], [], color="0.5", alpha=0.3, linewidth=0, label=label)


def hatch_gaps(ax: Axes, steps: pd.DataFrame, column: str) -> None:
    """Hatch the time in which a column has no data: it is unknown there, not zero."""
    absent = steps[column].isna().to_numpy()
    edges = _edges(steps)
    starts = np.flatnonzero(absent & ~np.roll(absent, 1) | absent & (np.arange(absent.size) == 0))
    for first in starts:
        there = np.flatnonzero(~absent[first:])
        last = first + there[0] if there.size else absent.size
        ax.axvspan(
            edges[first], edges[last], facecolor="none", edgecolor="0.6", hatch="////", linewidth=0,
            label="no data" if first == starts[0] else "",
        )  # fmt: skip


def limits(ax: Axes, lines: Mapping[str, float | None], unit: str) -> None:
    """Dashed lines at limits; those far above the data are only named."""
    given = {name: value for name, value in lines.items() if value is not None}
    reach = TALLEST * max(ax.dataLim.y1, 0)
    for name, value in given.items():
        if value <= reach:
            ax.axhline(value, color="black", linestyle=(0, (5, 3)), linewidth=1)
            ax.annotate(f"{name} {value:,.0f} {unit}", (1, value), (-2, 3), xycoords=("axes fraction", "data"),
                        textcoords="offset points", ha="right", fontsize=8)  # fmt: skip
    far = [f"{name} {value:,.0f} {unit}" for name, value in given.items() if value > reach]
    if far:
        note(ax, f"far above this axis: {', '.join(far)}")


def note(ax: Axes, text: str) -> None:
    """A remark in small grey type, at the end of the title's line."""
    ax.set_title(text, loc="right", fontsize=8, fontweight="normal", color=QUIET)


def over_time(ax: Axes, steps: pd.DataFrame, title: str, ylabel: str) -> Axes:
    """Title, axes with units, and a legend below the plot; call it last."""
    span_s = float(steps["time_s"].iloc[-1] + steps["width_s"].iloc[-1])
    unit, size_s = next((u, s) for u, s, least in _TIME_UNITS if span_s >= least * s)
    ax.set_xlim(0, span_s)
    readable = MaxNLocator(nbins=9, steps=[1, 2, 3, 5, 6, 10]).tick_values(0, span_s / size_s)
    ticks = [tick for tick in readable if 0 <= tick * size_s <= span_s]
    ax.set_xticks([tick * size_s for tick in ticks], [f"{tick:g}" for tick in ticks])
    top = max([ax.dataLim.y1, *(line.get_ydata()[0] for line in ax.get_lines())])  # type: ignore[index]
    ax.set_ylim(0, 1.1 * top if 0 < top < np.inf else 1)
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    ax.set_xlabel(f"time since the start of the load [{unit}]")
    ax.set_ylabel(ylabel)
    ax.set_title(title)
    return legend(ax)


def bars(ax: Axes, title: str, xlabel: str) -> Axes:
    """Title, axis with unit, and a legend, of horizontal bars, the first one on top; call it last."""
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    ax.grid(visible=True, axis="x")
    ax.set_xlim(0, 1.3 * max(ax.get_xlim()[1], 1e-9))  # room for the figures at the ends of the bars
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    ax.set_xlabel(xlabel)
    ax.set_title(title)
    return legend(ax)


def legend(ax: Axes) -> Axes:
    """The legend, below the axis and its label, where it hides nothing."""
    handles, labels = ax.get_legend_handles_labels()
    if labels:
        lines = 1 + ax.get_xlabel().count("\n")
        below = ScaledTranslation(0, -(22 + 13 * lines) / 72, ax.get_figure(root=True).dpi_scale_trans)  # type: ignore[union-attr]
        columns = 2 if max(map(len, labels)) > 22 else min(len(labels), 4)
        ax.legend(
            handles, labels, loc="upper left", ncols=columns, borderaxespad=0,
            bbox_to_anchor=(0, 0), bbox_transform=ax.transAxes + below,
        )  # fmt: skip
    return ax


def _edges(steps: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.append(steps["time_s"].to_numpy(), float(steps["time_s"].iloc[-1] + steps["width_s"].iloc[-1]))

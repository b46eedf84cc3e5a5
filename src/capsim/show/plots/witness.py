"""Model and running reference in one picture."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from capsim.show.plots.canvas import QUIET, styled
from capsim.show.plots.palette import BLUE, ORANGE


@styled
def buffers(
    model: NDArray[np.int64],
    reference: NDArray[np.int64],
    step_s: float,
    *,
    cap_rows: int | None = None,
    fault_s: tuple[float, float] | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """A buffer over time: the reference as a line, the model as dots on it.

    Parameters
    ----------
    model, reference : int64 arrays, shape (n,)
        Entries at each step [rows].
    step_s : float
        From one to the next [s].
    cap_rows : int, optional
        Drawn as a limit [rows].
    fault_s : (from_s, to_s), optional
        Shaded: when the database was disturbed [s].

    Examples
    --------
    >>> ax = buffers(np.arange(9), np.arange(9), 0.1, title="events")
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('time [s]', 'buffer [rows]')
    """
    ax = ax if ax is not None else plt.subplots(figsize=(6, 3))[1]
    time_s = np.arange(len(reference)) * step_s
    every = max(1, len(model) // 80)
    if fault_s is not None:
        ax.axvspan(*fault_s, color=QUIET, alpha=0.15, linewidth=0, label="database stalls")
    if cap_rows is not None:
        ax.axhline(cap_rows, color=QUIET, linestyle="--", linewidth=1, label=f"cap {cap_rows:,} rows")
    ax.plot(time_s, reference, color=BLUE, linewidth=1.5, label="running reference")
    ax.plot(time_s[::every], model[::every], ".", color=ORANGE, markersize=6, label="model")
    ax.set(xlabel="time [s]", ylabel="buffer [rows]", title=title)
    ax.set_ylim(bottom=0)
    ax.legend(loc="best")
    return ax


@styled
def waits(
    model_us: NDArray[np.int64], reference_us: NDArray[np.int64], *, title: str = "", ax: Axes | None = None
) -> Axes:
    """How many calls waited longer than so long: the reference as a line, the model as dots on it.

    Parameters
    ----------
    model_us, reference_us : int64 arrays
        Wait of each call [us], 0 for those that did not wait.

    Examples
    --------
    >>> ax = waits(np.array([0, 0, 4_000]), np.array([0, 0, 4_000]))
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('wait for a connection [ms]', 'calls that waited longer [%]')
    """
    ax = ax if ax is not None else plt.subplots(figsize=(6, 3))[1]
    for us, name, style in ((reference_us, "running reference", "-"), (model_us, "model", ".")):
        longest_first = np.sort(us)[::-1]
        longest_first = longest_first[longest_first > 0]
        longer = 100 * np.arange(len(longest_first)) / max(1, len(us))
        # Dots evenly along the curve: most calls wait little, and their dots would be one blot.
        at = np.unique(np.linspace(0, len(longest_first) - 1, 40).astype(int)) if style == "." else slice(None)
        ax.plot(
            longest_first[at] / 1_000, longer[at], style,
            color=ORANGE if style == "." else BLUE, linewidth=1.5, markersize=6, label=name,
        )  # fmt: skip
    ax.set(xlabel="wait for a connection [ms]", ylabel="calls that waited longer [%]", title=title)
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0)
    ax.legend(loc="best")
    return ax

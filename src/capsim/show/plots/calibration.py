"""Measured and predicted memory of a recording, and what lies between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from capsim.show.plots.canvas import canvas, legend, styled

if TYPE_CHECKING:
    from capsim.telemetry.calibration import Calibration
    from capsim.workload.recordings import Recording

Floats = NDArray[np.float64]

MOST_POINTS = 150
PARTS = ("fitted", "held out")


@styled
def calibration_series(found: Calibration, ax: Axes | None = None) -> Axes:
    """Resident memory as measured, means of up to 150 intervals, with the predicted band of 90 %.

    The band holds the chance of the heap and the uncertainty of the constants; not what the model gets wrong.
    """
    ax = canvas(ax)
    unit, size_s = _unit(found.recording.span_s)
    for part, colour in zip(PARTS, _colours(), strict=False):
        for first, (time_s, seen, runs) in enumerate(_pieces(found, part)):
            low, high = np.quantile(runs, [0.05, 0.95], axis=0)
            ax.fill_between(
                time_s / size_s, low, high, color=colour, alpha=0.35, linewidth=0,
                label=f"predicted, 90 % ({part})" if not first else "",
            )  # fmt: skip
            ax.plot(time_s / size_s, seen, color="black", linewidth=1,
                    label="measured" if not first and part == "fitted" else "")  # fmt: skip
    ax.axvline(found.cut_s / size_s, color="0.4", linestyle=(0, (5, 3)), linewidth=1)
    ax.set(ylabel="resident memory [MiB]", title="Measured, and predicted from the fitted constants")
    ax.set_xlabel(f"time since the first sample [{unit}]")
    ax.set_ylim(bottom=0)
    return legend(ax)


@styled
def calibration_residuals(found: Calibration, ax: Axes | None = None) -> Axes:
    """Measured less predicted resident memory, in the same intervals."""
    ax = canvas(ax)
    unit, size_s = _unit(found.recording.span_s)
    for part, colour in zip(PARTS, _colours(), strict=False):
        for first, (time_s, seen, runs) in enumerate(_pieces(found, part)):
            ax.plot(time_s / size_s, seen - np.median(runs, axis=0), ".", markersize=4, color=colour,
                    label=part if not first else "")  # fmt: skip
    ax.axhline(0.0, color="black", linewidth=0.8)
    ax.axvline(found.cut_s / size_s, color="0.4", linestyle=(0, (5, 3)), linewidth=1)
    ax.set(ylabel="difference [MiB]", title="Measured less predicted")
    ax.set_xlabel(f"time since the first sample [{unit}]")
    return legend(ax)


@styled
def calibration_usage(found: Calibration, number: int = 0, ax: Axes | None = None) -> Axes:
    """One of Railway's metrics as measured, less what is not fitted, and the fitted line through it.

    Parameters
    ----------
    number : int
        Which of ``found.usage``.
    """
    ax = canvas(ax)
    unit, size_s = _unit(found.recording.span_s)
    fit = found.usage[number]
    ax.plot(
        fit.time_s / size_s, fit.measured, ".", markersize=3, color="black", label="measured, less what is not fitted"
    )
    for part, colour, inside in zip(
        PARTS, _colours(), (fit.time_s <= found.cut_s, fit.time_s > found.cut_s), strict=False
    ):
        ax.plot(fit.time_s[inside] / size_s, fit.fitted[inside], color=colour, linewidth=1.5, label=f"model ({part})")
    ax.axvline(found.cut_s / size_s, color="0.4", linestyle=(0, (5, 3)), linewidth=1)
    ax.set(ylabel=f"[{fit.unit}]", title=fit.figure[0].upper() + fit.figure[1:])
    ax.set_xlabel(f"time since the first sample [{unit}]")
    return legend(ax)


@styled
def recorded_rates(recording: Recording, ax: Axes | None = None) -> Axes:
    """Arrivals a second of each stream, from the counters, means of up to 100 intervals."""
    from capsim.workload.recordings.load import arrivals

    ax = canvas(ax)
    unit, size_s = _unit(recording.span_s)
    for number, part in enumerate(arrivals(recording)):
        if len(part.time_s) < 3:
            continue
        edges = np.linspace(part.time_s[0], part.time_s[-1], min(100, len(part.time_s) // 4 + 2))
        for (stream, told), colour in zip(part.arrived.items(), _colours(), strict=False):
            rate = np.diff(np.interp(edges, part.time_s, told)) / np.diff(edges)
            ax.stairs(rate, edges / size_s, baseline=None, color=colour, linewidth=1.4,
                      label=stream if not number else "")  # fmt: skip
    ax.set(ylabel="arrivals [1/s]", title="Load, from the counters")
    ax.set_xlabel(f"time since the first sample [{unit}]")
    ax.set_ylim(bottom=0)
    return legend(ax)


def _pieces(found: Calibration, part: str) -> Iterator[tuple[Floats, Floats, Floats]]:
    """Time, measured and simulated resident memory, averaged, stretch by stretch."""
    if part not in found.simulated:
        return
    time_s, seen, runs = (found.simulated[name] for name in (f"{part} time_s", f"{part} measured", part))
    width = max(1, len(time_s) // MOST_POINTS)
    gaps = np.flatnonzero(np.diff(time_s) > 60 + 5 * np.median(np.diff(time_s))) + 1
    for piece in np.split(np.arange(len(time_s)), gaps):
        cuts = np.arange(0, len(piece), width)
        counts = np.diff(np.append(cuts, len(piece)))

        mean = [np.add.reduceat(v[..., piece], cuts, axis=-1) / counts for v in (time_s, seen[0], runs[:, 0])]
        yield mean[0], mean[1], mean[2]


def _colours() -> list[str]:
    """Of the style in force: names such as C1 would be looked up when it no longer is."""
    return [entry["color"] for entry in matplotlib.rcParams["axes.prop_cycle"]]


def _unit(span_s: float) -> tuple[str, float]:
    return next((u, s) for u, s, n in (("days", 86_400.0, 3), ("h", 3_600.0, 3), ("min", 60.0, 0)) if span_s >= n * s)

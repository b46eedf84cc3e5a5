"""Plots of a recorded load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import StrMethodFormatter

from capsim.base.units import US_PER_MINUTE, US_PER_S
from capsim.results.series import step_s
from capsim.show.plots.canvas import band, canvas, hatch_gaps, legend, line, over_time, styled
from capsim.show.plots.palette import BLUE
from capsim.show.plots.sides import looks
from capsim.workload.description import binned

if TYPE_CHECKING:
    from capsim.workload import Trace

SCALES = (1, 2, 5, 10, 20, 30, 60)  # minutes


def rates(trace: Trace) -> pd.DataFrame:
    """Request rate of a trace in at most 750 steps.

    Returns
    -------
    DataFrame
        ``time_s`` and ``width_s`` since the start, ``requests_hz`` (NaN where there is no data) and
        ``requests_hz_max``, that of the busiest minute (or of the trace's own wider bin) of the step.
    """
    fine_us = max(US_PER_MINUTE, trace.width_us)
    step_us = max(step_s(trace.span_us / US_PER_S) * US_PER_S // fine_us, 1) * fine_us
    cells = -(-trace.span_us // fine_us)
    at = trace.bin_start_us if trace.kind == "counts" else trace.times_us
    weights = trace.counts if trace.kind == "counts" else np.ones(at.size)
    requests = np.bincount((at - trace.start_us) // fine_us, weights, cells)
    begin_us = np.arange(cells) * fine_us
    width_us = np.minimum(fine_us, trace.span_us - begin_us).astype(np.float64)
    for from_us, to_us in trace.gaps:
        low, high = from_us - trace.start_us, to_us - trace.start_us
        width_us -= np.clip(np.minimum(begin_us + fine_us, high) - np.maximum(begin_us, low), 0, None)
    known = pd.DataFrame({"step": begin_us // step_us, "requests": requests, "width_s": width_us / US_PER_S})
    known["rate"] = np.where(known["width_s"] > 0, known["requests"] / known["width_s"].clip(lower=1e-9), np.nan)
    groups = known.groupby("step")
    mean = groups["requests"].sum() / groups["width_s"].sum().where(lambda width: width > 0)
    time_s = mean.index.to_numpy() * step_us / US_PER_S
    width_s = np.minimum(step_us / US_PER_S, trace.span_us / US_PER_S - time_s)
    return pd.DataFrame({
        "time_s": time_s,
        "width_s": width_s,
        "requests_hz": mean.to_numpy(),
        "requests_hz_max": groups["rate"].max().to_numpy(),
    })  # fmt: skip


@styled
def rate(trace: Trace | Mapping[str, Trace], ax: Axes | None = None) -> Axes:
    """Request rate of one trace or of several against time; time without data is hatched.

    Parameters
    ----------
    trace : Trace or mapping of str to Trace
        With several, each has its own colour and line, and begins at 0.
    """
    ax = canvas(ax)
    if isinstance(trace, Mapping):
        tables = {name: rates(one) for name, one in trace.items()}
        for name, (colour, style) in looks(tables).items():
            line(ax, tables[name], "requests_hz", colour, style, label=name)
        longest = max(tables.values(), key=lambda table: float(table["time_s"].iloc[-1]))
        return over_time(ax, longest, "Load", "requests [1/s]")
    table = rates(trace)
    band(ax, table, "requests_hz", "requests_hz_max", BLUE, alpha=0.35, label="up to the busiest minute")
    line(ax, table, "requests_hz", BLUE, label="mean")
    hatch_gaps(ax, table, "requests_hz")
    return over_time(ax, table, f"Load {trace.name}", "requests [1/s]")


def dispersions(trace: Trace) -> pd.DataFrame:
    """Variance / mean of the requests per bin, for bins from a minute to an hour that the trace allows.

    Returns
    -------
    DataFrame
        Columns ``width_min``; ``dispersion``, of all bins; ``dispersion_local``, what is left of it between
        neighbouring bins: from second differences, which a straight trend leaves at zero. A Poisson process of
        constant rate has 1 in both, one whose rate follows the day 1 in the second only. NaN without three bins
        in a row.

    Examples
    --------
    >>> from capsim.workload import Trace
    >>> ramp = Trace.from_counts("ramp", [0, 60_000_000, 120_000_000, 180_000_000], [10, 20, 30, 40], 60_000_000)
    >>> dispersions(ramp).head(1).values.tolist()
    [[1.0, 5.0, 0.0]]
    """
    rows = []
    for minutes in SCALES:
        width_us = minutes * US_PER_MINUTE
        bins = binned(trace, width_us)
        if bins is None or bins.mean == 0:
            continue
        place = (bins.start_us - bins.start_us[0]) // width_us
        absent = 0 if trace.kind == "events" else np.nan  # a bin without stamps is empty, one without a row is unknown
        dense = np.full(int(place[-1]) + 1, absent, np.float64)
        dense[place] = bins.counts
        squares = np.diff(dense, 2) ** 2
        squares = squares[np.isfinite(squares)]
        local = squares.mean() / 6 / bins.mean if squares.size else np.nan
        rows.append((float(minutes), bins.dispersion, local))
    return pd.DataFrame(rows, columns=["width_min", "dispersion", "dispersion_local"])


@styled
def dispersion(traces: Mapping[str, Trace], ax: Axes | None = None) -> Axes:
    """Variance / mean of counts against the width of the bin, with and without the trend; see `dispersions`.

    Parameters
    ----------
    traces : mapping of str to Trace
        Several loads by name.
    """
    ax = canvas(ax)
    for name, (colour, style) in looks(traces).items():
        table = dispersions(traces[name])
        drawn = (("dispersion", "full", name), ("dispersion_local", "none", f"{name}, less its trend"))
        for column, fill, label in drawn:
            ax.plot(
                table["width_min"], table[column], color=colour, linestyle=style,
                marker="o", markersize=4, fillstyle=fill, label=label,
            )  # fmt: skip
    ax.axhline(1, color="black", linestyle=(0, (5, 3)), linewidth=1, label="Poisson process of constant rate")
    ax.set(xscale="log", yscale="log", xlabel="width of the bin [min]", ylabel="variance / mean of counts")
    ax.set_xticks(SCALES, [str(minutes) for minutes in SCALES])
    ax.minorticks_off()
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    ax.set_title("Dispersion")
    return legend(ax)

"""Plots of a recorded load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import StrMethodFormatter

from capsim.plots.canvas import band, canvas, hatch_gaps, legend, line, over_time, styled
from capsim.plots.run import BLUE
from capsim.plots.sides import looks
from capsim.series import step_s
from capsim.trace.describe import binned
from capsim.units import US_PER_MINUTE, US_PER_S

if TYPE_CHECKING:
    from capsim.trace import Trace

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
        Columns ``width_min``, ``dispersion``.
    """
    found = {minutes: binned(trace, minutes * US_PER_MINUTE) for minutes in SCALES}
    rows = [(minutes, bins.dispersion) for minutes, bins in found.items() if bins is not None and bins.mean > 0]
    return pd.DataFrame(rows, columns=["width_min", "dispersion"])


@styled
def dispersion(traces: Mapping[str, Trace], ax: Axes | None = None) -> Axes:
    """Variance / mean of counts against the width of the bin; a Poisson process of constant rate lies at 1.

    Parameters
    ----------
    traces : mapping of str to Trace
        Several loads by name.
    """
    ax = canvas(ax)
    for name, (colour, style) in looks(traces).items():
        table = dispersions(traces[name])
        ax.plot(table["width_min"], table["dispersion"], color=colour, linestyle=style, marker="o", ms=4, label=name)
    ax.axhline(1, color="black", linestyle=(0, (5, 3)), linewidth=1, label="Poisson process of constant rate")
    ax.set(xscale="log", yscale="log", xlabel="width of the bin [min]", ylabel="variance / mean of counts")
    ax.set_xticks(SCALES, [str(minutes) for minutes in SCALES])
    ax.minorticks_off()
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    ax.set_title("Dispersion")
    return legend(ax)

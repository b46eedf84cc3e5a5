"""Plots of one run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.axes import Axes

from capsim.scenario.workload import STREAMS
from capsim.show.plots.canvas import (
    QUIET,
    band,
    band_key,
    bars,
    canvas,
    hatch_gaps,
    limits,
    line,
    note,
    over_time,
    styled,
)
from capsim.show.plots.palette import BLUE, GREEN, ORANGE, PINK, SKY, VERMILLION
from capsim.show.plots.steps import Caps, steps

if TYPE_CHECKING:
    from capsim.results.run import Run
    from capsim.results.window_tables import Window

SERVICES = {"server": (BLUE, ""), "postgres": (ORANGE, "///"), "redis": (PINK, "...")}  # colour, hatch
LINES = {
    "memory": (BLUE, ""),
    "cpu": (ORANGE, "///"),
    "egress": (GREEN, "..."),
    "volume": (PINK, "\\\\\\"),
    "backups": (SKY, "xxx"),
}
WRITERS = {"events": (BLUE, "-"), "revenue": (VERMILLION, "--"), "heartbeats": (GREEN, "-.")}  # colour, line


@styled
def load(steps: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Requests per second against time; the busiest minute of each step as a band, time without data hatched."""
    ax = canvas(ax)
    band(ax, steps, "requests_hz", "requests_hz_max", BLUE, alpha=0.35, label="up to the busiest minute")
    line(ax, steps, "requests_hz", BLUE, label="mean")
    hatch_gaps(ax, steps, "requests_hz")
    return over_time(ax, steps, "Load", "requests [1/s]")


@styled
def memory(steps: pd.DataFrame, caps: Caps | None = None, ax: Axes | None = None) -> Axes:
    """Memory of the server against time: resident set with its peaks, heap, and the bracket of what is billed.

    Parameters
    ----------
    steps : DataFrame
        From `capsim.show.plots.steps`.
    caps : Caps, optional
        Heap cap and container limit.
    """
    ax, caps = canvas(ax), caps or Caps()
    billed = ("server_billed_lower_mib", "server_billed_upper_mib")
    steps = caps.each(steps, (*billed, "server_billed_mib", "server_rss_mib", "server_heap_mib"))
    band(ax, steps, *billed, ORANGE, alpha=0.3, hatch="///", label="billed: least to most page cache")
    line(ax, steps, "server_billed_mib", ORANGE, ":", label="billed: expected")
    band(ax, steps, "server_rss_mib", "server_rss_mib_max", BLUE, alpha=0.4, label="resident set: mean to peak")
    line(ax, steps, "server_rss_mib", BLUE, label="resident set: mean")
    line(ax, steps, "server_heap_mib", GREEN, "--", label="V8 heap, in the resident set")
    limits(ax, {"heap cap": caps.heap_mib, "container limit": caps.container_mib}, "MiB")
    return over_time(ax, steps, f"Memory of the server{caps.of_each}", "memory [MiB]")


@styled
def services(steps: pd.DataFrame, caps: Caps | None = None, ax: Axes | None = None) -> Axes:
    """Billed memory of the three services against time, with the bracket of the page cache."""
    ax = canvas(ax)
    for (service, (colour, _)), style in zip(SERVICES.items(), ("-", "--", ":"), strict=True):
        band(ax, steps, f"{service}_billed_lower_mib", f"{service}_billed_upper_mib", colour)
        line(ax, steps, f"{service}_billed_mib", colour, style, label=f"{service}, expected")
    band_key(ax, "least to most page cache")
    caps = caps or Caps()
    server = caps.container_mib and caps.replicas * caps.container_mib
    whose = "server" if caps.replicas == 1 else f"all {caps.replicas} replicas"
    both = server is not None and server == caps.postgres_mib
    apart = {f"limit of {whose}": server, "limit of postgres": caps.postgres_mib}
    limits(ax, {"limit of each service": server} if both else apart, "MiB")
    return over_time(ax, steps, "Billed memory of the services", "memory [MiB]")


@styled
def buffers(steps: pd.DataFrame, caps: Caps | None = None, ax: Axes | None = None) -> Axes:
    """Items in the buffer of each writer against time, mean and peak, with the cap."""
    ax, caps = canvas(ax), caps or Caps()
    steps = caps.each(steps, [f"{writer}_buffer_rows" for writer in WRITERS])
    for writer, (colour, style) in WRITERS.items():
        name = f"{writer}_buffer_rows"
        band(ax, steps, name, f"{name}_max", colour)
        line(ax, steps, f"{name}_max", colour, style, label=f"{writer}: peak")
    band_key(ax, "mean to peak")
    by_cap: dict[int, list[str]] = {}
    for writer, rows in caps.buffer_rows.items():
        by_cap.setdefault(rows, []).append(writer)
    names = {
        rows: "cap" if len(writers) == len(STREAMS) else f"cap of {', '.join(writers)}"
        for rows, writers in by_cap.items()
    }
    limits(ax, {names[rows]: rows for rows in names}, "items")
    return over_time(ax, steps, f"Buffers of the writers{caps.of_each}", "buffered [items]")


@styled
def levels(
    samples: pd.DataFrame, columns: Mapping[str, str], title: str, ylabel: str, ax: Axes | None = None
) -> Axes:
    """Columns of the samples against time, bin by bin, for the parts that have no plot of their own.

    Parameters
    ----------
    samples : DataFrame
        Columns of `capsim.scenario.columns.SAMPLES`, or others of the same rows beside ``time_s`` and ``width_s``.
    columns : mapping of str to str
        What to draw, at most six, and what each is called in the legend.
    title, ylabel : str
        With the unit in brackets.
    """
    ax = canvas(ax)
    colours = (BLUE, VERMILLION, GREEN, ORANGE, PINK, SKY)
    styles = ("-", "--", "-.", ":", "-", "--")
    for (column, label), colour, style in zip(columns.items(), colours, styles, strict=False):
        line(ax, samples, column, colour, style, label=label)
    return over_time(ax, samples, title, ylabel)


@styled
def losses(steps: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Items lost per second against time, by writer; says so when there are none."""
    ax = canvas(ax)
    for writer, (colour, style) in WRITERS.items():
        name = f"{writer}_lost_hz"
        band(ax, steps, name, f"{name}_max", colour)
        line(ax, steps, f"{name}_max", colour, style, label=f"{writer}: busiest minute")
    if not any(steps[f"{writer}_lost_hz_max"].gt(0).any() for writer in WRITERS):
        ax.text(0.5, 0.5, "no item is lost", transform=ax.transAxes, ha="center", va="center", color=QUIET)
    return over_time(ax, steps, "Losses", "lost [items/s]")


@styled
def bill(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """The bill: usage of each service stacked by line, the bracket of the page cache, and what is to be paid.

    Parameters
    ----------
    table : DataFrame
        Columns of `capsim.scenario.columns.BILL`.
    """
    ax = canvas(ax)
    reached = dict.fromkeys(SERVICES, 0.0)
    for name, (colour, hatch) in LINES.items():
        usd = {service: usage_usd(table, service, name) for service in SERVICES}
        if any(usd.values()):
            ax.barh(
                list(SERVICES), list(usd.values()), left=list(reached.values()),
                color=colour, hatch=hatch, edgecolor="white", label=name,
            )  # fmt: skip
        reached = {service: reached[service] + usd[service] for service in SERVICES}
    total = table[table["line"] == "total"].iloc[0]
    ax.barh(["to pay"], [total["amount_usd"]], color="0.45")
    rows = [tuple(usage_usd(table, s, column=c) for c in _BRACKET) for s in SERVICES]
    for row, (lower, amount, upper) in enumerate([*rows, tuple(float(total[c]) for c in _BRACKET)]):
        price_tag(ax, row, lower, amount, upper, reach=max(amount, upper))
    missing = table.loc[table["basis"] == "not modelled", ["service", "line"]].agg(" ".join, axis=1)
    if len(missing):
        note(ax, f"not in it: {', '.join(missing)} (not modelled)")
    return bars(ax, "Bill", "usage by service, and what is to be paid [USD]")


_BRACKET = ("lower_usd", "amount_usd", "upper_usd")


def usage_usd(table: pd.DataFrame, service: str, line: str | None = None, column: str = "amount_usd") -> float:
    """What the lines of a service, or one of them, come to [USD]; what is not modelled counts as nothing."""
    mine = table[table["service"] == service]
    return float((mine if line is None else mine[mine["line"] == line])[column].fillna(0).sum())


def price_tag(ax: Axes, row: int, lower: float, amount: float, upper: float, *, reach: float, label: str = "") -> None:
    """An amount written at the end of its bar, with its bracket as a whisker."""
    text = f"{amount:,.2f} USD"
    if upper > lower:
        ax.errorbar(
            amount, row, xerr=[[amount - lower], [upper - amount]], color="black", capsize=4,
            linewidth=1, marker="D", markersize=4, linestyle="none", label=label,
        )  # fmt: skip
        text += f"\n({lower:,.2f} to {upper:,.2f})"
    ax.annotate(text, (reach, row), (9, 0), textcoords="offset points", va="center", fontsize=8)


class WindowPlots(ABC):
    """Plots of what happened in a window: each method takes an Axes or makes one, and returns it."""

    def __init__(self, caps: Caps) -> None:
        self._caps = caps

    @abstractmethod
    def steps(self) -> pd.DataFrame:
        """What is drawn over time; see `capsim.show.plots.steps`."""

    @abstractmethod
    def _bill(self) -> pd.DataFrame:
        """The bill of the window."""

    def load(self, ax: Axes | None = None) -> Axes:
        """Request rate; see `capsim.show.plots.load`."""
        return load(self.steps(), ax)

    def memory(self, ax: Axes | None = None) -> Axes:
        """Memory of the server; see `capsim.show.plots.memory`."""
        return memory(self.steps(), self._caps, ax)

    def services(self, ax: Axes | None = None) -> Axes:
        """Billed memory of the services; see `capsim.show.plots.services`."""
        return services(self.steps(), self._caps, ax)

    def buffers(self, ax: Axes | None = None) -> Axes:
        """Buffers of the writers; see `capsim.show.plots.buffers`."""
        return buffers(self.steps(), self._caps, ax)

    def losses(self, ax: Axes | None = None) -> Axes:
        """Losses by writer; see `capsim.show.plots.losses`."""
        return losses(self.steps(), ax)

    def bill(self, ax: Axes | None = None) -> Axes:
        """The bill of the window; see `capsim.show.plots.bill`."""
        return bill(self._bill(), ax)


class RunPlots(WindowPlots):
    """Plots of one run.

    Parameters
    ----------
    run : Run
        From `capsim.simulate`.
    window : {"trace", "month"}
        The load as given, or the billed month.
    """

    def __init__(self, run: Run, window: Window = "trace") -> None:
        super().__init__(Caps.of(run.scenario))
        self._run = run
        self._window: Window = window

    @property
    def month(self) -> RunPlots:
        """The same plots over the billed month."""
        return RunPlots(self._run, "month")

    def steps(self) -> pd.DataFrame:
        """What is drawn over time; see `capsim.show.plots.steps`."""
        return steps(self._run.window(self._window))

    def levels(self, columns: Mapping[str, str], title: str, ylabel: str, ax: Axes | None = None) -> Axes:
        """Columns of the samples against time; see `capsim.show.plots.levels`."""
        return levels(self._run.window(self._window), columns, title, ylabel, ax)

    def _bill(self) -> pd.DataFrame:
        return self._run.bill(self._window)

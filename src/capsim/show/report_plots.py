"""The figures of a report: drawn from result documents, named, described in words, and the same bytes every time."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import pandas as pd

from capsim.base.amounts import number, span
from capsim.base.units import BILLED_MONTH_MINUTES
from capsim.results.document import Result
from capsim.results.window_tables import Window
from capsim.scenario.columns import SERVICES
from capsim.scenario.workload import STREAMS
from capsim.show import plots
from capsim.show.headline import bill_window, metric, named, stressed, total

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("svg", "png")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One drawing.

    Attributes
    ----------
    name : str
        Of the file, without its ending.
    section : {"memory", "losses", "stress", "bill"}
        Where it belongs.
    alt : str
        What it shows, for those who do not see it.
    images : mapping
        Bytes of the drawing as ``svg`` and ``png``.
    """

    name: str
    section: str
    alt: str
    images: Mapping[str, bytes]

    @property
    def url(self) -> str:
        """The drawing itself as an address, so that a page needs no other file."""
        return f"data:image/png;base64,{base64.b64encode(self.images['png']).decode()}"


def figures(results: Sequence[Result]) -> list[Figure]:
    """All figures of a report.

    Parameters
    ----------
    results : sequence of Result
        One, or several side by side.

    Returns
    -------
    list of Figure
        Memory over the load and billed memory over the longest window; load, buffers, and losses where there are
        any; stress; the bill. With several results the ones that compare them come first.
    """
    return [*_memory(results), *_losses(results), *_stress(results), *_bill(results)]


def file_name(*parts: str) -> str:
    """A name for a file from the names of things.

    Examples
    --------
    >>> file_name("services", "my server/v2"), file_name("stress", "")
    ('services_my-server-v2', 'stress')
    """
    return "_".join(re.sub(r"[^\w.-]+", "-", part).strip("-.") or "x" for part in parts if part)


def _memory(results: Sequence[Result]) -> Iterator[Figure]:
    window = bill_window(results)
    if len(results) > 1:
        told = "; ".join(f"{named(r)} {number(metric(r, 'server_rss_mean'), 'MiB')} MiB" for r in results)
        alt = f"Line plot of the server's resident memory over the load. Means: {told}."
        sides = {result.name: _steps(result, "trace") for result in results}
        yield drawn("compare_memory", "", "memory", alt, lambda: plots.compare_memory(sides))
    for result in results:
        caps = plots.Caps.of_document(result.provenance)
        mean, peak = metric(result, "server_rss_mean"), metric(result, "server_rss_peak")
        alt = (
            f"Line plot of the server's memory in {named(result)} over {span(result.trace_span_s)}: resident set "
            f"{number(mean, 'MiB')} MiB on average, {number(peak, 'MiB')} MiB at most, with heap and billed bracket."
        )
        yield drawn("memory", result.name, "memory", alt, plots.memory, _steps(result, "trace"), caps)
        told = "; ".join(f"{s} {number(metric(result, f'{s}_billed_mean', window), 'MiB')} MiB" for s in SERVICES)
        alt = f"Line plot of the billed memory in {named(result)} over {_words(result, window)}. Means: {told}."
        yield drawn("services", result.name, "memory", alt, plots.services, _steps(result, window), caps)


def _losses(results: Sequence[Result]) -> Iterator[Figure]:
    alike = all(result.provenance.get("load") == results[0].provenance.get("load") for result in results)
    for result in results[: 1 if alike else None]:
        mean, peak = metric(result, "request_rate_mean"), metric(result, "request_rate_peak_minute")
        alt = (
            f"Line plot of the load over {span(result.trace_span_s)}: {number(mean, '1/s')} requests a second on "
            f"average, {number(peak, '1/s')} in the busiest minute."
        )
        yield drawn("load", "" if alike else result.name, "losses", alt, plots.load, _steps(result, "trace"))
    for result in results:
        caps = plots.Caps.of_document(result.provenance)
        peaks = [f"{s} {number(metric(result, f'{s}_buffer_peak'), 'items')}" for s in STREAMS]
        alt = f"Line plot of the items in the writers' buffers in {named(result)}. Peaks: {'; '.join(peaks)}."
        yield drawn("buffers", result.name, "losses", alt, plots.buffers, _steps(result, "trace"), caps)
        lost = metric(result, "items_lost")
        if lost:  # an empty plot says less than the sentence on the page
            alt = f"Line plot of the items lost per second in {named(result)}, {number(lost, 'items')} in all."
            yield drawn("losses", result.name, "losses", alt, plots.losses, _steps(result, "trace"))


def _stress(results: Sequence[Result]) -> Iterator[Figure]:
    sides = {result.name: result.table("stress") for result in results if result.stress}
    if sides:
        tests = dict.fromkeys(row.test for result in results for row in result.stress)
        told = [
            f"{named(result)} {number(stressed(result, test, 'items_lost'), 'items')} in the {test}"
            for result in results
            for test in tests
        ]
        alt = f"Bars of the items lost or stuck under stress. Lost: {'; '.join(told)}."
        yield drawn("stress", "", "stress", alt, lambda: plots.compare_stress(sides))


def _bill(results: Sequence[Result]) -> Iterator[Figure]:
    window = bill_window(results)
    billed = [(result, paid) for result in results if (paid := total(result, window)) is not None]
    if len(billed) > 1:
        told = "; ".join(f"{named(result)} {number(paid[0], 'USD')} USD" for result, paid in billed)
        alt = f"Bars of the bills: usage by service, and what is to be paid: {told}."
        sides = {result.name: result.table("bill", window) for result, _ in billed}
        yield drawn("compare_bill", "", "bill", alt, lambda: plots.compare_bill(sides))
    for result, paid in billed:
        alt = (
            f"Bars of the bill of {named(result)} by service and line; to pay {number(paid[0], 'USD')} USD "
            f"({number(paid[1], 'USD')} to {number(paid[2], 'USD')} USD by page cache)."
        )
        yield drawn("bill", result.name, "bill", alt, plots.bill, result.table("bill", window))


def drawn(kind: str, side: str, section: str, alt: str, plot: Callable[..., Axes], *tables: object) -> Figure:
    """One figure: a plot drawn as every format, the same bytes each time."""
    ax = plot(*tables)
    drawing = ax.get_figure(root=True)
    assert drawing is not None
    images = {}
    with plots.style():
        if side:
            ax.set_title(f"{ax.get_title('left')}, {side}", loc="left")
        drawing.draw_without_rendering()  # lays it out, which is half of the work, once for both formats
        drawing.set_layout_engine("none")
        for ending in FORMATS:
            buffer = io.BytesIO()
            drawing.savefig(buffer, format=ending, metadata=plots.described(ending, alt))
            images[ending] = buffer.getvalue()
    plt.close(drawing)
    return Figure(name=file_name(kind, side), section=section, alt=alt, images=images)


def _steps(result: Result, window: Window) -> pd.DataFrame:
    span_s = BILLED_MONTH_MINUTES * 60 if window == "month" else result.trace_span_s
    return plots.steps_of(result.series[window], span_s)


def _words(result: Result, window: Window) -> str:
    return "a month" if window == "month" else span(result.trace_span_s)

"""A search for people: text for a terminal, and one HTML page with the Pareto front."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from capsim.base.amounts import number
from capsim.base.files import write_text
from capsim.show.console import WIDTH
from capsim.show.findings_page import chanced, quantity, targets_table
from capsim.show.pages import render
from capsim.show.plots.optimize import Triple, front
from capsim.show.report import Cell, Table
from capsim.show.report_plots import drawn
from capsim.study.optimize.document import Optimum, Point

MOST_ROWS = 8  # of the front, told on the terminal


def answer(found: Optimum) -> str:
    """The page in one or two sentences."""
    own = f"{number(found.own.cost_usd, 'USD')} USD a month as it is"
    if found.best is None:
        ways = "; ".join(
            f"{w.target} (best {quantity(w.best, w.unit)}, {w.limit}; met by {w.met_by} of {len(found.cloud)})"
            for w in found.in_the_way
        )
        none = f"none of {found.tried} configurations meets all targets of {found.slo!r}"
        return f"{found.name}: {none}; it costs {own}. In the way: {ways}."
    best = found.best
    changes = told(best) or "nothing to change"
    margins = [(t.margin, t.target) for t in found.targets if t.margin is not None]
    margin = f" Its narrowest margin: {min(margins)[1]}, {min(margins)[0]:+.0%}." if margins else ""
    chance = f" {chanced(found.chance)[0].upper()}{chanced(found.chance)[1:]}." if found.chance else ""
    return (
        f"{found.name}: the cheapest of {found.tried} configurations that meets the targets of {found.slo!r} costs "
        f"{number(best.cost_usd, 'USD')} USD a month ({own}): {changes}.{margin}{chance}"
    )


def told(point: Point) -> str:
    """The changes of a configuration in words."""
    return ", ".join(_change(name, value) for name, value in point.changes.items())


def _change(name: str, value: str) -> str:
    """A knob and its value, with its unit behind a number.

    Examples
    --------
    >>> _change("pool timeout [s]", "5.0"), _change("memory limit of the server [MiB]", "plan")
    ('pool timeout 5 s', 'memory limit of the server plan')
    """
    knob, _, unit = name.removesuffix("]").partition(" [")
    try:
        told = f"{float(value):.12g}"
    except ValueError:
        return f"{knob} {value}"
    return f"{knob} {told} {unit}".rstrip()


def overview(found: Optimum) -> str:
    """Everything a person wants to see first, in lines of at most 100 columns."""
    lines = [*textwrap.wrap(answer(found), WIDTH), ""]
    lines += textwrap.wrap(
        "Cost against loss and latency, of configurations that no other beats. Cost is that of the load alone, where "
        f"{found.name} as it is has 100: it ranks them, and what a month costs is told above.", WIDTH
    )  # fmt: skip
    for point in found.front[:MOST_ROWS]:
        text = (
            f"- cost {_index(point)}, {100 * (point.lost_share or 0):.3g} % lost in the worst case, "
            f"{number(point.latency_s, 's')} s until written: {told(point) or 'as it is'}"
        )
        lines += textwrap.wrap(text, WIDTH, subsequent_indent="    ")
    if len(found.front) > MOST_ROWS:
        lines.append(f"  and {len(found.front) - MOST_ROWS} more, with --out or --json")
    return "\n".join(lines) + "\n"


def write(found: Optimum, out: Path) -> None:
    """Write ``optimum.html``, ``plots/`` and, if there is a best one, ``best.toml`` into an existing folder."""
    (out / "plots").mkdir()
    cloud = [_triple(point) for point in found.cloud]
    own = next(_triple(point) for point in found.cloud if not point.changes)
    chosen = None
    if found.best is not None:
        without = {k: v for k, v in found.best.changes.items() if not k.startswith("memory limit of Postgres")}
        chosen = next(_triple(point) for point in found.cloud if point.changes == without)
    alt = (
        f"Scatter plot of {len(cloud)} configurations: cost under the load (as it is = 100) against the share of items "
        f"lost in the worst case; {len(found.front)} of them are beaten by no other."
    )
    figure = drawn("front", "", "front", alt, lambda: front(cloud, [_triple(p) for p in found.front], own, chosen))
    for ending, content in figure.images.items():
        (out / "plots" / f"{figure.name}.{ending}").write_bytes(content)
    if found.scenario:
        write_text(out / "best.toml", found.scenario)
    page = render(
        "optimum.html",
        title=f"The cheapest configuration of {found.name}", answer=answer(found), figure=figure, front=_front(found),
        targets=targets_table(found.targets, "the best" if found.best else "the scenario as it is"),
        best=bool(found.scenario), version=found.capsim_version, seed=found.seed,
    )  # fmt: skip
    write_text(out / "optimum.html", page)


def _triple(point: Point) -> Triple:
    return point.cost_index or 0.0, point.lost_share or 0.0, point.latency_s or 0.0


def _index(point: Point) -> str:
    return f"{point.cost_index or 0:.1f}"


def _front(found: Optimum) -> Table:
    head = [Cell("cost [as it is = 100]", "number"), Cell("lost, worst case [%]", "number"),
            Cell("until written [s]", "number"), Cell("changes"), Cell("misses")]  # fmt: skip
    rows: list[list[Any]] = [
        [Cell(_index(p), "number"), Cell(f"{100 * (p.lost_share or 0):.3g}", "number"),
         Cell(number(p.latency_s, "s"), "number"), Cell(told(p) or "none"), Cell(", ".join(p.missed) or "nothing")]
        for p in found.front
    ]  # fmt: skip
    note = (
        "Cost under the load, relative to the scenario as it is: it ranks configurations and is no bill, for page "
        "cache grows in a month. What a simulated month costs is told at the top."
    )
    return Table("Configurations that no other beats", head, rows, note)

"""The report: one page that needs no other file, and beside it the tables as CSV and the plots as PNG and SVG.

Everything is made from result documents, so a saved result gives the report of a fresh one; the same results give the
same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from capsim.base.amounts import number, span
from capsim.base.files import write_text
from capsim.memory import constants
from capsim.results.conditions import Side, differing, told
from capsim.results.document import BillLine, Metric, Result, StressMetric
from capsim.results.metrics import shown_in
from capsim.results.window_tables import Window
from capsim.show.console import DIFFERENT, ratio
from capsim.show.headline import answer, bill_window, listed, metric, question, stressed, total
from capsim.show.pages import render
from capsim.show.report_plots import figures

if TYPE_CHECKING:
    import pandas as pd

WINDOWS: dict[Window, str] = {"trace": "over the load, once", "month": "over a month of 43,200 minutes"}
MEMORY_UNITS = ("MiB", "GB")
CHANGES = ("difference", "ratio")


class Cell(NamedTuple):
    """What stands in a table: text, and how it is set."""

    text: str
    kind: str = ""  # "number", or the basis of a line of a bill
    to: str = ""  # of the first cell of a row: id of the heading of the page that it leads to


class Table(NamedTuple):
    """A table of the page."""

    caption: str
    head: list[Cell]
    rows: list[list[Cell]]
    note: str = ""


def write(results: Sequence[Result], out: Path) -> None:
    """Write the report of one result, or of several side by side.

    Parameters
    ----------
    results : sequence of Result
        One or more; the first is what the others are measured against.
    out : Path
        An existing folder. It receives ``report.html``, ``summary.csv``, ``accounting.csv``, ``stress.csv``,
        ``bill.csv``, ``series.csv``, ``constants.csv``, and ``plots/`` with every plot as PNG and SVG.
    """
    drawn = figures(results)
    (out / "plots").mkdir()
    for figure in drawn:
        for kind, content in figure.images.items():
            (out / "plots" / f"{figure.name}.{kind}").write_bytes(content)
    for name, table in tables(results).items():
        write_text(out / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    page = render("report.html", **_context(results), figures=drawn)
    write_text(out / "report.html", page)


def tables(results: Sequence[Result]) -> dict[str, pd.DataFrame]:
    """The tables beside the page, by name: tidy, one row an observation, units in the names or in a column ``unit``.

    Parameters
    ----------
    results : sequence of Result
    """
    import pandas as pd

    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in ("summary", "accounting", "stress", "bill", "series")}
    for result in results:
        for name in ("summary", "bill"):
            for window in getattr(result, name):
                parts[name].append(_labelled(result.table(name, window), scenario=result.name, window=window))
        accounts = result.table("accounting").set_index("writer").add_suffix("_items").reset_index()
        parts["accounting"].append(_labelled(accounts, scenario=result.name))
        parts["stress"].append(_labelled(result.table("stress"), scenario=result.name))
        for window, block in result.series.items():
            time_s = [block.step_s * i for i in range(len(block.series[0].mean))]
            columns = {
                f"{series.series}{suffix}": values
                for series in block.series
                for suffix, values in (("", series.mean), ("_max", series.max))
            }
            steps = pd.DataFrame({"time_s": time_s, **columns})
            parts["series"].append(_labelled(steps, scenario=result.name, window=window))
    named = {name: pd.concat(frames, ignore_index=True) for name, frames in parts.items()}
    return {**named, "constants": constants()}


def _labelled(table: pd.DataFrame, **labels: str) -> pd.DataFrame:
    for place, (name, label) in enumerate(labels.items()):
        table.insert(place, name, label)
    return table


# --- the page ----------------------------------------------------------------------------------------------


def _context(results: Sequence[Result]) -> dict[str, Any]:
    warnings: dict[str, list[str]] = {}
    for result in results:
        for text in result.warnings:
            warnings.setdefault(text, []).append(result.name)
    several = len(results) > 1
    lost = [r.name for r in results if metric(r, "items_lost")]
    windows: list[Window] = list(dict.fromkeys(w for r in results for w in r.summary))
    return {
        "title": question(results),
        "answer": answer(results),
        "key_figures": _key_figures(results),
        "sides": [{"name": r.name, "title": r.title, "load": _load(r)} for r in results],
        "memory": [_summary(results, window, memory=True) for window in windows],
        "nothing_lost": "" if lost else f"Under the load, no item is lost{' on any side' if several else ''}.",
        "accounting": _accounting(results),
        "rest": [_summary(results, window, memory=False) for window in windows],
        "stress": _stress(results),
        "different": [_different(results, title, own) for title, own in DIFFERENT.items()] if several else [],
        "bills": [_bill(result, bill_window(results)) for result in results],
        "warnings": [(f"{listed(names)}: " if several else "") + text for text, names in warnings.items()],
        "constants": _constants(),
        "assumptions": list(
            dict.fromkeys(a for r in results for a in (r.provenance.get("load") or {}).get("assumptions", ()))
        ),
        "provenance": [(result.name, _provenance(result)) for result in results],
    }


def _load(result: Result) -> str:
    load = result.provenance.get("load") or {}
    runs = (
        f"{result.replicates} replicates, means ± half width of the 95 % interval"
        if result.replicates > 1
        else "one run"
    )
    return f"load {load.get('name', '?')}, {span(result.trace_span_s)}; seed {result.provenance.get('seed')}; {runs}"


def _key_figures(results: Sequence[Result]) -> Table:
    rows = []
    for spec in shown_in("report"):
        label = f"{spec.label} under the load" if spec.group == "losses" else spec.label  # beside those of the tests
        rows.append(_beside(label, spec.unit, [metric(r, spec.name) for r in results]))
    for test in dict.fromkeys(row.test for result in results for row in result.stress):
        rows.append(_beside(f"items lost in the {test}", "items", [stressed(r, test, "items_lost") for r in results]))
    window = bill_window(results)
    paid = [total(result, window) for result in results]
    label = "to pay for a month" if window == "month" else "to pay for the load"
    rows.append(_beside(label, "USD", [p and p[0] for p in paid]))
    rows.append(_beside("  with the least page cache", "USD", [p and p[1] for p in paid]))
    rows.append(_beside("  with the most page cache", "USD", [p and p[2] for p in paid]))
    return Table("The answer in figures", _head(results), rows)


def _head(results: Sequence[Result]) -> list[Cell]:
    changes = CHANGES if len(results) == 2 else [f"{r.name} / {results[0].name}" for r in results[1:]]
    return [Cell(""), Cell("unit"), *(Cell(n, "number") for n in (*(r.name for r in results), *changes))]


def _beside(
    label: str, unit: str, values: Sequence[float | None], half_widths: Sequence[float | None] | None = None
) -> list[Cell]:
    """A row: what, unit, a value a side, and how the others differ from the first."""
    cells = [Cell(label), Cell(unit)]
    for value, half in zip(values, half_widths or [None] * len(values), strict=True):
        cells.append(Cell(number(value, unit) + (f" ± {number(half, unit)}" if half else ""), "number"))
    first, *others = values
    for other in others:
        changes = ["-", "-"]
        if first is not None and other is not None:
            changes = [number(other - first, unit), ratio(other, first)]
        cells += [Cell(text, "number") for text in changes[0 if len(others) == 1 else 1 :]]
    return cells


def _summary(results: Sequence[Result], window: Window, *, memory: bool) -> Table:
    by_side = [{m.metric: m for m in r.summary.get(window, ())} for r in results]
    wanted = dict.fromkeys(m for side in by_side for m in side.values() if (m.unit in MEMORY_UNITS) == memory)
    named = dict.fromkeys((m.metric, m.unit, m.basis) for m in wanted)
    rows = []
    for name, unit, basis in named:
        metrics = [side.get(name) for side in by_side]
        row = _beside(name.replace("_", " "), unit, *_values(metrics))
        rows.append([*row, Cell(basis)])
    title = "Memory" if memory else "Load, losses, buffers and CPU"
    return Table(f"{title}, {WINDOWS[window]}", [*_head(results), Cell("basis")], rows)


def _values(rows: Sequence[Metric | StressMetric | None]) -> tuple[list[float | None], list[float | None]]:
    return [row.value if row else None for row in rows], [row.half_width if row else None for row in rows]


def _accounting(results: Sequence[Result]) -> Table:
    fates = [name for name in type(results[0].accounting[0]).model_fields if name not in ("writer", "half_width")]
    rows = []
    for result in results:
        for account in result.accounting:
            side = [Cell(result.name)] if len(results) > 1 else []
            counts = [Cell(number(getattr(account, fate), "items"), "number") for fate in fates]
            rows.append([*side, Cell(account.writer), *counts])
    head = [*([Cell("side")] if len(results) > 1 else []), Cell("writer")]
    head += [Cell(fate.replace("_", " "), "number") for fate in fates]
    note = (
        "Arrived is the sum of the rest. Coalesced: replaced by a later heartbeat of its session before it was "
        "written. Dropped cap: refused by a full buffer. Dropped failed: in a batch that was given up. Uncounted: "
        "lost without being counted by the server."
    )
    return Table("Where every item went in the whole simulated time [items]", head, rows, note)


def _stress(results: Sequence[Result]) -> Table:
    by_side = [{(s.test, s.metric): s for s in r.stress} for r in results]
    rows = []
    for test, name in dict.fromkeys(key for side in by_side for key in side):
        figures = [side.get((test, name)) for side in by_side]
        unit = next(f.unit for f in figures if f)
        label = f"{test}: {name.replace('_', ' ')}"
        rows.append(_beside(label, unit, *_values(figures)))
    note = (
        "Each test is simulated alone, at a steady rate: time before, the fault, time after, or as much longer as it "
        "takes to heal. Items lost are counted until it heals; of writers that never recover, until the fault is over. "
        "What they lose from then on is the loss rate until restart. In a stall every call ends with it; in an outage "
        "every call fails within a millisecond."
    )
    return Table("Stress test", _head(results), rows, note)


def _different(results: Sequence[Result], title: str, own: bool) -> Table:
    keys = [key for key in differing([Side.of_result(r) for r in results]) if key.is_condition == own]
    rows = [[Cell(key.name), *(Cell(told(value)) for value in key.values)] for key in keys]
    return Table(title, [Cell("key"), *(Cell(r.name) for r in results)], rows, "" if rows else "Nothing differs.")


def _bill(result: Result, window: Window) -> Table:
    head = [Cell(n) for n in ("service", "line")]
    head += [Cell("quantity", "number"), Cell("unit")]
    head += [Cell(f"{n} [USD]", "number") for n in ("unit price", "amount", "least", "most")]
    rows = [_bill_row(line) for line in result.bill[window]]
    note = "Least and most: with the lower and the upper bracket of the page cache."
    return Table(f"{result.name}, {WINDOWS[window]}", [*head, Cell("basis"), Cell("source")], rows, note)


def _bill_row(line: BillLine) -> list[Cell]:
    price = "-" if line.price_usd is None else f"{line.price_usd:.6g}"
    amount = number(line.amount_usd, "USD") + (f" ± {number(line.half_width, 'USD')}" if line.half_width else "")
    ends: list[float | None] = [line.lower_usd, line.upper_usd]
    if None not in ends:
        ends.sort(key=lambda usd: usd or 0.0)  # a discount is smaller with less page cache, and negative
    numbers = (price, amount, *(number(usd, "USD") for usd in ends))
    return [
        Cell(line.service),
        Cell(line.line),
        Cell(number(line.quantity, line.unit), "number"),
        Cell(line.unit),
        *(Cell(text, "number") for text in numbers),
        Cell(line.basis, line.basis.replace(" ", "-")),
        Cell(line.source, "source"),
    ]


def _constants() -> Table:
    table = constants()
    rows = []
    for row in table.to_dict("records"):
        text = {column: f"{cell:g}" if column == "value" else str(cell) for column, cell in row.items()}
        kinds = {"value": "number", "status": text["status"]}
        columns = ("name", "value", "unit", "error", "status", "source")
        rows.append([Cell(text[column], kinds.get(column, "")) for column in columns])
    head = [Cell("constant"), Cell("value", "number"), *(Cell(n) for n in ("unit", "error", "standing", "source"))]
    counts = ", ".join(f"{n} {status}" for status, n in table["status"].value_counts().items())
    return Table(f"Constants of the memory model: {counts}", head, rows)


def _provenance(result: Result) -> list[tuple[str, str]]:
    """What it takes to repeat the run, flat; the scenario is one entry."""
    load = result.provenance.get("load") or {}
    versions = result.provenance.get("versions") or {}
    facts: Iterable[tuple[str, Any]] = (
        ("scenario", json.dumps(result.provenance.get("scenario"), ensure_ascii=False)),
        *((f"load {key.replace('_', ' ')}", value) for key, value in load.items() if key not in ("assumptions",)),
        ("seed", result.provenance.get("seed")),
        ("replicates", result.replicates),
        ("versions", ", ".join(f"{name} {text}" for name, text in versions.items())),
    )
    return [
        (name, "; ".join(map(str, v)) if isinstance(v, list) else str(v))
        for name, v in facts
        if v not in (None, "", [])
    ]

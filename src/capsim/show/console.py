"""Results as text for a terminal of 100 columns: memory, losses, stress, bill, warnings, in that order."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from capsim.base.amounts import ABSENT, DECIMALS, number, span
from capsim.results.comparison import Drift, figures
from capsim.results.conditions import Side, differing, told
from capsim.results.document import Result
from capsim.results.metrics import ALL, EACH, METRICS, Group
from capsim.results.window_tables import Window

WIDTH = 100  # columns

DIFFERENT = {"What differs in what the sides meet": True, "What differs in their configuration": False}
_WINDOW_TITLES: dict[Window, str] = {"trace": "over the load, once", "month": "over a month (30 days)"}
_WINDOW_COLUMNS: dict[Window, str] = {"trace": "the load, once", "month": "a month"}
_BRACKETS = ("_lower_mean", "_upper_mean")  # of the figure before them
QUIET_STRESS = ("time_before", "time_after")  # in the note below the table


def overview(results: Sequence[Result]) -> str:
    """Everything a person wants to see of one result, or of several side by side.

    Parameters
    ----------
    results : sequence of Result
        One or more; with more, the first is the one that the others are measured against.

    Returns
    -------
    str
        Lines of at most 100 columns.
    """
    parts = [
        _heading(results),
        *_summaries(results, "Memory", _in("memory"), _windows(results)),
        *_losses(results),
        _accounting(results),
        *_summaries(results, "Load and CPU", _in("load"), ["trace"]),
        _stress(results),
    ]
    parts += [_bill(results, window) for window in _windows(results)]
    parts += [_titled(title, differences(results, conditions=own)) for title, own in DIFFERENT.items()]
    parts.append(_warnings(results))
    return "\n\n".join(part for part in parts if part) + "\n"


def drift_table(drifts: Sequence[Drift], *, most: int = 40) -> str:
    """What changed since the saved document: field, saved, now, relative change."""
    rows = [
        [
            "\n".join(textwrap.wrap(d.field, 50)),
            ABSENT if d.saved is None else f"{d.saved:.9g}",
            ABSENT if d.now is None else f"{d.now:.9g}",
            ABSENT if d.relative is None else f"{100 * d.relative:+.3g} %",
        ]
        for d in drifts[:most]
    ]
    table = _table(rows, ["field", "saved", "now", "change"], ("left", "right", "right", "right"))
    more = f"\n... and {len(drifts) - most} more" if len(drifts) > most else ""
    return table + more


def _heading(results: Sequence[Result]) -> str:
    lines = []
    for result in results:
        seed = result.provenance.get("seed")
        load = result.provenance.get("load") or {}
        trace = load.get("name", "?") if isinstance(load, dict) else load
        n = result.replicates
        runs = f"{n} replicates, means ± 95 % interval" if n > 1 else "one run"
        head = f"{result.name}: {result.title}" if result.title else result.name
        lines += textwrap.wrap(head, WIDTH, subsequent_indent="    ")
        lines.append(f"    load {trace}, {span(result.trace_span_s)}; seed {seed}, {runs}")
    return "\n".join(lines)


def differences(results: Sequence[Result], *, conditions: bool) -> str:
    """The keys in which the scenarios differ, conditions apart from configuration; empty if there are none.

    Parameters
    ----------
    results : sequence of Result
    conditions : bool
        Which of the two: what comes from outside, or what is configured.
    """
    keys = [key for key in differing([Side.of_result(r) for r in results]) if key.is_condition == conditions]

    def build(shown: Sequence[int]) -> str:
        def cell(text: str, width: int) -> str:
            return "\n".join(textwrap.wrap(text, width))

        rows = [[cell(key.name, 44), *(cell(told(key.values[i]), 22) for i in shown)] for key in keys]
        head = ["key", *(_wrapped(results[i].name) for i in shown)]
        return _table(rows, head, ["left"] * len(head))

    return _fitting(len(results), build) if keys else ""


def _windows(results: Sequence[Result]) -> list[Window]:
    return list(dict.fromkeys(window for result in results for window in result.summary))


class _Side(NamedTuple):
    """A column of a table: a title, and for each figure its value and the half width of its interval."""

    title: str
    cells: dict[tuple[str, str], tuple[float | None, float | None]]  # by name and unit


def _in(group: Group) -> Callable[[str, str], bool]:
    """Whether a figure stands in a table; a document may hold figures that this version does not know."""

    def told(name: str, unit: str) -> bool:
        of = METRICS[name].group if name in METRICS else "memory" if unit in ("MiB", "GB") else "load"
        return of == group

    return told


def _scopes(results: Sequence[Result]) -> dict[str, str]:
    """What is to be said of a figure of several replicas: of all of them, or of each."""
    found = {}
    for row in (m for r in results for metrics in r.summary.values() for m in metrics):
        scope = row.basis.rpartition(", ")[2]
        if scope in (ALL, EACH):
            found[row.metric] = f" ({scope})"
    return found


def _metrics(result: Result, window: Window, title: str) -> _Side:
    return _Side(title, {(m.metric, m.unit): (m.value, m.half_width) for m in result.summary.get(window, ())})


def _summaries(
    results: Sequence[Result], title: str, mine: Callable[[str, str], bool], windows: Sequence[Window]
) -> list[str]:
    """One table with a column a window for a single result; of several, one table a window."""
    if len(results) == 1:
        sides = [_metrics(results[0], window, _WINDOW_COLUMNS[window]) for window in windows]
        return [_titled(title, _figures(sides, mine, changes=False, scopes=_scopes(results)))]
    return [
        _titled(
            f"{title}, {_WINDOW_TITLES[window]}",
            _figures([_metrics(r, window, r.name) for r in results], mine, scopes=_scopes(results)),
        )
        for window in windows
    ]


def _losses(results: Sequence[Result]) -> list[str]:
    """What was lost, without the many kinds of loss that did not happen."""
    happened = {(m.metric, m.unit) for r in results for metrics in r.summary.values() for m in metrics if m.value} | {
        ("items_lost", "items")
    }
    loss = _in("losses")
    return _summaries(
        results, "Losses", lambda name, unit: loss(name, unit) and (name, unit) in happened, _windows(results)
    )


def _accounting(results: Sequence[Result]) -> str:
    """Arrived and written of every writer, and whatever else happened to an item anywhere."""
    sides = [
        _Side(r.name, {(f.name, f.unit): (v, None) for f, v in figures(r).items() if f.section == "accounting"})
        for r in results
    ]
    happened = {name for side in sides for name, (value, _) in side.cells.items() if value}
    table = _figures(sides, lambda name, unit: name.endswith(("arrived", "written")) or (name, unit) in happened)
    simulated = max(
        [m.value or 0 for r in results for ms in r.summary.values() for m in ms if m.unit == "s"], default=0
    )
    title = f"Where every item went, over all that was simulated ({span(simulated)})"
    notes = ["What is not listed happened to no item.", *_as_if_there_were_room(results)]
    return _titled(title, "\n".join([table, *(textwrap.fill(note, WIDTH) for note in notes)]))


def _as_if_there_were_room(results: Sequence[Result]) -> list[str]:
    """What counts of items do not know of: the volume is full, and the run takes no notice."""
    found = []
    for result in results:
        values = {m.metric: m.value for metrics in result.summary.values() for m in metrics}
        day = values.get("volume_full_after")
        if day is not None and values.get("items_lost_volume_full"):
            found.append(
                f"{result.name}: the volume is full from day {day:.1f} on, and what is lost from then on is not "
                "simulated: the items above are counted as if there were room."
            )
    return found


def _stress(results: Sequence[Result]) -> str:
    sides = [
        _Side(r.name, {(f"{row.test}: {row.metric}", row.unit): (row.value, row.half_width) for row in r.stress})
        for r in results
    ]
    table = _figures(sides, lambda name, unit: not name.endswith(QUIET_STRESS))
    before, after = ({row.value for r in results for row in r.stress if row.metric == m} for m in QUIET_STRESS)
    if not (table and before and after):
        return _titled("Stress test", table)
    note = (
        f"Each test: {listed_numbers(before)} s of steady load, the fault, then {listed_numbers(after)} s. Items lost "
        "are counted until it heals; of writers that never recover, until the fault is over. What they lose from then "
        "on is the loss rate until restart."
    )
    return _titled("Stress test", f"{table}\n{textwrap.fill(note, WIDTH)}")


def listed_numbers(values: set[float | None]) -> str:
    """The different numbers of a row.

    Examples
    --------
    >>> listed_numbers({300.0, 1200.0, None})
    '300 to 1,200'
    """
    known = sorted(value for value in values if value is not None)
    ends = dict.fromkeys(number(value, "s") for value in (*known[:1], *known[-1:]))
    return " to ".join(ends)


def _figures(
    sides: Sequence[_Side],
    mine: Callable[[str, str], bool],
    *,
    changes: bool = True,
    scopes: Mapping[str, str] | None = None,
) -> str:
    """Chosen figures, a column a side, then difference and ratio to the first (of several only ratios)."""
    keys = [key for key in dict.fromkeys(key for side in sides for key in side.cells) if mine(*key)]
    brackets = {key for key in keys if key[0].endswith(_BRACKETS)}

    def build(shown: Sequence[int]) -> str:
        rows = []
        for name, unit in keys:
            if (name, unit) in brackets:
                continue
            cells = [sides[i].cells.get((name, unit), (None, None)) for i in shown]
            if all(value is None for value, _ in cells):
                continue
            changed = _changes([value for value, _ in cells], unit) if changes else []
            label = _readable(name + (scopes or {}).get(name, ""))
            rows.append([label, unit, *(_measured(v, half, unit) for v, half in cells), *changed])
            ends = [(name.removesuffix("_mean") + end, unit) for end in _BRACKETS]
            if set(ends) <= brackets:
                least, most = ([sides[i].cells.get(end, (None, None))[0] for i in shown] for end in ends)
                texts = [_bracket(low, high, unit) for low, high in zip(least, most, strict=True)]
                rows.append(["  least..most page cache", unit, *texts, *[""] * len(changed)])
        titles = [sides[i].title for i in shown]
        head = ["", "unit", *(_heads(titles) if changes else titles)]
        return _table(rows, head, ("left", "left", *["right"] * (len(head) - 2)))

    if not keys:
        return ""
    return _fitting(len(sides), build) if changes else build(range(len(sides)))


def _fitting(sides: int, build: Callable[[Sequence[int]], str]) -> str:
    """One table of all sides if it is narrow enough; else several, each beginning with the first side."""
    others = range(1, sides)
    for size in range(max(1, sides - 1), 0, -1):
        groups = [others[i : i + size] for i in range(0, len(others), size)] or [range(0)]
        tables = [build([0, *group]) for group in groups]
        if all(len(line) <= WIDTH for table in tables for line in table.splitlines()):
            break
    return "\n\n".join(tables)


def _measured(value: float | None, half_width: float | None, unit: str) -> str:
    if not half_width:
        return number(value, unit)
    half = f"{half_width:,.{DECIMALS[unit]}f}" if unit in DECIMALS else number(half_width, unit)
    return f"{number(value, unit)} ± {half}"


def _changes(values: Sequence[float | None], unit: str) -> list[str]:
    first, *others = values
    cells = []
    for value in others:
        if value is None or first is None:
            cells += [ABSENT] * (2 if len(others) == 1 else 1)
            continue
        if len(others) == 1:
            change = value - first
            # Below what is shown of the two, a difference is noise of the models; the document has it.
            alike = number(value, unit) == number(first, unit)
            cells.append("0" if alike else ("+" if change > 0 else "") + number(change, unit))
        cells.append(ratio(value, first))
    return cells


def ratio(value: float, first: float) -> str:
    """How many times the first a value is.

    Examples
    --------
    >>> ratio(50, 100), ratio(1, 0), ratio(0, 0), ratio(5_000, 1)
    ('0.50', '-', '-', '5,000')
    """
    if first == 0:
        return ABSENT
    times = value / first
    return f"{times:,.0f}" if abs(times) >= 100 else f"{times:.2f}"


def _heads(titles: Sequence[str]) -> list[str]:
    """Titles of the values, then of what `_changes` makes of them."""
    names = [_wrapped(title) for title in titles]
    if len(names) == 2:
        return [*names, "difference", "ratio"]
    return [*names, *(f"{name}\n/ {names[0]}" for name in names[1:])]


def _wrapped(name: str) -> str:
    return "\n".join(textwrap.wrap(name, 12)) or name


def _readable(name: str) -> str:
    return "\n".join(textwrap.wrap(name.replace("_", " "), 30)) or name


def _bill(results: Sequence[Result], window: Window) -> str:
    title = f"Bill, {_WINDOW_TITLES[window]} [USD]"
    if len(results) == 1:
        return _titled(title, _one_bill(results[0], window))
    return _titled(title, _bills(results, window))


def _one_bill(result: Result, window: Window) -> str:
    rows = [
        [
            line.service,
            line.line,
            number(line.quantity, line.unit),
            line.unit,
            ABSENT if line.price_usd is None else f"{line.price_usd:.6g}",
            _measured(line.amount_usd, line.half_width, "USD"),
            _bracket(line.lower_usd, line.upper_usd, "USD"),
            line.basis,
        ]
        for line in result.bill.get(window, ())
    ]
    head = ["service", "line", "quantity", "unit", "price", "amount", "page cache\nleast..most", "basis"]
    align = ("left", "left", "right", "left", "right", "right", "right", "left")
    return _table(rows, head, align)


def _bills(results: Sequence[Result], window: Window) -> str:
    sides = [{(b.service, b.line): b for b in r.bill.get(window, ())} for r in results]
    keys = list(dict.fromkeys(key for side in sides for key in side))

    def build(shown: Sequence[int]) -> str:
        rows = []
        for key in keys:
            lines = [sides[i].get(key) for i in shown]
            amounts = [line.amount_usd if line else None for line in lines]
            cells = [_measured(line.amount_usd, line.half_width, "USD") if line else ABSENT for line in lines]
            changes = _changes(amounts, "USD") if len(shown) == 2 else []
            rows.append([*key, *cells, *changes, next(line.basis for line in lines if line)])
            brackets = [_bracket(line.lower_usd, line.upper_usd, "USD") if line else ABSENT for line in lines]
            if set(brackets) != {ABSENT}:
                rows.append(["", "  least..most", *brackets, *[""] * (len(changes) + 1)])
        titles = _heads([results[i].name for i in shown])
        head = ["service", "line", *(titles if len(shown) == 2 else titles[: len(shown)]), "basis"]
        return _table(rows, head, ("left", "left", *["right"] * (len(head) - 3), "left"))

    note = "least..most: with the lower and the upper bracket of the page cache"
    return f"{_fitting(len(results), build)}\n{note}"


def _bracket(least: float | None, most: float | None, unit: str) -> str:
    if least is None or most is None or least == most:
        return ABSENT
    least, most = sorted((least, most))  # a discount is smaller with less page cache, and negative
    decimals = 0 if unit == "MiB" and most >= 10 else DECIMALS.get(unit, 2)
    return f"{least:,.{decimals}f}..{most:,.{decimals}f}"


def _warnings(results: Sequence[Result]) -> str:
    names: dict[str, list[str]] = {}
    for result in results:
        for text in result.warnings:
            names.setdefault(text, []).append(result.name)
    lines = []
    for text, of in names.items():
        label = f"{', '.join(of)}: " if len(results) > 1 else ""
        lines += textwrap.wrap(f"- {label}{text}", WIDTH, subsequent_indent="  ")
    return _titled("Warnings", "\n".join(lines))


def _table(rows: Sequence[Sequence[str]], head: Sequence[str], align: Sequence[str]) -> str:
    from tabulate import tabulate

    return str(tabulate(rows, head, disable_numparse=True, colalign=align))


def _titled(title: str, body: str) -> str:
    return f"{title}\n{'=' * len(title)}\n{body}" if body else ""

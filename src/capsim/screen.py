"""Results as text for a terminal of 100 columns: memory, losses, stress, bill, warnings, in that order."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

from capsim.compare import Drift, Figure, figures
from capsim.document import Result, Window

WIDTH = 100  # columns
ABSENT = "-"

_WINDOW_TITLES: dict[Window, str] = {"trace": "over the load, once", "month": "over a month (30 days)"}
_DECIMALS = {"MiB": 1, "USD": 2, "items": 0, "requests": 0, "count": 0, "connections": 1}
_LOSS_WORDS = ("lost", "loss", "stuck", "wedge", "drop", "failed", "reject", "exceeded")


def number(value: float | None, unit: str) -> str:
    """Write a number with as many digits as its unit deserves.

    Examples
    --------
    >>> number(1234.56, "MiB"), number(0.00123456, "vCPU"), number(None, "USD")
    ('1,234.6', '0.00123', '-')
    """
    if value is None:
        return ABSENT
    value += 0.0  # no negative zero
    if unit in _DECIMALS and (abs(value) >= 0.1 or value == 0 or _DECIMALS[unit] == 2):
        return f"{value:,.{_DECIMALS[unit]}f}"
    if float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 1_000 else f"{value:.3g}"


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
    parts = [_heading(results)]
    for title, mine in (("Memory", _is_memory), ("Losses", _is_loss), ("Load and CPU", _is_rest)):
        parts += [_summary(results, title, window, mine) for window in _windows(results)]
    parts += [_accounting(results), _stress(results)]
    parts += [_bill(results, window) for window in _windows(results)]
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


def span(span_s: float) -> str:
    """A length of time in the unit that people would use.

    Examples
    --------
    >>> span(86_400), span(5_400), span(120)
    ('24.0 h', '1.5 h', '120 s')
    """
    if span_s >= 2 * 86_400:
        return f"{span_s / 86_400:.1f} days"
    return f"{span_s / 3_600:.1f} h" if span_s >= 3_600 else f"{span_s:g} s"


def _windows(results: Sequence[Result]) -> list[Window]:
    return list(dict.fromkeys(window for result in results for window in result.summary))


def _is_memory(figure: Figure) -> bool:
    return figure.unit in ("MiB", "GB")


def _is_loss(figure: Figure) -> bool:
    return not _is_memory(figure) and any(word in figure.name for word in _LOSS_WORDS)


def _is_rest(figure: Figure) -> bool:
    return not _is_memory(figure) and not _is_loss(figure)


def _summary(results: Sequence[Result], title: str, window: Window, mine: Callable[[Figure], bool]) -> str:
    def wanted(figure: Figure) -> bool:
        return figure.section == "summary" and figure.window == window and mine(figure)

    widths = [
        {Figure("summary", window, m.metric, m.unit): m.half_width for m in result.summary.get(window, ())}
        for result in results
    ]
    return _titled(f"{title}, {_WINDOW_TITLES[window]}", _side_by_side(results, wanted, widths))


def _accounting(results: Sequence[Result]) -> str:
    """Arrived and written of every writer, and whatever else happened to an item anywhere."""
    always = ("arrived", "written")
    happened = {f for r in results for f, value in figures(r).items() if f.section == "accounting" and value}
    table = _side_by_side(
        results, lambda f: f.section == "accounting" and (f.name.endswith(always) or f in happened), None
    )
    return _titled("Where every item went, over the load", f"{table}\nWhat is not listed happened to no item.")


def _stress(results: Sequence[Result]) -> str:
    widths = [
        {Figure("stress", None, f"{row.test}: {row.metric}", row.unit): row.half_width for row in result.stress}
        for result in results
    ]
    return _titled("Stress, at the load's peak minute", _side_by_side(results, lambda f: f.section == "stress", widths))


def _side_by_side(
    results: Sequence[Result],
    wanted: Callable[[Figure], bool],
    half_widths: Sequence[dict[Figure, float | None]] | None,
) -> str:
    """Tables of chosen figures: a column a result, then difference and ratio (of several only ratios)."""
    columns = [{f: v for f, v in figures(r).items() if wanted(f)} for r in results]
    names = list(dict.fromkeys(f for column in columns for f in column))

    def build(shown: Sequence[int]) -> str:
        rows = []
        for figure in names:
            values = [columns[i].get(figure) for i in shown]
            halves = [half_widths[i].get(figure) if half_widths else None for i in shown]
            cells = [_measured(v, half, figure.unit) for v, half in zip(values, halves, strict=True)]
            rows.append([_readable(figure.name), figure.unit, *cells, *_changes(values, figure.unit)])
        head = ["", "unit", *_heads(results, shown)]
        return _table(rows, head, ("left", "left", *["right"] * (len(head) - 2)))

    return _fitting(len(results), build) if names else ""


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
    return number(value, unit) + (f" ± {number(half_width, unit)}" if half_width else "")


def _changes(values: Sequence[float | None], unit: str) -> list[str]:
    first, *others = values
    cells = []
    for value in others:
        if value is None or first is None:
            cells += [ABSENT] * (2 if len(others) == 1 else 1)
            continue
        if len(others) == 1:
            change = value - first
            cells.append("0" if change == 0 else ("+" if change > 0 else "") + number(change, unit))
        cells.append(ratio(value, first))
    return cells


def ratio(value: float, first: float) -> str:
    """How many times the first a value is.

    Examples
    --------
    >>> ratio(50, 100), ratio(1, 0), ratio(0, 0), ratio(5_000, 1)
    ('0.50', '-', '1.00', '5,000')
    """
    if first == 0:
        return "1.00" if value == 0 else ABSENT
    times = value / first
    return f"{times:,.0f}" if abs(times) >= 100 else f"{times:.2f}"


def _heads(results: Sequence[Result], shown: Sequence[int]) -> list[str]:
    """Titles of the values, then of what `_changes` makes of them."""
    names = [_wrapped(results[i].name) for i in shown]
    if len(shown) == 2:
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
            _bracket(line.lower_usd, line.upper_usd),
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
            changes = _changes(amounts, "USD")
            rows.append([*key, *cells, *changes, next(line.basis for line in lines if line)])
            brackets = [_bracket(line.lower_usd, line.upper_usd) if line else ABSENT for line in lines]
            if set(brackets) != {ABSENT}:
                rows.append(["", "  least..most", *brackets, *[""] * (len(changes) + 1)])
        head = ["service", "line", *_heads(results, shown), "basis"]
        return _table(rows, head, ("left", "left", *["right"] * (len(head) - 3), "left"))

    note = "least..most: with the lower and the upper bracket of the page cache"
    return f"{_fitting(len(results), build)}\n{note}"


def _bracket(lower_usd: float | None, upper_usd: float | None) -> str:
    if lower_usd is None or upper_usd is None or lower_usd == upper_usd:
        return ABSENT
    return f"{number(lower_usd, 'USD')}..{number(upper_usd, 'USD')}"


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

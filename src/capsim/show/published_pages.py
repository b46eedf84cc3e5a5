"""Tables as files: a CSV for each, one page in Markdown and one in HTML for all, with a head that says whence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from capsim.scenario.file import load
from capsim.scenario.prices import bundled_prices
from capsim.scenario.providers import bundled_sizes
from capsim.show.pages import render
from capsim.study.published.table import Published
from capsim.workload import find_trace, read_trace

README, PAGE = "README.md", "index.html"
UNITS = {"_usd": 2, "_mib": 1}  # digits behind the point, by the unit at the end of a column's name


def files(tables: Sequence[Published], seed: int) -> dict[str, str]:
    """Every file of the folder, by name."""
    head = _head(seed)
    shown = [_shown(table) for table in tables]
    page = render("tables.html", head=head, tables=shown)
    return {
        **{f"{table.name}.csv": table.csv() for table in tables},
        README: _markdown(head, shown),
        PAGE: page.rstrip("\n") + "\n",
    }


def _head(seed: int) -> list[tuple[str, str]]:
    from capsim.study.published.runs import BEFORE_AFTER, DAY, WEEK

    prices, sizes = bundled_prices(), bundled_sizes()
    billed = load(BEFORE_AFTER[0]).billing.from_date
    age = (billed - prices.last_verified).days
    traces = (read_trace(find_trace(name)) for name in (DAY, WEEK))
    return [
        ("billed month", f"30 days from {billed} (the scenarios' billing.from), unless a table says otherwise"),
        ("prices", f"Railway, data/prices/railway.toml, last verified {prices.last_verified}"
         + (f": STALE, {age} days before the billed month" if age > 120 else "")),
        ("other providers", f"data/prices/providers.toml, read until {sizes.last_verified}; each row is marked"),
        ("scenarios", ", ".join(f"data/scenarios/{name}.toml" for name in BEFORE_AFTER)),
        ("loads", "; ".join(f"{trace.name}, sha256 {trace.sha256[:12]}" for trace in traces)),
        ("made by", f"capsim tables, capsim {version('capsim')}, seed {seed}; capsim tables --check compares"),
        ("evidence", "memory: docs/memory.md; prices: data/prices/README.md"),
    ]  # fmt: skip


def cell(column: str, value: Any) -> str:
    """A value as people read it.

    Examples
    --------
    >>> cell("total_usd", 5.0), cell("mean_mib", 1234.56), cell("quantity", 0.0123456), cell("quantity", 299_808.9)
    ('5.00', '1,234.6', '0.01235', '299,809')
    """
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    digits = next((n for unit, n in UNITS.items() if column.endswith(unit) and column != "price_usd"), None)
    if digits is not None:
        return f"{value + 0.0:,.{digits}f}"
    number = float(value)
    whole = (number.is_integer() and column != "seats") or abs(number) >= 10_000  # no powers of ten in a bill
    return f"{number:,.0f}" if whole else f"{number:,.4g}"


def _shown(table: Published) -> dict[str, Any]:
    columns = list(table.rows.columns)
    numeric = {name for name in columns if table.rows[name].dtype.kind in "if"}
    rows = [[cell(name, value) for name, value in zip(columns, row, strict=True)] for row in table.rows.values.tolist()]
    return {
        "name": table.name, "title": table.title, "note": table.note,
        "head": [(name.replace("_", " "), "number" if name in numeric else "text") for name in columns],
        "rows": rows,
    }  # fmt: skip


def _markdown(head: list[tuple[str, str]], shown: list[dict[str, Any]]) -> str:
    def escaped(text: str) -> str:
        return text.replace("|", "\\|")

    lines = ["# Tables", "", "Made by `capsim tables`; do not edit. The same as a page: `index.html`. Numbers to nine "
             "digits: the CSV files.", "", "| | |", "|---|---|"]  # fmt: skip
    lines += [f"| {name} | {escaped(text)} |" for name, text in head]
    lines += ["", *(f"* [{t['title']}](#{t['name']})" for t in shown)]
    for t in shown:
        lines += [
            "",
            f'<a id="{t["name"]}"></a>',
            "",
            f"## {t['title']}",
            "",
            t["note"],
            "",
            f"[{t['name']}.csv]({t['name']}.csv)",
            "",
        ]
        lines.append("| " + " | ".join(name for name, _ in t["head"]) + " |")
        lines.append("|" + "|".join("---:" if kind == "number" else "---" for _, kind in t["head"]) + "|")
        lines += ["| " + " | ".join(map(escaped, row)) + " |" for row in t["rows"]]
    return "\n".join(lines) + "\n"

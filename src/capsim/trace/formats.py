"""Readers of the text formats: each turns lines into instants, or into bins with counts.

A reader keeps the time (and the count) of a line and nothing else: no address, no path, no user.
"""

from __future__ import annotations

import csv
import json
import re
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from capsim.errors import TraceError
from capsim.trace.instants import Stamps, iso
from capsim.trace.lines import Broken
from capsim.trace.model import LARGEST_COUNT, MOST_ITEMS
from capsim.trace.requests import Columns

TIME_NAMES = ("timestamp", "ts", "time", "@timestamp", "datetime", "date", "start", "minute", "t")
COUNT_NAMES = ("count", "counts", "requests", "n", "hits", "value", "sum")

Numbered = Iterable[tuple[int, bytes]]

# Quoted fields may hold \" ; the possessive repeats keep a hostile line linear. Only what a request needs is asked
# for: time, request, status, size. What follows (referrer, agent, anything appended) may be cut short.
ACCESS_LINE = re.compile(
    r'\S+ \S+ [^"]*?\[(\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] '
    r'"([^"\\]*+(?:\\.[^"\\]*+)*+)" (\d{3}|-) (\d+|-)(.*)',
    re.DOTALL,
)


@dataclass
class Found:
    """What a reader collected: instants in file order, and counts beside them if the file has bins."""

    times_us: array[int] = field(default_factory=lambda: array("q"))
    counts: array[int] | None = None
    lines: int = 0
    notes: list[str] = field(default_factory=list)
    columns: Columns | None = None  # what else the lines say; only if asked for


def read_json_lines(
    path: Path, lines: Numbered, broken: Broken, stamps: Stamps, field_name: str | None, columns: Columns | None = None
) -> Found:
    """One JSON object per line with a time in a field; ``a.b`` looks inside an object."""
    found = Found(columns=columns)
    for number, raw in lines:
        line = raw.decode("utf-8", "replace")
        if not line or line.isspace():
            continue
        found.lines += 1
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            broken.add(number, line, "no JSON")
            continue
        if not isinstance(record, dict):
            broken.add(number, line, "no JSON object")
            continue
        if field_name is None:
            field_name = next((name for name in TIME_NAMES if name in record), None)
            if field_name is None:
                raise TraceError(
                    f"{path}: line {number}: no time among the fields {_some(record)}; "
                    "name the one to use (field=..., --field)"
                )
        value = record.get(field_name, record)
        if value is record:
            for part in field_name.split("."):
                value = value.get(part) if isinstance(value, dict) else None
        try:
            found.times_us.append(stamps(value))
            if columns is not None:
                status, size, took_ms = (record.get(n) for n in ("httpStatus", "txBytes", "totalDuration"))
                took_us = 1e3 * took_ms if isinstance(took_ms, int | float) else None
                columns.add(record.get("method"), record.get("path"), status, size, took_us)
        except (ValueError, OverflowError) as error:
            broken.add(number, "", f"field {field_name!r}: {error}")
        bounded(path, found, number)
    return found


def read_csv(
    path: Path, lines: Numbered, broken: Broken, stamps: Stamps, kind: str | None, column: str | None
) -> Found:
    """``timestamp,count``, or one timestamp per row in the first, the named or the chosen column."""
    table = _Table(path, kind, column)
    found = Found()
    last_us = -1
    for number, raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line.strip():
            continue
        cells = table.cells(line)
        if not table.ready:
            is_header = table.begin(cells, number)
            found.counts = array("q") if table.count_at is not None else None
            if is_header:
                continue
        found.lines += 1
        try:
            instant = stamps(cells[table.time_at])
            count = None if table.count_at is None else cells[table.count_at].strip()
        except IndexError:
            broken.add(number, line, f"only {len(cells)} column{'s' * (len(cells) > 1)}")
            continue
        except (ValueError, OverflowError) as error:
            broken.add(number, line, str(error))
            continue
        if found.counts is not None and count is not None:
            try:
                value = _count(path, number, count)
            except ValueError as error:
                broken.add(number, line, str(error))
                continue
            if instant <= last_us:
                what = "repeats" if instant == last_us else f"goes back (after {iso(last_us)})"
                raise TraceError(
                    f"{path}: line {number}: time {iso(instant)} {what}; a count series must go forward: "
                    "sort it by time and merge equal bins"
                )
            found.counts.append(value)
        last_us = instant
        found.times_us.append(instant)
        bounded(path, found, number)
    return found


class _Table:
    """Where a CSV file has its time and its count."""

    def __init__(self, path: Path, kind: str | None, column: str | None) -> None:
        self._path, self._kind, self._column = path, kind, column
        self._delimiter = ""
        self.ready = False
        self.time_at = 0
        self.count_at: int | None = None

    def cells(self, line: str) -> list[str]:
        # Line by line, so that one stray quote breaks one line and does not swallow the rest of the file.
        if not self._delimiter:
            self._delimiter = max(",;\t", key=line.count)
        if '"' not in line:
            return line.split(self._delimiter)
        try:
            return next(csv.reader([line], delimiter=self._delimiter))
        except csv.Error:
            return []

    def begin(self, cells: list[str], number: int) -> bool:
        """Find the columns from the first row; say whether it is a header."""
        self.ready = True
        names = [cell.strip().lower() for cell in cells]
        header = not any(_is_stamp(cell) for cell in cells)
        place = f"{self._path}: line {number}"
        if self._column is not None:
            self.time_at = self._chosen(names, header, place)
        elif header:
            found = [i for name in TIME_NAMES for i, n in enumerate(names) if n == name]
            if not found:
                raise TraceError(f"{place}: no time among the columns {_some(names)}; name it (column=..., --column)")
            self.time_at = found[0]
        else:
            self.time_at = next(i for i, cell in enumerate(cells) if _is_stamp(cell))
        if self._kind != "events":
            self.count_at = self._count_column(names, header, place)
        return header

    def _chosen(self, names: list[str], header: bool, place: str) -> int:
        column = str(self._column).strip().lower()
        if header and column in names:
            return names.index(column)
        if column.isdecimal() and len(column) < 10 and 1 <= int(column) <= len(names):
            return int(column) - 1
        raise TraceError(
            f"{place}: there is no column {self._column!r}; give one of "
            + (_some(names) if header else f"1 to {len(names)}")
        )

    def _count_column(self, names: list[str], header: bool, place: str) -> int | None:
        others = [i for i in range(len(names)) if i != self.time_at]
        if header:
            named = [i for name in COUNT_NAMES for i in others if names[i] == name]
            if named:
                return named[0]
        if self._kind == "counts":
            if others:
                return others[0]
            raise TraceError(f"{place}: counts need a second column; read the file as format events, or add the counts")
        if not header and len(others) == 1:
            raise TraceError(
                f"{place}: two columns without a header may be counts or events; say which (format=..., --format)"
            )
        return None


def _some(names: Iterable[str]) -> str:
    """The first names for an error message, whatever the file holds."""
    return ", ".join(name[:40] for name in islice(names, 12))


def _is_stamp(cell: str) -> bool:
    try:
        Stamps()(cell)
    except (ValueError, OverflowError):
        return False
    return True


def _count(path: Path, number: int, text: str) -> int:
    """A count; impossible ones end the reading, unreadable ones are a broken line (ValueError)."""
    if text.isdecimal() and len(text) < 16:
        return int(text)
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no count") from None
    remedy = "give whole numbers, 0 or more" if value == value else "leave the row out where there is no data"
    if not 0 <= value <= LARGEST_COUNT or value != int(value):
        raise TraceError(f"{path}: line {number}: a count of {text[:40]} is impossible; {remedy}")
    return int(value)


def bounded(path: Path, found: Found, number: int) -> None:
    """Refuse a file with more requests than can be held.

    Raises
    ------
    TraceError
        With the line at which it is too much.
    """
    if len(found.times_us) > MOST_ITEMS:
        raise TraceError(
            f"{path}: line {number}: more than {MOST_ITEMS} requests; "
            "cut the file into parts, or count them per minute first"
        )

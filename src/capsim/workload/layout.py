"""Where a table of text has its times and its numbers, and what the numbers are: told, or asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from capsim.workload import records, series
from capsim.workload.instants import Stamps
from capsim.workload.source import Source, some
from capsim.workload.written import AmbiguousDate

COUNT_NAMES = ("count", "counts", "requests", "n", "hits", "sum", "reqs", "request_count", "requestcount")
# Columns that only a table of single requests has: numbers in them are no counts.
_OF_REQUESTS = frozenset(
    name.lower().rsplit(".", 1)[-1]
    for name in (*records.METHODS, *records.TARGETS, *records.STATUSES, *records.DURATIONS_US, "duration", "latency")
) | {"code", "host", "user_agent", "useragent", "request_id", "id", "session_id", "user_id", "ip", "referer"}
SAMPLED_ROWS = 50
_UNIT = re.compile(r"(-?[\d.,]+)\s*(k)?\s*(req/s|reqps|rps|ops/s|ops|c/s|cps|/s|hz)$", re.IGNORECASE)
_LEVEL = re.compile(r"-?[\d.,]+ ?(?:[A-Za-zµ]{1,3}|%|[KMG]i?B/s)$")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
_COMMA_DECIMAL = re.compile(r"[+-]?\d+,\d+$")
_GROUPED = re.compile(r"\d{1,3}([, '\u00a0\u202f]\d{3})+(\.\d+)?$")


@dataclass
class Layout:
    """Where a table has its times and its numbers, and what those are."""

    time_at: int
    kind: str = "events"  # or count, rate, counter, units
    values_at: list[int] = field(default_factory=list)
    per_s: float = 1.0
    clock_at: int | None = None  # of a time of day, where the date has a column of its own
    summed: bool = False  # rows of the same time belong together
    notes: list[str] = field(default_factory=list)


class Planner:
    """Finds out how a table is laid out, from its header and its first rows."""

    def __init__(
        self, source: Source, header: list[str] | None, sample: list[tuple[int, list[str]]], delimiter: str
    ) -> None:
        self.source, self.asked, self.delimiter = source, source.asked, delimiter
        self.header = header
        self.line = sample[0][0]
        self.names = [name.lower() for name in header or []]
        self.rows = [cells for _, cells in (sample[1:] if header is not None else sample)]
        self.width = len(sample[0][1])

    def layout(self) -> Layout:
        layout = self._times()
        if self.asked.format == "events":
            return layout
        numbers = [at for at in range(self.width) if at not in (layout.time_at, layout.clock_at) and self._numeric(at)]
        if self._with_units(layout):
            return layout
        if self.asked.value is not None:
            numbers = [column_of(self.source, self.asked.value, self.header or [], self.header is not None, self.width)]
        chosen, known = self._chosen(numbers)
        if chosen is None:
            return layout if self.asked.format != "counts" else self._no_counts()
        layout.values_at = [chosen]
        name = self.names[chosen] if self.names else ""
        unit = series.unit_per_s(name)
        kind = self.asked.as_ or ("count" if self.asked.format == "counts" else None)
        if kind is None and unit is not None:
            kind = "rate"
            layout.notes.append(
                f"Column {name[:40]!r} was read as requests a {'second' if unit == 1 else 'minute'}, by its name, and "
                "multiplied by the step; --as count reads it as requests."
            )
        if kind is None and not known:
            kind = self._unnamed(layout, chosen)
        layout.kind, layout.per_s = kind or "count", unit or 1.0
        layout.summed = bool(self.names) and len({*range(self.width)} - {layout.time_at, chosen}) > 0
        return layout

    def _times(self) -> Layout:
        place = self.line
        if self.asked.column is not None:
            return Layout(column_of(self.source, self.asked.column, self.header or [], bool(self.header), self.width))
        if self.header is None:
            first = self.rows[0]
            return Layout(next(at for at, cell in enumerate(first) if is_stamp(cell, self.source)))
        stamped = [
            at for at in range(self.width)
            if any(at < len(row) and is_stamp(row[at], self.source) for row in self.rows[:3])
        ]  # fmt: skip
        named = [at for name in records.TIME_NAMES for at, own in enumerate(self.names) if own == name.lower()]
        for at in named:
            if at in stamped or not self.rows:
                return Layout(at)
        if {"date", "time"} <= set(self.names) and self.rows:
            day, clock = self.names.index("date"), self.names.index("time")
            first = self.rows[0]
            if max(day, clock) < len(first) and is_stamp(f"{first[day]} {first[clock]}", self.source):
                return Layout(day, clock_at=clock)
        if len(stamped) == 1:
            return Layout(stamped[0])
        if stamped:
            names = some(self._shown(at) for at in stamped)
            raise self.source.refuse(f"times are in several columns, {names}; name one (column=..., --column)", place)
        if named:
            return Layout(named[0])
        raise self.source.refuse(
            f"no time among the columns {some(self.header)}; name it (column=..., --column)", place
        )

    def _shown(self, at: int) -> str:
        """A column in a message."""
        return (self.header[at] if self.header else "") or f"number {at + 1}"

    def _numeric(self, at: int) -> bool:
        cells = [row[at].strip() for row in self.rows if at < len(row) and row[at].strip()]
        return bool(cells) and all(plain(cell, self.delimiter) is not None for cell in cells)

    def _with_units(self, layout: Layout) -> bool:
        """Columns whose cells carry a rate's unit, as a dashboard's table has them: all are added up."""
        others = [at for at in range(self.width) if at != layout.time_at]
        with_units = [at for at in others if any(at < len(r) and _UNIT.match(r[at].strip()) for r in self.rows)]
        if not with_units or self.asked.as_ == "count":
            return False
        for at in others:
            odd = [r[at] for r in self.rows if at < len(r) and r[at].strip() and not _UNIT.match(r[at].strip())]
            if odd and (at in with_units) and plain(odd[0].strip(), self.delimiter) is None:
                name = some([self._shown(at)])
                raise self.source.refuse(f"column {name} has {some(odd[:1])!r}, which {series.NO_LOAD}")
        layout.kind, layout.values_at = "rate", with_units
        layout.notes.append("Rates were multiplied by their step.")
        return True

    def _chosen(self, numbers: list[int]) -> tuple[int | None, bool]:
        """The column of numbers to read, and whether its name or the user says that they are requests."""
        if self.asked.value is not None:
            return numbers[0], False
        if self.header is not None:
            for name in COUNT_NAMES:
                for at in range(self.width):
                    if self.names[at] == name:
                        return at, True
        rates = [at for at in numbers if self.names and series.unit_per_s(self.names[at]) is not None]
        if len(rates) == 1:
            return rates[0], False
        if self.asked.as_ or self.asked.format == "counts":
            if len(numbers) == 1 or (numbers and self.header is None):
                return numbers[0], False
            if not numbers:
                return None, False
            raise self.source.refuse(
                f"several columns hold numbers, {some(self._shown(at) for at in numbers)}; "
                "name the one to read (value=..., --value)", self.line,
            )  # fmt: skip
        if self.header is None and len(numbers) == self.width - 1 == 1:
            raise self.source.refuse(
                "two columns without a header may be counts or events; say which (format=..., --format)", self.line
            )
        if self.header is not None and _OF_REQUESTS & {name.lstrip("@").rsplit(".", 1)[-1] for name in self.names}:
            return None, False
        if not self._even():
            return None, False
        if not numbers:
            self._no_levels()
        return (numbers[0], False) if numbers else (None, False)

    def _no_levels(self) -> None:
        """Refuse numbers with a unit that is no rate's, as of memory, beside evenly spaced stamps."""
        at_time = self._times().time_at
        for at in range(self.width):
            cells = [row[at].strip() for row in self.rows if at < len(row) and row[at].strip()]
            if at != at_time and cells and all(_LEVEL.match(cell) for cell in cells):
                name = some([self._shown(at)])
                raise self.source.refuse(f"column {name} has {cells[0][:20]!r}, which {series.NO_LOAD}", self.line)

    def _even(self) -> bool:
        layout, times = self._times(), []
        stamps = Stamps(self.asked.zone, self.asked.dates)
        for row in self.rows:
            try:
                times.append(stamps(stamp_of(row, layout)))
            except (ValueError, OverflowError, IndexError, AmbiguousDate):
                continue
        return series.evenly(times)

    def _unnamed(self, layout: Layout, chosen: int) -> str:
        """What numbers are that nothing names: asked."""
        others = [at for at in range(self.width) if at != layout.time_at and self._numeric(at)]
        names = some(self._shown(at) for at in others)
        one = len(others) == 1
        raise self.source.refuse(
            f"the numbers in column{'' if one else 's'} {names} beside evenly spaced stamps may be anything; say what "
            f"{'they are' if one else 'those of one (value=..., --value NAME) are'} (as_=..., --as count for requests "
            "in each step, rate for requests a second, counter for a running total), or --format events for a request "
            "a row",
            self.line,
        )

    def _no_counts(self) -> Layout:
        if self.width < 2:
            what = "counts need a second column; read the file as format events, or add the counts"
        else:
            what = f"no column of numbers among {some(self.header)}" if self.header else "no column of numbers"
            what += "; name it (value=..., --value)"
        raise self.source.refuse(what, self.line)


def column_of(source: Source, column: str, header: list[str], named: bool, width: int) -> int:
    names = [name.lower() for name in header]
    if named and column.lower() in names:
        return names.index(column.lower())
    if column.isdecimal() and len(column) < 10 and 1 <= int(column) <= (len(names) if named else width):
        return int(column) - 1
    raise source.refuse(
        f"there is no column {column[:40]!r}; give one of " + (some(header) if named else f"1 to {width}"), 1
    )


def stamp_of(cells: list[str], layout: Layout) -> str:
    if layout.clock_at is None:
        return cells[layout.time_at]
    return f"{cells[layout.time_at].strip()} {cells[layout.clock_at].strip()}"


def is_stamp(cell: str, source: Source) -> bool:
    try:
        Stamps(source.asked.zone, source.asked.dates)(cell)
    except AmbiguousDate:
        return True
    except (ValueError, OverflowError):
        return False
    return True


def plain(cell: str, delimiter: str) -> float | None:
    """A number as spreadsheets write it; None if it is none, or may be two."""
    if _NUMBER.match(cell):
        if delimiter == ";" and re.fullmatch(r"[1-9]\d{0,2}\.\d{3}", cell):  # thousands, or a fraction
            return None
        return float(cell)
    grouped = _GROUPED.match(cell)
    if delimiter == ";" and _COMMA_DECIMAL.match(cell) and not grouped:
        return float(cell.replace(",", "."))
    if grouped and not (delimiter == ";" and cell.count(",") == 1):
        return float(re.sub("[, '\u00a0\u202f]", "", cell))
    hit = _UNIT.match(cell)
    if hit and (number := plain(hit[1], delimiter)) is not None:
        return number * (1_000 if hit[2] else 1)
    return None

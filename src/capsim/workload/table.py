"""CSV and other tables of text: one request a row, or numbers of them beside stamps."""

from __future__ import annotations

import csv
import re
from array import array
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from capsim.workload import records, series
from capsim.workload.layout import SAMPLED_ROWS, Layout, Planner, column_of, is_stamp, plain, stamp_of
from capsim.workload.model import LARGEST_COUNT, MOST_ITEMS
from capsim.workload.source import Found, Source, fits

Numbered = Iterable[tuple[int, bytes]]
Rows = Iterator[tuple[int, list[str]]]

class Splitter:
    """Rows of a table into cells; line by line, so that a stray quote breaks one line and not the rest of the file."""

    def __init__(self) -> None:
        self.delimiter = ""

    def __call__(self, line: str) -> list[str]:
        if not self.delimiter:
            self.delimiter = max(",;\t", key=line.count)
        if '"' not in line:
            return line.split(self.delimiter)
        try:
            return next(csv.reader([line], delimiter=self.delimiter))
        except (csv.Error, StopIteration):
            return []


def read_table(source: Source, lines: Numbered) -> Found:
    """``timestamp,count``, rates or a counter beside stamps, or one timestamp per row.

    Raises
    ------
    TraceError
        If no column holds times, or if it does not say what the numbers are.
    """
    split = Splitter()
    rows = _rows(lines, split)
    sample = list(islice(rows, SAMPLED_ROWS + 1))
    if not sample:
        return Found()
    header = None if any(is_stamp(cell, source) for cell in sample[0][1]) else [c.strip() for c in sample[0][1]]
    layout = Planner(source, header, sample, split.delimiter).layout()
    data: Rows = chain(sample[1:] if header is not None else sample, rows)
    notes: list[str] = []
    if source.asked.condition is not None:
        data = _chosen(source, header, data, notes)
    if layout.kind == "events":
        found = _events(source, layout, header, data)
    else:
        found = _series(source, layout, data, split.delimiter)
    found.notes = [*layout.notes, *found.notes, *notes]
    return found


def _rows(lines: Numbered, split: Splitter) -> Rows:
    begun = False
    for number, raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not begun:
            if line.lower().startswith("sep=") and len(line) == 5:  # for a spreadsheet
                split.delimiter = line[4]
                continue
            if line.startswith("#") and "," not in line:
                continue
        if line and not line.isspace():
            begun = True
            yield number, split(line)


def _chosen(source: Source, header: list[str] | None, rows: Rows, notes: list[str]) -> Rows:
    assert source.asked.condition is not None
    name, pattern = source.asked.condition
    at = column_of(source, name, header or [], header is not None, 10_000)
    others = rest = 0
    for number, cells in rows:
        if at < len(cells) and fits(cells[at].strip() or None, pattern):
            rest += 1
            yield number, cells
        else:
            others += 1
    if not rest:
        raise source.refuse(f"none of its {others} rows has {source.asked.where!r}; correct --where")
    if others:
        notes.append(f"{others} of {others + rest} rows without {source.asked.where} were left out, as asked.")


def _events(source: Source, layout: Layout, header: list[str] | None, rows: Rows) -> Found:
    """One request a row."""
    found = Found(columns=source.columns)
    stamps, broken, at, times = source.stamps, source.broken, layout.time_at, found.times_us
    said = None if found.columns is None or header is None else records.Said()
    for number, cells in rows:
        found.lines += 1
        try:
            times.append(stamps(cells[at] if layout.clock_at is None else stamp_of(cells, layout)))
        except IndexError:
            broken.add(number, ",".join(cells), f"only {len(cells)} column{'s' * (len(cells) > 1)}")
            continue
        except (ValueError, OverflowError) as error:
            broken.add(number, ",".join(cells), str(error))
            continue
        if said is not None and header is not None and found.columns is not None:
            said.add(found.columns, dict(zip(header, cells, strict=False)))
        if len(times) > MOST_ITEMS:
            source.bounded(found, number)
    if found.columns is not None and said is None:
        found.columns = None
    return found


def _series(source: Source, layout: Layout, rows: Rows, delimiter: str) -> Found:
    """Numbers of requests beside stamps."""
    found = Found(counts=array("q"))
    points: list[tuple[int, float]] = []
    last_us, empty, merged = -1, 0, 0
    source.stamps.expect_forward(not layout.summed)
    for number, cells in rows:
        found.lines += 1
        try:
            instant = source.stamps(stamp_of(cells, layout))
            texts = [cells[at].strip() for at in layout.values_at]
        except IndexError:
            source.broken.add(number, ",".join(cells), f"only {len(cells)} column{'s' * (len(cells) > 1)}")
            continue
        except (ValueError, OverflowError) as error:
            source.broken.add(number, ",".join(cells), str(error))
            continue
        if not any(texts):
            empty += 1
            continue
        try:
            value = sum(_value(source, layout, number, text, delimiter) for text in texts if text)
        except ValueError as error:
            source.broken.add(number, ",".join(cells), str(error))
            continue
        if layout.summed and instant == last_us:
            points[-1] = (instant, points[-1][1] + value)
            merged += 1
            continue
        series.forward(source, number, instant, last_us)
        last_us = instant
        points.append((instant, value))
        if len(points) > MOST_ITEMS:
            source.bounded(found, number)
    if empty:
        found.notes.append(f"{empty} rows without a number were left out: no data, not zero load.")
    if merged:
        found.notes.append(f"{merged} rows of the same time as the one before were added to it.")
    _as_counts(source, layout, found, points)
    return found


def _value(source: Source, layout: Layout, number: int, text: str, delimiter: str) -> float:
    """A number; impossible ones end the reading, unreadable ones are a broken line (ValueError)."""
    if text.isdecimal() and len(text) < 16:
        return int(text)
    value = plain(text, delimiter)
    if value is None:
        try:
            value = float(text)  # nan, inf
        except ValueError:
            if re.match(r"\d{1,3}[.,]\d{3}$", text):
                remedy = "it may be thousands or a fraction: write it without separators of thousands"
                raise series.bad_count(source, number, text, remedy) from None
            raise ValueError(f"{text[:40]!r} is no {layout.kind}") from None
        if value == value and abs(value) != float("inf"):
            remedy = "it may be thousands or a fraction: write it without separators of thousands"
            raise series.bad_count(source, number, text, remedy)
    if value != value:
        raise series.bad_count(source, number, text, "leave the row out where there is no data")
    if value < 0 or (layout.kind == "count" and value > LARGEST_COUNT):
        raise series.bad_count(source, number, text, "give whole numbers, 0 or more")
    if layout.kind == "count" and value != int(value):
        remedy = "give whole numbers, 0 or more; or --as rate, if these are requests a second"
        raise series.bad_count(source, number, text, remedy)
    return value


def _as_counts(source: Source, layout: Layout, found: Found, points: list[tuple[int, float]]) -> None:
    assert found.counts is not None
    step_us = series.step_of(points)
    if layout.kind == "count":
        found.times_us = array("q", [at for at, _ in points])
        found.counts = array("q", [int(value) for _, value in points])
        if source.asked.as_ is None and len(points) > 9 and series.only_rises([value for _, value in points]):
            least, steps = points[0][1], points[-1][1] - points[0][1]
            if least > steps:
                raise source.refuse(
                    "the counts only rise, as a running total does; say what they are (as_=..., --as counter or count)"
                )
        return
    if step_us:
        found.width_us = step_us
    if layout.kind == "counter":
        series.into(source, found, series.from_counter(points, step_us))
    elif len(points) > 1:
        series.into(source, found, series.from_rates(points, step_us, layout.per_s))

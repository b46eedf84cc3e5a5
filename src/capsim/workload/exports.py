"""Line by line exports of load tests and platforms: what each tells of when requests came."""

from __future__ import annotations

import csv
import datetime as dt
import re
from array import array
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from capsim.base.units import US_PER_MINUTE, US_PER_S
from capsim.workload import documents, patterns, records, series, table
from capsim.workload.documents import take
from capsim.workload.instants import iso
from capsim.workload.lines import lines_of
from capsim.workload.source import Found, Source

LONGEST_HOLE_S = 7 * 86_400  # over which the requests of a Locust file are spread; it writes a line a second
AZURE_2019 = dt.date(2019, 7, 15)  # day d01 of the set, as its description has it
AZURE_2021 = dt.date(2021, 1, 31)

Reader = Callable[[Source], Found]


def read_k6_json(source: Source) -> Found:
    """Points of the metric ``http_reqs``."""
    found = Found()
    for number, record in _records(source, found):
        if record.get("type") == "Point" and record.get("metric") == "http_reqs":
            data = record.get("data")
            take(found, source, number, data.get("time") if isinstance(data, dict) else None)
    return found


def read_k6_csv(source: Source) -> Found:
    """Rows of the metric ``http_reqs``."""
    found = Found()
    for number, row in _rows(source, found):
        if row.get("metric_name") == "http_reqs":
            take(found, source, number, row.get("timestamp"))
    return found


def read_vegeta_json(source: Source) -> Found:
    """Results of ``vegeta encode``: when each request was sent."""
    found = Found()
    for number, record in _records(source, found):
        take(found, source, number, record.get("timestamp"))
    return found


def read_vegeta_csv(source: Source) -> Found:
    """Results of ``vegeta encode --to csv``: nanoseconds in the first of twelve columns, no header."""
    found = Found()
    for number, raw in lines_of(source.path):
        if raw.strip():
            found.lines += 1
            take(found, source, number, raw.decode("latin-1").split(",", 1)[0])
    return found


def read_locust(source: Source) -> Found:
    """``*_stats_history.csv``: differences of Total Request Count of the aggregated rows, second by second."""
    found = Found(counts=array("q"))
    points: list[tuple[int, int]] = []
    for number, row in _rows(source, found):
        if row.get("Name") != "Aggregated":
            continue
        try:
            points.append((source.stamps(row["Timestamp"]), int(float(row["Total Request Count"]))))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            source.broken.add(number, "", str(error))
    spread: dict[int, float] = {}
    for (before_us, before), (at_us, total) in pairwise(points):
        seconds = (at_us - before_us) // US_PER_S
        if seconds < 1:
            continue
        if seconds > LONGEST_HOLE_S:
            raise source.refuse(
                f"nothing between {iso(before_us)} and {iso(at_us)}; give the two parts as files of their own"
            )
        more = total - before if total >= before else total
        for second in range(seconds):
            spread[before_us + second * US_PER_S] = more / seconds
    found.notes.append("Requests/s of Locust is a mean over 10 s; the differences of its total were used.")
    series.into(source, found, sorted(spread.items()))
    return found


def read_azure_2019(source: Source) -> Found:
    """Azure Functions 2019: a row a function, a column a minute; the day stands in the file's name."""
    named = re.search(r"\.d(\d\d)\.", source.path.name)
    day = AZURE_2019 + dt.timedelta(days=int(named[1]) - 1 if named else 0)
    totals = [0] * 1_440
    found = Found(counts=array("q"), notes=[f"The file tells no date: {day} is taken, by its name."])
    for number, row in _rows(source, found):
        try:
            own = [int(row[str(minute)]) for minute in range(1, 1_441)]
        except (KeyError, TypeError, ValueError) as error:
            source.broken.add(number, "", f"{error} is no count of a minute")
            continue
        totals = [a + b for a, b in zip(totals, own, strict=True)]
    start_us = source.stamps(f"{day}T00:00:00Z")
    if found.lines:
        series.into(source, found, [(start_us + m * US_PER_MINUTE, n) for m, n in enumerate(totals)])
    return found


def read_azure_2021(source: Source) -> Found:
    """Azure Functions 2021: end less duration, in seconds since the start of the set."""
    start_us = source.stamps(f"{AZURE_2021}T00:00:00Z")
    found = Found(notes=[f"The file counts seconds from its start: {AZURE_2021} is taken."])
    for number, row in _rows(source, found):
        try:
            at_s = float(row["end_timestamp"]) - float(row["duration"])
            if not 0 <= at_s < 10 * 366 * 86_400:
                raise ValueError(f"{at_s:g} s is no time since the start")
            found.times_us.append(start_us + round(at_s * US_PER_S))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            source.broken.add(number, "", str(error))
    return found


READERS: dict[str, Reader] = {
    "azure-2019": read_azure_2019,
    "azure-2021": read_azure_2021,
    "artillery": documents.read_artillery,
    "cloudwatch": documents.read_cloudwatch,
    "grafana": lambda source: table.read_table(source, lines_of(source.path)),
    "har": documents.read_har,
    "json-array": documents.read_json_array,
    "k6-csv": read_k6_csv,
    "k6-json": read_k6_json,
    "locust": read_locust,
    "otlp": documents.read_otlp,
    "prometheus": documents.read_prometheus,
    "vegeta-csv": read_vegeta_csv,
    "vegeta-json": read_vegeta_json,
    "w3c": patterns.read_w3c,
    **{line.name: patterns.reader(line) for line in patterns.LINES},
}

_VEGETA_LINE = re.compile(r"\d{19},\d{1,3},\d+,\d+,\d+,")
_HEADERS = (
    ("HashOwner,HashApp,HashFunction,Trigger,1,", "azure-2019"),
    ("app,func,end_timestamp,duration", "azure-2021"),
    ("metric_name,timestamp,metric_value,", "k6-csv"),
    ("Timestamp,User Count,Type,Name,", "locust"),
)


def line_format(lines: list[str]) -> str | None:
    """Which format the first lines of a file are of."""
    first = lines[0].replace('"', "")
    for start, name in _HEADERS:
        if first.startswith(start):
            return name
    if _VEGETA_LINE.match(lines[0]):
        return "vegeta-csv"
    if lines[0].startswith("{"):
        try:
            record = records.parsed(lines[0])
        except ValueError:
            return None
        if isinstance(record, dict):
            if record.get("type") in ("Point", "Metric") and "metric" in record:
                return "k6-json"
            if {"attack", "seq", "latency"} <= set(record):
                return "vegeta-json"
            if "resourceSpans" in record:
                return "otlp"
        return None
    return patterns.line_format(lines)


def _records(source: Source, found: Found) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, raw in lines_of(source.path):
        if not raw.strip():
            continue
        found.lines += 1
        try:
            record = records.parsed(raw)
        except ValueError:
            source.broken.add(number, "", "no JSON")
            continue
        if isinstance(record, dict):
            yield number, record
        else:
            source.broken.add(number, "", "no JSON object")


def _rows(source: Source, found: Found) -> Iterator[tuple[int, dict[str, str]]]:
    header: list[str] | None = None
    for number, raw in lines_of(source.path):
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line.strip():
            continue
        try:
            cells = next(csv.reader([line]))
        except (csv.Error, StopIteration):
            cells = []
        if header is None:
            header = [cell.strip() for cell in cells]
            continue
        found.lines += 1
        if len(cells) < len(header):
            source.broken.add(number, line, f"only {len(cells)} of {len(header)} columns")
            continue
        yield number, dict(zip(header, cells, strict=False))

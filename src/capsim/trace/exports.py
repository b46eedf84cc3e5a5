"""Exports of load tests, monitoring, load balancers and tracing: what each tells of when requests came.

Three kinds are kept apart. Events are one instant a request; counts are requests in a bin, from a counter by its
differences or from a rate times its step; a level (memory, players online, CPU) is no load and is refused.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
import re
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from capsim.errors import TraceError
from capsim.trace.formats import Found, Numbered
from capsim.trace.instants import Stamps, iso
from capsim.trace.lines import Broken, lines_of
from capsim.trace.model import LARGEST_COUNT
from capsim.units import US_PER_MINUTE, US_PER_MS, US_PER_S

LARGEST_DOCUMENT_BYTES = 256 << 20
LONGEST_HOLE_S = 7 * 86_400  # over which the requests of a Locust file are spread; it writes a line a second
NO_LOAD = "is a level, not a number of requests; export a counter of requests or their rate"
_ENVOY = re.compile(r'\[(\d{4}-\d\d-\d\dT[\d:.]+Z)\] "[A-Z-]+ ')
_RATE_UNIT = re.compile(r"(-?[\d.]+)\s*(k)?\s*(req/s|reqps|rps|ops/s|ops|c/s|cps|/s|hz)?$", re.IGNORECASE)
_COUNTER = ("_total", "_count", "_sum", "_bucket")
AZURE_2019 = dt.date(2019, 7, 15)  # day d01 of the set, as its description has it
AZURE_2021 = dt.date(2021, 1, 31)

Reader = Callable[[Path, Broken, Stamps], Found]


# --- one document


def document_of(path: Path) -> Any:
    """A file that is one JSON document.

    Raises
    ------
    TraceError
        If it is too large or no JSON.
    """
    raw = bytearray()
    for _, line in lines_of(path):
        raw += line
        if len(raw) > LARGEST_DOCUMENT_BYTES:  # of a packed file, what is still to come may be any size
            raise TraceError(f"{path}: one JSON document of more than 256 MiB; export a shorter time")
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise TraceError(f"{path}: is no JSON document ({type(error).__name__}); export it again") from None


def document_format(data: Any) -> str | None:
    """Which format a JSON document is."""
    if not isinstance(data, dict):
        return None
    inner = data.get("data")
    if isinstance(inner, dict) and inner.get("resultType") == "matrix":
        return "prometheus"
    if isinstance(data.get("Datapoints"), list):
        return "cloudwatch"
    if isinstance(data.get("log"), dict) and isinstance(data["log"].get("entries"), list):
        return "har"
    if isinstance(data.get("resourceSpans"), list):
        return "otlp"
    return None


def _document(path: Path, format: str, where: str) -> dict[str, Any]:
    """A file that is one JSON document of this format; somebody may have named the wrong one."""
    data = document_of(path)
    if document_format(data) != format:
        raise TraceError(f"{path}: is no export of {format} ({where} is missing); name another format, or none")
    return data  # type: ignore[no-any-return]


def _objects(parent: Mapping[str, Any], key: str, number: int, broken: Broken) -> Iterator[Mapping[str, Any]]:
    """The objects that a list in a document holds; anything else there counts as broken."""
    listed = parent.get(key, [])
    for one in listed if isinstance(listed, list) else [listed]:
        if isinstance(one, dict):
            yield one
        else:
            broken.add(number, "", f"{key} holds {str(one)[:20]!r} where an object belongs")


def read_har(path: Path, broken: Broken, stamps: Stamps) -> Found:
    """Requests of one browser: ``log.entries[].startedDateTime``."""
    found = Found(notes=["A HAR file is what one client did: good for which routes are asked, not for the load."])
    for number, entry in enumerate(_document(path, "har", "log.entries")["log"]["entries"], 1):
        found.lines += 1
        _take(found, broken, number, stamps, lambda e=entry: e["startedDateTime"])  # type: ignore[misc]
    return found


def read_otlp(path: Path, broken: Broken, stamps: Stamps) -> Found:
    """Spans of kind server, by their start; one document, or one a line."""
    found = Found(notes=["Spans are requests only if none were sampled away; scale by the sampling rate otherwise."])
    others = 0
    for number, data in _documents(path, broken):
        for span in _spans(data, number, broken):
            if span.get("kind") not in (2, "SPAN_KIND_SERVER"):
                others += 1
                continue
            found.lines += 1
            _take(found, broken, number, stamps, lambda s=span: int(s["startTimeUnixNano"]))  # type: ignore[misc]
    if others:
        found.notes.append(f"{others} spans that are not of kind server were left out.")
    return found


def _spans(data: Any, number: int, broken: Broken) -> Iterator[Mapping[str, Any]]:
    if not isinstance(data, dict):
        broken.add(number, "", "no JSON object")
        return
    for resource in _objects(data, "resourceSpans", number, broken):
        for scope in _objects(resource, "scopeSpans", number, broken):
            yield from _objects(scope, "spans", number, broken)


def _documents(path: Path, broken: Broken) -> Iterator[tuple[int, Any]]:
    try:
        yield 1, document_of(path)
        return
    except TraceError:
        pass
    for number, raw in lines_of(path):
        try:
            yield number, json.loads(raw)
        except (ValueError, RecursionError):
            broken.add(number, "", "no JSON")


def read_prometheus(path: Path, broken: Broken, stamps: Stamps) -> Found:
    """The answer of ``query_range``: counters by their differences, rates times their step; all series together."""
    data = _document(path, "prometheus", "data.resultType matrix")["data"]
    together: dict[int, float] = defaultdict(float)
    found = Found(counts=array("q"))
    kinds = set()
    width_us = 0
    for series in _objects(data, "result", 1, broken):
        metric, values = series.get("metric"), series.get("values")
        name = str(metric.get("__name__", "")) if isinstance(metric, dict) else ""
        points: list[tuple[int, float]] = []
        for number, point in enumerate(values if isinstance(values, list) else [values], 1):
            found.lines += 1
            try:
                value = float(point[1])
                if not (math.isfinite(value) and value >= 0):
                    raise ValueError(f"{point[1]!r} is no count")
                points.append((stamps(float(point[0])), value))
            except (KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
                broken.add(number, "", str(error))
        if len(points) < 2:
            continue
        step_us = min(b[0] - a[0] for a, b in pairwise(points))
        if width_us and step_us != width_us:
            raise TraceError(f"{path}: series of {width_us / 1e6:g} and {step_us / 1e6:g} s steps; query one step")
        width_us = step_us
        kind = "counter" if name.endswith(_COUNTER) else "rate" if not name else "level"
        if kind == "level":
            raise TraceError(f"{path}: {name} {NO_LOAD} (rate(...) of one will do)")
        kinds.add(kind)
        if name.endswith(("_sum", "_bucket")):
            raise TraceError(f"{path}: {name} counts seconds, or requests several times over; query the _count of it")
        for (before_us, before), (at_us, value) in pairwise(points):
            if at_us - before_us != step_us:
                continue  # a hole: what came in it is no bin's
            # A counter that falls back began anew: what it shows has come since.
            more = (value - before if value >= before else value) if kind == "counter" else value * step_us / 1e6
            together[before_us] += more
    if len(kinds) > 1:
        raise TraceError(f"{path}: counters and rates in one file would be added up; query one of them")
    if "rate" in kinds:
        found.notes.append("Rates were multiplied by their step: requests are right in the sum, not one by one.")
    _whole(path, found, sorted(together.items()))
    return found


def read_cloudwatch(path: Path, broken: Broken, stamps: Stamps) -> Found:
    """``get-metric-statistics`` with Sum, in whatever order it comes."""
    data = _document(path, "cloudwatch", "the list Datapoints")
    label = str(data.get("Label", "the metric"))
    found = Found(counts=array("q"))
    points = []
    for number, point in enumerate(data["Datapoints"], 1):
        found.lines += 1
        if not isinstance(point, dict) or "Sum" not in point:
            raise TraceError(f"{path}: {label} has no Sum; ask for --statistics Sum, which counts requests")
        if point.get("Unit") not in (None, "None", "Count"):
            raise TraceError(f"{path}: {label} is in {point['Unit']}, so it {NO_LOAD}")
        try:
            points.append((stamps(point["Timestamp"]), float(point["Sum"])))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            broken.add(number, "", str(error))
    _whole(path, found, sorted(points))
    return found


# --- lines


def read_k6_json(path: Path, broken: Broken, stamps: Stamps) -> Found:
    """Points of the metric ``http_reqs``."""
    found = Found()
    for number, record in _records(lines_of(path), broken, found):
        if record.get("type") == "Point" and record.get("metric") == "http_reqs":
            _take(found, broken, number, stamps, lambda r=record: _micro(r["data"]["time"]))  # type: ignore[misc]
    return found


def read_k6_csv(path: Path, broken: Broken, stamps: Stamps) -> Found:
    """Rows of the metric ``http_reqs``."""
    found = Found()
    for number, row in _rows(path, broken, found):
        if row.get("metric_name") == "http_reqs":
            _take(found, broken, number, stamps, lambda r=row: r["timestamp"])  # type: ignore[misc]
    return found


def read_vegeta_json(path: Path, broken: Broken, stamps: Stamps) -> Found:
    """Results of ``vegeta encode``: when each request was sent."""
    found = Found()
    for number, record in _records(lines_of(path), broken, found):
        _take(found, broken, number, stamps, lambda r=record: _micro(r["timestamp"]))  # type: ignore[misc]
    return found


def read_vegeta_csv(path: Path, broken: Broken, stamps: Stamps) -> Found:
    """Results of ``vegeta encode --to csv``: nanoseconds in the first of twelve columns, no header."""
    found = Found()
    for number, raw in lines_of(path):
        if raw.strip():
            found.lines += 1
            _take(found, broken, number, stamps, lambda r=raw: r.decode("latin-1").split(",", 1)[0])  # type: ignore[misc]
    return found


def read_locust(path: Path, broken: Broken, stamps: Stamps) -> Found:
    """``*_stats_history.csv``: differences of Total Request Count of the aggregated rows, second by second."""
    found = Found(counts=array("q"))
    points: list[tuple[int, int]] = []
    for number, row in _rows(path, broken, found):
        if row.get("Name") != "Aggregated":
            continue
        try:
            points.append((stamps(row["Timestamp"]), int(float(row["Total Request Count"]))))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            broken.add(number, "", str(error))
    spread: dict[int, float] = {}
    for (before_us, before), (at_us, total) in pairwise(points):
        seconds = (at_us - before_us) // US_PER_S
        if seconds < 1:
            continue
        if seconds > LONGEST_HOLE_S:
            raise TraceError(
                f"{path}: nothing between {iso(before_us)} and {iso(at_us)}; give the two parts as files of their own"
            )
        more = total - before if total >= before else total
        for second in range(seconds):
            spread[before_us + second * US_PER_S] = more / seconds
    found.notes.append("Requests/s of Locust is a mean over 10 s; the differences of its total were used.")
    _whole(path, found, sorted(spread.items()))
    return found


def read_alb(path: Path, broken: Broken, stamps: Stamps) -> Found:
    """AWS application load balancer: when a request was received, or else the answer less the time it took."""
    found = Found()
    for number, raw in lines_of(path):
        line = raw.decode("utf-8", "replace").strip()
        if not line:
            continue
        found.lines += 1

        def received(line: str = line) -> Any:
            fields = next(csv.reader([line], delimiter=" "))
            if len(fields) > 21 and fields[21] != "-":
                return fields[21]
            took = sum(float(f) for f in fields[5:8] if not f.startswith("-"))
            return (stamps(fields[1]) - round(took * US_PER_S)) / US_PER_S

        _take(found, broken, number, stamps, received)
    return found


def read_envoy(path: Path, broken: Broken, stamps: Stamps) -> Found:
    """Envoy's default text: the start of each request."""
    found = Found()
    for number, raw in lines_of(path):
        line = raw.decode("utf-8", "replace")
        if not line.strip():
            continue
        found.lines += 1
        hit = _ENVOY.match(line)
        if hit is None:
            broken.add(number, line, "no line of Envoy's default format")
        else:
            _take(found, broken, number, stamps, lambda h=hit: h[1])  # type: ignore[misc]
    return found


def read_grafana(path: Path, broken: Broken, stamps: Stamps) -> Found:
    """A panel's CSV of rates: every column after Time, times its step."""
    found = Found(counts=array("q"), notes=["Rates were multiplied by their step."])
    points: list[tuple[int, float]] = []
    for number, row in _rows(path, broken, found):
        try:
            at_us = stamps(row["Time"])
            rate = 0.0
            for name, cell in row.items():
                if name == "Time" or not (cell or "").strip():
                    continue
                hit = _RATE_UNIT.match(cell.strip())
                if hit is None:
                    raise TraceError(f"{path}: line {number}: {name} is {cell[:20]!r}, which {NO_LOAD}")
                rate += float(hit[1]) * (1_000 if hit[2] else 1)
            points.append((at_us, rate))
        except (KeyError, ValueError, OverflowError) as error:
            broken.add(number, "", str(error))
    points.sort()
    if len(points) > 1:
        step_us = min(b[0] - a[0] for a, b in pairwise(points))
        _whole(path, found, [(at, rate * step_us / US_PER_S) for at, rate in points])
    return found


def read_azure_2019(path: Path, broken: Broken, stamps: Stamps) -> Found:
    """Azure Functions 2019: a row a function, a column a minute; the day stands in the file's name."""
    named = re.search(r"\.d(\d\d)\.", path.name)
    day = AZURE_2019 + dt.timedelta(days=int(named[1]) - 1 if named else 0)
    totals = [0] * 1_440
    found = Found(counts=array("q"), notes=[f"The file tells no date: {day} is taken, by its name."])
    for number, row in _rows(path, broken, found):
        try:
            own = [int(row[str(minute)]) for minute in range(1, 1_441)]
        except (KeyError, TypeError, ValueError) as error:
            broken.add(number, "", f"{error} is no count of a minute")
            continue
        totals = [a + b for a, b in zip(totals, own, strict=True)]
    start_us = stamps(f"{day}T00:00:00Z")
    if found.lines:
        _whole(path, found, [(start_us + m * US_PER_MINUTE, n) for m, n in enumerate(totals)])
    return found


def read_azure_2021(path: Path, broken: Broken, stamps: Stamps) -> Found:
    """Azure Functions 2021: end less duration, in seconds since the start of the set."""
    start_us = stamps(f"{AZURE_2021}T00:00:00Z")
    found = Found(notes=[f"The file counts seconds from its start: {AZURE_2021} is taken."])
    for number, row in _rows(path, broken, found):
        try:
            at_s = float(row["end_timestamp"]) - float(row["duration"])
            if not 0 <= at_s < 10 * 366 * 86_400:
                raise ValueError(f"{at_s:g} s is no time since the start")
            found.times_us.append(start_us + round(at_s * US_PER_S))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            broken.add(number, "", str(error))
    return found


READERS: dict[str, Reader] = {
    "alb": read_alb,
    "azure-2019": read_azure_2019,
    "azure-2021": read_azure_2021,
    "cloudwatch": read_cloudwatch,
    "envoy": read_envoy,
    "grafana": read_grafana,
    "har": read_har,
    "k6-csv": read_k6_csv,
    "k6-json": read_k6_json,
    "locust": read_locust,
    "otlp": read_otlp,
    "prometheus": read_prometheus,
    "vegeta-csv": read_vegeta_csv,
    "vegeta-json": read_vegeta_json,
}

_ALB_LINE = re.compile(r"(https?|h2|grpcs|wss?) \d{4}-\d\d-\d\dT\S+Z \S+ \S+:\d+ ")
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
    if first.startswith("Time,"):
        return "grafana"
    if _ALB_LINE.match(lines[0]):
        return "alb"
    if _ENVOY.match(lines[0]):
        return "envoy"
    if _VEGETA_LINE.match(lines[0]):
        return "vegeta-csv"
    if lines[0].startswith("{"):
        try:
            record = json.loads(lines[0])
        except (ValueError, RecursionError):
            return None
        if isinstance(record, dict):
            if record.get("type") in ("Point", "Metric") and "metric" in record:
                return "k6-json"
            if {"attack", "seq", "latency"} <= set(record):
                return "vegeta-json"
            if "resourceSpans" in record:
                return "otlp"
    return None


# --- what the readers share


def _take(found: Found, broken: Broken, number: int, stamps: Stamps, read: Callable[[], Any]) -> None:
    try:
        found.times_us.append(stamps(read()))
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, StopIteration, csv.Error) as error:
        broken.add(number, "", f"no time ({error})" if isinstance(error, KeyError) else str(error))


def _micro(stamp: str) -> str:
    """A stamp with nanoseconds, cut to what `datetime` reads."""
    return re.sub(r"(\.\d{6})\d+", r"\1", stamp)


def _records(lines: Numbered, broken: Broken, found: Found) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, raw in lines:
        if not raw.strip():
            continue
        found.lines += 1
        try:
            record = json.loads(raw)
        except (ValueError, RecursionError):
            broken.add(number, "", "no JSON")
            continue
        if isinstance(record, dict):
            yield number, record
        else:
            broken.add(number, "", "no JSON object")


def _rows(path: Path, broken: Broken, found: Found) -> Iterator[tuple[int, dict[str, str]]]:
    header: list[str] | None = None
    for number, raw in lines_of(path):
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
            broken.add(number, line, f"only {len(cells)} of {len(header)} columns")
            continue
        yield number, dict(zip(header, cells, strict=False))


def _whole(path: Path, found: Found, points: Iterable[tuple[int, float]]) -> None:
    """Counts from parts of requests: rounded so that no sum is off by more than half a request.

    Raises
    ------
    TraceError
        Where a number is none, or more than any server gets in a day.
    """
    assert found.counts is not None
    exact, given = 0.0, 0
    for at_us, number in points:
        if not abs(number) <= LARGEST_COUNT:
            shown = f"{number:.6g}" if abs(number) < 1e300 else "nan" if number != number else "endless"
            raise TraceError(f"{path}: {shown} requests at {iso(at_us)} are impossible; correct it or leave it out")
        exact += number
        whole = math.floor(exact + 0.5 + 1e-9) - given
        found.times_us.append(at_us // US_PER_MS * US_PER_MS)
        found.counts.append(whole)
        given += whole

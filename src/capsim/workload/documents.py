"""Files that are one JSON document: of monitoring, load tests, tracing, or a list of log records."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from capsim.base.errors import TraceError
from capsim.workload import records, series
from capsim.workload.lines import lines_of
from capsim.workload.source import Found, Source, some

LARGEST_DOCUMENT_BYTES = 256 << 20
_COUNTER = ("_total", "_count", "_sum", "_bucket")
_LISTS = ("logs", "httpLogs", "entries", "items", "hits", "results", "data", "events", "records")


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
        return records.parsed(bytes(raw))
    except ValueError as error:
        raise TraceError(f"{path}: is no JSON document ({type(error).__name__}); export it again") from None


def document_format(data: Any) -> str | None:
    """Which format a JSON document is."""
    if isinstance(data, list):
        return "json-array"
    if not isinstance(data, dict):
        return None
    inner = data.get("data")
    if isinstance(inner, dict) and inner.get("resultType") in ("matrix", "vector", "scalar"):
        return "prometheus"
    if isinstance(data.get("Datapoints"), list) or isinstance(data.get("MetricDataResults"), list):
        return "cloudwatch"
    if isinstance(data.get("log"), dict) and isinstance(data["log"].get("entries"), list):
        return "har"
    if isinstance(data.get("resourceSpans"), list):
        return "otlp"
    if isinstance(data.get("intermediate"), list) and "aggregate" in data:
        return "artillery"
    return "json-array" if _records_in(data) is not None else None


def _document(source: Source, format: str, where: str) -> Any:
    """A file that is one JSON document of this format; somebody may have named the wrong one."""
    data = document_of(source.path)
    if document_format(data) != format:
        raise source.refuse(f"is no export of {format} ({where} is missing); name another format, or none")
    return data


def _objects(parent: Mapping[str, Any], key: str, number: int, source: Source) -> Iterator[Mapping[str, Any]]:
    """The objects that a list in a document holds; anything else there counts as broken."""
    listed = parent.get(key, [])
    for one in listed if isinstance(listed, list) else [listed]:
        if isinstance(one, dict):
            yield one
        else:
            source.broken.add(number, "", f"{key} holds {str(one)[:20]!r} where an object belongs")


def _records_in(data: Mapping[str, Any], depth: int = 3) -> list[Any] | None:
    """The list of records that a document is wrapped around."""
    for name in _LISTS:
        inner = data.get(name)
        if isinstance(inner, list) and inner and isinstance(inner[0], dict):
            return inner if any(time in inner[0] for time in records.TIME_NAMES) else None
        if isinstance(inner, dict) and depth and (found := _records_in(inner, depth - 1)) is not None:
            return found
    return None


def read_json_array(source: Source) -> Found:
    """A list of log records, as log explorers download it."""
    data = document_of(source.path)
    listed = data if isinstance(data, list) else _records_in(data) if isinstance(data, dict) else None
    if listed is None:
        raise source.refuse("is no list of log records; name another format, or none")
    return records.read_records(source, enumerate(listed, 1))


def read_har(source: Source) -> Found:
    """Requests of one browser: ``log.entries[].startedDateTime``."""
    found = Found(notes=["A HAR file is what one client did: good for which routes are asked, not for the load."])
    for number, entry in enumerate(_document(source, "har", "log.entries")["log"]["entries"], 1):
        found.lines += 1
        take(found, source, number, entry.get("startedDateTime") if isinstance(entry, dict) else None)
    return found


def take(found: Found, source: Source, number: int, stamp: Any) -> None:
    """One instant, or a broken line."""
    try:
        found.times_us.append(source.stamps(stamp))
    except (ValueError, OverflowError) as error:
        source.broken.add(number, "", "no time" if stamp is None else str(error))


def read_otlp(source: Source) -> Found:
    """Spans of kind server, by their start; one document, or one a line."""
    found = Found(notes=["Spans are requests only if none were sampled away; scale by the sampling rate otherwise."])
    others = 0
    for number, data in _documents(source):
        for span in _spans(data, number, source):
            if span.get("kind") not in (2, "SPAN_KIND_SERVER"):
                others += 1
                continue
            found.lines += 1
            try:
                take(found, source, number, int(span["startTimeUnixNano"]))
            except (KeyError, TypeError, ValueError, OverflowError):
                source.broken.add(number, "", "no time (startTimeUnixNano)")
    if others:
        found.notes.append(f"{others} spans that are not of kind server were left out.")
    return found


def _spans(data: Any, number: int, source: Source) -> Iterator[Mapping[str, Any]]:
    if not isinstance(data, dict):
        source.broken.add(number, "", "no JSON object")
        return
    for resource in _objects(data, "resourceSpans", number, source):
        for scope in _objects(resource, "scopeSpans", number, source):
            yield from _objects(scope, "spans", number, source)


def _documents(source: Source) -> Iterator[tuple[int, Any]]:
    try:
        yield 1, document_of(source.path)
        return
    except TraceError:
        pass
    for number, raw in lines_of(source.path):
        try:
            yield number, records.parsed(raw)
        except ValueError:
            source.broken.add(number, "", "no JSON")


def read_prometheus(source: Source) -> Found:
    """The answer of ``query_range``: counters by their differences, rates times their step; all series together.

    A rate at t is of the step before t, and so is what a counter rose by.
    """
    data = _document(source, "prometheus", "data.resultType")["data"]
    if data["resultType"] != "matrix":
        raise source.refuse("is the answer for one instant; ask query_range, with start, end and step")
    found = Found()
    every: list[tuple[str, list[tuple[int, float]]]] = []
    width_us = 0
    for one in _objects(data, "result", 1, source):
        metric = one.get("metric")
        points = _points(source, found, one.get("values"))
        if len(points) < 2:
            continue
        step_us = series.step_of(points)
        if width_us and step_us != width_us:
            raise source.refuse(f"series of {width_us / 1e6:g} and {step_us / 1e6:g} s steps; query one step")
        width_us = step_us
        every.append((str(metric.get("__name__", "")) if isinstance(metric, dict) else "", points))
    if not every:
        return found
    if width_us <= 0:
        raise source.refuse("the points of a series do not go forward in time; query it again")
    kinds = _kinds(source, every, width_us)
    if len(kinds) > 1:
        raise source.refuse("counters and rates in one file would be added up; query one of them")
    together: dict[int, float] = defaultdict(float)
    for _, points in every:
        if "counter" in kinds:
            own = series.from_counter(points, width_us)
        else:
            own = [(at - width_us, value * (width_us / 1e6 if "rate" in kinds else 1)) for at, value in points]
        for at_us, number in own:
            together[at_us] += number
    if "rate" in kinds:
        found.notes.append("Rates were multiplied by their step: requests are right in the sum, not one by one.")
    if source.asked.as_ is None and not every[0][0]:
        why = "a counter, because it only rises" if "counter" in kinds else "rates, which only so are whole requests"
        found.notes.append(f"The series has no name; it was read as {why} (--as count, rate or counter decides).")
    found.width_us = width_us
    series.into(source, found, sorted(together.items()))
    return found


def _points(source: Source, found: Found, values: Any) -> list[tuple[int, float]]:
    points: list[tuple[int, float]] = []
    for number, point in enumerate(values if isinstance(values, list) else [values], 1):
        found.lines += 1
        try:
            value = float(point[1])
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{str(point[1])[:40]!r} is no count")
            points.append((source.stamps(float(point[0])), value))
        except (KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
            source.broken.add(number, "", str(error))
    return points


def _kinds(source: Source, every: list[tuple[str, list[tuple[int, float]]]], step_us: int) -> set[str]:
    """What the series are, by their names, by what they do, or as asked."""
    kinds = set()
    for name in {name for name, _ in every}:
        values = [[value for _, value in points] for own, points in every if own == name]
        if name.endswith(("_sum", "_bucket")):
            raise source.refuse(f"{name} counts seconds, or requests several times over; query the _count of it")
        if source.asked.as_ is not None:
            kinds.add(source.asked.as_)
        elif name.endswith(_COUNTER):
            kinds.add("counter")
        elif name:
            raise source.refuse(f"{name} {series.NO_LOAD} (rate(...) of one will do), or say --as rate if it is one")
        elif any(map(series.only_rises, values)) and all(series.only_rises(v) or len(set(v)) == 1 for v in values):
            kinds.add("counter")
        elif all(series.whole_over(one, step_us / 1e6) or not any(one) for one in values):
            kinds.add("rate")
        else:
            raise source.refuse(
                "its series has no name, so it may be of rates or of increases; say which (as_=..., --as rate for "
                "requests a second, as of rate(); count for requests in each step, as of increase(); counter for a "
                "running total)"
            )
    return kinds


def read_cloudwatch(source: Source) -> Found:
    """``get-metric-statistics`` with Sum, or ``get-metric-data`` asked for Sum, in whatever order it comes."""
    data = _document(source, "cloudwatch", "the list Datapoints")
    label = some([data.get("Label", "the metric")])
    found = Found()
    points = []
    if "MetricDataResults" in data:
        points = _metric_data(source, found, data)
    for number, point in enumerate(data.get("Datapoints", []), 1):
        found.lines += 1
        if not isinstance(point, dict) or "Sum" not in point:
            raise source.refuse(f"{label} has no Sum; ask for --statistics Sum, which counts requests")
        if point.get("Unit") not in (None, "None", "Count"):
            raise source.refuse(f"{label} is in {some([point['Unit']])}, so it {series.NO_LOAD}")
        try:
            points.append((source.stamps(point["Timestamp"]), float(point["Sum"])))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            source.broken.add(number, "", str(error))
    series.into(source, found, sorted(points))
    return found


def _metric_data(source: Source, found: Found, data: Mapping[str, Any]) -> list[tuple[int, float]]:
    """Points of ``get-metric-data``, whose answer does not say which statistic it has."""
    results = list(_objects(data, "MetricDataResults", 1, source))
    if len(results) != 1:
        raise source.refuse(f"has {len(results)} metrics; ask for one, RequestCount with the statistic Sum")
    times, values = results[0].get("Timestamps"), results[0].get("Values")
    if not isinstance(times, list) or not isinstance(values, list) or len(times) != len(values):
        raise source.refuse("its Timestamps and Values do not belong together; export it again")
    points = []
    for number, (stamp, value) in enumerate(zip(times, values, strict=True), 1):
        found.lines += 1
        try:
            points.append((source.stamps(stamp), float(value)))
        except (TypeError, ValueError, OverflowError) as error:
            source.broken.add(number, "", str(error))
    label = str(results[0].get("Label", ""))
    if source.asked.as_ is None and not label.lower().endswith(("requestcount", "requests", "count", "invocations")):
        raise source.refuse(f"{some([label])!r} may be any metric; say --as count, if it is a Sum of requests")
    if source.asked.as_ not in (None, "count"):
        raise source.refuse(f"CloudWatch has sums a period, not a {source.asked.as_}; say --as count")
    found.notes.append(f"{some([label])} was read as the sum of requests a period; the answer names no statistic.")
    return points


def read_artillery(source: Source) -> Found:
    """Artillery's report: requests of each period."""
    found = Found()
    points: dict[int, float] = {}
    data = _document(source, "artillery", "the list intermediate")
    for number, period in enumerate(_objects(data, "intermediate", 1, source), 1):
        found.lines += 1
        try:
            counters = period["counters"]
            points[source.stamps(period["period"])] = float(counters.get("http.requests", 0))
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            source.broken.add(number, "", str(error))
    series.into(source, found, sorted(points.items()))
    return found

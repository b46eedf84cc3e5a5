"""JSON records, one a line or many in a list: when each was, whether it is a request, and what it says of it."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic_core import from_json

from capsim.workload.access_log import ACCESS_LINE
from capsim.workload.instants import Stamps
from capsim.workload.model import MOST_ITEMS
from capsim.workload.requests import Columns
from capsim.workload.source import Found, Source, fits, some

Numbered = Iterable[tuple[int, Any]]

# The start of a request before its end (Traefik has both), a precise stamp before a rounded one (nginx may have three).
TIME_NAMES = (
    "EdgeStartTimestamp", "StartUTC", "msec", "timestamp", "ts", "time", "@timestamp", "datetime", "date", "start_time",
    "startTime", "start", "minute", "t", "time_iso8601", "time_local", "event_time", "eventTime", "created_at",
    "createdAt", "_time", "__time", "timeStamp", "Timestamp", "Time", "Date", "receiveTimestamp",
)  # fmt: skip
METHODS = (
    "method", "request_method", "req.method", "request.method", "httpRequest.requestMethod", "ClientRequestMethod",
    "RequestMethod", "requestMethod", "http_method", "http.method",
)  # fmt: skip
TARGETS = (
    "path", "uri", "url", "request_uri", "req.url", "request.uri", "request.url", "httpRequest.requestUrl",
    "ClientRequestURI", "ClientRequestPath", "RequestPath", "requestUrl", "request_path", "http.url",
)  # fmt: skip
STATUSES = (
    "httpStatus", "status", "statusCode", "status_code", "res.statusCode", "httpRequest.status", "EdgeResponseStatus",
    "DownstreamStatus", "response_code", "response_status", "@http.status_code", "http.status_code",
)  # fmt: skip
SIZES = (
    "txBytes", "bytes_sent", "body_bytes_sent", "response_bytes", "httpRequest.responseSize", "EdgeResponseBytes",
    "DownstreamContentSize", "res.headers.content-length", "size", "bytes",
)  # fmt: skip
DURATIONS_US = {  # what one of it is [us]
    "totalDuration": 1e3, "responseTime": 1e3, "request_time": 1e6, "httpRequest.latency": 1e6, "Duration": 1e-3,
    "duration_ms": 1e3, "durationMs": 1e3, "latency_ms": 1e3, "response_time_ms": 1e3, "elapsed_ms": 1e3,
    "duration_s": 1e6,
}  # fmt: skip
_ESCAPED = re.compile(r"(?<!\\)\\x([0-9A-Fa-f]{2})")
TEXTS = ("message", "msg", "log")

# A record that says so itself is a request; one with a status alone, or with a text like one, may be.
_SURE = frozenset((
    "req", "httpRequest", "request_method", "ClientRequestMethod", "RequestMethod", "requestMethod", "http_method",
    "request_uri", "ClientRequestURI", "ClientRequestPath", "RequestPath", "requestUrl", "request_path", "httpStatus",
))  # fmt: skip
_MAYBE = frozenset(("EdgeResponseStatus", "DownstreamStatus", "response_code", "response_status", "url", "uri"))
_CODES = ("status", "statusCode", "status_code")
_TEXT = re.compile(
    r"\b(GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS) (/\S{0,2000})(?: HTTP/[\d.]+)?(?:\W{0,3}?(?: |\[\d{1,2}m)(\d{3})\b)?"
    r"(?:.{0,20}? (\d{1,9}(?:\.\d{1,6})?) ?ms\b)?"
)
SURE, MAYBE, NOT = 2, 1, 0


def parsed(raw: bytes | str) -> Any:
    """One JSON text; ValueError if it is none."""
    try:
        return from_json(raw)
    except ValueError:
        text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
        if "\\x" in text:  # nginx without escape=json
            text = _ESCAPED.sub(r"\\u00\1", text)
        try:
            return json.loads(text)
        except RecursionError:
            raise ValueError("nested too deeply") from None


def inside(record: Mapping[str, Any], name: str) -> Any:
    """A field, or ``a.b``, b inside a; None if there is none.

    Examples
    --------
    >>> inside({"a": {"b": 1}}, "a.b"), inside({"a.b": 2}, "a.b"), inside({}, "a")
    (1, 2, None)
    """
    if name in record or "." not in name:
        return record.get(name)
    value: Any = record
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def asks(record: Mapping[str, Any]) -> int:
    """How surely a record is a request: SURE, MAYBE or NOT.

    Examples
    --------
    >>> asks({"req": {"method": "GET"}}), asks({"status": 200}), asks({"msg": "flush done"})
    (2, 1, 0)
    """
    if not _SURE.isdisjoint(record):
        return SURE
    if "method" in record and ("path" in record or "url" in record or "uri" in record):
        return SURE
    request = record.get("request")
    if isinstance(request, dict) or (isinstance(request, str) and " /" in request):
        return SURE
    if not _MAYBE.isdisjoint(record):
        return MAYBE
    for name in _CODES:
        if name in record and 100 <= _number(record[name]) < 600:
            return MAYBE
    return MAYBE if any(_TEXT.search(text) for text in _texts(record)) else NOT


def _texts(record: Mapping[str, Any]) -> Iterator[str]:
    for name in TEXTS:
        text = record.get(name)
        if isinstance(text, str):
            yield text[:4_000]


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return -1.0


def read_json_lines(source: Source, lines: Iterable[tuple[int, bytes]]) -> Found:
    """One JSON object per line with a time in a field; ``a.b`` looks inside an object."""
    return read_records(source, _parsed(source, lines))


def _parsed(source: Source, lines: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, Any]]:
    for number, raw in lines:
        try:
            yield number, parsed(raw)
        except ValueError:
            if raw and not raw.isspace():
                line = raw.decode("utf-8", "replace")
                if not line.isspace():
                    yield number, line


def read_records(source: Source, records: Numbered) -> Found:
    """Records with a time in a field; of those of several kinds, the ones that are requests.

    Raises
    ------
    TraceError
        If no field holds a time, or if no record is what was asked for.
    """
    found = Found(columns=source.columns)
    name, condition = source.asked.field, source.asked.condition
    sure, sureness = array("b"), asks
    broken, stamps, times = source.broken, source.stamps, found.times_us
    others = 0
    said = Said() if found.columns is not None else None
    for number, record in records:
        found.lines += 1
        if not isinstance(record, dict):
            broken.add(number, *((record, "no JSON") if isinstance(record, str) else ("", "no JSON object")))
            continue
        if condition is not None and not fits(inside(record, condition[0]), condition[1]):
            others += 1
            continue
        if name is None:
            name = _time_of(source, record, number)
        try:
            times.append(stamps(record[name] if name in record else inside(record, name)))
        except (ValueError, OverflowError) as error:
            broken.add(number, "", f"field {name!r}: {error}")
            continue
        sure.append(sureness(record))
        if said is not None and found.columns is not None:
            said.add(found.columns, record)
        if len(times) > MOST_ITEMS:
            source.bounded(found, number)
    if condition is not None:
        return _chosen(source, found, others)
    return _requests_only(source, found, sure)


def _time_of(source: Source, record: Mapping[str, Any], number: int) -> str:
    """The field that holds the time, by the first record."""
    there = [name for name in TIME_NAMES if name in record]
    for name in there:
        try:
            Stamps(source.asked.zone, source.asked.dates)(record[name])
        except (ValueError, OverflowError):
            continue
        return name
    if there:
        return there[0]
    raise source.refuse(
        f"no time among the fields {some(record)}; name the one to use (field=..., --field)", number
    )


def _chosen(source: Source, found: Found, others: int) -> Found:
    if not found.times_us and others:
        raise source.refuse(f"none of its {found.lines} lines has {source.asked.where!r}; correct --where")
    if others:
        found.notes.append(f"{others} of {found.lines} lines without {source.asked.where} were left out, as asked.")
    return found


def _requests_only(source: Source, found: Found, sure: array[int]) -> Found:
    """Leave out the lines that are no requests, and say so."""
    total, kind = len(sure), max(sure, default=NOT)
    if kind == NOT:
        if total:
            found.notes.append(
                "No line says that it is a request (a method, a path, a status): every line with a time was counted; "
                "--where FIELD=VALUE counts only some."
            )
        return found
    kept = sure.count(kind)
    if kept == total:
        return found
    places = [place for place, one in enumerate(sure) if one == kind]
    found.times_us = array("q", [found.times_us[place] for place in places])
    if found.columns is not None:
        found.columns.keep(places)
    found.notes.append(
        f"{total - kept} of {total} lines are no requests (no method, path or status) and were left out; "
        "--where FIELD=VALUE counts others."
    )
    return found


class Said:
    """What records say of their requests; remembers under which names."""

    def __init__(self) -> None:
        self._named: dict[tuple[str, ...], str] = {}

    def _one(self, record: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, Any]:
        usual = self._named.get(names)
        if usual is not None and (value := inside(record, usual)) is not None:
            return usual, value
        for name in names:
            if (value := inside(record, name)) is not None:
                self._named[names] = name
                return name, value
        return "", None

    def add(self, columns: Columns, record: Mapping[str, Any]) -> None:
        """A row of the columns."""
        method, target = self._one(record, METHODS)[1], self._one(record, TARGETS)[1]
        status, size = self._one(record, STATUSES)[1], self._one(record, SIZES)[1]
        name, took = self._one(record, _DURATION_NAMES)
        took_us = _took_us(took, DURATIONS_US.get(name) or _duration_unit_us(record))
        request = record.get("request")
        if isinstance(request, str) and not isinstance(method, str):
            columns.add_placed(columns.place_of_line(request.encode()), status, size, took_us)
            return
        if not isinstance(method, str) or not isinstance(target, str):
            for text in _texts(record):
                if line := ACCESS_LINE.match(text):
                    columns.add_placed(columns.place_of_line(line[2].encode()), line[3], line[4], took_us)
                    return
                if hit := _TEXT.search(text):
                    took_us = _took_us(hit[4], 1e3) if took is None else took_us
                    columns.add(hit[1], hit[2], hit[3] if status is None else status, size, took_us)
                    return
        columns.add(method, target, status, size, took_us)


_DURATION_NAMES = (*DURATIONS_US, "duration")


def _duration_unit_us(record: Mapping[str, Any]) -> float | None:
    """What one of a field that is only called duration is: seconds of Caddy, milliseconds of Envoy [us]."""
    if isinstance(record.get("request"), dict) and "ts" in record:
        return 1e6
    return 1e3 if "response_code" in record and "start_time" in record else None


def _took_us(value: object, unit_us: float | None) -> float:
    number = _number(value[:-1] if isinstance(value, str) and value.endswith("s") else value)
    return -1 if unit_us is None or not 0 <= number <= 1e15 else number * unit_us

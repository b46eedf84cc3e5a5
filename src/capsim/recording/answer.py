"""What one answer of `/api/metrics` says: text such as "256MB" and "45 minutes" to numbers, whatever else it brings.

The seed's "MB" are MiB of 2^20 bytes, rounded. Another server may answer numbers (bytes, seconds) or leave parts out:
what cannot be read is named, and the rest is used.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from capsim.specs import STREAMS
from capsim.trace.instants import Stamps
from capsim.units import MIB

MEMORY = {
    "rss": "rss_mib",
    "heapTotal": "heap_total_mib",
    "heapUsed": "heap_used_mib",
    "external": "external_mib",
    "arrayBuffers": "array_buffers_mib",
}
COUNTERS = {"totalFlushed": "flushed", "totalFailed": "failed", "totalDropped": "dropped"}
WRITER = {"bufferSize": "buffer_rows", **COUNTERS}
VALUES = (
    *MEMORY.values(),
    "uptime_s",
    "db_connections",
    *(f"{stream}_{name}" for stream in STREAMS for name in WRITER.values()),
)
"""Columns that an answer fills."""

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmg]?i?b)\s*$", re.IGNORECASE)
_SIZE_MIB = {"b": 1 / MIB, "kb": 2.0**-10, "kib": 2.0**-10, "mb": 1.0, "mib": 1.0, "gb": 1024.0, "gib": 1024.0}
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*(days?|d|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s)\b", re.IGNORECASE)
_LENGTH_S = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
LARGEST_BYTES = 1 << 20  # of an answer: metrics are a kilobyte
LARGEST = 1e15  # counters and sizes beyond are taken for mistakes


class NotMetrics(Exception):
    """An answer that holds nothing of what is recorded; says what it is instead."""


@dataclass(frozen=True)
class Answer:
    """The numbers of one answer, and the names of those that were there and could not be read."""

    values: dict[str, float]
    server_at_us: int | None
    unread: tuple[str, ...]


def read_answer(body: bytes) -> Answer:
    """Read the body of an answer.

    Parameters
    ----------
    body : bytes
        As it came.

    Returns
    -------
    Answer
        Values by the names in `VALUES`; memory in MiB, uptime in seconds.

    Raises
    ------
    NotMetrics
        If it is no JSON, or JSON without memory and without writers.

    Examples
    --------
    >>> read_answer(b'{"memory": {"rss": "256MB"}, "uptime": "45 minutes"}').values
    {'rss_mib': 256.0, 'uptime_s': 2700.0}
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        start = body[:200].lstrip().lower()
        raise NotMetrics("an HTML page" if start.startswith((b"<!doctype", b"<html", b"<")) else "no JSON") from None
    return read_document(data)


def read_document(data: Any) -> Answer:
    """Read an answer that has been parsed; see `read_answer`."""
    if not isinstance(data, dict):
        raise NotMetrics(f"JSON that is no object ({type(data).__name__})")
    reader = _Reader()
    memory = data.get("memory")
    for name, column in MEMORY.items():
        reader.take(f"memory.{name}", column, memory.get(name) if isinstance(memory, dict) else None, size_mib)
    reader.take("uptime", "uptime_s", data.get("uptime"), length_s)
    reader.take("dbConnections", "db_connections", data.get("dbConnections"), _connections)
    writers = data.get("batchWriters")
    for stream in STREAMS:
        told = writers.get(stream) if isinstance(writers, dict) else None
        for name, column in WRITER.items():
            value = told.get(name) if isinstance(told, dict) else None
            reader.take(f"batchWriters.{stream}.{name}", f"{stream}_{column}", value, _count)
    if not reader.values.keys() - {"uptime_s", "db_connections"}:
        names = ", ".join(str(name)[:20] for name in list(data)[:6]) or "nothing"
        raise NotMetrics(f"JSON without memory and batchWriters (it has {names})")
    return Answer(reader.values, _stamp(data.get("timestamp")), tuple(reader.unread))


class _Reader:
    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.unread: list[str] = []

    def take(self, name: str, column: str, value: Any, read: Any) -> None:
        if value is None:
            return
        try:
            number = float(read(value))
        except (ValueError, TypeError, KeyError, IndexError, OverflowError):
            self.unread.append(name)
            return
        if not (math.isfinite(number) and 0 <= number <= LARGEST):
            self.unread.append(name)
            return
        self.values[column] = number


def size_mib(value: Any) -> float:
    """A size as text with a unit, or as a number of bytes [MiB].

    Examples
    --------
    >>> size_mib("256MB"), size_mib("1.5 GiB"), size_mib(268_435_456)
    (256.0, 1536.0, 256.0)
    """
    if isinstance(value, str):
        found = _SIZE.match(value)
        if found is None:
            raise ValueError(value)
        return float(found[1]) * _SIZE_MIB[found[2].lower()]
    return _number(value) / MIB


def length_s(value: Any) -> float:
    """An uptime as text, or as a number of seconds [s].

    Examples
    --------
    >>> length_s("45 minutes"), length_s("1 day 2 hours"), length_s(12.5)
    (2700.0, 93600.0, 12.5)
    """
    if isinstance(value, str):
        parts = _LENGTH.findall(value)
        if not parts or re.sub(r"[\s,]|and", "", _LENGTH.sub("", value)):
            raise ValueError(value)
        return sum(float(number) * _LENGTH_S[unit[0].lower()] for number, unit in parts)
    return _number(value)


def _connections(value: Any) -> float:
    """``[{"count": 8}]``, as a raw query answers, or the number alone."""
    if isinstance(value, list):
        value = value[0]
    if isinstance(value, Mapping):
        value = value["count"]
    return _count(value)


def _count(value: Any) -> float:
    if isinstance(value, str) and value.isdigit():  # a bigint, as JSON writes it
        return float(value)
    number = _number(value)
    if number % 1:
        raise ValueError(value)
    return number


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(value)
    return float(value)


def _stamp(value: Any) -> int | None:
    try:
        return Stamps()(value)
    except (ValueError, OverflowError):
        return None

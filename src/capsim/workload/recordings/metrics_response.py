"""What one answer of `/api/metrics` says: text such as "256MB" and "45 minutes" to numbers, whatever else it brings.

The seed's "MB" are MiB of 2^20 bytes, rounded. Another server may answer numbers (bytes, seconds), spell the names in
another way (`heap_used`, `eventBatchWriter`), wrap them, leave parts out, or answer Prometheus text: what cannot be
read or has no place here is named, and the rest is used.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from capsim.base.units import MIB
from capsim.scenario.workload import STREAMS
from capsim.workload.instants import Stamps
from capsim.workload.recordings import prometheus

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

UNITS = {"bytes": 1 / MIB, "KiB": 2.0**-10, "kB": 1e3 / MIB, "MiB": 1.0, "MB": 1e6 / MIB, "GiB": 1024.0}
"""Units that numbers without one may be said to have, in MiB."""
# Other spellings, in small letters without anything between them.
_SPELLED = {
    "residentsetsize": "rss", "resident": "rss", "rss": "rss", "heaptotal": "heapTotal", "totalheap": "heapTotal",
    "heapused": "heapUsed", "usedheap": "heapUsed", "external": "external", "arraybuffers": "arrayBuffers",
    "buffersize": "bufferSize", "buffered": "bufferSize", "bufferlength": "bufferSize", "buffer": "bufferSize",
    "bufferrows": "bufferSize", "bufferedrows": "bufferSize", "queuesize": "bufferSize", "queuelength": "bufferSize",
    "totalflushed": "totalFlushed", "flushed": "totalFlushed", "flushedtotal": "totalFlushed",
    "totalfailed": "totalFailed", "failed": "totalFailed", "failedtotal": "totalFailed",
    "totaldropped": "totalDropped", "dropped": "totalDropped", "droppedtotal": "totalDropped",
}  # fmt: skip
_PLACES = {
    "memory": ("memory", "memoryusage", "mem", "processmemory"),
    "batchWriters": ("batchwriters", "writers", "batchwriter"),
    "uptime": ("uptime", "uptimeseconds", "uptimes", "uptimesec", "processuptime"),
    "dbConnections": ("dbconnections", "databaseconnections"),
    "timestamp": ("timestamp", "time", "at"),
}
_WRAPPERS = ("data", "metrics", "result", "stats", "process")
_UNIT_OF_KEY = re.compile(r"(?<=[a-z])_?(bytes|kib|kb|mib|mb|gib|gb)$", re.IGNORECASE)
# A Node process of any version has more than this when it has started; less is no number of bytes.
_LEAST_MIB = {"rss_mib": 10.0, "heap_total_mib": 1.0, "heap_used_mib": 1.0}
_MOST_MIB = 1024.0**2  # a TiB, twenty times the largest container
_MOST_NAMED = 12
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmg]?i?b)\s*$", re.IGNORECASE)
_SIZE_MIB = {"b": 1 / MIB, "kb": 2.0**-10, "kib": 2.0**-10, "mb": 1.0, "mib": 1.0, "gb": 1024.0, "gib": 1024.0}
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*(days?|d|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s)\b", re.IGNORECASE)
_LENGTH_S = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
LARGEST_BYTES = 1 << 20  # of an answer: metrics are a kilobyte
LARGEST = 1e15  # counters and sizes beyond are taken for mistakes


class NotMetrics(Exception):
    """An answer that holds nothing of what is recorded; says what it is instead."""


class UnitUnknown(NotMetrics):
    """Metrics whose sizes are numbers that cannot be bytes, or what they were said to be: the unit is asked for."""


@dataclass(frozen=True)
class Answer:
    """The numbers of one answer, and the names of what was there and could not be read, or has no place here."""

    values: dict[str, float]
    server_at_us: int | None
    unread: tuple[str, ...]


def read_answer(body: bytes, unit: str | None = None, at_s: float | None = None) -> Answer:
    """Read the body of an answer: JSON, or Prometheus text.

    Parameters
    ----------
    body : bytes
        As it came.
    unit : str, optional
        Of sizes that are numbers without a unit, one of `UNITS`; bytes by default.
    at_s : float, optional
        Now, since 1970 [s]: Prometheus tells the start of the process in place of its uptime.

    Returns
    -------
    Answer
        Values by the names in `VALUES`; memory in MiB, uptime in seconds.

    Raises
    ------
    NotMetrics
        If it is neither, or holds no memory and no writers.
    UnitUnknown
        If its sizes cannot be of that unit.

    Examples
    --------
    >>> read_answer(b'{"memory": {"rss": "256MB"}, "uptime": "45 minutes"}').values
    {'rss_mib': 256.0, 'uptime_s': 2700.0}
    >>> read_answer(b'{"memory": {"rss": 256, "heap_used": 98}}', unit="MiB").values
    {'rss_mib': 256.0, 'heap_used_mib': 98.0}
    >>> read_answer(b"# TYPE process_resident_memory_bytes gauge\\nprocess_resident_memory_bytes 104857600").values
    {'rss_mib': 100.0}
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return _read_text(body, at_s)
    return read_document(data, unit)


def _read_text(body: bytes, at_s: float | None) -> Answer:
    start = body[:200].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<")):
        raise NotMetrics("an HTML page") from None
    if body.startswith(b"\x1f\x8b"):
        raise NotMetrics("a compressed answer (gzip)") from None
    text = body.decode("utf-8", "replace")
    if not prometheus.is_prometheus(text):
        raise NotMetrics("no JSON") from None
    document, unread = prometheus.document_of(text, at_s)
    try:
        answer = read_document(document)
    except NotMetrics:
        raise NotMetrics("Prometheus text without the memory of a Node process") from None
    return Answer(answer.values, answer.server_at_us, (*answer.unread, *unread[:_MOST_NAMED]))


def read_document(data: Any, unit: str | None = None) -> Answer:
    """Read an answer that has been parsed; see `read_answer`."""
    if not isinstance(data, dict):
        raise NotMetrics(f"JSON that is no object ({type(data).__name__})")
    whole = data
    found = _placed(data)
    for name in _WRAPPERS:
        if not {"memory", "batchWriters"} <= found.keys() and isinstance(inner := data.get(name), dict):
            whole = {**inner, **whole}  # a time stamp may stand outside
            found = _placed(whole)
    reader = _Reader(unit)
    reader.memory(found.get("memory"))
    reader.take("uptime", "uptime_s", found.get("uptime"), length_s)
    reader.take("dbConnections", "db_connections", found.get("dbConnections"), _connections)
    reader.writers(found.get("batchWriters"))
    if not reader.values.keys() - {"uptime_s", "db_connections"}:
        if reader.bare:
            raise UnitUnknown(reader.bare)
        names = ", ".join(str(name)[:20] for name in list(data)[:6]) or "nothing"
        raise NotMetrics(f"JSON without memory and batchWriters (it has {names})")
    if reader.bare:
        raise UnitUnknown(reader.bare)
    return Answer(reader.values, _stamp(found.get("timestamp")), tuple(dict.fromkeys(reader.unread))[:_MOST_NAMED])


def is_answer(line: str) -> bool:
    """Whether a line of JSON is an answer with memory or writers, in whatever unit.

    Examples
    --------
    >>> is_answer('{"memory": {"rss": 256}}'), is_answer('{"status": "ok"}')
    (True, False)
    """
    try:
        read_document(json.loads(line))
    except UnitUnknown:
        return True
    except (NotMetrics, ValueError, RecursionError):
        return False
    return True


def _plain(name: object) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name)[:60].lower())


def _placed(data: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of an answer by the seed's names, however they are spelled here."""
    names = {_plain(name): name for name in reversed(list(data))}
    found = {
        place: data[names[spelled]]
        for place, spellings in _PLACES.items()
        for spelled in reversed(spellings)
        if spelled in names
    }
    if not isinstance(found.get("memory"), dict) and {"rss", "heapused"} <= names.keys():  # raw memoryUsage()
        found["memory"] = {name: data[name] for name in data if _plain(name) in _SPELLED}
    if not isinstance(found.get("batchWriters"), dict | list):
        loose = {name: value for name, value in data.items() if _stream(name) and isinstance(value, dict)}
        loose = {name: value for name, value in loose.items() if {_plain(key) for key in value} & _SPELLED.keys()}
        if loose:
            found["batchWriters"] = loose
    return found


def _stream(name: object) -> str | None:
    """The stream whose writer a name is of: eventBatchWriter, heartbeat_writer, revenue."""
    plain = _plain(name)
    found = [stream for stream in STREAMS if stream.removesuffix("s") in plain]
    return found[0] if len(found) == 1 else None


class _Reader:
    def __init__(self, unit: str | None) -> None:
        self.values: dict[str, float] = {}
        self.unread: list[str] = []
        self.unit = unit
        self.bare = ""  # what shows that the unit of numbers is another one

    def memory(self, told: Any) -> None:
        """Sizes by any spelling of their names."""
        if told is not None and not isinstance(told, dict):
            self.unread.append("memory")
        for key, value in told.items() if isinstance(told, dict) else ():
            said = _UNIT_OF_KEY.search(str(key)[:60])
            plain = _plain(str(key)[: said.start()] if said else key)
            name = _SPELLED.get(plain)
            if name not in MEMORY:
                self.unread.append(f"memory.{str(key)[:40]}")
                continue
            bare = isinstance(value, int | float) and not isinstance(value, bool)
            unit_mib = _SIZE_MIB[said[1].lower()] if said and said[1].lower() != "bytes" else None
            if unit_mib is None and not said and self.unit is not None:
                unit_mib = UNITS[self.unit]
            column = MEMORY[name]
            size = _times(value, unit_mib * MIB) if bare and unit_mib else value
            self.take(f"memory.{key}"[:50], column, size, size_mib)
            if bare and not said and column in self.values:
                self._check(name, column, value)

    def _check(self, name: str, column: str, value: float) -> None:
        size = self.values[column]
        unit = self.unit or "bytes"
        if 0 < size < _LEAST_MIB.get(column, 0.0):
            self.bare = self.bare or f"memory.{name} is the number {value:g}; no Node process has so few {unit}"
        elif size > _MOST_MIB:
            self.bare = self.bare or f"memory.{name} is the number {value:g}; no Node process has so many {unit}"

    def writers(self, told: Any) -> None:
        """Buffers and totals of the writers, by any spelling of their names; also a list of objects with names."""
        if isinstance(told, list):
            told = {one["name"]: one for one in told if isinstance(one, dict) and isinstance(one.get("name"), str)}
        elif told is not None and not isinstance(told, dict):
            self.unread.append("batchWriters")
        of: dict[str, tuple[Any, Any]] = {}
        for key, writer in told.items() if isinstance(told, dict) else ():
            stream = _stream(key)
            if stream is None or stream in of or not isinstance(writer, dict):
                self.unread.append(f"batchWriters.{str(key)[:40]}")
            else:
                of[stream] = key, writer
        for stream in STREAMS:
            name, writer = of.get(stream, (stream, {}))
            taken: set[str] = set()
            for key, value in writer.items():
                spelled = _SPELLED.get(_plain(key))
                if spelled in WRITER and spelled not in taken:
                    taken.add(spelled)
                    self.take(f"batchWriters.{name}.{key}"[:90], f"{stream}_{WRITER[spelled]}", value, _count)
                elif _plain(key) != "name":
                    self.unread.append(f"batchWriters.*.{str(key)[:40]}")

    def take(self, name: str, column: str, value: Any, read: Callable[[Any], float]) -> None:
        """One value, or its name among those that could not be read."""
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


def _times(value: float, factor: float) -> float:
    """A number in another unit; one too large for that stays what it is, and is refused as any such."""
    return value if abs(value) > LARGEST else value * factor


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

"""Prometheus text of prom-client: default metrics of a Node process, and writers by the words of their names."""

from __future__ import annotations

import re
from collections.abc import Iterator

# Last words of a name (prom-client takes a prefix) and the part of an answer that it fills, by its own spelling.
DEFAULTS = {
    "process_resident_memory_bytes": ("memory", "rss"),
    "nodejs_heap_size_total_bytes": ("memory", "heapTotal"),
    "nodejs_heap_size_used_bytes": ("memory", "heapUsed"),
    "nodejs_external_memory_bytes": ("memory", "external"),
    "process_start_time_seconds": ("", "start"),
    "prisma_pool_connections_open": ("", "dbConnections"),
}
_LINE = re.compile(r"([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+([-+.\w]+)(?:\s+\d+)?\s*$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_STREAMS = ("event", "revenue", "heartbeat")
_FIELDS = {"flushed": "totalFlushed", "failed": "totalFailed", "dropped": "totalDropped", "buffer": "bufferSize"}


def is_prometheus(text: str) -> bool:
    """Whether text is of that form: by its comments, or by a first line that is a metric.

    Examples
    --------
    >>> is_prometheus("# TYPE up gauge"), is_prometheus("ok")
    (True, False)
    """
    first = next((line for line in text.splitlines() if line.strip()), "")
    return first.startswith(("# HELP ", "# TYPE ")) or bool(_LINE.match(first))


def document_of(text: str, at_s: float | None = None) -> tuple[dict[str, object], list[str]]:
    """The answer in the seed's shape, and names of metrics that could not be taken.

    Parameters
    ----------
    text : str
        Lines of ``name{label="value"} number``.
    at_s : float, optional
        Now, since 1970 [s]: the uptime is counted from the start of the process.

    Examples
    --------
    >>> document_of('process_resident_memory_bytes{app="x"} 104857600')
    ({'memory': {'rss': '104857600 B'}}, [])
    """
    found: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for name, labels, number in _samples(text):
        if (place := _place(name, labels)) is not None:
            found.setdefault(place, []).append((name, number))
    document: dict[str, object] = {}
    unread = []
    for (group, key), samples in found.items():
        name, number = samples[0]
        if len(samples) > 1:  # of several processes, or told twice: which one is meant is not known
            unread.append(f"{name} (told {len(samples)} times)")
        elif key == "start":
            if at_s is not None and 0 < number <= at_s:
                document["uptime"] = at_s - number
        elif not group:
            document[key] = number
        elif group == "memory":
            document.setdefault("memory", {})[key] = f"{number:.0f} B" if number >= 0 else number  # type: ignore[index]
        else:
            writers = document.setdefault("batchWriters", {})
            writers.setdefault(group, {})[key] = number  # type: ignore[attr-defined]
    return document, unread


def _samples(text: str) -> Iterator[tuple[str, str, float]]:
    for line in text.splitlines():
        if line.startswith("#") or (match := _LINE.match(line.strip())) is None:
            continue
        try:
            yield match[1], match[2] or "", float(match[3])
        except ValueError:
            continue


def _place(name: str, labels: str) -> tuple[str, str] | None:
    """Which part of an answer a metric is: by its name, a writer's by a stream and a field among its words."""
    for ending, place in DEFAULTS.items():
        if name == ending or name.endswith("_" + ending):
            return place
    words = " ".join([name, *(value for _, value in _LABEL.findall(labels))]).lower()
    streams = [stream for stream in _STREAMS if stream in words]
    fields = [field for word, field in _FIELDS.items() if word in name.lower()]
    if "http" in words or not any(word in words for word in ("writer", "batch", "flush", "buffer")):
        return None  # requests that failed are no rows that failed
    return (streams[0], fields[0]) if len(streams) == 1 and len(fields) == 1 else None

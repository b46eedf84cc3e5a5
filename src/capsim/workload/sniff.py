"""Which format a file is, by its content."""

from __future__ import annotations

from pathlib import Path

from capsim.base.errors import TraceError
from capsim.workload.access_log import ACCESS_LINE
from capsim.workload.documents import document_format, document_of
from capsim.workload.exports import line_format
from capsim.workload.lines import first_bytes, lines_of
from capsim.workload.recordings.journal import is_session
from capsim.workload.records import NOT, asks
from capsim.workload.unknown import is_known_text, summary_of, unknown

_SNIFFED_LINES = 50


def format_of(name: str, path: Path) -> str:
    """The format that a file's first lines are of.

    Raises
    ------
    TraceError
        If it is of none that is known, with what it looks like and how to convert it.
    """
    if first_bytes(path)[:4] == b"PAR1":
        return "parquet"
    seen: list[str] = []
    for _, raw in lines_of(path):
        if b"\0" in raw:
            raise TraceError(f"{name}: is a binary file; give text in UTF-8, gzip or zstd of it, or Parquet")
        if line := raw.decode("latin-1").strip():  # some of latin-1's spaces are none to bytes.strip()
            seen.append(line)
        if len(seen) == _SNIFFED_LINES:
            break
    if not seen:
        raise TraceError(f"{name}: the trace is empty; it needs at least one line with a time")
    if is_session(seen[0]):
        return "recording"
    if any(ACCESS_LINE.match(line) for line in seen):
        return "access-log"
    if (known := line_format(seen)) is not None:
        return known
    one = seen[0][0] == "{" and (len(seen) == 1 or not seen[0].endswith("}"))
    if one and (known := _document(name, path)) is not None:
        return known
    if seen[0][0] == "[" and (len(seen[0]) == 1 or seen[0][1] in " {]"):
        return "json-array"
    if sum(line[0] == "{" for line in seen) * 2 > len(seen):
        return "jsonl"
    if not _may_be_table(seen):
        raise unknown(name, seen[0])
    return "csv"


def _document(name: str, path: Path) -> str | None:
    """Which format a file is that seems to be one JSON document."""
    data = document_of(path)
    if (known := document_format(data)) is not None:
        return known
    if isinstance(data, dict) and (what := summary_of(data)) is not None:
        raise TraceError(f"{name}: is {what}")
    if isinstance(data, dict) and asks(data) == NOT:
        raise TraceError(
            f"{name}: is one JSON object that says of no request when it came; give a log, one object a request, or "
            "name its time (--field) and --format jsonl"
        )
    return None


def _may_be_table(lines: list[str]) -> bool:
    """Whether lines may be rows: a single column, or as many cells in most of them."""
    if is_known_text(lines[0]):
        return False
    first = lines[0]
    return any(mark in first for mark in ",;\t") or " " not in first or len(first) < 40

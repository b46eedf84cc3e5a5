"""Reads a recorded load from a file, whatever its format, or refuses it in one line."""

from __future__ import annotations

import difflib
from array import array
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from capsim.errors import TraceError
from capsim.paths import data_dir
from capsim.recording.journal import is_session
from capsim.trace.access_log import read_access_log
from capsim.trace.exports import READERS, document_format, document_of, line_format
from capsim.trace.formats import ACCESS_LINE, Found, read_csv, read_json_lines
from capsim.trace.instants import Stamps
from capsim.trace.lines import MAX_BROKEN_SHARE, Broken, blocks_of, first_bytes, lines_of, sha256_of
from capsim.trace.model import Ints, Trace
from capsim.trace.parquet import read_parquet
from capsim.trace.requests import UNSAID, Columns, Requests
from capsim.units import US_PER_DAY, US_PER_HOUR, US_PER_MS, US_PER_S

FORMATS = ("access-log", "counts", "events", "jsonl", "parquet", *READERS, "recording")
_SNIFFED_LINES = 50
_QUANTISED_DISTINCT = 20  # with fewer distinct stamps, a common step above 1 s may be chance


def find_trace(name_or_path: str | Path, base_dir: str | Path | None = None) -> Path:
    """The file meant by a scenario or on the command line: a bundled trace by name, otherwise a path.

    Parameters
    ----------
    name_or_path : str or Path
        For example ``game-day``, or a path relative to ``base_dir``.
    base_dir : str or Path, optional
        Where relative paths begin: the scenario's folder; by default the current one.

    Raises
    ------
    TraceError
        If there is neither.

    Examples
    --------
    >>> find_trace("game-day").name
    'game-day.csv'
    """
    bundled = {path.stem: path for path in sorted((data_dir() / "traces").glob("*.csv"))}
    if str(name_or_path) in bundled:
        return bundled[str(name_or_path)]
    path = Path(base_dir or "") / Path(name_or_path).expanduser()
    if path.is_file():
        return path
    if path.exists():
        raise TraceError(f"{path}: is no regular file; give a file, not a folder, pipe or device")
    close = difflib.get_close_matches(str(name_or_path), bundled, n=1)
    raise TraceError(
        f"{path}: no such trace file"
        + (f"; did you mean {close[0]!r}?" if close else "")
        + f"; give a path, or a bundled trace: {', '.join(bundled)}"
    )


def read_trace(
    path: str | Path,
    format: str | None = None,
    column: str | None = None,
    field: str | None = None,
    zone: str | None = None,
    max_broken: float = MAX_BROKEN_SHARE,
) -> Trace:
    """Read a recorded load; the format is found from the content.

    Parameters
    ----------
    path : str or Path
        Plain, gzip or zstd: a Common or Combined access log, CSV with ``timestamp,count`` or one timestamp per row,
        JSON lines (Railway's HTTP log export among them), an export of a load test, a monitoring or a load balancer
        (`capsim.trace.exports`); Parquet; or a recording of `capsim record`, whose counters tell the load.
    format : str, optional
        One of `FORMATS`; settles the format where the content does not.
    column : str, optional
        Name or number (from 1) of the time column of a CSV or Parquet file.
    field : str, optional
        Name of the time field of JSON lines; ``a.b`` is field b inside a.
    zone : str, optional
        Zone of stamps that name none. Without it they are taken as UTC, and a note says so.
    max_broken : float
        Share of broken lines up to which reading goes on [0..1].

    Returns
    -------
    Trace
        Times only; client addresses and everything else on the lines are dropped.

    Raises
    ------
    TraceError
        With file, line, value and remedy.

    Examples
    --------
    >>> read_trace(find_trace("game-day"))
    <Trace game-day: 431525 requests, 2026-01-05T00:00:00Z to 2026-01-06T00:00:00Z, counts>
    """
    return _read(path, format, column, field, zone, max_broken, None)


def read_requests(path: str | Path, format: str | None = None, **how: Any) -> Requests:
    """Read a log with what its lines say of each request beside the time: method, path, status, bytes, duration.

    Parameters
    ----------
    path, format, **how
        As for `read_trace`.

    Returns
    -------
    Requests
        A row a request, in the order of the file; ``.trace`` is the load.

    Raises
    ------
    TraceError
        As `read_trace`; and if the file's lines say no method and no path.
    """
    columns = Columns()
    given = {"column": None, "field": None, "zone": None, "max_broken": MAX_BROKEN_SHARE, **how}
    times: list[Ints] = []
    trace = _read(path, format, **given, columns=columns, times=times)
    if not columns.routes or list(columns.routes) == [UNSAID]:
        raise TraceError(f"{path}: its lines say no method and no path; give an access log, or JSON lines that do")
    return Requests(
        trace=trace,
        times_us=times[0],
        routes=list(columns.routes),
        route=np.frombuffer(columns.route, np.int32),
        status=np.frombuffer(columns.status, np.int16),
        response_bytes=_array(columns.response_bytes),
        duration_us=_array(columns.duration_us),
    )


def _read(
    path: str | Path,
    format: str | None,
    column: str | None,
    field: str | None,
    zone: str | None,
    max_broken: float,
    columns: Columns | None,
    times: list[Ints] | None = None,
) -> Trace:
    path = Path(path)
    if format is not None and format not in FORMATS:
        raise TraceError(f"format {format!r} is unknown; give one of {', '.join(FORMATS)}")
    if path.is_dir():
        raise TraceError(f"{path}: is a folder; give a file")
    digest = sha256_of(path)
    format = format or _sniff(path)
    stamps, broken = Stamps(zone), Broken(path, max_broken)
    if format == "recording":
        from capsim.recording import read_recording
        from capsim.recording.load import load_trace

        return load_trace(read_recording(path))
    kind = format if format in ("counts", "events") else None
    if format == "parquet":
        found = read_parquet(path, broken, stamps, kind, column)
    elif format in READERS:
        found = READERS[format](path, broken, stamps)
    elif format == "access-log":
        found = read_access_log(path, blocks_of(path), broken, columns)
    elif format == "jsonl":
        found = read_json_lines(path, lines_of(path), broken, stamps, field, columns)
    else:
        found = read_csv(path, lines_of(path), broken, stamps, kind, column)
    broken.refuse(found.lines)
    if times is not None:
        times.append(_array(found.times_us))
    if not found.times_us:
        raise TraceError(f"{path}: the trace is empty; it needs at least one line with a time")
    notes = [*broken.note(), *found.notes]
    if stamps.assumed_utc:
        notes.append("The stamps name no zone and were taken as UTC (assumed; a zone can be given).")
    if stamps.unit:
        notes.append(f"The stamps are epoch numbers in {stamps.unit}.")
    name = path.name.removesuffix(".gz").removesuffix(".zst").rsplit(".", 1)[0] or path.name
    build = _counts if found.counts is not None else _events
    return build(path, name, found, digest, broken.count, notes)


def _sniff(path: Path) -> str:
    if first_bytes(path)[:4] == b"PAR1":
        return "parquet"
    seen: list[str] = []
    for _, raw in lines_of(path):
        if b"\0" in raw:
            raise TraceError(f"{path}: is a binary file; give text in UTF-8, gzip or zstd of it, or Parquet")
        if line := raw.decode("latin-1").strip():  # some of latin-1's spaces are none to bytes.strip()
            seen.append(line)
        if len(seen) == _SNIFFED_LINES:
            break
    if not seen:
        raise TraceError(f"{path}: the trace is empty; it needs at least one line with a time")
    if is_session(seen[0]):
        return "recording"
    if (known := line_format(seen)) is not None:
        return known
    if seen[0][0] == "{" and (len(seen) == 1 or not seen[0].endswith("}")):
        known = document_format(document_of(path))
        if known is not None:
            return known
    if any(ACCESS_LINE.match(line) for line in seen):
        return "access-log"
    if sum(line[0] == "{" for line in seen) * 2 > len(seen):
        return "jsonl"
    if seen[0][0] == "[":
        raise TraceError(f"{path}: is one JSON array; write one object per line first: jq -c '.[]'")
    return "csv"


def _array(values: array[int]) -> Ints:
    return np.frombuffer(values, np.int64)


def _counts(path: Path, name: str, found: Found, digest: str, broken: int, notes: list[str]) -> Trace:
    assert found.counts is not None
    starts = _array(found.times_us)
    if starts.size < 2:
        raise TraceError(f"{path}: a single bin does not tell how wide it is; give at least two rows")
    steps, often = np.unique(np.diff(starts), return_counts=True)
    # The smallest step, if all others are whole multiples of it (absent bins); otherwise the usual one.
    whole = steps[0] > 0 and not (steps % steps[0]).any()
    width_us = int(steps[0]) if whole else int(steps[np.argmax(often)])
    if width_us > US_PER_DAY:
        raise TraceError(f"{path}: bins of {width_us / US_PER_DAY:.3g} days hide the load; give bins of a day or less")
    # from_counts() speaks of `name`; a reader of files speaks of the file.
    trace = Trace.from_counts(
        str(path),
        starts,
        _array(found.counts),
        width_us,
        sha256=digest,
        source=str(path),
        broken_lines=broken,
    )
    if trace.gaps:
        missing_s = (trace.span_us - trace.covered_us) / US_PER_S
        notes.append(
            f"{len(trace.gaps)} gap{'s' * (len(trace.gaps) > 1)} without rows, {missing_s:.0f} s together: "
            "no data, not zero load."
        )
    return replace(trace, name=name, notes=tuple(notes))


def _events(path: Path, name: str, found: Found, digest: str, broken: int, notes: list[str]) -> Trace:
    times = _array(found.times_us)
    steps_back = np.diff(times)
    out_of_order = int((steps_back < 0).sum())
    if out_of_order:
        back_s = -int(steps_back.min()) / US_PER_S
        who = "1 line went" if out_of_order == 1 else f"{out_of_order} lines went"
        was = "was" if out_of_order == 1 else "were"
        notes.append(f"{who} back in time (by up to {back_s:.6g} s) and {was} sorted.")
    resolution_us = _resolution(times)
    if resolution_us > US_PER_S:
        every_s = resolution_us / US_PER_S
        notes.append(f"The stamps are quantised to {every_s:.6g} s; arrivals are spread over that time.")
    elif resolution_us == US_PER_S:
        notes.append("The stamps are whole seconds; arrivals are spread inside the second by a seeded rule.")
    return Trace.from_times(
        name,
        times,
        resolution_us,
        source=str(path),
        sha256=digest,
        out_of_order=out_of_order,
        broken_lines=broken,
        notes=tuple(notes),
    )


def _resolution(times: Ints) -> int:
    """What the stamps are multiples of: a power of ten up to 1 s, or more where many stamps agree on it."""
    ordered = np.sort(times)  # `unique` hashes, which takes several times as long
    distinct = ordered[np.append(True, ordered[1:] > ordered[:-1])]
    common = int(np.gcd.reduce(np.diff(distinct))) if distinct.size > 1 else 0
    if distinct.size >= _QUANTISED_DISTINCT and US_PER_S < common <= US_PER_HOUR and common % US_PER_S == 0:
        return common
    whole = int(np.gcd.reduce(distinct))
    return next((unit for unit in (US_PER_S, 100 * US_PER_MS, 10 * US_PER_MS, US_PER_MS) if whole % unit == 0), 1)

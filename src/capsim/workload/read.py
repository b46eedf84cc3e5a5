"""Reads a recorded load from files, whatever their format, or refuses them in one line."""

from __future__ import annotations

import difflib
import hashlib
import re
import shutil
import sys
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from capsim.base.errors import TraceError
from capsim.base.paths import data_dir
from capsim.workload.access_log import read_access_log
from capsim.workload.exports import READERS
from capsim.workload.found import as_ints, counted, single, usual_step
from capsim.workload.instants import Stamps, iso
from capsim.workload.lines import MAX_BROKEN_SHARE, Broken, blocks_of, lines_of, sha256_of
from capsim.workload.model import Trace
from capsim.workload.parquet import read_parquet
from capsim.workload.recordings import read_recording
from capsim.workload.recordings.load import load_trace
from capsim.workload.records import read_json_lines
from capsim.workload.requests import UNSAID, Columns, NoPaths, Requests, told
from capsim.workload.sniff import format_of
from capsim.workload.source import Asked, Found, Source
from capsim.workload.table import read_table
from capsim.workload.written import AmbiguousDate

if TYPE_CHECKING:
    import pandas as pd

TraceLike: TypeAlias = "Trace | str | Path | Sequence[str | Path] | pd.DataFrame | pd.Series[Any]"
FORMATS = ("access-log", "counts", "events", "jsonl", "parquet", *READERS, "recording")
STDIN = "-"
_PACKED = re.compile(r"(\.(?:gz|zst|\d{1,3}))+$")  # of a name: rotated and compressed
_SLASHED = re.compile(rb"\b(\d{1,2})[/-](\d{1,2})[/-](?:\d{4}|\d\d)\b")


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
    if str(name_or_path) == STDIN:
        return Path(STDIN)
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


def find_traces(name_or_path: str | Path) -> list[Path]:
    """The files meant by a name, a path, or a pattern such as ``logs/access.log*``, which fits files of one folder.

    Raises
    ------
    TraceError
        If there are none.

    Examples
    --------
    >>> [path.name for path in find_traces("game-day")]
    ['game-day.csv']
    """
    path = Path(name_or_path).expanduser()
    if not set("*?[") & set(path.name) or path.is_file() or not path.parent.is_dir():
        return [find_trace(name_or_path)]
    found = sorted(one for one in path.parent.iterdir() if fnmatchcase(one.name, path.name) and one.is_file())
    return found or [find_trace(name_or_path)]


def read_trace(
    path: str | Path | Sequence[str | Path],
    format: str | None = None,
    column: str | None = None,
    field: str | None = None,
    zone: str | None = None,
    max_broken: float = MAX_BROKEN_SHARE,
    *,
    as_: str | None = None,
    value: str | None = None,
    where: str | None = None,
    dates: str | None = None,
) -> Trace:
    """Read a recorded load; the format is found from the content.

    Parameters
    ----------
    path : str, Path, or a sequence of them
        Plain, gzip or zstd: a Common or Combined access log, CSV with ``timestamp,count`` or one timestamp per row,
        JSON lines (Railway's HTTP log export among them), an export of a load test, a monitoring or a load balancer
        (`FORMATS`); Parquet; or a recording of `capsim record`, whose counters tell the load. Several files, such as
        rotated logs, are one load, in whatever order they are given; ``-`` is standard input.
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
    as_ : {"count", "rate", "counter"}, optional
        What the numbers beside stamps are: requests in each step, requests a second, or a running total.
    value : str, optional
        Name or number (from 1) of the column of a CSV file that holds those numbers.
    where : str, optional
        Count only JSON lines or CSV rows with this: ``FIELD=VALUE``, where ``*`` fits anything, or ``FIELD``.
    dates : {"dmy", "mdy"}, optional
        Order of day and month in dates such as 3/2/2026.

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
    asked = Asked(format, column, value, field, zone, dates, as_, where)
    return _read(path, asked, max_broken, None)[0]


def as_trace(given: TraceLike) -> Trace:
    """A load in whatever form it is at hand: a trace, a bundled name, files, or a table of pandas.

    Examples
    --------
    >>> as_trace("game-day").name
    'game-day'
    """
    if isinstance(given, Trace):
        return given
    if isinstance(given, str | Path):
        return read_trace(find_traces(given))
    if isinstance(given, list | tuple) and all(isinstance(one, str | Path) for one in given):
        return read_trace([path for one in given for path in find_traces(one)])
    return Trace.from_frame(given)  # type: ignore[arg-type]  # which refuses anything else


def read_requests(
    path: str | Path | Sequence[str | Path],
    format: str | None = None,
    *,
    max_broken: float = MAX_BROKEN_SHARE,
    **how: Any,
) -> Requests:
    """Read a log with what its lines say of each request beside the time: method, path, status, bytes, duration.

    Parameters
    ----------
    path, format, max_broken, **how
        As for `read_trace`.

    Returns
    -------
    Requests
        A row a request, in the order of the files; ``.trace`` is the load.

    Raises
    ------
    TraceError
        As `read_trace`; and, as `capsim.workload.requests.NoPaths`, if the files' lines say no method and no path.
    """
    trace, found = _read(path, Asked(format=format, **how), max_broken, Columns)
    columns = found.columns
    if columns is None or len(columns.route) != len(found.times_us) or not set(columns.routes) - {UNSAID}:
        none = NoPaths(
            f"{trace.source}: its lines say no method and no path; give an access log, or JSON lines that do"
        )
        none.trace = trace
        raise none
    routes, route = told(columns)
    return Requests(
        trace=trace,
        times_us=as_ints(found.times_us),
        routes=routes,
        route=route,
        status=np.frombuffer(columns.status, np.int16),
        response_bytes=as_ints(columns.response_bytes),
        duration_us=as_ints(columns.duration_us),
    )


def _read(
    given: str | Path | Sequence[str | Path], asked: Asked, max_broken: float, columns: type[Columns] | None
) -> tuple[Trace, Found]:
    """The trace of one file or of several, and what was found in them together."""
    if asked.format is not None and asked.format not in FORMATS:
        raise TraceError(f"format {asked.format!r} is unknown; give one of {', '.join(FORMATS)}")
    paths = [Path(one) for one in ([given] if isinstance(given, str | Path) else given)]
    if not paths:
        raise TraceError("no file is given; name at least one")
    files = []
    for path in paths:
        with _at(path) as (name, there):
            one = _one(name, there, asked, max_broken, columns() if columns else None)
        if isinstance(one, Trace):
            if len(paths) > 1:
                raise TraceError(f"{name}: is a recording, which is read alone; give the files one by one")
            return one, Found()
        files.append(one)
    if len(files) > 1:
        _all_alike(files)
    files.sort(key=lambda file: (min(file.found.times_us), file.digest))
    found, together = _together(files)
    sources = [file.name for file in files]
    if len({file.digest for file in files}) < len(files):
        raise TraceError(f"{', '.join(sources[:3])}: two of the files are the same; give each once")
    digest = files[0].digest
    if len(files) > 1:
        digest = hashlib.sha256("".join(file.digest for file in files).encode()).hexdigest()
    source = sources[0] if len(sources) == 1 else f"{sources[0]} and {len(sources) - 1} more"
    build = counted if found.counts is not None else single
    name = _PACKED.sub("", Path(sources[0]).name).rsplit(".", 1)[0] or Path(sources[0]).name
    broken = sum(file.broken for file in files)
    return build(source, "stdin" if sources == [_STDIN_NAME] else name, found, digest, broken, together), found


class _File:
    """What one file held."""

    def __init__(self, name: str, found: Found, digest: str, broken: int, notes: list[str]) -> None:
        self.name, self.found, self.digest, self.broken, self.notes = name, found, digest, broken, notes


_STDIN_NAME = "standard input"


@contextmanager
def _at(path: Path) -> Iterator[tuple[str, Path]]:
    """A file's name for messages, and where it is; standard input goes through a file, since it is read twice."""
    if str(path) != STDIN:
        yield str(path), path
        return
    with tempfile.NamedTemporaryFile(prefix="capsim-") as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.flush()
        yield _STDIN_NAME, Path(copy.name)


def _one(name: str, path: Path, asked: Asked, max_broken: float, columns: Columns | None) -> _File | Trace:
    if path.is_dir():
        raise TraceError(f"{path}: is a folder; give the file in it that is to be read")
    digest = sha256_of(path)
    try:
        format = asked.format or format_of(name, path)
        if format == "recording":
            return load_trace(read_recording(path))
        try:
            source, found = _found(name, path, asked, format, max_broken, columns)
        except AmbiguousDate as doubt:
            order = _order_in(name, path, doubt)
            if columns is not None:
                columns = Columns()
            source, found = _found(name, path, replace(asked, dates=order), format, max_broken, columns)
    except TraceError as error:
        if name != str(path):  # a copy of standard input
            raise TraceError(*(problem.replace(str(path), name) for problem in error.problems)) from None
        raise
    source.broken.refuse(found.lines)
    if not found.times_us:
        raise TraceError(f"{name}: the trace is empty; it needs at least one line with a time")
    notes = [*source.broken.note(), *found.notes, *source.stamps.notes()]
    return _File(name, found, digest, source.broken.count, notes)


def _found(
    name: str, path: Path, asked: Asked, format: str, max_broken: float, columns: Columns | None
) -> tuple[Source, Found]:
    asked = replace(asked, format=format if format in ("counts", "events") else None)
    source = Source(path, name, Broken(Path(name), max_broken), Stamps(asked.zone, asked.dates), asked, columns)
    if format == "parquet":
        return source, read_parquet(source)
    if format in READERS:
        return source, READERS[format](source)
    if format == "access-log":
        return source, read_access_log(source, blocks_of(path))
    if format == "jsonl":
        return source, read_json_lines(source, lines_of(path))
    return source, read_table(source, lines_of(path))


def _order_in(name: str, path: Path, doubt: AmbiguousDate) -> str:
    """The order of day and month that all dates of a file allow, if it is one."""
    orders = {"dmy", "mdy"}
    for _, line in lines_of(path):
        for hit in _SLASHED.finditer(line):
            first, second = int(hit[1]), int(hit[2])
            orders -= {"mdy"} if first > 12 else {"dmy"} if second > 12 else set()
    if len(orders) != 1:
        raise TraceError(f"{name}: {doubt}")
    return orders.pop()


def _all_alike(files: list[_File]) -> None:
    kinds = {file.found.counts is None for file in files}
    if len(kinds) > 1:
        odd = next(file for file in files if file.found.counts is not None)
        raise TraceError(f"{odd.name}: holds counts and the other files requests one by one; read them apart")


def _together(files: list[_File]) -> tuple[Found, list[str]]:
    """Files one after the other, by their first instant, and their notes, each with its file if there are several."""
    if len(files) == 1:
        return files[0].found, files[0].notes
    first = files[0].found
    notes = list(dict.fromkeys(note if note[0].isupper() else f"{f.name}: {note}" for f in files for note in f.notes))
    widths = {f.found.width_us or usual_step(as_ints(f.found.times_us)) for f in files if len(f.found.times_us) > 1}
    if first.counts is not None and len(widths) > 1:
        raise TraceError(f"{files[0].name}: its bins and those of the other files have several widths; read them apart")
    found = Found(array("q"), None if first.counts is None else array("q"), columns=first.columns and Columns())
    for file in files:
        own = file.found
        if found.counts is not None and own.counts is not None:
            if found.times_us and own.times_us[0] <= found.times_us[-1]:
                raise TraceError(
                    f"{file.name}: begins at {iso(own.times_us[0])}, before another file ends; counts of the same time "
                    "cannot be put together: cut one of them"
                )
            found.counts.extend(own.counts)
        found.times_us.extend(own.times_us)
        found.width_us = own.width_us if found.width_us is None else found.width_us
        if found.columns is not None and own.columns is not None:
            found.columns.extend(own.columns)
    return found, [f"{len(files)} files were read as one load.", *notes]

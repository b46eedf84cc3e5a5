"""Parquet files, through DuckDB (the extra `traces`)."""

from __future__ import annotations

from array import array
from pathlib import Path

from capsim.base.errors import TraceError
from capsim.workload import series
from capsim.workload.instants import Stamps
from capsim.workload.layout import COUNT_NAMES
from capsim.workload.model import LARGEST_COUNT
from capsim.workload.records import TIME_NAMES
from capsim.workload.source import Found, Source

_ROWS_AT_ONCE = 100_000


def read_parquet(source: Source) -> Found:
    """One timestamp per row, or a timestamp and a count."""
    path, stamps, kind = source.path, source.stamps, source.asked.format
    source.no_where()
    try:
        import duckdb
    except ModuleNotFoundError:
        raise TraceError(
            f"{path}: reading Parquet needs DuckDB; install it with: pip install 'capsim[traces]'"
        ) from None
    try:
        with duckdb.connect() as database:
            database.execute("SET TimeZone = 'UTC'")
            relation = "read_parquet($path)"
            given = {"path": str(path)}
            described = database.execute(f"DESCRIBE SELECT * FROM {relation}", given).fetchall()
            types = {str(name): str(kind_) for name, kind_, *_ in described}
            time = _pick(path, types, source.asked.column)
            count = None
            if kind != "events":
                count = next((n for c in COUNT_NAMES for n in types if n.lower() == c and n != time), None)
            if kind == "counts" and count is None:
                raise TraceError(f"{path}: no column of counts among {', '.join(types)}; call it count")
            wanted = _epoch(time, types[time], stamps) + (f", {_quoted(count)}" if count else ", NULL")
            rows = database.execute(f"SELECT {wanted} FROM {relation}", given)
            found = Found(counts=array("q") if count else None)
            stamps.expect_forward(count is not None)
            last_us = -1
            while chunk := rows.fetchmany(_ROWS_AT_ONCE):
                for stamp, value in chunk:
                    found.lines += 1
                    try:
                        instant = stamps(stamp)
                    except (ValueError, OverflowError) as error:
                        source.broken.add(found.lines, "", str(error))
                        continue
                    if found.counts is not None:
                        series.forward(source, found.lines, instant, last_us)
                        found.counts.append(_count(source, found.lines, value))
                        last_us = instant
                    found.times_us.append(instant)
                    source.bounded(found, found.lines)
            return found
    except duckdb.Error as error:
        raise TraceError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]}); check the file") from None


def _count(source: Source, number: int, value: object) -> int:
    try:
        number_of = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise series.bad_count(source, number, str(value), "give whole numbers, 0 or more") from None
    if not 0 <= number_of <= LARGEST_COUNT or number_of != int(number_of):
        raise series.bad_count(source, number, str(value), "give whole numbers, 0 or more")
    return int(number_of)


def _pick(path: Path, types: dict[str, str], column: str | None) -> str:
    if column is not None:
        if column not in types:
            raise TraceError(f"{path}: there is no column {column!r}; give one of {', '.join(types)}")
        return column
    time = next((n for t in TIME_NAMES for n in types if n.lower() == t.lower()), None)
    time = time or next((n for n, kind in types.items() if kind.startswith("TIMESTAMP")), None)
    if time is None:
        raise TraceError(f"{path}: no time among the columns {', '.join(types)}; name it (column=..., --column)")
    return time


def _epoch(name: str, type_: str, stamps: Stamps) -> str:
    """SQL for the column as something that `Stamps` reads: typed times as text, the rest as it is."""
    if type_ == "TIMESTAMP WITH TIME ZONE":
        return f"strftime({_quoted(name)}, '%Y-%m-%dT%H:%M:%S.%f') || '+00:00'"
    if type_.startswith(("TIMESTAMP", "DATE")):
        return f"strftime({_quoted(name)}::TIMESTAMP, '%Y-%m-%dT%H:%M:%S.%f')"
    return _quoted(name)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

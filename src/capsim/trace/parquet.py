"""Parquet files, through DuckDB (the extra `traces`)."""

from __future__ import annotations

from array import array
from pathlib import Path

from capsim.errors import TraceError
from capsim.trace.formats import COUNT_NAMES, TIME_NAMES, Found, _count, bounded
from capsim.trace.instants import Stamps, iso
from capsim.trace.lines import Broken

_ROWS_AT_ONCE = 100_000


def read_parquet(path: Path, broken: Broken, stamps: Stamps, kind: str | None, column: str | None) -> Found:
    """One timestamp per row, or a timestamp and a count."""
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
            time = _pick(path, types, column)
            count = None
            if kind != "events":
                count = next((n for c in COUNT_NAMES for n in types if n.lower() == c and n != time), None)
            if kind == "counts" and count is None:
                raise TraceError(f"{path}: no column of counts among {', '.join(types)}; call it count")
            wanted = _epoch(time, types[time], stamps) + (f", {_quoted(count)}" if count else ", NULL")
            rows = database.execute(f"SELECT {wanted} FROM {relation}", given)
            found = Found(counts=array("q") if count else None)
            last_us = -1
            while chunk := rows.fetchmany(_ROWS_AT_ONCE):
                for stamp, value in chunk:
                    found.lines += 1
                    try:
                        instant = stamps(stamp)
                    except (ValueError, OverflowError) as error:
                        broken.add(found.lines, "", str(error))
                        continue
                    if found.counts is not None:
                        if instant <= last_us:
                            raise TraceError(
                                f"{path}: row {found.lines}: time {iso(instant)} does not go forward; "
                                "sort the rows by time and merge equal bins"
                            )
                        try:
                            found.counts.append(_count(path, found.lines, str(value)))
                        except ValueError as error:
                            broken.add(found.lines, "", str(error))
                            continue
                        last_us = instant
                    found.times_us.append(instant)
                    bounded(path, found, found.lines)
            return found
    except duckdb.Error as error:
        raise TraceError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]}); check the file") from None


def _pick(path: Path, types: dict[str, str], column: str | None) -> str:
    if column is not None:
        if column not in types:
            raise TraceError(f"{path}: there is no column {column!r}; give one of {', '.join(types)}")
        return column
    time = next((n for t in TIME_NAMES for n in types if n.lower() == t), None)
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

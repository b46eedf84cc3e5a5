"""A recording as a table for others: CSV, or Parquet by DuckDB (the extra `traces`)."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import numpy as np
import pandas as pd

from capsim.base.errors import CapsimError
from capsim.base.files import write_text
from capsim.workload.instants import iso
from capsim.workload.recordings.model import Recording

KINDS = (".csv", ".parquet")
MOST_COLUMNS = 1_000  # more are no recording, and pandas takes half a millisecond for each


def table_of(recording: Recording) -> pd.DataFrame:
    """One row a sample, and one for what was missed, with the reason in ``why``."""
    parts = [recording.samples.assign(count=0, why="")] + [recording.missed] * (len(recording.missed) > 0)
    table = pd.concat(parts, ignore_index=True)
    table = table.sort_values("time_s", kind="stable").reset_index(drop=True)
    at = [iso(recording.start_us + round(1e6 * t)) for t in table["time_s"]]
    table.insert(0, "at", at)
    return table.assign(source=recording.source)


def write_recording(recording: Recording, out: Path) -> None:
    """Write the table, whole.

    Raises
    ------
    CapsimError
        If the name ends in neither .csv nor .parquet, or DuckDB is not installed.
    """
    table = table_of(recording)
    if out.suffix == ".csv":
        text = table.to_csv(index=False, float_format="%.10g", lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
        write_text(out, text)
    elif out.suffix == ".parquet":
        _write_parquet(table, out)
    else:
        raise CapsimError(f"{out}: a recording is written as .csv or .parquet; choose one of these names")


def read_table(path: Path) -> tuple[pd.DataFrame, str]:
    """A table that `write_recording` wrote, and the address in it."""
    try:
        table = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    except OSError as error:
        raise CapsimError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except (ValueError, pd.errors.ParserError):
        raise CapsimError(f"{path}: is no table that capsim record wrote; give one of these") from None
    sources = [str(s) for s in table["source"].dropna().unique()] if "source" in table else []
    if len(sources) > 1:
        raise CapsimError(
            f"{path}: holds answers of {sources[0]} and of {sources[1]}; put each server into a file of its own"
        )
    return table, sources[0] if sources else "a table"


def _read_csv(path: Path) -> pd.DataFrame:
    with path.open(encoding="utf-8-sig") as file:
        text = file.read()
        if text.partition("\n")[0].count(",") > MOST_COLUMNS:
            raise ValueError("more columns than a recording has")
        return pd.read_csv(io.StringIO(text), dtype={"at": str, "why": str, "source": str})


def _read_parquet(path: Path) -> pd.DataFrame:
    duckdb = _duckdb(path)
    try:
        with duckdb.connect() as database:
            found = database.execute("SELECT * FROM read_parquet($path)", {"path": str(path)})
            names = [column[0] for column in found.description]
            return pd.DataFrame(found.fetchall(), columns=names)
    except duckdb.Error as error:
        raise CapsimError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]}); check the file") from None


def _write_parquet(table: pd.DataFrame, out: Path) -> None:
    duckdb = _duckdb(out)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.part")
    columns = {name: table[name].to_numpy() for name in table}
    try:
        with duckdb.connect() as database:
            database.register("recorded", pd.DataFrame({n: _plain(v) for n, v in columns.items()}))
            database.execute(f"COPY recorded TO '{str(temporary).replace(chr(39), chr(39) * 2)}' (FORMAT PARQUET)")
        temporary.replace(out)
    except duckdb.Error as error:
        raise CapsimError(f"{out}: cannot be written ({str(error).splitlines()[0]}); choose another --out") from None
    finally:
        temporary.unlink(missing_ok=True)


def _plain(values: np.ndarray) -> np.ndarray:
    return values.astype(object) if values.dtype.kind not in "iufb" else values


def _duckdb(path: Path):  # type: ignore[no-untyped-def]
    try:
        import duckdb
    except ModuleNotFoundError:
        raise CapsimError(f"{path}: Parquet needs DuckDB; install it with: pip install 'capsim[traces]'") from None
    return duckdb

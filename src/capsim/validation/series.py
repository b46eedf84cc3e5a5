"""Measured series of memory: read with their companion, checked, split where a process began anew."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from capsim.base.errors import CapsimError
from capsim.workload.companion import NEEDED, ROLES, STANDARD, UNITS, Companion, Run, companion_path, read_companion

if TYPE_CHECKING:
    import pandas as pd

FEWEST_SAMPLES = 5  # of a process; fewer tell nothing
LARGE_GAP = 5  # times the usual step, and at least so many seconds
MOST_COLUMNS = 1_000  # more are no series, and pandas takes half a millisecond for each
PLAUSIBLE_RSS_MIB = (5.0, 200_000.0)  # a bare Node has 40 MiB
PLAUSIBLE_STEP_S = (0.005, 120.0)


@dataclass(frozen=True)
class RecordedSeries:
    """One process: how it was run, and what was seen.

    Parameters
    ----------
    name : str
        The run; ``run #2`` for a process that came after a restart.
    run : Run
        From the companion.
    table : DataFrame
        Columns named as in `capsim.workload.companion.ROLES`, times in seconds, memory in MiB of 2^20 bytes.
    notes : tuple of str
        What is not as it should be, and what was done about it.
    """

    name: str
    run: Run
    table: pd.DataFrame
    notes: tuple[str, ...]


def read_series(path: Path) -> tuple[list[RecordedSeries], list[str]]:
    """The processes of a file, and what has to be said about the file as a whole.

    Raises
    ------
    CapsimError
        If the file or its companion cannot be used at all: no needed column, units that cannot be right, no
        described run in it.
    """
    companion = read_companion(path)
    raw = _read(path)
    _check_columns(path, companion, raw)
    notes = [f"{path}: no column {companion.column('collections').name}; full collections are not compared"]
    notes = [] if companion.column("collections").name in raw else notes
    found: list[RecordedSeries] = []
    for run, part in _parts(path, companion, raw, notes):
        found += _processes(path, run, _numbers(path, companion, run, part))
    if not found:
        raise CapsimError(*notes, f"{path}: no described run can be used; mend the series or its companion")
    return found, notes


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        with warnings.catch_warnings():
            # Lines with more cells than the head: pandas would shift every column by one, or cut and only warn.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            with path.open(encoding="utf-8", newline="") as file:
                columns = file.readline().count(",") + 1
                if columns > MOST_COLUMNS:
                    raise CapsimError(f"{path}: has {columns:,} columns; give a series of at most {MOST_COLUMNS:,}")
                file.seek(0)
                raw = pd.read_csv(file, dtype=str, keep_default_na=False, index_col=False)
    except FileNotFoundError:
        raise CapsimError(f"{path}: no such file; give a series in CSV") from None
    except pd.errors.EmptyDataError:
        raise CapsimError(f"{path}: is empty; give a series in CSV") from None
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise CapsimError(f"{path}: not a CSV table ({' '.join(str(error).split())}); give a series in CSV") from None
    except OSError as error:
        raise CapsimError(f"{path}: cannot be read ({error.strerror}); give a readable file") from None
    if raw.empty:
        raise CapsimError(f"{path}: has a head but no samples; give a series in CSV")
    return raw


def _check_columns(path: Path, companion: Companion, raw: pd.DataFrame) -> None:
    problems = []
    wanted = {role: companion.column(role).name for role in NEEDED} | {
        role: column.name for role, column in companion.columns.items()
    }
    if companion.run_column is not None:
        wanted["run"] = companion.run_column
    for role, name in wanted.items():
        if name not in raw:
            place = companion_path(path).name
            problems.append(
                f"{path}: no column {name!r} ({role}); the columns are {', '.join(raw.columns)}: "
                f"say in {place} which it is"
            )
    if problems:
        raise CapsimError(*problems)


def _parts(path: Path, companion: Companion, raw: pd.DataFrame, notes: list[str]) -> Iterator[tuple[Run, pd.DataFrame]]:
    if companion.run_column is None:
        yield companion.runs[0], raw
        return
    named = raw[companion.run_column]
    for run in companion.runs:
        part = raw[named == run.name]
        if part.empty:
            notes.append(f"{path}: no samples of run {run.name}; skipped")
        else:
            yield run, part
    others = [name for name in dict.fromkeys(named) if name not in {run.name for run in companion.runs}]
    if others:
        shown = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        notes.append(f"{path}: {len(others)} runs that the companion does not describe ({shown}); skipped")


def _numbers(path: Path, companion: Companion, run: Run, part: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """All known columns as numbers in seconds and MiB; samples without the needed ones are left out."""
    import numpy as np
    import pandas as pd

    columns = {}
    for role in STANDARD:
        column = companion.column(role)
        if column.name in part:
            numbers = pd.to_numeric(part[column.name], errors="coerce").where(lambda x: np.isfinite(x) & (x >= 0))
            columns[role] = numbers * UNITS[ROLES[role]][column.unit]
    table = pd.DataFrame(columns, index=part.index)
    broken = table[list(NEEDED)].isna().any(axis=1)
    notes = []
    if broken.any():
        line = int(part.index[broken][0]) + 2
        notes.append(
            f"{int(broken.sum())} of {len(table)} samples without a usable number (first: line {line}); left out"
        )
    table = table[~broken]
    if len(table):
        _check_units(path, companion, run, table)
    return table, notes


def _check_units(path: Path, companion: Companion, run: Run, table: pd.DataFrame) -> None:
    step = float(table["time"].diff().median()) if len(table) > 1 else 1.0
    for role, value, (low, high), what in (
        ("rss", float(table["rss"].median()), PLAUSIBLE_RSS_MIB, "a resident memory of {:,.3g} MiB"),
        ("time", step, PLAUSIBLE_STEP_S, "{:,.3g} s from sample to sample"),
    ):
        if not low <= value <= high and value > 0:
            column = companion.column(role)
            raise CapsimError(
                f"{path}: run {run.name}: {column.name} in {column.unit!r} means {what.format(value)}, which cannot "
                f"be; correct its unit in {companion_path(path).name}"
            )


def _processes(path: Path, run: Run, cleaned: tuple[pd.DataFrame, list[str]]) -> list[RecordedSeries]:
    """Cut where time or a counter falls back: there a new process began."""
    table, notes = cleaned
    falls = table["time"].diff() < 0
    for role in ("requests", "cpu", "collections"):
        if role in table:
            falls |= table[role].diff() < -1e-9
    number = falls.cumsum()
    count = int(number.iloc[-1]) + 1 if len(table) else 0
    if count > 1:
        instants = ", ".join(f"{t:g} s" for t in table["time"][falls].head(3))
        notes = [
            *notes,
            f"{count - 1} restarts (a counter or the time falls back at {instants}); each process by itself",
        ]
    out = []
    for i in range(count):
        name = run.name if i == 0 else f"{run.name} #{i + 1}"
        own = table[number == i].drop_duplicates("time").reset_index(drop=True)
        if len(own) < FEWEST_SAMPLES or own["requests"].iloc[-1] <= own["requests"].iloc[0]:
            notes = [*notes, f"{name}: {len(own)} samples without load or too few; skipped"]
            continue
        described = run if i == count - 1 else run.model_copy(update={"ended": "stopped"})
        out.append(RecordedSeries(name, described, own, (*notes, *_gaps(own))))
        notes = []
    return out


def _gaps(table: pd.DataFrame) -> Iterator[str]:
    step = table["time"].diff()
    large = max(LARGE_GAP * float(step.median()), float(LARGE_GAP))
    gaps = table.index[step > large]
    if len(gaps):
        spans = ", ".join(f"{table['time'][i - 1]:g} to {table['time'][i]:g} s" for i in gaps[:3])
        yield f"{len(gaps)} gaps ({spans}); the load inside them is taken as even, their memory as not seen"

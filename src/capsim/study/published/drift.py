"""What differs between the tables of a folder and those made now, by table, row and column."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from capsim.base.errors import CapsimError
from capsim.base.files import STAGING, SUMS
from capsim.study.published.table import Published


def drift(folder: Path, fresh: Mapping[str, str], tables: Sequence[Published]) -> list[str]:
    """One line for every difference; empty if the folder holds what would be made now.

    Parameters
    ----------
    folder : Path
        Where tables were published.
    fresh : mapping of str to str
        Every file as it would be written now.
    tables : sequence of Published
        What is in them.

    Raises
    ------
    CapsimError
        If there are no tables in the folder.
    """
    if not folder.is_dir():
        raise CapsimError(f"{folder}: there are no tables to check; make them with capsim tables")
    keys = {f"{table.name}.csv": table.keys for table in tables}
    found: list[str] = []
    pages = []
    for name, now in fresh.items():
        path = folder / name
        if not path.is_file():
            found.append(f"{name}: is missing")
            continue
        kept = path.read_bytes().decode("utf-8", errors="replace")
        if kept == now:
            continue
        if name in keys:
            found += [f"{name.removesuffix('.csv')}: {line}" for line in _rows(kept, now, keys[name])]
        else:
            pages.append(name)
    strange = {path.name for path in folder.iterdir() if not path.name.startswith(STAGING)} - set(fresh) - {SUMS}
    found += [f"{name}: is no longer made" for name in sorted(strange)]
    found += [f"{name}: {_first(folder / name, fresh[name])}" for name in pages]
    return found


def _rows(kept: str, now: str, keys: Sequence[str]) -> list[str]:
    old, new = _read(kept, keys), _read(now, keys)
    found = [f"row {_named(key)}: is no longer made" for key in old if key not in new]
    for key, row in new.items():
        if key not in old:
            found.append(f"row {_named(key)}: is new")
            continue
        for column in dict.fromkeys((*old[key], *row)):
            a, b = old[key].get(column), row.get(column)
            if a != b:
                found.append(f"row {_named(key)}: {column} was {a if a is not None else 'absent'}, is {b}")
    return found or ["same rows and values, but their order or their spelling differs"]


def _read(text: str, keys: Sequence[str]) -> dict[tuple[str, ...], dict[str, str]]:
    rows = csv.DictReader(io.StringIO(text))
    return {tuple(str(row.get(key)) for key in keys): {k: str(v) for k, v in row.items()} for row in rows}


def _named(key: tuple[str, ...]) -> str:
    return " / ".join(key)


def _first(path: Path, now: str) -> str:
    kept = path.read_bytes().decode("utf-8", errors="replace").splitlines()
    fresh = now.splitlines()
    for number, (a, b) in enumerate(zip(kept, fresh, strict=False), 1):
        if a != b:
            return f"differs from line {number} on: was {a.strip()[:80]!r}, is {b.strip()[:80]!r}"
    return f"has {len(kept)} lines, would have {len(fresh)}"

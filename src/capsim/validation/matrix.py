"""Which runs the comparison of model and reference makes, in virtual time and in real time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from capsim.base.errors import CapsimError
from capsim.scenario.server import PoolSpec
from capsim.validation.matrix_cells import ReferenceCell, real_cell, virtual_cells
from capsim.validation.reference.database import Database
from capsim.validation.reference.redis import connector
from capsim.validation.reference.sqlite import SqliteDatabase
from capsim.validation.reference.url import read_database_url

SCENARIOS = ("before", "after", "fixed")
TRACES = ("game-day", "web-week", "flash-crowd")


def matrix(
    scenarios: Sequence[str], traces: Sequence[str], real_s: float, rate_hz: float, seed: int
) -> Iterator[ReferenceCell]:
    """All cells, as they are done.

    Parameters
    ----------
    scenarios, traces : sequence of str
        Names or files; none for those of capsim.
    real_s, rate_hz : float
        Length [s] and load [1/s] of the runs in real time; of length 0 there are none.
    seed : int
        Address of all chance.

    Raises
    ------
    CapsimError
        If an input cannot be used; of a database that is away, when its turn comes.
    """
    scenarios = scenarios or SCENARIOS
    places = _places() if real_s else {}
    redis_url = os.environ.get("REDIS_URL")
    redis = connector(redis_url) if redis_url else None
    yield from virtual_cells(scenarios, traces or TRACES, seed)
    if real_s:
        for name in scenarios:
            for where, database in places.items():
                place = f"{where} and Redis" if redis else where
                yield real_cell(name, place, database, rate_hz, real_s, seed, redis)


def _places() -> dict[str, Callable[[Path], Database]]:
    """Databases by name; each run has a fresh SQLite file, and adds its rows to PostgreSQL's tables."""
    places: dict[str, Callable[[Path], Database]] = {"SQLite": lambda folder: SqliteDatabase(folder / "run.sqlite")}
    url = os.environ.get("DATABASE_URL")
    if url:
        try:
            from capsim.validation.reference.postgres import PostgresDatabase
        except ImportError:
            raise CapsimError("DATABASE_URL: PostgreSQL needs the packages of capsim[postgres]; install them") from None
        conninfo = read_database_url(url, PoolSpec()).conninfo
        places["PostgreSQL"] = lambda folder: PostgresDatabase(conninfo)
    return places

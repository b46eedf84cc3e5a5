"""Visits that see nothing of each other, played by array.

A read or a call of the metrics is one statement and then work for the one thread. As long as every call is served at
once, each ends when the database alone says: a stretch of them takes a few array passes, and no generator for each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from capsim.engine import clock
from capsim.engine.database import Database, Statement

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Together(NamedTuple):
    """Such visits, shape (n,) each: who, from when to when [us], what came of it, and work for the thread [us]."""

    part: Ints
    number: Ints
    start_us: Ints
    end_us: Ints
    ok: Ints
    rows: Ints
    cached: Ints
    calls: Ints
    cpu_us: Ints

    @classmethod
    def of(
        cls,
        part: int,
        number: Ints,
        start_us: Ints,
        end_us: Ints,
        *,
        ok: Bools,
        rows: Ints,
        cpu_us: Ints,
        cached: Bools | None = None,
    ) -> Together:
        """Those of one part; who is answered from a cache asks no database."""
        if cached is None:
            cached = np.zeros(len(number), bool)
        return cls(
            part=np.full(len(number), part),
            number=number,
            start_us=start_us,
            end_us=end_us,
            ok=ok.astype(np.int64),
            rows=rows,
            cached=cached.astype(np.int64),
            calls=(~cached).astype(np.int64),
            cpu_us=cpu_us,
        )

    def where(self, which: slice | Bools | NDArray[np.intp]) -> Together:
        """Some of them."""
        return Together(*(column[which] for column in self))

    @property
    def phase(self) -> Ints:
        """Phase of the instant in which it ends: who asks no database ends as it starts."""
        return np.where(self.cached == 1, clock.ARRIVAL, clock.DATABASE)

    def before(self, end_us: int, asked: tuple[int, ...]) -> int:
        """Of those in order, how many end before an instant, or in it and had asked before (when, phase, part)."""
        first, stop = (int(place) for place in self.end_us.searchsorted((end_us, end_us + 1)))
        tied = zip(self.start_us[first:stop].tolist(), self.part[first:stop].tolist(), strict=True)
        return first + sum((start_us, clock.ARRIVAL, part) < asked for start_us, part in tied)


def in_order(*sources: Together) -> Together:
    """Those of several sources by end; those of one instant in the order in which they asked."""
    if not sources:
        return Together(*(np.empty(0, np.int64) for _ in Together._fields))
    joined = Together(*(np.concatenate(columns) for columns in zip(*sources, strict=True)))
    return joined.where(np.lexsort((joined.number, joined.part, joined.start_us, joined.end_us)))


def asked(
    database: Database, stream: str, number: Ints, start_us: Ints, rows: Ints
) -> tuple[Ints, Bools]:
    """When queries that start at these instants, ascending, end [us], and whether the database answers them."""
    if not len(number):
        return start_us, np.empty(0, bool)
    end_us = start_us + database.durations(stream, "query", number, rows, start_us)
    ok = np.ones(len(number), bool)
    for place in np.flatnonzero(~database.steady(start_us, end_us)).tolist():
        when_us = int(start_us[place])
        statement = Statement("query", int(number[place]), int(rows[place]))
        outcome = database.run(stream, 1, statement, when_us)
        end_us[place], ok[place] = when_us + outcome.duration_us, outcome.result == "ok"
    return end_us, ok

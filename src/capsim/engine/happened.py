"""What happened while a block was played: facts of flushes, connections and requests, and what became of items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capsim.engine.jobs import Served
from capsim.engine.writer import Writer
from capsim.scenario.workload import Stream

Ints = NDArray[np.int64]

TAKES = ("part", "taken_us", "phase", "rows", "first_item", "accepted_to", "next_item")
ATTEMPTS = ("part", "batch", "attempt", "start_us", "end_us", "ok", "rows", "calls", "counted", "inserted",
            "first_item", "accepted_to", "next_item", "last", "lost")  # fmt: skip


@dataclass
class Stretch:
    """What happened to one writer in a stretch of time; all times in microseconds."""

    arrivals_us: Ints
    stored_us: Ints  # arrivals that made the buffer longer
    refused: NDArray[np.bool_]  # whether each arrival was refused at the cap
    taken_us: Ints
    taken_rows: Ints
    ended_us: Ints  # ends of flushes
    ended_rows: Ints
    written_rows: Ints  # of each flush that ended: rows it counted
    failed_rows: Ints  # of each flush that ended: rows it gave up
    uncounted_rows: Ints  # of each flush that ended: rows it lost without counting them
    previous: Ints | None  # of each arrival, if kept by session: number of the one before it in the same session

    @property
    def refused_us(self) -> Ints:
        """Arrivals refused at the cap."""
        return self.arrivals_us[self.refused]


@dataclass
class Happened:
    """What happened while a block was played; columns as in `TAKES`, `ATTEMPTS`, `Pool.changes` and `Pool.waits`."""

    takes: dict[str, Ints]
    attempts: dict[str, Ints]
    connections: dict[str, Ints]
    waits: dict[str, Ints]
    stretches: dict[Stream, Stretch]
    served: Served | None  # by the loop, if there is one
    visits: dict[str, Ints]  # columns as in `capsim.engine.visits.VISITS`
    due: dict[str, Ints] | None = None  # by the cleanup's runs, if there is one
    cached: dict[str, Ints] | None = None  # bytes in the response cache, if there is one
    refusals: int = 0  # connections that Postgres has refused so far


def stretch_of(
    writer: Writer,
    times_us: Ints,
    first: int,
    previous: Ints | None,
    head: int,
    *,
    takes: dict[str, Ints],
    attempts: dict[str, Ints],
) -> Stretch:
    """What the block's arrivals became; ``first`` is the number of the first, ``head`` where its cycle began."""
    refused, runs = np.zeros(len(times_us), bool), writer.drain_refused()
    for start, stop in runs:
        refused[max(start - first, 0) : max(stop - first, 0)] = True
    stored = ~refused
    if writer.closed_from is not None:
        stored[max(writer.closed_from - first, 0) :] = False
    if previous is not None:
        cycles = np.concatenate(([head], takes["next_item"]))
        numbers = np.arange(first, first + len(times_us))
        stored &= previous < cycles[np.searchsorted(cycles, numbers, "right") - 1]
    all_stored = not runs and writer.closed_from is None and previous is None
    # An attempt that is not the last may have written some rows; all leave the memory when the flush is over.
    ok = attempts["ok"]
    return Stretch(
        arrivals_us=times_us,
        stored_us=times_us if all_stored else times_us[stored],
        refused=refused,
        taken_us=takes["taken_us"],
        taken_rows=takes["rows"],
        ended_us=attempts["end_us"],
        ended_rows=attempts["rows"] * attempts["last"],
        written_rows=attempts["counted"],
        failed_rows=attempts["lost"] * (1 - ok),
        uncounted_rows=attempts["lost"] * ok,
        previous=previous,
    )

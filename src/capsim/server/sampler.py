"""From facts to bins: exact means, smallest and largest values of every count, for a stretch of simulated time.

A level that changes in steps has an exact integral over any bin; no value is ever sampled at an instant. Stretches
follow each other and only the levels at their joints are carried over, so memory is bounded by the stretch and by the
number of bins.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from capsim import tables
from capsim.specs import STREAMS
from capsim.units import US_PER_S

Ints = NDArray[np.int64]


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

    @property
    def refused_us(self) -> Ints:
        """Arrivals refused at the cap."""
        return self.arrivals_us[self.refused]


@dataclass
class Step:
    """A level that changes by whole steps, its value carried from stretch to stretch."""

    level: int = 0

    def mean(self, times_us: Ints, deltas: Ints, edges_us: Ints) -> tuple[NDArray[np.float64], Ints, Ints]:
        """Exact time average in each bin; changes may come in any order.

        Parameters
        ----------
        times_us, deltas : int64 arrays, shape (n,)
            Changes, all within the edges.
        edges_us : int64 array, shape (bins + 1,)

        Returns
        -------
        mean : float64 array; begin, place : int64 arrays
            Average of each bin, level at its begin, and the bin of each change.
        """
        bins = len(edges_us) - 1
        width = np.diff(edges_us).astype(np.float64)
        place = np.minimum(np.searchsorted(edges_us, times_us, "right") - 1, bins - 1)
        end = self.level + np.cumsum(np.bincount(place, deltas, bins).astype(np.int64))
        begin = np.concatenate(([self.level], end[:-1]))
        area = begin * width
        if len(times_us):
            area += np.bincount(place, deltas * (edges_us[place + 1] - times_us).astype(np.float64), bins)
        self.level = int(end[-1])
        return area / width, begin, place

    def bins(self, times_us: Ints, deltas: Ints, edges_us: Ints) -> tuple[NDArray[np.float64], Ints]:
        """Mean and largest level in each bin; changes in the order in which they happen."""
        level = self.level
        mean, begin, place = self.mean(times_us, deltas, edges_us)
        largest = begin.copy()
        np.maximum.at(largest, place, level + np.cumsum(deltas))
        return mean, largest


@dataclass
class _WriterBins:
    buffer: Step = field(default_factory=Step)
    in_flight: Step = field(default_factory=Step)


class Sampler:
    """Collects the `capsim.tables.SAMPLES` table, stretch by stretch."""

    def __init__(self, width_us: int) -> None:
        self._width_us = width_us
        self._writers = {stream: _WriterBins() for stream in STREAMS}
        self._in_use = Step()
        self._open = 0
        self._parts: list[dict[str, NDArray[np.generic]]] = []

    def add(
        self,
        from_us: int,
        to_us: int,
        *,
        stretches: dict[str, Stretch],
        has_load: NDArray[np.bool_],
        other_us: Ints,
        calls: tuple[Ints, Ints, Ints, Ints],
        held_us: tuple[Ints, Ints],
        opened: int,
    ) -> None:
        """Add the stretch ``[from_us, to_us)``.

        Parameters
        ----------
        has_load : bool array, shape (bins,)
            Whether the trace has data in each bin.
        other_us : int64 array
            Requests that go to no writer [us].
        calls : four int64 arrays of one length
            Of each attempt that ended: when, calls made, rows inserted, rows updated.
        held_us : two int64 arrays
            When connections were taken, and given back [us].
        opened : int
            Connections open at the end.
        """
        edges = self.edges(from_us, to_us)
        bins = len(edges) - 1

        def counted(times_us: Ints, weights: Ints | None = None) -> Ints:
            place = np.minimum(np.searchsorted(edges, times_us, "right") - 1, bins - 1)
            return np.bincount(place, weights, bins).astype(np.int64)

        row: dict[str, NDArray[np.generic]] = {
            "time_s": edges[:-1] / US_PER_S,
            "width_s": np.diff(edges) / US_PER_S,
            "has_load": has_load,
        }
        requests = counted(other_us)
        for stream in STREAMS:
            happened, writer = stretches[stream], self._writers[stream]
            arrived = counted(happened.arrivals_us)
            requests = requests + arrived
            mean, smallest, largest = self._buffer(writer.buffer, happened, edges)
            out = _merged((happened.ended_us, -happened.ended_rows), (happened.taken_us, happened.taken_rows))
            out_mean, out_largest = writer.in_flight.bins(*out, edges)
            row |= {
                f"{stream}_arrived": arrived,
                f"{stream}_written_rows": counted(happened.ended_us, happened.written_rows),
                f"{stream}_dropped_cap": counted(happened.refused_us),
                f"{stream}_dropped_failed": counted(happened.ended_us, happened.failed_rows),
                f"{stream}_flushes": counted(happened.taken_us),
                f"{stream}_buffer_mean_rows": mean,
                f"{stream}_buffer_min_rows": smallest,
                f"{stream}_buffer_max_rows": largest,
                f"{stream}_in_flight_mean_rows": out_mean,
                f"{stream}_in_flight_max_rows": out_largest,
            }
        ended_us, made, inserted, updated = calls
        row["requests"] = requests
        row |= {"db_calls": counted(ended_us, made), "db_rows": counted(ended_us, inserted)}
        row["db_updates"] = counted(ended_us, updated)
        ones = np.ones(len(held_us[0]), np.int64)
        held = _merged((held_us[1], -np.ones(len(held_us[1]), np.int64)), (held_us[0], ones))
        row["pool_in_use_mean"], row["pool_in_use_max"] = self._in_use.bins(*held, edges)
        row["pool_open_max"] = np.full(bins, opened)
        self._parts.append(row)

    def edges(self, from_us: int, to_us: int) -> Ints:
        """Edges of the bins of a stretch [us]."""
        edges = np.arange(from_us, to_us + self._width_us, self._width_us)
        edges[-1] = to_us
        return edges

    @staticmethod
    def _buffer(level: Step, happened: Stretch, edges: Ints) -> tuple[NDArray[np.float64], Ints, Ints]:
        # Between takes a buffer only grows, so its largest values are what takes take and what bins end with; there is
        # no need to order hundreds of thousands of arrivals among the takes.
        times = np.concatenate((happened.stored_us, happened.taken_us))
        deltas = np.concatenate((np.ones(len(happened.stored_us), np.int64), -happened.taken_rows))
        mean, begin, place = level.mean(times, deltas, edges)
        smallest, largest = begin, np.concatenate((begin[1:], [level.level]))
        took = place[len(happened.stored_us) :]
        np.maximum.at(largest, took, happened.taken_rows)
        smallest[took] = 0
        return mean, smallest, np.maximum(largest, smallest)

    def table(self) -> pd.DataFrame:
        """All bins so far, as `capsim.tables.SAMPLES` describes them."""
        if not self._parts:
            return tables.empty(tables.SAMPLES)
        columns = {c.name: np.concatenate([part[c.name] for part in self._parts]) for c in tables.SAMPLES}
        return pd.DataFrame(columns).astype({c.name: c.dtype for c in tables.SAMPLES})


def _merged(*changes: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
    """Series of (times, deltas) as one in time order; those named first go first in an instant."""
    times = np.concatenate([t for t, _ in changes])
    deltas = np.concatenate([d for _, d in changes])
    order = np.argsort(times, kind="stable")
    return times[order], deltas[order]

"""From facts to bins: exact means, smallest and largest values of every count, for a stretch of simulated time.

A level that changes in steps has an exact integral over any bin; no value is ever sampled at an instant. Stretches
follow each other and only the levels at their joints are carried over, so memory is bounded by the stretch and by the
number of bins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from capsim.base.units import US_PER_S
from capsim.engine import responses
from capsim.engine.happened import Happened, Stretch
from capsim.engine.log import Log
from capsim.engine.model import Block, Server
from capsim.engine.pool import in_order
from capsim.engine.recorder import Pieces
from capsim.engine.redis import RedisClient
from capsim.engine.visits import PARTS
from capsim.scenario import columns as tables
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from capsim.workload.block import Sessions

Ints = NDArray[np.int64]

LOG_COLUMNS = ("log_lines", "log_error_lines", "log_lines_dropped", "log_lines_max_hz", "log_behind_max_lines")


class CoveredBlock(Block, Protocol):
    """A block of load that also says which of its time the load has data for."""

    @property
    def covered_us(self) -> Sequence[tuple[int, int]]:
        """Stretches with data, ``[from, to)`` [us]."""
        ...

    @property
    def started(self) -> Sessions | None:
        """Sessions that start in it, for a load that has sessions."""
        ...

    @property
    def in_order(self) -> tuple[Ints, NDArray[np.int8]] | None:
        """All requests of the writers in one order, if it has been kept."""
        ...

    @property
    def queries_us(self) -> Ints:
        """Analytics reads, ascending [us]."""
        ...


@dataclass
class Step:
    """A level that changes by whole steps, its value carried from stretch to stretch."""

    level: int = 0

    def mean(self, times_us: Ints, deltas: Ints, edges_us: Ints, place: Ints) -> tuple[NDArray[np.float64], Ints]:
        """Exact time average in each bin, and level at its begin; as `area`."""
        area, begin = self.area(times_us, deltas, edges_us, place)
        return area / np.diff(edges_us).astype(np.float64), begin

    def area(self, times_us: Ints, deltas: Ints, edges_us: Ints, place: Ints) -> tuple[NDArray[np.float64], Ints]:
        """Exact integral over each bin; changes may come in any order.

        Parameters
        ----------
        times_us, deltas : int64 arrays, shape (n,)
            Changes, all within the edges.
        edges_us : int64 array, shape (bins + 1,)
        place : int64 array, shape (n,)
            The bin of each change.

        Returns
        -------
        area : float64 array; begin : int64 array
            Integral over each bin [us], and level at its begin.
        """
        bins = len(edges_us) - 1
        width = np.diff(edges_us).astype(np.float64)
        end = self.level + np.cumsum(np.bincount(place, deltas, bins).astype(np.int64))
        begin = np.concatenate(([self.level], end[:-1]))
        area = begin * width
        if len(times_us):
            area += np.bincount(place, deltas * (edges_us[place + 1] - times_us).astype(np.float64), bins)
        self.level = int(end[-1])
        return area, begin

    def bins(self, times_us: Ints, deltas: Ints, edges_us: Ints) -> tuple[NDArray[np.float64], Ints]:
        """Mean and largest level in each bin; changes in the order in which they happen."""
        level = self.level
        place = _places(times_us, edges_us)
        mean, begin = self.mean(times_us, deltas, edges_us, place)
        largest = begin.copy()
        np.maximum.at(largest, place, level + np.cumsum(deltas))
        return mean, largest


@dataclass
class _WriterBins:
    buffer: Step = field(default_factory=Step)
    in_flight: Step = field(default_factory=Step)


class Sampler:
    """Collects the `capsim.scenario.columns.SAMPLES` table, stretch by stretch.

    Parameters
    ----------
    width_us : int
        Width of the bins [us].
    cut_us : int, optional
        An instant at which one bin ends and another begins, whatever the width: the end of the load as given.
    scenario, log, redis : optional
        What the reads, the log lines and the commands to Redis are counted by; without them there are none.
    """

    def __init__(
        self,
        width_us: int,
        cut_us: int | None = None,
        scenario: Scenario | None = None,
        log: Log | None = None,
        redis: RedisClient | None = None,
    ) -> None:
        self._width_us, self._cut_us = width_us, cut_us
        self._scenario, self._log, self._redis = scenario, log, redis
        self._results = Step()
        self._cached_bytes = 0
        self._due = 0
        self._refusals = 0
        self._writers = {stream: _WriterBins() for stream in STREAMS}
        self._in_use = Step()
        self._open = 0
        self._bins = Pieces()

    @property
    def in_use(self) -> int:
        """Places in the pool that are taken at the end of what has been added."""
        return self._in_use.level

    def play(self, server: Server, block: CoveredBlock) -> Happened:
        """Play the next block on the server and add its bins."""
        return self.add(server, block, server.advance(block))

    def add(self, server: Server, block: CoveredBlock, happened: Happened) -> Happened:
        """Add the bins of a block that has been played."""
        attempts, changed = happened.attempts, happened.connections
        edges = edges_of(block.from_us, block.to_us, self._width_us, self._cut_us)
        bins = len(edges) - 1

        def counted(times_us: Ints, weights: Ints | None = None) -> Ints:
            if weights is None:  # ascending
                return np.diff(_bounds(times_us, edges))
            place = np.minimum(np.searchsorted(edges, times_us, "right") - 1, bins - 1)
            return np.bincount(place, weights, bins).astype(np.int64)

        row: dict[str, NDArray[np.generic]] = {
            "time_s": edges[:-1] / US_PER_S,
            "width_s": np.diff(edges) / US_PER_S,
            "has_load": covered(edges, block.covered_us),
        }
        served = happened.served
        assert served is not None, "the samples are of a server with a loop"
        row |= responses.bins(served, edges)
        arrived = _bounds(served.at_us, edges)
        for part, stream in enumerate(STREAMS):
            stretch, writer = happened.stretches[stream], self._writers[stream]
            mean, smallest, largest = self._buffer(writer.buffer, stretch, edges)
            out = _merged((stretch.ended_us, -stretch.ended_rows), (stretch.taken_us, stretch.taken_rows))
            out_mean, out_largest = writer.in_flight.bins(*out, edges)
            row |= {
                f"{stream}_arrived": responses.sums(served.kind == part, arrived),
                f"{stream}_written_rows": counted(stretch.ended_us, stretch.written_rows),
                f"{stream}_dropped_cap": counted(stretch.refused_us),
                f"{stream}_dropped_failed": counted(stretch.ended_us, stretch.failed_rows),
                f"{stream}_uncounted": counted(stretch.ended_us, stretch.uncounted_rows),
                f"{stream}_lost_exit": np.zeros(bins, np.int64),
                f"{stream}_refused_down": np.zeros(bins, np.int64),
                f"{stream}_flushes": counted(stretch.taken_us),
                f"{stream}_buffer_mean_rows": mean,
                f"{stream}_buffer_min_rows": smallest,
                f"{stream}_buffer_max_rows": largest,
                f"{stream}_in_flight_mean_rows": out_mean,
                f"{stream}_in_flight_max_rows": out_largest,
            }
        ended_us = attempts["end_us"]
        beats = attempts["part"] == STREAMS.index("heartbeats")
        visits = happened.visits
        row["db_calls"] = counted(ended_us, attempts["calls"]) + counted(visits["end_us"], visits["calls"])
        row["db_rows"] = counted(ended_us, attempts["inserted"])
        beaten = counted(ended_us, np.where(beats, attempts["counted"], 0))
        row["db_updates"] = beaten + counted(visits["end_us"], visits["updated"])
        row |= self._of_visits(happened, edges, counted)
        row |= self._of_log(happened, edges)
        # Connections given back in an instant go first, as in the pool. (Calls of one instant take no time.)
        in_use = self._in_use.bins(*in_order(changed["when_us"], changed["change"]), edges)
        row["pool_open_max"] = self._opened(server, edges)
        row["pool_in_use_mean"] = in_use[0]
        # A call that Postgres is turning away has a place in the pool and no connection.
        row["pool_in_use_max"] = np.minimum(in_use[1], row["pool_open_max"])
        refused = np.zeros(bins, np.int64)
        refused[-1] = happened.refusals - self._refusals
        row["connections_refused"] = refused
        self._refusals = happened.refusals
        self._bins.add(row)
        return happened

    def _opened(self, server: Server, edges: Ints) -> Ints:
        """Most connections that are open in each bin."""
        times_us, levels = np.array(server.pool.opened, np.int64).reshape(-1, 2).T
        inside = (times_us >= edges[0]) & (times_us < edges[-1])
        times_us, levels = times_us[inside], levels[inside]
        place = _places(times_us, edges)
        ends = np.diff(_bounds(times_us, edges)).cumsum()
        level = np.concatenate(([self._open], levels))
        begin = level[np.concatenate(([0], ends[:-1]))]
        most = begin.copy()
        np.maximum.at(most, place, levels)
        self._open = int(level[-1])
        return most * server.pool.can_open

    def _of_visits(
        self, happened: Happened, edges: Ints, counted: Callable[..., Ints]
    ) -> dict[str, NDArray[np.generic]]:
        """Reads, the results that they hold in the heap, and what the cleanup did."""
        visits, served, bins = happened.visits, happened.served, len(edges) - 1
        assert served is not None
        reads = visits["part"] == PARTS.index("queries")
        end_us, rows, ok = visits["end_us"][reads], visits["rows"][reads], visits["ok"][reads]
        # A result is in the heap from the end of its call until its response is built.
        tags = visits["number"][reads] * len(PARTS) + PARTS.index("queries")
        order = np.argsort(served.tag, kind="stable")
        places = order[np.minimum(served.tag[order].searchsorted(tags), max(len(order) - 1, 0))]
        built_us = np.minimum(served.flush_done_us[places], edges[-1] - 1) if len(tags) else end_us
        held = rows * (1 - visits["cached"][reads])
        mean, most = self._results.bins(*_merged((np.maximum(built_us, end_us), -held), (end_us, held)), edges)
        row_bytes = 0.0
        if self._scenario is not None:
            spec = self._scenario.server.queries
            row_bytes = spec.row_json_bytes * (spec.compressed_share if spec.compression else 1.0)
        found: dict[str, NDArray[np.generic]] = {
            "queries": counted(end_us),
            "queries_cached": counted(end_us, visits["cached"][reads]),
            "queries_failed": counted(end_us, 1 - ok),
            "response_bytes": counted(end_us, np.rint(rows * ok * row_bytes).astype(np.int64)),
            "result_mean_rows": mean,
            "result_max_rows": most,
            "read_rows": counted(end_us, held),
            "sessions_closed": counted(
                visits["end_us"], visits["updated"] * (visits["part"] == PARTS.index("cleanup"))
            ),
        }
        found["sessions_due_max"], found["sessions_closed_alive"] = np.full(bins, self._due), np.zeros(bins, np.int64)
        if happened.due is not None and len(happened.due["when_us"]):
            level = _held(happened.due["when_us"], happened.due["due"], edges, self._due)
            found["sessions_due_max"], self._due = level, int(happened.due["due"][-1])
            found["sessions_closed_alive"] = counted(happened.due["when_us"], happened.due["closed_alive"])
        found["cached_max_bytes"] = np.full(bins, self._cached_bytes)
        if happened.cached is not None and len(happened.cached["when_us"]):
            found["cached_max_bytes"] = _held(
                happened.cached["when_us"], happened.cached["bytes"], edges, self._cached_bytes
            )
            self._cached_bytes = int(happened.cached["bytes"][-1])
        found["redis_queued_max"] = found["redis_rejected"] = np.zeros(bins, np.int64)
        if self._redis is not None:
            found["redis_queued_max"], found["redis_rejected"] = self._redis.bins(edges)
        return found

    def _of_log(self, happened: Happened, edges: Ints) -> dict[str, NDArray[np.generic]]:
        """Log lines; which event logs a line of which level is recorded (oracle §3 to §6)."""
        served, attempts, visits = happened.served, happened.attempts, happened.visits
        assert served is not None
        if self._log is None:
            return {name: np.zeros(len(edges) - 1) for name in LOG_COLUMNS}
        ok, failed = attempts["ok"], attempts["ok"] == 0
        lines: dict[str, list[tuple[Ints, Ints | int]]] = {
            "info": [(attempts["end_us"], ok), (visits["end_us"], visits["part"] == PARTS.index("cleanup"))],
            # A failed first try logs one line, a failed last one another.
            "error": [(attempts["end_us"][failed], 1), (visits["end_us"], 1 - visits["ok"])],
            "warn": [],
        }
        for stream, stretch in happened.stretches.items():
            refused_us, writers = stretch.refused_us, self._scenario and self._scenario.server.writers
            if writers and getattr(writers, stream).semantics == "recommended":  # one line a second says how many
                refused_us = np.unique(refused_us // US_PER_S) * US_PER_S
            lines["error"].append((refused_us, 1))
            lines["warn"].append((stretch.ended_us, stretch.uncounted_rows))
        (done_us,) = served.of_requests("done_us")
        return self._log.bins(edges, done_us, lines)

    @staticmethod
    def _buffer(level: Step, happened: Stretch, edges: Ints) -> tuple[NDArray[np.float64], Ints, Ints]:
        # Between takes a buffer only grows, so its largest values are what takes take and what bins end with; there is
        # no need to order hundreds of thousands of arrivals among the takes.
        took, bounds = _places(happened.taken_us, edges), _bounds(happened.stored_us, edges)
        area, begin = level.area(happened.taken_us, -happened.taken_rows, edges, took)
        # What is stored is there for the rest of its bin, and in those after it.
        grown, width_us = np.diff(bounds), np.diff(edges)
        before = np.cumsum(grown) - grown
        area += before * width_us + grown * (edges[1:] - edges[0])
        area -= responses.sums(happened.stored_us - edges[0], bounds)
        begin = begin + before
        level.level += int(grown.sum())
        mean = area / width_us.astype(np.float64)
        smallest, largest = begin, np.concatenate((begin[1:], [level.level]))
        np.maximum.at(largest, took, happened.taken_rows)
        smallest[took] = 0
        return mean, smallest, np.maximum(largest, smallest)

    def table(self) -> pd.DataFrame:
        """All bins so far, as `capsim.scenario.columns.SAMPLES` describes them."""
        if not len(self._bins):
            return tables.empty(tables.SAMPLES)
        bins = self._bins.together()
        columns = {c.name: bins[c.name].astype(c.dtype, copy=False) for c in tables.SAMPLES}
        return pd.DataFrame(columns, copy=False)


def _bounds(times_us: Ints, edges_us: Ints) -> Ints:
    """Where the changes of each bin begin among ascending ones, and where the last ends."""
    bounds = times_us.searchsorted(edges_us)
    bounds[0], bounds[-1] = 0, len(times_us)
    return bounds


def _places(times_us: Ints, edges_us: Ints) -> Ints:
    """The bin of each of many changes, ascending."""
    return np.repeat(np.arange(len(edges_us) - 1), np.diff(_bounds(times_us, edges_us)))


def _held(times_us: Ints, levels: Ints, edges_us: Ints, before: int) -> Ints:
    """Largest level in each bin of a level that is told whenever it changes."""
    bounds = _bounds(times_us, edges_us)
    begin = np.concatenate(([before], levels))[bounds[:-1]]
    np.maximum.at(begin, _places(times_us, edges_us), levels)
    return begin


def _merged(*changes: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
    """Series of (times, deltas) as one in time order; those named first go first in an instant."""
    times = np.concatenate([t for t, _ in changes])
    deltas = np.concatenate([d for _, d in changes])
    order = np.argsort(times, kind="stable")
    return times[order], deltas[order]


def edges_of(from_us: int, to_us: int, width_us: int, cut_us: int | None = None) -> Ints:
    """Edges of the bins of a stretch: multiples of the width, its two ends, and the cut if it lies within [us]."""
    edges = np.arange(from_us - from_us % width_us, to_us + width_us, width_us)
    edges[0] = from_us
    edges = np.append(edges[edges < to_us], to_us)
    if cut_us is not None and from_us < cut_us < to_us:
        edges = np.union1d(edges, [cut_us])
    return edges


def covered(edges_us: Ints, covered_us: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """Whether the trace has data for at least half of each bin."""
    length = np.zeros(len(edges_us) - 1)
    for start, stop in covered_us:
        length += np.clip(np.minimum(edges_us[1:], stop) - np.maximum(edges_us[:-1], start), 0, None)
    return length * 2 >= np.diff(edges_us)

"""The common time of several processes: their tables as one, and what happened while none of them was there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from capsim.base.units import US_PER_S
from capsim.engine.pool import in_order
from capsim.engine.recorder import Pieces
from capsim.engine.sampler import CoveredBlock, covered, edges_of
from capsim.scenario.columns import Column
from capsim.scenario.workload import STREAMS, Stream

if TYPE_CHECKING:
    from capsim.engine.fleet import Process
    from capsim.engine.happened import Happened

Ints = NDArray[np.int64]
Level = tuple[Ints, Ints]  # instants, ascending [us], and what it is from each on; of one instant the last counts

# Columns that say the most of one process are not added up: each process has a buffer and a heap of its own.
_OF_ONE = ("_buffer_max_rows", "_in_flight_max_rows", "_rss_peak_mib", "_max_hz", "_max_lines", "_max_bytes",
           "_due_max",           "loop_offered", "loop_utilisation",
           "loop_wait_max_ms", "loop_block_max_ms", "loop_backlog_ms")  # fmt: skip


class Timeline:
    """Collects the bins of the whole run, with what no process took and what processes lost when they ended."""

    def __init__(self, width_us: int, cut_us: int | None = None) -> None:
        self._width_us, self._cut_us = width_us, cut_us
        self._bins = Pieces()

    def add(
        self,
        block: CoveredBlock,
        refused: Mapping[Stream, Ints],
        ended: Iterable[Process],
        levels: Mapping[str, Sequence[Level]],
    ) -> None:
        """Add a block: arrivals that found no process [us], processes that ended in it, and levels to be added up."""
        edges = edges_of(block.from_us, block.to_us, self._width_us, self._cut_us)
        table: dict[str, NDArray[np.generic]] = {
            "time_s": edges[:-1] / US_PER_S,
            "width_s": np.diff(edges) / US_PER_S,
            "has_load": covered(edges, block.covered_us),
        }
        for stream in STREAMS:
            table[f"{stream}_refused_down"] = np.histogram(refused[stream], edges)[0]
            table[f"{stream}_lost_exit"] = np.zeros(len(edges) - 1, np.int64)
        for process in ended:
            place = min(int(edges.searchsorted(process.life.end_us, "right")) - 1, len(edges) - 2)
            for stream in STREAMS:
                table[f"{stream}_lost_exit"][place] += process.lost[stream]
        table |= {name: most_at_once(each, edges) for name, each in levels.items()}
        self._bins.add(table)

    def bins(self) -> pd.DataFrame:
        """All bins so far: time, width, whether the load has data, what was refused and lost, most connections."""
        return pd.DataFrame(self._bins.together())


def most_at_once(levels: Sequence[Level], edges_us: Ints) -> Ints:
    """Largest sum of several levels in each bin; before its first instant a level is 0.

    Examples
    --------
    >>> one, two = (np.array([1, 5]), np.array([3, 0])), (np.array([5, 9]), np.array([2, 1]))
    >>> most_at_once([one, two], np.array([0, 4, 12])).tolist()  # not 3 and 3 + 2
    [3, 3]
    """
    times_us = np.unique(np.concatenate([edges_us[:-1], *(when_us for when_us, _ in levels)]))
    times_us = times_us[(times_us >= edges_us[0]) & (times_us < edges_us[-1])]
    total = np.zeros(len(times_us), np.int64)
    for when_us, level in levels:
        total += np.concatenate(([0], level))[when_us.searchsorted(times_us, "right")]
    most: Ints = np.maximum.reduceat(total, times_us.searchsorted(edges_us[:-1]))
    return most


def connections(process: Process, happened: Happened, block: CoveredBlock) -> tuple[Level, Level]:
    """Connections of a process that are in use, and open, in a block.

    A call that Postgres is turning away has a place in the pool and no connection: none is in use that is not open.
    """
    pool, since_us = process.server.pool, np.array([block.from_us])
    changed = happened.connections
    begin = process.sampler.in_use - int(changed["change"].sum())
    when_us, change = in_order(changed["when_us"], changed["change"])
    held_us, held = np.concatenate((since_us, when_us)), np.concatenate(([begin], begin + np.cumsum(change)))
    open_us, levels = np.array([(0, 0), *pool.opened], np.int64).T
    levels = levels * pool.can_open
    both_us = np.union1d(held_us, open_us[open_us >= block.from_us])
    in_use = np.minimum(
        held[held_us.searchsorted(both_us, "right") - 1], levels[open_us.searchsorted(both_us, "right") - 1]
    )
    ends_us = process.ends_us
    return _until(both_us, in_use, ends_us), _until(open_us, levels, ends_us)


def _until(when_us: Ints, level: Ints, end_us: int) -> Level:
    before = when_us < end_us
    return np.append(when_us[before], end_us), np.append(level[before], 0)


def together(parts: Sequence[pd.DataFrame], bins: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """Tables of processes on a common grid.

    Parameters
    ----------
    parts : sequence of DataFrame
        Each with ``time_s``, ``width_s`` and the columns; a row lies within one bin of the grid.
    bins : DataFrame
        ``time_s``, ``width_s`` and ``has_load`` of the grid.
    columns : sequence of Column
        What to put together, by its name: means are weighted with the share of the bin, largest values of one process
        stay those of one process, counts add up. What the grid has already (most connections at once) stays.

    Returns
    -------
    DataFrame
        One row a bin of the grid.
    """
    result = bins.copy()
    start, width = bins["time_s"].to_numpy(), bins["width_s"].to_numpy()
    places = [np.searchsorted(start, part["time_s"].to_numpy() + 1e-9, "right") - 1 for part in parts]
    for column in columns:
        if column.name in bins:
            continue
        total = np.zeros(len(bins))
        for part, place in zip(parts, places, strict=True):
            values = part[column.name].to_numpy(np.float64)
            if column.name.endswith(_OF_ONE):
                np.maximum.at(total, place, values)
            elif column.dtype == "float64":
                np.add.at(total, place, values * part["width_s"].to_numpy() / width[place])
            elif column.name.endswith("_buffer_min_rows"):
                lowest = np.full(len(bins), np.inf)
                np.minimum.at(lowest, place, values)
                total += np.where(np.isfinite(lowest), lowest, 0)
            elif column.name.endswith("_max"):
                most = np.zeros(len(bins))
                np.maximum.at(most, place, values)
                total += most
            else:
                np.add.at(total, place, values)
        result[column.name] = total.astype(column.dtype)
    return result

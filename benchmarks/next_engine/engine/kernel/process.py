"""One process of a run, and what is known of it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from capsim.base.units import US_PER_S
from capsim.engine.kernel.fields import bin as B
from capsim.engine.kernel.fields import process as S
from capsim.engine.kernel.fields import writer as W
from capsim.engine.lives import Life
from capsim.engine.redis import RedisClient
from capsim.scenario.workload import STREAMS

Ints = NDArray[np.int64]


class Bins(NamedTuple):
    """What was counted of a process in a block: bins between their edges [us], and log lines of each second."""

    edges_us: Ints
    bins: Ints  # (n, `fields.bin.SIZE`)
    lines: Ints  # (seconds, 4): requests that are done, and lines of info, error and warn; from the first edge's second
    redis_queued: Ints
    redis_rejected: Ints


@dataclass
class Process:
    """One process of a run."""

    life: Life
    replica: int
    index: int  # among the lives of its replica
    number: int = -1
    row: int = 0  # its address
    first_items: Sequence[int] = ()
    redis: RedisClient | None = None
    bins: list[Bins] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)  # of each writer, when it has ended
    timeouts: int = 0
    refusals: int = 0
    out: list[dict[str, int]] = field(default_factory=list)  # attempts that were out then

    def add_bins(self, m: Ints, edges_us: Ints, end_us: int) -> None:
        """Take its bins of a block out of the memory, up to its end."""
        from_us, to_us = max(int(edges_us[0]), self.life.accepts_from_us), min(int(edges_us[-1]), end_us)
        if to_us <= from_us:
            return
        first, last = int(edges_us.searchsorted(from_us, "right")) - 1, int(edges_us.searchsorted(to_us))
        own = np.concatenate(([from_us], edges_us[first + 1 : last], [to_us]))
        begin = int(m[self.row + S.BINS])
        bins = m[begin + first * B.SIZE : begin + last * B.SIZE].reshape(-1, B.SIZE).copy()
        start_s, begin = int(edges_us[0]) // US_PER_S, int(m[self.row + S.SECONDS])
        low, high = from_us // US_PER_S - start_s, -(-to_us // US_PER_S) - start_s
        lines = m[begin + 4 * low : begin + 4 * high].reshape(-1, 4).copy()
        none = np.zeros(len(bins), np.int64)
        queued, rejected = (none, none) if self.redis is None else self.redis.bins(own)
        self.bins.append(Bins(own, bins, lines, queued, rejected))

    def count(self, m: Ints) -> None:
        """What has become of its items, when it is over."""
        s = self.row
        self.timeouts, self.refusals = int(m[s + S.TIMEOUTS]), int(m[s + S.REFUSALS])
        for stream, name in enumerate(STREAMS):
            w = m[m[s + S.WRITERS] + stream * W.SIZE :][: W.SIZE].tolist()
            self.counts[name] = {
                "seen": w[W.SEEN], "in_loop": w[W.IN_LOOP], "buffered": w[W.COUNT],
                "in_flight": w[W.ROWS] - w[W.WRITTEN] if w[W.FLUSHING] else 0, "written": w[W.FLUSHED],
                "dropped_cap": w[W.DROPPED_CAP], "dropped_failed": w[W.DROPPED_FAILED], "uncounted": w[W.UNCOUNTED],
                "rejected": w[W.REJECTED], "entries": w[W.ENTRIES], "batches": w[W.BATCHES],
                "requests": w[W.REQUESTS], "largest": w[W.LARGEST], "stuck_us": w[W.STUCK_US],
            }  # fmt: skip
            if w[W.FLUSHING] and not w[W.PAUSING]:
                self.out.append({
                    "part": stream, "batch": w[W.BATCHES] - 1, "attempt": w[W.ATTEMPT], "start_us": w[W.START_US],
                    "end_us": -1, "ok": 0, "rows": w[W.ROWS], "calls": w[W.CALLS], "counted": 0,
                    "first_item": w[W.FIRST], "accepted_to": w[W.TO], "next_item": w[W.NEXT],
                    "process": self.number,
                })  # fmt: skip


def edges_of(from_us: int, to_us: int, width_us: int, cut_us: int | None) -> Ints:
    """Edges of the bins of a stretch: multiples of the width, its two ends, and the cut if it lies within [us]."""
    edges = np.arange(from_us - from_us % width_us, to_us + width_us, width_us)
    edges[0] = from_us
    edges = np.append(edges[edges < to_us], to_us)
    if cut_us is not None and from_us < cut_us < to_us:
        edges = np.union1d(edges, [cut_us])
    return edges

"""Bins of time of one process: counts, exact areas under levels, largest and smallest values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from capsim.base.units import US_PER_S
from capsim.engine.kernel.fields import bin as B

Ints = NDArray[np.int64]
QUEUED, REJECTED = B.SIZE - 2, B.SIZE - 1  # commands for Redis; kept apart in the end
REQUEST_LINES, INFO, ERROR, WARN = range(4)


class BlockOfBins(NamedTuple):
    """What was counted of a process in a block; as `capsim.engine.kernel.process.Bins`."""

    edges_us: Ints
    bins: Ints
    lines: Ints
    redis_queued: Ints
    redis_rejected: Ints


@dataclass
class Bins:
    """The bins of one process; columns as in `capsim.engine.kernel.fields.bin`."""

    from_us: int = 0
    to_us: int = 0
    row: list[int] = field(default_factory=lambda: [0] * B.SIZE)
    levels: Counter[int] = field(default_factory=Counter)  # an area's column: the level now
    marks: Counter[int] = field(default_factory=Counter)  # the same of levels that have no area
    lines: Counter[tuple[int, int]] = field(default_factory=Counter)  # by second and level
    rows: list[list[int]] = field(default_factory=list)  # of the block
    edges_us: list[int] = field(default_factory=list)

    def open(self, from_us: int, to_us: int) -> None:
        """A bin begins, with the levels that there are."""
        self.from_us, self.to_us, self.row = from_us, to_us, [0] * B.SIZE
        for column, level in self.levels.items():
            self.row[column], self.row[column + 1] = level * (to_us - from_us), level
        for stream in range(3):
            self.row[stream * B.WRITER + B.BUFFER_MIN] = self.levels[stream * B.WRITER + B.BUFFER]
        for column, level in self.marks.items():
            self.row[column] = level

    def close(self, at_us: int) -> None:
        """The bin ends, or the process does, before the bin would."""
        if at_us <= self.from_us:
            return
        for column, level in self.levels.items():
            self.row[column] -= level * (self.to_us - at_us)
        self.rows.append(self.row)
        self.edges_us.append(self.from_us)
        self.from_us = self.to_us = at_us

    def count(self, column: int, number: int = 1) -> None:
        """So many more of something."""
        self.row[column] += number

    def highest(self, column: int, value: int) -> None:
        """The largest of something."""
        self.row[column] = max(self.row[column], value)

    def level(self, column: int, change: int, now_us: int) -> None:
        """A level rises or falls; its area stands in ``column``, its largest value behind it."""
        self.levels[column] += change
        self.row[column] += change * (self.to_us - now_us)
        self.highest(column + 1, self.levels[column])

    def mark(self, column: int, value: int) -> None:
        """A level of which only the largest value is kept."""
        self.marks[column] = value
        self.highest(column, value)

    def say(self, now_us: int, level: int, lines: int = 1) -> None:
        """Lines of the log in this second."""
        self.lines[now_us // US_PER_S, level] += lines

    def take(self) -> BlockOfBins | None:
        """The bins that have ended since the last call."""
        if not self.rows:
            return None
        edges, bins = np.array([*self.edges_us, self.from_us]), np.array(self.rows, np.int64)
        low = edges[0] // US_PER_S
        lines = np.zeros((-(-edges[-1] // US_PER_S) - low, 4), np.int64)
        for (second, level), count in self.lines.items():
            lines[second - low, level] += count
        queued, rejected = bins[:, QUEUED].copy(), bins[:, REJECTED].copy()
        bins[:, QUEUED:] = 0
        self.rows, self.edges_us, self.lines = [], [], Counter()
        return BlockOfBins(edges, bins, lines, queued, rejected)

"""Keeps what a running reference does, and makes the tables of it that the model makes of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from capsim.scenario import columns as tables
from capsim.scenario.workload import STREAMS, Stream
from capsim.validation.reference.database import Part, Statement
from capsim.validation.reference.observer import Tried, Visited, Watch
from capsim.validation.reference.writer import BatchWriter

if TYPE_CHECKING:
    import pandas as pd


class Recorder(Watch):
    """Everything that happened, in order; grows with the load."""

    def __init__(self) -> None:
        self.tries: list[Tried] = []
        self.visits: list[Visited] = []
        self.waits: list[tuple[Part, int, int, bool]] = []  # part, asked, decided [us], granted
        self.calls: list[tuple[Part, int, int, int, int, bool]] = []  # part, asked, granted, start, end [us], success
        self.stuck: dict[Stream, list[tuple[int, int]]] = {stream: [] for stream in STREAMS}

    def attempted(self, tried: Tried) -> None:
        """Keep an attempt."""
        self.tries.append(tried)

    def visited(self, visit: Visited) -> None:
        """Keep a visit."""
        self.visits.append(visit)

    def granted(self, statement: Statement, asked_us: int, granted_us: int) -> None:
        """Keep a wait."""
        self.waits.append((statement.part, asked_us, granted_us, True))

    def gave_up(self, statement: Statement, asked_us: int, gave_up_us: int) -> None:
        """Keep a wait that was in vain."""
        self.waits.append((statement.part, asked_us, gave_up_us, False))

    def called(
        self, statement: Statement, asked_us: int, granted_us: int, start_us: int, end_us: int, ok: bool
    ) -> None:
        """Keep the times of a statement."""
        self.calls.append((statement.part, asked_us, granted_us, start_us, end_us, ok))

    def note_stuck(self, writers: Mapping[Stream, BatchWriter[object]], now_us: int) -> None:
        """Note which writers hold items that nothing will write; -1 ends an interval that is open."""
        for stream, writer in writers.items():
            intervals = self.stuck[stream]
            is_open = bool(intervals) and intervals[-1][1] == -1
            if writer.stuck and not is_open:
                intervals.append((now_us, -1))
            elif is_open and not writer.stuck:
                intervals[-1] = (intervals[-1][0], now_us)

    def batches(self) -> pd.DataFrame:
        """One row per attempt that has ended, columns of `capsim.scenario.columns.BATCHES`."""
        import pandas as pd

        columns = {c.name: [getattr(tried, c.name) for tried in self.tries] for c in tables.BATCHES}
        return pd.DataFrame({c.name: pd.Series(columns[c.name], dtype=c.dtype) for c in tables.BATCHES})

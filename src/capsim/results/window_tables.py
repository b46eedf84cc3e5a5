"""What the figures of one window of a run are read from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

from capsim.scenario.columns import LOSSES
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS

if TYPE_CHECKING:  # pandas takes longer to import than the command line may
    import pandas as pd

    from capsim.results.verdict import Verdict

Window: TypeAlias = Literal["trace", "month"]  # the load once; the billed month, over which it is repeated
WINDOWS: tuple[Window, ...] = ("trace", "month")


@dataclass(frozen=True)
class WindowTables:
    """The tables of a run, cut to a window.

    Parameters
    ----------
    scenario : Scenario
    samples, stuck, waits, lives : DataFrame
        As in `capsim.results.run.Run`; the samples are those of the window.
    responses : DataFrame
        Response times by class [ms].
    verdict : Verdict
        Whether loop and pool kept up in the window.
    law : bool
        Whether the run was played by the law of its arrivals.
    loop_wait_ms : float
        Mean wait for the loop by a closed formula [ms]; NaN unless it was played by law.
    full_s : float or None
        Since when the volume of Postgres is full [s].
    unwritten : int
        Items lost to a full volume that the run takes no notice of.
    """

    scenario: Scenario
    samples: pd.DataFrame
    stuck: pd.DataFrame
    waits: pd.DataFrame
    lives: pd.DataFrame
    responses: pd.DataFrame
    verdict: Verdict
    law: bool = False
    loop_wait_ms: float = math.nan
    full_s: float | None = None
    unwritten: int = 0

    @property
    def replicas(self) -> int:
        """Processes of the server at once."""
        return self.scenario.server.process.replicas

    @cached_property
    def with_load(self) -> pd.DataFrame:
        """The samples for which the load has data."""
        return self.samples[self.samples["has_load"]]

    @cached_property
    def end_s(self) -> float:
        """End of the window [s]."""
        return float(self.samples["time_s"].iloc[-1] + self.samples["width_s"].iloc[-1])

    @cached_property
    def covered_s(self) -> float:
        """Time for which the load has data [s]."""
        return float(self.with_load["width_s"].sum())

    @cached_property
    def called(self) -> pd.DataFrame:
        """The waits for a connection that began in the window."""
        return self.waits[self.waits["asked_s"] < self.end_s]

    @cached_property
    def lived(self) -> pd.DataFrame:
        """The processes that were started in the window."""
        return self.lives[self.lives["start_s"] < self.end_s]

    def mean(self, column: str) -> float:
        """Average of a column over the time for which the load has data."""
        table, width = self.with_load, self.with_load["width_s"]
        return float((table[column] * width).sum() / width.sum()) if len(table) else math.nan

    def stuck_s(self, stream: str) -> float:
        """How long a writer held items that no timer would ever make it write [s]."""
        own = self.stuck[self.stuck["writer"] == stream]
        until = own["to_s"].fillna(math.inf).clip(upper=self.end_s)
        return float((until - own["from_s"]).clip(lower=0).sum())

    @cached_property
    def items_lost(self) -> int:
        """Items lost, those among them that a full volume would have lost."""
        return items(self.samples, LOSSES) + self.unwritten


def items(samples: pd.DataFrame, fates: Sequence[str]) -> int:
    """Items of all writers that met one of several fates, columns of `capsim.scenario.columns`."""
    return sum(int(sum(samples[f"{stream}_{fate}"].sum() for stream in STREAMS)) for fate in fates)

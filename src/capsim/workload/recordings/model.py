"""A recording: samples of one server in order of time, what was missed, and what was found while reading."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from capsim.scenario.columns import Column
from capsim.workload.recordings.metrics_response import VALUES

SAMPLES = (
    Column("time_s", "float64", "since the first sample [s], by the recorder's steady clock"),
    Column("process", "int64", "number of the server's process, from 0: a counter or the uptime fell back"),
    *(
        Column(name, "float64", "as the server told it: memory in MiB, uptime in s, rows and totals; NaN if it did not")
        for name in VALUES
    ),
)
"""Columns of `Recording.samples`."""

MISSED = (
    Column("time_s", "float64", "since the first sample [s]"),
    Column("count", "int64", "samples that should have been taken until then and were not"),
    Column("why", "str", "what came instead, or that nothing was asked"),
)
"""Columns of `Recording.missed`."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Samples of one server; make one with `capsim.workload.recordings.read_recording`.

    Attributes
    ----------
    name : str
        Of the file.
    source : str
        Address without credentials, or where else the samples come from.
    sha256 : str
        Of the bytes that were read.
    start_us : int
        Instant of the first sample since 1970 [us], by the recorder's clock.
    every_s : float
        Cadence [s].
    samples : DataFrame
        `SAMPLES`, in order of time.
    missed : DataFrame
        `MISSED`; what is missing is no data, never zero.
    notes : tuple of str
        What was found while reading, a sentence each.
    """

    name: str
    source: str
    sha256: str
    start_us: int
    every_s: float
    samples: pd.DataFrame = field(repr=False)
    missed: pd.DataFrame = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def span_s(self) -> float:
        """From the first to the last sample [s]."""
        return float(self.samples["time_s"].iloc[-1])

    @property
    def step_mib(self) -> float:
        """What sizes are rounded to [MiB]: 1 if all are whole, else as good as nothing."""
        sizes = self.samples[[c for c in ("rss_mib", "heap_total_mib", "heap_used_mib") if c in self.samples]]
        return 1.0 if bool(((sizes.dropna() % 1) == 0).all(axis=None)) else 0.0

    def window(self, from_s: float, to_s: float) -> Recording:
        """The part from one time to another, seconds since the first sample."""
        from dataclasses import replace

        inside, gone = self.samples["time_s"].between(from_s, to_s), self.missed["time_s"].between(from_s, to_s)
        return replace(
            self,
            samples=self.samples[inside].reset_index(drop=True),
            missed=self.missed[gone].reset_index(drop=True),
        )

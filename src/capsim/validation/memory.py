"""Measured memory beside the model's, process by process, under the load that was recorded.

The model sees the requests that were served, second by second, and the companion file; never the recorded memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from capsim.memory.constants import PUBLISHED as value
from capsim.memory.fitted import FITTED
from capsim.memory.heap import Process, compare, simulate
from capsim.validation.buffers import retained
from capsim.validation.series import RecordedSeries

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

SEEDS = range(1, 9)  # of the collector's chance; predictions are their means
FEW = 2.0  # collections: so many more or fewer are a matter of where the recording begins and ends
CONTINUED = 0.5  # of the requests: how far a load goes on at its last rate, to see when the model dies
MOSTLY_ROWS = 0.2  # of the cap: rows that weigh less do not explain a death
KEEPS_NEW_PAGES = "24."  # versions of Node whose new space was seen to; others are taken to be like 20
TAIL = 10  # samples that tell the last rate

Kind = Literal["relative", "factor", "exact"]


class MemoryQuantity(NamedTuple):
    """Something to compare: its name, unit, and how far off it may be."""

    name: str
    unit: str
    kind: Kind
    tolerance: float


RESIDENT = (
    MemoryQuantity("mean", "MiB", "relative", 0.05),
    MemoryQuantity("median", "MiB", "relative", 0.05),
    MemoryQuantity("p95", "MiB", "relative", 0.10),
    MemoryQuantity("peak", "MiB", "relative", 0.10),
)
COLLECTIONS = MemoryQuantity("full collections", "1/min", "factor", 1.6)
END = MemoryQuantity("end", "", "exact", 0.0)
ENDS = ("stopped", "abort", "killed")  # alive when stopped, given up by V8, killed by the kernel
RETAINED = MemoryQuantity("retained at death", "items", "relative", 0.07)
PEAK_OF_DEATH = 0.05  # a process that died is held to a closer peak


@dataclass(frozen=True)
class MemoryCheck:
    """One quantity of one run: measured, predicted, and whether that is good enough.

    Parameters
    ----------
    quantity : MemoryQuantity
    measured, predicted : float
        In the quantity's unit; predicted is NaN where the model has none (it lives, the process died).
    tolerance : float
        As in `MemoryQuantity`, or twice the spread of repeats where that is larger.
    excused : bool
        Whether the difference is below what the recording can tell.
    """

    quantity: MemoryQuantity
    measured: float
    predicted: float
    tolerance: float
    excused: bool = False

    @property
    def error(self) -> float:
        """Relative error; for a factor, predicted over measured."""
        if self.quantity.kind == "exact":
            return self.predicted - self.measured
        ratio = self.predicted / self.measured if self.measured else np.inf
        return float(ratio if self.quantity.kind == "factor" else ratio - 1)

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance; NaN is not."""
        if self.excused:
            return True
        if self.quantity.kind == "factor":
            return bool(1 / self.tolerance <= self.error <= self.tolerance)
        return bool(abs(self.error) <= self.tolerance)


@dataclass(frozen=True)
class Checked:
    """A run with its checks, and the model's series for the plot."""

    series: RecordedSeries
    fitted: bool
    checks: tuple[MemoryCheck, ...]
    simulated: pd.DataFrame


def check(runs: Sequence[RecordedSeries]) -> list[Checked]:
    """Simulate every run and compare.

    Parameters
    ----------
    runs : sequence of RecordedSeries
        From `capsim.validation.series.read_series`. Runs whose companion names the same ``repeats`` are repeats of
        one setting: twice their spread is a tolerance, where it is the larger one.

    Returns
    -------
    list of Checked
        In the order of the runs.
    """
    predicted = [_Predicted(series) for series in runs]
    spreads = _spreads(predicted)
    return [one.checked(spreads.get(one.series.run.repeats, {})) for one in predicted]


def process_of(series: RecordedSeries) -> Process:
    """The heap that the companion describes; what it leaves out is the model's."""

    run, program = series.run, series.run.program
    base = value("live_base") if program.base_live_mib is None else program.base_live_mib
    told: dict[str, Any] = {
        "allocated_kib": program.allocated_kib,
        "promoted_kib": program.promoted_kib,
        "file_mib": program.file_mib,
        "off_heap_mib": program.off_heap_mib,
        "off_heap_share": program.off_heap_share,
    }
    return Process(
        cap_mib=run.limit_mib,
        semi_space_mib=run.semi_space_mib,
        live_mib=base + run.live_set_mib,
        cpu_share=run.cpu_share,
        keeps_new_pages=run.node.lstrip("v").startswith(KEEPS_NEW_PAGES),
        container_mib=math.inf if run.container_limit_mib == "none" else float(run.container_limit_mib),
        own_files=False,  # a recording does not tell whose the pages of the program's files are
        **{name: number for name, number in told.items() if number is not None},
    )


class _Predicted:
    """The simulated runs of a series, and the quantities of both."""

    def __init__(self, series: RecordedSeries) -> None:

        self.series = series
        table = series.table
        t, requests = table["time"].to_numpy(np.float64), table["requests"].to_numpy(np.float64)
        self.died = series.run.ended != "stopped"
        if self.died:
            t, requests = _continued(t, requests)
        text = series.run.program.insert_row_bytes
        mib, self.rows = retained(t, requests, series.run, value("insert_text_row") if text is None else text)
        process = process_of(series)
        self.t = t
        # A live set that is too large kills by itself; how many rows happen to be buffered then says nothing.
        self.told_by_rows = float(mib.max()) > MOSTLY_ROWS * process.cap_mib
        runs = [simulate(t, requests, mib, process, seed) for seed in SEEDS]
        self.ends, self.runs = [_end(run) for run in runs], runs
        served = np.flatnonzero(np.diff(table["requests"]) > 0)
        self.window = float(table["time"].iloc[served[0]]), float(table["time"].iloc[served[-1] + 1])
        recorded = table.rename(columns={"time": "t_s", "collections": "gcMajor"})
        if "gcMajor" not in recorded:
            recorded["gcMajor"] = np.nan
        self.compared = self._compare(recorded)

    def _compare(self, recorded: pd.DataFrame) -> dict[str, float]:

        each = [compare(recorded, run, *self.window) for run in self.runs]
        return {name: float(np.mean([one[name] for one in each])) for name in each[0]}

    def checked(self, spread: dict[str, float]) -> Checked:
        """The verdicts, given the relative spread of this setting's repeats by quantity."""
        checks = []
        for quantity in RESIDENT:
            tolerance = PEAK_OF_DEATH if self.died and quantity.name == "peak" else quantity.tolerance
            measured, model = self.compared[f"measured_{quantity.name}"], self.compared[f"model_{quantity.name}"]
            checks.append(MemoryCheck(quantity, measured, model, max(tolerance, 2 * spread.get(quantity.name, 0))))
        measured, model = self.compared["measured_collections"], self.compared["model_collections"]
        # The last moments of a dying process, which hold most of its collections, are in no recording.
        if not (self.died or np.isnan(measured)):
            minutes = (self.window[1] - self.window[0]) / 60
            few = abs(model - measured) * minutes <= FEW
            tolerance = max(COLLECTIONS.tolerance, 1 + 2 * spread.get("collections", 0))
            checks.append(MemoryCheck(COLLECTIONS, measured, model, tolerance, few))
        end = sorted(name for name, _ in self.ends)[len(self.ends) // 2]
        checks.append(MemoryCheck(END, ENDS.index(self.series.run.ended), ENDS.index(end), 0.0))
        if self.died and self.told_by_rows:
            dead = [at_s for _, at_s in self.ends if at_s is not None]
            kept = float(np.interp(np.median(dead), self.t, self.rows)) if dead else np.nan
            checks.append(MemoryCheck(RETAINED, self._kept(), kept, RETAINED.tolerance))
        name = self.series.name
        return Checked(self.series, name in FITTED, tuple(checks), self.runs[0])

    def _kept(self) -> float:
        """Items that the dying process held in its last sample."""
        last = self.series.table.iloc[-1]
        if self.series.run.kind == "leak":
            return float(last["requests"])
        if "buffered" in last and "in_flight" in last:
            return float(last["buffered"] + last["in_flight"])
        return float(np.interp(last["time"], self.t, self.rows))


def _end(run: pd.DataFrame) -> tuple[str, float | None]:
    """How and when a simulated process ends."""
    names = {None: "stopped", "abort": "abort", "kill": "killed"}
    return names[run.attrs["ended"]], run.attrs["died_at_s"]


def _continued(t: Floats, requests: Floats) -> tuple[Floats, Floats]:
    """The load goes on at its last rate: whoever dies later than the recording ends must have a load to die of."""
    tail = slice(-min(TAIL, len(t)), None)
    seconds = float(t[tail][-1] - t[tail][0])
    rate = max((requests[tail][-1] - requests[tail][0]) / seconds, requests[-1] / t[-1])
    more_s = CONTINUED * requests[-1] / rate
    steps = np.arange(0.5, max(more_s, 5.0) + 0.5, 0.5)
    return np.append(t, t[-1] + steps), np.append(requests, requests[-1] + np.floor(rate * steps))


def _spreads(predicted: Sequence[_Predicted]) -> dict[str, dict[str, float]]:
    """Of each setting that was measured more than once: largest over smallest of each quantity, less one."""
    groups: dict[str, list[_Predicted]] = {}
    for one in predicted:
        if one.series.run.repeats:
            groups.setdefault(one.series.run.repeats, []).append(one)
    out = {}
    for name, members in groups.items():
        spread = {}
        for quantity in ("mean", "median", "p95", "peak", "collections"):
            numbers = [one.compared[f"measured_{quantity}"] for one in members]
            if len(numbers) > 1 and min(numbers) > 0:
                spread[quantity] = max(numbers) / min(numbers) - 1
        out[name] = spread
    return out

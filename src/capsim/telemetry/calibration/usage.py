"""Constants that Railway's metrics show, not `/api/metrics`: CPU of a request, page cache, bytes of a stored row.

The recorded load is played, and what the model makes of it is a straight line in each of these constants: CPU in the
idle part and in the factor on a request's; billed memory less resident in the page cache at the start and in what each
request adds to it; the memory of Postgres in the bytes that an event leaves in its files. The level of Postgres is left
free, as nobody knows what its cache held before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from capsim.base.errors import CapsimError
from capsim.base.units import MIB
from capsim.cost.billed import Series, read_series
from capsim.engine.simulation import play
from capsim.memory import ended, of_services
from capsim.memory.component_memory import log_files_mib
from capsim.memory.constants import PUBLISHED as value
from capsim.memory.constants import with_constants
from capsim.scenario.scenario import Scenario
from capsim.telemetry.calibration.identify import Identified
from capsim.telemetry.calibration.parameters import USAGE, FitParameter, published
from capsim.telemetry.calibration.regression import FittedLine, line
from capsim.workload import load_of
from capsim.workload.recordings.load import load_trace, mix
from capsim.workload.recordings.model import Recording

Floats = NDArray[np.float64]

FEWEST = 20  # samples of a metric in the part that is fitted
LONGEST_BIN_S = 60.0
STRONG, ALIKE = 10.0, 0.95  # least F of an instrument; correlation of two constants that are not told apart
NEAR, ROUNDS, SAME = 0.02, 40, 1e-4  # share by which a constant is moved; times at most; share that is no move
FIGURES = {
    ("server", "cpu"): ("CPU of the server", "vCPU"),
    ("server", "memory"): ("page cache of the server", "MiB"),
    ("postgres", "memory"): ("memory of Postgres", "MiB"),
}


@dataclass(frozen=True)
class UsageEstimate:
    """One constant, as `capsim.telemetry.calibration.result.ConstantEstimate`."""

    key: str
    value: float
    low: float
    high: float
    identified: bool
    before: float


@dataclass(frozen=True)
class UsageCheck:
    """Mean of a metric over a part of the recording: measured, predicted, and its 90 % band."""

    part: str
    figure: str
    unit: str
    measured: float
    predicted: float
    low: float
    high: float

    @property
    def error(self) -> float:
        """Predicted over measured, less one."""
        return self.predicted / self.measured - 1 if self.measured else float("nan")


@dataclass(frozen=True)
class UsageFit:
    """What one metric says.

    Attributes
    ----------
    figure, unit : str
    estimates : tuple of UsageEstimate
    checks : tuple of UsageCheck
    time_s, measured, fitted : array, shape (n,)
        Instants since the first sample of the recording [s], and the metric less what is not fitted.
    notes : tuple of str
    """

    figure: str
    unit: str
    estimates: tuple[UsageEstimate, ...]
    checks: tuple[UsageCheck, ...]
    time_s: Floats = field(repr=False)
    measured: Floats = field(repr=False)
    fitted: Floats = field(repr=False)
    notes: tuple[str, ...] = ()


def fit_usage(scenario: Scenario, recording: Recording, sides: Sequence[str], cut_s: float) -> tuple[UsageFit, ...]:
    """Fit what exports of Railway's metrics show.

    Parameters
    ----------
    scenario : Scenario
        Log lines, reads and the rest of the server; its own constants are kept where they are not fitted.
    recording : Recording
        Of the same time: its load and its resident memory.
    sides : sequence of str
        ``FILE`` or ``SERVICE=FILE``; see `capsim.cost.billed.read_series`.
    cut_s : float
        Where the part that is held out begins [s].

    Raises
    ------
    CapsimError
        If an export cannot be read, or has fewer than twenty samples in that time.
    """
    wanted: dict[tuple[str, str], Series] = {}
    for side in sides:
        for series in read_series(side):
            key = (series.service, str(series.meter))
            if key not in FIGURES:
                continue
            if key in wanted:
                raise CapsimError(f"{side}: {FIGURES[key][0]} is in two exports; give it once")
            wanted[key] = series
    if not wanted:
        raise CapsimError(
            f"{', '.join(sides)}: neither CPU nor memory of the server or of Postgres is in it; give server=FILE or "
            "postgres=FILE where rows carry no name"
        )
    played = _UsageRun(scenario, recording, min(_step_s(s) for s in wanted.values()))
    return tuple(_fit(key, series, played, scenario, recording, cut_s) for key, series in sorted(wanted.items()))


def _step_s(series: Series) -> float:
    return float(np.median(np.diff(series.at_s)))


class _UsageRun:
    """The recorded load under the scenario, bin by bin."""

    def __init__(self, scenario: Scenario, recording: Recording, step_s: float) -> None:

        trace = load_trace(recording)
        replayed = scenario.replace("workload", {"trace": recording.name, "mix": mix(recording)})
        load = load_of(replayed, trace, 0, 0)
        played, _ = play(
            replayed, load, seed=0, replicate=0, resolution_s=float(np.clip(step_s, 1.0, LONGEST_BIN_S)), keep=False,
            progress=None,
        )  # fmt: skip
        self.scenario = replayed
        self.samples = played.samples()
        first_s = (int(trace.start_us) - recording.start_us) / 1e6
        self.start_s = first_s + self.samples["time_s"].to_numpy(np.float64)
        self.end_s = self.start_s + self.samples["width_s"].to_numpy(np.float64)

    def column(self, name: str, constants: Mapping[str, float]) -> Floats:
        """A column of `capsim.scenario.columns.MEMORY` under these constants."""
        under = with_constants(self.scenario, constants)
        table = of_services(self.samples, under) if name.startswith("postgres") else ended(self.samples, under)[0]
        return table[name].to_numpy(np.float64)

    def mean_at(self, values: Floats, at_s: Floats, step_s: float) -> Floats:
        """Mean over the step before each instant."""
        total = np.append(0.0, np.cumsum(values * (self.end_s - self.start_s)))
        edges = np.append(self.start_s[0], self.end_s)
        upto = np.interp(at_s, edges, total)
        since = np.interp(at_s - step_s, edges, total)
        width = np.clip(at_s, edges[0], edges[-1]) - np.clip(at_s - step_s, edges[0], edges[-1])
        out: Floats = (upto - since) / np.maximum(width, 1e-9)
        return out

    def came_at(self, at_s: Floats) -> Floats:
        """Requests that had come by each instant."""
        return self.level_at(np.cumsum(self.samples["requests"].to_numpy(np.float64)), at_s)

    def level_at(self, values: Floats, at_s: Floats) -> Floats:
        """Value at the end of the bin before each instant, straight in between."""
        out: Floats = np.interp(at_s, self.end_s, values)
        return out


def _fit(
    key: tuple[str, str], series: Series, played: _UsageRun, scenario: Scenario, recording: Recording, cut_s: float
) -> UsageFit:
    figure, unit = FIGURES[key]
    at_s = series.at_s - recording.start_us / 1e6
    inside = (at_s > played.start_s[0] + _step_s(series)) & (at_s <= played.end_s[-1])
    if key == ("server", "cpu"):  # code that is not yet warm costs more, and nobody knows whether it was
        inside &= played.came_at(at_s - _step_s(series)) > value("warm_after")
    at_s, told = at_s[inside], series.values[inside]
    early = at_s <= cut_s
    if early.sum() < FEWEST:
        raise CapsimError(
            f"{series.source}: {figure} has {int(early.sum())} samples in the part of the recording that is fitted; "
            f"export the same time, or finer, for at least {FEWEST}"
        )
    instrument: Floats | None = None
    if key == ("server", "cpu"):
        known, columns, instrument = _cpu(played, at_s, _step_s(series))
        keys: tuple[str, ...] = ("request_cpu_factor", "server_idle_vcpu")
    elif key == ("server", "memory"):
        told = told * scenario.billing.gb_bytes / MIB
        known, columns = _cache(played, scenario, recording, at_s)
        keys = ("server_cache_mib", "server_cache_request_bytes")
    else:
        told = told * scenario.billing.gb_bytes / MIB
        keys = ("event_stored_bytes",)  # and a level, which is no constant
        known, columns = _stored(played, at_s, early, told)
    found = line(columns[early], (told - known)[early], None if instrument is None else instrument[early])
    parameters = tuple(p for p in USAGE if p.key in keys)
    estimates, notes = _estimates(parameters, found, published_usage(scenario))
    fitted = columns @ found.values
    checks = [
        _check(part, figure, unit, columns[of], (told - known)[of], known[of], found)
        for part, of in (("fitted", early), ("held out", ~early))
        if of.any()
    ]
    return UsageFit(figure, unit, estimates, tuple(checks), at_s, told - known, fitted, notes)


def _cpu(played: _UsageRun, at_s: Floats, step_s: float) -> tuple[Floats, Floats, Floats]:
    """What log lines, reads and collections cost beside; then by the factor on requests and by the idle part.

    Last, what the requests of other minutes would cost. Counters and buffers tell an arrival up to a flush late, which
    makes a column of a steady load nothing but errors, and these are not alike two steps apart.
    """
    name = "server_cpu_vcpu"
    warm = {"warm_after": 0.0, "server_idle_cpu": 0.0}
    none = played.column(name, {**warm, "request_cpu": 0.0})
    requests = played.column(name, {**warm, "request_cpu": 1.0}) - none
    columns = np.column_stack([played.mean_at(requests, at_s, step_s), np.ones(len(at_s))])
    apart_s = min(max(2 * step_s, step_s + LONGEST_BIN_S), (at_s[-1] - at_s[0]) / 4)
    around = [np.where(inside, played.mean_at(requests, at, step_s), np.nan)
              for at in (at_s - apart_s, at_s + apart_s)
              for inside in [(at >= at_s[0]) & (at <= at_s[-1])]]  # fmt: skip
    return played.mean_at(none, at_s, step_s), columns, np.nanmean(around, axis=0)


def _cache(played: _UsageRun, scenario: Scenario, recording: Recording, at_s: Floats) -> tuple[Floats, Floats]:
    """Resident memory with the kernel's for it, and log files; then by the cache at the start and by requests."""
    samples = recording.samples
    rss = samples["rss_mib"].to_numpy(np.float64)
    whole = ~np.isnan(rss)
    if not whole.any():
        raise CapsimError(f"{recording.name}: tells no memory.rss, so it does not show what is page cache")
    constants = published(scenario)
    file_mib = constants["server_file_mib"] + (scenario.server.node.version == 24) * value("node24_file")
    resident = np.interp(at_s, samples["time_s"].to_numpy(np.float64)[whole], rss[whole])
    logs = played.level_at(log_files_mib(played.samples, played.scenario), at_s)
    written = 1 + value("kernel_written")
    known = (resident - file_mib) * (1 + value("node_kernel_share")) + value("node_kernel_base")
    known += value("group_overhead") + written * logs
    return known, np.column_stack([np.ones(len(at_s)), written * played.came_at(at_s) / MIB])


def _stored(played: _UsageRun, at_s: Floats, early: NDArray[np.bool_], told: Floats) -> tuple[Floats, Floats]:
    """Connections, WAL and other rows; then by the bytes of an event, and a level.

    Shared buffers fill up and limits are met sooner or later by the bytes, so the line is drawn where it is needed: at
    the bytes that the line before gave.
    """
    name = "postgres_billed_mib"
    (parameter,) = (p for p in USAGE if p.key == "event_stored_bytes")
    at = value("pg_data_event")
    for _ in range(ROUNDS):
        below, above = (played.column(name, {"pg_data_event": times * at}) for times in (1 - NEAR, 1 + NEAR))
        by_byte = played.level_at((above - below) / (2 * NEAR * at), at_s)
        known = played.level_at((above + below) / 2, at_s) - by_byte * at
        columns = np.column_stack([by_byte, np.ones(len(at_s))])
        found = np.linalg.lstsq(columns[early], (told - known)[early], rcond=None)[0]
        before, at = at, float(np.clip(found[0], parameter.low, parameter.high))
        if abs(at / before - 1) < SAME:
            break
    return known, columns


def published_usage(scenario: Scenario) -> dict[str, float]:
    """The constants of `USAGE` as the scenario has them now."""
    own = scenario.constants.given() if scenario.constants else {}
    middle = (value("server_mapped") + value("server_files_read")) / 2
    now = {
        "request_cpu_factor": own.get("request_cpu", value("request_cpu")),
        "server_idle_vcpu": own.get("server_idle_cpu", value("server_idle_cpu")),
        "server_cache_mib": own.get("server_mapped", middle),
        "server_cache_request_bytes": own.get("server_cache_request", value("server_cache_request")),
        "event_stored_bytes": own.get("pg_data_event", value("pg_data_event")),
    }
    return {p.key: now[p.key] for p in USAGE}


def _estimates(
    parameters: Sequence[FitParameter], found: FittedLine, before: Mapping[str, float]
) -> tuple[tuple[UsageEstimate, ...], tuple[str, ...]]:
    count = len(parameters)
    keys = tuple(p.key for p in parameters)
    values = found.values[:count]
    covariance = found.covariance[:count, :count]
    sd = np.sqrt(np.diag(covariance))
    low, high = values - found.t90 * sd, values + found.t90 * sd
    apart = found.strength >= STRONG
    told = tuple(p.key for i, p in enumerate(parameters) if apart and low[i] > 0 and p.low < values[i] < p.high)
    alike = count > 1 and (not apart or abs(covariance[0, 1]) > ALIKE * sd[0] * sd[1])
    left = tuple(key for key in keys if key not in told)
    together = (left,) if alike else tuple((key,) for key in left)
    notes = [f"{said}." for said in Identified(keys, covariance, sd, told, together if left else ()).sentences()]
    estimates = []
    for i, parameter in enumerate(parameters):
        shown = parameter.key in told
        if not shown and apart and high[i] < parameter.high:
            notes.append(f"{parameter.key} is at most {max(high[i], 0.0):.3g}.")
        estimates.append(
            UsageEstimate(
                key=parameter.key,
                value=float(values[i]) if shown else before[parameter.key],
                low=max(float(low[i]), 0.0) if apart else math.nan,
                high=max(float(high[i]), 0.0) if apart else math.nan,
                identified=shown,
                before=before[parameter.key],
            )
        )
    return tuple(estimates), tuple(notes)


def _check(
    part: str, figure: str, unit: str, columns: Floats, told: Floats, known: Floats, found: FittedLine
) -> UsageCheck:
    mean = columns.mean(axis=0)
    own = found.sd**2 * (1 + found.rho) / (1 - found.rho) / len(columns)
    sd = float(np.sqrt(mean @ found.covariance @ mean + own))
    # Of memory the whole is told, and only the page cache in it is predicted here.
    beside = float(known.mean()) if unit == "vCPU" or "Postgres" in figure else 0.0
    predicted = float(mean @ found.values) + beside
    return UsageCheck(
        part,
        figure,
        unit,
        float(told.mean()) + beside,
        predicted,
        predicted - found.t90 * sd,
        predicted + found.t90 * sd,
    )


def table_rows(fits: Sequence[UsageFit]) -> list[tuple[str, float, float, float, str, float]]:
    """Rows of `capsim.telemetry.calibration.result.Calibration.table`."""
    return [
        (f"constants.{e.key}", e.value, e.low, e.high, "fitted" if e.identified else "not identified", e.before)
        for fit in fits
        for e in fit.estimates
    ]


def check_table(fits: Sequence[UsageFit]) -> pd.DataFrame:
    """`UsageCheck` rows."""
    rows = [(c.part, c.figure, c.unit, c.measured, c.predicted, c.low, c.high) for fit in fits for c in fit.checks]
    return pd.DataFrame(rows, columns=["part", "figure", "unit", "measured", "predicted", "low", "high"])

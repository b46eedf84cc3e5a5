"""A calibration: estimates with intervals, how they do on the part that was held out, and the fitted scenario."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from capsim.base import rng
from capsim.base.errors import CapsimError
from capsim.memory.constants import CONSTANTS
from capsim.scenario.constants import NAMES
from capsim.scenario.scenario import Scenario
from capsim.scenario.validation import validated
from capsim.telemetry.calibration.identify import Identified
from capsim.telemetry.calibration.parameters import PARAMETERS, UNTOLD, chosen, merged
from capsim.telemetry.calibration.segments import measured, stretches
from capsim.telemetry.calibration.simulator import Simulator
from capsim.telemetry.calibration.usage import UsageEstimate, UsageFit, table_rows
from capsim.workload.instants import iso
from capsim.workload.recordings.latency import flush_latency
from capsim.workload.recordings.load import Rate, mix, rates
from capsim.workload.recordings.model import Recording

if TYPE_CHECKING:
    from capsim.workload.recordings.latency import Latency

Floats = NDArray[np.float64]

DRAWS = 40  # simulations of a part that is checked, each with constants drawn from their joint estimate
CHECK_BUDGET = 8_000.0
FIGURES = ("rss mean", "rss peak", "heap total mean", "heap used mean")
PUBLISHED = {c.name: c for c in CONSTANTS}


@dataclass(frozen=True)
class ConstantEstimate:
    """One constant: its value and its 90 % interval; where it is not identified, the value that it had before."""

    key: str
    value: float
    low: float
    high: float
    identified: bool


@dataclass(frozen=True)
class PredictionCheck:
    """One figure of a part of the recording: measured, and predicted from the fitted constants [MiB]."""

    part: str
    figure: str
    measured: float
    predicted: float
    low: float
    high: float

    @property
    def error(self) -> float:
        """Predicted over measured, less one."""
        return self.predicted / self.measured - 1


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What `capsim.telemetry.calibration.calibrate` found.

    Attributes
    ----------
    scenario : Scenario
        The fitted one: ``[constants]`` as fitted, ``workload.mix`` as measured, ``[calibration]`` says which is which.
    estimates : tuple of ConstantEstimate
    rates : tuple of Rate
        Measured load.
    latency : Latency or None
        Of the flushes, where the totals show them.
    identified : Identified
    checks : tuple of PredictionCheck
        Of the part that was fitted and of the part that was held out.
    notes : tuple of str
    usage : tuple of UsageFit
        What Railway's metrics say, where they were given.
    """

    scenario: Scenario
    method: str
    recording: Recording = field(repr=False)
    cut_s: float
    estimates: tuple[ConstantEstimate, ...]
    rates: tuple[Rate, ...]
    latency: Latency | None
    identified: Identified = field(repr=False)
    checks: tuple[PredictionCheck, ...]
    simulated: dict[str, Floats] = field(repr=False)
    notes: tuple[str, ...]
    usage: tuple[UsageFit, ...] = field(default=(), repr=False)

    @classmethod
    def of(
        cls,
        scenario: Scenario,
        recording: Recording,
        cut_s: float,
        simulator: Simulator,
        estimates: Sequence[ConstantEstimate],
        found: Identified,
        *,
        method: str,
        seed: int,
        base: dict[str, float],
        usage: tuple[UsageFit, ...] = (),
    ) -> Calibration:
        """Check the estimates on both parts, and write the scenario."""

        at_end = [e.key for e in estimates if e.key in found.told and not e.identified]
        drawn = draws(estimates, found, base, seed)
        notes = [*recording.notes, *(f"{sentence}." for sentence in found.sentences())]
        notes += [f"{key} lies at the end of the range that was looked at, so it was left as it was." for key in at_end]
        notes += [note for fit in usage for note in fit.notes]
        checks, simulated = _checked(scenario, recording, cut_s, drawn, notes)
        fitted = recording.window(0.0, cut_s)
        load = tuple(rates(fitted))
        latency = flush_latency(fitted, scenario)
        return cls(
            scenario=_fitted(
                scenario,
                recording,
                fitted,
                [*estimates, *(e for fit in usage for e in fit.estimates)],
                load,
                latency,
                checks,
                method=method,
                seed=seed,
            ),
            method=method,
            recording=recording,
            cut_s=cut_s,
            estimates=tuple(estimates),
            rates=load,
            latency=latency,
            identified=found,
            checks=tuple(checks),
            simulated=simulated,
            notes=tuple(dict.fromkeys(notes)),
            usage=usage,
        )

    def table(self) -> pd.DataFrame:
        """Every constant that could have been fitted or measured, its standing visibly apart.

        Columns ``key``, ``value``, ``low``, ``high``, ``status`` (measured, fitted, not identified, as before) and
        ``before``.
        """
        rows: list[tuple[str, float, float, float, str, float]] = []
        for rate in self.rates:
            rows.append((f"{rate.stream} arrivals [1/s]", rate.mean_hz, rate.low_hz, rate.high_hz, "measured", np.nan))
        done = {e.key: e for e in self.estimates}
        for parameter in PARAMETERS:
            before = PUBLISHED[NAMES[parameter.key]].value
            if (e := done.get(parameter.key)) is not None:
                status = "fitted" if e.identified else "not identified"
                rows.append((f"constants.{e.key}", e.value, e.low, e.high, status, before))
            else:
                own = self.scenario.constants
                given = None if own is None else getattr(own, parameter.key)
                rows.append((f"constants.{parameter.key}", given or before, np.nan, np.nan, "as before", before))
        rows += table_rows(self.usage)
        if self.latency is not None:
            one = self.latency
            rows.append(("database.insert, mean [ms]", one.mean_ms, one.low_ms, one.high_ms, "fitted", one.before_ms))
        return pd.DataFrame(rows, columns=["key", "value", "low", "high", "status", "before"])

    def check_table(self) -> pd.DataFrame:
        """`PredictionCheck` rows: part, figure, measured, predicted, its 90 % band [MiB] and the error [%]."""
        return pd.DataFrame(
            [(c.part, c.figure, c.measured, c.predicted, c.low, c.high, 100 * c.error) for c in self.checks],
            columns=["part", "figure", "measured", "predicted", "low", "high", "error_percent"],
        )

    @property
    def untold(self) -> dict[str, str]:
        """What no fit to such samples can tell, and why."""
        shown = {e.key for fit in self.usage for e in fit.estimates if e.identified}
        known = {"request_cpu_factor": "request_cpu_factor", "page cache": "server_cache_mib"}
        return {name: why for name, why in UNTOLD.items() if known.get(name) not in shown}


def draws(
    estimates: Sequence[ConstantEstimate], found: Identified, base: dict[str, float], seed: int, count: int = DRAWS
) -> list[dict[str, float]]:
    """Constants drawn from their joint estimate; those not identified stay as they are."""

    known = [i for i, e in enumerate(estimates) if e.identified]
    parameters = chosen([estimates[i].key for i in known]) if known else ()
    centre = np.log([estimates[i].value for i in known])
    if not known:
        return [dict(base)] * count
    spread = found.covariance[np.ix_(known, known)]
    normal = rng.generator(seed, 0, "calibrate/draws").standard_normal((count, len(known)))
    logs = centre + normal @ np.linalg.cholesky(spread + 1e-12 * np.eye(len(known))).T
    return [merged(base, parameters, row) for row in logs]


def _checked(
    scenario: Scenario, recording: Recording, cut_s: float, drawn: Sequence[dict[str, float]], notes: list[str]
) -> tuple[list[PredictionCheck], dict[str, Floats]]:
    """Checks of both parts, and the simulated samples of each."""
    checks: list[PredictionCheck] = []
    simulated: dict[str, Floats] = {}
    for part, window in (("fitted", (0.0, cut_s)), ("held out", (cut_s, recording.span_s))):
        try:
            seen = stretches(recording, CHECK_BUDGET, scenario, *window)
        except CapsimError:
            notes.append(f"The {part} part has too few samples to be checked.")
            continue
        checked = Simulator(scenario, seen, recording.step_mib)
        runs = np.array([checked.samples(constants, 7_000 + i) for i, constants in enumerate(drawn)])
        checks += _checks(part, measured(seen), runs)
        simulated[part] = runs
        simulated[f"{part} time_s"] = np.concatenate([p.time_s[p.seen] for p in seen])
        simulated[f"{part} measured"] = measured(seen)
    return checks, simulated


def _checks(part: str, seen: Floats, runs: Floats) -> list[PredictionCheck]:
    def figures(samples: Floats) -> list[float]:
        rss, total, used = samples
        return [float(rss.mean()), float(rss.max()), float(total.mean()), float(used.mean())]

    told = figures(seen)
    each = np.array([figures(run) for run in runs])
    low, middle, high = np.quantile(each, [0.05, 0.5, 0.95], axis=0)
    return [
        PredictionCheck(part, name, told[i], float(middle[i]), float(low[i]), float(high[i]))
        for i, name in enumerate(FIGURES)
    ]


def _fitted(
    scenario: Scenario,
    recording: Recording,
    part: Recording,
    estimates: Sequence[ConstantEstimate | UsageEstimate],
    load: Sequence[Rate],
    latency: Latency | None,
    checks: Sequence[PredictionCheck],
    *,
    method: str,
    seed: int,
) -> Scenario:
    own = scenario.constants.model_dump() if scenario.constants else {}
    told = [e for e in estimates if e.identified]
    values: list[dict[str, Any]] = [
        {"key": f"constants.{e.key}", "status": "fitted", "value": _nine(e.value), "low": _nine(e.low),
         "high": _nine(e.high)}
        for e in told
    ]  # fmt: skip
    data = scenario.model_dump(mode="python", by_alias=True)
    data["constants"] = own | {e.key: _nine(e.value) for e in told}
    if latency is not None and latency.call_ms is not None:
        data["database"]["insert"]["call_ms"] = _nine(latency.call_ms)
        ratio = [bound / latency.mean_ms for bound in (latency.low_ms, latency.high_ms)]
        values.append(
            {"key": "database.insert.call_ms", "status": "fitted", "value": _nine(latency.call_ms),
             "low": _nine(latency.call_ms * ratio[0]), "high": _nine(latency.call_ms * ratio[1])}
        )  # fmt: skip
    if scenario.workload.sessions is None and not scenario.workload.runs and any(rate.items > 0 for rate in load):
        shares = mix(part)
        data["workload"]["mix"] = shares
        total = sum(rate.mean_hz for rate in load)
        for rate in load:
            values.append(
                {"key": f"workload.mix.{rate.stream}", "status": "measured", "value": shares[rate.stream],
                 "low": _nine(rate.low_hz / total), "high": _nine(min(rate.high_hz / total, 1.0))}
            )  # fmt: skip
    data["calibration"] = {
        "recording": recording.name,
        "source": recording.source,
        "sha256": recording.sha256,
        "start": iso(recording.start_us),
        "hours": _nine(part.span_s / 3_600),
        "samples": len(part.samples),
        "method": method,
        "seed": seed,
        "model_error": _nine(_model_error(checks)),
        "values": values,
        "not_identified": [f"constants.{e.key}" for e in estimates if not e.identified],
    }

    return validated(Scenario, data, source=f"{scenario.name}, fitted")


def _model_error(checks: Sequence[PredictionCheck]) -> float:
    """What is left of the relative error of mean rss on the held-out part beyond constants and chance."""
    for check in checks:
        if check.part == "held out" and check.figure == "rss mean":
            sd = (check.high - check.low) / 2 / 1.645 / check.measured
            return float(np.sqrt(max(check.error**2 - sd**2, 0.0)))
    return 0.0


def _nine(number: float) -> float:
    return float(f"{number:.6g}")

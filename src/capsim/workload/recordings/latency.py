"""How long flushes take, from how often one is found out: Little's law on the dips of the totals.

Rows that are out in a flush are in no total. A sample that is taken meanwhile lies below the line between its
neighbours by about a batch; the share of such samples is the share of the time in which a flush is out, and divided by
the flushes a second it is their mean duration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capsim.scenario.scenario import Scenario
from capsim.workload.recordings.model import Recording

Floats = NDArray[np.float64]

SIGMAS = 4.0  # half a batch must stand so far above the chance of the arrivals
FEWEST_DIPS = 5
STREAM = "events"  # one insert a batch; heartbeats may be single updates


@dataclass(frozen=True)
class Latency:
    """Mean duration of an insert of a batch [ms], with its 90 % interval.

    Attributes
    ----------
    call_ms : float or None
        ``database.insert.call_ms`` that gives this mean with the scenario's row_ms and sigma, which are assumed; None
        where no such value exists.
    before_ms : float
        Mean under the scenario as it was [ms].
    """

    mean_ms: float
    low_ms: float
    high_ms: float
    call_ms: float | None
    before_ms: float
    dips: int


def flush_latency(recording: Recording, scenario: Scenario) -> Latency | None:
    """Mean duration of the inserts of events; None where the samples do not show it.

    They do not where chance of the arrivals hides a batch (more than a few hundred rows between two samples), or where
    fewer than five flushes were met. Stalls longer than the cadence are seen as several dips, and counted right.
    """
    from scipy.stats import beta

    samples = recording.samples
    columns = [f"{STREAM}_{name}" for name in ("flushed", "dropped", "buffer_rows")]
    if samples[columns].isna().all().any():
        return None
    writer = getattr(scenario.server.writers, STREAM)
    dips = instants = 0
    flushed = seconds = 0.0
    sizes: list[float] = []
    for _, part in samples.groupby("process", sort=True):
        part = part.dropna(subset=columns)
        if len(part) < 3:
            continue
        time_s = part["time_s"].to_numpy(np.float64)
        told = part[columns].to_numpy(np.float64).sum(axis=1)
        even = np.diff(time_s) < 1.5 * recording.every_s
        inner = np.flatnonzero(even[:-1] & even[1:]) + 1
        if not inner.size:
            continue
        rate = float(told[-1] - told[0]) / float(time_s[-1] - time_s[0])
        batch = max(min(float(writer.batch_rows), rate * writer.delay_ms / 1_000), 1.0)
        between = rate * recording.every_s
        if batch / 2 < SIGMAS * math.sqrt(1.5 * max(between, 1.0)):
            continue
        below = (told[inner - 1] + told[inner + 1]) / 2 - told[inner]
        hit = below > batch / 2
        dips += int(hit.sum())
        instants += len(inner)
        sizes += below[hit].tolist()
        flushed += float(part[columns[0]].iloc[-1] - part[columns[0]].iloc[0])
        seconds += float(time_s[-1] - time_s[0])
    if dips < FEWEST_DIPS or not flushed:
        return None
    share, rows = dips / instants, float(np.median(sizes))
    flushes_hz = flushed / rows / seconds
    ends = float(beta.ppf(0.05, dips, instants - dips + 1)), float(beta.ppf(0.95, dips + 1, instants - dips))
    mean_ms, low_ms, high_ms = (1_000 * s / flushes_hz for s in (share, *ends))
    law = scenario.database.insert
    factor = math.exp(law.sigma**2 / 2) if law.distribution == "lognormal" else 1.0
    if law.distribution == "exponential":
        factor = 1 / math.log(2)  # the mean over the median
    per_row = law.row_ms + scenario.database.unused_indexes * scenario.database.index_row_ms
    call_ms = mean_ms / factor - per_row * rows
    return Latency(
        mean_ms, low_ms, high_ms, call_ms if call_ms > 0 else None, (law.call_ms + per_row * rows) * factor, dips
    )

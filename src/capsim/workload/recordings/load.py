"""The load that a recording tells of: arrivals of each stream from totals, buffers and drops.

What has arrived is what was flushed, dropped or waits in the buffer; rows that are out in a flush are in none of the
three until it ends. So the sum never tells too much, and what it lacks for a moment comes back: its running maximum is
the curve of arrivals, late by at most the rows in flight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from capsim.base.errors import CapsimError
from capsim.scenario.workload import STREAMS
from capsim.workload.model import Trace
from capsim.workload.recordings.model import Recording

Floats = NDArray[np.float64]

CONFIDENCE = 0.90
LONG_GAP_S = 60.0  # without samples: the number that came is known, its spread over that time is not
ENDS = 3  # samples that tell what is out at an end
MOST_BINS = 50_000_000  # more than a year of seconds
BATCH_ROWS = 100.0  # what is out in a flush at the most, where no dip showed more


@dataclass(frozen=True)
class Arrivals:
    """Arrivals of one process of the server.

    Attributes
    ----------
    time_s : array, shape (n,)
        Of the samples, since the first of the recording [s].
    arrived : dict of str to array
        Items that had arrived by then, of each stream; from the start of the process or from its first sample.
    out_rows : dict of str to array
        Rows that were out in a flush then, as far as the totals show [rows].
    """

    process: int
    time_s: Floats
    arrived: dict[str, Floats]
    out_rows: dict[str, Floats]

    @property
    def requests(self) -> Floats:
        """Items of all streams that had arrived by each sample."""
        total: Floats = np.sum(list(self.arrived.values()), axis=0)
        return total


@dataclass(frozen=True)
class Rate:
    """A mean rate [1/s] with its interval: chance of the arrivals, and rows that are out at either end."""

    stream: str
    items: float
    seconds: float
    mean_hz: float
    low_hz: float
    high_hz: float


def arrivals(recording: Recording) -> list[Arrivals]:
    """Arrivals of each process, from its first sample to its last.

    Raises
    ------
    CapsimError
        If the recording has no totals.
    """
    found: list[Arrivals] = []
    samples = recording.samples
    named = [s for s in STREAMS if samples[f"{s}_flushed"].notna().any()]
    if not named:
        raise CapsimError(f"{recording.name}: has no totals of writers (batchWriters), so it tells no load")
    for process, part in samples.groupby("process", sort=True):
        told: dict[str, Floats] = {}
        out: dict[str, Floats] = {}
        for stream in STREAMS:
            if stream not in named:
                told[stream] = out[stream] = np.zeros(len(part))
                continue
            columns = [part[f"{stream}_{c}"].ffill().bfill().fillna(0.0) for c in ("flushed", "dropped", "buffer_rows")]
            seen = np.sum([c.to_numpy(np.float64) for c in columns], axis=0)
            told[stream] = np.maximum.accumulate(seen)
            out[stream] = told[stream] - seen
        found.append(Arrivals(int(str(process)), part["time_s"].to_numpy(np.float64), told, out))
    return found


def rates(recording: Recording, confidence: float = CONFIDENCE) -> list[Rate]:
    """Mean rate of each stream over the time that has samples.

    Parameters
    ----------
    recording : Recording
    confidence : float
        Of the intervals: exact for Poisson arrivals, widened by the rows that may be out at the ends of each process.

    Returns
    -------
    list of Rate
        In the order of `STREAMS`. Heartbeats that a later one replaced in the buffer (semantics ``fixed`` and
        ``recommended``) are in no total: their rate is what was written, and less than what came.

    Examples
    --------
    >>> from capsim.workload.recordings.model import MISSED, SAMPLES
    >>> from capsim.scenario.columns import empty
    >>> table = empty(SAMPLES).reindex(range(101)).assign(time_s=5.0 * np.arange(101), process=0)
    >>> table["events_flushed"] = 100.0 * np.arange(101)
    >>> r = Recording(name="x", source="", sha256="", start_us=0, every_s=5, samples=table, missed=empty(MISSED))
    >>> rate = rates(r)[0]
    >>> rate.mean_hz, rate.low_hz < 20 < rate.high_hz
    (20.0, True)
    """
    from scipy.stats import gamma

    parts = arrivals(recording)
    seconds = sum(float(part.time_s[-1] - part.time_s[0]) for part in parts)
    if not seconds:
        raise CapsimError(f"{recording.name}: one sample a process tells no rate; record for longer")
    tail = (1 - confidence) / 2
    found = []
    for stream in STREAMS:
        items = math.fsum(float(part.arrived[stream][-1] - part.arrived[stream][0]) for part in parts)
        # Rows out at the ends come from the dips; a batch where none was seen.
        out = sum(_out_at_the_ends(part.out_rows[stream]) for part in parts) if items else 0.0
        low = float(gamma.ppf(tail, items)) if items else 0.0
        high = float(gamma.ppf(1 - tail, items + 1))
        found.append(
            Rate(stream, items, seconds, items / seconds, max(low - out, 0.0) / seconds, (high + out) / seconds)
        )
    return found


def _out_at_the_ends(out_rows: Floats) -> float:
    """Rows that may be out at the first or the last sample."""
    return max(float(out_rows[:ENDS].max()), float(out_rows[-ENDS:].max()), BATCH_ROWS)


def mix(recording: Recording) -> dict[str, float]:
    """Share of each stream in what arrived, adding up to 1."""
    items = {rate.stream: rate.items for rate in rates(recording)}
    total = sum(items.values())
    if not total:
        raise CapsimError(f"{recording.name}: nothing arrived while it was recorded; record a time with load")
    shares = {stream: round(count / total, 6) for stream, count in items.items()}
    largest = max(shares, key=lambda stream: shares[stream])
    shares[largest] = round(shares[largest] + 1 - sum(shares.values()), 6)
    return shares


def load_trace(recording: Recording) -> Trace:
    """The load as counts in bins of the cadence, all streams together.

    Between two processes nothing is known: a gap. Where samples are missing the number that came is known, and is
    spread evenly (a note says so).
    """
    width_us = max(round(recording.every_s * 1e6), 1_000_000)
    starts: list[NDArray[np.int64]] = []
    counts: list[NDArray[np.int64]] = []
    notes = list(recording.notes)
    for part in arrivals(recording):
        first, last = math.ceil(part.time_s[0] * 1e6 / width_us), math.floor(part.time_s[-1] * 1e6 / width_us)
        if last <= first:
            continue
        if last - first > MOST_BINS:
            raise CapsimError(
                f"{recording.name}: {last - first:,} bins of {width_us / 1e6:g} s are too many for a load; cut it"
            )
        edges = np.arange(first, last + 1, dtype=np.int64) * width_us
        told = np.floor(np.interp(edges / 1e6, part.time_s, part.requests) + 1e-9).astype(np.int64)
        starts.append(edges[:-1])
        counts.append(np.diff(told))
        holes = np.diff(part.time_s)
        if (holes > LONG_GAP_S).any():
            notes.append(
                f"{int((holes > LONG_GAP_S).sum())} stretches of more than {LONG_GAP_S:g} s without samples: what came "
                "in them is known and spread evenly, which is assumed."
            )
    if not starts:
        raise CapsimError(f"{recording.name}: too short for a load; record for longer")
    return Trace.from_counts(
        _stem(recording.name),
        np.concatenate(starts) + recording.start_us,
        np.concatenate(counts),
        width_us,
        source=recording.source,
        sha256=recording.sha256,
        notes=tuple(notes),
    )


def _stem(name: str) -> str:
    return name.rsplit(".", 1)[0] or name


def table(recording: Recording) -> pd.DataFrame:
    """`rates` as a table."""
    return pd.DataFrame([vars(rate) for rate in rates(recording)])

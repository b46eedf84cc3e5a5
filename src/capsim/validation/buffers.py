"""Rows that a measured server kept: its writers played again on the recorded requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from capsim.base.units import MIB, US_PER_MS, us_from_s
from capsim.memory.kit import Flushes, replay
from capsim.validation.oracle import Case, Config, OracleWindow, Script
from capsim.validation.oracle_model import play
from capsim.workload.companion import Run, Stall

Floats = NDArray[np.float64]

STREAMS = ("events", "revenue", "heartbeats")
_WRITER: Mapping[str, Literal["event", "revenue", "heartbeat"]] = {
    "events": "event",
    "revenue": "revenue",
    "heartbeats": "heartbeat",
}
_SAMPLE_STEP_MS = 50


@dataclass(frozen=True)
class _Schedule(Flushes):
    """Flushes with any number of stalls."""

    stalls: tuple[Stall, ...] = ()

    def lasts_s(self, start_s: float) -> float:
        """Duration of a flush that starts then [s]."""
        for stall in self.stalls:
            if stall.from_s <= start_s < stall.from_s + stall.length_s:
                return stall.flush_s
        return self.usual_s


def retained(t_s: Floats, requests: Floats, run: Run, insert_row_bytes: float) -> tuple[Floats, Floats]:
    """Bytes [MiB] and rows that the program keeps at each sample.

    Parameters
    ----------
    t_s, requests : array, shape (n,)
        Times [s] and requests served up to them; between two samples they are taken as even.
    run : Run
        Rules, mix and stalls of the server. A leaking program keeps every record.
    insert_row_bytes : float
        Text and parameters of a row in a flush [bytes].

    Returns
    -------
    tuple of array, shape (n,)
        MiB and rows, buffered or out in a flush.

    Examples
    --------
    >>> t = np.arange(11.0)
    >>> mib, rows = retained(t, 10 * t, Run(name="x", kind="leak"), 0)
    >>> float(rows[-1])
    100.0
    """
    if run.kind == "leak":
        return requests * run.row_bytes.events / MIB, requests
    mib, rows = np.zeros(len(t_s)), np.zeros(len(t_s))
    for stream in STREAMS:
        share = getattr(run.mix, stream)
        if not share:
            continue
        if run.writer.rules == "kit":
            flushes = _Schedule(usual_s=run.writer.flush_ms / 1000, stalls=run.stalls)
            cap = np.inf if run.writer.buffer_cap_rows == "none" else float(run.writer.buffer_cap_rows)
            held = replay(t_s, share * requests, flushes, cap)
            buffered, flying = held.buffered, held.in_flight
        else:
            buffered, flying = _production(arrival_times(t_s, share * requests), t_s, run, stream)
        row = getattr(run.row_bytes, stream)
        mib += (buffered * row + flying * (row + insert_row_bytes)) / MIB
        rows += buffered + flying
    return mib, rows


def arrival_times(t_s: Floats, requests: Floats) -> Floats:
    """A time for every request, spread evenly between the samples [s].

    Examples
    --------
    >>> arrival_times(np.array([0.0, 1.0, 2.0]), np.array([0.0, 0.0, 2.0])).tolist()
    [1.5, 2.0]
    """
    counts = np.diff(np.round(requests)).astype(np.int64)
    interval = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(interval)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    times: Floats = t_s[interval] + place / counts[interval] * np.diff(t_s)[interval]
    return times


def _production(arrivals: Floats, samples: Floats, run: Run, stream: str) -> tuple[Floats, Floats]:
    """The production writers (``seed``, ``fixed``), played by the simulation itself."""
    spec = run.writer
    assert spec.rules != "kit"
    if not len(arrivals):
        return np.zeros(len(samples)), np.zeros(len(samples))
    case = Case(
        id=run.name,
        writer=_WRITER[stream],
        semantics=spec.rules,
        config=Config(
            batch_size=spec.batch_rows,
            batch_delay_ms=spec.delay_ms,
            buffer_cap=None if spec.buffer_cap_rows == "none" else spec.buffer_cap_rows,
        ),
        arrivals_ms=tuple((arrivals * 1000).astype(np.int64).tolist()),
        db=Script(
            durations_ms=(max(1, round(spec.flush_ms)),),
            outcomes=("ok",),
            repeat="last",
            windows=tuple(
                OracleWindow(
                    from_ms=us_from_s(stall.from_s) // US_PER_MS,
                    to_ms=us_from_s(stall.from_s + stall.length_s) // US_PER_MS,
                    duration_ms=us_from_s(stall.flush_s) // US_PER_MS,
                )
                for stall in run.stalls
            ),
        ),
        sample_step_ms=_SAMPLE_STEP_MS,
        expected={},
    )
    # Columns of a sample: t, buffer, flushed, failed, dropped, whether a flush is out.
    rows = np.asarray(play(case)["samples"]["rows"], np.int64)
    state = rows[np.searchsorted(rows[:, 0], samples * 1000, side="right") - 1]
    # The state at the last step of 50 ms: what has arrived since is not in it, so it is not asked for here.
    arrived = np.searchsorted(arrivals * 1000, state[:, 0] + 1)
    flying = np.where(state[:, 5] == 1, arrived - state[:, 1] - state[:, 2] - state[:, 4], 0).clip(min=0)
    return state[:, 1].astype(np.float64), flying.astype(np.float64)

"""The stretches of a recording that are simulated: the recorded load and buffers, a warm-up before, samples to compare.

A week at 5 s holds more than a fit needs or has time for: stretches of half an hour, evenly over the time, as many as a
budget of simulated steps allows. The choice depends on the recording alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capsim.base.errors import CapsimError
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from capsim.workload.recordings.load import Arrivals, arrivals
from capsim.workload.recordings.model import Recording

Floats = NDArray[np.float64]

STRETCH_S = 1_800.0
WARM_UP_S = 900.0  # simulated before a stretch: several full collections at any load that matters
REQUESTS_A_STEP = 100.0  # about one scavenge; half of what the published constants give
FEWEST = 30  # samples of a stretch
MAIN = "events"  # the stream whose rows weigh
LARGE_TAKE = 300.0  # rows: less than a MiB, and there are too many of them
SHARE = 0.6  # of the requests that are events; what is put between samples needs no better
LEVEL = 11  # samples that are taken together for the level of a buffer that is written between any two
NEEDED = ("rss_mib", "heap_total_mib", "heap_used_mib")


@dataclass(frozen=True)
class Segment:
    """Part of one process's life.

    Attributes
    ----------
    time_s : array, shape (n,)
        Since the first sample of the recording [s]; the warm-up first.
    requests : array, shape (n,)
        That had come by then.
    rows : dict of str to array
        In the buffer of each stream, as recorded; out in a flush as far as the totals show.
    out_rows : dict of str to array
    seen : bool array, shape (n,)
        Which of the instants are compared.
    measured : array, shape (3, m)
        rss, heapTotal and heapUsed at those [MiB].
    young : bool
        Whether it begins with the process.
    """

    time_s: Floats
    requests: Floats
    rows: dict[str, Floats]
    out_rows: dict[str, Floats]
    seen: NDArray[np.bool_]
    measured: Floats
    young: bool

    @property
    def steps(self) -> float:
        """About how many events a simulation of it has."""
        return len(self.time_s) + float(self.requests[-1] - self.requests[0]) / REQUESTS_A_STEP

    @property
    def rate_hz(self) -> Floats:
        """Requests a second in the step before each instant that is compared [1/s]."""
        steps = np.diff(self.time_s)
        rate = np.diff(self.requests) / np.maximum(steps, 1e-9)
        return np.append(rate[:1], rate)[self.seen]


def stretches(
    recording: Recording, budget: float, scenario: Scenario, from_s: float = 0.0, to_s: float = math.inf
) -> list[Segment]:
    """Stretches of a recording, evenly over its time.

    Parameters
    ----------
    recording : Recording
    budget : float
        Events that one simulation of all of them may have.
    scenario : Scenario
        How long an insert takes.
    from_s, to_s : float
        The time whose samples are compared; what lies before it is warm-up.

    Raises
    ------
    CapsimError
        If samples have no memory, or there are too few.
    """
    for column in NEEDED:
        if recording.samples[column].isna().all():
            raise CapsimError(f"{recording.name}: tells no {column.removesuffix('_mib')}; a fit needs memory.rss, "
                              "heapTotal and heapUsed")  # fmt: skip
    found = [s for part in _processes(recording, scenario, from_s, to_s) for s in part]
    if not found:
        raise CapsimError(
            f"{recording.name}: no process with {FEWEST} samples in a row that tell memory; record for longer"
        )
    mean_steps = float(np.mean([stretch.steps for stretch in found]))
    count = int(np.clip(budget / mean_steps, 1, len(found)))
    picked = np.unique(np.linspace(0, len(found) - 1, count).round().astype(int))
    return [found[i] for i in picked]


def _insert_s(scenario: Scenario) -> tuple[float, float]:
    """Median time of an insert, and what each row adds [s]."""
    law = scenario.database.insert
    return law.call_ms / 1_000, law.row_ms / 1_000


def _processes(recording: Recording, scenario: Scenario, from_s: float, to_s: float) -> list[list[Segment]]:
    out = []
    told = {part.process: part for part in arrivals(recording)}
    insert_s = _insert_s(scenario)
    writers = {s: getattr(scenario.server.writers, s) for s in STREAMS}
    batches: dict[str, tuple[float, float]] = {s: (float(w.batch_rows), w.delay_ms / 1_000) for s, w in writers.items()}
    for process, table in recording.samples.groupby("process", sort=True):
        part = told[int(str(process))]
        times = part.time_s
        if len(times) < FEWEST:
            continue
        first_s, last_s = max(float(times[0]), from_s), min(float(times[-1]), to_s)
        if last_s <= first_s:
            continue
        count = max(1, round((last_s - first_s) / STRETCH_S))
        edges = np.linspace(first_s, last_s, count + 1)
        memory = table[list(NEEDED)].to_numpy(np.float64).T
        waiting = {s: table[f"{s}_buffer_rows"].ffill().bfill().fillna(0.0) for s in STREAMS}
        buffers: dict[str, Floats] = {s: rows.to_numpy(np.float64) for s, rows in waiting.items()}
        uptime = table["uptime_s"].to_numpy(np.float64)
        row = []
        for i in range(count):
            before = times <= edges[i + 1] if i == count - 1 else times < edges[i + 1]
            inside = (times >= edges[i]) & before
            whole = inside & ~np.isnan(memory).any(axis=0)
            if whole.sum() < FEWEST:
                continue
            row.append(_stretch(part, buffers, memory, uptime, whole, edges[i], edges[i + 1], insert_s, batches))
        out.append(row)
    return out


def _stretch(
    part: Arrivals,
    buffers: dict[str, Floats],
    memory: Floats,
    uptime: Floats,
    whole: NDArray[np.bool_],
    from_s: float,
    to_s: float,
    insert_s: tuple[float, float],
    batches: dict[str, tuple[float, float]],
) -> Segment:
    times, requests = part.time_s, part.requests
    used = (times >= from_s - WARM_UP_S) & (times <= to_s)
    first = int(np.argmax(used))
    lead_s, lead_requests, young = 0.0, 0.0, False
    if first == 0:
        lead_s, lead_requests, young = _lead(times, requests, uptime)
    elif times[first] > from_s - 0.5 * WARM_UP_S:
        lead_s = WARM_UP_S
        lead_requests = lead_s * _rate(times[first:], requests[first:])
    time_s, total = times[used], requests[used]
    rows: dict[str, Floats] = {s: buffers[s][used] for s in STREAMS}
    # A writer with a full batch in its buffer would write it, if it had none out: in a stall no total shows that one.
    # It is a batch, or what came until the timer went off.
    told: dict[str, Floats] = {s: part.out_rows[s][used] for s in STREAMS}
    span_s = max(float(times[-1] - times[0]), 1e-9)
    out_rows: dict[str, Floats] = {}
    for s, (batch_rows, delay_s) in batches.items():
        came_hz = float(part.arrived[s][-1] - part.arrived[s][0]) / span_s
        likely = min(batch_rows, came_hz * delay_s)
        out_rows[s] = np.maximum(told[s], np.where(rows[s] > batch_rows, likely, 0.0))
    # They have come already, though no total will tell so until the flush ends.
    total = np.maximum.accumulate(total + np.sum([out_rows[s] - told[s] for s in STREAMS], axis=0))
    seen = whole[used]
    grew = np.diff(total, prepend=total[0]) * SHARE
    for s, (batch_rows, _) in batches.items():
        rows[s] = _levelled(rows[s], out_rows[s], grew, batch_rows)
    time_s, total, rows, out_rows, seen = _with_takes(
        time_s, total, rows, out_rows, seen, insert_s, 1.5 * batches[MAIN][0]
    )
    if lead_s > 0:
        lead = np.arange(-lead_s, -1e-9, min(5.0, lead_s))
        time_s = np.append(time_s[0] + lead, time_s)
        total = np.append(total[0] + lead * lead_requests / lead_s, total)
        ahead = len(lead)
        rows = {s: np.append(np.full(ahead, r[0]), r) for s, r in rows.items()}
        out_rows = {s: np.append(np.zeros(ahead), r) for s, r in out_rows.items()}
        seen = np.append(np.zeros(ahead, bool), seen)
    return Segment(time_s, total, rows, out_rows, seen, memory[:, whole], young)


def _levelled(rows: Floats, out_rows: Floats, grew: Floats, batch_rows: float) -> Floats:
    """Rows in a buffer that was written between any two samples: their mean over a minute or so.

    What a sample saw says nothing of the time around it there, and a heap that was led from one such number to the next
    would keep their peaks.
    """
    width = min(LEVEL, len(rows))
    window = np.ones(width)
    level = np.convolve(rows + out_rows, window, "same") / np.convolve(np.ones(len(rows)), window, "same")
    beyond = (rows + out_rows > 1.2 * batch_rows) | (grew < batch_rows)
    near = np.convolve(beyond, window, "same") > 0
    return np.where(near, rows, np.maximum(level - out_rows, 0.0))


def _with_takes(
    time_s: Floats,
    total: Floats,
    rows: dict[str, Floats],
    out_rows: dict[str, Floats],
    seen: NDArray[np.bool_],
    insert_s: tuple[float, float],
    batch_rows: float,
) -> tuple[Floats, Floats, dict[str, Floats], dict[str, Floats], NDArray[np.bool_]]:
    """Put in when a large buffer of events was taken between two samples, and how long it was out.

    Between samples rows are straight lines; a buffer of thousands that is written between two of them was not: it grew
    until it was taken, was out for the time that an insert of so many rows takes, and was gone.
    """
    held, out = rows[MAIN], out_rows[MAIN]
    width, grew = np.diff(time_s), np.diff(total)
    rate = SHARE * grew / np.maximum(width, 1e-9)
    fall = held[:-1] + out[:-1] + SHARE * grew - held[1:]
    # Many batches in a row take as much; they never let a buffer grow beyond one.
    grown = held[:-1] + out[:-1] > batch_rows
    large = grown & (fall > LARGE_TAKE) & (out[1:] < 0.1 * fall) & (rate > 0)
    if not large.any():
        return time_s, total, rows, out_rows, seen
    at = np.flatnonzero(large)
    flush_s = np.minimum(insert_s[0] + insert_s[1] * fall[at], 0.9 * width[at])
    taken = np.clip(time_s[at + 1] - held[at + 1] / rate[at], time_s[at] + 1e-3, time_s[at + 1] - flush_s - 1e-3)
    new_s = np.array([taken - 1e-4, taken, taken + flush_s, taken + flush_s + 1e-4]).T.ravel()
    place = np.repeat(at + 1, 4)
    before = held[at] + out[at] + rate[at] * (taken - time_s[at])
    kept = np.array([before, 0 * before, rate[at] * flush_s, rate[at] * flush_s]).T.ravel()
    flying = np.array([0 * before, before, before, 0 * before]).T.ravel()

    def put(values: Floats, new: Floats | None = None) -> Floats:
        return np.insert(values, place, np.interp(new_s, time_s, values) if new is None else new)

    rows = {s: put(r, kept if s == MAIN else None) for s, r in rows.items()}
    out_rows = {s: put(r, flying if s == MAIN else None) for s, r in out_rows.items()}
    return np.insert(time_s, place, new_s), put(total), rows, out_rows, np.insert(seen, place, False)


def _lead(times: Floats, requests: Floats, uptime: Floats) -> tuple[float, float, bool]:
    """Time and requests from the start of the process, or of a warm-up, to its first sample."""
    rate = _rate(times, requests)
    told = np.isfinite(uptime)
    if told.any() and uptime[told][0] <= WARM_UP_S:
        # Whole minutes are cut off: each sample bounds the start, and the one at which the minute turns bounds it well.
        cut = 60.0 if (uptime[told] % 60 == 0).all() else 0.0
        latest = float((times[told] - uptime[told]).min())
        earliest = float((times[told] - uptime[told] - cut).max())
        # The totals count from the start, so the requests are exact.
        return max(float(times[0]) - (latest + min(earliest, latest)) / 2, 0.1), float(requests[0]), True
    return WARM_UP_S, WARM_UP_S * rate, False


def _rate(times: Floats, requests: Floats) -> float:
    near = times <= times[0] + WARM_UP_S
    span = float(times[near][-1] - times[0])
    return float(requests[near][-1] - requests[0]) / span if span else 0.0


def measured(parts: Sequence[Segment]) -> Floats:
    """rss, heapTotal, heapUsed of all stretches in a row [MiB], shape (3, n)."""
    return np.concatenate([part.measured for part in parts], axis=1)

"""The stretches of a recording, simulated with given constants, and sampled and rounded as the server does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from capsim.base import rng
from capsim.base.units import MIB
from capsim.memory.constants import PUBLISHED as value
from capsim.memory.heap import Process, simulate
from capsim.memory.server import process_of
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from capsim.telemetry.calibration.segments import Segment
from capsim.telemetry.calibration.statistics import Statistics

Floats = NDArray[np.float64]

REQUEST_CV = 0.6  # of the allocation of single requests; assumed: events, revenue, heartbeats are 1545, 423, 168 bytes
ROW_KEYS = {"events": "event_row_bytes", "revenue": "revenue_row_bytes", "heartbeats": "heartbeat_row_bytes"}


def process_with(scenario: Scenario, constants: Mapping[str, float], rate_hz: float) -> Process:
    """The server's process with these constants; cap, semi-space and Node are the scenario's."""
    base = process_of(scenario, rate_hz)
    later = scenario.server.node.version == 24
    return replace(
        base,
        live_mib=constants["live_base_mib"] + later * value("node24_live") + scenario.server.node.loaded_mib,
        allocated_kib=constants["allocated_request_kib"],
        promoted_kib=constants["promoted_request_kib"],
        off_heap_mib=constants["server_off_heap_mib"] + later * value("node24_off_heap"),
        file_mib=constants["server_file_mib"] + later * value("node24_file"),
        off_heap_share=0.0,  # was fitted on processes that grew to their cap; at ordinary sizes it is in off_heap_mib
        speed_sigma=value("speed_sigma"),
    )


def retained_mib(part: Segment, constants: Mapping[str, float]) -> Floats:
    """Bytes that the recorded rows keep alive at each instant [MiB]."""
    text = value("insert_text_row")
    held = np.zeros(len(part.time_s))
    for stream in STREAMS:
        row = constants[ROW_KEYS[stream]]
        held += part.rows[stream] * row + part.out_rows[stream] * (row + text)
    return held / MIB


def uneven(requests: Floats, seed: int) -> Floats:
    """Requests weighed by what each of them allocates, which differs from one to the next.

    The sum over a step of n requests varies by `REQUEST_CV` / sqrt(n) of itself; so the phase of the saw-tooth is lost
    in time, as it is in a real server.
    """
    steps = np.maximum(np.diff(requests), 0.0)
    normal = rng.generator(seed, 0, "calibrate/requests").standard_normal(len(steps))
    weighed = np.maximum(steps + REQUEST_CV * np.sqrt(steps) * normal, 0.0)
    out: Floats = requests[0] + np.append(0.0, np.cumsum(weighed))
    return out


class Simulator:
    """What a server with given constants would have told while this load came.

    Parameters
    ----------
    scenario : Scenario
        Cap, container, Node.
    parts : sequence of Segment
    step_mib : float
        What the server rounds sizes to [MiB]; 0 for not at all.
    """

    def __init__(self, scenario: Scenario, parts: Sequence[Segment], step_mib: float) -> None:
        self.scenario, self.parts, self.step_mib = scenario, list(parts), step_mib
        self.statistics = Statistics(parts)
        self.rates_hz = [
            float((p.requests[-1] - p.requests[0]) / max(p.time_s[-1] - p.time_s[0], 1e-9)) for p in self.parts
        ]

    def samples(self, constants: Mapping[str, float], seed: int) -> Floats:
        """rss, heapTotal and heapUsed at the compared instants, rounded [MiB], shape (3, n).

        A process that dies on the way stays at its last values: far from anything measured.
        """
        out = []
        for number, (part, rate) in enumerate(zip(self.parts, self.rates_hz, strict=True)):
            process = process_with(self.scenario, constants, rate)
            kept = retained_mib(part, constants)
            address = 1_000 * seed + number
            table = _followed(part.time_s, uneven(part.requests, address), kept, process, address)
            out.append(table[:, part.seen])
        samples = np.concatenate(out, axis=1)
        return np.round(samples / self.step_mib) * self.step_mib if self.step_mib else samples

    def numbers(self, constants: Mapping[str, float], seed: int) -> Floats:
        """The statistics of such samples."""
        return self.statistics.of(self.samples(constants, seed))


def _followed(time_s: Floats, requests: Floats, kept_mib: Floats, process: Process, seed: int) -> Floats:
    """Rss, heapTotal and heapUsed at each time [MiB], shape (3, n): compiled where numba is installed, else not."""
    try:
        from capsim.telemetry.calibration.heaps import follow, numbers_of
    except ModuleNotFoundError:
        run = simulate(time_s, requests, kept_mib, process, seed)
        table = run[["rss", "heap_total", "heap_used"]].to_numpy(np.float64).T
        return np.pad(table, ((0, 0), (0, len(time_s) - table.shape[1])), mode="edge")
    normals = rng.Table(seed, 0, "heap", "normal").block(0)
    uniforms = rng.Table(seed, 0, "heap reducer", "uniform").block(0)
    out: Floats = follow(time_s, requests, kept_mib, numbers_of(process), normals, uniforms)
    return out

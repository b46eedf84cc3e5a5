"""Recordings of servers whose constants are known: capsim's own writers and heap, sampled and rounded as the seed."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

from capsim.base.units import MIB
from capsim.engine.simulation import play
from capsim.memory.constants import PUBLISHED as value
from capsim.memory.heap import simulate
from capsim.scenario.columns import empty
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from capsim.telemetry.calibration.parameters import merged, published
from capsim.telemetry.calibration.simulator import process_with, uneven
from capsim.workload import Trace, load_of
from capsim.workload.recordings.metrics_response import VALUES
from capsim.workload.recordings.model import MISSED, Recording

EVERY_S = 5


def scenario_of(minutes: int = 30, stall_s: float = 120.0) -> Scenario:
    """A server whose load goes up and down, and whose database stalls once."""
    length_s = 60 * minutes
    fault = {"kind": "stall", "from_s": 0.5 * length_s, "to_s": 0.5 * length_s + stall_s}
    writer = {"semantics": "seed", "buffer_cap_rows": "none"}
    return Scenario.model_validate({
        "name": "twin", "workload": {"trace": "twin"}, "billing": {"from": "2026-02-03"},
        "server": {"writers": dict.fromkeys(STREAMS, writer), "node": {"semi_space_mib": 16}},
        "database": {"faults": [fault] if stall_s else [], "insert": {"call_ms": 40.0}},
    })  # fmt: skip


def trace_of(minutes: int) -> Trace:
    """From 10 to 130 requests a second and back, three times."""
    starts = np.arange(6 * minutes) * 10_000_000
    rate_hz = 70 - 60 * np.cos(2 * np.pi * np.arange(len(starts)) * 3 / len(starts))
    return Trace.from_counts("twin", starts, np.round(10 * rate_hz).astype(np.int64), 10_000_000)


@cache
def server_side(minutes: int = 30, stall_s: float = 120.0, seed: int = 0) -> pd.DataFrame:
    """What the writers held and wrote, second by second."""
    scenario = scenario_of(minutes, stall_s)
    load = load_of(scenario, trace_of(minutes), seed, 0)
    played, _ = play(scenario, load, seed=seed, replicate=0, resolution_s=1.0, keep=False, progress=None)
    return played.samples()


def twin(
    logs: np.ndarray, parameters, heap_seed: int, *, minutes: int = 30, stall_s: float = 120.0, rounding: bool = True
) -> Recording:
    """A recording of a server with these constants, from its start on."""
    scenario = scenario_of(minutes, stall_s)
    table = server_side(minutes, stall_s)
    constants = merged(published(scenario), parameters, logs)
    seconds = np.append(0.0, np.cumsum(table["width_s"]))
    # V8 looks at throughput over seconds; single seconds of Poisson arrivals would switch new space on and off.
    told = np.arange(0, len(seconds), EVERY_S)
    came = np.append(0.0, np.cumsum(table["requests"]))
    requests = np.interp(seconds, seconds[told], uneven(came[told], heap_seed))
    held, text = np.zeros(len(seconds)), value("insert_text_row")
    keys = {"events": "event_row_bytes", "revenue": "revenue_row_bytes", "heartbeats": "heartbeat_row_bytes"}
    middles = (seconds[1:] + seconds[:-1]) / 2  # a mean over a second is what was held in its middle
    for stream in STREAMS:
        row = constants[keys[stream]]
        buffered = np.interp(seconds, middles, table[f"{stream}_buffer_mean_rows"])
        out = np.interp(seconds, middles, table[f"{stream}_in_flight_mean_rows"])
        held += (buffered * row + out * (row + text)) / MIB
    rate = requests[-1] / seconds[-1]
    run = simulate(seconds, requests, held, process_with(scenario, constants, rate), heap_seed)
    at = np.arange(EVERY_S, len(run), EVERY_S)
    samples = pd.DataFrame({"time_s": seconds[at] - EVERY_S, "process": 0})
    whole = np.round if rounding else (lambda x: x)
    for column, name in (("rss", "rss_mib"), ("heap_total", "heap_total_mib"), ("heap_used", "heap_used_mib")):
        samples[name] = whole(run[column].to_numpy()[at])
    samples["uptime_s"] = np.floor(seconds[at] / 60) * 60
    for stream in STREAMS:
        written = np.append(0, np.cumsum(table[f"{stream}_written_rows"]))[at]
        arrived = np.append(0, np.cumsum(table[f"{stream}_arrived"]))[at]
        out = np.append(0.0, table[f"{stream}_in_flight_mean_rows"])[at].round()
        samples[f"{stream}_flushed"], samples[f"{stream}_dropped"] = written, 0.0
        samples[f"{stream}_buffer_rows"] = np.maximum(arrived - written - out, 0)
    samples = samples.reindex(columns=["time_s", "process", *VALUES])
    return Recording(
        name="twin.jsonl", source="http://twin/api/metrics", sha256="0" * 64, start_us=1_767_571_200_000_000,
        every_s=EVERY_S, samples=samples.astype({"process": "int64"}), missed=empty(MISSED),
    )  # fmt: skip

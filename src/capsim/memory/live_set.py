"""Live bytes of the server's heap: rows that wait in buffers and rows that are out in a flush."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from capsim.base.units import MIB
from capsim.memory import component_memory as parts
from capsim.memory.constants import PUBLISHED, Values
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Live:
    """Retained bytes of each bin [MiB]: time average, largest, and a path through the bin's ends."""

    mean_mib: Floats
    max_mib: Floats
    start_mib: Floats
    end_mib: Floats
    lasting_mib: Floats  # the largest but for results, which are gone in the time that their text takes


def row_bytes(scenario: Scenario, value: Values = PUBLISHED) -> dict[str, float]:
    """Bytes of heap that one buffered row of each stream holds.

    The writers with semantics ``fixed`` and ``recommended`` keep heartbeats in a Map, which costs more than an array.

    Examples
    --------
    >>> s = Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing={"from": "2026-02-03"})
    >>> row_bytes(s)["events"]
    2387
    """
    fixed = scenario.server.writers.heartbeats.keyed
    return {
        "events": value("event_row"),
        "revenue": value("revenue_row"),
        "heartbeats": value("heartbeat_map_row" if fixed else "heartbeat_row"),
    }


def base_mib(scenario: Scenario, value: Values = PUBLISHED) -> float:
    """Live bytes of the idle program, with what it has loaded for good [MiB]."""
    node = scenario.server.node
    return value("live_base") + (node.version == 24) * value("node24_live") + node.loaded_mib


def retained(samples: pd.DataFrame, scenario: Scenario, value: Values = PUBLISHED) -> Live:
    """Bytes that buffers and flushes keep alive, bin by bin.

    Parameters
    ----------
    samples : DataFrame
        Columns of `capsim.scenario.columns.SAMPLES`.
    scenario : Scenario

    Returns
    -------
    Live
        A row in flight costs its record and its share of the INSERT text [MiB]. Rows whose record is larger
        or smaller than the measured one (1,545, 423 and 168 bytes of JSON) cost about their JSON + 842,
        665, 162 bytes instead.
    """
    text = value("insert_text_row")
    rows = row_bytes(scenario, value)
    mean, low, high = (np.zeros(len(samples)) for _ in range(3))
    for stream in STREAMS:
        out = rows[stream] + text
        column = {c: samples[f"{stream}_{c}"].to_numpy(np.float64) for c in _COLUMNS}
        flying = column["in_flight_mean_rows"] * out
        mean += column["buffer_mean_rows"] * rows[stream] + flying
        low += column["buffer_min_rows"] * rows[stream]
        high += column["buffer_max_rows"] * rows[stream] + column["in_flight_max_rows"] * out
    others = parts.held(samples, scenario, value)
    lasting = np.maximum(high / MIB + others.lasting_mib, mean / MIB)
    mean, low, high = mean / MIB + others.mean_mib, low / MIB, high / MIB + others.max_mib
    high = np.maximum(high, mean)
    # What two neighbours share lies inside the range of both: the middle of their means, moved into it.
    ends = np.append((mean[:-1] + mean[1:]) / 2, mean[-1:])
    floor = np.append(np.maximum(low[:-1], low[1:]), low[-1:])
    ceiling = np.append(np.minimum(high[:-1], high[1:]), high[-1:])
    ends = np.clip(ends, np.minimum(floor, ceiling), ceiling)
    starts = np.append(mean[:1], ends[:-1])
    return Live(mean, high, starts, ends, lasting)


_COLUMNS = (
    "buffer_mean_rows",
    "buffer_min_rows",
    "buffer_max_rows",
    "in_flight_mean_rows",
    "in_flight_max_rows",
)

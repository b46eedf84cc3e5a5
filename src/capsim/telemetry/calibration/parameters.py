"""Which constants can be fitted to samples of memory, and within which bounds they are looked for."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from capsim.base.errors import CapsimError
from capsim.memory.constants import PUBLISHED as value
from capsim.scenario.constants import NAMES
from capsim.scenario.scenario import Scenario

Floats = NDArray[np.float64]


class FitParameter(NamedTuple):
    """A key of ``[constants]`` that can be fitted: what it may be before any sample is seen, and what shows it."""

    key: str
    low: float
    high: float
    shown_by: str


PARAMETERS = (
    FitParameter("live_base_mib", 3.0, 80.0, "level of the heap after collections"),
    FitParameter("allocated_request_kib", 4.0, 200.0, "load from which new space is large, and how soon it gets there"),
    FitParameter("promoted_request_kib", 0.4, 60.0, "slope of the heap between full collections, per request"),
    FitParameter("server_off_heap_mib", 0.5, 100.0, "resident memory less heapTotal"),
    FitParameter("server_file_mib", 5.0, 150.0, "resident memory less heapTotal"),
    FitParameter("event_row_bytes", 200.0, 20_000.0, "heap against rows in the buffer"),
    FitParameter("revenue_row_bytes", 100.0, 20_000.0, "heap against rows in the buffer"),
    FitParameter("heartbeat_row_bytes", 50.0, 20_000.0, "heap against rows in the buffer"),
)
"""Bounds are wide: a small program with small requests to one that loads much and copies every body. On the scale of
logarithms every value between them is as likely as the next before a sample is seen."""

DEFAULT = (
    "live_base_mib",
    "allocated_request_kib",
    "promoted_request_kib",
    "server_off_heap_mib",
    "event_row_bytes",
)
USAGE = (
    FitParameter("request_cpu_factor", 0.05, 50.0, "CPU against what the recorded requests cost the measured server"),
    FitParameter("server_idle_vcpu", 1e-4, 2.0, "CPU where no requests come"),
    FitParameter("server_cache_mib", 1.0, 1_000.0, "billed memory of the server less resident"),
    FitParameter("server_cache_request_bytes", 10.0, 200_000.0, "growth of it, per request"),
    FitParameter("event_stored_bytes", 100.0, 100_000.0, "growth of the memory of Postgres, per event"),
)
"""Constants that Railway's metrics show (`capsim.telemetry.calibration.usage`)."""

BY_USAGE = "give an export of Railway's metrics with --usage"
UNTOLD = {
    "request_cpu_factor": f"CPU of a request: /api/metrics tells no CPU; {BY_USAGE}",
    "page cache": f"memory of files: outside of the process, so not in rss; {BY_USAGE}",
    "server.http.*_cpu_ms": "the part of a request's CPU that holds the loop: no metric tells it from the collector's",
    "database.insert.sigma": "spread of the flush latency: samples seconds apart show its mean only",
    "server.pool.*": "waiting for a connection: told by no counter",
}
"""What no fit to these samples can tell, and why."""


def chosen(keys: Sequence[str]) -> tuple[FitParameter, ...]:
    """The parameters of these names.

    Raises
    ------
    CapsimError
        If one is unknown, or named twice.

    Examples
    --------
    >>> [p.key for p in chosen(["live_base_mib"])]
    ['live_base_mib']
    """
    known = {parameter.key: parameter for parameter in PARAMETERS}
    for key in keys:
        short = key.removeprefix("constants.")
        if short not in known:
            if short in {parameter.key for parameter in USAGE}:
                raise CapsimError(f"{key} is not fitted to these samples: {BY_USAGE}, and it is")
            untold = next((why for name, why in UNTOLD.items() if key.startswith(name.split("*")[0])), None)
            if untold:
                raise CapsimError(f"{key} cannot be fitted to these samples: {untold}")
            near = difflib.get_close_matches(short, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise CapsimError(f"{key} is no constant that can be fitted; {hint}known are {', '.join(known)}")
    names = [key.removeprefix("constants.") for key in keys]
    if len(set(names)) < len(names) or not names:
        raise CapsimError("the constants to fit are named twice or not at all; name each once")
    return tuple(known[name] for name in names)


def published(scenario: Scenario) -> dict[str, float]:
    """Every constant of `PARAMETERS` as the scenario has it now."""
    own = scenario.constants.given() if scenario.constants else {}
    return {p.key: own.get(NAMES[p.key], value(NAMES[p.key])) for p in PARAMETERS}


def merged(base: Mapping[str, float], parameters: Sequence[FitParameter], logs: Floats) -> dict[str, float]:
    """All constants, those that are fitted taken from their logarithms."""
    return {**base, **{p.key: float(np.exp(x)) for p, x in zip(parameters, logs, strict=True)}}


def bounds(parameters: Sequence[FitParameter]) -> Floats:
    """Logarithms of the bounds, shape (2, n)."""
    return np.log([[p.low for p in parameters], [p.high for p in parameters]])

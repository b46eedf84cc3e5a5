"""A scenario and its recorded load as they go together: the map applied, mix and rate of reads as the log has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from capsim.base.units import US_PER_S
from capsim.scenario.request_kinds import KINDS, READ
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS, WorkloadSpec
from capsim.workload.model import Trace
from capsim.workload.read import TraceLike, as_trace, find_traces, read_requests
from capsim.workload.request_map import mapped
from capsim.workload.requests import NoPaths


def read_load(given: TraceLike, workload: WorkloadSpec) -> Trace:
    """A recorded load, with what each request is if the workload has a map and it is read here from a log that says.

    Parameters
    ----------
    given : Trace, str, Path, sequence of these, or table of pandas
        As for `capsim.workload.as_trace`.

    Raises
    ------
    TraceError
        As `capsim.workload.read_trace`.

    Examples
    --------
    >>> read_load("game-day", WorkloadSpec(trace="game-day", requests={"POST /api/events": "event"})).kinds is None
    True
    """
    if workload.requests is None or not isinstance(given, str | Path | list | tuple):
        return as_trace(given)
    paths = [path for one in ([given] if isinstance(given, str | Path) else given) for path in find_traces(one)]
    try:
        return mapped(read_requests(paths), workload.requests)
    except NoPaths as none:
        return none.trace


def as_recorded(scenario: Scenario, trace: Trace | None) -> Scenario:
    """The scenario with the mix and the rate of reads that a load has, if it is known what its requests are.

    Parameters
    ----------
    scenario : Scenario
        What it says of ``workload.mix`` and ``workload.queries_hz`` is for loads that do not tell.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from capsim.workload.model import Trace
    >>> trace = Trace.from_times("x", [0, 1_000_000, 2_000_000, 3_000_000], 1_000_000)
    >>> trace = replace(trace, kinds=np.array([0, 0, 2, 3], np.int8))
    >>> spec = Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing={"from": "2026-02-03"})
    >>> as_recorded(spec, trace).workload.queries_hz
    0.25
    """
    if trace is None or trace.kinds is None:
        return scenario
    often = np.bincount(trace.kinds, minlength=len(KINDS)).tolist()
    items = sum(often[:READ])
    if items:
        scenario = scenario.replace("workload.mix", {s: often[place] / items for place, s in enumerate(STREAMS)})
    return scenario.replace("workload.queries_hz", often[READ] / (trace.covered_us / US_PER_S))


def unused_map(scenario: Scenario, trace: Trace | None) -> list[str]:
    """A sentence if the scenario has a map that says nothing of its load."""
    if scenario.workload.requests is None or trace is None or trace.kinds is not None:
        return []
    return [
        f"[workload.requests] is not used: the load {trace.name} was read without what was asked; its requests are "
        "divided as [workload.mix] says"
    ]

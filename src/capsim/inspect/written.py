"""The scenario of a configuration: what `capsim inspect --write` writes."""

from __future__ import annotations

import datetime as dt
from typing import TypeVar

from capsim.inspect.effective import Effective
from capsim.inspect.unknown import Unknown
from capsim.scenario import load
from capsim.specs import Scenario
from capsim.units import LONGEST_S

BASE = "after-as-deployed"  # what no such file says (load, writers, database, prices) is this scenario's

T = TypeVar("T")


def scenario_of(effective: Effective, on: dt.date, plan: str, name: str) -> Scenario:
    """The scenario of a configuration: the knobs that it sets, and `BASE` for all else.

    Raises
    ------
    ScenarioError
        If a value is one that no server can have.
    """
    url = effective.url
    restarts = effective.restarts
    cap, swallows = effective.heap_cap_mib, effective.swallows_sigterm
    migrates = any("prisma migrate" in step.told for step in effective.started)
    base = load(BASE)
    knobs = {
        "name": name,
        "title": "As the platform applies the configuration that was read",
        "server.node.heap_cap_mib": cap if isinstance(cap, int) else "none",
        "server.pool.limit": (url.connection_limit if url else None) or "default",
        "server.pool.pool_timeout_s": _timeout_s(url.pool_timeout_s if url else None, 10),
        "server.pool.connect_timeout_s": _timeout_s(url.connect_timeout_s if url else None, 5),
        "server.process.migration_s": base.server.process.migration_s if migrates else 0.0,
        "server.process.handles_sigterm": swallows is None,
        "server.process.draining_s": _known(effective.draining_s, 0),
        "server.process.overlap_s": _known(effective.overlap_s, 0),
        "server.process.restarts_max": _known(restarts, ("", 10))[1],
        "server.process.replicas": _known(effective.replicas, 1),
        "billing.plan": plan,
        "billing.from": on,
    }
    for knob, value in knobs.items():
        base = base.replace(knob, value)
    return base


def _timeout_s(given: int | None, default: int) -> float:
    return float(default) if given is None else float(min(given or LONGEST_S, LONGEST_S))  # 0 waits for ever


def _known(value: T | Unknown, default: T) -> T:
    return default if isinstance(value, Unknown) else value

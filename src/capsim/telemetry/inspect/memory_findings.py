"""What follows for memory: the heap beside what the container may use."""

from __future__ import annotations

from collections.abc import Iterator

from capsim.base.units import GB, MIB
from capsim.memory.limits import node_defaults, safe_heap_cap_mib
from capsim.scenario.prices import limits_on
from capsim.telemetry.inspect.effective import Effective
from capsim.telemetry.inspect.finding import ConfigFinding
from capsim.telemetry.inspect.unknown import Unknown

_RULE = "half of the container's memory, at least 256 and at most 2,048 MiB, and 4,096 MiB from 15 GiB on"
_SET = "set NODE_OPTIONS=--max-old-space-size=... as a variable of the service"


def memory_findings(e: Effective, plan: str) -> Iterator[ConfigFinding]:
    """A cap that does not fit the container's limit, or none at all."""
    limit_mib, of = e.applied.limit_mib, "limitOverride"
    if limit_mib is None and e.on is not None and (limits := limits_on(plan, e.on)):
        limit_mib, of = float(limits.ram_gb) * GB / MIB, f"plan {plan}"
    cap = e.heap_cap_mib
    if isinstance(cap, Unknown):
        if e.server is None and isinstance(limit_mib, float) and of == "limitOverride":
            yield from _unknown_server(e, limit_mib)
        return
    if limit_mib is None or isinstance(limit_mib, Unknown):
        if cap is None:
            remedy = f"{_SET}; --on DATE compares the heap with the limit of the plan"
            yield ConfigFinding("no heap cap", "note", e.origin, f"V8 limits the heap by itself: {_RULE}", remedy)
        return
    if cap is None:
        yield _uncapped(e, limit_mib, of)
    elif cap > safe_heap_cap_mib(limit_mib):
        yield _too_close(e, cap, limit_mib, of)


def _unknown_server(e: Effective, limit_mib: float) -> Iterator[ConfigFinding]:
    """A note only: the server may cap itself, or be no Node program."""
    options = e.declared.variables.get("NODE_OPTIONS", "")
    heap_mib = node_defaults(limit_mib).heap_cap_mib
    if isinstance(options, Unknown) or "max" in options or heap_mib >= limit_mib / 2:
        return
    what = (
        f"the server is not known, and NODE_OPTIONS sets no cap: a Node program without one gets a heap of "
        f"{heap_mib:,.0f} MiB, of the {limit_mib:,.0f} MiB that the container may use (limitOverride)"
    )
    yield ConfigFinding("heap cap not seen", "note", e.origin, what, f"{_SET}, if it is a Node program")


def _too_close(e: Effective, cap: int, limit_mib: float, of: str) -> ConfigFinding:
    safe_mib, above = safe_heap_cap_mib(limit_mib), cap >= limit_mib
    room = "do not fit into" if above else f"leave {limit_mib - cap:.0f} MiB of"
    return ConfigFinding(
        "heap cap at or above the limit" if above else "heap cap just below the limit",
        "outage",
        e.origin,
        f"{cap} MiB {room} the container's {limit_mib:.0f} ({of}): a leak hangs the server before V8 gives up. It "
        "answers nothing, and nothing restarts it until a deploy",
        f"cap the heap at {safe_mib:.0f} MiB or less" if safe_mib else "raise the limit",
    )


def _uncapped(e: Effective, limit_mib: float, of: str) -> ConfigFinding:
    """Both numbers: what the container may use, and what V8 will."""
    heap_mib = node_defaults(limit_mib).heap_cap_mib
    both = f"V8 limits the heap to {heap_mib:,.0f} MiB by itself; the container may use {limit_mib:,.0f} MiB ({of})"
    if heap_mib > safe_heap_cap_mib(limit_mib):
        what = f"{both}, which is too close: a leak hangs the server before V8 gives up"
        return ConfigFinding("no heap cap", "outage", e.origin, what, "raise the memory limit, or cap the heap lower")
    left = 100 * (1 - heap_mib / limit_mib)
    what = f"{both}: {left:.0f} % of it can never be heap. V8's rule: {_RULE}"
    remedy = f"{_SET}, {safe_heap_cap_mib(limit_mib):.0f} at most; or buy less memory"
    bought = of == "limitOverride"  # a plan's limit costs nothing until it is used
    return ConfigFinding(
        "no heap cap", "outage" if bought and heap_mib < limit_mib / 2 else "note", e.origin, what, remedy
    )

"""What follows for memory: the heap beside what the container may use."""

from __future__ import annotations

from collections.abc import Iterator

from capsim.inspect.effective import Effective
from capsim.inspect.finding import Finding
from capsim.inspect.unknown import Unknown
from capsim.pricing import limits_on
from capsim.units import GB, MIB

HANG_MIB = 64.0  # a cap less than this below the limit hangs instead of aborting (capsim.memory.limits)


def memory_findings(e: Effective, plan: str) -> Iterator[Finding]:
    limit_mib, of = e.limit_mib, "limitOverride"
    if limit_mib is None and e.on is not None and (limits := limits_on(plan, e.on)):
        limit_mib, of = float(limits.ram_gb) * GB / MIB, f"plan {plan}"
    cap = e.heap_cap_mib
    if isinstance(cap, Unknown) or cap is None or limit_mib is None:
        return
    if cap >= limit_mib:
        yield Finding(
            "heap cap at or above the limit",
            "outage",
            e.origin,
            f"a heap of {cap} MiB does not fit into the container's {limit_mib:.0f} MiB ({of}): the platform kills "
            "it (137) before V8 collects in earnest",
            f"cap the heap at {int(limit_mib - HANG_MIB)} MiB or less",
        )
    elif limit_mib - cap < HANG_MIB:
        yield Finding(
            "heap cap just below the limit",
            "outage",
            e.origin,
            f"{cap} MiB leave {limit_mib - cap:.0f} MiB of the container's {limit_mib:.0f} ({of}): a leak hangs the "
            "server instead of ending it",
            f"cap the heap at {int(limit_mib - HANG_MIB)} MiB or less",
        )

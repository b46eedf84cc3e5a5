"""Collections of new space as a request meets them: how often they come, how long they take, what they cost.

A small container makes new space small (`limits`), so collections of it come up to sixteen times as often, and each is
shorter. Own series (Node 20.20.2, the kit's server, 500/s, quiet machine): 352 of 0.70 ms in 29 s with a half of 1 MiB
against 21 of 6.1 ms with 16, and 0.204 against 0.205 ms of CPU a request: what survives is copied either way. A process
that logged 10,000 lines a second took twice the CPU, 1.7 ms for each collection more: the cost depends on the program.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capsim.memory.constants import value
from capsim.memory.limits import cpu_quota, semi_space_mib
from capsim.specs import Scenario
from capsim.units import MIB

Floats = NDArray[np.float64]


def interval_mib(semi_mib: float | Floats) -> float | Floats:
    """Allocated from one collection of new space to the next [MiB], by the size of one half of it [MiB].

    It fills to 0.8, of which 0.19 is still there from the allocation before (`constants`).

    Examples
    --------
    >>> round(float(interval_mib(16.0)), 1), round(float(interval_mib(1.0)), 2)  # measured: 10.7 +-7 %
    (10.8, 0.67)
    """
    return value("scavenge_at") * semi_mib / (1 + value("scavenge_stays"))


def scavenge_interval_bytes(scenario: Scenario) -> float:
    """Bytes that the server allocates from one collection of a fully grown new space to the next.

    A request allocates some 33 KiB (``allocated_request``): every 334th waits for a collection with a half of 16 MiB,
    every 21st with one of 1 MiB.

    Examples
    --------
    >>> s = Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing={"from": "2026-02-03"})
    >>> small = s.replace("server.container.memory_limit_mib", 512)
    >>> [round(scavenge_interval_bytes(x) / 33 / 1024) for x in (s, small)]
    [334, 21]
    """
    return float(interval_mib(semi_space_mib(scenario))) * MIB


def scavenge_pause_ms(scenario: Scenario) -> float:
    """How long one collection of a fully grown new space stops the program [ms].

    Measured, one run each: 0.70, 2.43 and 6.1 ms with a half of 1, 4 and 16 MiB (the power law is 15 % low at 4); with
    64 MiB and 50 MiB live it took 144 ms, so where much survives it may be far longer. Under a quota of 0.2 CPU 9.7 ms
    instead of 6.1, which is all that is known of quotas.

    Examples
    --------
    >>> s = Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing={"from": "2026-02-03"})
    >>> small = s.replace("server.container.memory_limit_mib", 512)
    >>> [round(scavenge_pause_ms(x), 1) for x in (s, small, small.replace("server.container.cpu", 0.5))]
    [6.1, 0.7, 0.8]
    """
    quota = cpu_quota(scenario)
    alone = float(value("scavenge_pause") * semi_space_mib(scenario) ** value("scavenge_pause_power"))
    short = 1 / min(1.0, quota) - 1 if quota else 0.0
    return alone * (1 + value("scavenge_pause_quota") * short)


def collector_share(scenario: Scenario, used_vcpu: float) -> float:
    """CPU that full collections get of the one that they ask for, beside a program that uses so much of the quota [1].

    What the program leaves of the quota, between 0.05 and 1. Measured under quotas of 0.25 and 0.5: collections become
    fewer and anonymous memory grows by 3 to 14 MiB.

    Examples
    --------
    >>> s = Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing={"from": "2026-02-03"})
    >>> [round(collector_share(x, 0.2), 2) for x in (s, s.replace("server.container.cpu", 0.5))]
    [1.0, 0.3]
    """
    quota = cpu_quota(scenario)
    return 1.0 if quota is None else float(np.clip(quota - used_vcpu, 0.05, 1.0))


def extra_cpu_vcpu(scenario: Scenario, rate_hz: Floats, new_mib: Floats) -> Floats:
    """CPU of collections that come only because new space is held smaller than Node's largest default [vCPU].

    Parameters
    ----------
    scenario : Scenario
    rate_hz : array, shape (n,)
        Requests a second.
    new_mib : array, shape (n,)
        New space [MiB].

    Returns
    -------
    array, shape (n,)
        Measured CPU of requests holds the collections of a new space as large as the load makes it; these come on top.
    """
    small = semi_space_mib(scenario)
    usual = value("new_space_max") / 2
    allocated = rate_hz * value("allocated_request") / 1024
    busy = allocated * MIB > value("shrinks_below")
    more = np.maximum(allocated / interval_mib(np.minimum(new_mib / 2, small)) - allocated / interval_mib(usual), 0.0)
    held = busy & (small < usual)
    return np.where(held, more * value("scavenge_cpu") / 1e3, 0.0)

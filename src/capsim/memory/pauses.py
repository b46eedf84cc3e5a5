"""Collections as a request meets them: how often they come, how long they stop the loop, what they cost.

A small container makes new space small (`limits`), so collections of it come up to sixteen times as often, and each is
shorter. Own series (Node 20.20.2, the kit's server, 500/s, quiet machine): 352 of 0.70 ms in 29 s with a half of 1 MiB
against 21 of 6.1 ms with 16, and 0.204 against 0.205 ms of CPU a request: what survives is copied either way. A process
that logged 10,000 lines a second took twice the CPU, 1.7 ms for each collection more: the cost depends on the program.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capsim.base.units import KIB, MIB, us_from_ms
from capsim.memory.constants import PUBLISHED, Values, varied
from capsim.memory.limits import cpu_quota, semi_space_mib
from capsim.scenario.scenario import Scenario

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GROWN_MIB = 16.0  # a half of new space at its largest, as Node 20 has it where nothing holds it smaller


@dataclass(frozen=True)
class Pauses:
    """When the collector stops the loop, told by the number of the request that waits for it.

    Parameters
    ----------
    scavenge_every, full_every : int
        Requests from one collection of new space, and of the whole heap, to the next.
    scavenge_us, full_us : int
        How long each stops the loop [us].

    Examples
    --------
    >>> Pauses(2, 3, scavenge_us=10, full_us=500).us(6).tolist()
    [0, 10, 500, 10, 0, 510]
    """

    scavenge_every: int
    full_every: int
    scavenge_us: int
    full_us: int

    def us(self, count: int, before: int = 0) -> Ints:
        """What the next so many requests wait for the collector, each [us], when so many came before them."""
        found = np.zeros(count, np.int64)
        for every, paused_us in ((self.scavenge_every, self.scavenge_us), (self.full_every, self.full_us)):
            found[every - 1 - before % every :: every] += paused_us
        return found

    @property
    def mean_us(self) -> float:
        """What a request waits on average [us]."""
        return self.scavenge_us / self.scavenge_every + self.full_us / self.full_every

    @property
    def square_us2(self) -> float:
        """Mean of the square of it [us^2]: both kinds at once are so rare that they count as independent.

        Examples
        --------
        >>> Pauses(2, 3, scavenge_us=10, full_us=500).square_us2 == (2 * 10**2 + 500**2 + 510**2) / 6
        True
        """
        alone = self.scavenge_us**2 / self.scavenge_every + self.full_us**2 / self.full_every
        return alone + 2 * self.scavenge_us * self.full_us / (self.scavenge_every * self.full_every)


def pauses(scenario: Scenario) -> Pauses:
    """When collections stop the loop of this server, and for how long.

    `HttpSpec.gc_pause_ms` is the pause of a collection of a new space of two halves of 16 MiB, and of a full one while
    little lives. The rest follows from the container and from what the program has loaded: a small container has many
    short scavenges (`scavenge_interval_bytes`, `scavenge_pause_ms`), a loaded data set longer full collections. New
    space counts as grown, as it is after 3,000 requests if there are more than 30 a second.

    Full collections come every 1,100 requests: measured 1,000 to 1,250 from 50 to 200/s and under every cap, fewer
    without a cap at 500/s (1,770) and 1,000/s (2,860). Rows held back are not seen, nor that a heap near its cap is
    collected up to every 150th request (45 MiB live under 64), 20 ms each.

    Examples
    --------
    >>> s = Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing={"from": "2026-02-03"})
    >>> pauses(s)
    Pauses(scavenge_every=334, full_every=1100, scavenge_us=6500, full_us=6500)
    >>> pauses(s.replace("server.container.memory_limit_mib", 512)).scavenge_every
    21
    """
    value = varied(scenario)
    paused_ms = scenario.server.http.gc_pause_ms
    longer = scavenge_pause_ms(scenario, value) / _alone_ms(GROWN_MIB, value)
    loaded = 1 + scenario.server.node.loaded_mib / value("full_pause_doubles")
    return Pauses(
        scavenge_every=_requests(scavenge_interval_bytes(scenario, value), value),
        full_every=round(value("full_every")),
        scavenge_us=us_from_ms(paused_ms * longer),
        full_us=us_from_ms(paused_ms * loaded * _quota_factor(scenario, value)),
    )


def grown(paused_ms: float) -> Pauses:
    """The same of a server that no container holds small, and that has loaded nothing.

    Examples
    --------
    >>> grown(6.0).scavenge_us
    6000
    """
    value = PUBLISHED
    every = _requests(float(interval_mib(GROWN_MIB, value)) * MIB, value)
    return Pauses(every, round(value("full_every")), us_from_ms(paused_ms), us_from_ms(paused_ms))


def _requests(interval_bytes: float, value: Values) -> int:
    return max(1, round(interval_bytes / (value("allocated_request") * KIB)))


def _alone_ms(semi_mib: float, value: Values) -> float:
    return float(value("scavenge_pause") * min(semi_mib, GROWN_MIB) ** value("scavenge_pause_power"))


def _quota_factor(scenario: Scenario, value: Values) -> float:
    """How much longer a pause is with less than one CPU [1]."""
    quota = cpu_quota(scenario)
    short = 1 / min(1.0, quota) - 1 if quota else 0.0
    return float(1 + value("scavenge_pause_quota") * short)


def interval_mib(semi_mib: float | Floats, value: Values = PUBLISHED) -> float | Floats:
    """Allocated from one collection of new space to the next [MiB], by the size of one half of it [MiB].

    It fills to 0.8, of which 0.19 is still there from the allocation before (`constants`).

    Examples
    --------
    >>> round(float(interval_mib(16.0)), 1), round(float(interval_mib(1.0)), 2)  # measured: 10.7 +-7 %
    (10.8, 0.67)
    """
    return value("scavenge_at") * semi_mib / (1 + value("scavenge_stays"))


def scavenge_interval_bytes(scenario: Scenario, value: Values = PUBLISHED) -> float:
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
    return float(interval_mib(semi_space_mib(scenario), value)) * MIB


def scavenge_pause_ms(scenario: Scenario, value: Values = PUBLISHED) -> float:
    """How long one collection of a fully grown new space stops the program [ms].

    Measured, one run each: 0.70, 2.43 and 6.1 ms with a half of 1, 4 and 16 MiB (the power law is 15 % low at 4), and
    no more above: 3 to 9 ms with 64 under Node 24. Where much survives it may be far longer: 144 ms with 64 MiB, 50 MiB
    live and 20 MB/s, on a crowded machine. Under a quota of 0.2 CPU 9.7 ms instead of 6.1, which is all that is known
    of quotas.

    Examples
    --------
    >>> s = Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing={"from": "2026-02-03"})
    >>> small = s.replace("server.container.memory_limit_mib", 512)
    >>> [round(scavenge_pause_ms(x), 1) for x in (s, small, small.replace("server.container.cpu", 0.5))]
    [6.1, 0.7, 0.8]
    """
    return _alone_ms(semi_space_mib(scenario), value) * _quota_factor(scenario, value)


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


def extra_cpu_vcpu(scenario: Scenario, rate_hz: Floats, new_mib: Floats, value: Values) -> Floats:
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
    at_now, at_usual = interval_mib(np.minimum(new_mib / 2, small), value), interval_mib(usual, value)
    more = np.maximum(allocated / at_now - allocated / at_usual, 0.0)
    held = busy & (small < usual)
    return np.where(held, more * value("scavenge_cpu") / 1e3, 0.0)

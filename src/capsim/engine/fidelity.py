"""How a run is played: arrival by arrival (``exact``), or only where something is decided (``law``).

``law`` draws what the writers, the pool and the database do from the same distribution as the exact engine would with
an HTTP loop that takes no time. What it says of the loop is closed formulas. This module says where that holds, refuses
everything else, and holds the formulas.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from capsim.base.errors import CapsimError
from capsim.engine.law import Rates
from capsim.engine.log import with_lines
from capsim.memory.constants import varied
from capsim.memory.pauses import pauses
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS

if TYPE_CHECKING:
    from capsim.workload import Trace

Fidelity = Literal["exact", "law"]

# Chosen: up to here a request waits less than about five times its own work, tens of milliseconds at most behind a
# collection or a flush, against writers that wait for seconds.
MOST_UTILISATION = 0.7

NOTE = (
    "fidelity law: arrivals were drawn only where a writer decides; writers, pool and database are played as if the "
    "HTTP loop took no time, and what is said of the loop are closed formulas (M/G/1); percentiles and largest waits "
    "are not told"
)


def rates_of(scenario: Scenario, seed: int, replicate: int) -> Rates:
    """Arrivals of each writer [1/s]: independent Poisson processes, as each request draws its stream by itself."""
    workload = scenario.workload
    rate_hz = (workload.rate_hz or 0.0) * workload.scale
    return Rates({stream: rate_hz * getattr(workload.mix, stream) for stream in STREAMS}, seed, replicate)


class LoopLaw(NamedTuple):
    """The loop as an M/G/1 queue: requests and the building of their inserts.

    Attributes
    ----------
    utilisation : float
        Share of the time for which the thread is busy [1].
    wait_ms : float
        Mean time that a request waits for it [ms].
    """

    utilisation: float
    wait_ms: float


def loop_law(scenario: Scenario) -> LoopLaw:
    """Utilisation, and the mean wait by Pollaczek and Khinchine.

    Requests come as a Poisson process. Of the jobs that build inserts it is assumed, too, although they come more
    regularly: each has the rows of a full batch, or of those that come within a delay.

    References
    ----------
    L. Kleinrock, "Queueing Systems" 1, Wiley 1975, section 5.7.

    Examples
    --------
    >>> load = {"rate_hz": 100, "duration_s": 60}
    >>> loop_law(Scenario(name="x", workload=load, billing={"from": "2026-02-03"})).utilisation < 0.1
    True
    """
    http = with_lines(scenario.server.http, scenario.server.logger, varied(scenario))
    rates = rates_of(scenario, 0, 0).hz
    gc = pauses(scenario)
    work = second = 0.0  # per second: work [s], and sum of its squares [s^2]
    for stream in STREAMS:
        rate_hz, cpu_s = rates[stream], getattr(http, f"{stream}_cpu_ms") / 1e3
        work += rate_hz * (cpu_s + gc.mean_us / 1e6)
        second += rate_hz * (cpu_s**2 + 2 * cpu_s * gc.mean_us / 1e6 + gc.square_us2 / 1e12)
        writer = getattr(scenario.server.writers, stream)
        rows = min(writer.batch_rows, 1 + rate_hz * writer.delay_ms / 1e3)
        row_s = http.row_cpu_ms / 1e3
        work += rate_hz * row_s
        second += rate_hz / rows * (rows * row_s) ** 2
    wait_ms = second / (2 * (1 - work)) * 1e3 if work < 1 else float("inf")
    return LoopLaw(work, wait_ms)


def check_law(scenario: Scenario, trace: Trace | str | None = None, *, arrivals: bool = False) -> None:
    """Refuse what ``fidelity = "law"`` cannot tell.

    Raises
    ------
    CapsimError
        With every reason, one a line: where, what, why, and what to do about it.
    """
    reasons = [f"{scenario.name}: fidelity law: {why}" for why in _reasons(scenario, trace, arrivals)]
    if reasons:
        raise CapsimError(*reasons)


def _reasons(scenario: Scenario, trace: Trace | str | None, arrivals: bool) -> Iterator[str]:
    workload, server = scenario.workload, scenario.server
    exact = "use fidelity exact"
    if arrivals:
        yield f"arrivals=True asks what became of single arrivals, and none is made; leave it out or {exact}"
    if trace is not None or workload.trace is not None:
        name = workload.trace if trace is None else trace if isinstance(trace, str) else trace.name
        yield (
            f"the load is the trace {name}, whose arrivals or counts are given and so no Poisson process; "
            f"give workload.rate_hz or {exact}"
        )
    if workload.runs:
        yield f"workload.runs scripts every arrival, and none is made; give workload.rate_hz or {exact}"
    if workload.sessions is not None:
        yield f"workload.sessions sends heartbeats at regular times, not by chance; leave it out or {exact}"
    if workload.live_sessions is not None and server.writers.heartbeats.keyed:
        yield (
            "workload.live_sessions makes heartbeats replace each other by their numbers; leave it out, or set "
            f"server.writers.heartbeats.semantics = seed, or {exact}"
        )
    if workload.queries_hz:
        yield f"workload.queries_hz sends single reads through the loop; set it to 0 or {exact}"
    if scenario.redis.faults:
        yield f"redis.faults is felt by single requests; leave it out or {exact}"
    if server.lifecycle:
        yield f"server.lifecycle ends processes, and what each loses hangs on single requests; leave it out or {exact}"
    if server.process.replicas > 1:
        yield (
            f"server.process.replicas is {server.process.replicas}: requests that go round are no Poisson process for "
            f"any of them; set it to 1 or {exact}"
        )
    if server.http.clients is not None:
        yield f"server.http.clients send requests again, which closed formulas cannot follow; leave it out or {exact}"
    for name in ("consumer_hz", "file_consumer_hz"):
        if getattr(server.logger, name) != "none":
            yield f"server.logger.{name} makes lines wait second by second; set it to none or {exact}"
    if workload.rate_hz and (loop := loop_law(scenario)).utilisation > MOST_UTILISATION:
        yield (
            f"workload.rate_hz x workload.scale fills the HTTP loop to {loop.utilisation:.2f}, above "
            f"{MOST_UTILISATION:g}: its waits would change when items reach the writers; lower the rate or {exact}"
        )

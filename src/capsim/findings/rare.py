"""Failures that the load itself brings about once in months: how likely, under several tails of the database's latency.

A median says nothing of the one call in a million that takes ten seconds, and that call decides whether a writer
wedges. So the question is asked under several tails, and the answer is an interval: none seen in n months is a bound
of 3/n. Months are played in law (`capsim.fidelity`): Poisson arrivals, without the HTTP loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from capsim.findings.chances import chance
from capsim.findings.document import Chance
from capsim.run import simulate
from capsim.specs import Scenario
from capsim.sweep.point import changed
from capsim.workers import WORKERS, Workers

# All have the scenario's median; chosen so that a flush of ten seconds is impossible, rare, or due to slow periods.
TAILS: Mapping[str, Mapping[str, Any]] = {
    "lognormal, sigma 0.5": {"database.insert.distribution": "lognormal", "database.insert.sigma": 0.5},
    "lognormal, sigma 1.2": {"database.insert.distribution": "lognormal", "database.insert.sigma": 1.2},
    "lognormal, sigma 0.5, twice a month 20 s of 300 times the latency": {
        "database.insert.distribution": "lognormal", "database.insert.sigma": 0.5,
        "database.bursts": {"calm_s": 14 * 86_400.0, "slow_s": 20.0, "factor": 300.0},
    },
}  # fmt: skip


def wedged_months(
    scenario: Scenario, rate_hz: float, tail: Mapping[str, Any], runs: int, *, seed: int = 0, workers: int = WORKERS
) -> Chance:
    """In how many of so many months the events writer ends up wedged.

    Parameters
    ----------
    scenario : Scenario
        Its writers, pool and database; deploys, which would free a writer, are left out.
    rate_hz : float
        Poisson events [1/s].
    tail : mapping
        Keys of the scenario, as in `TAILS`.
    runs : int
        Months.

    Returns
    -------
    Chance
        With a 95 % interval.
    """
    load = {"rate_hz": rate_hz, "duration_s": 86_400.0, "mix": {"events": 1.0, "revenue": 0.0, "heartbeats": 0.0}}
    calm = {"workload": load, "server.lifecycle": (), "server.cleanup": None, "server.metrics": None}
    month = changed(scenario, {**calm, **tail})
    with Workers(workers) as side_by_side:
        seen = side_by_side.all([partial(_wedged, month, seed, replicate) for replicate in range(runs)])
    return chance(sum(seen), runs, f"a month at {rate_hz:g} events/s")


def _wedged(scenario: Scenario, seed: int, replicate: int) -> bool:
    run = simulate(scenario, seed=seed, replicate=replicate, fidelity="law")
    items = run.accounting().set_index("writer")
    return bool(run.stuck["to_s"].isna().any()) and int(items["dropped_cap"]["events"]) > 0

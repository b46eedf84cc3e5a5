"""The stress envelope: what a stall and an outage of the database do to a server at its busiest.

Each test plays the scenario alone against a steady load at the rate of its busiest minute: half a minute of calm, the
fault, and five minutes in which to recover. What is lost, what peaks and what never recovers is the answer.
"""

from __future__ import annotations

import pandas as pd

from capsim.memory import resident
from capsim.server.database import LatencyDatabase
from capsim.server.model import Server
from capsim.server.sampler import Sampler
from capsim.specs import STREAMS, Scenario
from capsim.units import US_PER_S

CALM_S = 30.0
RECOVERY_S = 300.0
FAILURE_MS = 1.0  # a database that is down refuses at once


def stress(scenario: Scenario, peak_hz: float, *, seed: int, replicate: int = 0) -> pd.DataFrame:
    """Play the stall and the outage of the scenario's ``[stress]``.

    Parameters
    ----------
    scenario : Scenario
        Its faults and bursts are left out: the envelope is the only disturbance.
    peak_hz : float
        Requests in the busiest minute of the load [1/s], before ``stress.load_factor``.
    seed, replicate : int
        Address of the draws.

    Returns
    -------
    DataFrame
        Columns ``test`` (stall, outage), ``metric``, ``value``, ``unit``.

    Examples
    --------
    >>> spec = Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing={"from": "2026-02-03"})
    >>> table = stress(spec, peak_hz=20, seed=1)
    >>> int(table.query("test == 'outage' and metric == 'writers_stuck'").value.iloc[0])
    0
    """
    envelope = scenario.stress
    rate_hz = peak_hz * envelope.load_factor
    rows: list[tuple[str, str, float, str]] = []
    faults = {
        "stall": ({"kind": "stall"}, envelope.stall_s),
        "outage": ({"kind": "fail", "duration_ms": FAILURE_MS}, envelope.outage_s),
    }
    for test, (fault, length_s) in faults.items():
        if length_s and rate_hz:
            schedule = [{**fault, "from_s": CALM_S, "to_s": CALM_S + length_s}]
            figures = _played(scenario, rate_hz, schedule, CALM_S + length_s + RECOVERY_S, seed, replicate)
            rows += [(test, "length", length_s, "s"), (test, "request_rate", rate_hz, "1/s")]
            rows += [(test, *figure) for figure in figures]
    return pd.DataFrame(rows, columns=["test", "metric", "value", "unit"])


def _played(
    scenario: Scenario, rate_hz: float, faults: list[dict[str, object]], length_s: float, seed: int, replicate: int
) -> list[tuple[str, float, str]]:
    from capsim.workload import load_of

    workload = scenario.workload.model_dump() | {
        "trace": None,
        "runs": (),
        "rate_hz": rate_hz,
        "scale": 1.0,
        "duration_s": length_s,
    }
    tested = scenario.replace("workload", workload).replace("database.faults", faults).replace("database.bursts", None)
    spec = tested.server
    server = Server(
        {stream: getattr(spec.writers, stream) for stream in STREAMS},
        spec.pool,
        spec.pool_limit,
        LatencyDatabase(tested.database, seed, replicate),
        http=spec.http,
    )
    sampler = Sampler(US_PER_S)
    for block in load_of(tested, None, seed, replicate).blocks():
        sampler.play(server, block)
    samples = resident(sampler.table(), tested)
    writers = server.writers.values()
    lost = sum(w.dropped_cap + w.dropped_failed + w.uncounted for w in writers)
    stuck = [w for w in writers if w.stuck_at(round(length_s * US_PER_S)) is not None]
    return [
        ("items_offered", sum(w.seen for w in writers), "items"),
        ("items_lost", lost, "items"),
        ("writers_stuck", len(stuck), "writers"),
        ("items_stuck", sum(w.count for w in stuck), "items"),
        ("server_rss_peak", float(samples["server_rss_peak_mib"].max()), "MiB"),
        ("buffer_peak", float(max(samples[f"{s}_buffer_max_rows"].max() for s in STREAMS)), "rows"),
        ("pool_timeouts", server.pool.timeouts, "calls"),
    ]

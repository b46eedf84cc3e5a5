"""The stress envelope: what a stall and an outage of the database, and deploys, do to a server at its busiest.

Each test plays the scenario alone against a steady load at the rate of its busiest minute: half a minute of calm, the
fault, and five minutes in which to recover. What is lost, what peaks and what never recovers is the answer.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from capsim.accounting import accounting
from capsim.plan import applied
from capsim.play import play
from capsim.specs import STREAMS, Scenario
from capsim.workload import load_of

CALM_S = 30.0
RECOVERY_S = 300.0
FAILURE_MS = 1.0  # a database that is down refuses at once
DEPLOY_EVERY_S = 60.0


def stress(scenario: Scenario, peak_hz: float, *, seed: int, replicate: int = 0) -> pd.DataFrame:
    """Play the stall, the outage and the deploys of the scenario's ``[stress]``.

    Parameters
    ----------
    scenario : Scenario
        Its own faults, bursts and deploys are left out: the envelope is the only disturbance.
    peak_hz : float
        Requests in the busiest minute of the load [1/s], before ``stress.load_factor``.
    seed, replicate : int
        Address of the draws.

    Returns
    -------
    DataFrame
        Columns ``test`` (stall, outage, deploys), ``metric``, ``value``, ``unit``.

    Examples
    --------
    >>> spec = Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing={"from": "2026-02-03"})
    >>> table = stress(spec, peak_hz=20, seed=1)
    >>> int(table.query("test == 'outage' and metric == 'writers_stuck'").value.iloc[0])
    0
    """
    rows: list[tuple[str, str, float, str]] = []
    rate_hz = peak_hz * scenario.stress.load_factor
    for test, (length_s, tested) in cases(scenario, peak_hz).items():
        rows += [(test, "length", length_s, "s"), (test, "request_rate", rate_hz, "1/s")]
        rows += [(test, *row) for row in _played(tested, seed, replicate)]
    return pd.DataFrame(rows, columns=["test", "metric", "value", "unit"])


def cases(scenario: Scenario, peak_hz: float) -> dict[str, tuple[float, Scenario]]:
    """The tests of an envelope: how long each disturbance lasts [s], and the scenario to play; none without a load."""
    envelope = scenario.stress
    rate_hz = peak_hz * envelope.load_factor
    tests: dict[str, tuple[float, dict[str, Any]]] = {}
    if not rate_hz:
        return {}
    if envelope.stall_s:
        fault = {"kind": "stall", "from_s": CALM_S, "to_s": CALM_S + envelope.stall_s}
        tests["stall"] = envelope.stall_s, {"database.faults": [fault]}
    if envelope.outage_s:
        fault = {"kind": "fail", "duration_ms": FAILURE_MS, "from_s": CALM_S, "to_s": CALM_S + envelope.outage_s}
        tests["outage"] = envelope.outage_s, {"database.faults": [fault]}
    if envelope.deploys:
        deploys = [{"kind": "deploy", "at_s": CALM_S + DEPLOY_EVERY_S * n} for n in range(envelope.deploys)]
        tests["deploys"] = DEPLOY_EVERY_S * envelope.deploys, {"server.lifecycle": deploys}
    load_only = {"trace": None, "runs": (), "rate_hz": rate_hz, "scale": 1.0}
    calm = {"database.faults": (), "database.bursts": None, "redis.faults": (), "server.lifecycle": ()}
    scenario, found = applied(scenario), {}
    for test, (length_s, changes) in tests.items():
        whole_s = CALM_S + length_s + RECOVERY_S
        tested = scenario.replace("workload", scenario.workload.model_dump() | load_only | {"duration_s": whole_s})
        for knob, value in (calm | changes).items():
            tested = tested.replace(knob, value)
        found[test] = length_s, tested
    return found


def _played(tested: Scenario, seed: int, replicate: int) -> list[tuple[str, float, str]]:
    load = load_of(tested, None, seed, replicate)
    played, _ = play(tested, load, seed=seed, replicate=replicate, resolution_s=1.0, keep=False, progress=None)
    items = accounting(played.fleet).drop(columns="writer").sum()
    stuck = played.stuck()
    writers = set(stuck.loc[stuck["to_s"].isna(), "writer"])
    samples = played.samples()
    lost = items[["dropped_cap", "dropped_failed", "uncounted", "lost_exit", "refused_down"]].sum()
    held = [p.server.writers[w].count for p in played.fleet.processes for w in p.server.writers if w in writers]
    return [
        ("items_offered", float(items["arrived"]), "items"),
        ("items_lost", float(lost), "items"),
        ("writers_stuck", len(writers), "writers"),
        ("items_stuck", sum(held), "items"),
        ("server_rss_peak", float(samples["server_rss_peak_mib"].max()), "MiB"),
        ("buffer_peak", float(max(samples[f"{s}_buffer_max_rows"].max() for s in STREAMS)), "rows"),
        ("pool_timeouts", int((~played.waits()["granted"]).sum()), "calls"),
    ]

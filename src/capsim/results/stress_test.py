"""The stress test: what a stall and an outage of the database, and deploys, do to a server at its busiest.

Each test simulates the scenario alone against a steady load at ``stress.load_factor`` times the rate of its busiest
minute: half a minute before the fault, the fault, and five minutes after it, or as much longer as it takes to heal (at
most an hour). Losses are counted until they end. A writer that never recovers loses without end: of it count the losses
until the fault is over, and those of each further second are told as a rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from capsim.engine.simulation import Played, play
from capsim.scenario.changes import applied
from capsim.scenario.columns import LOSSES
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from capsim.workload import load_of

CALM_S = 30.0
RECOVERY_S = 300.0
LONGER_S = (RECOVERY_S, 1_200.0, 3_600.0)  # after the fault, while a writer still loses or grows
LEAST_ROWS = 200  # buffers below this come and go with single batches
STEADY_S = 60.0  # at the end of a test: what grows or is lost in it has not healed
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
        Columns ``test`` (stall, outage, deploys), ``metric``, ``value``, ``unit``. Of them ``items_lost`` does not
        depend on how long the test goes on, and ``loss_rate_until_restart`` is what writers that never recover lose
        from then on; ``recovery_time`` is from the end of the fault to the last loss, without a value if none is last.

    Examples
    --------
    >>> spec = Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing={"from": "2026-02-03"})
    >>> table = stress(spec, peak_hz=20, seed=1)
    >>> int(table.query("test == 'outage' and metric == 'writers_stuck'").value.iloc[0])
    0
    """
    rows: list[tuple[str, str, float, str]] = []
    factor = scenario.stress.load_factor
    for test, (length_s, tested) in cases(scenario, peak_hz).items():
        head = [("length", length_s, "s"), ("request_rate", peak_hz * factor, "1/s"), ("load_factor", factor, "1")]
        head += [("time_before", CALM_S, "s")]
        rows += [(test, *row) for row in [*head, *_healed(tested, length_s, seed, replicate)]]
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
    scenario, found = applied(scenario), {}
    for test, (length_s, changes) in tests.items():
        tested = steady(scenario, rate_hz, CALM_S + length_s + RECOVERY_S)
        for knob, value in changes.items():
            tested = tested.replace(knob, value)
        found[test] = length_s, tested
    return found


def steady(scenario: Scenario, rate_hz: float, duration_s: float) -> Scenario:
    """The scenario under a steady Poisson load, with nothing that disturbs."""
    load = {"trace": None, "runs": (), "rate_hz": rate_hz, "duration_s": duration_s, "scale": 1.0}
    changed = scenario.replace("workload", scenario.workload.model_dump(mode="python") | load)
    calm = {"database.faults": (), "database.bursts": None, "redis.faults": (), "server.lifecycle": ()}
    for knob, value in calm.items():
        changed = changed.replace(knob, value)
    return changed


def _healed(tested: Scenario, length_s: float, seed: int, replicate: int) -> list[tuple[str, float, str]]:
    """The figures of a test that goes on until nothing changes any more."""
    end_s = CALM_S + length_s
    for after_s in LONGER_S:
        longer = tested.replace("workload.duration_s", end_s + after_s)
        load = load_of(longer, None, seed, replicate)
        played, _ = play(longer, load, seed=seed, replicate=replicate, resolution_s=1.0, keep=False, progress=None)
        writers, samples = _Writers.of(played), played.samples()
        if writers.settled(samples):
            break
    return [("time_after", after_s, "s"), *writers.figures(samples, end_s), *_figures(played, samples)]


@dataclass(frozen=True)
class _Writers:
    """Which writers never recover: stuck to the end, or losing items to the end."""

    stuck: set[str]
    held: int  # items in the buffers of the stuck ones

    @classmethod
    def of(cls, played: Played) -> _Writers:
        times = played.stuck()
        stuck = set(times.loc[times["to_s"].isna(), "writer"])
        held = [p.server.writers[w].count for p in played.fleet.processes for w in p.server.writers if w in stuck]
        return cls(stuck, sum(held))

    def settled(self, samples: pd.DataFrame) -> bool:
        """Whether the writers that are not stuck lose nothing more and their buffers do not grow."""
        last, before = (samples[samples["time_s"].between(*self._minute(samples, n))] for n in (1, 2))
        for writer in set(STREAMS) - self.stuck:
            level = f"{writer}_buffer_max_rows"
            if _lost(last, writer).any() or last[level].max() > max(2 * before[level].max(), LEAST_ROWS):
                return False
        return True

    @staticmethod
    def _minute(samples: pd.DataFrame, number: int) -> tuple[float, float]:
        """Start of the first and of the last bin of a minute, counted from the end [s]."""
        end_s = float(samples["time_s"].iloc[-1])
        return end_s - number * STEADY_S + 1, end_s - (number - 1) * STEADY_S

    def figures(self, samples: pd.DataFrame, end_s: float) -> list[tuple[str, float, str]]:
        """What is lost until it heals, and what goes on being lost."""
        steady_s = (float(samples["time_s"].iloc[-1]) + 1 - end_s) / 2  # the second half after the fault
        last = samples[samples["time_s"] >= end_s + steady_s]
        lost, rate, healed_s, never = 0, 0.0, 0.0, False
        for writer in STREAMS:
            series = _lost(samples, writer)
            going_on = int(_lost(last, writer).sum())
            if writer in self.stuck or going_on:
                series, never = series[samples["time_s"] < end_s], True
                rate += going_on / steady_s
            elif series.any():
                healed_s = max(healed_s, float(samples.loc[series > 0, "time_s"].max()) + 1 - end_s)
            lost += int(series.sum())
        return [
            ("items_lost", lost, "items"),
            ("loss_rate_until_restart", rate, "1/s"),
            ("recovery_time", math.nan if never else healed_s, "s"),
            ("writers_stuck", len(self.stuck), "writers"),
            ("items_stuck", self.held, "items"),
        ]


def _lost(samples: pd.DataFrame, writer: str) -> pd.Series[int]:
    """Items of a writer lost in each bin."""
    return samples[[f"{writer}_{how}" for how in LOSSES]].sum(axis=1)


def _figures(played: Played, samples: pd.DataFrame) -> list[tuple[str, float, str]]:
    return [
        ("items_offered", float(sum(samples[f"{s}_arrived"].sum() for s in STREAMS)), "items"),
        ("server_rss_peak", float(samples["server_rss_peak_mib"].max()), "MiB"),
        ("buffer_peak", float(max(samples[f"{s}_buffer_max_rows"].max() for s in STREAMS)), "rows"),
        ("pool_timeouts", int((~played.waits()["granted"]).sum()), "calls"),
    ]

"""Remedies, tried: each is a change of the scenario, played against the schedule that triggers a failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from capsim.base.units import BILLED_MONTH_MINUTES, GB, MIB
from capsim.scenario.prices import prices_on
from capsim.scenario.scenario import Scenario
from capsim.scenario.server import WriterSpec
from capsim.scenario.workload import STREAMS, Stream
from capsim.study.findings.schedule import Bench
from capsim.study.findings.search import Trigger

FURTHER = (2.0, 4.0, 16.0)  # times the trigger, at which a remedy that holds is tried again


@dataclass(frozen=True)
class Tried:
    """What a remedy did.

    Parameters
    ----------
    holds_to : float
        Largest multiple of the trigger at which the failure stayed away [1]; 0 if it happened at the trigger itself.
    lost_before, lost_after : float
        Items lost at twice the trigger (or the most that is tried), without and with it [items].
    price_usd : float
        Memory that it adds in that schedule, as a month of it [USD]; below 0 if it saves.
    """

    remedy: str
    holds_to: float
    lost_before: float
    lost_after: float
    price_usd: float


def remedies(scenario: Scenario) -> Mapping[str, dict[str, Any]]:
    """Changes worth trying, by name; those that change nothing here are left out."""
    writers = {stream: getattr(scenario.server.writers, stream) for stream in STREAMS}
    rules = [
        rule for rule in get_args(WriterSpec.model_fields["semantics"].annotation) if rule in ("fixed", "recommended")
    ]
    found: dict[str, dict[str, Any]] = {
        f"writers with the rules '{rule}'": {f"server.writers.{stream}.semantics": rule for stream in STREAMS}
        for rule in rules
    }
    found["twice the buffer cap"] = {
        f"server.writers.{stream}.buffer_cap_rows": 2 * spec.buffer_cap_rows
        for stream, spec in writers.items()
        if spec.buffer_cap_rows != "none"
    }
    found["delay of 2 s"] = {f"server.writers.{stream}.delay_ms": 2_000 for stream in STREAMS}
    found["pool of 15"] = {"server.pool.limit": 15}
    if scenario.server.pool_limit > 1:  # several processes share what Postgres lets in
        half = scenario.server.pool_limit // 2
        found[f"half the pool ({half})"] = {"server.pool.limit": half}
    if scenario.server.queries.take_rows == "none" and scenario.workload.queries_hz:
        found["pages of 100 rows"] = {"server.queries.take_rows": 100}
    if scenario.server.cleanup is not None:
        found["cleanup of 500 sessions in one statement"] = {
            "server.cleanup.limit_rows": 500, "server.cleanup.one_statement": True,
        }  # fmt: skip
    found["timeouts of 5 s"] = {"server.pool.pool_timeout_s": 5.0, "server.pool.connect_timeout_s": 5.0}
    found["a shutdown that runs, 10 s to drain"] = {
        "server.process.handles_sigterm": True, "server.process.draining_s": 10.0,
    }  # fmt: skip
    if scenario.server.node.heap_cap_mib == "none":
        found["heap cap of 384 MiB"] = {"server.node.heap_cap_mib": 384}
    return {name: changes for name, changes in found.items() if _changed(scenario, changes) != scenario}


def tried(trigger: Trigger, bench: Bench, writer: Stream) -> list[Tried]:
    """Play every remedy against a trigger; the one that helps most, and then the cheapest, comes first."""
    results = []
    disturbance = trigger.disturbance
    limit = disturbance.beyond(trigger.size, 2.0) or disturbance.most
    before = bench.play(disturbance, limit, writer)
    per_mib = float(prices_on(bench.scenario.billing.from_date).unit_price("memory")) * BILLED_MONTH_MINUTES * MIB / GB
    for name, changes in remedies(bench.scenario).items():
        changed = Bench(_changed(bench.scenario, changes), bench.rates, seed=bench.seed)
        holds_to = 0.0
        for multiple in (1.0, *FURTHER):
            size = disturbance.beyond(trigger.size, multiple)
            if size is None or (size == trigger.size and multiple > 1):
                break
            if changed.play(disturbance, size, writer).has(trigger.kind, trigger.part):
                break
            holds_to = multiple
        after = changed.play(disturbance, limit, writer)
        added = _billed_mib(after.facts.samples) - _billed_mib(before.facts.samples)
        results.append(Tried(name, holds_to, before.lost, after.lost, added * per_mib))
    return sorted(results, key=lambda r: (-r.holds_to, r.lost_after, r.price_usd))


def _changed(scenario: Scenario, changes: Mapping[str, Any]) -> Scenario:
    for knob, value in changes.items():
        scenario = scenario.replace(knob, value)
    return scenario


def _billed_mib(samples: Any) -> float:
    return float((samples["server_billed_mib"] * samples["width_s"]).sum() / samples["width_s"].sum())

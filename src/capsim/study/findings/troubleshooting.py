"""What the plan proposes when something shows: each change, alone and combined, tried in the scenario's own envelope.

The proposals are the plan's (its page on troubleshooting); whether they help is simulated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

from capsim.base.units import BILLED_MONTH_MINUTES, GB, MIB
from capsim.engine.simulation import play
from capsim.results.accounting import accounting
from capsim.results.stress_test import cases
from capsim.scenario.columns import LOSSES
from capsim.scenario.prices import prices_on
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from capsim.study.findings.document import Option, Symptom
from capsim.study.sweeps.point import changed
from capsim.workload import load_of

Changes = Mapping[str, Any]


class Envelope(NamedTuple):
    """What the stress envelope did to one variant of a scenario.

    Parameters
    ----------
    figures : dict
        By figure of `SYMPTOMS`: the largest memory, or a sum over all cases.
    lost : float
        Items lost, or stuck for good [items].
    billed_mib : float
        Billed memory of the server and of Postgres, mean over all cases [MiB].
    """

    figures: dict[str, float]
    lost: float
    billed_mib: float


@dataclass(frozen=True)
class Proposed:
    """A symptom and the plan's proposals against it.

    Parameters
    ----------
    limit : float
        Value of the figure above which it shows.
    options : callable
        Changes by name, for a scenario.
    """

    symptom: str
    figure: str
    unit: str
    limit: float
    options: Callable[[Scenario], Mapping[str, Changes]]


def _all_writers(knob: str, value: Any) -> dict[str, Any]:
    return {f"server.writers.{stream}.{knob}": value for stream in STREAMS}


def _faster(scenario: Scenario) -> dict[str, Any]:
    """The database after its slow writes have been looked into: taken to need half the time."""
    database = scenario.database
    return {
        f"database.{kind}.{knob}": getattr(getattr(database, kind), knob) / 2
        for kind in ("insert", "update")
        for knob in ("call_ms", "row_ms")
    }


def _faster_reads(scenario: Scenario) -> dict[str, Any]:
    query = scenario.database.query
    return {"database.query.call_ms": query.call_ms / 2, "database.query.row_ms": query.row_ms / 2}


SYMPTOMS = (
    Proposed("memory is above 1 GB", "peak memory", "MiB", 1e9 / MIB, lambda _: {
        "connection limit of 10": {"server.pool.limit": 10},
        "pages of 100 rows": {"server.queries.take_rows": 100},
        "heap cap of 384 MiB": {"server.node.heap_cap_mib": 384},
        "heap cap of 1024 MiB": {"server.node.heap_cap_mib": 1_024},
    }),
    Proposed("buffers are full", "items refused", "items", 0.0, lambda scenario: {
        "buffer of 2000": _all_writers("buffer_cap_rows", 2_000),
        "delay of 2 s": _all_writers("delay_ms", 2_000),
        "writes in half the time": _faster(scenario),
    }),
    Proposed("database connections fail", "calls without a connection", "calls", 0.0, lambda scenario: {
        "connection limit of 15": {"server.pool.limit": 15},
        "reads in half the time": _faster_reads(scenario),
        "pages of 100 rows": {"server.queries.take_rows": 100},
    }),
)  # fmt: skip


def jobs_of(scenario: Scenario, peak_hz: float, seed: int) -> list[partial[Envelope]]:
    """One job for the scenario as it is, then one for every combination of every symptom, in order."""
    variants = [scenario, *(variant for proposed in SYMPTOMS for _, variant in _variants(proposed, scenario))]
    return [partial(enveloped, variant, peak_hz, seed) for variant in variants]


def enveloped(scenario: Scenario, peak_hz: float, seed: int) -> Envelope:
    """Play every case of a scenario's stress envelope at the rate of the busiest minute [1/s]."""
    figures = dict.fromkeys((proposed.figure for proposed in SYMPTOMS), 0.0)
    lost = billed = 0.0
    tests = cases(scenario, peak_hz)
    for _, tested in tests.values():
        load = load_of(tested, None, seed)
        played, _ = play(tested, load, seed=seed, replicate=0, resolution_s=1.0, keep=False, progress=None)
        samples, items, stuck = played.samples(), accounting(played.fleet).drop(columns="writer").sum(), played.stuck()
        figures["peak memory"] = max(figures["peak memory"], float(samples["server_rss_peak_mib"].max()))
        figures["items refused"] += float(items["dropped_cap"])
        refused = float(samples["connections_refused"].sum())
        figures["calls without a connection"] += float((~played.waits()["granted"]).sum()) + refused
        writers = set(stuck.loc[stuck["to_s"].isna(), "writer"])
        held = [p.server.writers[w].count for p in played.fleet.processes for w in p.server.writers if w in writers]
        lost += float(items[list(LOSSES)].sum()) + sum(held)
        memory = samples["server_billed_mib"] + samples["postgres_billed_mib"]
        billed += float((memory * samples["width_s"]).sum() / samples["width_s"].sum()) / len(tests)
    return Envelope(figures, lost, billed)


def ranked(scenario: Scenario, jobs: Sequence[partial[Envelope]], answers: Sequence[Envelope]) -> list[Symptom]:
    """The answers of `jobs_of`, by symptom: what helps most first, then the cheapest, then the fewest changes."""
    if not jobs:
        return []
    rest = iter(answers)
    own = next(rest)
    per_mib = float(prices_on(scenario.billing.from_date).unit_price("memory")) * BILLED_MONTH_MINUTES * MIB / GB
    found = []
    for proposed in SYMPTOMS:
        options = []
        for names, _ in _variants(proposed, scenario):
            answer = next(rest)
            price_usd = (answer.billed_mib - own.billed_mib) * per_mib
            options.append(Option(
                options=names, value=answer.figures[proposed.figure], lost=answer.lost, price_usd=price_usd,
            ))  # fmt: skip
        # To a hundredth of a MiB and a cent, so that no rounding error decides.
        options.sort(key=lambda o: (round(o.value or 0, 2), o.lost, round(o.price_usd or 0, 2), len(o.options)))
        changes = proposed.options(scenario)
        already = tuple(name for name in changes if changed(scenario, changes[name]) == scenario)
        found.append(Symptom(
            symptom=proposed.symptom, figure=proposed.figure, unit=proposed.unit, limit=proposed.limit,
            value=own.figures[proposed.figure], lost=own.lost, options=tuple(options), already=already,
        ))  # fmt: skip
    return found


def _variants(proposed: Proposed, scenario: Scenario) -> Iterator[tuple[tuple[str, ...], Scenario]]:
    """Every combination of proposals that can be made together and that changes something."""
    changes = {
        name: knobs for name, knobs in proposed.options(scenario).items() if changed(scenario, knobs) != scenario
    }
    for size in range(1, len(changes) + 1):
        for names in combinations(changes, size):
            knobs = [knob for name in names for knob in changes[name]]
            if len(set(knobs)) == len(knobs):  # not two values for one knob
                yield names, changed(scenario, {k: v for name in names for k, v in changes[name].items()})

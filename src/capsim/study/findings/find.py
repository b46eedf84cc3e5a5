"""Search a scenario for what could break."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from capsim.base.document import published
from capsim.base.units import US_PER_MINUTE
from capsim.base.workers import WORKERS, Workers
from capsim.results.run import simulate
from capsim.scenario.columns import LOSSES
from capsim.scenario.file import dumps
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS, Stream
from capsim.study.findings.baseline_findings import of_the_load, of_the_month, standing
from capsim.study.findings.chances import chance
from capsim.study.findings.descriptions import WORDS, filled
from capsim.study.findings.document import Finding, Findings, Remedy, Trace
from capsim.study.findings.remedies import tried
from capsim.study.findings.schedule import (
    ABANDONED,
    BY_NAME,
    DISTURBANCES,
    FEWER,
    LOAD,
    PILED_UP,
    READS,
    REPLICAS,
    SLOWER,
    Bench,
    Disturbance,
    Outcome,
    Rates,
)
from capsim.study.findings.search import Trigger, bisect, triggers
from capsim.study.findings.tail_probability import tails
from capsim.study.findings.troubleshooting import jobs_of, ranked
from capsim.study.slo import Measured, SloSpec, baseline_of, held, measured, paid_usd
from capsim.workload import load_of

if TYPE_CHECKING:
    from capsim.workload import Trace as Recorded

MINUTES = 12  # of the load, drawn at random, on which the chance of a failure is tried
STEPS = 240  # of a plot
MOST_TIMES = 16.0  # the busiest minute, above which no rate is tried
RATE_FLOOR = 1 / 64  # of the busiest minute, below which no rate is tried


def find(
    scenario: Scenario,
    trace: Recorded | None = None,
    *,
    slo: SloSpec | None = None,
    seed: int = 0,
    replicates: int = 1,
    progress: Callable[[float], None] | None = None,
    workers: int = WORKERS,
) -> Findings:
    """Play every disturbance against a scenario's server, and report how it fails.

    Parameters
    ----------
    scenario : Scenario
        Its server is disturbed at the rate of the busiest minute of its load.
    trace : Trace, optional
        In place of the scenario's own load.
    slo : SloSpec, optional
        Service-level targets to check, with a month of the load in each replicate; by default none.
    seed : int
        Address of the draws.
    replicates : int
        Runs of the load itself, undisturbed.
    progress : callable, optional
        Told the share that is done, from 0 to 1.
    workers : int
        Processes that search side by side; the answer is the same for any number.

    Returns
    -------
    Findings
        Failures of the load itself first, then by disturbance.

    Examples
    --------
    >>> load = {"rate_hz": 20, "duration_s": 600}
    >>> spec = Scenario(name="x", workload=load, billing={"from": "2026-02-03"})
    >>> found = find(spec, workers=1)  # doctest: +SKIP
    """
    load = load_of(scenario, trace, seed)
    rates = _rates(scenario, load.peak_hz)
    slo = slo or SloSpec(name="none", target=())
    baseline = baseline_of(slo, scenario)
    whole = range(replicates)
    # The longest jobs first, so that no process is left alone with one at the end.
    months = [partial(_month, slo, scenario, trace, seed, replicate) for replicate in whole]
    others = [partial(_paid, baseline, trace, seed, replicate) for replicate in whole] if baseline else []
    symptoms = jobs_of(scenario, load.peak_hz, seed) if rates else []
    runs = [partial(of_the_load, scenario, trace, seed, replicate) for replicate in whole]
    search = partial(_search, scenario, rates, _random_minutes(load, seed), seed)
    searches = [partial(search, *job) for job in _jobs(scenario, rates)]
    jobs: list[Callable[[], Any]] = [*months, *others, *searches, *symptoms, *runs]
    with Workers(workers) as side_by_side:
        answers = iter(side_by_side.all(jobs, progress))
    of_months, of_baseline, of_searches, of_symptoms, of_load = (
        [next(answers) for _ in part] for part in (months, others, searches, symptoms, runs)
    )
    targets = held(slo, [one for one, _ in of_months], of_baseline)
    all_ = [*standing(scenario, of_load), *of_months[0][1], *(f for found in of_searches for f in found)]
    return Findings.model_validate(published({
        "capsim_version": version("capsim"),
        "name": scenario.name,
        "title": scenario.title,
        "peak_hz": load.peak_hz,
        "seed": seed,
        "findings": [finding.model_dump() for finding in all_],
        "targets": [target.model_dump() for target in targets],
        "troubleshooting": [symptom.model_dump() for symptom in ranked(scenario, symptoms, of_symptoms)],
        "provenance": {"scenario": scenario.model_dump(mode="json", by_alias=True), "load": load.provenance()},
    }))  # fmt: skip


def _rates(scenario: Scenario, peak_hz: float) -> Rates:
    mix = scenario.workload.mix
    shares: dict[Stream, float] = {"events": mix.events, "revenue": mix.revenue, "heartbeats": mix.heartbeats}
    return {stream: peak_hz * share for stream, share in shares.items() if share and peak_hz}


def _jobs(scenario: Scenario, rates: Rates) -> list[tuple[str, Stream]]:
    """Searches: which disturbance, at its worst for which writer."""
    if not rates:
        return []
    first = next(iter(rates))
    jobs = [(REPLICAS.name, first), *((d.name, writer) for d in DISTURBANCES for writer in rates)]
    jobs += [(d.name, first) for d in (LOAD, READS, PILED_UP)]
    if "heartbeats" in rates:
        jobs += [(SLOWER.name, "heartbeats"), (FEWER.name, "heartbeats")]
    if scenario.server.cleanup is not None and scenario.server.process.replicas == 1:
        jobs.append((ABANDONED.name, "heartbeats"))
    return jobs


def _month(
    slo: SloSpec, scenario: Scenario, trace: Recorded | None, seed: int, replicate: int
) -> tuple[Measured, list[Finding]]:
    """A month of the load: what the targets limit, and what fails slowly."""
    run = simulate(scenario, trace, seed=seed, replicate=replicate, month=True)
    return measured(slo, run), of_the_month(run)


def _paid(scenario: Scenario, trace: Recorded | None, seed: int, replicate: int) -> float:
    return paid_usd(simulate(scenario, trace, seed=seed, replicate=replicate, month=True))


def _random_minutes(load: Any, seed: int) -> tuple[float, ...]:
    """Rates of minutes drawn at random from one pass of the load [1/s]."""
    counts: list[int] = []
    for block in load.blocks():
        times = np.concatenate([block.times[stream] for stream in STREAMS]) - block.from_us
        width = max(1, math.ceil((block.to_us - block.from_us) / US_PER_MINUTE))
        counts += np.bincount(times // US_PER_MINUTE, minlength=width)[:width].tolist()
    drawn = np.random.Generator(np.random.Philox(seed)).choice(counts, MINUTES)
    return tuple(float(count) / 60 for count in drawn)


def _search(
    scenario: Scenario, rates: Rates, minutes_hz: tuple[float, ...], seed: int, name: str, writer: Stream
) -> list[Finding]:
    """Everything that one disturbance, by name, does to one writer."""
    disturbance = BY_NAME[name]
    bench = Bench(scenario, rates, seed=seed)
    found = triggers(bench, disturbance, writer)
    wedged = {trigger.part for trigger in found if trigger.kind == "wedge"}
    found = [t for t in found if not (t.kind == "cap drops" and t.part in wedged)]
    if not found:
        return []
    random = disturbance.usual(scenario) is not None
    outcomes = _at_random(bench, disturbance, writer, minutes_hz) if random else []
    return [_finding(trigger, bench, writer, outcomes, minutes_hz) for trigger in found]


def _at_random(bench: Bench, disturbance: Disturbance, writer: Stream, minutes_hz: tuple[float, ...]) -> list[Outcome]:
    """The disturbance at its usual size, in random minutes of the load with random arrivals."""
    outcomes = []
    total = sum(bench.rates.values())
    for number, rate_hz in enumerate(minutes_hz):
        if rate_hz > 0:
            rates = {stream: rate * rate_hz / total for stream, rate in bench.rates.items()}
            outcomes.append(Bench(bench.scenario, rates, seed=bench.seed).at_random(disturbance, writer, number))
    return outcomes


def _finding(
    trigger: Trigger, bench: Bench, writer: Stream, random: list[Outcome], minutes_hz: tuple[float, ...]
) -> Finding:
    words, disturbance = WORDS[trigger.kind], trigger.disturbance
    detection = trigger.outcome.has(trigger.kind, trigger.part)
    assert detection is not None
    by_one_call = (trigger.kind, disturbance.name) == ("wedge", "stall")  # whose first call lasts as long as it does
    chances = []
    if random:
        usual = disturbance.usual(bench.scenario)
        size = (
            disturbance.name
            if disturbance.once
            else f"{disturbance.name}, {disturbance.size} {usual:g} {disturbance.unit}"
        )
        # Flushes that grow fast have filled the buffer before there is a trend of them.
        kinds = (trigger.kind, "wedge", "cap drops") if disturbance is SLOWER else (trigger.kind,)
        seen = sum(any(outcome.has(kind, trigger.part) for kind in kinds) for outcome in random)
        chances.append(chance(seen, len(random), f"{size}, in a random minute of the load, arrivals at random"))
    return Finding(
        kind=trigger.kind,
        part=trigger.part,
        disturbance=disturbance.name,
        happens=filled(words.happens, trigger.part),
        trigger=trigger.size,
        trigger_of=disturbance.size,
        unit=disturbance.unit,
        precision=trigger.precision,
        rate_hz=None if disturbance.load else bench.rates[writer],
        least_rate_hz=_least_rate(trigger, bench, writer) if trigger.kind in ("wedge", "longer flushes") else None,
        chances=tuple(chances),
        tails=tails(bench, writer, trigger.size, minutes_hz) if by_one_call else (),
        lost=trigger.outcome.lost,
        heals_after_s=None if detection.to_s is None else detection.to_s - detection.from_s,
        shows=words.shows,
        alert=filled(words.alert, trigger.part),
        remedies=tuple(Remedy(**vars(result)) for result in tried(trigger, bench, writer)),
        schedule=dumps(
            trigger.outcome.scenario.replace("name", f"{bench.scenario.name} {trigger.kind} {trigger.part}"[:80])
        ),
        series=trace_of(trigger.outcome, trigger.part, disturbance),
    )


def _least_rate(trigger: Trigger, bench: Bench, writer: Stream) -> float | None:
    """The smallest rate at that writer at which the usual size of the disturbance is enough [1/s]."""
    disturbance = trigger.disturbance
    usual = disturbance.usual(bench.scenario)
    if disturbance.load or disturbance.once or not usual:
        return None
    usual = min(usual, disturbance.most)

    def happens(factor: float) -> bool:
        rates = {stream: rate * factor for stream, rate in bench.rates.items()}
        slower = Bench(bench.scenario, rates, seed=bench.seed)
        return slower.play(disturbance, usual, writer).has(trigger.kind, trigger.part) is not None

    low, high = RATE_FLOOR, 1.0
    if not happens(high):
        low, high = 1.0, max(MOST_TIMES, bench.scenario.stress.load_factor)
        if not happens(high):
            return None
    elif happens(low):
        return bench.rates[writer] * low
    return bench.rates[writer] * bisect(low, high, happens)[1]


LEVELS = {  # of a part that is no writer: what piles up in it
    "pool": ("pool_in_use_max", "most connections held", 1.0),
    "database": ("pool_open_max", "connections open", 1.0),
    "loop": ("loop_backlog_ms", "work that waits for the loop [s]", 1e-3),
    "cleanup": ("sessions_due_max", "sessions to be closed", 1.0),
}


def trace_of(outcome: Outcome, part: str, disturbance: Disturbance) -> Trace:
    """The play of a schedule in at most `STEPS` steps."""
    samples = outcome.facts.samples
    writers = [part] if part in STREAMS else list(STREAMS)
    per_step = max(1, math.ceil(len(samples) / STEPS))
    place = np.arange(len(samples)) // per_step
    if part in LEVELS:
        column, name, factor = LEVELS[part]
        level = samples[column] * factor
    else:
        name, level = "largest buffer [rows]", samples[[f"{w}_buffer_max_rows" for w in writers]].max(axis=1)
    lost = samples[[f"{w}_{fate}" for w in writers for fate in LOSSES]].sum(axis=1).cumsum().groupby(place).last()
    whole = disturbance in (LOAD, ABANDONED, READS)
    return Trace(
        step_s=float(per_step * samples["width_s"].iloc[0]),
        level_of=name,
        level=tuple(map(float, level.groupby(place).max())),
        lost_items=tuple(map(float, lost)),
        disturbed_from_s=None if whole else outcome.at_s,
        disturbed_to_s=None if whole or disturbance.once else outcome.at_s + disturbance.lasts_s(outcome.size),
    )

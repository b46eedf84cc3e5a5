"""Search a scenario for what could break."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from capsim.document import published
from capsim.findings.document import Chance, Finding, Findings, Remedy, Target, Trace
from capsim.findings.remedies import tried
from capsim.findings.schedule import BY_NAME, DISTURBANCES, LOAD, SLOWER, Bench, Disturbance, Outcome, Rates
from capsim.findings.search import Trigger, bisect, triggers
from capsim.findings.standing import standing
from capsim.findings.words import WORDS, filled
from capsim.scenario import dumps
from capsim.specs import STREAMS, Scenario, Stream
from capsim.units import US_PER_MINUTE
from capsim.workload import load_of

if TYPE_CHECKING:
    from capsim.run import Run
    from capsim.trace import Trace as Recorded

WORKERS = 2
MINUTES = 12  # of the load, drawn at random, on which the chance of a failure is tried
STEPS = 240  # of a plot
RATE_FLOOR = 1 / 64  # of the busiest minute, below which no rate is tried


def find(
    scenario: Scenario,
    trace: Recorded | None = None,
    *,
    seed: int = 0,
    replicates: int = 1,
    targets: Iterable[Target] = (),
    month: Run | None = None,
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
    seed : int
        Address of the draws.
    replicates : int
        Runs of the load itself, undisturbed.
    targets : iterable of Target
        Service-level targets that were checked.
    month : Run, optional
        A run of a month of this load, if there is one; else it is simulated.
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
    mix = scenario.workload.mix
    shares: dict[Stream, float] = {"events": mix.events, "revenue": mix.revenue, "heartbeats": mix.heartbeats}
    rates = {stream: load.peak_hz * share for stream, share in shares.items() if share and load.peak_hz}
    minutes_hz = _random_minutes(load, seed)
    jobs = [(d.name, writer) for d in DISTURBANCES for writer in rates]
    jobs += [(SLOWER.name, "heartbeats")] if "heartbeats" in rates else []
    jobs += [(LOAD.name, next(iter(rates)))] if rates else []
    search = partial(_search, scenario, rates, minutes_hz, seed)
    found: dict[int, list[Finding]] = {}
    if workers > 1:
        with ProcessPoolExecutor(workers) as pool:
            futures = {pool.submit(search, *job): place for place, job in enumerate(jobs)}
            try:
                for done, future in enumerate(as_completed(futures), 1):
                    found[futures[future]] = future.result()
                    if progress:
                        progress(0.9 * done / len(jobs))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    else:
        for place, job in enumerate(jobs):
            found[place] = search(*job)
            if progress:
                progress(0.9 * (place + 1) / len(jobs))
    own = standing(scenario, trace, seed=seed, replicates=replicates, month=month)
    all_ = [*own, *(finding for place in sorted(found) for finding in found[place])]
    if progress:
        progress(1.0)
    return Findings.model_validate(published({
        "capsim_version": version("capsim"),
        "name": scenario.name,
        "title": scenario.title,
        "peak_hz": load.peak_hz,
        "seed": seed,
        "findings": [finding.model_dump() for finding in all_],
        "targets": [target.model_dump() for target in targets],
        "provenance": {"scenario": scenario.model_dump(mode="json", by_alias=True), "load": load.provenance()},
    }))  # fmt: skip


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
    if disturbance is SLOWER:  # all else is found with the shorter one
        found = [trigger for trigger in found if trigger.kind == "longer flushes"]
    wedged = {trigger.part for trigger in found if trigger.kind == "wedge"}
    found = [t for t in found if not (t.kind == "cap drops" and t.part in wedged)]
    if not found:
        return []
    random = [] if disturbance in (LOAD, SLOWER) else _at_random(bench, disturbance, writer, minutes_hz)
    return [_finding(trigger, bench, writer, random) for trigger in found]


def _at_random(bench: Bench, disturbance: Disturbance, writer: Stream, minutes_hz: tuple[float, ...]) -> list[Outcome]:
    """The disturbance at its usual size, in random minutes of the load with random arrivals."""
    outcomes = []
    total = sum(bench.rates.values())
    for number, rate_hz in enumerate(minutes_hz):
        if rate_hz > 0:
            rates = {stream: rate * rate_hz / total for stream, rate in bench.rates.items()}
            outcomes.append(Bench(bench.scenario, rates, seed=bench.seed).at_random(disturbance, writer, number))
    return outcomes


def chance(seen: int, runs: int, what: str) -> Chance:
    """A share with the upper end of its 95 % interval: Wilson's, or 3/n where none was seen.

    Examples
    --------
    >>> chance(0, 12, "a minute").upper
    0.25
    """
    share = seen / runs
    if not seen:
        return Chance(seen=0, runs=runs, probability=0.0, upper=min(1.0, 3 / runs), what=what)
    z = 1.96
    middle = (share + z * z / (2 * runs)) / (1 + z * z / runs)
    half = z * math.sqrt(share * (1 - share) / runs + z * z / (4 * runs * runs)) / (1 + z * z / runs)
    return Chance(seen=seen, runs=runs, probability=share, upper=min(1.0, middle + half), what=what)


def _finding(trigger: Trigger, bench: Bench, writer: Stream, random: list[Outcome]) -> Finding:
    words, disturbance = WORDS[trigger.kind], trigger.disturbance
    detection = trigger.outcome.has(trigger.kind, trigger.part)
    assert detection is not None
    chances = []
    if random:
        usual = disturbance.usual(bench.scenario)
        size = (
            disturbance.name
            if disturbance.once
            else f"{disturbance.name}, {disturbance.size} {usual:g} {disturbance.unit}"
        )
        seen = sum(outcome.has(trigger.kind, trigger.part) is not None for outcome in random)
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
        rate_hz=bench.rates[writer] * (trigger.size if disturbance is LOAD else 1.0),
        least_rate_hz=_least_rate(trigger, bench, writer) if trigger.kind == "wedge" else None,
        chances=tuple(chances),
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
    if disturbance in (LOAD, SLOWER) or disturbance.once:
        return None
    usual = min(disturbance.usual(bench.scenario), disturbance.most)
    if not usual:
        return None

    def happens(factor: float) -> bool:
        rates = {stream: rate * factor for stream, rate in bench.rates.items()}
        slower = Bench(bench.scenario, rates, seed=bench.seed)
        return slower.play(disturbance, usual, writer).has(trigger.kind, trigger.part) is not None

    low, high = RATE_FLOOR, 1.0
    if not happens(high):
        high = bench.scenario.stress.load_factor
        if high <= 1 or not happens(high):
            return None
        low = 1.0
    elif happens(low):
        return bench.rates[writer] * low
    return bench.rates[writer] * bisect(low, high, happens)[1]


def trace_of(outcome: Outcome, part: str, disturbance: Disturbance) -> Trace:
    """The play of a schedule in at most `STEPS` steps."""
    samples = outcome.facts.samples
    writers = [part] if part in STREAMS else list(STREAMS)
    per_step = max(1, math.ceil(len(samples) / STEPS))
    place = np.arange(len(samples)) // per_step
    fates = [
        f"{w}_{fate}"
        for w in writers
        for fate in ("dropped_cap", "dropped_failed", "uncounted", "lost_exit", "refused_down")
    ]
    buffers = samples[[f"{w}_buffer_max_rows" for w in writers]].max(axis=1).groupby(place).max()
    lost = samples[fates].sum(axis=1).cumsum().groupby(place).last()
    whole = disturbance is LOAD
    instant = disturbance.once
    return Trace(
        step_s=float(per_step),
        buffer_rows=tuple(map(float, buffers)),
        lost_items=tuple(map(float, lost)),
        disturbed_from_s=None if whole else outcome.at_s,
        disturbed_to_s=None if whole or instant else outcome.at_s + disturbance.lasts_s(outcome.size),
    )

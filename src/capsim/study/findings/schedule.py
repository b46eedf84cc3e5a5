"""Schedules: steady arrivals, one disturbance of a chosen size, and time to recover, as a scenario of their own.

A schedule is an ordinary scenario: `capsim run` plays it, and so does the reference server.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from capsim.base.units import US_PER_HOUR
from capsim.engine.simulation import play
from capsim.scenario.columns import LOSSES
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS, Stream
from capsim.study.findings.detectors import Detection, Facts, detect
from capsim.workload import load_of

CALM_S = 20.0  # before the disturbance: four times the usual delay
RECOVERY_S = 60.0  # after it, at least
FAILURE_MS = 1.0  # a database that is down refuses at once
TREND_S = 600.0  # of a slower database, for a trend of the flushes to show within 1 % of where it begins
LONG_S = 60.0  # of a slow or failing database whose size is not its length
LEAD_S = 0.001  # a fault begins so long before its flush: behind no HTTP loop an item comes a moment sooner
CLEANUPS_S = 4_800.0  # for a trend of the cleanup's runs: forty of them at the plan's interval
HEARTBEAT_S = 30.0  # between two heartbeats of a live session (the default of workload.sessions)

PRECISION = 0.005  # half of the 1 % that is promised

Rates = Mapping[Stream, float]


@dataclass(frozen=True)
class Disturbance:
    """Something that happens to the server, of a size that can be searched.

    Parameters
    ----------
    name : str
        What the reader calls it.
    size, unit : str
        What is made larger, and its unit.
    least, most : float
        Sizes between which the search looks.
    changes : callable
        Knobs of a scenario for an instant [s] and a size.
    lasts_s : callable
        How long it goes on for a size [s].
    usual : callable
        The size that the scenario's envelope asks for, or that its settings make usual; None where nothing is usual.
    step : float
        Ratio of the sizes that are tried first: small enough to see what begins and soon turns into something else.
        Below 1 the search goes down, from ``least`` harm at a large size to the most at a small one.
    whole : bool
        Whether only whole sizes make sense.
    precision : float
        Relative, of a trigger that is searched.
    recovers : bool
        Whether there is time to recover afterwards; not where a trend is looked for.
    only : tuple of str
        Kinds of failures that are looked for; all else is found by another disturbance.
    load : callable, optional
        Arrivals by writer [1/s] at a size, given the usual ones; without it, the usual ones.
    """

    name: str
    size: str
    unit: str
    least: float
    most: float
    changes: Callable[[Scenario, float, float], dict[str, Any]]
    lasts_s: Callable[[float], float]
    usual: Callable[[Scenario], float | None] = lambda _: None
    step: float = 2.0
    whole: bool = False
    precision: float = PRECISION
    recovers: bool = True
    only: tuple[str, ...] = ()
    load: Callable[[Rates, float], Rates] | None = None

    @property
    def once(self) -> bool:
        """Whether there is nothing to search: it happens or it does not."""
        return self.least == self.most

    def beyond(self, size: float, multiple: float) -> float | None:
        """A size so many times as bad, None if that is more than is tried."""
        worse = size * multiple if self.step > 1 else size / multiple
        worse = round(worse) if self.whole else worse
        inside = worse <= self.most if self.step > 1 else worse >= self.most
        return worse if inside else None


def _fault(kind: str, at_s: float, length_s: float, **more: Any) -> dict[str, Any]:
    return {"database.faults": [{"kind": kind, "from_s": at_s, "to_s": at_s + length_s, **more}]}


def _ends(kind: str, at_s: float) -> dict[str, Any]:
    return {"server.lifecycle": [{"kind": kind, "at_s": at_s}]}


DISTURBANCES = (
    Disturbance(
        "stall", "length", "s", 0.1, 600.0,
        lambda _, at, s: _fault("stall", at, s), lambda s: s,
        lambda scenario: scenario.stress.stall_s,
    ),
    Disturbance(
        "slow database", "duration of each call", "ms", 20.0, 60_000.0,
        lambda _, at, ms: _fault("slow", at, LONG_S, duration_ms=ms), lambda ms: LONG_S + ms / 1_000,
        lambda _: 1_000.0,  # chosen: a table scan, or a disk that is full of other work
    ),
    Disturbance(
        "outage that fails fast", "length", "s", 0.1, 600.0,
        lambda _, at, s: _fault("fail", at, s, duration_ms=FAILURE_MS), lambda s: s,
        lambda scenario: scenario.stress.outage_s,
    ),
    Disturbance(
        "outage that fails slowly", "time until each call fails", "s", 0.1, 60.0,
        lambda _, at, s: _fault("fail", at, LONG_S, duration_ms=1_000 * s), lambda s: LONG_S + 2 * s,
        lambda scenario: scenario.server.pool.connect_timeout_s,  # a host that does not answer
    ),
    Disturbance("deploy", "number", "deploys", 1.0, 1.0, lambda _, at, __: _ends("deploy", at),
                lambda _: LONG_S, lambda _: 1.0),
    Disturbance("crash", "number", "crashes", 1.0, 1.0, lambda _, at, __: _ends("crash", at),
                lambda _: LONG_S, lambda _: 1.0),
)  # fmt: skip
# Rows written one update after another are stable only below a latency; near it their flushes grow slowly.
SLOWER = Disturbance(
    "database that stays slower", "duration of each call", "ms", 4.0, 1_000.0,
    lambda _, at, ms: _fault("slow", at, TREND_S, duration_ms=ms), lambda _: TREND_S,
    lambda _: 40.0,  # chosen: a database in another region
    step=1.25, recovers=False, only=("longer flushes",),
)  # fmt: skip
# The load itself, at a multiple of its busiest minute: long enough for a trend to show.
LOAD = Disturbance(
    "load factor", "multiple of the busiest minute", "x", 1.0, 20.0, lambda _, at, __: {}, lambda _: 300.0,
    load=lambda rates, factor: {stream: rate * factor for stream, rate in rates.items()},
)  # fmt: skip
# Sessions that end without saying so; each is one start and nothing else, so only the cleanup has work.
ABANDONED = Disturbance(
    "abandoned sessions", "sessions abandoned", "1/s", 0.05, 25.0,
    lambda _, at, __: {"workload.sessions": {"length_median_s": 1.0, "length_sigma": 0.0, "abandoned": 1.0}},
    lambda _: CLEANUPS_S, recovers=False, only=("growing backlog",), load=lambda _, rate_hz: {"heartbeats": rate_hz},
)  # fmt: skip
# Heartbeats that replace each other fill a batch only if there are enough sessions.
FEWER = Disturbance(
    "few live sessions, and a stall of a minute", "live sessions", "sessions", 1_024, 1,
    lambda _, at, sessions: {**_fault("stall", at, LONG_S), "workload.live_sessions": round(sessions)},
    lambda _: LONG_S, step=0.5, whole=True, only=("stuck items",),
    load=lambda _, sessions: {"heartbeats": round(sessions) / HEARTBEAT_S},
)  # fmt: skip
# Reads come by chance (Poisson), so a trigger in reads a second is that of one draw of them, and told to 5 %.
READS = Disturbance(
    "analytics reads", "analytics reads", "1/s", 0.1, 51.2,
    lambda _, at, rate_hz: {"workload.queries_hz": rate_hz}, lambda _: LONG_S / 2, precision=0.05, recovers=False,
    only=("pool starvation", "refused connections", "growing backlog", "heap exhausted", "container hang"),
    load=lambda rates, _: rates,
)  # fmt: skip
PILED_UP = Disturbance(
    "analytics reads during a stall of a minute", "analytics reads", "1/s", 0.02, 10.24,
    lambda _, at, rate_hz: {**_fault("stall", at, LONG_S), "workload.queries_hz": rate_hz}, lambda _: LONG_S,
    lambda scenario: scenario.workload.queries_hz or None, precision=0.05,
    only=("pool starvation", "refused connections", "batches given up", "heap exhausted", "container hang"),
    load=lambda rates, _: rates,
)  # fmt: skip
REPLICAS = Disturbance(
    "replicas whose pools are filled by reads during a stall", "replicas", "replicas", 1, 16,
    lambda scenario, at, replicas: {
        **_fault("stall", at, LONG_S), "server.process.replicas": round(replicas),
        "workload.queries_hz": 2 * round(replicas) * scenario.server.pool_limit / LONG_S,
    },
    lambda _: LONG_S, whole=True, only=("refused connections",), load=lambda rates, _: rates,
)  # fmt: skip

BY_NAME = {d.name: d for d in (*DISTURBANCES, SLOWER, LOAD, ABANDONED, FEWER, READS, PILED_UP, REPLICAS)}


@dataclass(frozen=True)
class Outcome:
    """A schedule that was played."""

    scenario: Scenario
    at_s: float
    size: float
    facts: Facts
    detections: tuple[Detection, ...]

    @property
    def lost(self) -> float:
        """Items lost in any way [items]."""
        return float(self.facts.items[list(LOSSES)].to_numpy().sum())

    def has(self, kind: str, part: str) -> Detection | None:
        """The failure of that kind in that part, if there is one."""
        return next((d for d in self.detections if (d.kind, d.part) == (kind, part)), None)


def evenly(scenario: Scenario, rates: Rates, length_s: float) -> Scenario:
    """The scenario with evenly spaced arrivals in place of its load, and nothing else that disturbs.

    Parameters
    ----------
    rates : mapping of stream to rate
        Arrivals [1/s]; a writer without one stays idle.
    length_s : float
        Of the load [s].
    """
    runs = [
        {"stream": stream, "at_ms": place, "count": max(1, round(rates[stream] * length_s)), "rate_hz": rates[stream]}
        for place, stream in enumerate(STREAMS)  # not in one instant
        if rates.get(stream)
    ]
    load = {
        "trace": None, "rate_hz": None, "scale": 1.0, "sessions": None, "queries_hz": 0.0,
        "runs": runs, "duration_s": length_s,
    }  # fmt: skip
    calm = {"database.faults": (), "database.bursts": None, "server.lifecycle": ()}
    changed = scenario.replace("workload", scenario.workload.model_dump() | load)
    for knob, value in calm.items():
        changed = changed.replace(knob, value)
    return changed


def at_random(scenario: Scenario, rates: Rates, length_s: float) -> Scenario:
    """The same with Poisson arrivals."""
    total = sum(rates.values())
    mix = {stream: rates.get(stream, 0.0) / total for stream in STREAMS}
    changed = evenly(scenario, rates, length_s)
    load = {"runs": (), "rate_hz": total, "mix": mix}
    return changed.replace("workload", changed.workload.model_dump() | load)


def played(scenario: Scenario, at_s: float, size: float, *, seed: int = 0, replicate: int = 0) -> Outcome:
    """Play a schedule and look for failures."""
    load = load_of(scenario, None, seed, replicate)
    # Bins of a second show a storm of log lines; a schedule of hours is one of a slow trend, without any.
    resolution_s = 1.0 if load.span_us <= US_PER_HOUR else 10.0
    facts = Facts(
        *play(scenario, load, seed=seed, replicate=replicate, resolution_s=resolution_s, keep=True, progress=None)
    )
    return Outcome(scenario, at_s, size, facts, tuple(detect(facts)))


class Bench:
    """A scenario's server on the test bench: arrivals at given rates, a disturbance at the worst instant for a writer.

    The worst instant for a database fault is the start of a flush, so that all of the fault lies in that flush; it is
    found by playing the same arrivals without the fault.

    Parameters
    ----------
    scenario : Scenario
        Its server and database are played, its load is not.
    rates : mapping of stream to rate
        Arrivals while nothing is disturbed [1/s].
    """

    def __init__(self, scenario: Scenario, rates: Rates, *, seed: int = 0) -> None:
        self.scenario, self.rates, self.seed = scenario, dict(rates), seed
        self._starts: dict[str, float] = {}
        self._known: dict[tuple[str, float, str], Outcome] = {}

    def play(self, disturbance: Disturbance, size: float, writer: Stream) -> Outcome:
        """Play a disturbance of a size, at its worst for a writer; the same question is played once."""
        key = (disturbance.name, size, writer)
        if key not in self._known:
            at_s = CALM_S if disturbance.load else self.start_s(writer) - LEAD_S
            rates = self.at_size(disturbance, size, writer)
            slowest_hz = min(rate for rate in rates.values() if rate)
            # A stuck buffer shows only if there is time for it to fill: to the cap, or for so long as is affordable.
            recovery_s = max(RECOVERY_S, min(300.0, 120.0 / slowest_hz)) if disturbance.recovers else 0.0
            whole_s = math.ceil(at_s + disturbance.lasts_s(size) + recovery_s)
            scenario = evenly(self.scenario, rates, float(whole_s))
            for knob, value in disturbance.changes(self.scenario, at_s, size).items():
                scenario = scenario.replace(knob, value)
            self._known[key] = played(scenario, at_s, size, seed=self.seed)
        return self._known[key]

    def at_size(self, disturbance: Disturbance, size: float, writer: Stream) -> Rates:
        """Arrivals of every writer that is played, at a size of the disturbance [1/s]."""
        if disturbance.load is not None:
            return disturbance.load(self.rates, size)
        return {stream: rate for stream, rate in self.rates.items() if self._joins(disturbance, stream, writer)}

    def at_random(self, disturbance: Disturbance, writer: Stream, number: int) -> Outcome:
        """Play a disturbance of its usual size at a given instant, with Poisson arrivals.

        Parameters
        ----------
        number : int
            Of the play; each has its own draws.
        """
        usual = disturbance.usual(self.scenario)
        assert usual is not None
        size = min(max(usual, 1e-3), disturbance.most)
        rates = self.at_size(disturbance, size, writer)
        whole_s = float(math.ceil(CALM_S + disturbance.lasts_s(size) + 2 * RECOVERY_S))
        scenario = at_random(self.scenario, rates, whole_s)
        for knob, value in disturbance.changes(self.scenario, CALM_S, size).items():
            scenario = scenario.replace(knob, value)
        return played(scenario, CALM_S, size, seed=self.seed, replicate=number)

    def _joins(self, disturbance: Disturbance, stream: Stream, writer: Stream) -> bool:
        """Whether a writer is played beside the one under test: where they share more than the time of the loop."""
        if stream == writer:
            return True
        return disturbance.recovers and self.scenario.server.pool_limit <= len(STREAMS)

    def start_s(self, writer: Stream) -> float:
        """The first start of a flush of a writer after the calm [s]."""
        if writer not in self._starts:
            alone = {
                stream: rate for stream, rate in self.rates.items() if self._joins(DISTURBANCES[0], stream, writer)
            }
            calm = played(evenly(self.scenario, alone, 2 * CALM_S), 0.0, 0.0, seed=self.seed)
            flushes = calm.facts.flushes
            starts = flushes.loc[(flushes["writer"] == writer) & (flushes["start_s"] >= CALM_S), "start_s"]
            self._starts[writer] = float(starts.iloc[0]) if len(starts) else CALM_S
        return self._starts[writer]

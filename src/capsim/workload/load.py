"""A scenario's load as arrivals, one hour at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from capsim.base.errors import ScenarioError, TraceError
from capsim.base.units import US_PER_MINUTE, US_PER_S, us_from_s
from capsim.scenario.request_kinds import READ
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS, WorkloadSpec
from capsim.workload.block import BLOCK_US, Block, Ints, before
from capsim.workload.dispersion import Dispersion, fit_dispersion
from capsim.workload.instants import iso
from capsim.workload.model import Trace
from capsim.workload.players import Players
from capsim.workload.recorded import read_load
from capsim.workload.sources import Chance, CountsSource, EventsSource, KindsSource, RateSource, ScriptSource, Source

MOST_IN_BLOCK = 100_000_000  # arrivals in one hour: 0.8 GB and as much again while they are sorted
MOST_PASSES = 1_000_000
MOST_EXCHANGES = 8  # of neighbours of one instant; three of them need three at most

BinnedAs = Literal["modulated", "poisson"]


@dataclass(frozen=True, kw_only=True)
class Load:
    """Arrivals of one replicate; make one with `load_of`.

    Attributes
    ----------
    name : str
        Of the trace, or of the scenario.
    span_us : int
        Length of one pass over the load [us].
    until_us : int
        Where `blocks` stops [us].
    gaps : tuple of (from_us, to_us)
        Stretches of one pass without data, since its start [us].
    peak_hz : float
        Rate of the busiest minute, all requests after scaling [1/s]; where it is known what each is, those that bring
        an item. With sessions, their heartbeats and ends come on top. For bins wider than a minute it is drawn, hence
        assumed.
    mean_hz : float
        Mean rate over the time with data, after scaling [1/s]; of the same requests.
    """

    name: str
    span_us: int
    until_us: int
    gaps: tuple[tuple[int, int], ...] = ()
    peak_hz: float
    mean_hz: float
    workload: WorkloadSpec
    chance: Chance
    source: Source | ScriptSource | KindsSource
    trace: Trace | None = None
    assumptions: tuple[str, ...] = ()

    def blocks(self) -> Iterator[Block]:
        """The load in blocks of one hour that tile [0, until_us); each call begins afresh.

        Memory is bounded by one hour of arrivals and the live sessions.
        """
        players = Players(self.workload.sessions, self.chance) if self.workload.sessions else None
        carried = _streams()
        heartbeats = 0
        for number in range(-(-self.until_us // BLOCK_US)):
            from_us, to_us = number * BLOCK_US, (number + 1) * BLOCK_US
            in_order, other_us, queries_us = None, np.empty(0, np.int64), self._queries(number)
            if isinstance(self.source, ScriptSource):
                times = self.source.streams(from_us, min(to_us, self.span_us))
            elif isinstance(self.source, KindsSource):
                times, carried = self._by_kind(self.source, number, carried)
                queries_us, other_us = times.pop("reads"), times.pop("other")
            else:
                times, carried, in_order = self._split(number, carried)
            sessions = None
            if self.workload.live_sessions:
                count = times["heartbeats"].size
                sessions = (heartbeats + np.arange(count, dtype=np.int64)) % self.workload.live_sessions
                heartbeats += count
            block = Block(from_us, to_us, times, sessions, other_us, self._covered(from_us, to_us),
                          queries_us=queries_us, in_order=in_order)  # fmt: skip
            if players:
                block = players.play(block)
            yield block.until(self.until_us)

    def provenance(self) -> dict[str, Any]:
        """What the load is and what was assumed to make it: plain values, the same for the same input."""
        trace = self.trace
        return {
            "name": self.name,
            "source": Path(trace.source).name if trace else "scenario",
            "sha256": trace.sha256 if trace else "",
            "start": iso(trace.start_us) if trace else None,
            "span_s": self.span_us / US_PER_S,
            "until_s": self.until_us / US_PER_S,
            "scale": self.workload.scale,
            "mean_hz": self.mean_hz,
            "peak_hz": self.peak_hz,
            "gaps": len(self.gaps),
            "gaps_total_s": sum(to - from_ for from_, to in self.gaps) / US_PER_S,
            "seed": self.chance.seed,
            "replicate": self.chance.replicate,
            "notes": list(trace.notes) if trace else [],
            "assumptions": list(self.assumptions),
        }

    @cached_property
    def _gap_ends(self) -> list[int]:
        return [to for _, to in self.gaps]

    def _split(
        self, number: int, carried: dict[str, Ints]
    ) -> tuple[dict[str, Ints], dict[str, Ints], tuple[Ints, NDArray[np.int8]] | None]:
        """Sorted arrivals of one block by stream, those that already belong to later ones, and `Block.in_order`."""
        from_us, to_us = number * BLOCK_US, (number + 1) * BLOCK_US
        assert not isinstance(self.source, ScriptSource | KindsSource)
        parts = {stream: [times] for stream, times in carried.items()}
        mix = self.workload.mix
        for pass_, low, high in self._passes(from_us, to_us):
            piece = number + pass_
            times = self.source.arrivals(low, high, piece) + pass_ * self.span_us
            if self.until_us < to_us:  # a minute needs no hour sorted
                times = times[times < self.until_us]
            times = np.sort(times)
            which = self.chance.at("mix", piece).random(times.size)
            kinds = (which >= mix.events).view(np.int8) + (which >= mix.events + mix.revenue)
            for kind, stream in enumerate(STREAMS):
                parts[stream].append(times[kinds == kind])
        in_order = None
        if all(len(found) == 2 and not found[0].size for found in parts.values()) and by_stream(times, kinds):
            in_order = before(to_us, times, kinds)
        whole = {
            name: found[-1] if len(found) == 2 and not found[0].size else np.sort(np.concatenate(found))
            for name, found in parts.items()
        }
        return *_cut(whole, to_us), in_order

    def _by_kind(
        self, source: KindsSource, number: int, carried: dict[str, Ints]
    ) -> tuple[dict[str, Ints], dict[str, Ints]]:
        """The same where it is known what each request is: streams, reads and others."""
        from_us, to_us = number * BLOCK_US, (number + 1) * BLOCK_US
        whole = {}
        for name, one in source.by_kind.items():
            parts = [carried[name]] if name in carried else []
            for pass_, low, high in self._passes(from_us, to_us):
                parts.append(one.arrivals(low, high, number + pass_) + pass_ * self.span_us)
            whole[name] = np.sort(np.concatenate(parts))
        return _cut(whole, to_us)

    def _queries(self, number: int) -> Ints:
        """Sorted analytics reads of one block, where the load has data; Poisson."""
        from_us, to_us = number * BLOCK_US, (number + 1) * BLOCK_US
        draws = self.chance.at("queries", number)
        rate_hz = self.workload.queries_hz * self.workload.scale
        times = np.sort(from_us + draws.integers(0, BLOCK_US, int(draws.poisson(rate_hz * BLOCK_US / US_PER_S))))
        if not times.size:
            return times
        edges = np.array(self._covered(from_us, to_us), np.int64).ravel()
        inside: Ints = times[edges.searchsorted(times, "right") % 2 == 1]
        return inside

    def _passes(self, from_us: int, to_us: int) -> Iterator[tuple[int, int, int]]:
        """Passes that a block touches: number, and from-to within the pass [us]."""
        if isinstance(self.source, RateSource):  # a rate has no passes: it goes on
            yield 0, from_us, to_us
            return
        for pass_ in range(from_us // self.span_us, (min(to_us, self.until_us) - 1) // self.span_us + 1):
            begin_us = pass_ * self.span_us
            yield pass_, max(0, from_us - begin_us), min(self.span_us, to_us - begin_us)

    def _covered(self, from_us: int, to_us: int) -> tuple[tuple[int, int], ...]:
        if self.trace is None:
            return ((from_us, to_us),)
        covered: list[tuple[int, int]] = []
        for pass_, low, high in self._passes(from_us, to_us):
            begin_us, at_us = pass_ * self.span_us, low
            for gap_from, gap_to in self.gaps[bisect_right(self._gap_ends, low) :]:
                if gap_from >= high:
                    break
                if gap_from > at_us:
                    covered.append((begin_us + at_us, begin_us + gap_from))
                at_us = gap_to
            if at_us < high:
                covered.append((begin_us + at_us, begin_us + high))
        return tuple(covered)


def by_stream(times: Ints, kinds: NDArray[np.int8]) -> bool:
    """Exchange kinds of sorted arrivals so that those of one instant ascend; False where too many share one.

    Examples
    --------
    >>> kinds = np.array([1, 2, 0, 1], np.int8)
    >>> by_stream(np.array([5, 9, 9, 9]), kinds), kinds.tolist()
    (True, [1, 0, 1, 2])
    """
    same = np.flatnonzero(times[1:] == times[:-1])
    for _ in range(MOST_EXCHANGES):
        wrong = same[kinds[same] > kinds[same + 1]]
        if not len(wrong):
            return True
        wrong = wrong[np.diff(wrong, prepend=-2) > 1]  # of a run of pairs the first
        kinds[wrong], kinds[wrong + 1] = kinds[wrong + 1], kinds[wrong]
    return False


def load_of(
    scenario: Scenario,
    trace: Trace | None = None,
    seed: int = 0,
    replicate: int = 0,
    until_us: int | None = None,
    binned_as: BinnedAs = "modulated",
) -> Load:
    """The load of a scenario.

    Parameters
    ----------
    scenario : Scenario
        Only its workload matters: scenarios with the same one see the same arrivals.
    trace : Trace, optional
        Takes the place of the workload's own trace, rate or runs. Without it, a workload that names a trace has it
        read from the bundled ones or the current folder.
    seed, replicate : int
        Address of all draws.
    until_us : int, optional
        Where to stop [us]; by default ``workload.duration_s``, or else the end of one pass. Beyond its end a trace is
        repeated with fresh draws, a rate goes on, and a script is over.
    binned_as : {"modulated", "poisson"}
        What happens inside bins wider than 60 s: minutes as `capsim.workload.dispersion` fits them, or a Poisson
        process.

    Returns
    -------
    Load

    Raises
    ------
    TraceError, ScenarioError
        If the load is too large for memory, or impossible.

    Examples
    --------
    >>> from capsim.scenario.scenario import Scenario
    >>> scenario = Scenario(name="x", workload={"rate_hz": 20, "duration_s": 60}, billing={"from": "2026-02-03"})
    >>> [block.to_us for block in load_of(scenario, seed=7).blocks()]
    [60000000]
    """
    workload = scenario.workload
    chance = Chance(seed, replicate)
    if trace is None and workload.trace is not None:
        trace = read_load(workload.trace, workload)
    if trace is not None:
        load = _of_trace(workload, trace, chance, binned_as)
    elif workload.rate_hz is not None:
        load = _of_rate(scenario.name, workload, chance)
    else:
        load = _of_runs(scenario.name, workload, chance)
    if until_us is None:
        until_us = us_from_s(workload.duration_s) if workload.duration_s else load.span_us
    if until_us <= 0 or (trace is not None and until_us > MOST_PASSES * load.span_us):
        raise ScenarioError(
            f"{load.name}: a run of {until_us / US_PER_S:g} s cannot be made from a load of "
            f"{load.span_us / US_PER_S:g} s; give a length above 0, and at most {MOST_PASSES} times the load's"
        )
    most = load.source.most_in_block()
    if most > MOST_IN_BLOCK:
        raise TraceError(
            f"{load.name}: {most:.3g} requests in one hour are more than fit in memory; "
            f"lower the load to {MOST_IN_BLOCK / most:.2g} of that, for example with scale"
        )
    return replace(load, until_us=until_us)


def _of_trace(workload: WorkloadSpec, trace: Trace, chance: Chance, binned_as: BinnedAs) -> Load:
    source: Source | KindsSource
    items = trace.total
    if trace.kind == "events":
        if trace.kinds is None:
            source = EventsSource(trace, workload.scale, chance)
        else:
            source, items = KindsSource(trace, workload.scale, chance), int((trace.kinds < READ).sum())
        assumptions = [f"arrivals are uniform within the {trace.resolution_us / US_PER_S:g} s of their stamp"]
        if workload.scale > 1:
            assumptions.append("further copies of a request move to a uniform place in its minute")
    else:
        fit = fit_dispersion(trace) if binned_as == "modulated" else Dispersion()
        source = CountsSource(trace, workload.scale, chance, fit)
        width_s = trace.width_us / US_PER_S
        assumptions = [f"arrivals are uniform within bins of {width_s:g} s"]
        if trace.width_us > US_PER_MINUTE:
            assumptions = [
                f"peaks inside bins of {width_s:g} s are assumed: independent minutes with a squared variation of "
                f"{fit.minute_cv2:.3g}, extrapolated from wider scales"
            ]
    return Load(
        name=trace.name,
        span_us=trace.span_us,
        until_us=trace.span_us,
        gaps=tuple((a - trace.start_us, b - trace.start_us) for a, b in trace.gaps),
        peak_hz=source.peak_hz(),
        mean_hz=items * workload.scale / (trace.covered_us / US_PER_S),
        workload=workload,
        chance=chance,
        source=source,
        trace=trace,
        assumptions=tuple(assumptions),
    )


def _of_rate(name: str, workload: WorkloadSpec, chance: Chance) -> Load:
    assert workload.rate_hz is not None and workload.duration_s is not None
    rate_hz = workload.rate_hz * workload.scale
    span_us = max(1, us_from_s(workload.duration_s))
    return Load(
        name=name,
        span_us=span_us,
        until_us=span_us,
        peak_hz=rate_hz,
        mean_hz=rate_hz,
        workload=workload,
        chance=chance,
        source=RateSource(rate_hz, chance),
        assumptions=("arrivals are a Poisson process of constant rate",),
    )


def _of_runs(name: str, workload: WorkloadSpec, chance: Chance) -> Load:
    if workload.scale != 1:
        raise ScenarioError(f"{name}: scripted runs have no scale; write the counts you want into workload.runs")
    source = ScriptSource(workload.runs)
    # A minute after the last arrival, so that the timers it started run out.
    span_us = us_from_s(workload.duration_s) if workload.duration_s else source.last_us + US_PER_MINUTE
    return Load(
        name=name,
        span_us=span_us,
        until_us=span_us,
        peak_hz=source.peak_hz(),
        mean_hz=source.count(0, span_us) / (span_us / US_PER_S),
        workload=workload,
        chance=chance,
        source=source,
    )


def _cut(times: dict[str, Ints], at_us: int) -> tuple[dict[str, Ints], dict[str, Ints]]:
    """Sorted arrivals before an instant, and those from it on."""
    places = {name: int(found.searchsorted(at_us)) for name, found in times.items()}
    return (
        {name: found[: places[name]] for name, found in times.items()},
        {name: found[places[name] :] for name, found in times.items()},
    )


def _streams() -> dict[str, Ints]:
    return {stream: np.empty(0, np.int64) for stream in STREAMS}

"""Where arrivals come from: counts in bins, recorded instants, a rate, or a script.

Load time is cut into pieces at every hour and wherever a repeated trace begins anew; a piece is drawn whole, from its
own generators, so arrivals depend neither on who asks nor on where the run stops. Pieces are numbered block + pass,
which rises by one at every cut.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from capsim.base import rng
from capsim.base.units import US_PER_MINUTE, US_PER_MS, US_PER_S
from capsim.scenario.request_kinds import READ
from capsim.scenario.workload import STREAMS, RunSpec
from capsim.workload.block import BLOCK_US, Ints
from capsim.workload.convert import jitter_cell_us, scaled_counts, scaled_times
from capsim.workload.dispersion import Dispersion, minutes_in, split_counts
from capsim.workload.model import Trace


@dataclass(frozen=True)
class Chance:
    """Seed and replicate of a load: its half of every address."""

    seed: int
    replicate: int
    of: str = ""  # begins the names of the purposes

    def at(self, purpose: str, piece: int) -> np.random.Generator:
        """The generator of one purpose in one piece."""
        return rng.generator(self.seed, self.replicate, f"arrivals/{self.of}{purpose}", piece)


class Source(Protocol):
    """Arrivals of all streams together."""

    def arrivals(self, from_us: int, to_us: int, piece: int) -> Ints:
        """Arrivals that begin in [from_us, to_us) of one pass, unsorted; some may land after it [us]."""

    def peak_hz(self) -> float:
        """Rate of the busiest minute [1/s]."""

    def most_in_block(self) -> float:
        """Expected arrivals of the busiest hour."""


class CountsSource:
    """Counts become arrivals: uniform within bins of up to 60 s; wider bins are divided into minutes first."""

    def __init__(self, trace: Trace, scale: float, chance: Chance, fit: Dispersion) -> None:
        self._start_us = trace.bin_start_us - trace.start_us
        self._counts = trace.counts
        self._span_us = trace.span_us
        self._width_us = trace.width_us
        self._scale, self._chance = scale, chance
        self._cells = minutes_in(trace.width_us)
        self._cell_us = trace.width_us // self._cells
        self._cv2 = fit.minute_cv2

    def arrivals(self, from_us: int, to_us: int, piece: int) -> Ints:
        start_us, counts = self._minutes(from_us, to_us, piece)
        times = np.repeat(start_us, counts)
        times += self._chance.at("places", piece).integers(0, self._cell_us, times.size)
        return times

    def _minutes(self, from_us: int, to_us: int, piece: int) -> tuple[Ints, Ints]:
        """Cells of at most 60 s and their requests, after scaling."""
        first, last = self._start_us.searchsorted([from_us, to_us])
        start_us, counts = self._start_us[first:last], self._counts[first:last]
        if self._scale != 1:
            counts = scaled_counts(counts, self._scale, self._chance.at("scale", piece))
        if self._cells > 1:
            counts = split_counts(counts, self._cells, self._cv2, self._chance.at("minutes", piece)).ravel()
            within = np.arange(self._cells, dtype=np.int64) * self._width_us // self._cells
            start_us = (start_us[:, None] + within).ravel()
        return start_us, counts

    def peak_hz(self) -> float:
        if self._cells > 1:  # assumed: the first pass as it will be drawn
            blocks = range(-(-self._span_us // BLOCK_US))
            most = (self._minutes(b * BLOCK_US, (b + 1) * BLOCK_US, b)[1].max(initial=0) for b in blocks)
            return float(max(most)) / (self._cell_us / US_PER_S)
        first, sums = _sums(self._start_us // US_PER_MINUTE, self._counts)
        bins = np.diff(first, append=self._counts.size)
        length_s = np.maximum(60.0, bins * (self._width_us / US_PER_S))
        return float((sums / length_s).max()) * self._scale

    def most_in_block(self) -> float:
        return float(_sums(self._start_us // BLOCK_US, self._counts)[1].max()) * self._scale


class EventsSource:
    """Recorded instants, each spread over the resolution of its stamp."""

    def __init__(self, trace: Trace, scale: float, chance: Chance) -> None:
        self._times_us = trace.times_us - trace.start_us
        self._resolution_us = trace.resolution_us
        # Copies move within their minute, but leave room to be spread before the end.
        self._last_us = trace.span_us - trace.resolution_us + 1
        self._cell_us = jitter_cell_us(trace)
        self._scale, self._chance = scale, chance

    def arrivals(self, from_us: int, to_us: int, piece: int) -> Ints:
        first, last = self._times_us.searchsorted([from_us, to_us])
        times = self._times_us[first:last]
        if self._scale != 1:
            times = scaled_times(times, self._scale, self._cell_us, self._last_us, self._chance.at("scale", piece))
        return times + self._chance.at("places", piece).integers(0, self._resolution_us, times.size)

    def peak_hz(self) -> float:
        return self._most(US_PER_MINUTE) / 60

    def most_in_block(self) -> float:
        return self._most(BLOCK_US)

    def _most(self, width_us: int) -> float:
        if not self._times_us.size:
            return 0.0
        ones = np.ones(self._times_us.size, np.int64)
        return float(_sums(self._times_us // width_us, ones)[1].max()) * self._scale


class KindsSource:
    """Recorded instants of which it is known what each is; every kind has its own draws, as `EventsSource`.

    Attributes
    ----------
    by_kind : dict of name to EventsSource
        The names are those of the streams, ``reads`` and ``other``.
    """

    def __init__(self, trace: Trace, scale: float, chance: Chance) -> None:
        kinds = trace.kinds
        assert kinds is not None

        def only(which: NDArray[np.bool_], of: str = "") -> EventsSource:
            part = replace(trace, times_us=trace.times_us[which], kinds=None)
            return EventsSource(part, scale, replace(chance, of=of))

        names = (*STREAMS, "reads", "other")
        self.by_kind = {name: only(kinds == kind, f"{name}/") for kind, name in enumerate(names)}
        self._items, self._all = only(kinds < READ), only(kinds >= 0)

    def peak_hz(self) -> float:
        """Rate of the busiest minute of the items [1/s]."""
        return self._items.peak_hz()

    def most_in_block(self) -> float:
        """Requests of the busiest hour, all kinds."""
        return self._all.most_in_block()


class RateSource:
    """A Poisson process of constant rate."""

    def __init__(self, rate_hz: float, chance: Chance) -> None:
        self._rate_hz, self._chance = rate_hz, chance

    def arrivals(self, from_us: int, to_us: int, piece: int) -> Ints:
        draws = self._chance.at("places", piece)
        block_us = from_us // BLOCK_US * BLOCK_US  # a whole hour is drawn, wherever the load ends
        count = int(draws.poisson(self._rate_hz * (BLOCK_US / US_PER_S)))
        return block_us + draws.integers(0, BLOCK_US, count)

    def peak_hz(self) -> float:
        return self._rate_hz

    def most_in_block(self) -> float:
        return self._rate_hz * (BLOCK_US / US_PER_S)


class ScriptSource:
    """Scripted runs of arrivals: no chance, and nothing after the last."""

    def __init__(self, runs: tuple[RunSpec, ...]) -> None:
        self._runs = runs

    @property
    def last_us(self) -> int:
        """The last scripted arrival [us]."""
        return max(int(_run_us(run, run.count - 1, run.count)[0]) for run in self._runs)

    def count(self, from_us: int, to_us: int) -> int:
        """Arrivals in [from_us, to_us), all streams."""
        return sum(_before(run, to_us) - _before(run, from_us) for run in self._runs)

    def streams(self, from_us: int, to_us: int) -> dict[str, Ints]:
        """Sorted arrivals in [from_us, to_us) of each stream; at equal times the earlier run comes first."""
        empty = np.empty(0, np.int64)
        parts: dict[str, list[Ints]] = {stream: [empty] for stream in STREAMS}
        for run in self._runs:
            low, high = _before(run, from_us), _before(run, to_us)
            if low < high:
                parts[run.stream].append(_run_us(run, low, high))
        return {stream: np.sort(np.concatenate(found)) for stream, found in parts.items()}

    def peak_hz(self) -> float:
        # Each run has one rate, so a busiest minute begins where one of them does.
        starts = {run.at_ms * US_PER_MS for run in self._runs}
        return max(self.count(at_us, at_us + US_PER_MINUTE) for at_us in starts) / 60

    def most_in_block(self) -> float:
        starts = {run.at_ms * US_PER_MS // BLOCK_US * BLOCK_US for run in self._runs}
        return float(max(self.count(at_us, at_us + 2 * BLOCK_US) for at_us in starts))


def _run_us(run: RunSpec, low: int, high: int) -> Ints:
    """Instants of items low to high of a run [us]."""
    return (run.at_ms + _after_ms(run, low, high)) * US_PER_MS


def _after_ms(run: RunSpec, low: int, high: int) -> Ints:
    """Milliseconds from the start of a run to its items, rounded down."""
    item = np.arange(low, high, dtype=np.float64)
    after_ms = np.zeros(item.size) if run.rate_hz is None else np.floor(1_000.0 * item / run.rate_hz)
    return after_ms.astype(np.int64)


def _before(run: RunSpec, at_us: int) -> int:
    """How many items of a run arrive before an instant."""
    wait_ms = -(-at_us // US_PER_MS) - run.at_ms
    if wait_ms <= 0:
        return 0
    if run.rate_hz is None:
        return run.count
    # Within an item or two; the exact instants decide.
    guess = wait_ms * run.rate_hz / 1_000
    low = max(0, int(min(guess, run.count)) - 3)
    high = min(run.count, low + 7)
    return low + int(_after_ms(run, low, high).searchsorted(wait_ms))


def _sums(group: Ints, values: Ints) -> tuple[Ints, Ints]:
    """First index and sum of each run of equal ``group`` (sorted)."""
    first = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
    return first, np.add.reduceat(values, first)

"""The server under arrivals that are never made: the same writers, pool and database, played for ``fidelity = "law"``.

Nothing here is a rule of the server. `LawServer` is `capsim.engine.model.Server` without its loop, whose writers look
at `PoissonArrivals`; `LawSampler` adds to the bins what the exact sampler reads off single arrivals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capsim.base import rng
from capsim.base.units import US_PER_DAY, US_PER_MS, US_PER_S, us_from_ms
from capsim.engine.database import Draws, LatencyDatabase
from capsim.engine.fleet import Fleet, Process
from capsim.engine.happened import Happened, Stretch
from capsim.engine.jobs import Served, no_jobs
from capsim.engine.lives import Life
from capsim.engine.log import Log, with_lines
from capsim.engine.model import Block, Server
from capsim.engine.poisson import PoissonArrivals
from capsim.engine.sampler import CoveredBlock, Sampler, Step, edges_of
from capsim.memory.constants import varied
from capsim.memory.pauses import pauses
from capsim.scenario.database import DatabaseSpec, LatencySpec
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS, Stream
from capsim.workload.block import Block as LoadBlock

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# Sums of at most so many uniform variables are drawn as sums, larger ones as normal variables of the same mean and
# variance: their distribution functions differ by less than 0.03 / n (first Edgeworth term), 0.0019 from 16 on.
FEW = 16


@dataclass(frozen=True)
class Rates:
    """Arrivals of each stream [1/s], and where their chance comes from."""

    hz: Mapping[Stream, float]
    seed: int
    replicate: int


class LawDatabase(LatencyDatabase):
    """The database of the scenario, with draws that cost by the call and not by the item.

    The exact engine makes a table of draws with one entry an item, of which a batch of 100 uses one. Here a draw is
    computed from its address alone; where every item has a call of its own (``single``, visits), the table stays.
    """

    def __init__(self, spec: DatabaseSpec, seed: int, replicate: int, of: str = "", *, single: bool) -> None:
        super().__init__(spec, seed, replicate, of)
        self._single = single

    def _draws_of(self, stream: str, kind: str, attempt: int) -> Draws:
        if stream not in STREAMS or (kind == "update" and self._single):
            return super()._draws_of(stream, kind, attempt)
        key = (stream, kind, attempt)
        if key not in self._draws:
            name = f"law {stream} {kind} {attempt}"
            self._draws[key] = _Scattered(rng.Scattered(*self._address, name), self._latency[kind])
        return self._draws[key]


class _Scattered:
    """Factors with median 1 at single addresses; see `capsim.engine.database`."""

    def __init__(self, draws: rng.Scattered, spec: LatencySpec) -> None:
        self._draws, self._spec = draws, spec

    def __getitem__(self, item: int) -> float:
        return float(self.many(np.array([item], np.int64))[0])

    def many(self, items: Ints) -> Floats:
        if self._spec.distribution == "constant":
            return np.ones(len(items))
        if self._spec.distribution == "lognormal":
            factors: Floats = np.exp(self._spec.sigma * self._draws.normal(items))
        else:
            factors = self._draws.exponential(items) / np.log(2)
        return factors


class LawServer(Server):
    """A server without its loop under Poisson arrivals that are drawn where a writer decides."""

    def __init__(self, rates: Rates, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.arrivals: dict[Stream, PoissonArrivals] = {}
        for stream, writer in self.writers.items():
            draws = rng.generator(rates.seed, rates.replicate, f"law {stream}")
            self.arrivals[stream] = PoissonArrivals(rates.hz[stream], draws)
            writer.arrivals = self.arrivals[stream]  # type: ignore[assignment]

    def in_loop(self, stream: Stream) -> int:
        """No item ever waits for a loop."""
        return 0

    def advance(self, block: Block) -> Happened:
        """Play the next block; what it says of single arrivals is empty."""
        for arrivals in self.arrivals.values():
            arrivals.begin(block.from_us)
        for _ in self._run(block.to_us):
            raise AssertionError("a server that is alone takes its steps by itself")
        for writer in self.writers.values():
            writer.settle(block.to_us)
        takes, attempts = self.takes.drain(), self.attempts.drain()
        stretches = {stream: _flushes(part, takes, attempts) for part, stream in enumerate(STREAMS)}
        return Happened(
            takes,
            attempts,
            connections=self.pool.changes.drain(),
            waits=self.pool.waits.drain(),
            stretches=stretches,
            served=_served(),
            visits=self.visits.facts.drain(),
            refusals=self.pool.refusals,
        )


def _flushes(part: int, takes: dict[str, Ints], attempts: dict[str, Ints]) -> Stretch:
    """What the flushes of one writer did."""
    none = np.empty(0, np.int64)
    took, tried = takes["part"] == part, attempts["part"] == part
    own = {name: column[tried] for name, column in attempts.items()}
    return Stretch(
        arrivals_us=none,
        stored_us=none,
        refused=none.astype(bool),
        taken_us=takes["taken_us"][took],
        taken_rows=takes["rows"][took],
        ended_us=own["end_us"],
        ended_rows=own["rows"] * own["last"],
        written_rows=own["counted"],
        failed_rows=own["lost"] * (1 - own["ok"]),
        uncounted_rows=own["lost"] * own["ok"],
        previous=None,
    )


def _served() -> Served:
    """A loop that did nothing."""
    idle, none = no_jobs(), np.empty(0, np.int64)
    nobody = none.astype(bool)
    return Served(0, idle.at_us, idle.kind, idle.cpu_us, none, nobody, nobody, none, none, none, none)


class LawSampler(Sampler):
    """The bins of a `LawServer`; counts of arrivals, buffers and the work of the loop are drawn where bins end."""

    def __init__(
        self, width_us: int, cut_us: int | None, scenario: Scenario, log: Log, draws: np.random.Generator
    ) -> None:
        super().__init__(width_us, cut_us, scenario, log)
        self._server, self._uniform = scenario.server, draws
        self._constants = varied(scenario)
        self._paused_us = pauses(scenario).mean_us
        self._logs = log.logs
        self._levels = dict.fromkeys(STREAMS, 0)

    def play(self, server: Server, block: CoveredBlock) -> Happened:
        """Play the next block on the server and add its bins."""
        assert isinstance(server, LawServer)
        happened = super().play(server, block)
        edges = edges_of(block.from_us, block.to_us, self._width_us, self._cut_us)
        row, http = self._bins.last, with_lines(self._server.http, self._server.logger, self._constants)
        width_us = np.diff(edges).astype(np.float64)
        requests, work_us = np.zeros(len(width_us), np.int64), np.zeros(len(width_us))
        longest_us, said = np.zeros(len(width_us)), np.zeros(len(width_us), np.int64)
        for stream in STREAMS:
            stretch = happened.stretches[stream]
            arrived, refused, lines_of, mean, smallest, largest = self._arrivals(server, stream, stretch, edges)
            said += lines_of
            row[f"{stream}_arrived"], row[f"{stream}_dropped_cap"] = arrived, refused
            row[f"{stream}_buffer_mean_rows"] = mean
            row[f"{stream}_buffer_min_rows"], row[f"{stream}_buffer_max_rows"] = smallest, largest
            place = _bin_of(stretch.taken_us, edges)
            cpu_us = us_from_ms(getattr(http, f"{stream}_cpu_ms"))
            requests += arrived
            work_us += arrived * cpu_us
            work_us += np.bincount(place, stretch.taken_rows, len(width_us)) * http.row_cpu_ms * US_PER_MS
            np.maximum.at(longest_us, place, stretch.taken_rows * http.row_cpu_ms * US_PER_MS)
            longest_us = np.maximum(longest_us, np.where(arrived > 0, cpu_us, 0))
        work_us += requests * self._paused_us
        unknown = np.full(len(width_us), np.nan)
        row["requests"], row["loop_offered"] = requests, work_us / width_us
        row["loop_utilisation"] = np.minimum(work_us / width_us, 1.0)
        row["loop_block_max_ms"] = longest_us / US_PER_MS
        row["loop_wait_max_ms"] = row["loop_backlog_ms"] = unknown
        logger = self._server.logger
        refused = self._logs("error") * said * logger.lines_per_error
        lines = requests * logger.lines_per_request * self._logs("info") + refused
        for name, more in (("log_lines", lines), ("log_error_lines", refused)):
            row[name] = row[name].astype(np.float64) + more
        for name in ("log_lines_dropped", "log_lines_max_hz"):
            row[name] = np.where(lines > 0, np.nan, row[name].astype(np.float64))
        return happened

    def _arrivals(
        self, server: LawServer, stream: Stream, stretch: Stretch, edges: Ints
    ) -> tuple[Ints, Ints, Ints, Floats, Ints, Ints]:
        """Arrived, refused, lines about that; mean, smallest and largest buffer of each bin."""
        writer, arrivals = server.writers[stream], server.arrivals[stream]
        runs = writer.drain_refused()
        for start, _ in runs:
            if start >= arrivals.first_known:  # otherwise it goes on from the stretch before
                arrivals.time_us(start)  # so that before it all are stored, and after it none
        at_us, before, upto = arrivals.path(edges)
        first = int(before[0])
        starts = np.array([max(start, first) for start, _ in runs], np.int64)
        sizes = np.maximum(np.array([stop for _, stop in runs], np.int64) - starts, 0)
        bounds = np.column_stack((starts, starts + sizes)).ravel()
        totals = np.column_stack((np.cumsum(sizes) - sizes, np.cumsum(sizes))).ravel()

        def refused(numbers: Ints) -> Ints:
            if not len(bounds):
                return np.zeros(len(numbers), np.int64)
            found: Ints = np.rint(np.interp(numbers, bounds, totals)).astype(np.int64)
            return found

        at_edges = np.searchsorted(at_us, edges)
        arrived, dropped = np.diff(before[at_edges]), np.diff(refused(before[at_edges]))
        lines = dropped
        if writer.repaired and dropped.any():  # it says once a second how many it refused
            some = np.flatnonzero(dropped)
            seconds = np.unique(np.concatenate([np.arange(edges[b], edges[b + 1], US_PER_S) for b in some]))
            at_us, before, upto = arrivals.path(np.union1d(edges, seconds))
            at_edges = np.searchsorted(at_us, edges)
            ticks = np.union1d(edges, seconds)
            full = np.diff(refused(before[np.searchsorted(at_us, ticks)])) > 0
            lines = np.bincount(_bin_of(ticks[:-1], edges), full, len(dropped)).astype(np.int64)
        # Between two known instants the buffer grows by arrivals that are independent and uniform.
        stored_before, stored_upto = before - first - refused(before), upto - first - refused(upto)
        wide_us, growth = np.diff(at_us), stored_before[1:] - stored_upto[:-1]
        area = stored_upto[:-1] * wide_us + self._sums(growth) * wide_us
        width_us = np.diff(edges).astype(np.float64)
        taken = Step(-self._levels[stream])
        place = _bin_of(stretch.taken_us, edges)
        taken_mean, taken_begin = taken.mean(stretch.taken_us, stretch.taken_rows, edges, place)
        mean = np.add.reduceat(area, at_edges[:-1]) / width_us - taken_mean
        begin = stored_before[at_edges[:-1]] - taken_begin
        self._levels[stream] = int(stored_before[-1]) - taken.level
        largest = np.concatenate((begin[1:], [self._levels[stream]]))
        smallest = begin.copy()
        np.maximum.at(largest, place, stretch.taken_rows)
        smallest[place] = 0
        return arrived, dropped, lines, np.maximum(mean, 0.0), smallest, np.maximum(largest, smallest)

    def _sums(self, counts: Ints) -> Floats:
        """For each count, the sum of so many uniform variables."""
        few = counts <= FEW
        found = counts / 2 + np.sqrt(counts / 12) * self._uniform.standard_normal(len(counts))
        single = self._uniform.random(int(counts[few].sum()))
        totals = np.concatenate(([0.0], np.cumsum(single)))
        ends = np.cumsum(counts[few])
        found[few] = totals[ends] - totals[ends - counts[few]]
        return np.clip(found, 0, counts)


def _bin_of(times_us: Ints, edges: Ints) -> Ints:
    found: Ints = np.clip(np.searchsorted(edges, times_us, "right") - 1, 0, len(edges) - 2)
    return found


class LawFleet(Fleet):
    """One process under `Rates`, for as long as the run goes."""

    def __init__(self, scenario: Scenario, rates: Rates, lives: Sequence[Sequence[Life]], *args: Any) -> None:
        super().__init__(scenario, rates.seed, rates.replicate, lives, *args)
        self._rates = rates

    def blocks(self, until_us: int) -> Iterator[LoadBlock]:
        """Blocks of load in which nothing has been made."""
        from_us, none = 0, np.empty(0, np.int64)
        while from_us < until_us:
            to_us = min(until_us, from_us + US_PER_DAY)
            yield LoadBlock(from_us, to_us, dict.fromkeys(STREAMS, none), None, none, ((from_us, to_us),))
            from_us = to_us

    def _born(self, life: Life, replica: int, block: CoveredBlock) -> Process:
        spec, database = self._spec, self._scenario.database
        sources, _ = self._sources(life, replica, 0)
        server = LawServer(
            self._rates,
            {stream: getattr(spec.writers, stream) for stream in STREAMS},
            spec.pool,
            spec.pool_limit,
            self._database(replica),
            sources=sources,
            parallel=database.parallel_calls,
            room=lambda _: database.clients_max,
        )
        draws = rng.generator(*self._address, "law buffers")
        sampler = LawSampler(self._width_us, self._cut_us, self._scenario, Log(spec.logger), draws)
        return Process(life, replica, 0, server, sampler)

"""Analytics reads and calls of the metrics endpoint, and the cache of responses.

A read looks into the cache, asks the database on a miss, loads the result into the heap and turns it into text on the
one thread. Concurrent misses of one query all ask the database: nothing makes them wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from capsim.base import rng
from capsim.base.units import MIB, US_PER_MS, us_from_ms, us_from_s
from capsim.engine.database import LONGEST_CALL_US, Database, Statement
from capsim.engine.recorder import Facts
from capsim.engine.together import Together, asked
from capsim.engine.visits import Compute, End, Program, ProgramOf, Wait
from capsim.scenario.parts import CacheSpec, MetricsSpec, QueriesSpec

Ints = NDArray[np.int64]

MOST_ROWS = 10**9  # of one result


class Response(NamedTuple):
    """What is made of the result of a read, with the CPU of that; what is kept of it is compressed for each answer."""

    rows: int
    cpu_us: int
    size_bytes: int
    packing_us: int


class Cache:
    """Responses by query, each until it expires; the oldest give way when the cache is full."""

    def __init__(self, spec: CacheSpec) -> None:
        self._ttl_us = us_from_s(spec.ttl_s)
        self._entries_max = 1 << 62 if spec.entries_max == "none" else spec.entries_max
        self._bytes_max = float("inf") if spec.size_max_mib == "none" else spec.size_max_mib * MIB
        self._kept: dict[int, tuple[int, Response]] = {}  # query: expiry, response; the oldest first
        self.in_redis = spec.store == "redis"
        self.level = Facts("when_us", "bytes")  # kept from then on

    def find(self, query: int, now_us: int) -> Response | None:
        """A response that is kept."""
        kept = self._kept.get(query)
        return kept[1] if kept is not None and now_us < kept[0] else None

    def store(self, query: int, now_us: int, response: Response) -> None:
        """Keep a response."""
        self._kept = {q: entry for q, entry in self._kept.items() if entry[0] > now_us and q != query}
        self._kept[query] = now_us + self._ttl_us, response
        total = sum(response.size_bytes for _, response in self._kept.values())
        while len(self._kept) > self._entries_max or (total > self._bytes_max and self._kept):
            total -= self._kept.pop(next(iter(self._kept)))[1].size_bytes
        self.level.add(now_us, total)

    @property
    def longest_us(self) -> int:
        """CPU of compressing the largest response that is kept [us]."""
        return max((response.packing_us for _, response in self._kept.values()), default=0)

    def state(self) -> tuple[dict[int, tuple[int, Response]], int]:
        """All that passes, for `restore`; the dictionary is replaced, never changed, except right after."""
        return dict(self._kept), len(self.level)

    def restore(self, state: tuple[dict[int, tuple[int, Response]], int]) -> None:
        """Be again as `state` said."""
        self._kept = dict(state[0])
        self.level.cut(state[1])


class Reads(NamedTuple):
    """Reads that have come: when, the rows that each finds, and the CPU of its response."""

    at_us: Ints
    rows: Ints
    cpu_us: Ints

    def where(self, which: slice) -> Reads:
        """Some of them."""
        return Reads(*(column[which] for column in self))


class Queries:
    """Analytics reads.

    Parameters
    ----------
    spec, cache
        Of the scenario; without a cache every read asks the database.
    seed, replicate : int
        Address of the draws: which query each read asks, and how many rows that finds.
    first : int
        Number of the first read.
    of : str
        Added to the names of the draws, for replicas that number their reads alike.
    redis : callable, optional
        Until when a command that is sent at an instant, after so many of other reads, has to wait for Redis, None if it
        is rejected; see `capsim.engine.redis`.
    """

    name = "queries"

    def __init__(
        self,
        spec: QueriesSpec,
        cache: CacheSpec | None,
        *,
        seed: int,
        replicate: int,
        first: int = 0,
        of: str = "",
        redis: Callable[[int, int], int | None] | None = None,
    ) -> None:
        self._spec, self._redis = spec, redis
        self.cache = None if cache is None else Cache(cache)
        self._which = rng.Table(seed, replicate, f"queries which{of}", "uniform")
        self._rows = rng.Table(seed, replicate, f"queries rows{of}", "normal")
        self._base = self._next = first
        nothing = np.empty(0, np.int64)
        self._known = Reads(nothing, nothing, nothing)  # from number `_base` on

    def come(self, times_us: Ints) -> None:
        """The reads of the next block [us]."""
        first = self._base + len(self._known.at_us)
        rows = self.rows(np.arange(first, first + len(times_us)))
        left = self._known.where(slice(self._next - self._base, None))
        new = Reads(times_us, rows, self.cpu_us(rows))
        self._known = Reads(*(np.concatenate(both) for both in zip(left, new, strict=True)))
        self._base = self._next

    def next_us(self) -> int | None:
        """Arrival of the next read [us]."""
        place = self._next - self._base
        return int(self._known.at_us[place]) if place < len(self._known.at_us) else None

    def begin(self) -> tuple[int, Program] | None:
        """The next read."""
        number, now_us = self._next, self.next_us()
        assert now_us is not None
        self._next += 1
        return number, self._read(number, now_us, self._response(number))

    def together(self, part: int, database: Database, horizon_us: int) -> tuple[Together, ProgramOf] | None:
        """The reads before the horizon, unless they have to wait for Redis."""
        if self.cache is not None and self.cache.in_redis and self._redis is not None:
            return None
        come = self._known.where(slice(self._next - self._base, int(self._known.at_us.searchsorted(horizon_us))))
        number = np.arange(self._next, self._next + len(come.at_us))
        self._next += len(number)
        end_us, ok = asked(database, self.name, number, come.at_us, come.rows)
        rows, cpu_us = come.rows * ok, come.cpu_us * ok
        found = {} if self.cache is None else self._found(self.cache, number, come, end_us, ok, horizon_us)
        hits = np.array(list(found), np.intp)
        cached = np.zeros(len(number), bool)
        cached[hits] = ok[hits] = True
        end_us[hits] = come.at_us[hits]
        rows[hits] = [kept.rows for kept in found.values()]
        cpu_us[hits] = [kept.packing_us for kept in found.values()]
        cpu_us += us_from_ms(self._spec.cpu_ms)
        played = Together.of(part, number, come.at_us, end_us, ok=ok, rows=rows, cached=cached, cpu_us=cpu_us)
        return played, lambda number: self._miss(number, self._response(number), self.cache is not None)

    def _found(
        self, cache: Cache, number: Ints, come: Reads, end_us: Ints, ok: NDArray[np.bool_], horizon_us: int
    ) -> dict[int, Response]:
        """What reads find in the cache, by place; what the database answers the others before the horizon is kept."""
        queries = (self._which.many(number) * self._spec.distinct).astype(np.int64).tolist()
        answered = (ok & (end_us < horizon_us)).tolist()
        out: list[tuple[int, int]] = []  # when the database will answer, and whom
        found = {}
        for place, at_us in enumerate([*come.at_us.tolist(), horizon_us]):
            while out and out[0][0] <= at_us:
                when_us, asker = heappop(out)
                cache.store(queries[asker], when_us, self._response(int(number[asker])))
            if place == len(queries):
                break
            kept = cache.find(queries[place], at_us)
            if kept is not None:
                found[place] = kept
            elif answered[place]:
                heappush(out, (int(end_us[place]), place))
        return found

    def query(self, number: int) -> int:
        """Which query a read asks."""
        return int(self._which[number] * self._spec.distinct)

    def rows(self, numbers: Ints) -> Ints:
        """Rows of the results of reads, by number, ascending."""
        spec = self._spec
        with np.errstate(over="ignore"):
            found = spec.rows_median * np.exp(spec.rows_sigma * self._rows.many(numbers))
        rows = np.maximum(np.rint(np.minimum(found, MOST_ROWS)), 1).astype(np.int64)
        return rows if spec.take_rows == "none" else np.minimum(rows, spec.take_rows)

    def cpu_us(self, rows: Ints) -> Ints:
        """CPU of responses of so many rows each [us]."""
        spec = self._spec
        cpu_ms = rows * spec.row_cpu_ms
        if spec.compression:
            cpu_ms += np.rint(rows * spec.row_json_bytes) / MIB * spec.compression_cpu_ms_per_mib
        found: Ints = np.rint(np.minimum(cpu_ms * US_PER_MS, LONGEST_CALL_US)).astype(np.int64)
        return found

    def _response(self, number: int) -> Response:
        """That of a read which has come and not begun, or begins now."""
        spec, place = self._spec, number - self._base
        rows, cpu_us = int(self._known.rows[place]), int(self._known.cpu_us[place])
        packing_us = cpu_us - us_from_ms(rows * spec.row_cpu_ms) if spec.compression else 0
        return Response(rows, cpu_us, round(rows * spec.row_json_bytes), packing_us)

    def _read(self, number: int, now_us: int, made: Response) -> Program:
        cache, asks_cache = self.cache, self.cache is not None
        if cache is not None and cache.in_redis and self._redis is not None:
            place = number - self._base
            back_us = self._redis(now_us, place - int(self._known.at_us[:place].searchsorted(now_us)))
            asks_cache = back_us is not None  # rejected: carry on without a cache
            if back_us is not None and back_us > now_us:
                seen = yield Wait(back_us)
                now_us = seen.now_us
        if cache is not None and asks_cache:
            kept = cache.find(self.query(number), now_us)
            if kept is not None:
                yield Compute(us_from_ms(self._spec.cpu_ms) + kept.packing_us)
                return End(True, kept.rows, cached=True)
        return (yield from self._miss(number, made, asks_cache))

    def _miss(self, number: int, made: Response, asks_cache: bool) -> Program:
        """A read that asks the database."""
        cache, request_us = self.cache, us_from_ms(self._spec.cpu_ms)
        seen = yield Statement("query", number, made.rows)
        assert seen.outcome is not None
        if seen.outcome.result != "ok":
            yield Compute(request_us)
            return End(False)
        if cache is not None and asks_cache and self._is_there(seen.now_us):
            cache.store(self.query(number), seen.now_us, made)
        yield Compute(request_us + made.cpu_us)
        return End(True, made.rows)

    def _is_there(self, now_us: int) -> bool:
        """Whether the cache can be written to: an answer that comes while Redis is away is not kept."""
        in_redis = self.cache is not None and self.cache.in_redis and self._redis is not None
        return not in_redis or self._redis is None or self._redis(now_us, 0) == now_us

    def work_us(self, to_us: int) -> int:
        """The most CPU that reads which start before an instant can need [us]."""
        come = self._known.where(slice(self._next - self._base, int(self._known.at_us.searchsorted(to_us))))
        own_us = int(come.cpu_us.sum())
        if self.cache is not None and self._spec.compression:  # any may compress the largest that is kept, or will be
            own_us = len(come.at_us) * max(int(come.cpu_us.max(initial=0)), self.cache.longest_us)
        return own_us + len(come.at_us) * us_from_ms(self._spec.cpu_ms)

    def state(self) -> tuple[int, Any]:
        """All that passes, for `restore`."""
        return self._next, None if self.cache is None else self.cache.state()

    def restore(self, state: tuple[int, Any]) -> None:
        """Be again as `state` said."""
        self._next, cache = state
        if self.cache is not None:
            self.cache.restore(cache)


class Metrics:
    """Calls of the metrics endpoint, at every interval from the start of the process; each counts the connections."""

    name = "metrics"

    def __init__(self, spec: MetricsSpec, begins_us: int, ends_us: int) -> None:
        self._every_us, self._cpu_us = us_from_s(spec.every_s), us_from_ms(spec.cpu_ms)
        self._begins_us, self._ends_us = begins_us, ends_us
        self._turn = 1

    def next_us(self) -> int | None:
        """The next call [us]."""
        when_us = self._begins_us + self._turn * self._every_us
        return when_us if when_us < self._ends_us else None

    def begin(self) -> tuple[int, Program] | None:
        """The next call."""
        self._turn += 1
        return self._turn - 1, self._ask(self._turn - 1)

    def together(self, part: int, database: Database, horizon_us: int) -> tuple[Together, ProgramOf]:
        """The calls before the horizon."""
        number = np.arange(self._turn, self._turns(horizon_us))
        self._turn += len(number)
        start_us, rows = self._begins_us + number * self._every_us, np.ones(len(number), np.int64)
        end_us, ok = asked(database, self.name, number, start_us, rows)
        return Together.of(part, number, start_us, end_us, ok=ok, rows=rows, cpu_us=rows * self._cpu_us), self._ask

    def _turns(self, to_us: int) -> int:
        """Number of the first call that does not come before an instant [us]."""
        before_us = min(to_us, self._ends_us) - self._begins_us
        return max(self._turn, -(-before_us // self._every_us))

    def work_us(self, to_us: int) -> int:
        """CPU of the calls before an instant [us]."""
        return (self._turns(to_us) - self._turn) * self._cpu_us

    def _ask(self, number: int) -> Program:
        seen = yield Statement("query", number, 1)
        assert seen.outcome is not None
        yield Compute(self._cpu_us)
        return End(seen.outcome.result == "ok", 1)

    def state(self) -> int:
        """All that passes, for `restore`."""
        return self._turn

    def restore(self, state: int) -> None:
        """Be again as `state` said."""
        self._turn = state

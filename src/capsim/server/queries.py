"""Analytics reads and calls of the metrics endpoint, and the cache of responses.

A read looks into the cache, asks the database on a miss, loads the result into the heap and turns it into text on the
one thread. Concurrent misses of one query all ask the database: nothing makes them wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capsim import rng
from capsim.parts import CacheSpec, MetricsSpec, QueriesSpec
from capsim.server.database import Statement
from capsim.server.recorder import Facts
from capsim.server.visits import Compute, End, Program, Wait
from capsim.units import MIB, us_from_ms, us_from_s

Ints = NDArray[np.int64]

MOST_ROWS = 10**9  # of one result


class Cache:
    """Responses by query, each until it expires; the oldest give way when the cache is full."""

    def __init__(self, spec: CacheSpec) -> None:
        self._ttl_us = us_from_s(spec.ttl_s)
        self._entries_max = 1 << 62 if spec.entries_max == "none" else spec.entries_max
        self._bytes_max = float("inf") if spec.size_max_mib == "none" else spec.size_max_mib * MIB
        self._kept: dict[int, tuple[int, int, int]] = {}  # query: expiry, rows, bytes; the oldest first
        self.in_redis = spec.store == "redis"
        self.level = Facts("when_us", "bytes")  # kept from then on

    def find(self, query: int, now_us: int) -> int | None:
        """Rows of a response that is kept."""
        kept = self._kept.get(query)
        return kept[1] if kept is not None and now_us < kept[0] else None

    def store(self, query: int, now_us: int, rows: int, size_bytes: int) -> None:
        """Keep a response."""
        self._kept = {q: entry for q, entry in self._kept.items() if entry[0] > now_us and q != query}
        self._kept[query] = now_us + self._ttl_us, rows, size_bytes
        total = sum(entry[2] for entry in self._kept.values())
        while len(self._kept) > self._entries_max or (total > self._bytes_max and self._kept):
            total -= self._kept.pop(next(iter(self._kept)))[2]
        self.level.add(now_us, total)

    def state(self) -> tuple[dict[int, tuple[int, int, int]], int]:
        """All that passes, for `restore`; the dictionary is replaced, never changed, except right after."""
        return dict(self._kept), len(self.level)

    def restore(self, state: tuple[dict[int, tuple[int, int, int]], int]) -> None:
        """Be again as `state` said."""
        self._kept = dict(state[0])
        self.level.cut(state[1])


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
        is rejected; see `capsim.server.redis`.
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
        self._times_us = np.empty(0, np.int64)

    def come(self, times_us: Ints) -> None:
        """The reads of the next block [us]."""
        self._times_us = np.concatenate((self._times_us[self._next - self._base :], times_us))
        self._base = self._next

    def next_us(self) -> int | None:
        """Arrival of the next read [us]."""
        place = self._next - self._base
        return int(self._times_us[place]) if place < len(self._times_us) else None

    def begin(self) -> tuple[int, Program] | None:
        """The next read."""
        number, now_us = self._next, self.next_us()
        assert now_us is not None
        self._next += 1
        return number, self._read(number, now_us)

    def query(self, number: int) -> int:
        """Which query a read asks."""
        return int(self._which[number] * self._spec.distinct)

    def rows(self, number: int) -> int:
        """Rows of the result of a read."""
        spec = self._spec
        found = max(1, round(min(spec.rows_median * float(np.exp(spec.rows_sigma * self._rows[number])), MOST_ROWS)))
        return found if spec.take_rows == "none" else min(found, spec.take_rows)

    def size_bytes(self, rows: int) -> int:
        """JSON of a result [bytes]."""
        return round(rows * self._spec.row_json_bytes)

    def cpu_us(self, rows: int) -> int:
        """CPU of a response of so many rows [us]."""
        spec = self._spec
        cpu_ms = rows * spec.row_cpu_ms
        if spec.compression:
            cpu_ms += self.size_bytes(rows) / MIB * spec.compression_cpu_ms_per_mib
        return us_from_ms(cpu_ms)

    def _read(self, number: int, now_us: int) -> Program:
        spec, cache = self._spec, self.cache
        query = self.query(number)
        asks_cache = cache is not None
        if cache is not None and cache.in_redis and self._redis is not None:
            place = number - self._base
            back_us = self._redis(now_us, place - int(self._times_us[:place].searchsorted(now_us)))
            asks_cache = back_us is not None  # rejected: carry on without a cache
            if back_us is not None and back_us > now_us:
                seen = yield Wait(back_us)
                now_us = seen.now_us
        request_us = us_from_ms(spec.cpu_ms)
        if cache is not None and asks_cache:
            kept = cache.find(query, now_us)
            if kept is not None:  # kept as text, but compressed anew
                packing_us = self.cpu_us(kept) - us_from_ms(kept * spec.row_cpu_ms)
                yield Compute(request_us + packing_us)
                return End(True, kept, cached=True)
        rows = self.rows(number)
        seen = yield Statement("query", number, rows)
        assert seen.outcome is not None
        if seen.outcome.result != "ok":
            yield Compute(request_us)
            return End(False)
        if cache is not None and asks_cache and self._is_there(seen.now_us):
            cache.store(query, seen.now_us, rows, self.size_bytes(rows))
        yield Compute(request_us + self.cpu_us(rows))
        return End(True, rows)

    def _is_there(self, now_us: int) -> bool:
        """Whether the cache can be written to: an answer that comes while Redis is away is not kept."""
        in_redis = self.cache is not None and self.cache.in_redis and self._redis is not None
        return not in_redis or self._redis is None or self._redis(now_us, 0) == now_us

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

"""Analytics reads: from the cache, or from the database, into the heap, and through the one thread into a response."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

import numpy as np
import simpy

from capsim.base import rng
from capsim.base.units import MIB, US_PER_MS, us_from_ms
from capsim.engine.kernel.fields import bin as B
from capsim.engine.simpy_engine.cache import Cache, Response
from capsim.engine.simpy_engine.clock import READ, VISIT, Story
from capsim.engine.simpy_engine.database import LONGEST_CALL_US
from capsim.engine.simpy_engine.redis import RedisClient
from capsim.engine.simpy_engine.visits import QUERIES, Visit, Visits
from capsim.scenario.parts import QueriesSpec

MOST_ROWS = 10**9  # of one result


class Responses:
    """What each read asks for and finds, by its number."""

    def __init__(self, spec: QueriesSpec, seed: int, replicate: int, replica: int) -> None:
        of = f" of replica {replica}" if replica else ""
        self.spec = spec
        self._which = rng.Table(seed, replicate, f"queries which{of}", "uniform")
        self._rows = rng.Table(seed, replicate, f"queries rows{of}", "normal")

    def of(self, number: int) -> Response:
        """The response to a read."""
        spec, query = self.spec, int(self._which[number] * self.spec.distinct)
        with np.errstate(over="ignore"):
            found = spec.rows_median * float(np.exp(spec.rows_sigma * self._rows[number]))
        rows = max(round(min(found, MOST_ROWS)), 1)
        rows = rows if spec.take_rows == "none" else min(rows, spec.take_rows)
        size, cpu_ms = round(rows * spec.row_json_bytes), rows * spec.row_cpu_ms
        if spec.compression:
            cpu_ms += size / MIB * spec.compression_cpu_ms_per_mib
        cpu_us = round(min(cpu_ms * US_PER_MS, LONGEST_CALL_US))
        packing_us = cpu_us - us_from_ms(rows * spec.row_cpu_ms) if spec.compression else 0
        return Response(query, rows, cpu_us, size, packing_us)


class Reads:
    """The reads of a process."""

    def __init__(self, visits: Visits, responses: Responses, cache: Cache | None, redis: RedisClient | None) -> None:
        self.visits, self.responses, self.cache, self.redis = visits, responses, cache, redis
        self._request_us = us_from_ms(responses.spec.cpu_ms)

    def come(self, reads: Iterable[tuple[int, int]]) -> Story:
        """Reads come, each at its instant [us], with its number."""
        for at_us, number in reads:
            yield self.visits.time.at(at_us, READ)
            self.visits.time.tell(self._read(number))

    def _read(self, number: int) -> Story:
        visits, response, start_us = self.visits, self.responses.of(number), self.visits.time.now
        asks_cache = yield from self._ask_redis()
        kept = self.cache.find(response.query, visits.time.now) if self.cache and asks_cache else None
        if kept is not None:
            visits.loop.compute(self._request_us + kept.packing_us)
            self._end(Visit(QUERIES, number, start_us, visits.time.now, True, kept.rows, cached=True))
            return
        ok = yield from visits.pool.call(QUERIES, "query", 1, number, response.rows)
        if ok and asks_cache and self._can_keep:
            visits.bins.mark(B.CACHED_MAX, self.cache.keep(response, visits.time.now))  # type: ignore[union-attr]
        rows = response.rows * ok
        visits.loop.compute(self._request_us + response.cpu_us * ok, rows)
        self._end(Visit(QUERIES, number, start_us, visits.time.now, ok, rows, calls=1))

    def _ask_redis(self) -> Generator[simpy.Event, Any, bool]:
        """Wait for Redis, if the cache is there; False: rejected, so carry on without a cache."""
        answered_us = self.redis.answered_us() if self.redis else self.visits.time.now
        if not self._in_redis or self.redis is None:
            return True
        if answered_us is not None and answered_us > self.visits.time.now:
            yield self.visits.time.at(answered_us, VISIT)
        return answered_us is not None

    @property
    def _in_redis(self) -> bool:
        return self.cache is not None and self.cache.spec.store == "redis"

    @property
    def _can_keep(self) -> bool:
        """An answer that comes while Redis is away is not kept there."""
        return self.cache is not None and not (self._in_redis and self.redis and self.redis.back_us is not None)

    def _end(self, visit: Visit) -> None:
        spec, bins = self.responses.spec, self.visits.bins
        row_bytes = spec.row_json_bytes * (spec.compressed_share if spec.compression else 1.0)
        bins.count(B.READS)
        bins.count(B.CACHED, visit.cached)
        bins.count(B.READS_FAILED, 1 - visit.ok)
        bins.count(B.READ_ROWS, 0 if visit.cached else visit.rows)
        bins.count(B.RESPONSE, round(visit.rows * visit.ok * row_bytes))
        self.visits.end(visit)

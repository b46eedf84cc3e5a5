"""The whole server without its HTTP: writers, cleanup, reads, cache, logger, Redis, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from capsim.scenario.parts import RedisClientSpec
from capsim.scenario.server import ServerSpec
from capsim.scenario.workload import Stream
from capsim.validation.reference.analytics import Analytics
from capsim.validation.reference.cache import cache_of
from capsim.validation.reference.cleanup import Cleanup
from capsim.validation.reference.clock import Clock, RealClock
from capsim.validation.reference.database import Database
from capsim.validation.reference.log import Log
from capsim.validation.reference.metrics import Metrics
from capsim.validation.reference.observer import Watch
from capsim.validation.reference.redis import Connect, RedisClient
from capsim.validation.reference.rows import now_ms as wall_ms
from capsim.validation.reference.server import Ingestion


@dataclass(frozen=True)
class Left:
    """What a writer still held when the server ended: neither written nor counted as dropped."""

    buffered: int
    in_flight: int


class Service:
    """A running server; make it inside a running asyncio loop.

    Parameters
    ----------
    spec : ServerSpec
        Of a scenario, its plan applied.
    database : Database
        Where the pool leads.
    log : Log
        Where lines go.
    redis : callable, optional
        How a client of the scenario's kind reaches Redis.
    watch : Watch, optional
        Told what happens.
    clock : Clock, optional
        Real time, unless another one is given.
    now_ms : callable, optional
        The time by which heartbeats are stored [ms]; by default since 1970.

    Raises
    ------
    ValueError
        If answers are to be kept in Redis, and there is none.
    """

    def __init__(
        self,
        spec: ServerSpec,
        database: Database,
        log: Log,
        redis: Callable[[RedisClientSpec], Connect] | None = None,
        watch: Watch | None = None,
        *,
        clock: Clock | None = None,
        now_ms: Callable[[], float] = wall_ms,
    ) -> None:
        self.log, self._lines = log, spec.logger.lines_per_request
        self._owed_lines, self._requests = 0.0, 0
        watch = watch or Watch()
        self.clock = clock or RealClock()
        self._begun_us = self.clock.now_us()
        self.ingestion = Ingestion(spec, self.clock, database, log, watch)
        self.pool = pool = self.ingestion.pool
        client = spec.redis_client
        self.redis = None if redis is None else RedisClient(client, redis(client), self.clock, log)
        cache = cache_of(spec.cache, self.redis, self.clock.now_us)
        self.analytics = Analytics(spec.queries, cache, self.clock, pool, log, watch)
        self.metrics = None if spec.metrics is None else Metrics(self.clock, pool, log, watch)
        self._cleaning: asyncio.Task[None] | None = None
        if spec.cleanup is not None:
            cleanup = Cleanup(spec.cleanup, self.clock, pool, log, watch, now_ms)
            self._cleaning = asyncio.ensure_future(cleanup.keep())

    @property
    def uptime_s(self) -> float:
        """Since it was made [s]."""
        return (self.clock.now_us() - self._begun_us) / 1e6

    def requested(self, what: str) -> None:
        """A request of the load has come: its log lines, its commands to Redis."""
        self._owed_lines += self._lines
        while self._owed_lines >= 1:
            self._owed_lines -= 1
            self.log.info(what)
        if self.redis is not None:
            self.redis.requested(self._requests)
        self._requests += 1

    async def shutdown(self, grace_s: float) -> dict[Stream, Left]:
        """Take no more, write what is there as far as the grace allows, let go; what was left unwritten."""
        if self._cleaning is not None:
            self._cleaning.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self.ingestion.shutdown()
        left = {stream: Left(w.count, w.in_flight) for stream, w in self.ingestion.writers.items()}
        await self.pool.close()
        if self.redis is not None:
            await self.redis.close()
        return left

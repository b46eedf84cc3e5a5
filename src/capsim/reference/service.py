"""The whole server without its HTTP: writers, cleanup, queries, cache, logger, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from capsim.reference.analytics import Analytics
from capsim.reference.cleanup import keep_clean
from capsim.reference.clock import RealClock
from capsim.reference.database import Database
from capsim.reference.log import Log
from capsim.reference.redis import Link, RedisClient
from capsim.reference.server import Ingestion
from capsim.reference.settings import Settings
from capsim.reference.watch import Watch
from capsim.specs import ServerSpec, Stream


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
        Writers and pool.
    database : Database
        Where the pool leads.
    settings : Settings
        Everything else.
    log : Log
        Where lines go.
    redis : callable, optional
        How to reach Redis; without it the cache is the process's own.
    watch : Watch, optional
        Told what happens.
    counts_itself : bool
        Whether the database can say how many connections it has.
    """

    def __init__(
        self,
        spec: ServerSpec,
        database: Database,
        settings: Settings,
        log: Log,
        redis: Callable[[], Awaitable[Link]] | None = None,
        watch: Watch | None = None,
        *,
        counts_itself: bool = False,
    ) -> None:
        self.settings, self.log, self.counts_itself = settings, log, counts_itself
        self.clock = RealClock()
        self.ingestion = Ingestion(spec, self.clock, database, log, watch)
        self.pool = self.ingestion.pool
        self.redis = RedisClient(redis, log, settings.redis_queue) if redis is not None else None
        self.analytics = Analytics(self.pool, settings, self.redis)
        self._cleaning = asyncio.ensure_future(keep_clean(self.clock, self.pool, settings, log))

    @property
    def uptime_s(self) -> float:
        """Since it was made [s]."""
        return self.clock.now_us() / 1e6

    async def shutdown(self, grace_s: float) -> dict[Stream, Left]:
        """Take no more, write what is there as far as the grace allows, let go; what was left unwritten."""
        self._cleaning.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self.ingestion.shutdown()
        left = {stream: Left(w.count, w.in_flight) for stream, w in self.ingestion.writers.items()}
        await self.pool.close()
        if self.redis is not None:
            await self.redis.close()
        return left

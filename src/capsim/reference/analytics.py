"""Reads: a query that holds a connection and loads its result, behind a cache with a time to live."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from cachetools import TTLCache

from capsim.reference.database import Statement
from capsim.reference.pool import Pool
from capsim.reference.redis import QueueFull, RedisClient
from capsim.reference.settings import Settings

MOST_CACHED = 1_000  # answers in the process's own cache


class Cache:
    """Answers by key, in Redis if there is one and it is there, else in the process; or none at all."""

    def __init__(self, ttl_s: float, redis: RedisClient | None, timer: Callable[[], float]) -> None:
        self._ttl_s, self._redis = ttl_s, redis
        self._own: TTLCache[str, str] | None = None
        if ttl_s > 0 and redis is None:
            self._own = TTLCache(MOST_CACHED, ttl_s, timer)

    async def get(self, key: str) -> str | None:
        """The answer kept under a key; none while Redis is away."""
        if self._own is not None:
            return self._own.get(key)
        if self._redis is None or self._ttl_s <= 0 or not self._redis.ready:
            return None
        try:
            found = await self._redis.send("GET", key)
        except (QueueFull, ConnectionError):
            return None
        return None if found is None else str(found, "utf-8")

    def set(self, key: str, text: str) -> None:
        """Keep an answer; into Redis it goes without waiting."""
        if self._own is not None:
            self._own[key] = text
        elif self._redis is not None and self._ttl_s > 0:
            try:
                self._redis.send("SET", key, text, "PX", round(self._ttl_s * 1_000))
            except QueueFull:
                return


class Analytics:
    """The server's reads."""

    def __init__(self, pool: Pool, settings: Settings, redis: RedisClient | None = None) -> None:
        self._pool, self._most = pool, settings.page_rows
        self._cache = Cache(settings.cache_ttl_s, redis, asyncio.get_running_loop().time)

    async def events(self, game_id: str, take: int | None, skip: int) -> str:
        """The latest events of a game, as JSON text.

        Parameters
        ----------
        game_id : str
            Of which game.
        take : int or None
            How many; None for as many as the settings allow, and never more than that.
        skip : int
            How many to leave out.

        Raises
        ------
        CallFailed
            If the database could not be asked.
        """
        if self._most is not None:
            take = self._most if take is None else min(take, self._most)
        key = json.dumps(["analytics", game_id, take, skip])
        kept = await self._cache.get(key)
        if kept is not None:
            return kept
        values: tuple[Any, ...] = (game_id, take, skip)
        answer = await self._pool.call(Statement("analytics", "queries", values))
        text = json.dumps({"events": answer.rows})
        self._cache.set(key, text)
        return text

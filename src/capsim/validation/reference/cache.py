"""Where answers are kept for a while: in the process, or in Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from capsim.base.units import MIB, US_PER_S, us_from_s
from capsim.scenario.parts import CacheSpec
from capsim.validation.reference.redis import QueueFull, RedisClient


class Kept(NamedTuple):
    """An answer: its text, and how many rows it shows."""

    rows: int
    text: str


class Away(Exception):
    """There is no cache just now; what it would have kept must be asked for, and is not kept."""


class Cache(Protocol):
    """Answers by key."""

    async def get(self, key: str) -> Kept | None:
        """The answer kept under a key.

        Raises
        ------
        Away
            If the cache could not be asked.
        """

    def keep(self, key: str, answer: Kept) -> None:
        """Keep an answer, without waiting."""


class OwnCache:
    """Answers in the memory of the process; the oldest give way when it is full.

    Parameters
    ----------
    spec : CacheSpec
        Of the scenario.
    now_us : callable
        The time [us].
    """

    def __init__(self, spec: CacheSpec, now_us: Callable[[], int]) -> None:
        self._now_us, self._ttl_us = now_us, us_from_s(spec.ttl_s)
        self._most = float("inf") if spec.entries_max == "none" else spec.entries_max
        self._most_bytes = float("inf") if spec.size_max_mib == "none" else spec.size_max_mib * MIB
        self._kept: dict[str, tuple[int, Kept]] = {}  # expiry [us] and answer, the oldest first
        self.size_bytes = 0

    async def get(self, key: str) -> Kept | None:
        """The answer kept under a key, until it has expired."""
        expires_us, answer = self._kept.get(key, (0, None))
        return answer if self._now_us() < expires_us else None

    def keep(self, key: str, answer: Kept) -> None:
        """Keep an answer; what has expired goes, and then the oldest until there is room."""
        now_us = self._now_us()
        for old in [old for old, (expires_us, _) in self._kept.items() if old == key or expires_us <= now_us]:
            self._drop(old)
        self._kept[key] = now_us + self._ttl_us, answer
        self.size_bytes += len(answer.text)
        while self._kept and (len(self._kept) > self._most or self.size_bytes > self._most_bytes):
            self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        self.size_bytes -= len(self._kept.pop(key)[1].text)


class RedisCache:
    """Answers in Redis, by its own times to live; how much it keeps is for its own configuration to say.

    Parameters
    ----------
    spec : CacheSpec
        Of the scenario.
    redis : RedisClient
        Whose queue the questions wait in while Redis is away.
    """

    def __init__(self, spec: CacheSpec, redis: RedisClient) -> None:
        self._ttl_ms, self._redis = us_from_s(spec.ttl_s) * 1_000 // US_PER_S, redis

    async def get(self, key: str) -> Kept | None:
        """The answer kept under a key; while Redis is away the question waits, or is rejected."""
        try:
            found = await self._redis.send("GET", key)
        except (QueueFull, ConnectionError) as error:
            raise Away from error
        if found is None:
            return None
        rows, _, text = str(found, "utf-8").partition(" ")
        return Kept(int(rows), text)

    def keep(self, key: str, answer: Kept) -> None:
        """Send the answer to Redis, if that is there: what nobody waits for shall not fill the queue."""
        if self._redis.ready and not self._redis.queued:
            self._redis.send("SET", key, f"{answer.rows} {answer.text}", "PX", self._ttl_ms)


def cache_of(spec: CacheSpec | None, redis: RedisClient | None, now_us: Callable[[], int]) -> Cache | None:
    """The cache of a scenario, if it has one.

    Raises
    ------
    ValueError
        If answers are to be kept in Redis, and there is none.
    """
    if spec is None:
        return None
    if spec.store == "memory":
        return OwnCache(spec, now_us)
    if redis is None:
        raise ValueError('server.cache.store is "redis", and there is no Redis')
    return RedisCache(spec, redis)

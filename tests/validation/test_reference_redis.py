"""The Redis client: a bounded queue, reconnection, and a server that goes on without it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from capsim.engine.redis import disconnected
from capsim.scenario.parts import CacheSpec, RedisClientSpec
from capsim.scenario.redis import RedisFaultSpec
from capsim.validation.reference.cache import Away, Kept, OwnCache, RedisCache
from capsim.validation.reference.clock import RealClock
from capsim.validation.reference.log import Log
from capsim.validation.reference.redis import QueueFull, RedisClient, connector
from capsim.validation.reference.timed_redis import TimedRedis
from capsim.validation.reference.virtual import VirtualLoop
from reference_services import free_port, redis_of_our_own, redis_url


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


def client_of(url: str, log: Log | None = None, **spec: Any) -> RedisClient:
    rules = RedisClientSpec(**spec)
    return RedisClient(rules, connector(url)(rules), RealClock(), log or Log())


def test_commands_reach_redis_and_answers_come_back() -> None:
    async def story(url: str) -> None:
        client = client_of(url)
        cache = RedisCache(CacheSpec(ttl_s=5), client)
        await until(lambda: client.ready)
        cache.keep("capsim-test", Kept(2, "kept as it is"))

        assert await cache.get("capsim-test") == (2, "kept as it is")
        assert await cache.get("capsim-test-other") is None
        await client.close()

    with redis_url() as url:
        asyncio.run(story(url))


def test_while_redis_is_away_commands_wait_up_to_the_limit_and_then_are_refused() -> None:
    async def story() -> None:
        client = client_of(f"redis://127.0.0.1:{free_port()}/0", queue_limit=3)
        for number in range(3):
            client.send("SET", "k", number)
        with pytest.raises(QueueFull, match="3 commands wait"):
            client.send("SET", "k", 3)
        cache = RedisCache(CacheSpec(), client)
        cache.keep("k", Kept(1, "v"))  # not sent: it would take a place

        with pytest.raises(Away):
            await cache.get("k")
        assert (client.queued, client.refused, client.ready) == (3, 2, False)
        await client.close()

    asyncio.run(story())


def test_what_waited_is_sent_when_redis_comes_back() -> None:
    """That an idle connection was closed is noticed before a command is lost on it."""

    async def story() -> None:
        with redis_of_our_own() as server:
            log = Log()
            client = client_of(server.url, log)
            await client.send("SET", "k", "before")
            server.kill()
            await until(lambda: not client.ready)
            later = client.send("SET", "k", "after")
            assert client.queued == 1
            server.start()

            assert await asyncio.wait_for(later, 5) in (b"OK", True)
            assert await client.send("GET", "k") == b"after"
            assert log.lines["error"] >= 1 and log.lines["info"] == 2  # it went; it was there, and there again
            await client.close()

    asyncio.run(story())


def test_each_request_sends_its_commands_and_nobody_waits_for_them() -> None:
    async def story(url: str) -> None:
        client = client_of(url, commands_per_request=1.5, command_bytes=10)
        for number in range(4):
            client.requested(number)
        assert client.queued == 6
        await until(lambda: client.queued == 0)

        assert await client.send("GET", "capsim:3") == b"x" * 10
        await client.close()

    with redis_url() as url:
        asyncio.run(story(url))


def test_tries_to_reconnect_come_after_the_seeds_pauses() -> None:
    tries_us: list[int] = []
    loop = VirtualLoop()

    async def connect() -> None:
        tries_us.append(loop.now_us())
        raise ConnectionRefusedError

    async def story() -> None:
        RedisClient(RedisClientSpec(), connect, loop, Log())  # type: ignore[arg-type]

    loop.create_task(story())
    loop.run_to(4_000_000)
    loop.close()

    pauses = [b - a for a, b in pairwise(tries_us)]
    assert pauses[:11] == [min(50_000 * n, 500_000) for n in range(1, 12)]


@pytest.mark.parametrize(
    ("kind", "lasts_s"),
    [("down", 0.04), ("down", 7.0), ("down", 61.3), ("unreachable", 30.0), ("unreachable", 1_000.0)],
)
def test_the_client_is_back_when_the_model_says(kind: str, lasts_s: float) -> None:
    """A command that is sent when the loss is known is answered at the end of the model's disconnect."""
    spec = RedisClientSpec()
    fault = RedisFaultSpec(kind=kind, from_s=10.0, to_s=10.0 + lasts_s)  # type: ignore[arg-type]
    ((_, back_us),) = disconnected(spec, [fault])
    loop = VirtualLoop()
    answered_us: list[int] = []

    async def story() -> None:
        client = RedisClient(spec, TimedRedis(loop, [fault]).of(spec), loop, Log())
        noticed_s = 680.0 if lasts_s > 680 else 0.0
        await asyncio.sleep(10.0 + noticed_s + 0.01)
        await client.send("GET", "k")
        answered_us.append(loop.now_us())

    loop.create_task(story())
    loop.run_to(2_000_000_000)
    loop.close()

    assert answered_us == [back_us]


def test_a_command_that_is_out_when_a_silent_connection_is_given_up_fails() -> None:
    """Whether it was carried out nobody knows; the model lets it wait with the others."""
    spec, loop = RedisClientSpec(), VirtualLoop()
    seen: list[int] = []

    async def story() -> None:
        faults = [RedisFaultSpec(kind="unreachable", from_s=1.0, to_s=2_000.0)]
        client = RedisClient(spec, TimedRedis(loop, faults).of(spec), loop, Log())
        await asyncio.sleep(2.0)
        with pytest.raises(ConnectionError, match="does not answer"):
            await client.send("GET", "k")
        seen.append(loop.now_us())

    loop.create_task(story())
    loop.run_to(1_000_000_000)
    loop.close()

    assert seen == [1_000_000 + 5_000_000 + 675_000_000]


# --- the process's own cache ------------------------------------------------------------------------------------


def test_an_answer_is_kept_in_the_process_for_its_time_and_no_longer() -> None:
    now_us = 0
    cache = OwnCache(CacheSpec(ttl_s=300.0), lambda: now_us)

    async def story() -> list[Kept | None]:
        nonlocal now_us
        cache.keep("k", Kept(1, "v"))
        seen = [await cache.get("k")]
        now_us = 299_999_999
        seen.append(await cache.get("k"))
        now_us = 300_000_000
        return [*seen, await cache.get("k")]

    assert asyncio.run(story()) == [(1, "v"), (1, "v"), None]


def test_the_oldest_answers_give_way_by_number_and_by_size() -> None:
    async def kept(spec: CacheSpec) -> tuple[str, int]:
        cache = OwnCache(spec, lambda: 0)
        for key in "abca":
            cache.keep(key, Kept(1, "x" * 100_000))
        return "".join([key for key in "abc" if await cache.get(key)]), cache.size_bytes

    assert asyncio.run(kept(CacheSpec())) == ("abc", 300_000)
    assert asyncio.run(kept(CacheSpec(entries_max=2))) == ("ac", 200_000)
    assert asyncio.run(kept(CacheSpec(size_max_mib=0.2))) == ("ac", 200_000)
    assert asyncio.run(kept(CacheSpec(size_max_mib=0.01))) == ("", 0)  # one that is larger than all is not kept

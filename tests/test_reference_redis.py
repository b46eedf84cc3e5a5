"""The Redis client: a bounded queue, reconnection, and a server that goes on without it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise

import pytest

from capsim.reference.analytics import Cache
from capsim.reference.log import Log
from capsim.reference.redis import QueueFull, RedisClient, connector
from capsim.reference.virtual import VirtualLoop
from reference_services import free_port, redis_of_our_own, redis_url


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


def test_commands_reach_redis_and_answers_come_back() -> None:
    async def story(url: str) -> None:
        client = RedisClient(connector(url, 2.0), Log(), 10)
        cache = Cache(5.0, client, asyncio.get_running_loop().time)
        await until(lambda: client.ready)
        cache.set("capsim-test", "kept")

        assert await cache.get("capsim-test") == "kept"
        assert await cache.get("capsim-test-other") is None
        await client.close()

    with redis_url() as url:
        asyncio.run(story(url))


def test_while_redis_is_away_commands_wait_up_to_the_limit_and_then_are_refused() -> None:
    async def story() -> None:
        client = RedisClient(connector(f"redis://127.0.0.1:{free_port()}/0", 1.0), Log(), 3)
        for number in range(3):
            client.send("SET", "k", number)
        with pytest.raises(QueueFull, match="3 commands wait"):
            client.send("SET", "k", 3)
        cache = Cache(5.0, client, asyncio.get_running_loop().time)
        cache.set("k", "v")

        assert await cache.get("k") is None
        assert (client.queued, client.refused, client.ready) == (3, 2, False)
        await client.close()

    asyncio.run(story())


def test_what_waited_is_sent_when_redis_comes_back() -> None:
    async def story() -> None:
        with redis_of_our_own() as server:
            log = Log()
            client = RedisClient(connector(server.url, 2.0), log, 100)
            await client.send("SET", "k", "before")
            server.kill()
            with pytest.raises(ConnectionError):
                await client.send("GET", "k")
            later = client.send("SET", "k", "after")
            assert client.queued == 1
            server.start()

            assert await asyncio.wait_for(later, 5) == b"OK" or later.result() is True
            assert await client.send("GET", "k") == b"after"
            assert log.lines["error"] >= 1 and log.lines["info"] == 2  # it went; it was there, and there again
            await client.close()

    asyncio.run(story())


def test_tries_to_reconnect_come_after_the_seeds_pauses() -> None:
    tries_us: list[int] = []
    loop = VirtualLoop()

    async def connect() -> None:
        tries_us.append(loop.now_us())
        raise ConnectionRefusedError

    async def story() -> None:
        RedisClient(connect, Log(), 10)  # type: ignore[arg-type]

    loop.create_task(story())
    loop.run_to(4_000_000)
    loop.close()

    pauses = [b - a for a, b in pairwise(tries_us)]
    assert pauses[:11] == [min(50_000 * n, 500_000) for n in range(1, 12)]


def test_an_answer_is_kept_in_the_process_for_its_time_and_no_longer() -> None:
    now_s = 0.0
    cache = Cache(300.0, None, lambda: now_s)

    async def story() -> list[str | None]:
        nonlocal now_s
        cache.set("k", "v")
        seen = [await cache.get("k")]
        now_s = 300.0
        return [*seen, await cache.get("k")]

    assert asyncio.run(story()) == ["v", None]

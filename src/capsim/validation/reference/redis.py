"""A Redis client after node-redis: commands wait in a bounded queue while the connection is away."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

from capsim.base.units import us_from_ms
from capsim.scenario.parts import RedisClientSpec
from capsim.validation.reference.clock import Clock, Phase, sleep_until
from capsim.validation.reference.log import Log
from capsim.validation.reference.url import check_redis_url

LOOK_S = 0.1  # between two looks whether the other side is still there; a kernel tells Node, redis-py tells no one
DAY_S = 86_400


class QueueFull(Exception):
    """More commands wait than the queue holds; this one was refused."""


class Link(Protocol):
    """An open connection to Redis."""

    async def execute_command(self, *command: Any) -> Any:
        """Send a command and wait for the answer."""

    async def lost(self) -> None:
        """Wait until the connection is known to be broken."""

    async def aclose(self) -> None:
        """Close it."""


Connect = Callable[[], Awaitable[Link]]


class RedisLink:
    """A connection of redis-py, without retries or reconnects of its own."""

    def __init__(self, url: str, spec: RedisClientSpec) -> None:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        # After this idle time the kernel probes the other side; it gives up by rules of its own.
        idle = getattr(socket, "TCP_KEEPIDLE", None)
        self._redis = Redis.from_url(
            url,
            socket_connect_timeout=spec.connect_timeout_s,
            socket_keepalive=True,
            socket_keepalive_options={} if idle is None else {idle: max(1, round(spec.keep_alive_s))},
            single_connection_client=True,
            retry=Retry(NoBackoff(), 0),
        )

    async def execute_command(self, *command: Any) -> Any:
        """Send a command and wait for the answer; one after the other."""
        return await self._redis.execute_command(*command)  # type: ignore[no-untyped-call]

    async def lost(self) -> None:
        """Ask every now and then, between the commands, until there is no answer."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.execute_command("PING")
            except Exception:  # of any kind: whatever it is, this connection is of no use any more
                return

    async def aclose(self) -> None:
        """Close it."""
        await self._redis.aclose()


def connector(url: str) -> Callable[[RedisClientSpec], Connect]:
    """How to reach the Redis of an URL, as a scenario's client does.

    Raises
    ------
    CapsimError
        If it is none.
    """
    check_redis_url(url)

    def of(spec: RedisClientSpec) -> Connect:
        async def connect() -> Link:
            link = RedisLink(url, spec)
            try:
                await link.execute_command("PING")
            except BaseException:
                await link.aclose()
                raise
            return link

        return connect

    return of


class RedisClient:
    """One connection, kept up by a task of its own; the server goes on without it.

    Parameters
    ----------
    spec : RedisClientSpec
        Of the scenario: queue, pauses, time to connect, commands of a request.
    connect : callable
        Opens a link; whatever it raises means that Redis is away.
    clock : Clock
        Real or virtual time.
    log : Log
        Where it says that Redis went and came.

    Attributes
    ----------
    ready : bool
        Whether it is connected, as far as it knows.
    refused : int
        Commands refused because the queue was full.
    """

    def __init__(self, spec: RedisClientSpec, connect: Connect, clock: Clock, log: Log) -> None:
        self._spec, self._connect, self._clock, self._log = spec, connect, clock, log
        self._most = None if spec.queue_limit == "none" else spec.queue_limit
        self._queue: deque[tuple[tuple[Any, ...], asyncio.Future[Any]]] = deque()
        self._out = False  # a command has been sent, and not been answered
        self._asked = asyncio.Event()
        self._owed = 0.0  # commands of requests, of which a fraction may be left
        self._task = asyncio.ensure_future(self._keep_up())
        self.ready = False
        self.refused = 0

    @property
    def queued(self) -> int:
        """Commands without an answer: they wait, or one is out."""
        return len(self._queue) + self._out

    def send(self, *command: Any) -> asyncio.Future[Any]:
        """Queue a command; its answer, or a ConnectionError if the connection broke while it was out.

        Raises
        ------
        QueueFull
            If the queue is full.
        """
        if self._most is not None and self.queued >= self._most:
            self.refused += 1
            raise QueueFull(f"{self._most} commands wait for Redis already")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        # Whoever does not wait for the answer shall not be told of its failure either.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._queue.append((command, answer))
        self._asked.set()
        return answer

    def requested(self, number: int) -> None:
        """A request of the load has come: send its commands, whose answers nobody waits for."""
        self._owed += self._spec.commands_per_request
        while self._owed >= 1:
            self._owed -= 1
            with suppress(QueueFull):
                self.send("SET", f"capsim:{number % 1_000}", "x" * round(self._spec.command_bytes), "EX", DAY_S)

    async def close(self) -> None:
        """End the connection; what is queued is cancelled."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for _, answer in self._queue:
            answer.cancel()
        self._queue.clear()

    async def _keep_up(self) -> None:
        step_us, most_us = us_from_ms(self._spec.reconnect_step_ms), us_from_ms(self._spec.reconnect_max_ms)
        tries = 0
        while True:
            if tries:  # the n-th try after a failure or a loss
                await sleep_until(self._clock, self._clock.now_us() + min(tries * step_us, most_us), Phase.VISITS)
            tries += 1
            try:
                async with asyncio.timeout(self._spec.connect_timeout_s):
                    link = await self._connect()
            except Exception as error:  # of any kind: Redis is a convenience, never a reason to fail
                if tries == 1:
                    self._log.error(f"Redis is away: {type(error).__name__}: {error}")
                continue
            self.ready = True
            self._log.info("Redis is there")
            try:
                await self._serve(link)
            finally:
                self.ready = False
                await asyncio.gather(link.aclose(), return_exceptions=True)
            tries = 1

    async def _serve(self, link: Link) -> None:
        """Send what is queued until the connection breaks."""
        from redis.exceptions import ResponseError

        gone = asyncio.ensure_future(link.lost())
        try:
            while not gone.done():
                while self._queue:
                    command, answer = self._queue.popleft()
                    if answer.done():
                        continue
                    self._out = True
                    try:
                        _settle(answer, await link.execute_command(*command))
                    except ResponseError as error:
                        _settle(answer, error)
                    except Exception as error:
                        # It may have been carried out or not; sending it again could do it twice.
                        _settle(answer, ConnectionError(str(error)))
                        self._log.error(f"Redis went away: {type(error).__name__}: {error}")
                        return
                    finally:
                        self._out = False
                self._asked.clear()
                asked = asyncio.ensure_future(self._asked.wait())
                await asyncio.wait((gone, asked), return_when=asyncio.FIRST_COMPLETED)
                asked.cancel()
            self._log.error("Redis went away")
        finally:
            gone.cancel()


def _settle(answer: asyncio.Future[Any], result: Any) -> None:
    if answer.done():  # whoever asked has gone
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)

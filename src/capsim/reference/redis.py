"""A Redis client after node-redis: commands wait in a bounded queue while the connection is away."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from capsim.reference.log import Log


class QueueFull(Exception):
    """More commands wait than the queue holds; this one was refused."""


class Link(Protocol):
    """An open connection to Redis."""

    async def execute_command(self, *command: Any) -> Any:
        """Send a command and wait for the answer."""

    async def aclose(self) -> None:
        """Close it."""


def connector(url: str, connect_timeout_s: float) -> Callable[[], Awaitable[Link]]:
    """How to reach the Redis of an URL: one connection, without retries of its own."""
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    async def connect() -> Link:
        link = Redis.from_url(
            url,
            socket_connect_timeout=connect_timeout_s,
            single_connection_client=True,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            await link.ping()
        except BaseException:
            await link.aclose()
            raise
        return link

    return connect


def delay_s(tries: int) -> float:
    """Pause before the next try to connect [s], the seed's strategy: 50 ms more at each, up to 500 ms.

    Examples
    --------
    >>> [delay_s(tries) for tries in (1, 2, 20)]
    [0.05, 0.1, 0.5]
    """
    return min(0.05 * tries, 0.5)


class RedisClient:
    """One connection, kept up by a task of its own; the server goes on without it.

    Parameters
    ----------
    connect : callable
        Opens a link; whatever it raises means that Redis is away.
    log : Log
        Where it says that Redis went and came.
    queue : int or None
        Most commands that wait; None for no limit.

    Attributes
    ----------
    ready : bool
        Whether it is connected.
    refused : int
        Commands refused because the queue was full.
    """

    def __init__(self, connect: Callable[[], Awaitable[Link]], log: Log, queue: int | None) -> None:
        self._connect, self._log, self._most = connect, log, queue
        self._queue: deque[tuple[tuple[Any, ...], asyncio.Future[Any]]] = deque()
        self._asked = asyncio.Event()
        self._task = asyncio.ensure_future(self._keep_up())
        self.ready = False
        self.refused = 0

    @property
    def queued(self) -> int:
        """Commands that wait."""
        return len(self._queue)

    def send(self, *command: Any) -> asyncio.Future[Any]:
        """Queue a command; its answer, or a ConnectionError if the connection broke while it was out.

        Raises
        ------
        QueueFull
            If the queue is full.
        """
        if self._most is not None and len(self._queue) >= self._most:
            self.refused += 1
            raise QueueFull(f"{self._most} commands wait for Redis already")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        # Whoever does not wait for the answer shall not be told of its failure either.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._queue.append((command, answer))
        self._asked.set()
        return answer

    async def close(self) -> None:
        """End the connection; what is queued is cancelled."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for _, answer in self._queue:
            answer.cancel()
        self._queue.clear()

    async def _keep_up(self) -> None:
        tries = 0
        while True:
            try:
                link = await self._connect()
            except Exception as error:  # of any kind: Redis is a convenience, never a reason to fail
                tries += 1
                if tries == 1:
                    self._log.error(f"Redis is away: {type(error).__name__}: {error}")
                await asyncio.sleep(delay_s(tries))
                continue
            tries = 0
            self.ready = True
            self._log.info("Redis is there")
            try:
                await self._serve(link)
            finally:
                self.ready = False
                await asyncio.gather(link.aclose(), return_exceptions=True)

    async def _serve(self, link: Link) -> None:
        """Send what is queued until the connection breaks."""
        from redis.exceptions import ResponseError

        while True:
            while self._queue:
                command, answer = self._queue.popleft()
                if answer.done():
                    continue
                try:
                    _settle(answer, await link.execute_command(*command))
                except ResponseError as error:
                    _settle(answer, error)
                except Exception as error:
                    # It may have been carried out or not; sending it again could do it twice.
                    _settle(answer, ConnectionError(str(error)))
                    self._log.error(f"Redis went away: {type(error).__name__}: {error}")
                    return
            self._asked.clear()
            if not self._queue:
                await self._asked.wait()


def _settle(answer: asyncio.Future[Any], result: Any) -> None:
    if answer.done():  # whoever asked has gone
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)

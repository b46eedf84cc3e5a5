"""What the server itself adds to a database call: the turns that the event loop takes until it comes back to it.

A call passes the loop several times (asking, being given a connection, the answer), and each time it queues behind
whatever else is ready. The probe is a task that makes two calls of the same pool class on a connection that answers at
once; what they take is the loop's own share, measured beside the load and not taken from the calls that are compared.
The first of an attempt costs twice the next one: a task is started for it, and the processor's caches are cold.
"""

from __future__ import annotations

import asyncio
import time

from capsim.base.units import US_PER_S
from capsim.validation.reference.clock import Clock
from capsim.validation.reference.database import Answer, Statement
from capsim.validation.reference.pool import Pool

PROBE_S = 0.02  # between two probes, of about 0.1 ms each: 0.5 % of a CPU
ENDLESS_US = 3_600 * US_PER_S


class _Nothing:
    """A database, and its connection, that answer at once."""

    is_open = True
    server_pid = None

    async def connect(self) -> _Nothing:
        return self

    async def run(self, statement: Statement) -> Answer:
        return Answer()

    async def close(self) -> None: ...


class Overhead:
    """Probes the running event loop, as a task, until it is cancelled.

    Attributes
    ----------
    samples_us : list of (int, int, int)
        When, by the given clock, and how long the first and the next call of nothing took [us].

    Examples
    --------
    >>> from capsim.validation.reference.clock import RealClock
    >>> async def story() -> list[tuple[int, int, int]]:
    ...     overhead = Overhead(RealClock())
    ...     probing = asyncio.ensure_future(overhead.run())
    ...     await asyncio.sleep(0.1)
    ...     probing.cancel()
    ...     return overhead.samples_us
    >>> len(asyncio.run(story())) >= 1
    True
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pool = Pool(clock, _Nothing(), 1, ENDLESS_US, ENDLESS_US)
        self.samples_us: list[tuple[int, int, int]] = []

    async def run(self) -> None:
        """Probe for ever."""
        while True:
            at_us, begin_s = self._clock.now_us(), time.perf_counter()
            first_s, next_s = await asyncio.ensure_future(self._two())
            first_us, next_us = round((first_s - begin_s) * US_PER_S), round((next_s - first_s) * US_PER_S)
            self.samples_us.append((at_us, first_us, next_us))
            await asyncio.sleep(PROBE_S)

    async def _two(self) -> tuple[float, float]:
        """When each of two calls was over."""
        await self._pool.call(Statement("connections", "queries"))
        first_s = time.perf_counter()
        await self._pool.call(Statement("connections", "queries"))
        return first_s, time.perf_counter()

"""Time for the reference: one interface over the real clock and the virtual one.

Coroutines ask for an instant in whole microseconds and say in which phase of it they want to be woken. In virtual time
the phases order everything that falls on one instant; in real time no two things do, and a phase means nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import IntEnum
from itertools import count
from typing import Protocol

from capsim.base.units import US_PER_S


class Phase(IntEnum):
    """Order inside one instant: the writers' recorded order, then connections."""

    TIMERS = 0
    COMPLETIONS = 1  # of database calls
    CONNECT_TIMEOUTS = 2  # a connection that opens on the very instant of its timeout has opened
    ARRIVALS = 3
    VISITS = 4  # starts of what is no request of the load: cleanup, reads, metrics; and Redis that is back
    SHUTDOWN = 5
    FLUSHES = 6  # those that were requested earlier in the instant
    CONNECTIONS = 7  # released ones first, then handed out by part


class Timer(Protocol):
    """Something that will happen, unless it is cancelled."""

    def cancel(self) -> None:
        """Let it not happen."""


class Clock(Protocol):
    """What coroutines of the reference may know of time."""

    def now_us(self) -> int:
        """Time since the start [us]."""

    def at(self, when_us: int, phase: Phase, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` at an instant [us], in a phase of it."""

    def later(self, phase: Phase, callback: Callable[[], None]) -> None:
        """Call ``callback`` in a later phase of this instant."""


class RealClock:
    """The machine's clock, counted from the moment this object was made; use it inside a running asyncio loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._start_s = self._loop.time()

    def now_us(self) -> int:
        """Time since the start [us]."""
        return int((self._loop.time() - self._start_s) * US_PER_S)

    def at(self, when_us: int, phase: Phase, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` at an instant [us]; late by what the loop is busy with."""
        return self._loop.call_at(self._start_s + when_us / US_PER_S, callback)

    def later(self, phase: Phase, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the present one has ended."""
        self._loop.call_soon(callback)


async def sleep_until(clock: Clock, when_us: int, phase: Phase) -> None:
    """Wait for an instant [us], in a phase of it."""
    woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = clock.at(when_us, phase, lambda: None if woken.done() else woken.set_result(None))
    try:
        await woken
    finally:
        timer.cancel()


async def at_every(clock: Clock, every_us: int, begin: Callable[[int], object]) -> None:
    """Call ``begin(1)``, ``begin(2)``, ... at every interval [us] from now on, for ever."""
    start_us = clock.now_us()
    for turn in count(1):
        await sleep_until(clock, start_us + turn * every_us, Phase.VISITS)
        begin(turn)

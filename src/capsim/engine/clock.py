"""One instant, in order: the phases of the simulation's clock.

SimPy orders simultaneous events by priority and then by the order of scheduling. The phases below are those priorities:
inside one microsecond, timers come first, then completions of database calls with all that follows from them, then
arrivals, then a shutdown call, then the flushes that were requested, and last the pool hands out connections (releases
have happened by then, so what is granted depends on who asks, not on who was simulated first).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

TIMER = 10
DATABASE = 20
ARRIVAL = 30
SHUTDOWN = 40
REQUEST = 50
POOL = 60

Process = Generator[simpy.Event, Any, Any]


class Clock(simpy.Environment):
    """SimPy's environment, counting whole microseconds."""

    @property
    def now(self) -> int:
        """The current instant [us]."""
        return self._now  # type: ignore[return-value]


def at(env: Clock, when_us: int, phase: int) -> simpy.Event:
    """An event that happens at ``when_us``, in ``phase`` of that instant.

    Examples
    --------
    >>> env = Clock()
    >>> order = []
    >>> for phase in (REQUEST, TIMER):
    ...     at(env, 5, phase).callbacks.append(lambda _, phase=phase: order.append(phase))
    >>> env.run()
    >>> order
    [10, 50]
    """
    event = simpy.Event(env)
    event._ok, event._value = True, None
    env.schedule(event, phase, when_us - env.now)  # type: ignore[arg-type]  # any int orders events
    return event

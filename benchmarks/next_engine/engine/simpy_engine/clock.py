"""The clock: whole microseconds, and the order inside one of them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

TIMER, DATABASE, ARRIVAL, COMPLETION, VISIT, READ, RETRY = 10, 20, 30, 31, 32, 33, 35
SHUTDOWN, REQUEST, POOL, THREAD = 40, 50, 60, 61
PHASES = 64
FAR_US = 1 << 46  # two years: behind the end of every run

Story = Generator[simpy.Event, Any, Any]


class Moment(simpy.Event):
    """An instant and phase of one process; if the process ends before, nothing happens."""

    def __init__(self, time: Time) -> None:
        super().__init__(time.env)
        self.time = time


class Time:
    """The time of one process of the server.

    Parameters
    ----------
    env : simpy.Environment
        The clock that all processes share [us].
    number : int
        Of one instant all phases of an earlier process come before those of a later one.

    Examples
    --------
    >>> time, order = Time(simpy.Environment(0)), []
    >>> def say(phase):
    ...     yield time.at(5, phase)
    ...     order.append(phase)
    >>> for phase in (REQUEST, TIMER):
    ...     _ = time.tell(say(phase))
    >>> time.env.run()
    >>> order
    [10, 50]
    """

    def __init__(self, env: simpy.Environment, number: int = 0) -> None:
        self.env, self.number = env, number

    @property
    def now(self) -> int:
        """The current instant [us]."""
        return int(self.env.now)

    def at(self, when_us: int, phase: int) -> Moment:
        """An instant to wait for."""
        moment = Moment(self)
        moment._ok, moment._value = True, None
        self.env.schedule(moment, self.number * PHASES + phase, when_us - self.env.now)  # type: ignore[arg-type]
        return moment

    def event(self) -> Moment:
        """Something to wait for that someone will say."""
        return Moment(self)

    def tell(self, story: Story) -> simpy.Process:
        """Begin a story, now."""
        return simpy.Process(self.env, story)

    def stop(self) -> None:
        """The process has ended: nothing that it waited for happens any more."""
        for *_, event in self.env._queue:
            if isinstance(event, Moment) and event.time is self and event.callbacks:
                event.callbacks.clear()

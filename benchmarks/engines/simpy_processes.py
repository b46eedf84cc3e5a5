"""Plain SimPy as one would naturally write it: a process for every arrival."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
import simpy
from job import BATCH_ROWS, CAP_ROWS, DELAY_US, main

Steps = Generator[simpy.Event, Any, None]


def queue(given: Mapping[str, np.ndarray]) -> list[float]:
    """M/M/c: mean wait [us]."""
    env = simpy.Environment()
    servers = simpy.Resource(env, int(given["servers"]))
    waits: list[int] = []

    def customer(service_us: int) -> Steps:
        came_us = env.now
        with servers.request() as request:
            yield request
            waits.append(env.now - came_us)
            yield env.timeout(service_us)

    def source() -> Steps:
        for at_us, service_us in zip(given["at_us"].tolist(), given["service_us"].tolist(), strict=True):
            yield env.timeout(at_us - env.now)
            env.process(customer(service_us))

    env.process(source())
    env.run()
    return [round(sum(waits) / len(waits), 3)]


class Writer:
    """The batch writer: a process for each item, one for the timer."""

    def __init__(self, env: simpy.Environment, durations_us: list[int]) -> None:
        self.env, self.durations_us = env, durations_us
        self.buffer: list[int] = []
        self.first_item = self.arrived = 0
        self.timer: simpy.Process | None = None
        self.flushing = False
        self.flushes = self.written = self.dropped = 0

    def item(self, number: int) -> Steps:
        if self.store(number):
            yield self.env.timeout(0)  # the flush comes after the other arrivals of this instant
            yield from self.flush()

    def store(self, number: int) -> bool:
        """Keep an item, or drop it; whether that asks for a flush."""
        self.arrived += 1
        if len(self.buffer) >= CAP_ROWS:
            self.dropped += 1
            return False
        self.buffer.append(number)
        if len(self.buffer) == 1 and self.timer is None:
            self.timer = self.env.process(self.wait_for_timer())
        if len(self.buffer) < BATCH_ROWS:
            return False
        self.disarm()
        return True

    def wait_for_timer(self) -> Steps:
        try:
            yield self.env.timeout(DELAY_US)
        except simpy.Interrupt:
            return
        if not self.flushing:  # otherwise the timer is spent, and stays so until it is disarmed
            self.timer = None
            yield from self.flush()

    def disarm(self) -> None:
        if self.timer is not None and self.timer.is_alive:
            self.timer.interrupt()
        self.timer = None

    def flush(self) -> Steps:
        if not self.buffer or self.flushing:
            return
        self.disarm()
        self.flushing = True
        batch, self.buffer = self.buffer, []
        duration_us, self.first_item = self.durations_us[self.first_item], self.arrived
        self.flushes += 1
        yield self.env.timeout(duration_us)
        self.written += len(batch)
        self.flushing = False


def writer(given: Mapping[str, np.ndarray]) -> list[float]:
    """The batch writer: flushes, rows written, rows dropped."""
    env = simpy.Environment()
    one = Writer(env, given["duration_us"].tolist())

    def source() -> Steps:
        for number, at_us in enumerate(given["at_us"].tolist()):
            yield env.timeout(at_us - env.now)
            env.process(one.item(number))

    env.process(source())
    env.run(until=int(given["end_us"]))
    return [one.flushes, one.written, one.dropped]


if __name__ == "__main__":
    main({"queue": queue, "writer": writer})

"""SimPy with one process for all arrivals: an item is stored by the source itself, and only a flush is a process."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import simpy
from job import main
from simpy_processes import Steps, Writer


def queue(given: Mapping[str, np.ndarray]) -> list[float]:
    """M/M/c: a source, a store, and one process for each server; mean wait [us]."""
    env = simpy.Environment()
    waiting = simpy.Store(env)
    waits: list[int] = []

    def server() -> Steps:
        while True:
            came_us, service_us = yield waiting.get()
            waits.append(env.now - came_us)
            yield env.timeout(service_us)

    def source() -> Steps:
        for at_us, service_us in zip(given["at_us"].tolist(), given["service_us"].tolist(), strict=True):
            yield env.timeout(at_us - env.now)
            waiting.put((at_us, service_us))

    for _ in range(int(given["servers"])):
        env.process(server())
    env.process(source())
    env.run()
    return [round(sum(waits) / len(waits), 3)]


def writer(given: Mapping[str, np.ndarray]) -> list[float]:
    """The batch writer: flushes, rows written, rows dropped."""
    env = simpy.Environment()
    one = Writer(env, given["duration_us"].tolist())

    def flush() -> Steps:
        yield env.timeout(0)
        yield from one.flush()

    def source() -> Steps:
        for number, at_us in enumerate(given["at_us"].tolist()):
            yield env.timeout(at_us - env.now)
            if one.store(number):
                env.process(flush())

    env.process(source())
    env.run(until=int(given["end_us"]))
    return [one.flushes, one.written, one.dropped]


if __name__ == "__main__":
    main({"queue": queue, "writer": writer})

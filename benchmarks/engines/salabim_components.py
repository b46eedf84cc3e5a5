"""salabim: a component for every arrival, with yield."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import salabim as sim
from job import BATCH_ROWS, CAP_ROWS, DELAY_US, main

sim.yieldless(False)


def queue(given: Mapping[str, np.ndarray]) -> list[float]:
    """M/M/c: mean wait [us]."""
    env = sim.Environment(trace=False)
    servers = sim.Resource("servers", capacity=int(given["servers"]))
    waits = []

    class Customer(sim.Component):
        def process(self, service_us):
            came_us = env.now()
            yield self.request(servers)
            waits.append(env.now() - came_us)
            yield self.hold(service_us)
            self.release(servers)

    class Source(sim.Component):
        def process(self):
            for at_us, service_us in zip(given["at_us"].tolist(), given["service_us"].tolist(), strict=True):
                yield self.hold(till=at_us)
                Customer(service_us=service_us)

    Source()
    env.run()
    return [round(sum(waits) / len(waits), 3)]


def writer(given: Mapping[str, np.ndarray]) -> list[float]:
    """The batch writer: flushes, rows written, rows dropped."""
    env = sim.Environment(trace=False)
    durations_us = given["duration_us"].tolist()
    state = {"buffer": 0, "first": 0, "arrived": 0, "flushing": False, "timer": None}
    done = [0, 0, 0]

    def disarm():
        if state["timer"] is not None:
            state["timer"].cancel()
        state["timer"] = None

    class Flush(sim.Component):
        def process(self):
            if not state["buffer"] or state["flushing"]:
                return
            disarm()
            rows, state["buffer"], state["flushing"] = state["buffer"], 0, True
            duration_us, state["first"] = durations_us[state["first"]], state["arrived"]
            done[0] += 1
            yield self.hold(duration_us)
            done[1] += rows
            state["flushing"] = False

    class Timer(sim.Component):
        def process(self):
            yield self.hold(DELAY_US)
            if not state["flushing"]:  # otherwise it is spent, and stays so until it is disarmed
                state["timer"] = None
                Flush()

    class Item(sim.Component):
        def process(self):
            state["arrived"] += 1
            if state["buffer"] >= CAP_ROWS:
                done[2] += 1
                return
            state["buffer"] += 1
            if state["buffer"] == 1 and state["timer"] is None:
                state["timer"] = Timer()
            if state["buffer"] >= BATCH_ROWS:
                disarm()
                yield self.hold(0)  # the flush comes after the other arrivals of this instant
                Flush()

    class Source(sim.Component):
        def process(self):
            for at_us in given["at_us"].tolist():
                yield self.hold(till=at_us)
                Item()

    Source()
    env.run(till=int(given["end_us"]))
    return done


if __name__ == "__main__":
    main({"queue": queue, "writer": writer})

"""happy-simulator: an entity with a queue of its own, and the batch writer as an entity; its clock has nanoseconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np
from happysimulator import Entity, Event, Instant, Simulation
from job import BATCH_ROWS, CAP_ROWS, DELAY_US, main

NS = 1_000  # in a microsecond


class Desk(Entity):
    """M/M/c: each customer brings the next one."""

    def __init__(self, at_us: list[int], service_us: list[int], servers: int) -> None:
        super().__init__("desk")
        self.at_us, self.service_us, self.free = at_us, service_us, servers
        self.queue: deque[int] = deque()
        self.waited_us = 0

    def handle_event(self, event: Event) -> list[Event]:
        """A customer comes or goes."""
        found = []
        if event.event_type == "comes":
            number = event.context["number"]
            self.queue.append(number)
            if number + 1 < len(self.at_us):
                found.append(self.comes(number + 1))
        else:
            self.free += 1
        if self.free and self.queue:
            self.free -= 1
            now_us, number = self.now.nanoseconds // NS, self.queue.popleft()
            self.waited_us += now_us - self.at_us[number]
            found.append(Event(Instant((now_us + self.service_us[number]) * NS), "goes", self))
        return found

    def comes(self, number: int) -> Event:
        """The arrival of a customer."""
        return Event(Instant(self.at_us[number] * NS), "comes", self, context={"number": number})


def queue(given: Mapping[str, np.ndarray]) -> list[float]:
    """M/M/c: mean wait [us]."""
    desk = Desk(given["at_us"].tolist(), given["service_us"].tolist(), int(given["servers"]))
    simulation = Simulation(entities=[desk])
    simulation.schedule(desk.comes(0))
    simulation.run()
    return [round(desk.waited_us / len(desk.at_us), 3)]


class Writer(Entity):
    """The batch writer."""

    def __init__(self, at_us: list[int], durations_us: list[int]) -> None:
        super().__init__("writer")
        self.at_us, self.durations_us = at_us, durations_us
        self.buffered = self.first_item = self.arrived = self.batch = 0
        self.timer: Event | None = None
        self.flushing = self.asked = False
        self.flushes = self.written = self.dropped = 0

    def handle_event(self, event: Event) -> list[Event]:
        """An item, the timer, a flush that was asked for in this instant, or the end of one."""
        if event.event_type == "item":
            return self.item(event.context["number"])
        if event.event_type == "flushed":
            self.written += self.batch
            self.flushing = False
            return []
        if event.event_type == "timer":
            if self.flushing:  # the timer is spent, and stays so until it is disarmed
                return []
            self.timer = None
        return self.flush()

    def item(self, number: int) -> list[Event]:
        """Keep it or drop it; a flush comes after the other arrivals of this instant."""
        found, now_us = [], self.at_us[number]
        self.arrived += 1
        if self.buffered >= CAP_ROWS:
            self.dropped += 1
        else:
            self.buffered += 1
            if self.buffered == 1 and self.timer is None:
                self.timer = Event(Instant((now_us + DELAY_US) * NS), "timer", self)
                found.append(self.timer)
            if self.buffered >= BATCH_ROWS:
                self.disarm()
                self.asked = True
        last = number + 1 == len(self.at_us)
        if self.asked and (last or self.at_us[number + 1] > now_us):
            self.asked = False
            found.append(Event(Instant(now_us * NS), "flush", self))
        if not last:
            found.append(self.comes(number + 1))
        return found

    def comes(self, number: int) -> Event:
        """The arrival of an item."""
        return Event(Instant(self.at_us[number] * NS), "item", self, context={"number": number})

    def disarm(self) -> None:
        """No timer any more."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer = None

    def flush(self) -> list[Event]:
        """Write what is buffered, if nothing is being written."""
        if not self.buffered or self.flushing:
            return []
        self.disarm()
        self.flushing = True
        self.batch, self.buffered = self.buffered, 0
        duration_us, self.first_item = self.durations_us[self.first_item], self.arrived
        self.flushes += 1
        return [Event(Instant(self.now.nanoseconds + duration_us * NS), "flushed", self)]


def writer(given: Mapping[str, np.ndarray]) -> list[float]:
    """The batch writer: flushes, rows written, rows dropped."""
    one = Writer(given["at_us"].tolist(), given["duration_us"].tolist())
    simulation = Simulation(entities=[one], end_time=Instant(int(given["end_us"]) * NS))
    simulation.schedule(one.comes(0))
    simulation.run()
    return [one.flushes, one.written, one.dropped]


if __name__ == "__main__":
    main({"queue": queue, "writer": writer})

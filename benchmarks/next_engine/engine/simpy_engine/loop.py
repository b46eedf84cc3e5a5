"""The event loop: one thread, first come, first served; every so many requests the collector stops it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from capsim.base.units import us_from_ms
from capsim.engine.kernel.fields import bin as B
from capsim.engine.simpy_engine.bins import REQUEST_LINES, Bins
from capsim.engine.simpy_engine.clock import COMPLETION, FAR_US, THREAD, TIMER, Moment, Story, Time
from capsim.memory.pauses import Pauses
from capsim.scenario.server import HttpSpec
from capsim.scenario.workload import STREAMS

OTHER = 3


class Request(NamedTuple):
    """A request: what it is of, whose heartbeat, and how often it has been sent before."""

    kind: int
    session: int = -1
    tries: int = 0


@dataclass
class Loop:
    """The one thread of a process.

    Parameters
    ----------
    arrive : callable
        Told of each item that reaches its writer: kind, session, when its request came [us].
    late : callable, optional
        Told how long each request will take [us].
    """

    time: Time
    spec: HttpSpec
    pauses: Pauses
    bins: Bins
    arrive: Callable[[int, int, int], None]
    timed: Callable[[Request, int], None] = lambda request, took_us: None

    def __post_init__(self) -> None:
        self.free_us, self.requests, self.waiting = self.time.now, 0, [0, 0, 0, 0]
        self._cpu_us = [us_from_ms(getattr(self.spec, f"{name}_cpu_ms")) for name in (*STREAMS, "other")]

    def request(self, request: Request) -> None:
        """A request comes; it is done when all before it are, and the thread has worked for it."""
        now_us, cpu_us = self.time.now, self._cpu_us[request.kind] + self._pause_us()
        self.bins.highest(B.WAIT_US, max(self.free_us - now_us, 0))
        self.bins.count(B.REQUESTS)
        if request.kind < OTHER:
            self.bins.count(request.kind * B.WRITER + B.ARRIVED)
        self._work(cpu_us)
        self.waiting[request.kind] += 1
        self.time.tell(self._serve(request, now_us, self.time.at(self.free_us, COMPLETION)))
        self.timed(request, self.free_us - now_us)

    def _serve(self, request: Request, came_us: int, done: Moment) -> Story:
        yield done
        self.waiting[request.kind] -= 1
        self.bins.say(self.time.now, REQUEST_LINES)
        if request.kind < OTHER:
            self.arrive(request.kind, request.session, came_us)

    def _pause_us(self) -> int:
        self.requests += 1
        kinds = ((self.pauses.scavenge_every, self.pauses.scavenge_us), (self.pauses.full_every, self.pauses.full_us))
        return sum(pause_us for every, pause_us in kinds if self.requests % every == 0)

    def _work(self, cpu_us: int) -> None:
        self.free_us = min(max(self.free_us, self.time.now) + cpu_us, FAR_US)
        self.bins.count(B.OFFERED_US, cpu_us)
        self.bins.highest(B.LONGEST_US, cpu_us)

    def build(self, rows: int) -> None:
        """The insert of a flush is built; the database does not wait for it."""
        self.compute(us_from_ms(rows * self.spec.row_cpu_ms))

    def compute(self, cpu_us: int, result_rows: int = 0) -> None:
        """Something else needs the thread; a result is in the heap until its response is made."""
        if result_rows:
            self.bins.level(B.RESULT, result_rows, self.time.now)
        self.time.tell(self._job(cpu_us, result_rows, self.time.at(self.time.now, THREAD)))

    def _job(self, cpu_us: int, result_rows: int, turn: Moment) -> Story:
        yield turn  # all requests of the instant go first
        self._work(cpu_us)
        if result_rows:
            if self.free_us > self.time.now:
                yield self.time.at(self.free_us, TIMER)
            self.bins.level(B.RESULT, -result_rows, self.time.now)

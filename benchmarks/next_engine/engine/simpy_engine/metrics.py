"""Calls of the metrics endpoint: each asks the database for the connections."""

from __future__ import annotations

from itertools import count

from capsim.base.units import us_from_ms, us_from_s
from capsim.engine.simpy_engine.clock import VISIT, Story
from capsim.engine.simpy_engine.visits import METRICS, Visit, Visits
from capsim.scenario.parts import MetricsSpec


class Metrics:
    """Whoever calls the metrics of a process."""

    def __init__(self, visits: Visits, spec: MetricsSpec) -> None:
        self.visits, self.spec = visits, spec

    def calls(self) -> Story:
        """A call at every interval, whether the last one is over or not."""
        visits, every_us = self.visits, us_from_s(self.spec.every_s)
        for number in count(1):
            when_us = visits.begins_us + number * every_us
            if when_us >= visits.ends_us:
                return
            yield visits.time.at(when_us, VISIT)
            visits.time.tell(self._call(number))

    def _call(self, number: int) -> Story:
        visits, start_us = self.visits, self.visits.time.now
        ok = yield from visits.pool.call(METRICS, "query", 1, number, 1)
        visits.loop.compute(us_from_ms(self.spec.cpu_ms))
        visits.end(Visit(METRICS, number, start_us, visits.time.now, ok, 1, calls=1))

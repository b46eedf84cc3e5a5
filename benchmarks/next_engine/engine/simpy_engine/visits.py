"""What visits the database beside the writers; each visit is noted when it is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from capsim.engine.kernel.fields import bin as B
from capsim.engine.simpy_engine.bins import ERROR, Bins
from capsim.engine.simpy_engine.clock import Time
from capsim.engine.simpy_engine.loop import Loop
from capsim.engine.simpy_engine.pool import Pool

CLEANUP, QUERIES, METRICS = 3, 4, 5


class Visit(NamedTuple):
    """A visit that is over."""

    part: int
    number: int
    start_us: int
    end_us: int
    ok: bool = True
    rows: int = 0
    cached: bool = False
    calls: int = 0
    updated: int = 0


@dataclass
class Visits:
    """What the visitors of a process share: its clock, pool, thread and bins."""

    time: Time
    pool: Pool
    loop: Loop
    bins: Bins
    begins_us: int
    ends_us: int
    note: Callable[[Visit], None] = field(default=lambda visit: None)

    def end(self, visit: Visit) -> None:
        """A visit is over."""
        self.bins.count(B.CALLS, visit.calls)
        self.bins.count(B.UPDATED, visit.updated)
        self.bins.say(self.time.now, ERROR, 1 - visit.ok)
        self.note(visit)

"""The connection to Redis: while it is away commands wait, and beyond the queue's limit each is rejected at once."""

from __future__ import annotations

from bisect import bisect_right

from capsim.engine.redis import disconnected
from capsim.engine.simpy_engine.bins import QUEUED, REJECTED, Bins
from capsim.engine.simpy_engine.clock import Time
from capsim.scenario.parts import RedisClientSpec
from capsim.scenario.redis import RedisFaultSpec


class RedisClient:
    """Commands of one process while Redis is away: those of its requests, and one of each read."""

    def __init__(self, time: Time, bins: Bins, spec: RedisClientSpec, faults: list[RedisFaultSpec]) -> None:
        self._time, self._bins, self._each = time, bins, spec.commands_per_request
        self._limit = 1 << 62 if spec.queue_limit == "none" else spec.queue_limit
        self._windows = disconnected(spec, faults)
        self._starts = [from_us for from_us, _ in self._windows]
        self._window: tuple[int, int] | None = None  # that the counts are of
        self._requests = self._reads = 0

    @property
    def back_us(self) -> int | None:
        """When the connection will be back [us]; None if it is there."""
        now_us = self._time.now
        place = bisect_right(self._starts, now_us) - 1
        window = self._windows[place] if place >= 0 and now_us < self._windows[place][1] else None
        if window != self._window:
            self._window, self._requests, self._reads = window, 0, 0
            self._bins.marks[QUEUED] = 0
        return None if window is None else window[1]

    @property
    def _sent(self) -> int:
        return int(self._requests * self._each) + self._reads

    def command(self, *, read: bool = False) -> None:
        """A request, or a read, sends its commands."""
        if self.back_us is None:
            return
        before = self._sent
        self._requests, self._reads = self._requests + (not read), self._reads + read
        self._bins.mark(QUEUED, min(self._sent, self._limit))
        self._bins.count(REJECTED, max(self._sent - self._limit, 0) - max(before - self._limit, 0))

    def answered_us(self) -> int | None:
        """When a read that asks now is answered [us]: now, when the connection is back, or None: it is rejected."""
        back_us = self.back_us
        if back_us is None:
            return self._time.now
        has_room = self._sent < self._limit
        self.command(read=True)
        return back_us if has_room else None

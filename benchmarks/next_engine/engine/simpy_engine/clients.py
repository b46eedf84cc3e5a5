"""The clients: they send requests, wait as long as their patience lasts, and send again."""

from __future__ import annotations

from collections.abc import Iterable

from capsim.base.units import us_from_s
from capsim.engine.kernel.fields import bin as B
from capsim.engine.simpy_engine.clock import ARRIVAL, RETRY, Moment, Story
from capsim.engine.simpy_engine.loop import Loop, Request
from capsim.engine.simpy_engine.redis import RedisClient
from capsim.scenario.server import ClientsSpec


class Clients:
    """Those whose requests a process serves."""

    def __init__(self, loop: Loop, spec: ClientsSpec | None, redis: RedisClient | None = None) -> None:
        self.loop, self.spec, self.redis = loop, spec, redis

    def send(self, requests: Iterable[tuple[int, Request]]) -> Story:
        """Send requests, each at its instant [us]."""
        for at_us, request in requests:
            yield self.loop.time.at(at_us, ARRIVAL)
            if self.redis is not None:
                self.redis.command()
            self.loop.request(request)

    def timed(self, request: Request, took_us: int) -> None:
        """How long a request will take is known when it comes."""
        spec, time, bins = self.spec, self.loop.time, self.loop.bins
        if spec is None or took_us <= us_from_s(spec.timeout_s):
            return
        bins.count(B.LATE)
        if request.tries >= spec.retries:
            bins.count(B.GIVEN_UP)
            return
        again_us = time.now + us_from_s(spec.timeout_s) + (us_from_s(spec.backoff_s) << request.tries)
        time.tell(self._again(request, time.at(again_us, RETRY)))

    def _again(self, request: Request, moment: Moment) -> Story:
        yield moment  # the first one is served all the same
        self.loop.request(request._replace(tries=request.tries + 1))

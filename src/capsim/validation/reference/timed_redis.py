"""A Redis for virtual time: answers at once, except while a scenario's faults say otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from capsim.base.units import US_PER_MS, us_from_s
from capsim.scenario.parts import RedisClientSpec
from capsim.scenario.redis import RedisFaultSpec
from capsim.validation.reference.clock import Clock, Phase, sleep_until
from capsim.validation.reference.redis import Connect

PROBES_US = 9 * 75_000_000  # Linux: nine probes, 75 s apart, until a silent connection is given up (tcp(7))


class TimedRedis:
    """Keeps values with a time to live; `down` breaks the connections, `unreachable` lets packets vanish.

    Parameters
    ----------
    clock : Clock
        Whose time it is.
    faults : sequence of RedisFaultSpec
        Of the scenario.
    """

    def __init__(self, clock: Clock, faults: Sequence[RedisFaultSpec]) -> None:
        self.clock = clock
        self._faults = [(us_from_s(f.from_s), us_from_s(f.to_s), f.kind) for f in faults]
        self._kept: dict[str, tuple[int, bytes]] = {}

    def of(self, spec: RedisClientSpec) -> Connect:
        """How a scenario's client reaches it."""

        async def connect() -> TimedLink:
            now_us = self.clock.now_us()
            kind, to_us = self.fault(now_us)
            if kind == "down":
                raise ConnectionRefusedError("Redis is down")
            if kind == "unreachable":
                await sleep_until(self.clock, to_us, Phase.VISITS)
            return TimedLink(self, us_from_s(spec.keep_alive_s) + PROBES_US)

        return connect

    def fault(self, now_us: int) -> tuple[str | None, int]:
        """What is wrong at an instant, and until when [us]."""
        for from_us, to_us, kind in self._faults:
            if from_us <= now_us < to_us:
                return kind, to_us
        return None, now_us

    def breaks_us(self, now_us: int, silence_us: int) -> int | None:
        """When a connection that is there now is known to be broken [us]."""
        for from_us, to_us, kind in sorted(self._faults):
            noticed_us = from_us + (silence_us if kind == "unreachable" else 0)
            if noticed_us >= now_us and noticed_us < to_us:
                return noticed_us
        return None

    def carry_out(self, command: tuple[Any, ...]) -> Any:
        """The answer to a command."""
        now_us = self.clock.now_us()
        if command[0] == "GET":
            expires_us, value = self._kept.get(command[1], (0, None))
            return value if now_us < expires_us else None
        _, key, value, unit, time = command
        self._kept[key] = now_us + time * (US_PER_MS if unit == "PX" else 1_000 * US_PER_MS), str(value).encode()
        return True


class TimedLink:
    """A connection of a `TimedRedis`."""

    def __init__(self, redis: TimedRedis, silence_us: int) -> None:
        self._redis = redis
        self._breaks_us = redis.breaks_us(redis.clock.now_us(), silence_us)

    async def execute_command(self, *command: Any) -> Any:
        """The answer, at once, or when Redis is reachable again; an error if the connection is given up before."""
        clock = self._redis.clock
        kind, to_us = self._redis.fault(clock.now_us())
        if kind is not None:
            broken = self._breaks_us is not None and self._breaks_us < to_us
            await sleep_until(clock, self._breaks_us if broken and self._breaks_us else to_us, Phase.VISITS)
            if broken:
                raise ConnectionError("Redis does not answer")
        return self._redis.carry_out(command)

    async def lost(self) -> None:
        """Wait until the connection is known to be broken."""
        if self._breaks_us is None:
            await asyncio.get_running_loop().create_future()
        else:
            await sleep_until(self._redis.clock, self._breaks_us, Phase.TIMERS)

    async def aclose(self) -> None:
        """Nothing to close."""

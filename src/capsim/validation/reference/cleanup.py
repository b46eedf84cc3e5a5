"""Closes sessions that have fallen silent, some at a time: one by one, or in one statement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from capsim.base.units import us_from_s
from capsim.scenario.parts import CleanupSpec
from capsim.validation.reference.clock import Clock, at_every
from capsim.validation.reference.database import Answer, CallFailed, Statement
from capsim.validation.reference.log import Log
from capsim.validation.reference.observer import Visited, Watch
from capsim.validation.reference.pool import Pool
from capsim.validation.reference.rows import Heartbeat


class Cleanup:
    """Runs at every interval; a run that has not ended skips the turns that fall into it.

    Parameters
    ----------
    spec : CleanupSpec
        Of the scenario.
    clock : Clock
        Real or virtual time.
    pool : Pool
        Where its calls go.
    log : Log
        Where its lines go.
    watch : Watch
        Told of every run when it has ended.
    now_ms : callable
        The time by which heartbeats are stored [ms].
    """

    def __init__(
        self, spec: CleanupSpec, clock: Clock, pool: Pool, log: Log, watch: Watch, now_ms: Callable[[], float]
    ) -> None:
        self._spec, self._clock, self._pool, self._log, self._watch = spec, clock, pool, log, watch
        self._now_ms = now_ms
        self._run: asyncio.Task[int] | None = None

    async def keep(self) -> None:
        """Run at every turn, for ever."""
        try:
            await at_every(self._clock, us_from_s(self._spec.interval_s), self._begin)
        finally:
            if self._run is not None:
                self._run.cancel()

    def _begin(self, turn: int) -> None:
        if self._run is None or self._run.done():
            self._run = asyncio.ensure_future(self.clean(turn))

    async def clean(self, turn: int = 0) -> int:
        """Close sessions whose last heartbeat is too old, at most as many as the scenario allows; how many it closed.

        A session ends with its last heartbeat, not with the moment at which it was noticed.
        """
        visit = Visited("cleanup", turn, self._clock.now_us())
        most = None if self._spec.limit_rows == "none" else self._spec.limit_rows
        before_ms = self._now_ms() - round(self._spec.timeout_s * 1_000)
        try:
            silent = await self._call(visit, Statement("stale_sessions", "cleanup", (before_ms, most), turn))
        except CallFailed as error:
            self._log.error(f"cleanup: sessions could not be read: {error}")
            self._watch.visited(visit.over(self._clock.now_us(), ok=False))
            return 0
        ended = [Heartbeat(row["id"], row["last_heartbeat_ms"]) for row in silent.rows]
        groups: Sequence[Sequence[Heartbeat]] = [ended] if self._spec.one_statement and ended else [[e] for e in ended]
        for group in groups:
            try:
                visit.updated += (await self._call(visit, Statement("end_session", "cleanup", group))).changed
            except CallFailed as error:
                self._log.warn(f"cleanup: a session could not be closed: {error}")
        visit.rows = len(ended)
        self._log.info(f"cleanup: {visit.updated} sessions closed")
        self._watch.visited(visit.over(self._clock.now_us()))
        return visit.updated

    async def _call(self, visit: Visited, statement: Statement) -> Answer:
        visit.calls += 1
        return await self._pool.call(statement)

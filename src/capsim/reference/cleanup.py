"""Closes sessions that have fallen silent, some at a time, one by one."""

from __future__ import annotations

from capsim.reference.clock import Clock, Phase, sleep_until
from capsim.reference.database import CallFailed, Statement
from capsim.reference.log import Log
from capsim.reference.pool import Pool
from capsim.reference.rows import Heartbeat, now_ms
from capsim.reference.settings import Settings
from capsim.units import us_from_s


async def clean(pool: Pool, settings: Settings, log: Log, at_ms: int) -> int:
    """Close the sessions whose last heartbeat is too old, at most as many as the settings allow; how many it closed.

    A session ends with its last heartbeat, not with the moment at which it was noticed.
    """
    before_ms = at_ms - round(settings.session_timeout_s * 1_000)
    try:
        stale = await pool.call(Statement("stale_sessions", "cleanup", (before_ms, settings.cleanup_sessions)))
    except CallFailed as error:
        log.warn(f"cleanup: sessions could not be read: {error}")
        return 0
    closed = 0
    for row in stale.rows:
        ended = Heartbeat(row["id"], row["last_heartbeat_ms"])
        try:
            closed += (await pool.call(Statement("end_session", "cleanup", (ended,)))).changed
        except CallFailed as error:
            log.warn(f"cleanup: a session could not be closed: {error}")
    return closed


async def keep_clean(clock: Clock, pool: Pool, settings: Settings, log: Log) -> None:
    """`clean` at every interval, for ever; a round that takes longer makes the next one late."""
    every_us = us_from_s(settings.cleanup_every_s)
    while True:
        await sleep_until(clock, clock.now_us() + every_us, Phase.TIMERS)
        closed = await clean(pool, settings, log, now_ms())
        log.info(f"cleanup: {closed} sessions closed")

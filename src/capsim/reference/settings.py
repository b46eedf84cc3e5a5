"""Parts of the server that scenario files do not describe yet: cleanup, queries, logger, Redis client."""

from __future__ import annotations

from dataclasses import dataclass

from capsim.reference.log import Level


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The seed's values after its changes; before them: 60 s, no limit, no page, no cache, info, no limit."""

    cleanup_every_s: float = 120.0
    cleanup_sessions: int | None = 100  # closed at a time; None for all
    session_timeout_s: float = 180.0  # without a heartbeat for longer, a session is over
    page_rows: int | None = 100  # rows of an analytics answer; None for all
    cache_ttl_s: float = 300.0  # 0: no cache
    log_level: Level = "warn"
    redis_queue: int | None = 1_000  # commands held while Redis is away; None for no limit
    redis_connect_timeout_s: float = 10.0
    body_bytes: int = 1024 * 1024  # largest request
    body_timeout_s: float = 20.0  # for a client to send it
    grace_s: float = 10.0  # from SIGTERM to the exit, at most

"""The switches of the plan: each change of it by itself, so that any subset gives the server with exactly these.

A switch is a set of knobs with the values that the change gives them. A scenario with a ``[plan]`` is played with its
switches applied; what it says of the same knobs otherwise is the server without the change.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field

from capsim.scenario.base import Spec

Change = Literal["logger", "event_cap", "revenue_cap", "heartbeat_cap", "cleanup", "heap_cap", "redis", "metrics"]
Manual = Literal["database_url"]
Future = Literal["pagination", "indexes", "cache", "compression"]

CHANGES: tuple[Change, ...] = get_args(Change)
MANUAL: tuple[Manual, ...] = get_args(Manual)
FUTURE: tuple[Future, ...] = get_args(Future)


class PlanSpec(Spec):
    """Changes of the plan that are made on top of what the scenario says; in any order, each once."""

    changes: tuple[Change, ...] = Field(default=(), description="of the plan's eight changes, those that are made")
    manual: tuple[Manual, ...] = Field(default=(), description="manual steps that are done")
    future: tuple[Future, ...] = Field(default=(), description="further optimisations that are made")

    @property
    def switches(self) -> tuple[str, ...]:
        """All switches that are on, in the plan's own order."""
        on = {*self.changes, *self.manual, *self.future}
        return tuple(name for name in KNOBS if name in on)


# What each change does to the server (the owners' plan of 2026-02-03, by its sections).
KNOBS: dict[str, dict[str, Any]] = {
    "logger": {"server.logger.level": "warn", "server.logger.files": 0},
    "event_cap": {"server.writers.events.buffer_cap_rows": 1_000},
    "revenue_cap": {"server.writers.revenue.buffer_cap_rows": 1_000},
    "heartbeat_cap": {"server.writers.heartbeats.buffer_cap_rows": 1_000},
    "cleanup": {"server.cleanup.interval_s": 120.0, "server.cleanup.limit_rows": 100},
    "heap_cap": {"server.node.heap_cap_mib": 512},
    "redis": {
        "server.redis_client.queue_limit": 1_000,
        "server.redis_client.connect_timeout_s": 10.0,
        "server.redis_client.keep_alive_s": 30.0,
    },
    "metrics": {"server.metrics": {}},
    "database_url": {
        "server.pool.limit": 10,
        "server.pool.pool_timeout_s": 20.0,
        "server.pool.connect_timeout_s": 10.0,
    },
    "pagination": {"server.queries.take_rows": 100},
    "indexes": {"database.unused_indexes": 0},
    "cache": {"server.cache": {}},
    "compression": {"server.queries.compression": True},
}

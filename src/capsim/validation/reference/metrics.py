"""`/api/metrics` in the seed's shape, so that whatever reads the production server can read this one.

A Python process has no V8: ``heapTotal`` and ``heapUsed`` are its unique set (memory that would be freed if it ended),
``external`` and ``arrayBuffers`` are 0, and ``nodeVersion`` says what it is.
"""

from __future__ import annotations

import datetime as dt
import platform
from collections.abc import Mapping
from typing import Any

import psutil

from capsim.base.units import MIB
from capsim.scenario.workload import Stream
from capsim.validation.reference.clock import Clock
from capsim.validation.reference.database import CallFailed, Statement
from capsim.validation.reference.log import Log
from capsim.validation.reference.observer import Visited, Watch
from capsim.validation.reference.pool import Pool
from capsim.validation.reference.writer import BatchWriter


def _mb(size_bytes: int) -> str:
    return f"{round(size_bytes / MIB)}MB"  # the seed's spelling; it means MiB


def timestamp() -> str:
    """Now, as JavaScript writes it."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Metrics:
    """The endpoint; each call of it asks the database once, how many connections it has.

    Parameters
    ----------
    clock, pool, log, watch
        Of the server.
    """

    def __init__(self, clock: Clock, pool: Pool, log: Log, watch: Watch) -> None:
        self._clock, self._pool, self._log, self._watch = clock, pool, log, watch
        self.calls = 0

    async def connections(self) -> list[dict[str, Any]]:
        """Connections of the database; none that are known if it does not say."""
        self.calls += 1
        visit = Visited("metrics", self.calls, self._clock.now_us(), rows=1, calls=1)
        found: list[dict[str, Any]] = []
        try:
            found = (await self._pool.call(Statement("connections", "metrics", (), self.calls))).rows
        except CallFailed as error:
            self._log.error(f"metrics: {error}")
            visit.over(self._clock.now_us(), ok=False)
        else:
            visit.over(self._clock.now_us())
        self._watch.visited(visit)
        return found

    async def answer(self, writers: Mapping[Stream, BatchWriter[Any]], uptime_s: float) -> dict[str, Any]:
        """What the endpoint says, `uptime_s` after the start."""
        connections = await self.connections()
        memory = psutil.Process().memory_full_info()
        return {
            "timestamp": timestamp(),
            "memory": {
                "rss": _mb(memory.rss),
                "heapTotal": _mb(memory.uss),
                "heapUsed": _mb(memory.uss),
                "external": "0MB",
                "arrayBuffers": "0MB",
            },
            "uptime": f"{int(uptime_s // 60)} minutes",
            "dbConnections": connections,
            "batchWriters": {
                stream: {
                    "bufferSize": writer.count,
                    "totalFlushed": writer.flushed,
                    "totalFailed": writer.failed,
                    "totalDropped": writer.dropped,
                }
                for stream, writer in writers.items()
            },
            "environment": "reference",
            "nodeVersion": f"none: capsim's reference on Python {platform.python_version()}",
        }

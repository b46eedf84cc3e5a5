"""`/api/metrics` in the seed's shape, so that whatever reads the production server can read this one.

A Python process has no V8: ``heapTotal`` and ``heapUsed`` are its unique set (memory that would be freed if it ended),
``external`` and ``arrayBuffers`` are 0, and ``nodeVersion`` says what it is.
"""

from __future__ import annotations

import datetime as dt
import platform
from typing import Any

import psutil

from capsim.reference.database import CallFailed, Statement
from capsim.reference.server import Ingestion
from capsim.units import MIB


def _mb(size_bytes: int) -> str:
    return f"{round(size_bytes / MIB)}MB"  # the seed's spelling; it means MiB


def timestamp() -> str:
    """Now, as JavaScript writes it."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def metrics(ingestion: Ingestion, uptime_s: float, counts_itself: bool) -> dict[str, Any]:
    """What the endpoint answers.

    Parameters
    ----------
    ingestion : Ingestion
        The writers and the pool.
    uptime_s : float
        Since the start [s].
    counts_itself : bool
        Whether the database can tell how many connections it has; else the pool tells how many it opened.
    """
    process = psutil.Process()
    memory = process.memory_full_info()
    connections: list[dict[str, Any]] = [{"count": ingestion.pool.open}]
    if counts_itself:
        try:
            connections = (await ingestion.pool.call(Statement("connections", "queries"))).rows
        except CallFailed:
            connections = []
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
            for stream, writer in ingestion.writers.items()
        },
        "environment": "reference",
        "nodeVersion": f"none: capsim's reference on Python {platform.python_version()}",
    }

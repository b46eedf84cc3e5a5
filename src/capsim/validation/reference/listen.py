"""Runs the server as a process: from its place in the world to its last line."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

from capsim.base.errors import CapsimError, visible
from capsim.base.http_door import LAST_ANSWERS_S
from capsim.scenario.changes import applied
from capsim.scenario.scenario import Scenario
from capsim.validation.reference.database import Database
from capsim.validation.reference.http import application, door_of
from capsim.validation.reference.log import Log
from capsim.validation.reference.logfiles import LogFiles
from capsim.validation.reference.redis import connector
from capsim.validation.reference.service import Service
from capsim.validation.reference.settings import Settings
from capsim.validation.reference.sqlite import SqliteDatabase
from capsim.validation.reference.url import read_database_url


class Place(NamedTuple):
    """The port to listen on, and what is around the server."""

    port: int
    path: Path
    database_url: str | None
    redis_url: str | None


class OneLine(logging.Handler):
    """Where aiohttp says what it cannot read: a line of our log, in place of a traceback for each port scanner."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write the message, and what was raised, as one line."""
        why = f": {record.exc_info[1]}" if record.exc_info else ""
        self._log.warn(" ".join(f"{record.getMessage()}{why}".split()))


def listen(scenario: Scenario, place: Place, settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then end within the grace.

    Raises
    ------
    CapsimError
        If it cannot begin: an address in use, a URL or a file that cannot be. A database that is merely away is no
        reason not to begin.
    """
    asyncio.run(_listen(scenario, place, settings))


async def _listen(scenario: Scenario, place: Place, settings: Settings) -> None:
    scenario = applied(scenario)
    spec = scenario.server
    if spec.cache is not None and spec.cache.store == "redis" and place.redis_url is None:
        raise CapsimError(f'{scenario.name}: server.cache.store is "redis"; set REDIS_URL, or keep answers in "memory"')
    database: Database
    if place.database_url:
        url = read_database_url(place.database_url, spec.pool)
        from capsim.validation.reference.postgres import PostgresDatabase

        spec = spec.replace("pool", url.pool.model_dump())
        database, where = PostgresDatabase(url.conninfo), "PostgreSQL"
    else:
        folder = place.path.absolute().parent
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise CapsimError(f"{place.path}: {folder} is no folder that can be written to; choose another --file")
        database, where = SqliteDatabase(place.path), f"SQLite in {place.path}"
    files = LogFiles(spec.logger, place.path.absolute().parent) if spec.logger.files else None
    log = Log(spec.logger.level, _say, *([files] if files else []))
    redis = connector(place.redis_url) if place.redis_url else None
    service = Service(spec, database, log, redis)
    unreadable = logging.Logger("capsim serve")
    unreadable.addHandler(OneLine(log))
    try:
        opened = await door_of(settings).opened(application(service, settings), place.port, unreadable)
    except CapsimError:
        await service.shutdown(0)
        raise
    print(f"capsim: serving {scenario.name} on {opened.address}, {where}", file=sys.stderr, flush=True)
    await _told_to_end()
    began_s = time.monotonic()
    opened.stop()
    left = await service.shutdown(max(0.0, settings.grace_s - LAST_ANSWERS_S))
    await opened.close()
    lines = [
        f"{stream}: {writer.flushed} written, {writer.dropped} dropped, "
        f"{left[stream].buffered} buffered and {left[stream].in_flight} in flight at the end"
        for stream, writer in service.ingestion.writers.items()
    ]
    if files is not None:
        files.close()
    for line in lines:
        print(f"capsim: {line}", file=sys.stderr)
    print(f"capsim: ended in {time.monotonic() - began_s:.1f} s", file=sys.stderr, flush=True)


def _say(level: str, text: str) -> None:
    print(f"{level}: {visible(text)}", file=sys.stderr, flush=True)


async def _told_to_end() -> None:
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    await ending.wait()

"""PostgreSQL, by a connection string."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple
from typing import Any

import psutil
import psycopg
from psycopg.rows import dict_row

from capsim.validation.reference.database import Answer, CallFailed, Operation, Statement
from capsim.validation.reference.schema import TABLES

LAST_MADE = "SELECT 1 FROM pg_indexes WHERE schemaname = current_schema() AND indexname = 'events_of_game'"

# A batch is one statement whatever its size: its columns travel as arrays.
INSERT = "INSERT INTO {table} SELECT * FROM unnest({types}) ON CONFLICT (id) DO NOTHING"
TEXTS, BIGINTS = "%s::text[]", "%s::bigint[]"
WRITES: dict[Operation, str] = {
    "insert_events": INSERT.format(table="events", types=", ".join([*[TEXTS] * 6, BIGINTS])),
    "insert_revenue": INSERT.format(table="revenue", types=", ".join([*[TEXTS] * 4, BIGINTS, TEXTS, BIGINTS])),
    "touch_session": "UPDATE sessions SET last_heartbeat_ms = new.at_ms "
    f"FROM unnest({TEXTS}, {BIGINTS}) AS new (id, at_ms) WHERE sessions.id = new.id",
    "touch_sessions": "UPDATE sessions SET last_heartbeat_ms = new.at_ms "
    f"FROM unnest({TEXTS}, {BIGINTS}) AS new (id, at_ms) WHERE sessions.id = new.id",
    "end_session": "UPDATE sessions SET ended_ms = new.at_ms "
    f"FROM unnest({TEXTS}, {BIGINTS}) AS new (id, at_ms) WHERE sessions.id = new.id AND ended_ms IS NULL",
    "start_session": f"WITH new AS (SELECT * FROM unnest({TEXTS}, {TEXTS}, {TEXTS}, {BIGINTS}) "
    "AS new (id, game_id, user_id, at_ms)), "
    "game AS (INSERT INTO games SELECT DISTINCT game_id, at_ms FROM new ON CONFLICT (id) DO NOTHING), "
    "person AS (INSERT INTO users SELECT DISTINCT user_id, game_id, at_ms FROM new ON CONFLICT (id) DO NOTHING) "
    "INSERT INTO sessions SELECT id, game_id, user_id, at_ms, at_ms FROM new ON CONFLICT (id) DO NOTHING",
}
READS: dict[Operation, str] = {
    "stale_sessions": "SELECT id, last_heartbeat_ms FROM sessions WHERE ended_ms IS NULL AND last_heartbeat_ms < %s "
    "ORDER BY last_heartbeat_ms LIMIT %s",
    "analytics": "SELECT id, user_id, session_id, name, properties, at_ms FROM events WHERE game_id = %s "
    "ORDER BY at_ms DESC, id LIMIT %s OFFSET %s",
    "connections": "SELECT count(*)::int AS count FROM pg_stat_activity WHERE datname = current_database()",
}


class PostgresDatabase:
    """A PostgreSQL database, its tables made at the first connection.

    Parameters
    ----------
    conninfo : str
        What libpq connects by.
    """

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._ready = False
        self._preparing = asyncio.Lock()

    async def connect(self) -> PostgresConnection:
        """Open a connection."""
        try:
            link = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True, row_factory=dict_row)
            async with self._preparing:
                if not self._ready:
                    # Even "IF NOT EXISTS" waits for whoever holds the table, so ask before.
                    made = await (await link.execute(LAST_MADE)).fetchone()
                    if made is None:
                        for table in TABLES:
                            await link.execute(table)
                    self._ready = True
        except psycopg.Error as error:
            raise CallFailed(f"PostgreSQL: {_first_line(error)}") from error
        return PostgresConnection(link)


class PostgresConnection:
    """One connection, that is one backend process on the other side."""

    def __init__(self, link: psycopg.AsyncConnection[dict[str, Any]]) -> None:
        self._link = link

    @property
    def is_open(self) -> bool:
        """Whether the server is still there, as far as is known.

        On an idle connection nothing comes but the end of it, so one that can be read from is over.
        """
        return not self._link.closed and not _readable(self._link.fileno())

    @property
    def server_pid(self) -> int | None:
        """The postmaster, whose child the other end of this connection is."""
        with suppress(psutil.Error):
            backend = psutil.Process(self._link.info.backend_pid)
            parent = backend.parent()
            # A server elsewhere has numbers of its own, which here belong to anyone.
            if parent is not None and {backend.name(), parent.name()} == {"postgres"}:
                return int(parent.pid)
        return None

    async def run(self, statement: Statement) -> Answer:
        """Run one statement in a transaction of its own."""
        operation, values = statement.operation, statement.values
        try:
            if operation in WRITES:
                cursor = await self._link.execute(WRITES[operation], _columns(values))
                return Answer(cursor.rowcount)
            cursor = await self._link.execute(READS[operation], values)
            return Answer(rows=await cursor.fetchall())
        except psycopg.Error as error:
            raise CallFailed(f"PostgreSQL: {_first_line(error)}") from error

    async def close(self) -> None:
        """Close it."""
        await self._link.close()


def _readable(fileno: int) -> bool:
    if not hasattr(select, "poll"):  # Windows, where numbers of files are small enough for the older call
        return bool(select.select([fileno], [], [], 0)[0])
    poll = select.poll()
    poll.register(fileno, select.POLLIN)
    return bool(poll.poll(0))


def _columns(rows: Sequence[Any]) -> list[list[Any]]:
    return [list(column) for column in zip(*map(astuple, rows), strict=True)]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)

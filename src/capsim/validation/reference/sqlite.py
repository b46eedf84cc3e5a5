"""SQLite in a file: the embedded database of the reference.

Every call crosses into the connection's own thread and back, about 0.1 ms (facts: ecosystem); writers of several
connections wait for each other, as SQLite has one write lock.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import aiosqlite

from capsim.validation.reference.database import Answer, CallFailed, Operation, Statement
from capsim.validation.reference.schema import TABLES

BUSY_S = 60.0  # how long a write waits for another's: longer than any of ours takes

# Statements that write a row for each of their values.
WRITES: dict[Operation, str] = {
    "insert_events": "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
    "insert_revenue": "INSERT INTO revenue VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
    "touch_session": "UPDATE sessions SET last_heartbeat_ms = ?2 WHERE id = ?1",
    "touch_sessions": "UPDATE sessions SET last_heartbeat_ms = ?2 WHERE id = ?1",
    "end_session": "UPDATE sessions SET ended_ms = ?2 WHERE id = ?1 AND ended_ms IS NULL",
}
READS: dict[Operation, str] = {
    "stale_sessions": "SELECT id, last_heartbeat_ms FROM sessions WHERE ended_ms IS NULL AND last_heartbeat_ms < ? "
    "ORDER BY last_heartbeat_ms LIMIT ?",
    "connections": "SELECT ? AS count",
    "analytics": "SELECT id, user_id, session_id, name, properties, at_ms FROM events WHERE game_id = ? "
    "ORDER BY at_ms DESC, id LIMIT ? OFFSET ?",
}
START_SESSION = (
    "INSERT INTO games SELECT ?2, ?4 WHERE ?1 = ?1 ON CONFLICT (id) DO NOTHING",
    "INSERT INTO users SELECT ?3, ?2, ?4 WHERE ?1 = ?1 ON CONFLICT (id) DO NOTHING",
    "INSERT INTO sessions VALUES (?1, ?2, ?3, ?4, ?4, NULL) ON CONFLICT (id) DO NOTHING",
)


class SqliteDatabase:
    """A file, made with its tables when it is first opened.

    Parameters
    ----------
    path : Path
        Of the file.

    Attributes
    ----------
    open : int
        Connections of this process: no file can tell.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.open = 0
        self._ready = False
        self._preparing = asyncio.Lock()

    async def connect(self) -> SqliteConnection:
        """Open the file once more."""
        try:
            link = await aiosqlite.connect(self._path, isolation_level=None, timeout=BUSY_S)
        except sqlite3.Error as error:
            raise CallFailed(f"{self._path}: {error}") from error
        try:
            link.row_factory = sqlite3.Row
            await link.execute("PRAGMA synchronous = NORMAL")
            async with self._preparing:
                if not self._ready:
                    await link.execute("PRAGMA journal_mode = WAL")
                    for table in TABLES:
                        await link.execute(table)
                    self._ready = True
        except sqlite3.Error as error:
            await link.close()
            raise CallFailed(f"{self._path}: {error}") from error
        self.open += 1
        return SqliteConnection(self, link)


class SqliteConnection:
    """One connection to the file, with a thread of its own."""

    is_open = True
    server_pid = None  # it runs in this process

    def __init__(self, database: SqliteDatabase, link: aiosqlite.Connection) -> None:
        self._database, self._link = database, link

    async def run(self, statement: Statement) -> Answer:
        """Run one statement in a transaction of its own."""
        operation, values = statement.operation, statement.values
        try:
            if operation in WRITES:
                return Answer(await self._write(((WRITES[operation], [astuple(row) for row in values]),)))
            if operation == "start_session":
                rows = [astuple(row) for row in values]
                return Answer(await self._write([(text, rows) for text in START_SESSION]))
            if operation == "connections":
                values = (self._database.open,)
            return Answer(rows=await self._read(READS[operation], values))
        except sqlite3.Error as error:
            raise CallFailed(f"SQLite: {error}") from error

    async def close(self) -> None:
        """Close it and end its thread."""
        self._database.open -= self.is_open
        self.is_open = False
        await self._link.close()

    async def _write(self, parts: Sequence[tuple[str, list[tuple[Any, ...]]]]) -> int:
        await self._link.execute("BEGIN IMMEDIATE")
        try:
            changed = 0
            for text, rows in parts:
                changed = (await self._link.executemany(text, rows)).rowcount
            await self._link.execute("COMMIT")
        except BaseException:
            if self._link.in_transaction:  # a full disk has ended it already
                await self._link.execute("ROLLBACK")
            raise
        return changed

    async def _read(self, text: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        # SQLite has no NULL for "all": a negative limit says it.
        arguments = [-1 if value is None else value for value in values]
        async with self._link.execute(text, arguments) as cursor:
            return [dict(row) for row in await cursor.fetchall()]

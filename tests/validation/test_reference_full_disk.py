"""A full disk: what writes fails, what reads does not, the process lives, and it goes on when there is room again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psycopg
import pytest
from aiohttp.test_utils import TestClient, TestServer

from capsim.engine.database import LatencyDatabase
from capsim.engine.model import Server
from capsim.scenario.parts import LoggerSpec
from capsim.scenario.scenario import Scenario
from capsim.scenario.server import ServerSpec
from capsim.scenario.workload import STREAMS
from capsim.validation.reference.database import CallFailed
from capsim.validation.reference.http import application
from capsim.validation.reference.log import Log
from capsim.validation.reference.logfiles import LogFiles
from capsim.validation.reference.postgres import PostgresDatabase
from capsim.validation.reference.service import Service
from capsim.validation.reference.sqlite import SqliteConnection, SqliteDatabase
from reference_services import Postgres, postgres_of_our_own
from test_reference_http import EVENT, play

PAGES = 60  # of 4 KiB: room for the tables and some hundred rows


class SmallVolume(SqliteDatabase):
    """A file that may not grow beyond so many pages: SQLite then says what it says on a volume that is full."""

    pages = PAGES

    async def connect(self) -> SqliteConnection:
        connection = await super().connect()
        await connection._link.execute(f"PRAGMA max_page_count = {self.pages}")
        self.links = [*getattr(self, "links", []), connection._link]
        return connection

    async def grow(self) -> None:
        """Somebody makes the volume larger."""
        self.pages = 100_000
        for link in self.links:
            await link.execute(f"PRAGMA max_page_count = {self.pages}")


def test_sqlite_says_that_the_disk_is_full_and_reads_go_on(tmp_path: Path) -> None:
    database = SmallVolume(tmp_path / "small.sqlite")

    async def story(client: TestClient, service: Service) -> None:
        large = EVENT | {"properties": {"x": "y" * 10_000}}
        writer = service.ingestion.writers["events"]
        while not writer.failed:
            assert (await client.post("/api/analytics/events/batch", json={"events": [large] * 10})).status == 202
            await asyncio.sleep(0.06)
        lost = writer.dropped_failed
        read = await client.get("/api/analytics/events?gameId=g&take=1")
        started = await client.post("/api/sessions/start", json={"gameId": "g" * 100, "userId": "u" * 100})

        assert (read.status, len((await read.json())["events"])) == (200, 1)
        assert (await client.get("/health")).status == 200
        if started.status != 201:  # a small row may still fit into a page that is there
            assert (started.status, "disk is full" in (await started.json())["error"]) == (503, True)
        assert lost >= 10 and writer.offered == writer.flushed + writer.dropped + writer.count + writer.in_flight
        await database.grow()
        assert (await client.post("/api/analytics/events", json=large)).status == 202
        await asyncio.sleep(0.2)
        assert (writer.dropped_failed, writer.count) == (lost, 0)

    play(story, database)


def test_a_full_sqlite_fails_the_call_with_the_words_that_sqlite_has_for_it(tmp_path: Path) -> None:
    async def story() -> str:
        from capsim.validation.reference.database import Statement
        from capsim.validation.reference.rows import Event

        link = await SmallVolume(tmp_path / "small.sqlite").connect()
        rows = [Event(f"e{i}", "g", "u", None, "n", "x" * 1_000, i) for i in range(1_000)]
        with pytest.raises(CallFailed) as failed:
            await link.run(Statement("insert_events", "events", rows))
        assert (await link.run(Statement("analytics", "queries", ("g", None, 0)))).rows == []  # none of the batch
        await link.close()
        return str(failed.value)

    assert asyncio.run(story()) == "SQLite: database or disk is full"


# --- PostgreSQL ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with postgres_of_our_own() as server:
        yield server


@contextmanager
def no_room(url: str) -> Iterator[None]:
    """Every insert and update fails as on a full volume: SQLSTATE 53100, and its words."""
    words = 'could not extend file "base/5/16384": No space left on device'
    raises = f"BEGIN RAISE EXCEPTION '{words}' USING ERRCODE = 'disk_full'; END"
    when = "BEFORE INSERT OR UPDATE ON"
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(f"CREATE OR REPLACE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ {raises} $$")
        for table in ("events", "revenue", "sessions"):
            other.execute(f"CREATE TRIGGER no_room {when} {table} FOR EACH STATEMENT EXECUTE FUNCTION no_room()")
        try:
            yield
        finally:
            for table in ("events", "revenue", "sessions"):
                other.execute(f"DROP TRIGGER no_room ON {table}")


HZ, END_S = 100, 1.0
SMALL = {"batch_rows": 10, "delay_ms": 500, "buffer_cap_rows": 30}


def server_of(semantics: str) -> ServerSpec:
    return ServerSpec.model_validate({"writers": {s: {**SMALL, "semantics": semantics} for s in STREAMS}})


def on_a_full_postgres(url: str, semantics: str) -> dict[str, int]:
    """A second of events, revenue and heartbeats while the volume is full; what became of them."""

    async def story() -> dict[str, int]:
        service = Service(server_of(semantics), PostgresDatabase(url), Log())
        async with TestClient(TestServer(application(service))) as client:
            await client.get("/api/analytics/events?gameId=g")  # makes the tables
            with no_room(url):
                for i in range(round(HZ * END_S)):
                    for stream in STREAMS:
                        service.ingestion.offer(stream, _row(stream, i))
                    await asyncio.sleep(1 / HZ)
                await asyncio.sleep(0.8)
                read = await client.get("/api/analytics/events?gameId=g")
                started = await client.post("/api/sessions/start", json={"gameId": "g", "userId": "u"})
                said = (await started.json())["error"]
                assert (read.status, started.status) == (200, 503) and "No space left on device" in said
            writers = service.ingestion.writers
            found = {f"{name} {what}": getattr(writers[name], what) for name in STREAMS for what in WHAT}
            assert service.ingestion.offer("events", _row("events", 10**6)) == "stored"
            await asyncio.sleep(0.8)
            assert writers["events"].flushed == 1  # there is room again
            await service.shutdown(1.0)
        return found

    return asyncio.run(story())


WHAT = ("flushed", "dropped_failed", "dropped_cap", "count")


def _row(stream: str, i: int) -> Any:
    from capsim.validation.reference.rows import Event, Heartbeat, Revenue

    if stream == "events":
        return Event(f"full-{i}", "game", "u", None, "n", "{}", i)
    return Heartbeat(f"s{i}", i) if stream == "heartbeats" else Revenue(f"full-{i}", "game", "u", None, 1, "USD", i)


def on_the_full_model(semantics: str) -> dict[str, int]:
    """The same by the model's fault `full`."""
    end_us = round((END_S + 0.8) * 1e6)
    quick = {"call_ms": 2, "distribution": "constant"}
    scenario = Scenario.model_validate(
        {
            "name": "full",
            "workload": {"runs": [{"stream": "events", "at_ms": 0, "count": 1}]},
            "server": server_of(semantics).model_dump(),
            "database": {"insert": quick, "update": quick, "faults": [{"kind": "full", "from_s": 0, "to_s": 60}]},
            "billing": {"from": "2026-02-03"},
        }
    )
    spec = scenario.server
    writers = {stream: getattr(spec.writers, stream) for stream in STREAMS}
    server = Server(writers, spec.pool, spec.pool_limit, LatencyDatabase(scenario.database, 0, 0))
    times = np.arange(0, round(END_S * 1e6), round(1e6 / HZ))
    sessions = np.arange(len(times))
    server.advance(
        SimpleNamespace(from_us=0, to_us=end_us, times=dict.fromkeys(STREAMS, times), heartbeat_sessions=sessions)
    )
    found = {}
    for name, writer in server.writers.items():
        values = (writer.flushed, writer.dropped_failed, writer.dropped_cap, writer.count)
        found |= {f"{name} {what}": value for what, value in zip(WHAT, values, strict=True)}
    return found


@pytest.mark.parametrize("semantics", ["seed", "fixed"])
def test_a_full_postgres_loses_what_the_models_full_volume_loses(postgres: Postgres, semantics: str) -> None:
    """Nothing is written, all is lost by the writers' rules; the earlier heartbeat writer does not even count it."""
    seen, model = on_a_full_postgres(postgres.url, semantics), on_the_full_model(semantics)

    for name in model:
        assert abs(seen[name] - model[name]) <= 10, (seen, model)  # a batch, whose second try may be under way
    assert seen["events flushed"] == seen["revenue flushed"] == seen["heartbeats flushed"] == 0
    assert seen["events dropped_failed"] > 0
    assert (seen["heartbeats dropped_failed"] > 0) == (semantics == "fixed")


# --- the log files ------------------------------------------------------------------------------------------------


def test_log_files_rotate_at_their_size_and_keep_their_number(tmp_path: Path) -> None:
    files = LogFiles(LoggerSpec(files=3, file_mib=0.01), tmp_path)
    log = Log("info", files)
    for number in range(600):
        log.info(f"line {number}")
    log.error("the only one")
    files.close()

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["combined.log", "combined.log.1", "combined.log.2", "error.log"]
    assert all(path.stat().st_size <= 0.01 * 2**20 for path in tmp_path.iterdir())
    assert (tmp_path / "error.log").read_text().count("\n") == 1


def test_one_log_file_begins_anew_when_it_is_full(tmp_path: Path) -> None:
    files = LogFiles(LoggerSpec(files=1, file_mib=0.01), tmp_path)
    for number in range(600):
        files("info", f"line {number}")
    files.close()

    (path,) = tmp_path.iterdir()
    assert path.stat().st_size <= 0.01 * 2**20 and "line 599" in path.read_text()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    """/dev/full answers every write with ENOSPC."""
    for name in ("combined.log", "error.log"):
        (tmp_path / name).symlink_to("/dev/full")
    code = (
        "from pathlib import Path; from capsim.scenario.parts import LoggerSpec; "
        "from capsim.validation.reference.log import Log\n"
        "from capsim.validation.reference.logfiles import LogFiles\n"
        f"log = Log('info', LogFiles(LoggerSpec(files=2), Path({str(tmp_path)!r})))\n"
        "log.error('lost'); log.info('lost too'); print(log.lines['error'])\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert (ended.stdout, ended.stderr) == ("1\n", "")

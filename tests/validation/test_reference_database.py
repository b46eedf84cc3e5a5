"""The reference's databases: real rows, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import re
import uuid
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from capsim.base.errors import CapsimError
from capsim.base.units import LONGEST_S
from capsim.scenario.parts import CleanupSpec
from capsim.scenario.server import PoolSpec
from capsim.validation.reference.cleanup import Cleanup
from capsim.validation.reference.clock import RealClock
from capsim.validation.reference.database import Answer, Database, Part, Statement
from capsim.validation.reference.log import Log
from capsim.validation.reference.observer import Watch
from capsim.validation.reference.pool import Pool
from capsim.validation.reference.postgres import PostgresDatabase
from capsim.validation.reference.process import family, sample
from capsim.validation.reference.rows import Event, Heartbeat, Revenue, Session
from capsim.validation.reference.sqlite import SqliteDatabase
from capsim.validation.reference.url import read_database_url
from reference_services import DATABASE_URL, postgres_url

Story = Callable[[Callable[..., Coroutine[Any, Any, Answer]], Pool], Coroutine[Any, Any, None]]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres_url() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Story], None]:
    """Runs a story on a pool of three connections."""
    make: Callable[[], Database] = lambda: SqliteDatabase(tmp_path / "rows.sqlite")  # noqa: E731
    if request.param == "postgres":
        url = request.getfixturevalue("server")
        make = lambda: PostgresDatabase(url)  # noqa: E731

    async def with_pool(story: Story) -> None:
        pool = Pool(RealClock(), make(), 3, 5_000_000, 5_000_000)

        async def run(operation: Any, *values: Any, part: Part = "queries") -> Answer:
            return await pool.call(Statement(operation, part, values))

        try:
            await story(run, pool)
        finally:
            await pool.close()

    return lambda story: asyncio.run(with_pool(story))


def event(game: str, number: int = 0, **changed: Any) -> Event:
    fields = {"user_id": "u", "session_id": None, "name": "start", "properties": "{}", "at_ms": number}
    return Event(id=f"{game}-{number}", game_id=game, **(fields | changed))


def test_a_batch_is_written_and_its_duplicates_are_skipped(play) -> None:
    async def story(run, pool) -> None:
        game = uuid.uuid4().hex
        first = await run("insert_events", *(event(game, i) for i in range(100)))
        again = await run("insert_events", *(event(game, i) for i in range(50, 120)))
        kept = await run("analytics", game, None, 0)

        assert (first.changed, again.changed, len(kept.rows)) == (100, 20, 120)

    play(story)


def test_revenue_is_kept_to_the_millionth(play) -> None:
    async def story(run, pool) -> None:
        record = Revenue(uuid.uuid4().hex, "g", "u", None, 990_001, "USD", 1)

        assert (await run("insert_revenue", record)).changed == 1
        assert (await run("insert_revenue", record)).changed == 0

    play(story)


def test_a_heartbeat_finds_its_session_or_says_that_there_is_none(play) -> None:
    async def story(run, pool) -> None:
        known, unknown = uuid.uuid4().hex, uuid.uuid4().hex
        await run("start_session", Session(known, "g", "u", 5))

        assert (await run("touch_session", Heartbeat(known, 9))).changed == 1
        assert (await run("touch_session", Heartbeat(unknown, 9))).changed == 0
        assert (await run("touch_sessions", Heartbeat(known, 10), Heartbeat(unknown, 10))).changed == 1

    play(story)


def cleanup(pool: Pool, most: Any, now_ms: int, *, one_statement: bool = False) -> Cleanup:
    spec = CleanupSpec(limit_rows=most, one_statement=one_statement)
    return Cleanup(spec, RealClock(), pool, Log(), Watch(), lambda: now_ms)


@pytest.mark.parametrize("one_statement", [False, True])
def test_cleanup_closes_silent_sessions_oldest_first_and_no_more_than_it_may(play, one_statement: bool) -> None:
    async def story(run, pool) -> None:
        await cleanup(pool, "none", 10**15).clean()  # what other tests left open
        now_ms, prefix = 2_000_000, uuid.uuid4().hex
        for age_s in (500, 400, 300, 200, 179):
            await run("start_session", Session(f"{prefix}-{age_s}", "g", "u", now_ms - age_s * 1_000))

        closed = [await cleanup(pool, 3, now_ms, one_statement=one_statement).clean() for _ in range(3)]
        left = await run("stale_sessions", 10**14, None)

        assert closed == [3, 1, 0]
        assert [row["id"] for row in left.rows] == [f"{prefix}-179"]
        await run("end_session", Heartbeat(f"{prefix}-179", now_ms))

    play(story)


@pytest.mark.parametrize("text", ["'; DROP TABLE events; --", "%s", "$1", "?1", "\\", '"', "🎮 é", "NULL", "a\nb"])
def test_what_looks_like_sql_is_stored_as_text(play, text: str) -> None:
    async def story(run, pool) -> None:
        game = f"{uuid.uuid4().hex}{text}"
        await run("insert_events", event(game, 1, user_id=text, session_id=text, name=text, properties=text))
        (row,) = (await run("analytics", game, 10, 0)).rows

        assert {row[key] for key in ("user_id", "session_id", "name", "properties")} == {text}

    play(story)


def test_pages_follow_each_other_from_the_latest_event_on(play) -> None:
    async def story(run, pool) -> None:
        game = uuid.uuid4().hex
        await run("insert_events", *(event(game, i) for i in range(10)))
        pages = [await run("analytics", game, 4, skip) for skip in (0, 4, 8)]

        assert [[row["at_ms"] for row in page.rows] for page in pages] == [[9, 8, 7, 6], [5, 4, 3, 2], [1, 0]]

    play(story)


def test_connections_are_opened_as_they_are_needed_and_kept(play) -> None:
    async def story(run, pool) -> None:
        await run("analytics", "g", 1, 0)
        assert pool.open == 1
        await asyncio.gather(*(run("analytics", "g", 1, 0) for _ in range(10)))
        assert 1 < pool.open <= 3 and pool.held == 0

    play(story)


@pytest.mark.skipif(DATABASE_URL in os.environ, reason="the database given by URL may be on another machine")
def test_the_processes_of_a_database_on_this_machine_can_be_sampled(server: str) -> None:
    async def story() -> int | None:
        link = await PostgresDatabase(server).connect()
        pid = link.server_pid
        await link.close()
        return pid

    pid = asyncio.run(story())

    assert pid is not None
    row = sample("database", family(pid), 0.0)
    assert row["processes"] > 3 and row["rss_mib"] > row["uss_mib"] > 1


def test_the_seeds_url_sets_the_pool_and_the_rest_is_for_libpq() -> None:
    url = "postgresql://user:pass@host:5432/db?connection_limit=10&pool_timeout=0&connect_timeout=7&schema=public"
    found = read_database_url(url, PoolSpec())

    assert found.conninfo == "postgresql://user:pass@host:5432/db"
    assert found.pool == PoolSpec(limit=10, pool_timeout_s=LONGEST_S, connect_timeout_s=7)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mysql://user:hunter2@host/db", "begins with 'mysql'"),
        ("", "begins with 'no scheme'"),
        ("postgresql://user:hunter2@host:port/db", "its port no number"),
        ("postgresql://user:hun/ter2@host:5432/db", "percent-encoded"),
        ("postgresql://user:hunter2@[::1]x/db", "unexpected character"),
        ("postgresql://user:hun%zzter2@host/db", "percent-encoded"),
        ("postgresql://user:hunter2@host/db?connection_limit=0", "connection_limit is '0'"),
        ("postgresql://user:hunter2@host/db?pool_timeout=-1", "pool_timeout is '-1'"),
        ("postgresql://user:hunter2@host/db?colour=blue", "colour"),
    ],
)
def test_a_url_that_cannot_be_is_refused_in_one_line_without_its_password(url: str, problem: str) -> None:
    with pytest.raises(CapsimError, match=problem) as refused:
        read_database_url(url, PoolSpec())

    assert "\n" not in str(refused.value) and not re.search("hun|ter2", str(refused.value))

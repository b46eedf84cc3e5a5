"""The plan's failures on the running reference: over HTTP, with a real PostgreSQL that stalls, dies and comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import psycopg
import pytest
from aiohttp.test_utils import TestClient, TestServer

from capsim.engine.database import LatencyDatabase
from capsim.engine.model import Server
from capsim.scenario.scenario import Scenario
from capsim.scenario.server import ServerSpec
from capsim.scenario.workload import STREAMS
from capsim.validation import oracle_model, oracle_reference
from capsim.validation.oracle import Case
from capsim.validation.reference.http import application
from capsim.validation.reference.load import drive
from capsim.validation.reference.log import Log
from capsim.validation.reference.postgres import PostgresDatabase
from capsim.validation.reference.service import Service
from reference_services import Postgres, postgres_of_our_own
from test_reference_http import post, served

RATE_HZ = 100
STALL_S = (0.6, 1.6)
END_S = 2.4
# The production constants, ten times smaller: a stall of 0.3 s during which 30 items arrive wedges the earlier writer.
SMALL = {"batch_rows": 10, "delay_ms": 500, "buffer_cap_rows": 30}


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with postgres_of_our_own() as server:
        yield server


def spec_of(semantics: str) -> ServerSpec:
    return ServerSpec.model_validate({"writers": {s: {**SMALL, "semantics": semantics} for s in STREAMS}})


async def locked(url: str, from_s: float, to_s: float, table: str = "events") -> None:
    """Hold the table against every writer, as a migration or a forgotten transaction does."""
    await asyncio.sleep(from_s)
    async with await psycopg.AsyncConnection.connect(url) as other:
        await other.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        await asyncio.sleep(to_s - from_s)
        await other.rollback()


def stalled_run(url: str, semantics: str) -> dict[str, object]:
    """The server under an even load, its database stalled for a second; how it stands afterwards."""

    async def story() -> dict[str, object]:
        service = Service(spec_of(semantics), PostgresDatabase(url), Log())
        writer = service.ingestion.writers["events"]
        async with TestClient(TestServer(application(service))) as client:
            await client.get("/api/analytics/events?gameId=g")  # makes the tables
            times = {"events": range(0, round(END_S * 1e6), round(1e6 / RATE_HZ))}
            driven, _ = await asyncio.gather(
                drive(str(client.make_url("")), times),  # type: ignore[arg-type]
                locked(url, *STALL_S),
            )
            await asyncio.sleep(1.0)
            stands = {
                "stuck": writer.stuck,
                "buffered": writer.count,
                "refused": writer.dropped_cap,
                "answers": dict(driven.statuses),
                "lives": (await client.get("/health")).status,
            }
            await service.shutdown(1.0)
        return stands

    return asyncio.run(story())


def predicted(semantics: str) -> dict[str, object]:
    """The same by the model."""
    fault = {"kind": "stall", "from_s": STALL_S[0], "to_s": STALL_S[1]}
    scenario = Scenario.model_validate(
        {
            "name": "stall",
            "workload": {"runs": [{"stream": "events", "at_ms": 0, "count": 1}]},
            "server": spec_of(semantics).model_dump(),
            "database": {"insert": {"call_ms": 2, "distribution": "constant"}, "faults": [fault]},
            "billing": {"from": "2026-02-03"},
        }
    )
    spec = scenario.server
    writers = {stream: getattr(spec.writers, stream) for stream in STREAMS}
    server = Server(writers, spec.pool, spec.pool_limit, LatencyDatabase(scenario.database, 0, 0))
    none = np.empty(0, np.int64)
    times = {"events": np.arange(0, round(END_S * 1e6), round(1e6 / RATE_HZ)), "revenue": none, "heartbeats": none}
    end_us = round((END_S + 1) * 1e6)
    server.advance(SimpleNamespace(from_us=0, to_us=end_us, times=times, heartbeat_sessions=none))
    writer = server.writers["events"]
    stuck = writer.stuck_at(end_us - 1) is not None
    return {"stuck": stuck, "buffered": writer.count, "refused": writer.dropped_cap}


def test_a_stalled_database_wedges_the_earlier_writer_for_good_as_the_model_says(postgres: Postgres) -> None:
    seen, model = stalled_run(postgres.url, "seed"), predicted("seed")

    assert (seen["stuck"], seen["buffered"], seen["lives"]) == (True, 30, 200)
    assert (model["stuck"], model["buffered"]) == (True, 30)
    assert abs(int(seen["refused"]) - int(model["refused"])) <= 0.1 * RATE_HZ * END_S  # type: ignore[call-overload]
    assert seen["answers"] == {202: RATE_HZ * END_S - int(seen["refused"]), 503: seen["refused"]}  # type: ignore[call-overload]


def test_the_later_writer_drops_in_the_stall_and_recovers_as_the_model_says(postgres: Postgres) -> None:
    seen, model = stalled_run(postgres.url, "fixed"), predicted("fixed")

    assert (seen["stuck"], seen["buffered"]) == (model["stuck"], model["buffered"]) == (False, 0)
    assert 0 < int(seen["refused"]) < RATE_HZ * (STALL_S[1] - STALL_S[0])  # type: ignore[call-overload]
    assert abs(int(seen["refused"]) - int(model["refused"])) <= 0.1 * RATE_HZ * END_S  # type: ignore[call-overload]


def left_by_both_witnesses(**case: Any) -> tuple[int, int]:
    """What is buffered and in flight after a shutdown of the earlier writer: model and reference say the same."""
    config = {"batch_size": 100, "batch_delay_ms": 5_000, "buffer_cap": 1_000}
    given = {"id": "sigterm", "writer": "event", "semantics": "seed", "config": config, **case}
    played = Case.model_validate({**given, "sample_step_ms": 1_000, "expected": {}})
    left = [witness.play(played)["shutdown"] for witness in (oracle_model, oracle_reference)]
    assert left[0] == left[1]
    return left[0]["buffer_at_resolve"], left[0]["inflight_at_resolve"]


def test_sigterm_while_the_database_stalls_loses_what_the_model_says(postgres: Postgres) -> None:
    """100 items out in a flush and 50 in the buffer when the signal comes: neither is written."""
    left = left_by_both_witnesses(
        runs=[{"at_ms": 0, "count": 150, "rate_per_s": 1_000}],
        shutdown_at_ms=1_000,
        db={"durations_ms": [60_000], "outcomes": ["ok"], "repeat": "last"},
    )
    assert left == (50, 100)

    with served("after", "--grace", "8", DATABASE_URL=postgres.url) as server:
        assert post(server.url, "heartbeats", 1) == [202]
        with psycopg.connect(postgres.url) as other:
            other.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
            assert set(post(server.url, "events", 150)) == {202}
            began_s = time.monotonic()
            code, told = server.end(), server.told()
            ended_s = time.monotonic() - began_s
            other.rollback()

    assert code == 0 and 3.0 <= ended_s < 8
    assert "events: 0 written, 0 dropped, 50 buffered and 100 in flight at the end" in told
    assert "heartbeats: 1 written, 0 dropped, 0 buffered and 0 in flight at the end" in told


def test_kill_9_of_the_database_and_its_return(postgres: Postgres) -> None:
    """The server lives, writes again, and every item is in the database or counted as dropped."""

    async def story(server: Postgres) -> None:
        service = Service(spec_of("fixed"), PostgresDatabase(server.url), Log())
        writer = service.ingestion.writers["events"]
        async with TestClient(TestServer(application(service))) as client:
            loop = asyncio.get_running_loop()
            url = str(client.make_url(""))
            await drive(url, {"events": range(0, 500_000, 10_000)})
            await loop.run_in_executor(None, server.kill)
            during = await drive(url, {"events": range(0, 500_000, 10_000)})
            await asyncio.sleep(0.2)
            lost, written = writer.dropped_failed, writer.flushed
            await loop.run_in_executor(None, server.restart)
            after = await drive(url, {"events": range(0, 500_000, 10_000)})
            await asyncio.sleep(1.0)

            assert after.statuses == {202: 50} and sum(during.statuses.values()) == 50
            assert lost > 0 and writer.flushed > written
            assert writer.offered == writer.flushed + writer.dropped
            kept = (await (await client.get("/api/analytics/events?gameId=game&take=1")).json())["events"]
            assert len(kept) == 1
            await service.shutdown(1.0)
        with psycopg.connect(server.url) as other:
            (rows,) = other.execute("SELECT count(*) FROM events").fetchone()
        # A batch that was out when the database died may have been committed before it could say so.
        assert writer.flushed <= rows <= writer.flushed + writer.dropped_failed

    with psycopg.connect(postgres.url) as other:
        other.execute("TRUNCATE events")
    asyncio.run(story(postgres))

"""The running reference at its hardest: its PostgreSQL killed under 1,000/s, SIGTERM under load, a pool too small.

In real time, `make test-slow`; what was seen is in docs/reference.md.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psycopg
import pytest

from capsim.engine.database import LatencyDatabase
from capsim.engine.flusher import Standing
from capsim.engine.model import Server
from capsim.scenario.file import load
from capsim.scenario.workload import STREAMS
from capsim.validation.matrix_cells import real_cell
from capsim.validation.matrix_screen import line
from capsim.validation.matrix_sides import ArrivalTimes, SideLog
from capsim.validation.model_side import run_model
from capsim.validation.reference.database import Answer, Connection, Database, Statement
from capsim.validation.reference.load import drive
from capsim.validation.reference.postgres import PostgresDatabase
from capsim.validation.reference.rows import Event
from capsim.validation.reference.sqlite import SqliteDatabase
from capsim.workload import load_of
from reference_services import Postgres, postgres_of_our_own, postgres_url
from test_reference_failures import left_by_both_witnesses
from test_reference_http import Served, post, served
from twin_random import to_toml

pytestmark = pytest.mark.slow

HZ, SPAN_S = 1_000, 60
# Away for some 12 s with its start: not near a try of the repaired writer, 0.1, 0.3, 0.7, 1.5, 3.1, 6.3 and 11.3 s on.
KILLED_S, AWAY_S = 25.0, 7.5
TOTALS = re.compile(r"events: (\d+) written, (\d+) dropped, (\d+) buffered and (\d+) in flight")


def evenly(hz: int, seconds: float) -> dict[Any, range]:
    return {"events": range(0, round(seconds * 1e6), 1_000_000 // hz)}


def totals(told: str) -> dict[str, int]:
    """The last lines of the process about its events."""
    found = TOTALS.search(told)
    assert found, told
    return dict(zip(("written", "dropped", "buffered", "in_flight"), map(int, found.groups()), strict=True))


SMALL_ROWS, LARGE_ROWS, PROBES = 100, 500, 20  # a full batch, and the largest statement of the repaired writer


def insert_ms(url: str) -> dict[int, float]:
    """Median time of inserts of two sizes, on a connection of our own beside whatever else goes on."""

    async def story() -> dict[int, float]:
        link = await PostgresDatabase(url).connect()
        took_s: dict[int, list[float]] = {SMALL_ROWS: [], LARGE_ROWS: []}
        for _ in range(PROBES):
            for rows, times_s in took_s.items():
                values = [
                    Event(uuid.uuid4().hex, "probe", "user", None, "level", '{"score":1}', i) for i in range(rows)
                ]
                begin_s = time.perf_counter()
                await link.run(Statement("insert_events", "events", values))
                times_s.append(time.perf_counter() - begin_s)
        await link.close()
        return {rows: 1e3 * statistics.median(times_s) for rows, times_s in took_s.items()}

    return asyncio.run(story())


def away(postgres: Postgres, began_s: float, outage: dict[str, float], database: dict[str, Any]) -> None:
    """kill -9 the database and start it again.

    Finds out from when to when it was away [s], and all that the model has to know of it: how long inserts take
    before and after that, and how long it takes to be refused.
    """
    time.sleep(max(0.0, began_s + KILLED_S - 5 - time.monotonic()))
    before = insert_ms(postgres.url)
    row_ms = max(0.0, (before[LARGE_ROWS] - before[SMALL_ROWS]) / (LARGE_ROWS - SMALL_ROWS))
    time.sleep(max(0.0, began_s + KILLED_S - time.monotonic()))
    outage["from_s"] = time.monotonic() - began_s
    postgres.kill()
    time.sleep(AWAY_S)
    refused_s = []
    restarting = threading.Thread(target=postgres.restart)
    restarting.start()
    while True:
        try_s = time.monotonic()
        try:
            psycopg.connect(postgres.url, connect_timeout=1).close()
            break
        except psycopg.OperationalError:
            refused_s.append(time.monotonic() - try_s)
            time.sleep(0.01)
    outage["to_s"] = try_s - began_s
    restarting.join()
    after = insert_ms(postgres.url)
    database |= {
        "insert": {
            "call_ms": max(0.01, before[SMALL_ROWS] - SMALL_ROWS * row_ms),
            "row_ms": row_ms,
            "distribution": "constant",
        },
        "unused_indexes": 0,
        "cold_factor": max(1.0, after[SMALL_ROWS] / before[SMALL_ROWS]),
        "refused_ms": 1e3 * statistics.median(refused_s),
    }


def played_with_a_kill(
    scenario: str, postgres: Postgres
) -> tuple[Any, dict[str, int], int, dict[str, float], dict[str, Any]]:
    """Answers, the server's totals, rows in the database, when that was away, and how long its calls took."""
    outage: dict[str, float] = {}
    database: dict[str, Any] = {}
    with served(scenario, "--grace", "8", DATABASE_URL=postgres.url) as server:
        assert post(server.url, "revenue", 1) == [202]  # makes the tables, when it is written
        time.sleep(5.5)
        with psycopg.connect(postgres.url) as other:
            other.execute("TRUNCATE events")
        killer = threading.Thread(target=away, args=(postgres, time.monotonic(), outage, database))
        killer.start()
        driven = asyncio.run(drive(server.url, evenly(HZ, SPAN_S), connections=100))
        killer.join()
        assert server.end() == 0
        told = totals(server.told())
    with psycopg.connect(postgres.url) as other:
        (rows,) = other.execute("SELECT count(*) FROM events WHERE game_id = 'game'").fetchone()  # type: ignore[misc]
    return driven, told, rows, outage, database


def predicted(
    scenario: str, hz: int, span_s: float, after_s: float, database: dict[str, Any], **fault: Any
) -> dict[str, int]:
    """What the model says of the same load, the same fault and such a database, so long after the load."""
    spec = load(scenario).replace("database", {**database, "faults": [fault]})
    runs = [{"stream": "events", "at_ms": 0, "count": round(hz * span_s), "rate_hz": hz}]
    spec = spec.replace("workload", {"runs": runs, "duration_s": span_s + after_s})
    seen: SideLog = run_model(spec, ArrivalTimes(load_of(spec).blocks()), LatencyDatabase(spec.database, 0, 0))
    return seen.counts["events"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("scenario", ["after", "fixed", "recommended"])
def test_kill_9_of_postgres_under_a_thousand_a_second_loses_what_the_model_says(scenario: str) -> None:
    with postgres_of_our_own() as postgres:
        driven, told, rows, outage, database = played_with_a_kill(scenario, postgres)
    model = predicted(scenario, HZ, SPAN_S, 10, database, kind="down", **outage)
    print(f"\n{scenario}: away {outage}, {database}, late p99 {sorted(driven.late_us)[-600] / 1e3:.0f} ms")
    print(f"  seen {dict(driven.statuses)} {told} rows {rows}\n  model {model}")

    # Every request has an answer, and every item that was accepted is written or named.
    assert driven.statuses[202] + driven.statuses[503] == HZ * SPAN_S
    accepted = told["written"] + told["dropped"] - driven.statuses[503] + told["buffered"] + told["in_flight"]
    assert accepted == driven.statuses[202]
    # A batch that was out when the database died may have been committed before it could say so.
    assert told["written"] <= rows <= told["written"] + 100
    share = 0.01 * HZ * SPAN_S  # of the arrivals, as for every other drop
    assert abs(model["dropped_cap"] - driven.statuses[503]) <= share
    assert abs(model["dropped_cap"] + model["dropped_failed"] - told["dropped"]) <= share
    assert abs(model["written"] - told["written"]) <= share


def signalled(server: Served, hz: int, span_s: float, at_s: float) -> tuple[Any, int]:
    """A load of which the server is told in the middle to end: answers, and its exit code."""
    code: list[int] = []

    def end() -> None:
        time.sleep(at_s)
        code.append(server.end())

    signalling = threading.Thread(target=end)
    signalling.start()
    driven = asyncio.run(drive(server.url, evenly(hz, span_s), connections=100, timeout_s=20))
    signalling.join()
    return driven, code[0]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("scenario", ["after", "fixed", "recommended"])
def test_sigterm_under_load_loses_nothing_that_was_accepted(scenario: str) -> None:
    """500/s, a signal after 4 s, a database that answers: what got a 202 is written, the rest found no server."""
    with postgres_of_our_own() as postgres, served(scenario, "--grace", "8", DATABASE_URL=postgres.url) as server:
        driven, code = signalled(server, 500, 8, 4.0)
        told = totals(server.told())
        with psycopg.connect(postgres.url) as other:
            (rows,) = other.execute("SELECT count(*) FROM events").fetchone()  # type: ignore[misc]
    print(f"\n{scenario}: {dict(driven.statuses)}, {told}, rows {rows}")

    assert code == 0 and told["buffered"] == told["in_flight"] == told["dropped"] == 0
    assert driven.statuses[202] == told["written"] == rows
    assert 0.4 * 4_000 < rows < 0.6 * 4_000


def ended_by_model(scenario: str, hz: int, at_s: float, **fault: Any) -> Standing:
    """How the model says that the events' writer stands when `shutdown()`, called at an instant, has resolved."""
    spec = load(scenario).replace("database", {"faults": [fault]})
    writers = {stream: getattr(spec.server.writers, stream) for stream in STREAMS}
    server = Server(writers, spec.server.pool, spec.server.pool_limit, LatencyDatabase(spec.database, 0, 0))
    closing = server.shut_down(round(at_s * 1e6))["events"]
    none = np.empty(0, np.int64)
    times = {"events": np.array(evenly(hz, at_s)["events"]), "revenue": none, "heartbeats": none}
    server.advance(SimpleNamespace(from_us=0, to_us=round((at_s + 5) * 1e6), times=times, heartbeat_sessions=none))  # type: ignore[arg-type]
    _, resolved, _ = closing.value
    return resolved


@pytest.mark.timeout(120)
@pytest.mark.parametrize("scenario", ["after", "fixed", "recommended"])
def test_sigterm_under_load_and_a_stall_loses_what_the_model_says(scenario: str) -> None:
    """500/s, the table locked between two batches, a signal 3 s later: the buffer and a batch are lost, no more."""
    model = ended_by_model(scenario, 500, 5.0, kind="stall", from_s=1.9, to_s=60.0)
    if scenario == "after":
        stalled = [{"from_ms": 1_900, "to_ms": 60_000, "duration_ms": 60_000}]
        assert (model.buffer, model.in_flight) == left_by_both_witnesses(
            runs=[{"at_ms": 0, "count": 2_500, "rate_per_s": 500}],
            shutdown_at_ms=5_000,
            db={"durations_ms": [5], "outcomes": ["ok"], "repeat": "last", "windows": stalled},
        )

    async def story(url: str, database_url: str, server: Served) -> tuple[Any, int]:
        async with await psycopg.AsyncConnection.connect(database_url) as other:

            async def lock() -> None:
                await asyncio.sleep(1.9)
                await other.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")

            async def end() -> int:
                await asyncio.sleep(5.0)
                return await asyncio.to_thread(server.end)

            driven, _, code = await asyncio.gather(drive(url, evenly(500, 8), connections=100), lock(), end())
            await other.rollback()
        return driven, code

    with postgres_url() as database_url, served(scenario, "--grace", "8", DATABASE_URL=database_url) as server:
        assert post(server.url, "events", 100) == [202] * 100  # makes the tables
        time.sleep(1.0)
        driven, code = asyncio.run(story(server.url, database_url, server))
        told = totals(server.told())
    print(f"\n{scenario}: seen {told} {dict(driven.statuses)}, model {model}")

    assert code == 0
    assert model.in_flight == 100
    assert abs(told["in_flight"] - 100) <= 5  # a request that came in the same turn of the loop goes with the batch
    # What was refused or is left, together: the signal comes a little early or late.
    assert abs(told["buffered"] - model.buffer) <= 0.02 * 2_500
    assert abs(told["dropped"] - model.dropped) <= 0.02 * 2_500
    # All that got a 202, the hundred before the load too, is written or named in the last lines.
    assert driven.statuses[202] + 100 == told["written"] + told["buffered"] + told["in_flight"]


# Many calls, so that one connection is busy for a good part of the time. Not smaller: what comes in the same turn of
# the event loop goes with the batch: 3.7 % fewer flushes of batches of 4 (measured), and the model has no turns.
QUICK = {"batch_rows": 12, "delay_ms": 200}
CROWDED_S = 300


def shown(cell: Any) -> None:
    """Every figure of a run, for whoever wants to write them down."""
    print(f"\n{line(cell)}")
    for check in cell.checks:
        print(f"  {check.quantity}: {check.model:.4g} / {check.reference:.4g} {check.unit}, seen {check.lower:.4g} to "
              f"{check.upper:.4g}{'' if check.passed else ' FAILED'}")  # fmt: skip


def with_small_batches(limit: int, path: Path) -> str:
    """`after` in small batches on a small pool; the file that it is written to."""
    scenario = load("after").replace("server.pool", {"limit": limit})
    for stream in STREAMS:
        scenario = scenario.replace(f"server.writers.{stream}", QUICK)
    path.write_text(to_toml(scenario))
    return str(path)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize("where", ["SQLite", "PostgreSQL"])
def test_a_pool_that_is_too_small_makes_them_wait_as_predicted(where: str, limit: int, tmp_path: Path) -> None:
    """Three minutes at 200/s in small batches: inserts, single updates and reads share one or two connections."""
    scenario = with_small_batches(limit, tmp_path / "small-pool.toml")
    with postgres_url() as url:
        database: Callable[[Path], Database] = lambda folder: SqliteDatabase(folder / "x.sqlite")  # noqa: E731
        if where == "PostgreSQL":
            database = lambda folder: PostgresDatabase(url)  # noqa: E731
        cell = real_cell(scenario, where, database, 200, 180)
    shown(cell)

    assert not cell.failed, line(cell)
    assert (cell.reference.waits_us > 0).sum() > (200 if limit == 1 else 5)  # it is about waits


class Distant:
    """A database in another place: the way there and back takes a while, and nobody's CPU."""

    def __init__(self, database: Database) -> None:
        self._database, self._chance = database, np.random.default_rng(0)

    async def connect(self) -> Connection:
        await self.travel()
        return DistantConnection(self, await self._database.connect())

    async def travel(self) -> None:
        """Median 8 ms, one way in twenty above 18 ms."""
        await asyncio.sleep(0.008 * float(np.exp(0.5 * self._chance.standard_normal())))


class DistantConnection:
    """A connection to it."""

    def __init__(self, database: Distant, link: Connection) -> None:
        self._database, self._link = database, link

    @property
    def is_open(self) -> bool:
        return self._link.is_open

    @property
    def server_pid(self) -> int | None:
        return self._link.server_pid

    async def run(self, statement: Statement) -> Answer:
        await self._database.travel()
        return await self._link.run(statement)

    async def close(self) -> None:
        await self._link.close()


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("where", "limit"), [("SQLite", 2), ("PostgreSQL", 2), ("PostgreSQL", 3)])
def test_writers_and_reads_that_crowd_a_pool_wait_as_predicted(where: str, limit: int, tmp_path: Path) -> None:
    """Five minutes at 200/s with 40 reads a second, of a distant database: every other call waits."""
    scenario = with_small_batches(limit, tmp_path / "crowded.toml")
    with postgres_url() as url:
        database: Callable[[Path], Database] = lambda folder: Distant(SqliteDatabase(folder / "x.sqlite"))  # noqa: E731
        if where == "PostgreSQL":
            database = lambda folder: Distant(PostgresDatabase(url))  # noqa: E731
        cell = real_cell(scenario, f"{where}, pool of {limit}", database, 200, CROWDED_S, reads_hz=40)
    shown(cell)

    # SQLite lives in this process, and what it takes is no memory of the server: 50 MiB for 14 (PostgreSQL: 12 for 14).
    failed = [check for check in cell.failed if check.unit != "MiB"]
    assert not failed, line(cell)
    assert (cell.reference.waits_us > 0).mean() > (0.1 if limit == 2 else 0.01)  # it is about waits

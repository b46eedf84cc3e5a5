"""The reference over HTTP: what it takes, what it refuses, and that it lives."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from capsim.scenario.server import ServerSpec
from capsim.scenario.workload import STREAMS
from capsim.validation.reference.database import Database
from capsim.validation.reference.http import application
from capsim.validation.reference.load import PATHS, body_of, drive
from capsim.validation.reference.log import Log
from capsim.validation.reference.rows import EventIn
from capsim.validation.reference.service import Service
from capsim.validation.reference.settings import Settings
from capsim.validation.reference.sqlite import SqliteDatabase
from reference_services import free_port

EVENT = {"gameId": "g", "userId": "u", "eventName": "start"}
QUICK = {"batch_rows": 10, "delay_ms": 50, "buffer_cap_rows": 20}

Story = Callable[[TestClient, Service], Coroutine[Any, Any, None]]


def spec_of(**writer: Any) -> ServerSpec:
    """The parts that the seed has after its changes, with quick writers."""
    parts: dict[str, Any] = {"cleanup": {}, "metrics": {}, "cache": {}, "queries": {"take_rows": 100}}
    return ServerSpec.model_validate({"writers": {stream: {**QUICK, **writer} for stream in STREAMS}, **parts})


def play(story: Story, database: Database, spec: ServerSpec | None = None, **settings: Any) -> None:
    """Runs a story against a server in this process."""

    async def with_server() -> None:
        service = Service(spec or spec_of(), database, Log())
        async with TestClient(TestServer(application(service, Settings(**settings)))) as client:
            await story(client, service)
            await service.shutdown(1.0)

    asyncio.run(with_server())


@pytest.fixture
def database(tmp_path: Path) -> SqliteDatabase:
    return SqliteDatabase(tmp_path / "http.sqlite")


def test_what_is_posted_is_written_and_can_be_read(database: SqliteDatabase) -> None:
    async def story(client: TestClient, service: Service) -> None:
        one = await client.post("/api/analytics/events", json=EVENT | {"properties": {"level": 3}, "timestamp": 5})
        batch = {"events": [EVENT | {"timestamp": i} for i in range(9)]}
        nine = await client.post("/api/analytics/events/batch", json=batch)
        session = await (await client.post("/api/sessions/start", json={"gameId": "g", "userId": "u"})).json()
        alive = await client.post("/api/sessions/heartbeat", json=session)
        paid = await client.post("/api/revenue", json={"gameId": "g", "userId": "u", "amount": 0.99})
        ended = await client.post("/api/sessions/end", json=session)
        await asyncio.sleep(0.2)
        read = await (await client.get("/api/analytics/events?gameId=g&take=100")).json()

        assert [one.status, nine.status, alive.status, paid.status, ended.status] == [202, 202, 202, 202, 200]
        assert await nine.json() == {"accepted": 9, "dropped": 0}
        assert sorted(row["at_ms"] for row in read["events"]) == [0, 1, 2, 3, 4, 5, 5, 6, 7, 8]
        assert '{"level":3}' in {row["properties"] for row in read["events"]}
        assert [w.flushed for w in service.ingestion.writers.values()] == [10, 1, 1]

    play(story, database)


def test_metrics_have_the_seeds_shape(database: SqliteDatabase) -> None:
    async def story(client: TestClient, service: Service) -> None:
        await client.post("/api/analytics/events", json=EVENT)
        got = await (await client.get("/api/metrics")).json()

        assert list(got) == [
            "timestamp", "memory", "uptime", "dbConnections", "batchWriters", "environment", "nodeVersion",
        ]  # fmt: skip
        assert list(got["memory"]) == ["rss", "heapTotal", "heapUsed", "external", "arrayBuffers"]
        assert all(re.fullmatch(r"\d+MB", size) for size in got["memory"].values())
        assert got["uptime"] == "0 minutes"
        assert got["batchWriters"]["events"] == {
            "bufferSize": 1, "totalFlushed": 0, "totalFailed": 0, "totalDropped": 0,
        }  # fmt: skip
        assert set(got["batchWriters"]) == set(STREAMS)
        assert list(got["dbConnections"][0]) == ["count"]

    play(story, database, spec_of(delay_ms=5_000))


BAD_BODIES = [
    (b'{"gameId":"g', 400, "not JSON"),
    (b"", 400, "not JSON"),
    (b"\xff\xfe", 400, "not JSON"),
    (b"[" * 100_000, 400, "not JSON"),
    (b'{"gameId":"g","userId":"u","eventName":"e","properties":{"x":NaN}}', 400, "NaN is no number"),
    (b'{"gameId":"g","userId":"u","eventName":"e","properties":{"x":' + b"9" * 5_000 + b"}}", 400, "not JSON"),
    (b"[]", 422, "the body"),
    (b"null", 422, "the body"),
    (b'{"gameId":"g","userId":"u"}', 422, "eventName: Field required"),
    (b'{"gameId":7,"userId":"u","eventName":"e"}', 422, "gameId: Input should be a valid string"),
    (b'{"gameId":"g","userId":"u","eventName":"e","colour":1}', 422, "colour: Extra inputs"),
    (b'{"gameId":"g","userId":"u","eventName":"a\\u0000b"}', 422, "eventName: .*NUL"),
    (b'{"gameId":"g","userId":"u","eventName":"\\ud800"}', 422, "eventName: "),
    (b'{"gameId":"g","userId":"u","eventName":"e","timestamp":-1}', 422, "timestamp: "),
    (b'{"gameId":"g","userId":"u","eventName":"e","timestamp":true}', 422, "timestamp: "),
    (b'{"gameId":"g","userId":"u","eventName":"e","timestamp":1e300}', 422, "timestamp: "),
    (json.dumps(EVENT | {"eventName": "x" * 201}).encode(), 422, "eventName: String should have at most 200"),
    (json.dumps(EVENT | {"properties": {"x": "y" * 20_000}}).encode(), 422, "properties take"),
    (json.dumps(EVENT | {"properties": {"x": "y" * 2_000_000}}).encode(), 413, "Too Large"),
]


@pytest.mark.parametrize(("body", "status", "why"), BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_a_bad_body_gets_one_line_and_takes_nothing_with_it(
    database: SqliteDatabase, body: bytes, status: int, why: str
) -> None:
    async def story(client: TestClient, service: Service) -> None:
        answer = await client.post("/api/analytics/events", data=body)
        error = (await answer.json())["error"]

        assert (answer.status, "\n" in error) == (status, False)
        assert re.search(why, error)
        assert service.ingestion.writers["events"].offered == 0
        assert (await client.post("/api/analytics/events", json=EVENT)).status == 202

    play(story, database)


def test_a_body_that_is_not_encoded_as_it_says_takes_nothing_with_it(database: SqliteDatabase) -> None:
    async def story(client: TestClient, service: Service) -> None:
        for encoding, status, why in (("gzip", 400, "is not encoded as"), ("zstd", 415, "'zstd' is not known")):
            headers = {"Content-Encoding": encoding}
            answer = await client.post("/api/analytics/events", data=b"abc", headers=headers)
            assert answer.status == status and why in (await answer.json())["error"]
            assert (await client.post("/api/analytics/events", json=EVENT)).status == 202

    play(story, database)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nope", 404),
        ("GET", "/api/analytics/events/../../../etc/passwd", 404),
        ("DELETE", "/health", 405),
        ("GET", "/api/analytics/events", 400),
        ("GET", "/api/analytics/events?gameId=g&take=-1", 400),
        ("GET", "/api/analytics/events?gameId=g&take=9999999999999999999", 400),
        ("GET", "/api/analytics/events?gameId=g&skip=1;DROP", 400),
        ("GET", "/api/analytics/events?gameId=a%00b", 400),
        ("GET", "/api/analytics/events?gameId=g&sort=x", 400),
        ("POST", "/api/sessions/end", 400),
    ],
)
def test_a_wrong_path_method_or_query_gets_one_line(
    database: SqliteDatabase, method: str, path: str, status: int
) -> None:
    async def story(client: TestClient, service: Service) -> None:
        answer = await client.request(method, path)

        assert answer.status == status
        assert list(await answer.json()) == ["error"]

    play(story, database)


SQL = ["'; DROP TABLE events; --", "1 OR 1=1", "%s", "$1", "?1", "\\", '"', "NULL", "a') ; DELETE FROM users; --"]


def test_sql_in_every_field_of_every_request_is_text(database: SqliteDatabase) -> None:
    """Of all that is posted, and of the query of a read."""

    async def story(client: TestClient, service: Service) -> None:
        for number, text in enumerate(SQL):
            person = {"gameId": text, "userId": text, "sessionId": f"{text}{number}"}
            bodies = {
                "/api/sessions/start": person,
                "/api/analytics/events": person | {"eventName": text, "properties": {text: text}},
                "/api/revenue": person | {"amount": 1, "currency": text},
                "/api/sessions/heartbeat": {"sessionId": person["sessionId"]},
            }
            statuses = [(await client.post(path, json=body)).status for path, body in bodies.items()]
            assert statuses == [201, 202, 422, 202]  # that is no currency
        await asyncio.sleep(0.3)
        for number, text in enumerate(SQL):
            read = await (await client.get("/api/analytics/events", params={"gameId": text})).json()
            assert [(row["user_id"], row["name"]) for row in read["events"]] == [(text, text)]
            ended = await client.post("/api/sessions/end", json={"sessionId": f"{text}{number}"})
            assert ended.status == 200
        assert (await client.get("/api/analytics/events", params={"gameId": "g", "skip": SQL[0]})).status == 400

    play(story, database, spec_of(buffer_cap_rows="none"))


WRONG_TYPES = [None, True, 7, 1.5, [], {}, ["x"], {"x": 1}]


@pytest.mark.parametrize(
    ("path", "good"),
    [
        ("/api/analytics/events", EVENT),
        ("/api/analytics/events/batch", {"events": [EVENT]}),
        ("/api/revenue", {"gameId": "g", "userId": "u", "amount": 1}),
        ("/api/sessions/start", {"gameId": "g", "userId": "u"}),
        ("/api/sessions/heartbeat", {"sessionId": "s"}),
        ("/api/sessions/end", {"sessionId": "s"}),
    ],
)
def test_a_wrong_type_in_any_field_of_any_request_is_named(
    database: SqliteDatabase, path: str, good: dict[str, Any]
) -> None:
    async def story(client: TestClient, service: Service) -> None:
        for name in good:
            for value in WRONG_TYPES:
                if name == "amount" and isinstance(value, int | float) and not isinstance(value, bool):
                    continue
                answer = await client.post(path, json=good | {name: value})
                error = (await answer.json())["error"]
                assert answer.status == 422 and error.startswith(name) and "\n" not in error
        for body in (b"", b"{", b"[" * 9_999, b"\xff", b'"text"', b"7"):
            assert (await client.post(path, data=body)).status in (400, 422)
        assert (await client.post(path, data=b" " * 2_000_000)).status == 413
        assert all(writer.offered == 0 for writer in service.ingestion.writers.values())

    play(story, database)


def test_clients_that_send_half_a_request_or_none_hold_up_nobody(database: SqliteDatabase) -> None:
    async def story(client: TestClient, service: Service) -> None:
        held = [await asyncio.open_connection(client.host, client.port) for _ in range(50)]
        for number, (_, writer) in enumerate(held):
            if number % 2:
                writer.write(b"POST /api/revenue HTTP/1.1\r\nHost: x\r\nContent-Le")

        assert (await client.post("/api/analytics/events", json=EVENT)).status == 202
        for _, writer in held[:25]:
            writer.transport.abort()
        assert (await client.get("/health")).status == 200
        for _, writer in held:
            writer.close()

    play(story, database)


def test_answers_of_the_scenarios_parts_are_there_only_with_them(database: SqliteDatabase) -> None:
    async def story(client: TestClient, service: Service) -> None:
        path = "/api/analytics/events?gameId=g"
        for number in range(120):
            service.ingestion.offer("events", EventIn.model_validate(EVENT | {"timestamp": number}).row())
        await asyncio.sleep(0.2)
        first = len((await (await client.get(path)).json())["events"])
        await client.post("/api/analytics/events", json=EVENT)
        await asyncio.sleep(0.2)

        assert (await client.get("/api/metrics")).status == 404
        assert [first, len((await (await client.get(path)).json())["events"])] == [120, 121]  # no page, no cache
        assert service.log.lines["info"] >= 3  # three lines a request, written or not

    writers = {stream: QUICK | {"buffer_cap_rows": "none"} for stream in STREAMS}
    bare = ServerSpec.model_validate({"writers": writers, "logger": {"lines_per_request": 3}})
    play(story, database, bare)


def test_a_client_that_sends_its_body_too_slowly_is_let_go(database: SqliteDatabase) -> None:
    async def story(client: TestClient, service: Service) -> None:
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(b"POST /api/revenue HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{")
        line = await asyncio.wait_for(reader.readline(), 5)
        writer.close()

        assert b" 408 " in line

    play(story, database, body_timeout_s=0.1)


def test_a_full_buffer_says_so_and_what_it_took_is_written(database: SqliteDatabase) -> None:
    async def story(client: TestClient, service: Service) -> None:
        batch = {"events": [EVENT] * 25}
        first = await (await client.post("/api/analytics/events/batch", json=batch)).json()
        await asyncio.sleep(0.2)

        assert first == {"accepted": 20, "dropped": 5}
        assert service.ingestion.writers["events"].flushed == 20

    play(story, database)


def test_a_cached_answer_needs_no_database(database: SqliteDatabase) -> None:
    async def story(client: TestClient, service: Service) -> None:
        path = "/api/analytics/events?gameId=g"
        first = await (await client.get(path)).json()
        await client.post("/api/analytics/events", json=EVENT)
        await asyncio.sleep(0.2)

        assert await (await client.get(path)).json() == first == {"events": []}
        assert len((await (await client.get(path + "&skip=0&take=7")).json())["events"]) == 1

    play(story, database)


def test_without_a_database_reads_fail_in_one_line_and_the_process_lives(tmp_path: Path) -> None:
    async def story(client: TestClient, service: Service) -> None:
        taken = await client.post("/api/analytics/events", json=EVENT)
        read = await client.get("/api/analytics/events?gameId=g")
        started = await client.post("/api/sessions/start", json={"gameId": "g", "userId": "u"})
        await asyncio.sleep(0.2)

        assert [taken.status, read.status, started.status] == [202, 503, 503]
        assert (await client.get("/health")).status == 200
        assert service.ingestion.writers["events"].dropped_failed == 1

    play(story, SqliteDatabase(tmp_path / "no such folder" / "x.sqlite"))


def test_an_open_loop_load_arrives_whole(database: SqliteDatabase) -> None:
    async def story(client: TestClient, service: Service) -> None:
        times = {stream: range(0, 1_000_000, 10_000) for stream in STREAMS}
        driven = await drive(str(client.make_url("")), times)

        # A driver that is held up brings many requests at once, and some then find a full buffer.
        assert set(driven.statuses) <= {202, 503}
        assert sum(driven.statuses.values()) == 300
        assert len(driven.late_us) == len(driven.latencies_us) == 300
        assert [w.offered for w in service.ingestion.writers.values()] == [100] * 3

    play(story, database)


# --- the process ------------------------------------------------------------------------------------------------


class Served:
    """`capsim serve` as a process."""

    def __init__(self, process: subprocess.Popen[bytes], told: IO[bytes]) -> None:
        self._process, self._told = process, told
        # Into a file, not a pipe: a server that drops items writes a line for each, and nobody would read them.
        while not self.told().endswith("\n") and process.poll() is None:
            time.sleep(0.02)
        found = re.search(r"http://\S+?(?=,)", self.told())
        self.url = found[0] if found else ""

    def told(self) -> str:
        """All that it has written on stderr."""
        return Path(self._told.name).read_text()

    def end(self, number: int = signal.SIGTERM, within_s: float = 12.0) -> int:
        """Send a signal, wait for the end, return the exit code."""
        self._process.send_signal(number)
        return self._process.wait(within_s)

    def exit_code(self) -> int:
        """Wait for a process that ends by itself."""
        return self._process.wait(12.0)


@contextmanager
def served(*arguments: str, **environment: str) -> Iterator[Served]:
    """`capsim serve` on a free port."""
    clean = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL")}
    with tempfile.NamedTemporaryFile() as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "capsim", "serve", *arguments, "--port", "0"], stderr=told, env=clean | environment
        )
        try:
            yield Served(process, told)
        finally:
            process.kill()
            process.wait()


def post(url: str, stream: str, count: int) -> list[int]:
    async def send() -> list[int]:
        async with aiohttp.ClientSession(url) as session:
            answers = [
                await session.post(PATHS[stream], json=body_of(stream, i, i))  # type: ignore[index,arg-type]
                for i in range(count)
            ]
            return [answer.status for answer in answers]

    return asyncio.run(send())


def test_sigterm_writes_what_was_taken_and_ends_within_the_grace(tmp_path: Path) -> None:
    with served("after", "--file", str(tmp_path / "x.sqlite"), "--grace", "5") as server:
        statuses = post(server.url, "events", 150) + post(server.url, "revenue", 3)
        began_s = time.monotonic()
        code, told = server.end(), server.told()

        assert set(statuses) == {202}
        assert code == 0 and time.monotonic() - began_s < 5
        assert "events: 150 written, 0 dropped, 0 buffered and 0 in flight" in told
        assert "revenue: 3 written, 0 dropped, 0 buffered and 0 in flight" in told


NO_HTTP = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # the beginning of TLS
    b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /api/revenue HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    b"POST /api/revenue HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    b"POST /api/revenue HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
]


def test_what_is_no_http_gets_a_400_and_is_one_line_in_the_log(tmp_path: Path) -> None:
    with served("fixed", "--file", str(tmp_path / "x.sqlite")) as server:
        before = len(server.told().splitlines())
        host, port = server.url.removeprefix("http://").split(":")
        for sent in NO_HTTP:
            with socket.create_connection((host, int(port)), timeout=10) as client:
                client.sendall(sent)
                assert client.recv(100).startswith(b"HTTP/1.0 400 ")
        assert post(server.url, "events", 1) == [202]
        lines = server.told().splitlines()[before:]
        assert server.end() == 0

    assert len(lines) == len(NO_HTTP) and all(line.startswith("warn: Error handling request") for line in lines)


def test_a_server_whose_database_is_away_begins_answers_and_ends_within_the_grace() -> None:
    away = f"postgresql://nobody@127.0.0.1:{free_port()}/db?connection_limit=2&connect_timeout=1"
    with served("fixed", "--grace", "2", DATABASE_URL=away) as server:
        assert post(server.url, "events", 5) == [202] * 5
        began_s = time.monotonic()
        code, told = server.end(), server.told()

        assert code == 0 and time.monotonic() - began_s < 3
        assert "events: 0 written, 5 dropped, 0 buffered and 0 in flight" in told
        assert "Traceback" not in told


@pytest.mark.parametrize(
    ("arguments", "environment", "problem"),
    [
        (["after"], {"DATABASE_URL": "mysql://user:hunter2@host/db"}, "DATABASE_URL: begins with 'mysql'"),
        (["after"], {"DATABASE_URL": "postgresql://u:hunter2@host/db?connection_limit=0"}, "connection_limit is '0'"),
        (["after"], {"DATABASE_URL": "postgresql://u:hunter2@host:x/db"}, "DATABASE_URL"),
        (["after"], {"DATABASE_URL": "postgresql://u:hunter2@host:0/db"}, "DATABASE_URL"),
        *(
            (
                ["after"],
                {"REDIS_URL": url},
                "REDIS_URL: is no address of a Redis; give redis://user:password@host:port/0",
            )
            for url in (
                "redis://:hunter2@h:99999/0",
                "redis://:hunter2@h:0",
                "redis://:hunter2@h:x",
                "http://hunter2@h",
            )
        ),
        (["nonsense"], {}, "nonsense"),
        (["after", "--file", "/no/such/folder/x.sqlite"], {}, "/no/such/folder"),
    ],
)
def test_what_cannot_be_served_is_refused_in_one_line(
    arguments: list[str], environment: dict[str, str], problem: str
) -> None:
    with served(*arguments, **environment) as server:
        assert server.exit_code() == 2
        (line,) = server.told().splitlines()
        assert problem in line and "hunter2" not in line

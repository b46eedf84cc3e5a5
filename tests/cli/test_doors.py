"""Who gets into the servers of capsim, how many at once, for how long; against servers that run, on this machine."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import socket
import subprocess
import sys
import time
import zlib
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import pytest

pytest.importorskip("aiohttp")
from aiohttp.test_utils import TestClient, TestServer

from capsim.base.http_door import Door
from capsim.scenario.server import ServerSpec
from capsim.show.explorer.serve import Explorer
from capsim.validation.reference.http import application, unpacked
from capsim.validation.reference.log import Log
from capsim.validation.reference.service import Service
from capsim.validation.reference.settings import Settings
from capsim.validation.reference.sqlite import SqliteDatabase

SECURITY = {"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy"}
EVENT = b'{"gameId":"g","userId":"u","eventName":"start"}'


def with_server(tmp_path, story, **settings):
    """Plays a story against a reference server that listens."""

    async def play():
        service = Service(ServerSpec(), SqliteDatabase(tmp_path / "x.sqlite"), Log())
        chosen = Settings(**settings)
        lines = []
        log = type("Log", (), {"warning": lambda _, text: lines.append(text), "debug": lambda *_, **__: None,
                               "exception": lambda *_, **__: None})()  # fmt: skip
        door = Door(head_s=chosen.head_timeout_s, answer_s=0.2, connections=20)
        opened = await door.opened(application(service, chosen), 0, log)
        port = int(opened.address.rsplit(":", 1)[1])
        try:
            await story(port, lines)
        finally:
            await opened.close()
            await service.shutdown(1)

    asyncio.run(asyncio.wait_for(play(), 60))


async def answer_to(port, request, within_s=5.0):
    """All that comes back on a connection of its own, until the other side closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), within_s)
    finally:
        writer.close()


# --- time, number, size ------------------------------------------------------------------------------------------


def test_a_head_that_drips_is_cut_off(tmp_path):
    """Also that of a second request on a connection; who sends whole requests is served meanwhile."""

    async def story(port, lines):
        async def drip(begin):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(begin)
            await asyncio.sleep(0.1)
            for letter in b"X: " + b"a" * 600:
                if reader.at_eof() or writer.is_closing():
                    break
                writer.write(bytes([letter]))
                await asyncio.sleep(0.02)
                try:
                    await asyncio.wait_for(reader.read(4096), 0.001)
                except TimeoutError:
                    continue
                except ConnectionError:
                    break
            else:
                pytest.fail("it was never cut off")
            writer.close()

        whole = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        await asyncio.gather(drip(b"GET /health HTTP/1.1\r\n"), drip(b""), drip(whole + b"GET /"))
        assert b" 200 " in await answer_to(port, whole.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    with_server(tmp_path, story, head_timeout_s=0.4)


def test_a_client_that_does_not_take_its_answer_is_let_go(tmp_path):
    async def story(port, lines):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_000)
        sock.connect(("127.0.0.1", port))
        sock.setblocking(False)
        request = b"GET /" + b"a" * 4_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        sent = False
        for _ in range(400):  # until the server has stopped reading, as nobody takes what it says
            try:
                await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(sock, request * 20), 2)
            except TimeoutError:
                continue
            except ConnectionError:
                sent = True
                break
        sock.close()
        assert sent

    with_server(tmp_path, story)


def test_one_connection_too_many_is_answered_and_told_once(tmp_path):
    async def story(port, lines):
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        answers = [await answer_to(port, b"") for _ in range(5)]
        for _, writer in held:
            writer.close()
        await asyncio.sleep(0.1)

        assert all(answer.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 5" in answer for answer in answers)
        assert lines == ["20 connections are open, which is the most; others are answered by 503"]
        assert b" 200 " in await answer_to(
            port, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        )

    with_server(tmp_path, story)


@pytest.fixture
def served(tmp_path):
    """`capsim serve` as a process: its address, and a function that gives what it has written on stderr."""
    with ExitStack() as stack:

        def start(shell: str = ""):
            told = stack.enter_context(open(tmp_path / "told", "w"))
            command = f'{shell} exec "$0" -m capsim serve after --port 0 --file {tmp_path}/x.sqlite'
            process = subprocess.Popen(["/bin/sh", "-c", command, sys.executable], stderr=told)
            stack.callback(process.wait)
            stack.callback(process.kill)
            lines = lambda: (tmp_path / "told").read_text()  # noqa: E731
            for _ in range(600):
                if (found := re.search(r"http://127\.0\.0\.1:(\d+)", lines())) or process.poll() is not None:
                    break
                time.sleep(0.1)
            return process, int(found[1]), lines

        yield start


def health(port):
    return json.loads(urlopen(f"http://127.0.0.1:{port}/health", timeout=10).read())["status"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")
@pytest.mark.parametrize("when", ["from the beginning", "later"])
def test_a_full_table_of_files_is_a_line_and_no_end(served, when):
    """Later: whatever else has taken the files, so that no connection can be accepted at all."""
    import resource

    process, port, lines = served("ulimit -n 120;" if when == "from the beginning" else "")
    if when == "later":
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (40, 40))
    held = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(150)]
    time.sleep(2.5)
    for sock in held:
        sock.close()
    time.sleep(1.5)  # asyncio tries again after a second

    assert health(port) == "ok"
    said = lines().splitlines()[1:]
    assert len(said) == 1, said
    assert said[0].startswith(
        "warn: 30 connections are open, which is the most" if when == "from the beginning"
        else "warn: no connection can be accepted: Too many open files"
    )  # fmt: skip


def bomb(mib: int) -> bytes:
    """So many MiB of zeros, packed to a thousandth."""
    packed = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS + 16)
    return b"".join(packed.compress(bytes(1 << 20)) for _ in range(mib)) + packed.flush()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_compressed_bomb_is_not_unpacked(served):
    """A gigabyte in a megabyte, eight times: neither memory nor CPU. Unpacking one takes about half a second."""
    process, port, lines = served()

    def used():
        cpu = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
        peak = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
        return sum(map(int, cpu)) / os.sysconf("SC_CLK_TCK"), int(peak[1]) / 1024

    body = bomb(1_000)
    head = b"POST /api/revenue HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    before_s, before_mib = used()
    socks = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(8)]
    for sock in socks:
        sock.sendall(head % len(body) + body)
    answers = [sock.recv(4_096) for sock in socks]
    assert health(port) == "ok"
    after_s, after_mib = used()

    assert all(b" 413 " in answer for answer in answers)
    assert after_s - before_s < 1 and after_mib - before_mib < 50
    assert "Traceback" not in lines()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw deflate"])
def test_a_packed_body_is_read(tmp_path, encoding):
    raw = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = {"gzip": gzip.compress, "deflate": zlib.compress, "raw deflate": lambda b: raw.compress(b) + raw.flush()}
    body = packed[encoding](EVENT)

    async def story(port, lines):
        head = (
            f"POST /api/analytics/events HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Encoding: {encoding.split()[-1]}"
            f"\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        assert b" 202 " in await answer_to(port, head.encode() + body)

    with_server(tmp_path, story)


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b"abc", "gzip", 400),
        (gzip.compress(EVENT)[:-4], "gzip", 400),
        (gzip.compress(EVENT) + b"more", "gzip", 400),
        (gzip.compress(bytes(101)), "gzip", 413),
        (b"abc", "br", 415),
        (b"abc", "gzip, gzip", 415),
    ],
)
def test_a_body_that_is_not_packed_as_it_says_is_refused(body, encoding, status):
    with pytest.raises(Exception) as refused:
        unpacked(body, encoding, 100)

    assert refused.value.status == status


# --- who asks ----------------------------------------------------------------------------------------------------


OUR_OWN = [
    {},
    {"Host": "localhost:8000"},
    {"Host": "[::1]:8000"},
    {"Host": "app.localhost"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
    {"Host": "localhost:8000", "Origin": "http://localhost:8000"},
]
SOMEBODY_ELSES = [
    {"Host": "evil.example"},
    {"Host": "evil.example:8000"},
    {"Host": "localhost.evil.example"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "evil"},
    {"Host": ""},
    {"Host": "[::1"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Host": "localhost:8000", "Origin": "https://localhost:8000"},
    {"Host": "localhost:8000", "Origin": "http://localhost:8888"},  # another program of this machine: another origin
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},  # a form that sends itself
]


def both(tmp_path, story):
    """Plays a story against the reference and the explorer: a client, a path to POST to, a path that makes work."""

    async def play():
        service = Service(ServerSpec(), SqliteDatabase(tmp_path / "x.sqlite"), Log())
        async with TestClient(TestServer(application(service))) as client:
            await story(client, "POST", "/api/analytics/events")
            await service.shutdown(1)
        async with TestClient(TestServer(Explorer().application())) as client:
            await story(client, "GET", "/scenario.toml")

    asyncio.run(play())


@pytest.mark.parametrize("headers", OUR_OWN, ids=str)
def test_who_asks_for_this_machine_is_answered(tmp_path, headers):
    async def story(client, method, path):
        assert (await client.request(method, path, data=EVENT, headers=headers)).status in (200, 202)

    both(tmp_path, story)


@pytest.mark.parametrize("headers", SOMEBODY_ELSES, ids=str)
def test_a_page_of_somebody_else_gets_nothing_done(tmp_path, headers):
    async def story(client, method, path):
        answer = await client.request(method, path, data=EVENT, headers=headers)

        assert answer.status == 403
        assert (await answer.json())["error"].startswith(("Host is ", "another site asks "))

    both(tmp_path, story)


def test_a_link_leads_to_the_explorers_page_and_to_nothing_else():
    async def play():
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        async with TestClient(TestServer(Explorer().application())) as client:
            assert (await client.get("/", headers=link)).status == 200
            assert (await client.get("/play", headers=link)).status == 403

    asyncio.run(play())


@pytest.mark.parametrize(
    ("host", "asked", "ours"),
    [
        ("0.0.0.0", "capsim:8000", True),  # the name of a container
        ("0.0.0.0", "192.168.0.7:8000", True),
        ("0.0.0.0", "evil.example", False),
        ("server.lan", "SERVER.lan:80", True),
        ("192.168.0.7", "capsim", False),
    ],
)
def test_which_names_lead_here_depends_on_the_address(host, asked, ours):
    assert Door(host=host)._is_ours(asked) is ours


def test_every_answer_has_the_headers(tmp_path):
    """Of what is found, what is not, what may not be, what is refused, and what is no HTTP at all."""

    async def story(client, method, path):
        for asked in (("GET", "/nope"), ("DELETE", path), ("PUT", "/"), (method, path)):
            for headers in ({}, {"Host": "evil.example"}):
                answer = await client.request(*asked, headers=headers)
                assert set(answer.headers) >= SECURITY and answer.headers["X-Content-Type-Options"] == "nosniff", asked

    async def no_http(port, lines):
        for request in (b"\x16\x03\x01\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"):
            answer = await answer_to(port, request)
            assert answer.startswith(b"HTTP/1.0 400 ") and all(name.encode() in answer for name in SECURITY)

    both(tmp_path, story)
    with_server(tmp_path, no_http)


def test_a_log_line_has_no_line_end_of_the_client(tmp_path):
    async def play():
        log = Log("info", lambda level, text: said.append(text))
        service = Service(
            ServerSpec.model_validate({"logger": {"lines_per_request": 1, "level": "info"}}),
            SqliteDatabase(tmp_path / "x.sqlite"), log,
        )  # fmt: skip
        async with TestClient(TestServer(application(service))) as client:
            await client.post("/api/x%0Aerror:%20forged%1b[2J")
            await service.shutdown(1)

    said = []
    asyncio.run(play())
    assert said and not any(set(line) & set("\n\x1b") for line in said)


# --- the explorer --------------------------------------------------------------------------------------------------


def test_questions_whose_reader_has_gone_are_dropped(monkeypatch):
    """150 of them, each from a reader of its own, wait behind two that are being answered; none of them is begun."""
    import threading

    from capsim.show.explorer import engine, serve

    released, begun, living = threading.Event(), [], []

    def slow(settings, *, superseded, **_):
        if superseded():
            raise engine.Superseded
        begun.append(settings)
        while not released.is_set() and not superseded():
            time.sleep(0.01)
        if superseded():
            raise engine.Superseded
        return {}

    async def play():
        monkeypatch.setattr(serve, "explored", slow)
        opened = await serve.DOOR.opened(Explorer().application(), 0, None)
        port = int(opened.address.rsplit(":", 1)[1])
        try:
            for number in range(152):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(f"GET /play?load=1&reader={number} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
                await asyncio.sleep(0.01)
                if number < 2:
                    living.append(writer)
                else:
                    writer.close()
            await asyncio.sleep(0.3)
            released.set()
            answer = await answer_to(
                port, b"GET /play?load=1&reader=last HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 20
            )
            assert answer.endswith(b"{}")
        finally:
            released.set()  # else a thread would outlive a failure
            await opened.close()

    asyncio.run(asyncio.wait_for(play(), 60))
    assert len(begun) == 3


def test_the_engine_asks_before_it_begins():
    from capsim.show.explorer import Settings as Knobs
    from capsim.show.explorer import engine

    with pytest.raises(engine.Superseded):
        engine.explored(Knobs(load=1), superseded=lambda: True)

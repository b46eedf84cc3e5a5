"""The door of a small HTTP server on this machine: who may come in, how many at once, and how long they may take.

`capsim serve` and `capsim app` know no passwords. What keeps others out is that they listen on this machine only, which
a web page in its browser gets round: it can send requests to any address, and its own name can lead here. So the name
that was asked for is checked (Host), and the page that asks (Origin, Sec-Fetch-Site).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from capsim.base.errors import RAN_OUT, CapsimError

ANYWHERE = frozenset({"", "0.0.0.0", "::"})  # as an address to listen on
BUSY_EVERY_S = 10.0  # between two lines that say so
LAST_ANSWERS_S = 0.5  # for requests that are being answered when the server ends
RETRY_S = 5


@dataclass(frozen=True, kw_only=True)
class Door:
    """Limits and checks, the same for every server of capsim.

    Attributes
    ----------
    host : str
        Address to listen on.
    head_s : float
        For a client to send the head of a request, from the connection or the last answer on [s].
    answer_s : float
        Without any progress in taking an answer, after which a client is let go [s].
    connections : int
        Open at once; also at most a quarter of the files that the process may have open. As many again can come at
        one time before they are counted; the other half is for the database and the log files.
    gives_up : bool
        Whether an answer is given up when whoever asked has gone.
    policy : str
        Content-Security-Policy of every answer.
    pages : frozenset of str
        Paths that a link on another site may lead to; elsewhere other sites ask for nothing.
    """

    host: str = "127.0.0.1"
    head_s: float = 20.0
    answer_s: float = 20.0
    connections: int = 500
    gives_up: bool = False
    policy: str = "default-src 'none'"
    pages: frozenset[str] = frozenset()

    @property
    def headers(self) -> dict[str, str]:
        """Of every answer: nobody else may put it into a frame, run it, or keep it."""
        return {
            "Content-Security-Policy": f"{self.policy}; frame-ancestors 'none'; base-uri 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }

    @property
    def handler(self) -> dict[str, Any]:
        """Arguments of aiohttp's handler. Bodies stay packed, so that their size is known before they are unpacked."""
        return {"keepalive_timeout": self.head_s, "auto_decompress": False, "access_log": None}

    def application(self, *middlewares: Any, **arguments: Any) -> web.Application:
        """An application behind this door, without routes."""
        app = web.Application(middlewares=[self._checked(), *middlewares], handler_args=self.handler, **arguments)

        async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
            response.headers.update(self.headers)

        app.on_response_prepare.append(add_headers)
        return app

    def refusal(self, request: web.Request) -> str | None:
        """Why a request is not answered, or None."""
        host = request.headers.get("Host", "")
        if not self._is_ours(host):
            return f"Host is {host[:100]!r}; ask by the address of this machine"
        origin = request.headers.get("Origin")
        if origin is not None and origin.lower() != f"{request.scheme}://{host}".lower():
            return "another site asks (Origin); open this server's own page"
        site = request.headers.get("Sec-Fetch-Site", "none")
        link = request.method == "GET" and request.headers.get("Sec-Fetch-Mode") == "navigate"
        if site not in ("same-origin", "none") and not (link and request.path in self.pages):
            return "another site asks (Sec-Fetch-Site); open this server's own page"
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether a name leads here by itself: what somebody else's name leads to is somebody else's choice."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name and (name in ("localhost", self.host.lower()) or name.endswith(".localhost")):
            return True
        try:
            return bool(ip_address(name))
        except ValueError:  # a name: within a network of containers it has no dot
            mine = {socket.gethostname().lower(), socket.getfqdn().lower()}
            return self.host in ANYWHERE and bool(name) and ("." not in name or name in mine)

    def _checked(self) -> Any:
        @web.middleware
        async def check(request: web.Request, handler: Any) -> web.StreamResponse:
            why = self.refusal(request)
            if why is not None:
                return web.json_response({"error": why}, status=403)
            response: web.StreamResponse = await handler(request)
            return response

        return check

    async def opened(self, app: web.Application, port: int, log: logging.Logger) -> Opened:
        """Listen.

        Raises
        ------
        CapsimError
            If the address cannot be listened on.
        """
        runner = web.AppRunner(app, shutdown_timeout=LAST_ANSWERS_S)
        await runner.setup()
        server = runner.server
        assert server is not None
        server.handler_cancellation = self.gives_up
        loop = asyncio.get_running_loop()
        most = max(1, min(self.connections, _files() // 4))
        told = _Seldom(log)

        def connection() -> asyncio.Protocol:
            if len(server.connections) >= most:
                told(f"{most} connections are open, which is the most; others are answered by 503")
                return _Busy(self.headers)
            return _Connection(server, self, logger=log)

        loop.set_exception_handler(_worded(told))
        try:
            listening = await loop.create_server(connection, self.host, port, backlog=most)
        except OSError as error:
            await runner.cleanup()
            what = "--port" if self.host == Door.host else "--host or --port"
            raise CapsimError(f"{self.host}:{port}: {error.strerror or error}; choose another {what}") from None
        return Opened(listening, runner)


class Opened:
    """A server that listens.

    Attributes
    ----------
    address : str
        Of it, as a browser takes it.
    """

    def __init__(self, listening: asyncio.Server, runner: web.AppRunner) -> None:
        self._listening, self._runner = listening, runner
        host, port = listening.sockets[0].getsockname()[:2]
        self.address = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def stop(self) -> None:
        """Listen no more; what is being answered goes on."""
        self._listening.close()

    async def close(self) -> None:
        """Answer what is being answered, then let go."""
        self.stop()
        await self._runner.cleanup()


class _Connection(web.RequestHandler):
    """One of aiohttp's; it lets go of clients who do not take their answer, and its own answers have our headers."""

    __slots__ = ("_door", "_stuck")

    def __init__(self, server: web.Server, door: Door, logger: logging.Logger) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), logger=logger, **door.handler)
        self._door = door
        self._stuck: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """The client does not take what it is sent."""
        super().pause_writing()
        if self.transport is not None:
            self._stuck = asyncio.get_running_loop().call_later(self._door.answer_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        if self._stuck is not None:
            self._stuck.cancel()

    def handle_error(self, *args: Any, **kwargs: Any) -> web.StreamResponse:
        """What is no HTTP is answered before any application sees it."""
        response = super().handle_error(*args, **kwargs)
        response.headers.update(self._door.headers)
        return response


class _Busy(asyncio.Protocol):
    """A connection too many: one answer, and the end."""

    def __init__(self, headers: dict[str, str]) -> None:
        body = b'{"error": "too many connections are open; try again"}'
        head = {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(body)),
                "Retry-After": str(RETRY_S), "Connection": "close", **headers}  # fmt: skip
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        self._answer = f"HTTP/1.1 503 Service Unavailable\r\n{lines}\r\n".encode() + body

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say so, and leave."""
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(self._answer)
        transport.close()


class _Seldom:
    """Says something once in a while, however often it happens."""

    def __init__(self, log: logging.Logger) -> None:
        self._log, self._said_s = log, -BUSY_EVERY_S

    def __call__(self, text: str) -> None:
        if time.monotonic() - self._said_s >= BUSY_EVERY_S:
            self._said_s = time.monotonic()
            self._log.warning(text)


def _worded(told: Callable[[str], None]) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """When files have run out, asyncio writes a traceback for each of 128 connections that may wait, every second."""

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in RAN_OUT:
            told(f"no connection can be accepted: {error.strerror}")
        else:
            loop.default_exception_handler(context)

    return handle


def _files() -> int:
    """How many the process may have open."""
    try:
        from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit
    except ImportError:  # Windows
        return 2**31
    soft = getrlimit(RLIMIT_NOFILE)[0]
    return 2**31 if soft == RLIM_INFINITY else soft

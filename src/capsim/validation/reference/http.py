"""The server over HTTP. Whatever comes in that is not right is answered by one line of JSON, and the process lives."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar

from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError

from capsim.base.http_door import Door
from capsim.scenario.workload import Stream
from capsim.validation.reference.database import CallFailed, Statement
from capsim.validation.reference.metrics import timestamp
from capsim.validation.reference.rows import EventIn, EventsIn, HeartbeatIn, RevenueIn, SessionIn, Text
from capsim.validation.reference.service import Service
from capsim.validation.reference.settings import Settings

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Taken = TypeVar("Taken", bound=BaseModel)

TEXT = TypeAdapter(Text)
MOST_SKIPPED = 10**9


class Refused(Exception):
    """A request that is answered by an error; the last one of its connection, if what follows cannot be read."""

    def __init__(self, status: int, why: str, *, last: bool = False) -> None:
        super().__init__(why)
        self.status, self.last = status, last


def _error(status: int, why: object, *, last: bool = False) -> web.Response:
    response = web.json_response({"error": " ".join(str(why).split())}, status=status)
    if last:
        response.force_close()
    return response


def _nonsense(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number that JSON knows")


def application(service: Service, settings: Settings | None = None) -> web.Application:
    """The routes of the server; that of the metrics only if its scenario has them.

    Parameters
    ----------
    service : Service
        Running, in the same loop.
    settings : Settings, optional
        How much of a request it takes, and how long it waits for it.
    """
    settings = settings or Settings()
    app = door_of(settings).application(_answers(service), client_max_size=settings.body_bytes)
    routes = _Routes(service, settings)
    app.add_routes(
        [
            web.post("/api/analytics/events", routes.event),
            web.post("/api/analytics/events/batch", routes.events),
            web.get("/api/analytics/events", routes.analytics),
            web.post("/api/revenue", routes.revenue),
            web.post("/api/sessions/start", routes.start_session),
            web.post("/api/sessions/heartbeat", routes.heartbeat),
            web.post("/api/sessions/end", routes.end_session),
            web.get("/health", routes.health),
        ]
    )
    if service.metrics is not None:
        app.add_routes([web.get("/api/metrics", routes.metrics)])
    return app


def door_of(settings: Settings) -> Door:
    """Who may come in."""
    return Door(host=settings.host, head_s=settings.head_timeout_s)


def _answers(service: Service) -> Any:
    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == "POST":  # the load; what asks the server about itself is no part of it
            service.requested(f"{request.method} {request.rel_url.raw_path}")
        try:
            return await handler(request)
        except Refused as refused:
            return _error(refused.status, refused, last=refused.last)
        except CallFailed as failed:
            return _error(503, failed)
        except web.HTTPException as known:  # unknown path, wrong method, body too large
            return _error(known.status, known.reason)
        except (ConnectionError, asyncio.CancelledError):
            raise  # the client has gone: nobody to answer
        except Exception as error:
            service.log.error(f"{request.method} {request.rel_url.raw_path}: {type(error).__name__}: {error}")
            return _error(500, "something went wrong here; the server's log says what")

    return answer


class _Routes:
    """What each path does."""

    def __init__(self, service: Service, settings: Settings) -> None:
        self._service, self._settings = service, settings

    async def event(self, request: web.Request) -> web.Response:
        taken = await self._body(request, EventIn)
        return self._offered("events", [_row(taken)])

    async def events(self, request: web.Request) -> web.Response:
        taken = await self._body(request, EventsIn)
        return self._offered("events", [_row(event) for event in taken.events])

    async def revenue(self, request: web.Request) -> web.Response:
        taken = await self._body(request, RevenueIn)
        return self._offered("revenue", [taken.row()])

    async def heartbeat(self, request: web.Request) -> web.Response:
        taken = await self._body(request, HeartbeatIn)
        return self._offered("heartbeats", [taken.row()])

    async def start_session(self, request: web.Request) -> web.Response:
        session = (await self._body(request, SessionIn)).row()
        await self._service.pool.call(Statement("start_session", "queries", (session,)))
        return web.json_response({"sessionId": session.id}, status=201)

    async def end_session(self, request: web.Request) -> web.Response:
        ended = (await self._body(request, HeartbeatIn)).row()
        answer = await self._service.pool.call(Statement("end_session", "queries", (ended,)))
        if not answer.changed:
            raise Refused(404, "no open session of this name")
        return web.json_response({"sessionId": ended.session_id})

    async def analytics(self, request: web.Request) -> web.Response:
        query = request.query
        unknown = set(query) - {"gameId", "take", "skip"}
        if unknown:
            raise Refused(400, f"unknown in the query: {', '.join(sorted(unknown))}; known are gameId, take, skip")
        try:
            game_id = TEXT.validate_python(query.get("gameId"), strict=True)
        except ValidationError as error:
            raise Refused(400, f"gameId: {error.errors()[0]['msg']}") from None
        take = _number(query, "take") if "take" in query else None
        return web.Response(
            text=await self._service.analytics.events(game_id, take, _number(query, "skip")),
            content_type="application/json",
        )

    async def health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "timestamp": timestamp(), "uptime": self._service.uptime_s})

    async def metrics(self, request: web.Request) -> web.Response:
        service = self._service
        assert service.metrics is not None
        return web.json_response(await service.metrics.answer(service.ingestion.writers, service.uptime_s))

    def _offered(self, stream: Stream, rows: list[Any]) -> web.Response:
        told = [self._service.ingestion.offer(stream, row) for row in rows]
        stored = told.count("stored")
        if not stored:
            why = "shutting down" if told[0] == "closing" else f"the buffer of {stream} is full"
            raise Refused(503, f"{why}; nothing was taken")
        return web.json_response({"accepted": stored, "dropped": len(told) - stored}, status=202)

    async def _body(self, request: web.Request, kind: type[Taken]) -> Taken:
        try:
            async with asyncio.timeout(self._settings.body_timeout_s):
                body = await request.read()
        except TimeoutError:
            raise Refused(408, "the body took too long to arrive") from None
        except web.RequestPayloadError:
            raise Refused(400, "the body does not arrive as its head says", last=True) from None
        body = unpacked(body, request.headers.get("Content-Encoding", "identity"), self._settings.body_bytes)
        try:
            data = json.loads(body, parse_constant=_nonsense)
        except (ValueError, RecursionError) as error:
            raise Refused(400, f"not JSON: {error}") from None
        try:
            return kind.model_validate(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the body"
            raise Refused(422, f"{where}: {first['msg']}") from None


def unpacked(body: bytes, encoding: str, most: int) -> bytes:
    """A body without its compression; a small one can unpack to a thousand times as much, so the limit holds inside.

    Raises
    ------
    Refused
        Of an encoding that is not known here, not encoded so, or larger than ``most`` [bytes].
    """
    encoding = encoding.strip().lower()
    if encoding == "identity" or not body:
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise Refused(415, f"Content-Encoding {encoding[:20]!r} is not known here; send gzip, deflate or plain")
    raw = encoding == "deflate" and body[0] & 0x0F != 8  # without the header of zlib, as many clients send it
    packed = zlib.decompressobj(-zlib.MAX_WBITS if raw else zlib.MAX_WBITS + (16 if "gzip" in encoding else 0))
    try:
        found = packed.decompress(body, most + 1)
    except zlib.error:
        found = b""
    if len(found) > most:
        raise Refused(413, f"the body unpacks to more than {most} bytes")
    if not packed.eof or packed.unused_data:
        raise Refused(400, "the body is not encoded as its Content-Encoding says")
    return found


def _row(taken: EventIn) -> Any:
    try:
        return taken.row()
    except (ValueError, RecursionError) as error:
        raise Refused(422, str(error)) from None


def _number(query: Any, name: str) -> int:
    text = query.get(name, "0")
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > MOST_SKIPPED:
        raise Refused(400, f"{name} is {text[:20]!r}; give a whole number from 0 to {MOST_SKIPPED}")
    return int(text)

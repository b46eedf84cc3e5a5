"""A server of metrics that misbehaves on command, on loopback."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HTML = b"<!DOCTYPE html><html><body>Application failed to respond</body></html>"


def answer(
    flushed: int = 0, *, rss: str = "90MB", uptime: str = "0 minutes", at: float | None = None
) -> dict[str, Any]:
    """Metrics in the seed's shape."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() if at is None else at))
    writer = {"bufferSize": 3, "totalFlushed": flushed, "totalFailed": 0, "totalDropped": 0}
    return {
        "timestamp": stamp,
        "memory": {"rss": rss, "heapTotal": "40MB", "heapUsed": "20MB", "external": "2MB", "arrayBuffers": "1MB"},
        "uptime": uptime,
        "dbConnections": [{"count": 4}],
        "batchWriters": {name: dict(writer) for name in ("events", "revenue", "heartbeats")},
    }


class MetricsServer:
    """Answers what `mode` says: ok, hang, drip, 500, 401, html, empty, large, moved, away (elsewhere), nowhere."""

    def __init__(self) -> None:
        self.elsewhere = "http://elsewhere.invalid/api/metrics"
        self.mode = "ok"
        self.flushed = 0
        self.seen: list[dict[str, str]] = []
        self.body: dict[str, Any] | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.seen.append({"path": self.path, "authorization": self.headers.get("Authorization", "")})
                outer._answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        self._handler = Handler
        self.port = 0
        self.start()

    def start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def kill(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/metrics"

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        mode = self.mode
        if mode == "hang":
            time.sleep(1.0)
            return
        self.flushed += 10
        body = {
            "html": HTML,
            "empty": b"{}",
            "large": b" " * (1 << 20) + b"{}  ",
            "500": b'{"error": "no"}',
        }.get(mode, json.dumps(self.body or answer(self.flushed)).encode())
        handler.send_response({"500": 500, "401": 401, "moved": 301, "away": 302, "nowhere": 302}.get(mode, 200))
        if mode == "moved":
            handler.send_header("Location", "/elsewhere")
            self.mode = "ok"
        if mode == "away":
            handler.send_header("Location", self.elsewhere)
        if mode == "nowhere":
            handler.send_header("Location", "ftp://x/y")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if mode == "drip":
            for byte in body:
                handler.wfile.write(bytes([byte]))
                handler.wfile.flush()
                time.sleep(0.02)
        else:
            handler.wfile.write(body)


@contextmanager
def metrics_server() -> Iterator[MetricsServer]:
    """One that is stopped at the end."""
    server = MetricsServer()
    try:
        yield server
    finally:
        server.kill()

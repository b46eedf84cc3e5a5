"""The explorer as a page of its own: a small server on this machine, one page, no file from anywhere else."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import webbrowser
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.resources import files
from typing import Any

from aiohttp import web

from capsim.base.errors import CapsimError
from capsim.base.http_door import Door
from capsim.engine.fidelity import Fidelity
from capsim.scenario.file import dumps
from capsim.show.explorer.engine import Superseded, explored
from capsim.show.explorer.settings import SETTINGS, Settings
from capsim.show.pages import render
from capsim.show.plots import palette

KINDS = {"explorer.js": "text/javascript", "explorer.css": "text/css", "icon.svg": "image/svg+xml"}
# The page asks nobody else for anything; others may link to it.
DOOR = Door(connections=100, gives_up=True, policy="default-src 'self'", pages=frozenset({"/"}))


class Explorer:
    """Answers the page's questions, one exact run at a time, and drops those that a newer one overtook."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(2)
        self._newest: dict[str, int] = {}  # question by reader, of those who wait
        self._asked = 0

    def application(self) -> web.Application:
        """The routes."""
        app = DOOR.application(_worded)
        app.router.add_get("/", self.page)
        app.router.add_get("/play", self.play)
        app.router.add_get("/scenario.toml", self.scenario)
        app.router.add_get("/files/{name}", self.file)
        return app

    async def page(self, request: web.Request) -> web.Response:
        """The page; its script reads the settings from the address."""
        place = {"package": "capsim.show.explorer", "folder": "page"}
        text = render("explorer.html", **place, settings=SETTINGS, defaults=Settings())
        return web.Response(text=text, content_type="text/html")

    async def play(self, request: web.Request) -> web.Response:
        """The day of the settings in the address, as JSON; ``fidelity`` and ``reader`` are the script's own words."""
        words = dict(request.query)
        fidelity: Fidelity = "exact" if words.pop("fidelity", "law") == "exact" else "law"
        reader = words.pop("reader", "")[:40]
        settings = Settings.of(words)
        self._asked += 1
        number = self._asked
        self._newest[reader] = number
        unwanted: Callable[[], bool] = lambda: self._newest.get(reader) != number  # noqa: E731
        job = partial(explored, settings, fidelity=fidelity, superseded=unwanted)
        try:
            return web.json_response(await asyncio.get_running_loop().run_in_executor(self._pool, job))
        except Superseded:
            return web.json_response({"superseded": True})
        finally:  # also when the reader has gone, which cancels this
            if self._newest.get(reader) == number:
                del self._newest[reader]

    async def scenario(self, request: web.Request) -> web.Response:
        """The settings as a scenario file, which `capsim run` plays."""
        text = dumps(Settings.of(dict(request.query)).scenario())
        named = {"Content-Disposition": 'attachment; filename="explored.toml"'}
        return web.Response(text=text, content_type="application/toml", headers=named)

    async def file(self, request: web.Request) -> web.Response:
        """Script and style of the page."""
        name = request.match_info["name"]
        if name not in KINDS:
            raise web.HTTPNotFound(text=f"{name}: there is no such file")
        text = files("capsim.show.explorer").joinpath("page", name).read_text(encoding="utf-8")
        if name == "explorer.css":
            colours = {n.lower(): getattr(palette, n) for n in ("BLUE", "ORANGE", "GREEN", "PINK", "VERMILLION")}
            text = ":root {" + "".join(f"--{n}: {c};" for n, c in colours.items()) + "}\n" + text
        return web.Response(text=text, content_type=KINDS[name])


@web.middleware
async def _worded(request: web.Request, handler: Any) -> web.StreamResponse:
    """Bad settings are one line each, and no traceback."""
    try:
        response: web.StreamResponse = await handler(request)
    except CapsimError as error:
        response = web.json_response({"problems": list(error.problems)}, status=400)
    return response


def serve(port: int, *, show: bool) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Parameters
    ----------
    port : int
        0 takes any free one.
    show : bool
        Whether to open it in a browser.

    Raises
    ------
    CapsimError
        If the port is in use.
    """
    asyncio.run(_serve(port, show))


async def _serve(port: int, show: bool) -> None:
    opened = await DOOR.opened(Explorer().application(), port, logging.getLogger("capsim app"))
    address = f"{opened.address}/"
    print(f"capsim: explorer on {address} (Ctrl-C ends it)", file=sys.stderr, flush=True)
    if show:
        webbrowser.open(address)
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    await ending.wait()
    await opened.close()

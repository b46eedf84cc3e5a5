"""`capsim serve`: the reference server over HTTP."""

from __future__ import annotations

from pathlib import Path

import click

from capsim.cli.options import FiniteRange


@click.command()
@click.argument("scenario", metavar="[SCENARIO]", default="after")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8000,
    show_default=True,
    help="Where to listen; 0 for any free port.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default="capsim.sqlite",
    show_default=True,
    help="SQLite file to write to, unless DATABASE_URL is set.",
)
@click.option(
    "--grace",
    type=FiniteRange(0, 3_600),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="From SIGTERM to the exit, at most.",
)
def serve(scenario: str, port: int, host: str, path: Path, grace: float) -> None:
    """Run the reference server of SCENARIO until SIGTERM or Ctrl-C.

    Takes POST /api/analytics/events, /api/analytics/events/batch, /api/revenue, /api/sessions/start, /heartbeat and
    /end; answers GET /api/analytics/events?gameId=G, /health and, if the scenario has them, /api/metrics. From the
    environment come DATABASE_URL (postgresql://..., with connection_limit, pool_timeout and connect_timeout) and
    REDIS_URL. A logger with file transports writes beside FILE.

    \b
    Example:
      capsim serve fixed --port 8000
      curl -d '{"gameId":"g","userId":"u","eventName":"start"}' http://127.0.0.1:8000/api/analytics/events
    """
    import os

    from capsim.base.errors import CapsimError
    from capsim.scenario.file import load

    try:
        from capsim.validation.reference.listen import Place, listen
        from capsim.validation.reference.settings import Settings
    except ModuleNotFoundError as missing:
        raise CapsimError(f"serve needs the package {missing.name}; install capsim[server,postgres]") from None
    place = Place(port, path, os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL"))
    listen(load(scenario), place, Settings(host=host, grace_s=grace))

"""`capsim inspect`: configuration files as the platform applies them, what follows, and a scenario of them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import click


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--write",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="SCENARIO.toml",
    help="Make a scenario of it; needs --on.",
)
@click.option(
    "--on",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="Apply the rules, limits and prices of this day; today's date is never read.",
)
@click.option(
    "--plan",
    type=click.Choice(["free", "hobby", "pro"]),
    default="hobby",
    show_default=True,
    help="Railway plan: its limits, and the plan of the scenario.",
)
@click.option("--service", metavar="NAME", help="Which service of a railway.ts that declares several.")
@click.option("--environment", metavar="NAME", help="Railway environment whose own settings apply.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document (data/schema/inspection.schema.json).")
def inspect(
    paths: tuple[str, ...],
    write: Path | None,
    on: dt.datetime | None,
    plan: str,
    service: str | None,
    environment: str | None,
    as_json: bool,
) -> None:
    """Say what a configuration really does, and what could go wrong with it.

    PATH is .railway/railway.ts, railway.json, railway.toml, .env, package.json, Dockerfile, Procfile, railpack.json,
    nixpacks.toml, a folder that holds some of them, or a postgresql:// address. Nothing in them is run, and no secret
    is printed or written. What was not read is unknown, never a default.

    \b
    Examples:
      capsim inspect my-service/
      capsim inspect railway.json .env package.json --write mine.toml --on 2026-02-03
    """
    from capsim.base.errors import CapsimError
    from capsim.base.files import write_text
    from capsim.telemetry.inspect import effective, read
    from capsim.telemetry.inspect.report import inspection, screen
    from capsim.telemetry.inspect.written import written

    if write is not None and on is None:
        raise CapsimError("--write needs --on DATE, the first day of the billed month; nothing reads today's date")
    day = on.date() if on else None
    found = effective(read(list(paths), service, environment), day)
    if write is not None and found.applied.job:
        place = found.applied.place("cronSchedule")
        raise CapsimError(
            f"{place}: the service is a job, which runs and ends; --write makes scenarios of servers only"
        )
    document = inspection(found, plan)
    if write is not None and day is not None:
        name = "".join(c if c.isalnum() or c in "_.- " else "-" for c in write.stem)[:80] or "inspected"
        write_text(write, written(found, day, plan, name)[1])
        click.echo(f"capsim: wrote {write}", err=True)
    click.echo(document.model_dump_json(indent=2) + "\n" if as_json else screen(document), nl=False)

"""`capsim tables`: make the published tables again, or check them."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 with the differences if a table would change.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The folder of the tables.  [default: data/tables]",
)
def tables(check: bool, out: Path | None) -> None:
    """Make the tables of data/tables again: memory and cost before and after, by plan, date, load and knob.

    One CSV a table, README.md and index.html with all of them. Written whole or not at all.

    \b
    Examples:
      capsim tables
      capsim tables --check
    """
    from capsim.base.paths import data_dir
    from capsim.cli import FAILED
    from capsim.show.published_pages import files
    from capsim.study.published.drift import drift
    from capsim.study.published.registry import publish
    from capsim.study.published.registry import tables as all_tables

    out = data_dir() / "tables" if out is None else out
    made = all_tables()
    content = files(made, seed=0)
    if not check:
        publish(content, out)
        click.echo(f"capsim: wrote {len(content)} files into {out}", err=True)
        return
    found = drift(out, content, made)
    for line in found:
        click.echo(line)
    if found:
        click.echo(f"capsim: {out}: {len(found)} differences; make the tables again with capsim tables", err=True)
    else:
        click.echo(f"{len(made)} tables are as they would be made now")
    click.get_current_context().exit(FAILED if found else 0)

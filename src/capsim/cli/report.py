"""`capsim report`: a notebook run on other inputs, as a page."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("notebook", type=click.Path(path_type=Path), metavar="NOTEBOOK")
@click.option("--trace", metavar="FILE", help="A recorded load or a bundled one's name, for its trace_name.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="The address of all chance, for its seed.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Where the page goes.  [default: the notebook's name with .html, in this folder]",
)  # fmt: skip
def report(notebook: Path, trace: str | None, seed: int | None, out: Path | None) -> None:
    """Run NOTEBOOK from top to bottom, on another load if one is given, and write it as one HTML page.

    The notebook itself is left as it is. The page needs no other file and no Jupyter.

    \b
    Example:
      capsim report notebooks/00_tour.ipynb --trace access.log.gz --out tour.html
    """
    from capsim.base.files import write_text
    from capsim.base.progress import Progress
    from capsim.show.notebook_setup import ready
    from capsim.show.notebooks import report as run

    ready(trace, extras=("notebooks",))  # a load that cannot be read is told before minutes are spent
    parameters = {"trace_name": trace, "seed": seed}
    place = out or Path(f"{notebook.stem}.html")
    with Progress(f"running {notebook.name}"):
        text = run(notebook, {name: value for name, value in parameters.items() if value is not None}, Path.cwd())
    write_text(place, text)
    click.echo(f"capsim: wrote {place}", err=True)

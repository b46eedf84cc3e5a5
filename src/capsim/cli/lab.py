"""`capsim lab`: JupyterLab with the notebooks."""

from __future__ import annotations

from pathlib import Path

import click

HERE, COPY = Path("notebooks"), Path("capsim-notebooks")
FIRST = "00_tour.ipynb"


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8888,
    show_default=True,
    help="Where to listen on this machine; if it is in use, the next free one.",
)
@click.option("--show/--no-show", default=True, show_default=True, help="Open a browser.")
@click.argument("others", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS OF JUPYTERLAB]...")
def lab(port: int, show: bool, others: tuple[str, ...]) -> None:
    """Open JupyterLab with the tour, in ./notebooks if it is there.

    Elsewhere the notebooks are copied into ./capsim-notebooks first; those that you have changed there stay. Options
    that are not capsim's go to JupyterLab: in a container, where you are root, it asks for --allow-root.

    \b
    Examples:
      capsim lab
      capsim lab --no-show --allow-root --ip=0.0.0.0
    """
    import os
    import sys

    from capsim.show.notebook_setup import ready

    ready(extras=("notebooks",))
    folder = HERE if (HERE / FIRST).is_file() else _copied(COPY)
    click.echo(f"capsim: opening {folder / FIRST}", err=True)
    # In place of this process: Ctrl-C and the exit code are JupyterLab's own. The kernel is the Python that runs this,
    # so what is installed beside capsim is there. -P: a jupyterlab.py in this folder is not JupyterLab.
    arguments = [
        sys.executable, "-P", "-m", "jupyterlab",
        f"--ServerApp.root_dir={folder.absolute()}", f"--ServerApp.port={port}",
        f"--LabApp.default_url=/lab/tree/{FIRST}", f"--ServerApp.open_browser={show}", *others,
    ]  # fmt: skip
    os.execv(sys.executable, arguments)


def _copied(folder: Path) -> Path:
    from capsim.base.files import write_bytes
    from capsim.base.paths import notebooks_dir

    folder.mkdir(exist_ok=True)
    for path in sorted(notebooks_dir().glob("*.ipynb")):
        if not (folder / path.name).exists():
            write_bytes(folder / path.name, path.read_bytes())
    return folder

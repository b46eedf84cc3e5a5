"""`capsim lab`: JupyterLab with the notebooks."""

from __future__ import annotations

from pathlib import Path

import click

HERE, COPY = Path("notebooks"), Path("capsim-notebooks")
FIRST = "00_tour.ipynb"


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8888,
    show_default=True,
    help="Where to listen on this machine; if it is in use, the next free one.",
)
@click.option("--show/--no-show", default=True, show_default=True, help="Open a browser.")
def lab(port: int, show: bool) -> None:
    """Open JupyterLab with the tour, in ./notebooks if it is there.

    Elsewhere the notebooks are copied into ./capsim-notebooks first; those that you have changed there stay.

    \b
    Example:
      capsim lab
    """
    import os
    import sys

    from capsim.start import ready

    ready(extras=("notebooks",))
    folder = HERE if (HERE / FIRST).is_file() else _copied(COPY)
    click.echo(f"capsim: opening {folder / FIRST}", err=True)
    # In place of this process: Ctrl-C and the exit code are JupyterLab's own. The kernel is the Python that runs this,
    # so what is installed beside capsim is there.
    arguments = [
        sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder.absolute()}", f"--ServerApp.port={port}",
        f"--LabApp.default_url=/lab/tree/{FIRST}", f"--ServerApp.open_browser={show}",
    ]  # fmt: skip
    os.execv(sys.executable, arguments)


def _copied(folder: Path) -> Path:
    from capsim.files import write_bytes
    from capsim.paths import notebooks_dir

    folder.mkdir(exist_ok=True)
    for path in sorted(notebooks_dir().glob("*.ipynb")):
        if not (folder / path.name).exists():
            write_bytes(folder / path.name, path.read_bytes())
    return folder

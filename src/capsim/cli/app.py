"""`capsim app`: the explorer as a page in the browser."""

from __future__ import annotations

import click


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8765,
    show_default=True,
    help="Where to listen on this machine; 0 for any free port.",
)
@click.option("--show/--no-show", default=True, show_default=True, help="Open the page in a browser.")
def app(port: int, show: bool) -> None:
    """Turn the knobs of a server and see a day of it redrawn: memory, buffers, losses, usage.

    \b
    Example:
      capsim app --port 8765
    """
    from capsim.base.errors import CapsimError

    try:
        from capsim.show.explorer.serve import serve
    except ModuleNotFoundError as missing:
        raise CapsimError(f"app needs the package {missing.name}; install capsim[server]") from None
    serve(port, show=show)

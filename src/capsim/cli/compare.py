"""`capsim compare`: scenarios and saved results side by side."""

from __future__ import annotations

import click

from capsim.cli.options import Options, common


@click.command()
@click.argument("sides", nargs=-1, required=True, metavar="A B [...]")
@common
def compare(sides: tuple[str, ...], options: Options) -> None:
    """Predict for every side and show them beside the first: A before, B after.

    A side is a scenario (a TOML file or a bundled name) or a saved result (.json), which is taken as it is.
    Scenarios share load and chance, so that a difference is never luck.

    \b
    Examples:
      capsim compare before after
      capsim compare before after fixed --trace access.log.gz --scale 2 --out out
      capsim compare out/result.json my.toml
    """
    from capsim.cli.job import perform
    from capsim.compare import compare as side_by_side
    from capsim.errors import CapsimError

    if len(sides) < 2 and not sides[0].endswith(".json"):
        raise CapsimError(f"compare has one side, {sides[0]}; name another, or use capsim run")
    perform(sides, options, side_by_side)

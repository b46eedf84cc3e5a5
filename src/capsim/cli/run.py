"""`capsim run`: one scenario."""

from __future__ import annotations

import click

from capsim.cli.options import Options, common


@click.command()
@click.argument("scenario", metavar="SCENARIO")
@common
def run(scenario: str, options: Options) -> None:
    """Predict the memory, the losses and the bill of SCENARIO: a TOML file, or a bundled scenario's name.

    \b
    Examples:
      capsim run after
      capsim run my.toml --trace access.log.gz --replicates 5 --out out
      capsim run my.toml --against saved/result.json
    """
    from capsim.base.errors import CapsimError
    from capsim.cli.execute import perform

    if scenario.endswith(".json"):
        raise CapsimError(f"{scenario}: is a saved result; give a scenario, or use capsim compare")
    perform([scenario], options, lambda results: results[0])

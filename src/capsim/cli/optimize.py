"""`capsim optimize`: the cheapest configuration that meets the targets."""

from __future__ import annotations

import click

from capsim.cli.options import Options, loaded


@click.command()
@click.argument("scenario", metavar="SCENARIO")
@click.option(
    "--slo", metavar="FILE", default="seed", show_default=True, help="Targets to meet: a TOML file, or a bundled name."
)
@loaded
def optimize(scenario: str, slo: str, options: Options) -> None:
    """Search for the cheapest configuration of SCENARIO that meets the targets over a month and in its stress envelope.

    \b
    Examples:
      capsim optimize recommended
      capsim optimize my.toml --slo my-targets.toml --replicates 3 --out out
    """
    from contextlib import nullcontext

    from capsim.base.files import folder, write_text
    from capsim.base.progress import Progress
    from capsim.cli.execute import deliver, with_load
    from capsim.show.optimize_page import overview, write
    from capsim.study import slo as targets
    from capsim.study.optimize import dumps
    from capsim.study.optimize import optimize as search

    wanted = targets.usable(targets.read(slo), slo)
    spec, trace = with_load(scenario, options)
    with folder(options.out) if options.out else nullcontext() as staging:
        with Progress(f"{spec.name}, configurations") as progress:
            found = search(
                spec, wanted, trace, seed=options.seed, replicates=options.replicates, progress=progress
            )
        if staging:
            write_text(staging / "optimum.json", dumps(found))
            write(found, staging)
    deliver(options, dumps(found), overview(found))

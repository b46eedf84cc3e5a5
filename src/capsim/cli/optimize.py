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

    from capsim import slo as targets
    from capsim.cli.job import with_load
    from capsim.files import folder, write_text
    from capsim.optimize import dumps
    from capsim.optimize import optimize as search
    from capsim.optimize.page import overview, write
    from capsim.pricing import plan_on, prices_on
    from capsim.progress import Progress
    from capsim.scenario import load

    wanted = targets.usable(targets.read(slo))
    loaded_scenario = load(scenario)
    plan_on(loaded_scenario.billing.plan, loaded_scenario.billing.from_date)
    prices_on(loaded_scenario.billing.from_date)
    spec, trace = with_load(loaded_scenario, options, {})
    with folder(options.out) if options.out else nullcontext() as staging:
        with Progress(f"{spec.name}, configurations") as progress:
            found = search(
                spec, wanted, trace, seed=options.seed, replicates=options.replicates, progress=progress
            )
        if staging:
            write_text(staging / "optimum.json", dumps(found))
            write(found, staging)
    if options.out:
        click.echo(f"capsim: wrote {options.out}", err=True)
    click.echo(dumps(found) if options.as_json else overview(found), nl=False)

"""`capsim findings`: what could break in one scenario."""

from __future__ import annotations

import click

from capsim.cli import FAILED
from capsim.cli.options import Options, loaded

ANY = "any"
# The kinds of capsim.study.findings.descriptions.WORDS, which takes too long to import here; a test holds them
# together.
KINDS = (
    "wedge", "stuck items", "longer flushes", "growing backlog", "pool starvation", "refused connections", "cap drops",
    "log lines lost", "batches given up", "uncounted loss", "shutdown loss", "heap exhausted", "container hang",
    "container kill", "restart loop", "no heap cap", "billed memory grows", "volume full",
)  # fmt: skip


@click.command()
@click.argument("scenario", metavar="SCENARIO")
@click.option(
    "--fail-on",
    type=click.Choice([ANY, *KINDS]),
    multiple=True,
    metavar="KIND",
    help=f"Exit 1 if such a finding exists; may be repeated. One of: {ANY}, {', '.join(KINDS)}.",
)
@click.option(
    "--slo", metavar="FILE", default="seed", show_default=True, help="Targets to check: a TOML file, or a bundled name."
)
@loaded
def findings(scenario: str, fail_on: tuple[str, ...], slo: str, options: Options) -> None:
    """Search by simulation for what could break in SCENARIO: the smallest trigger, what is lost, what helps.

    \b
    Examples:
      capsim findings after
      capsim findings my.toml --fail-on wedge --out out
    """
    from contextlib import nullcontext

    from capsim.base.files import folder, write_text
    from capsim.base.progress import Progress
    from capsim.cli.execute import deliver, with_load
    from capsim.show.findings_page import overview, write
    from capsim.study import slo as targets
    from capsim.study.findings import dumps, find

    wanted = targets.usable(targets.read(slo), slo)
    spec, trace = with_load(scenario, options)
    with folder(options.out) if options.out else nullcontext() as staging:
        with Progress(f"{spec.name}, findings") as progress:
            found = find(
                spec, trace, slo=wanted, seed=options.seed, replicates=options.replicates, progress=progress
            )
        if staging:
            write_text(staging / "findings.json", dumps(found))
            write(found, staging)
    deliver(options, dumps(found), overview(found))
    hits = [f for f in found.findings if ANY in fail_on or f.kind in fail_on]
    if hits:
        kinds = ", ".join(dict.fromkeys(f.kind for f in hits))
        click.echo(f"capsim: {found.name}: {len(hits)} findings that must not be: {kinds}", err=True)
        click.get_current_context().exit(FAILED)

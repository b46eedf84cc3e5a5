"""`capsim audit`: the plan's claims beside predictions, switch by switch."""

from __future__ import annotations

from pathlib import Path

import click

from capsim.cli.options import Options, audited


@click.command()
@click.option("--check", is_flag=True, help="Compare with data/audit; exit 1 with the differences if it would change.")
@audited
def audit(check: bool, options: Options) -> None:
    """Put a prediction beside every claim of the plan of 3 February 2026.

    Each with its interval, a verdict (supported, partly, not supported, not testable), and what would have to be true,
    solved by simulation. Then every change by itself, left out, and in the plan's order.

    \b
    Examples:
      capsim audit
      capsim audit --trace access.log.gz --out audit
    """
    from contextlib import nullcontext

    from capsim.base.errors import CapsimError
    from capsim.base.files import folder
    from capsim.base.paths import data_dir
    from capsim.base.progress import Progress
    from capsim.cli import FAILED
    from capsim.cli.execute import with_load
    from capsim.show.audit_drift import drift
    from capsim.show.audit_page import overview, write
    from capsim.study.audit import dumps, examine

    kept: Path = data_dir() / "audit"
    if check and (options.out or options.as_json):
        raise CapsimError("--check writes nothing and prints differences; leave --out and --json out")
    base, trace = with_load("before", options)
    with folder(options.out) if options.out else nullcontext() as staging:
        with Progress("audit") as progress:
            found = examine(base, trace, seed=options.seed, replicates=options.replicates, progress=progress)
        if staging:
            write(found, staging)
    if options.out:
        click.echo(f"capsim: wrote {options.out}", err=True)
    if not check:
        click.echo(dumps(found) if options.as_json else overview(found), nl=False)
        return
    lines = drift(kept, found)
    for line in lines:
        click.echo(line)
    if lines:
        click.echo(f"capsim: {kept}: {len(lines)} differences; make it again with capsim audit --out {kept}", err=True)
    else:
        click.echo(f"{len(found.claims)} claims are as they would be judged now")
    click.get_current_context().exit(FAILED if lines else 0)

"""`capsim validate`: what can be checked, checked."""

from __future__ import annotations

from pathlib import Path

import click

MOST_LINES = 10  # of differences shown for a case


@click.group()
def validate() -> None:
    """Check capsim against its witnesses; the last line is 'N passed, M failed'."""


@validate.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--engine", type=click.Choice(["model"]), default="model", show_default=True, help="What plays the cases.")
def oracle(files: tuple[Path, ...], engine: str) -> None:
    """Play recorded cases of the original writers and compare every field of what they did.

    FILES are JSON lists of cases; a failure names the case, the field, what was expected and what came.

    \b
    Example:
      capsim validate oracle tests/data/oracle/cases.json
    """
    from capsim.cli import FAILED
    from capsim.validation.oracle import differences, read_cases
    from capsim.validation.oracle_model import play

    cases = [case for path in files for case in read_cases(path)]
    failed = 0
    for case in cases:
        found = differences(case.expected, play(case))
        if found:
            failed += 1
            click.echo(f"{engine}: case {case.id} ({case.category}, {case.writer}, {case.semantics}):")
            for line in found[:MOST_LINES]:
                click.echo(f"  {line}")
            if len(found) > MOST_LINES:
                click.echo(f"  and {len(found) - MOST_LINES} more")
    click.echo(f"{len(cases) - failed} passed, {failed} failed")
    click.get_current_context().exit(FAILED if failed else 0)


@validate.command()
@click.option("--full", is_flag=True, help="Count how many of 200 intervals cover, in each cell; takes minutes.")
def theory(full: bool) -> None:
    """Hold the pool and the HTTP loop against queueing theory.

    The pool as M/M/c, the loop as M/M/1, M/D/1 and M/G/1, Little's law in every part; seeds are fixed.

    \b
    Example:
      capsim validate theory --full
    """
    from capsim.cli import FAILED
    from capsim.validation.theory import checks

    passed = failed = 0
    for check in checks(full=full):
        click.echo(f"{'ok    ' if check.passed else 'FAILED'} {check.text}")
        passed, failed = passed + check.passed, failed + (not check.passed)
    click.echo(f"{passed} passed, {failed} failed")
    click.get_current_context().exit(FAILED if failed else 0)

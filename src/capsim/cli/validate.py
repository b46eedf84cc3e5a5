"""`capsim validate`: what can be checked, checked."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

MOST_LINES = 10  # of differences shown for a case


@click.group()
def validate() -> None:
    """Check capsim against its witnesses; the last line is 'N passed, M failed'."""


@validate.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--engine",
    type=click.Choice(["model", "reference", "both"]),
    default="both",
    show_default=True,
    help="What plays the cases: the simulation, the running server in virtual time, or each; counted separately.",
)
def oracle(files: tuple[Path, ...], engine: str) -> None:
    """Play recorded cases of the original writers and compare every field of what they did.

    FILES are JSON lists of cases; a failure names the case, the field, what was expected and what came.

    \b
    Example:
      capsim validate oracle tests/data/oracle/cases.json
    """
    from capsim.cli import FAILED
    from capsim.validation.oracle import differences, read_cases

    cases = [case for path in files for case in read_cases(path)]
    engines = ("model", "reference") if engine == "both" else (engine,)
    failed = 0
    for name in engines:
        play = importlib.import_module(f"capsim.validation.oracle_{name}").play
        for case in cases:
            found = differences(case.expected, play(case))
            if found:
                failed += 1
                click.echo(f"{name}: case {case.id} ({case.category}, {case.writer}, {case.semantics}):")
                for line in found[:MOST_LINES]:
                    click.echo(f"  {line}")
                if len(found) > MOST_LINES:
                    click.echo(f"  and {len(found) - MOST_LINES} more")
    click.echo(f"{len(engines) * len(cases) - failed} passed, {failed} failed")
    click.get_current_context().exit(FAILED if failed else 0)


@validate.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Write a plot per run and checks.csv here.")
def memory(files: tuple[Path, ...], out: Path | None) -> None:
    """Simulate the load of measured processes and compare their memory.

    FILES are series in CSV, each with a companion FILE.run.toml that says what was measured (docs/measuring.md).

    \b
    Example:
      capsim validate memory tests/data/memory_runs/stand_in.csv
    """
    from contextlib import nullcontext

    from capsim.cli import FAILED
    from capsim.files import folder
    from capsim.validation.memory import check
    from capsim.validation.memory_screen import passed, text, write
    from capsim.validation.series import read_series

    runs = []
    for path in files:
        found, notes = read_series(path)
        runs += found
        for note in notes:
            click.echo(f"capsim: {note}", err=True)
    with folder(out) if out else nullcontext() as staging:
        checked = check(runs)
        if staging:
            write(checked, staging)
    click.echo(text(checked))
    good, bad = passed(checked)
    click.echo(f"\n{good} passed, {bad} failed")
    click.get_current_context().exit(FAILED if bad else 0)

"""`capsim validate`: what can be checked, checked."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from capsim.cli.options import FiniteRange

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

    from capsim.base.files import folder
    from capsim.cli import FAILED
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


@validate.command()
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO]...")
@click.option(
    "--trace",
    "traces",
    multiple=True,
    metavar="FILE",
    help="Loads of the matrix.  [default: the bundled ones]",
)
@click.option(
    "--real",
    "real_s",
    type=FiniteRange(0, 86_400),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="Length of each run in real time; 0 for none.",
)
@click.option(
    "--rate",
    "rate_hz",
    type=FiniteRange(0, 10_000, min_open=True),
    default=200.0,
    show_default=True,
    metavar="HZ",
    help="Load of the runs in real time.",
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="The address of chance.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of lines.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Write a page with plots, JSON and tables here."
)
def reference(
    scenarios: tuple[str, ...],
    traces: tuple[str, ...],
    real_s: float,
    rate_hz: float,
    seed: int,
    as_json: bool,
    out: Path | None,
) -> None:
    """Hold the model against the running reference: scenarios x loads x faults in virtual time, then in real time.

    SCENARIOs are files or bundled names [default: before after fixed]. In real time the reference writes to SQLite,
    and to PostgreSQL too if DATABASE_URL is set, with the cache in Redis if REDIS_URL is set; it takes as long as it
    says, and fills that database.

    \b
    Example:
      capsim validate reference after fixed --real 600 --rate 200 --out out
    """
    from contextlib import nullcontext

    from capsim.base.errors import CapsimError
    from capsim.base.files import folder
    from capsim.cli import FAILED

    try:
        from capsim.validation import matrix_screen
        from capsim.validation.matrix import matrix
    except ModuleNotFoundError as missing:
        raise CapsimError(f"validate reference needs {missing.name}; install capsim[server,postgres]") from None
    cells = []
    with folder(out) if out else nullcontext() as staging:
        for cell in matrix(scenarios, traces, real_s, rate_hz, seed):
            cells.append(cell)
            click.echo(matrix_screen.line(cell), err=as_json)
        if staging:
            matrix_screen.write(cells, seed, staging)
    passed, failed = matrix_screen.counted(cells)
    if as_json:
        click.echo(matrix_screen.document(cells, seed), nl=False)
    else:
        click.echo(f"{passed} passed, {failed} failed")
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

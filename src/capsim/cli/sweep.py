"""`capsim sweep`: one scenario at many points."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capsim.cli.options import Options, common_load

if TYPE_CHECKING:
    from capsim.base.intervals import Target
    from capsim.scenario.parameters import Parameter


@click.command()
@click.argument("scenario", metavar="SCENARIO")
@click.option(
    "--vary", multiple=True, metavar="KEY=V1,V2,...", help="Values to try; given again, every combination of them."
)
@click.option(
    "--design",
    default="grid",
    show_default=True,
    metavar="KIND",
    help="grid, list (values of all keys side by side), lhs:N or sobol:N points from the ranges.",
)
@click.option(
    "--range", "ranges", multiple=True, metavar="KEY=LO:HI[:log]", help="Range to draw from; ends may have units."
)
@click.option(
    "--replicates",
    type=click.IntRange(1, 100_000),
    metavar="N",
    default=1,
    show_default=True,
    help="Runs of each point with fresh chance, the same for all points; with --until the most.",
)
@click.option(
    "--until",
    metavar="FIGURE=WIDTH[%]",
    help="Replicates until half the 95 % interval of a figure is this narrow.",
)
@click.option("--month", is_flag=True, help="Simulate the billed month, and keep its figures.")
@click.option(
    "--workers", type=click.IntRange(1, 1_024), metavar="N", default=1, show_default=True, help="Processes here."
)
@click.option("--dask", metavar="ADDRESS", help='A Dask scheduler; "local" starts one here with a dashboard.')
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep every run as it is finished, and the table sweep.csv. Without it the table is printed.",
)
@click.option("--resume", is_flag=True, help="Go on from the runs that are finished in --out.")
@click.option("--yes", is_flag=True, help="Begin even a design of more than 10,000 runs.")
@click.option("--json", "as_json", is_flag=True, help="Print the runs as a JSON document.")
@common_load
def sweep(
    scenario: str,
    vary: tuple[str, ...],
    design: str,
    ranges: tuple[str, ...],
    replicates: int,
    until: str | None,
    month: bool,
    workers: int,
    dask: str | None,
    out: Path | None,
    resume: bool,
    yes: bool,
    as_json: bool,
    options: Options,
) -> None:
    """Run SCENARIO at many points: a row a point and replicate, written as it goes, the same on any engine.

    \b
    Examples:
      capsim sweep after --vary server.pool.limit=2,5,10 --replicates 5 --out pools
      capsim sweep my.toml --design sobol:64 --range workload.rate_hz=1:100:log --workers 4 --out load
      capsim sweep my.toml --vary database.insert.call_ms=5,50 --dask tcp://10.0.0.5:8786 --out latency --resume
    """
    from capsim.base.errors import CapsimError
    from capsim.base.progress import Progress
    from capsim.cli import INTERRUPTED, fail
    from capsim.cli.execute import with_load
    from capsim.study.sweeps.run import TABLE, Interrupted, csv
    from capsim.study.sweeps.run import sweep as run_sweep

    if resume and out is None:
        raise CapsimError("--resume goes on from a folder; name it with --out")
    base, trace = with_load(scenario, options)
    values = {key: [_value(key, text) for text in given.split(",")] for key, given in _pairs("--vary", vary)}
    spans = {key: _range(key, given) for key, given in _pairs("--range", ranges)}
    target = _target(until)

    def announce(link: str) -> None:
        click.echo(f"capsim: dashboard of the cluster: {link}", err=True)

    try:
        with Progress(f"sweep of {base.name}") as progress:
            table = run_sweep(
                base,
                values,
                ranges=spans,
                design=design,
                trace=trace,
                seed=options.seed,
                replicates=replicates,
                until=target,
                month=month,
                workers=workers,
                dask=dask,
                out=out,
                resume=resume,
                yes=yes,
                progress=progress,
                announce=announce,
            )
    except Interrupted as stopped:
        if out is None:
            click.echo(csv(stopped.table), nl=False)
            fail(f"interrupted; printed the runs that are done: {stopped.done} of {stopped.total}", code=INTERRUPTED)
        fail(f"interrupted; {stopped.done} of {stopped.total} runs are kept in {out}: --resume", code=INTERRUPTED)
    if as_json:
        from capsim.base.document import dumps
        from capsim.study.sweeps.document import document_of

        click.echo(dumps(document_of(table)), nl=False)
    elif out is None:
        click.echo(csv(table), nl=False)
    if out is not None:
        click.echo(f"capsim: wrote {out / TABLE}: {len(table):,} runs", err=True)


def _pairs(option: str, given: tuple[str, ...]) -> list[tuple[str, str]]:
    from capsim.base.errors import CapsimError

    found: list[tuple[str, str]] = []
    for text in given:
        key, equals, rest = text.partition("=")
        if not equals or not key or not rest:
            raise CapsimError(f"{option} {text}: is not KEY=..., for example {option} {_EXAMPLES[option]}")
        if key in [other for other, _ in found]:
            raise CapsimError(f"{option} {key}: is given twice; write all of it once")
        found.append((key.strip(), rest.strip()))
    return found


_EXAMPLES = {"--vary": "server.pool.limit=2,5,10", "--range": "workload.rate_hz=1:100:log"}


def _value(name: str, text: str) -> Any:
    """A value as a scenario file would have it; a number with a unit is converted into the key's own."""
    from capsim.study.sweeps.point import key_of

    key, text = key_of(name), text.strip()
    if text in ("true", "false") and "number" not in key.accepts:
        return text == "true"
    number = _number(key, text)
    if number is None or "number" not in key.accepts:
        return text.strip("\"'")
    return int(number) if number == int(number) and "a number" not in key.accepts else number


def _number(key: Parameter, text: str) -> float | None:
    from capsim.base.errors import CapsimError
    from capsim.scenario.parameters import UNITS, split_unit

    match = re.fullmatch(r"([-+]?(?:\d+(?:_\d+)*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([A-Za-z]+)?", text)
    if match is None:
        return None
    number, unit = float(match[1]), (match[2] or "").lower()
    if not unit:
        return _finite(key, text, number)
    own = split_unit(key.name.rpartition(".")[2])[1]
    if unit not in UNITS or not own or UNITS[unit][0] != UNITS[own][0]:
        has = f"is in {UNITS[own][2]}" if own else "has no unit"
        raise CapsimError(f"{key.name}: {text} cannot be converted: the key {has}")
    return _finite(key, text, float(f"{number * UNITS[unit][1] / UNITS[own][1]:.12g}"))


def _finite(key: Parameter, text: str, number: float) -> float:
    from capsim.base.errors import CapsimError

    if math.isinf(number):
        raise CapsimError(f"{key.name}: {text} is beyond all numbers; give a smaller one")
    return number


def _range(name: str, text: str) -> tuple[Any, ...]:
    from capsim.base.errors import CapsimError
    from capsim.study.sweeps.point import key_of

    key = key_of(name)
    parts = text.split(":")
    ends = [_number(key, part.strip()) for part in parts[:2]]
    if len(parts) not in (2, 3) or None in ends or (len(parts) == 3 and parts[2] != "log"):
        raise CapsimError(f"--range {name}={text}: is not LO:HI or LO:HI:log, for example {_EXAMPLES['--range']}")
    return (*ends, *parts[2:])


def _target(text: str | None) -> Target | None:
    from capsim.base.errors import CapsimError
    from capsim.base.intervals import Target

    if text is None:
        return None
    figure, _, width = text.partition("=")
    match = re.fullmatch(r"(\d+\.?\d*(?:[eE][-+]?\d+)?)\s*(%?)", width.strip())
    if match is None or float(match[1]) <= 0:
        raise CapsimError(f"--until {text}: is not FIGURE=WIDTH, for example --until server_rss_mean_mib=1%")
    return Target(figure.strip(), float(match[1]) / (100 if match[2] else 1), relative=bool(match[2]))

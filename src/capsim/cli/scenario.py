"""`capsim scenario`: are these files valid, what can be set, and the schema for editors."""

from __future__ import annotations

import json

import click


@click.group()
def scenario() -> None:
    """Check and show scenario files, and list what can be set in them.

    Example: capsim scenario check my.toml
    """


@scenario.command(short_help="Say of each FILE whether it is valid.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def check(files: tuple[str, ...]) -> None:
    """Say of each FILE (or bundled name) whether it is valid, with warnings; exit 2 if one is not.

    Example: capsim scenario check before after my.toml
    """
    from capsim.base.errors import CapsimError, ScenarioError
    from capsim.cli.execute import billable
    from capsim.scenario.file import load, warnings

    problems: list[str] = []
    for file in files:
        try:
            scenario = billable(load(file))
            found = warnings(scenario)
        except CapsimError as error:
            problems += error.problems
            continue
        click.echo(f"{file}: valid" + (f", {len(found)} warning{'s' * (len(found) > 1)}" if found else ""))
        for line in found:
            click.echo(f"{file}: warning: {line}")
    if problems:
        raise ScenarioError(*problems)


@scenario.command(short_help="Print a scenario, to begin one of your own.")
@click.argument("name", metavar="SCENARIO")
def show(name: str) -> None:
    """Print SCENARIO (a file or a bundled name) as it is written, with its remarks: the begin of one of your own.

    Example: capsim scenario show after > my.toml
    """
    from capsim.scenario.file import load, source_of

    load(name)  # refused in words if it is none
    click.echo(source_of(name), nl=False)


@scenario.command(short_help="Print the JSON Schema of scenario files.")
def schema() -> None:
    """Print the JSON Schema of scenario files, as data/schema/scenario.schema.json keeps it.

    Example: capsim scenario schema > scenario.schema.json
    """
    from capsim.scenario.file import schema as scenario_schema

    click.echo(json.dumps(scenario_schema(), indent=2, ensure_ascii=False))


@scenario.command(short_help="List every key with its unit.")
def keys() -> None:
    """List every key of a scenario file: default, unit, meaning, what it accepts.

    Example: capsim scenario keys
    """
    import shutil
    import sys
    import textwrap

    from capsim.scenario.file import keys as all_keys

    columns = max(40, shutil.get_terminal_size().columns) if sys.stdout.isatty() else 100
    for key in all_keys():
        default = f"({key.default})" if key.default in ("required", "none given") else f"= {key.default}"
        about = f"    {key.meaning}. {f'In {key.unit}: ' if key.unit else 'Give '}{key.accepts}."
        for text in (f"{key.name} {default}", about):
            click.echo(textwrap.fill(text, columns, subsequent_indent="    ", break_on_hyphens=False))

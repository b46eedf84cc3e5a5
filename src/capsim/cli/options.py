"""The options that every simulating command shares, and what is done with them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import click


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was asked for on the command line, besides the scenarios."""

    trace: str | None
    scale: float | None
    from_: str | None
    to: str | None
    seed: int
    replicates: int
    fidelity: Literal["exact", "law"]
    month: bool | None
    out: Path | None
    as_json: bool = False
    against: Path | None = None


class FiniteRange(click.FloatRange):
    """A range that refuses NaN, which no comparison finds outside of it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check one value."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return number


_DECORATORS = (
    click.option(
        "--trace",
        metavar="FILE",
        help="A recorded load, or a bundled one's name, instead of the scenario's.",
    ),
    click.option(
        "--scale",
        type=FiniteRange(min=0, min_open=True, max=1e6),
        metavar="X",
        help="Multiply the load: below 1 thins it, above 1 superposes copies.",
        show_default="the scenario's",
    ),
    click.option("--from", "from_", metavar="T", help="Use the trace from this instant (ISO 8601, or 2h, 1d) on."),
    click.option("--to", metavar="T", help="Use the trace up to this instant."),
    click.option(
        "--seed",
        type=click.IntRange(min=0),
        metavar="N",
        default=0,
        show_default=True,
        help="The address of all chance.",
    ),
    click.option(
        "--replicates",
        type=click.IntRange(1, 1_000),
        metavar="N",
        default=1,
        show_default=True,
        help="Runs with fresh chance; from 2 on, means with 95 % intervals.",
    ),
    click.option(
        "--fidelity",
        type=click.Choice(["exact", "law"]),
        default="exact",
        show_default=True,
        help="law: draw only what decides, for Poisson loads (rate_hz); much faster.",
    ),
    click.option(
        "--month/--no-month",
        default=None,
        help="Repeat the load for a billed month, or simulate it once.  [default: a month, but of a trace below a day]",
    ),
    click.option(
        "--out",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Write result.json, CSV tables and a report with plots here, all of them or none.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of tables."),
    click.option(
        "--against",
        type=click.Path(path_type=Path),
        metavar="SAVED.json",
        help="Compare with a saved document; exit 1 and show what drifted if any number differs.",
    ),
)


def common(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the shared options, as one `Options`."""
    return _given(command, but=())


def loaded(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the shared options but --against, as one `Options`."""
    return _given(command, but=("against", "month"))


def common_load(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the shared options of its load and its chance, and not those of a result document."""
    return _given(command, but=("replicates", "out", "as_json", "against", "month"))


def audited(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the shared options of a load, its chance and its output; replicates are three unless said."""
    replicates = click.option(
        "--replicates",
        type=click.IntRange(1, 1_000),
        metavar="N",
        default=3,
        show_default=True,
        help="Runs with fresh chance of what is claimed; from 2 on, with 95 % intervals.",
    )
    return _given(command, but=("fidelity", "against", "month"), instead={"replicates": replicates})


def _given(
    command: Callable[..., None], but: tuple[str, ...], instead: Mapping[str, Callable[..., Any]] | None = None
) -> Callable[..., None]:
    names = [field.name for field in fields(Options)]

    @functools.wraps(command)
    def wrapper(**given: Any) -> None:
        mine: dict[str, Any] = {"replicates": 1, "out": None, "fidelity": "exact", "month": None}
        mine |= {name: given.pop(name) for name in names if name not in but}
        command(**given, options=Options(**mine))

    for name, decorator in reversed(list(zip(names, _DECORATORS, strict=True))):
        if name not in but:
            wrapper = (instead or {}).get(name, decorator)(wrapper)
    return wrapper

"""Results beside each other: differences against the first, and drift against a saved document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import zip_longest
from typing import NamedTuple

from capsim.base.document import rounded
from capsim.base.errors import CapsimError
from capsim.results.conditions import Side, check_equal, flat
from capsim.results.document import (
    Account,
    Comparison,
    Difference,
    Document,
    Result,
    RunLike,
    result_of,
    results_of,
)
from capsim.results.window_tables import Window

_ITEMS = tuple(name for name in Account.model_fields if name not in ("writer", "half_width"))


class Figure(NamedTuple):
    """The address of one number in a result; equal addresses are compared."""

    section: str
    window: Window | None
    name: str
    unit: str


class Drift(NamedTuple):
    """A number that is no longer what was saved; None where one side lacks it."""

    field: str
    saved: float | None
    now: float | None

    @property
    def relative(self) -> float | None:
        """Change as a share of the saved number, or None where that is 0 or absent."""
        if not self.saved or self.now is None:
            return None
        return (self.now - self.saved) / abs(self.saved)


def figures(result: Result) -> dict[Figure, float | None]:
    """The numbers of a result that a reader compares, in the order in which it tells them."""
    found: dict[Figure, float | None] = {}
    for window, metrics in result.summary.items():
        for row in metrics:
            found[Figure("summary", window, row.metric, row.unit)] = row.value
    for account in result.accounting:
        for name in _ITEMS:
            found[Figure("accounting", None, f"{account.writer} {name}", "items")] = getattr(account, name)
    for test in result.stress:
        found[Figure("stress", None, f"{test.test}: {test.metric}", test.unit)] = test.value
    for window, lines in result.bill.items():
        for line in lines:
            name = f"{line.service} {line.line}"
            found[Figure("bill", window, f"{name} quantity", line.unit)] = line.quantity
            for column in ("amount_usd", "lower_usd", "upper_usd"):
                figure = Figure("bill", window, f"{name} {column.removesuffix('_usd')}", "USD")
                found[figure] = getattr(line, column)
    return found


def compare(sides: Mapping[str, Result | RunLike] | Sequence[Result | RunLike]) -> Comparison:
    """Put results side by side; the first is what the others are measured against.

    Parameters
    ----------
    sides : mapping or sequence of Result or Run
        Two or more. The keys of a mapping become the names of the sides; equal names are numbered.

    Returns
    -------
    Comparison
        The results, and for every figure that any of them has: values, differences and ratios.

    Raises
    ------
    CapsimError
        With fewer than two sides, or if they do not meet one load, one mix, one rate of reads and one stress test; see
        `capsim.results.conditions`.
    """
    named = list(sides.items()) if isinstance(sides, Mapping) else [(None, side) for side in sides]
    if len(named) < 2:
        raise CapsimError(f"a comparison needs two sides or more, not {len(named)}; name another scenario")
    results: list[Result] = []
    for name, side in named:
        result = side if isinstance(side, Result) else result_of([side])
        taken = {other.name for other in results}
        label = base = name or result.name
        number = 1
        while label in taken:
            number += 1
            label = f"{base} ({number})"
        results.append(result if label == result.name else result.model_copy(update={"name": label}))
    check_equal([Side.of_result(result) for result in results])
    return Comparison(
        capsim_version=version("capsim"), results=tuple(results), differences=tuple(_differences(results))
    )


def _differences(results: Sequence[Result]) -> Iterator[Difference]:
    columns = [figures(result) for result in results]
    for figure in dict.fromkeys(figure for column in columns for figure in column):
        values = tuple(column.get(figure) for column in columns)
        first = values[0]
        yield Difference(
            section=figure.section,
            window=figure.window,
            figure=figure.name,
            unit=figure.unit,
            values=values,
            difference=tuple(None if v is None or first is None else rounded(v - first) for v in values),
            ratio=tuple(None if v is None or not first else rounded(v / first) for v in values),
        )


def drift(saved: Document, now: Document) -> list[Drift]:
    """Every number of a document that differs from the saved one; tolerance zero, as published.

    Parameters
    ----------
    saved, now : Result or Comparison
        Of the same kind and with the same number of results.

    Returns
    -------
    list of Drift
        Empty when nothing changed. Texts, warnings and versions are not compared: a new wording is no drift.

    Raises
    ------
    CapsimError
        If the two are not the same kind of document.
    """
    before, after = results_of(saved), results_of(now)
    check_alike(saved, [result.name for result in after])
    return [
        change._replace(field=f"{new.name}: {change.field}") if len(after) > 1 else change
        for old, new in zip(before, after, strict=True)
        for change in _drift_of(old, new)
    ]


def check_alike(saved: Document, names: Sequence[str], place: str = "the saved document") -> None:
    """Refuse a saved document whose numbers cannot be set beside those of a job, before the job is run.

    Parameters
    ----------
    saved : Result or Comparison
        What was kept.
    names : sequence of str
        The sides of the job; one makes a run, more a comparison.
    place : str
        What to call the saved document: its file.

    Raises
    ------
    CapsimError
        If the two are not the same kind of document, or have not the same number of sides.
    """
    kept = [result.name for result in results_of(saved)]
    if len(kept) != len(names):
        raise CapsimError(
            f"{place} holds {_described(kept)}, this command makes {_described(names)}; "
            "give a document that the same command wrote"
        )


def _drift_of(old: Result, new: Result) -> Iterator[Drift]:
    left, right = figures(old), figures(new)
    for figure in dict.fromkeys([*left, *right]):
        if left.get(figure) != right.get(figure) or (figure in left) != (figure in right):
            place = ".".join(part for part in (figure.section, figure.window) if part)
            field = f"{place}: {figure.name} [{figure.unit}]"
            yield Drift(field, left.get(figure), right.get(figure))
    then, now = _series(old), _series(new)
    for name in dict.fromkeys([*then, *now]):
        # A series is one row, not thousands: how many steps moved, and the one that moved most.
        pairs = list(zip_longest(then.get(name, ()), now.get(name, ())))
        moved = [step for step, (a, b) in enumerate(pairs) if a != b]
        if moved:
            most = max(moved, key=lambda step: abs((pairs[step][0] or 0) - (pairs[step][1] or 0)))
            yield Drift(f"{name}, {len(moved)} of {len(pairs)} steps, most in step {most + 1}", *pairs[most])


def changed_inputs(saved: Document, now: Document) -> list[str]:
    """Why numbers may have drifted: the parts of the provenance that differ, one sentence each.

    Returns
    -------
    list of str
        Such as ``after: seed was 1, is 2``; versions included.
    """
    return [
        f"{new.name}: {key} was {_short(left.get(key))}, is {_short(right.get(key))}"
        for old, new in zip(results_of(saved), results_of(now), strict=False)
        for left, right in [(flat(old.provenance), flat(new.provenance))]
        for key in dict.fromkeys([*left, *right])
        if left.get(key) != right.get(key)
    ]


def unlike(results: Sequence[Result]) -> list[str]:
    """Sides whose chance is not that of the first, so that some of their differences are luck.

    Returns
    -------
    list of str
        Such as ``after: seed is 2, that of before 1``; empty when all share one seed.
    """
    first, *others = results
    mine = _shared(first)
    return [
        f"{other.name}: {key} is {_short(theirs[key])}, that of {first.name} {_short(mine[key])}"
        for other in others
        for theirs in [_shared(other)]
        for key in mine
        if theirs[key] != mine[key]
    ]


def _shared(result: Result) -> dict[str, object]:
    """What the sides of a fair comparison have in common, besides `capsim.results.conditions`."""
    return {"seed": result.provenance.get("seed"), "replicates": result.replicates}


def _described(names: Sequence[str]) -> str:
    return f"a {'run' if len(names) == 1 else 'comparison'} ({', '.join(names)})"


def _series(result: Result) -> dict[str, tuple[float | None, ...]]:
    return {
        f"series.{window}: {series.series} {statistic} every {block.step_s:g} s [{series.unit}]": values
        for window, block in result.series.items()
        for series in block.series
        for statistic, values in (("mean", series.mean), ("max", series.max))
    }


def _short(value: object) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."

"""What a reader is given (a file, what was asked of it) and what it gives back."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any

from capsim.base.errors import TraceError
from capsim.workload.instants import Stamps
from capsim.workload.lines import Broken, hidden
from capsim.workload.model import MOST_ITEMS
from capsim.workload.requests import Columns

AS = ("count", "rate", "counter")


@dataclass(frozen=True)
class Asked:
    """How the user wants files read; None is for the content to decide."""

    format: str | None = None
    column: str | None = None
    value: str | None = None
    field: str | None = None
    zone: str | None = None
    dates: str | None = None
    as_: str | None = None
    where: str | None = None

    def __post_init__(self) -> None:
        if self.as_ not in (None, *AS):
            raise TraceError(f"as {self.as_!r} is unknown; give one of {', '.join(AS)}")
        if self.dates not in (None, "dmy", "mdy"):
            raise TraceError(f"dates {self.dates!r} is unknown; give dmy (day first) or mdy (month first)")

    @property
    def condition(self) -> tuple[str, str | None] | None:
        """What a line must have to be counted: a field, and a pattern for its value."""
        if self.where is None:
            return None
        name, equals, pattern = self.where.partition("=")
        if not name.strip():
            raise TraceError(f"where {self.where[:40]!r} names no field; give FIELD=VALUE, or FIELD alone")
        return name.strip(), pattern.strip() if equals else None


def fits(value: object, pattern: str | None) -> bool:
    """Whether a field's value is there, and like the pattern.

    Examples
    --------
    >>> fits("http.log.access.log0", "http.log.access*"), fits(None, None)
    (True, False)
    """
    if value is None or pattern is None:
        return value is not None
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return fnmatchcase(text, pattern)


@dataclass
class Found:
    """What a reader collected: instants in file order, and counts beside them if the file has bins."""

    times_us: array[int] = field(default_factory=lambda: array("q"))
    counts: array[int] | None = None
    lines: int = 0
    notes: list[str] = field(default_factory=list)
    columns: Columns | None = None  # what else the lines say; only if asked for
    width_us: int | None = None  # of the bins, where the file tells it


@dataclass
class Source:
    """One file that is being read."""

    path: Path
    name: str  # as the user gave it
    broken: Broken
    stamps: Stamps
    asked: Asked
    columns: Columns | None = None

    def refuse(self, what: str, number: int | None = None) -> TraceError:
        """A refusal that names the file, and the line if there is one."""
        return TraceError(f"{self.name}: {f'line {number}: ' if number else ''}{what}")

    def no_where(self) -> None:
        """Refuse a condition on fields, of a format whose lines have none.

        Raises
        ------
        TraceError
            If there is a condition.
        """
        if self.asked.where is not None:
            raise self.refuse("its lines have no named fields for --where to choose among; grep the lines first")

    def bounded(self, found: Found, number: int) -> None:
        """Refuse a file with more requests than can be held.

        Raises
        ------
        TraceError
            With the line at which it is too much.
        """
        if len(found.times_us) > MOST_ITEMS:
            raise self.refuse(
                f"more than {MOST_ITEMS} requests; cut the file into parts, or count them per minute first", number
            )


def some(names: Iterable[Any]) -> str:
    """The first names for an error message, whatever the file holds."""
    return ", ".join(hidden(str(name))[:40] for name in islice(names, 12))

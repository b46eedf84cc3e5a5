"""What the sides of a comparison meet, and what they are: every key in which their scenarios differ.

Conditions come from outside (load, mix, reads, stress test, faults, dates); everything else is configuration. A
difference between two results says something about the configuration only where the conditions are equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from capsim.base.document import published
from capsim.base.errors import CapsimError
from capsim.scenario.scenario import Scenario

if TYPE_CHECKING:
    from capsim.results.document import Result

SHARED = ("workload", "stress")  # tables that all sides must have in common
OUTSIDE = (*SHARED, "database.faults", "database.bursts", "redis.faults", "server.lifecycle", "billing.from")
_TRACE = "workload.trace"
_LABELS = ("name", "title", "schema_version", "calibration")  # say nothing that a run depends on


class Key(NamedTuple):
    """A key whose value is not the same on all sides: a value a side, None where it is absent."""

    name: str
    values: tuple[object, ...]

    @property
    def is_condition(self) -> bool:
        """Whether it comes from outside."""
        return _within(self.name, OUTSIDE)

    @property
    def must_agree(self) -> bool:
        """Whether a comparison is refused for it."""
        return _within(self.name, SHARED)


class Side(NamedTuple):
    """A side by its name: the keys of its scenario as simulated, and what its load was made from."""

    name: str
    keys: Mapping[str, object]
    sha256: str | None = None  # of its trace
    span_s: float | None = None

    @classmethod
    def of_scenario(cls, name: str, scenario: Scenario, sha256: str | None, span_s: float | None) -> Side:
        """One that is still to be simulated."""
        return cls(name, flat(published(scenario.model_dump(mode="json", by_alias=True))), sha256, span_s)

    @classmethod
    def of_result(cls, result: Result) -> Side:
        """One that has been simulated, perhaps long ago: keys that it did not know have their default."""
        kept = result.provenance.get("scenario") or {}
        try:
            side = cls.of_scenario(result.name, Scenario.model_validate(kept), None, None)
        except ValidationError:
            side = cls(result.name, flat(kept))
        load = result.provenance.get("load")
        sha256 = load.get("sha256") if isinstance(load, Mapping) else None
        return side._replace(sha256=sha256, span_s=result.trace_span_s)


def differing(sides: Sequence[Side]) -> list[Key]:
    """Every key that is not the same on all sides, conditions first.

    Examples
    --------
    >>> from capsim.scenario.file import load
    >>> scenario = load("after")
    >>> two = [Side.of_scenario(str(n), scenario.replace("server.pool.limit", n), None, None) for n in (10, 20)]
    >>> [(key.name, key.values, key.is_condition) for key in differing(two)]
    [('server.pool.limit', (10, 20), False)]
    """
    found = []
    # A trace is what is in it: a file of another name may be the same, one of the same name another.
    if len({side.sha256 for side in sides}) > 1:
        texts = [side.sha256 and f"{side.keys.get(_TRACE)} (sha256 {side.sha256[:12]})" for side in sides]
        found.append(Key(_TRACE, tuple(texts)))
    for name in dict.fromkeys(name for side in sides for name in side.keys):
        values = tuple(side.keys.get(name) for side in sides)
        if name.partition(".")[0] in _LABELS or name == _TRACE or all(value == values[0] for value in values):
            continue
        found.append(Key(name, values))
    spans = {side.span_s for side in sides}
    if len(spans) > 1 and None not in spans and not any(key.must_agree for key in found):
        found.append(Key("workload: length [s]", tuple(side.span_s for side in sides)))
    return sorted(found, key=lambda key: not key.is_condition)


def check_equal(sides: Sequence[Side]) -> None:
    """Refuse sides that do not meet one load, one mix, one rate of reads and one stress test.

    Raises
    ------
    CapsimError
        One line for each key that differs.
    """
    first = sides[0].name
    lines = [
        f"{side.name}: {key.name} is {told(value)}, that of {first} is {told(key.values[0])}"
        for key in differing(sides)
        if key.must_agree
        for side, value in zip(sides, key.values, strict=True)
        if value != key.values[0]
    ]
    if lines:
        raise CapsimError(
            *lines,
            "sides that meet different conditions cannot be compared; make these keys equal, or let "
            "`capsim compare ... --conditions SIDE` take [workload] and [stress] of one scenario for all of them",
        )


def told(value: object) -> str:
    """A value as a table shows it.

    Examples
    --------
    >>> told(None), told(True), told(0.6)
    ('absent', 'true', '0.6')
    """
    if value is None:
        return "absent"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"{len(value)} of them" if value else "none"
    text = f"{value:.9g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _within(name: str, tables: Sequence[str]) -> bool:
    return any(name == table or name.startswith((f"{table}.", f"{table}:")) for table in tables)


def flat(value: Any, prefix: str = "") -> dict[str, object]:
    """Nested tables as one, by dotted keys; what is None is absent.

    Examples
    --------
    >>> flat({"a": {"b": 1, "c": None}})
    {'a.b': 1}
    """
    if not isinstance(value, Mapping):
        return {} if value is None else {prefix: list(value) if isinstance(value, tuple) else value}
    found: dict[str, object] = {}
    for key, item in value.items():
        found |= flat(item, f"{prefix}.{key}" if prefix else str(key))
    return found

"""The knobs of a scenario: what each key means, in which unit, and what it accepts.

Everything here is read off the JSON Schema of the specs, so the list of keys, the editor's completion and the
wording of errors cannot disagree.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from capsim.base.toml_text import shown

if TYPE_CHECKING:
    import pandas as pd

# Suffix of a key: what it measures, how large one is among its kind, and how a reader would say it.
UNITS: dict[str, tuple[str, float, str]] = {
    "us": ("time", 1, "microseconds"),
    "ms": ("time", 1e3, "milliseconds"),
    "s": ("time", 1e6, "seconds"),
    "sec": ("time", 1e6, "seconds"),
    "seconds": ("time", 1e6, "seconds"),
    "min": ("time", 6e7, "minutes"),
    "minutes": ("time", 6e7, "minutes"),
    "h": ("time", 3.6e9, "hours"),
    "hours": ("time", 3.6e9, "hours"),
    "bytes": ("size", 1, "bytes"),
    "kb": ("size", 1e3, "kB (10^3 bytes)"),
    "mb": ("size", 1e6, "MB (10^6 bytes)"),
    "gb": ("size", 1e9, "GB (10^9 bytes)"),
    "kib": ("size", 2**10, "KiB (2^10 bytes)"),
    "mib": ("size", 2**20, "MiB (2^20 bytes)"),
    "gib": ("size", 2**30, "GiB (2^30 bytes)"),
    "hz": ("rate", 1, "per second"),
    "per_s": ("rate", 1, "per second"),
    "per_min": ("rate", 1 / 60, "per minute"),
    "rows": ("count", 1, "rows"),
    "usd": ("money", 1, "US dollars"),
}


@dataclass(frozen=True)
class Parameter:
    """One key of a scenario file: dotted name, what it accepts, its default, its unit and its meaning."""

    name: str
    accepts: str
    default: str
    unit: str
    meaning: str


@cache  # a search makes thousands of variants, and each is validated with its schema
def _schema(spec: type[BaseModel]) -> dict[str, Any]:
    return spec.model_json_schema()


@dataclass(frozen=True)
class SchemaNode:
    """A place in the JSON Schema of a spec, with the definitions that it refers to."""

    body: dict[str, Any]
    definitions: dict[str, Any]

    @classmethod
    def of(cls, spec: type[BaseModel]) -> SchemaNode:
        """The root of a spec's schema."""
        body = _schema(spec)
        return cls(body, body.get("$defs", {}))

    @property
    def resolved(self) -> dict[str, Any]:
        """This place with its reference followed; of "X or nothing", X."""
        body = self.body
        branches = [b for b in body.get("anyOf", ()) if b.get("type") != "null"]
        if len(branches) == 1:
            body = branches[0]
        if "$ref" in body:
            found: dict[str, Any] = self.definitions[body["$ref"].rsplit("/", 1)[1]]
            return found
        return body

    @property
    def children(self) -> dict[str, SchemaNode]:
        """The keys of a table, by name; empty for anything else."""
        properties = self.resolved.get("properties", {})
        return {name: SchemaNode(body, self.definitions) for name, body in properties.items()}

    @property
    def item(self) -> SchemaNode | None:
        """What an array holds, or None where this is no array."""
        items = self.resolved.get("items")
        return None if items is None else SchemaNode(items, self.definitions)

    def branches(self) -> list[dict[str, Any]]:
        """The alternatives that a value may take, without "nothing"."""
        body = self.resolved
        return [b for b in body.get("anyOf", (body,)) if b.get("type") != "null"]

    @property
    def choices(self) -> list[Any]:
        """The values that are spelled out, for example the plans."""
        return [
            c
            for b in self.branches()
            for c in (b["enum"] if "enum" in b else [b["const"]] if "const" in b else [])
        ]

    def accepts(self) -> str:
        """What may stand here, in words."""
        return " or ".join(_accepts(branch) for branch in self.branches())


def _accepts(branch: dict[str, Any]) -> str:
    if "enum" in branch or "const" in branch:
        values = branch.get("enum") or [branch["const"]]
        return (", ".join(map(shown, values[:-1])) + " or " if values[1:] else "") + shown(values[-1])
    match branch.get("type"):
        case "integer" | "number" as kind:
            return ("a whole number" if kind == "integer" else "a number") + _bounds(branch)
        case "string" if branch.get("format") == "date":
            return 'a date such as "2026-02-03"'
        case "string" if "pattern" in branch:
            return f"text of {branch['minLength']} to {branch['maxLength']} letters, digits, spaces and . _ -"
        case "string":
            return "text"
        case "boolean":
            return "true or false"
        case "array" if "$ref" in branch["items"]:
            return "an array of tables"
        case "array":
            return f"a list, each {_accepts(branch['items'])}"
        case "object" if isinstance(branch.get("additionalProperties"), dict):
            return f"a table of names, each {_accepts(branch['additionalProperties'])}"
    return "a table"


def _bounds(branch: dict[str, Any]) -> str:
    low, high = branch.get("minimum"), branch.get("maximum")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" of at least {low}"
    above = branch.get("exclusiveMinimum")
    to = "" if high is None else f" up to {high}"
    return to if above is None else f" above {above}{to}"


def split_unit(key: str) -> tuple[str, str]:
    """Stem and unit suffix of a key; the suffix is empty where the key has none.

    Examples
    --------
    >>> split_unit("delay_ms"), split_unit("rate_per_s"), split_unit("limit")
    (('delay', 'ms'), ('rate', 'per_s'), ('limit', ''))
    """
    for suffix in sorted(UNITS, key=len, reverse=True):
        if key.endswith("_" + suffix):
            return key.removesuffix("_" + suffix), suffix
    return key, ""


def suggestion(root: SchemaNode, table: str, key: str, value: Any, siblings: dict[str, SchemaNode]) -> str:
    """What to write for an unknown key: another unit, a near spelling, another table, or the keys here."""
    stem, suffix = split_unit(key.lower())
    for other in siblings:
        other_stem, unit = split_unit(other)
        if other_stem == stem and unit:
            kind, size, words = UNITS[unit]
            if suffix and UNITS[suffix][0] == kind and isinstance(value, int | float):
                converted = value * UNITS[suffix][1] / size
                if any(b.get("type") == "integer" for b in siblings[other].branches()):
                    converted = round(converted)
                return f"{other} is in {words}: write {other} = {converted:.10g}"
            return f"did you mean {other} ({words})?"
    near = difflib.get_close_matches(key.lower(), siblings, n=1)
    if near:
        return f"did you mean {shown_table(table, near[0]) if isinstance(value, dict) else near[0]}?"
    elsewhere = [k.name.rpartition(".")[0] for k in walk(root) if k.name.rpartition(".")[2] == key]
    if elsewhere:
        return f"{key} belongs to {' or '.join(f'[{place}]' if place else 'the top' for place in elsewhere)}"
    return f"keys here: {', '.join(siblings)}"


def shown_table(table: str, key: str) -> str:
    """The header of a table below another one."""
    return f"[{table}.{key}]" if table else f"[{key}]"


def walk(node: SchemaNode, prefix: str = "", default: Any = None) -> Iterator[Parameter]:
    """Every key below a place, in the order of the specs; arrays of tables are marked with ``[]``."""
    required = set(node.resolved.get("required", ()))
    for name, child in node.children.items():
        own = child.body.get("default")
        # The parent's default (of the insert, say) holds while its table is left out; then the key's own.
        outer = default[name] if isinstance(default, dict) and name in default else own
        inner = child.item or child
        if inner.children:
            yield from walk(inner, f"{prefix}{name}{'[]' if child.item else ''}.", outer)
            continue
        text = "required" if name in required else "none given" if outer is None else shown(outer)
        if outer != own:
            text += f" ({shown(own)} once [{prefix.rstrip('.')}] is given)"
        unit = split_unit(name)[1]
        meaning = child.body.get("description", "")
        yield Parameter(prefix + name, child.accepts(), text, UNITS[unit][2] if unit else "", meaning)


def flat(spec: BaseModel) -> dict[str, Any]:
    """The values of a spec by dotted name; of an array of tables, each is numbered from 0.

    Examples
    --------
    >>> from capsim.scenario.server import PoolSpec
    >>> flat(PoolSpec())["limit"]
    10
    """
    return dict(_flat(spec.model_dump(mode="python", by_alias=True)))


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, child in value.items():
            yield from _flat(child, f"{place}.{name}" if place else name)
    elif isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        for number, child in enumerate(value):
            yield from _flat(child, f"{place}[{number}]")
    else:
        yield place, value


def table(spec: BaseModel) -> pd.DataFrame:
    """The values of a spec with their units and meanings; see `capsim.scenario.base.Spec.to_frame`."""
    import pandas as pd

    known = {key.name: key for key in walk(SchemaNode.of(type(spec)))}
    rows = []
    for name, value in flat(spec).items():
        key = known.get(re.sub(r"\[\d+\]", "[]", name))
        rows.append((name, value, key.unit if key else "", key.meaning if key else ""))
    return pd.DataFrame(rows, columns=["key", "value", "unit", "meaning"]).set_index("key")

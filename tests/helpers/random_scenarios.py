"""Scenarios that the schema allows and nobody would write: bundled ones with a few keys set to whatever is accepted."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from capsim.scenario.file import load

SCHEMA = json.loads((Path(__file__).parents[2] / "data/schema/scenario.schema.json").read_text(encoding="utf-8"))
BASES = ("before", "after", "after-as-deployed", "fixed", "later", "recommended")
WORDS = ("x", "none", "2026-02-03", "/data", "after")
LOADED = ("workload", "schema_version", "name", "calibration")  # the load is set apart, so that a run takes a moment


def changed(number: int) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """Data of a scenario, valid or not, and which keys were set."""
    draw = random.Random(number)
    data = load(draw.choice(BASES)).model_dump(mode="json", by_alias=True, exclude_none=True)
    data["workload"] = _workload(draw)
    told = []
    for _ in range(draw.choice([1, 1, 2, 3, 5])):
        path, schema = draw.choice(PLACES)
        value = _value(schema, draw)
        told.append((".".join(path), value))
        place = data
        for name in path[:-1]:
            if not isinstance(place.get(name), dict):
                place[name] = {}
            place = place[name]
        if value is None:
            place.pop(path[-1], None)
        else:
            place[path[-1]] = value
    return data, told


def _workload(draw: random.Random) -> dict[str, Any]:
    if draw.random() < 0.2:
        run = {"stream": draw.choice(["events", "heartbeats", "revenue"]), "at_ms": 0, "count": draw.choice([1, 1_500])}
        return {"runs": [run], "duration_s": 60}
    load: dict[str, Any] = {"rate_hz": draw.choice([0.1, 5, 20, 100]), "duration_s": draw.choice([1, 60, 120, 600])}
    if draw.random() < 0.3:
        load["sessions"] = {}
    if draw.random() < 0.3:
        load["queries_hz"] = draw.choice([0.1, 2])
    return load


def _followed(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].split("/")[-1]]
    return schema


def _value(schema: dict[str, Any], draw: random.Random, depth: int = 0) -> Any:
    """Something that the schema accepts, its ends and extremes more often than chance would have it."""
    schema = _followed(schema)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return draw.choice(schema["enum"])
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return _value(draw.choice(choices), draw, depth)
    kind = schema.get("type")
    if kind in ("number", "integer"):
        return _number(schema, draw, whole=kind == "integer")
    if kind == "boolean":
        return draw.random() < 0.5
    if kind == "string":
        return draw.choice([*WORDS, schema.get("default", "x")])
    if kind == "array":
        return [_value(schema.get("items", {}), draw, depth + 1) for _ in range(draw.choice([0, 1, 1, 2, 3]))]
    if kind == "object":
        needed, often = schema.get("required", ()), 0.5 if depth else 0.2
        return {
            name: _value(part, draw, depth + 1)
            for name, part in schema.get("properties", {}).items()
            if name in needed or draw.random() < often
        }
    return None


def _number(schema: dict[str, Any], draw: random.Random, *, whole: bool) -> float:
    low = schema.get("minimum", schema.get("exclusiveMinimum", -10))
    high = schema.get("maximum", schema.get("exclusiveMaximum", 1e9))
    where = draw.random()
    if where < 0.1:
        found = schema.get("minimum", low + (1 if whole else 10 ** draw.uniform(-9, 0)))
    elif where < 0.2:
        found = schema.get("maximum", 0.999 * high)
    elif where < 0.3 and low <= 0:
        found = 0
    else:
        least, most = (math.log10(max(end, 1e-3)) for end in (low, high))
        found = 10 ** draw.uniform(least, min(most, least + draw.choice([2, 4, 12])))
    return round(found) if whole else float(found)


def _places(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    schema = _followed(schema)
    for choice in schema.get("anyOf", ()):
        if _followed(choice).get("type") == "object":
            yield from _places(choice, path)
    for name, part in schema.get("properties", {}).items():
        yield from _places(part, (*path, name))
    if path and path[0] not in LOADED:
        yield path, schema


PLACES = list(_places(SCHEMA))

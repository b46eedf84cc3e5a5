"""Checks data against a spec, and words what is wrong with it: source, table, key, value, remedy."""

from __future__ import annotations

import datetime as dt
import difflib
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from capsim.base.errors import ScenarioError
from capsim.base.toml_text import shown
from capsim.scenario.parameters import SchemaNode, shown_table, suggestion

SpecT = TypeVar("SpecT", bound=BaseModel)
Place = tuple[str | int, ...]


def validated(cls: type[SpecT], data: dict[str, Any], source: str) -> SpecT:
    """Check data against a spec, and word every problem.

    Parameters
    ----------
    cls : type of Spec
        What the data should describe.
    data : dict
        Keys as in the scenario file.
    source : str
        Where the data comes from: begins every line of the error.

    Raises
    ------
    ScenarioError
        One line per problem: source, table, key, value, what to write instead.

    Examples
    --------
    >>> from capsim.scenario.server import PoolSpec
    >>> validated(PoolSpec, {"limti": 5}, "a.toml")
    Traceback (most recent call last):
    ...
    capsim.base.errors.ScenarioError: a.toml: limti = 5 is not known; did you mean limit?
    """
    root = SchemaNode.of(cls)
    problems = dict(_wrong_kinds(root, data, ()))
    spec = None
    try:
        spec = cls.model_validate(data, by_alias=True, by_name=False)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            place, node = _place(root, data, detail["loc"])
            problems.setdefault(place, _problem(root, node, data, place, detail))
    if spec is None or problems:
        raise ScenarioError(*(f"{source}: {line}" for line in problems.values()))
    return spec


def _wrong_kinds(node: SchemaNode, value: Any, place: Place) -> list[tuple[Place, str]]:
    """Values that pydantic would quietly convert: text or true for a number, a number for a date."""
    if isinstance(value, dict):
        children = node.children
        return [
            p for k, v in value.items() if k in children for p in _wrong_kinds(children[k], v, (*place, k))
        ]
    if isinstance(value, list | tuple):
        item = node.item
        return [p for i, v in enumerate(value) if item for p in _wrong_kinds(item, v, (*place, i))]
    kinds = {branch.get("type") for branch in node.branches()}
    if kinds & {"integer", "number"}:
        wrong = isinstance(value, bool) or (isinstance(value, str) and value not in node.choices)
    elif any(branch.get("format") == "date" for branch in node.branches()):
        iso = isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value)
        wrong = not iso and (isinstance(value, dt.datetime) or not isinstance(value, dt.date))
    else:
        wrong = False
    return [(place, _unusable(node, place, value))] if wrong else []


def _place(root: SchemaNode, data: Any, location: Place) -> tuple[Place, SchemaNode]:
    """Where in the data an error is: pydantic's location without the branch of a union that it tried."""
    node = root
    place: Place = ()
    for step in location:
        known = node.children
        if isinstance(step, int) and isinstance(data, list | tuple) and node.item:
            node, data = node.item, data[step]
        elif isinstance(data, dict) and isinstance(step, str) and (step in data or step in known):
            node, data = known.get(step, node), data.get(step)
        else:
            break
        place = (*place, step)
    return place, node


def _problem(root: SchemaNode, node: SchemaNode, data: Any, place: Place, detail: Any) -> str:
    match detail["type"]:
        case "missing":
            if node.children:
                return f"table [{_dotted(place)}] is missing; add it: {node.body.get('description', '')}"
            meaning = node.body.get("description", "")
            return f"{_label(place)} is missing; give {node.accepts()}: {meaning}"
        case "extra_forbidden":
            return _unknown(root, node, data, place)
        case "value_error":  # a rule of the spec that concerns several keys
            return f"{_header(place)}{detail['ctx']['error']}"
    return _unusable(node, place, _at(data, place))


def _unknown(root: SchemaNode, parent: SchemaNode, data: Any, place: Place) -> str:
    key, value, table = str(place[-1]), _at(data, place), _dotted(place[:-1])
    what = (
        f"table {shown_table(table, key)}" if isinstance(value, dict) else f"{_label(place)} = {shown(value)}"
    )
    return f"{what} is not known; {suggestion(root, table, key, value, parent.children)}"


def _unusable(node: SchemaNode, place: Place, value: Any) -> str:
    near = (
        difflib.get_close_matches(value.lower(), [str(c) for c in node.choices], n=1)
        if isinstance(value, str)
        else []
    )
    hint = f'; did you mean "{near[0]}"?' if near else ""
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+(_\d+)*(\.\d+)?", value) and not hint:
        hint = ", without quotes"
    wanted = f"a table {_header(place).strip()}" if node.children else node.accepts()
    return f"{_label(place)} = {shown(value)} cannot be used; give {wanted}{hint}"


def _at(data: Any, place: Place) -> Any:
    for step in place:
        data = data[step]
    return data


def _dotted(place: Place) -> str:
    return ".".join(str(step) for step in place if isinstance(step, str))


def _header(place: Place) -> str:
    """The table of a place as the file writes it; of an array's table also its number, from 1."""
    numbers = [step for step in place if isinstance(step, int)]
    if numbers:
        return f"[[{_dotted(place)}]] number {numbers[-1] + 1}: "
    return f"[{_dotted(place)}] " if place else ""


def _label(place: Place) -> str:
    if not place:
        return "the scenario"
    return f"{_header(place[:-1])}{place[-1]}" if isinstance(place[-1], str) else _header(place).rstrip(": ")

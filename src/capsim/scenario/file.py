"""Reads and writes scenario files (TOML), and words what is wrong with them: file, table, key, value, remedy.

The specs say what is possible; this module is the door. A file is data: nothing in it is ever executed.
"""

from __future__ import annotations

import datetime as dt
import difflib
import os
import re
from pathlib import Path, PurePath
from typing import Any, TypeVar

from pydantic import ValidationError

from capsim.base import paths
from capsim.base.errors import ScenarioError
from capsim.base.toml_text import shown, text_of, toml_of
from capsim.scenario.base import Spec
from capsim.scenario.parameters import Key, Node, keys, schema, shown_table, suggestion
from capsim.scenario.server import STREAMS, SUPERUSERS, LatencySpec, MixSpec, RedisSpec, Scenario, WriterSpec

__all__ = ["Key", "dumps", "keys", "load", "loads", "names", "schema", "validated", "warnings"]

SpecT = TypeVar("SpecT", bound=Spec)
Place = tuple[str | int, ...]


def names() -> list[str]:
    """Names of the bundled scenarios, for `load`.

    Examples
    --------
    >>> "after" in names()
    True
    """
    return sorted(path.stem for path in (paths.data_dir() / "scenarios").glob("*.toml"))


def load(path_or_name: str | os.PathLike[str]) -> Scenario:
    """Read a scenario from a TOML file, or a bundled one by its name.

    Parameters
    ----------
    path_or_name : str or path
        A file; or, where there is no such file, the name of a bundled scenario such as ``"after"``.

    Returns
    -------
    Scenario
        With ``workload.trace`` as seen from the working directory, if it is a path.

    Raises
    ------
    ScenarioError
        If the file cannot be read, is not TOML, or describes no possible server: one line per problem.

    Examples
    --------
    >>> load("after").server.pool.limit
    10
    """
    source, path = os.fspath(path_or_name), _path_of(path_or_name)
    scenario = loads(_text(path, source), source)
    trace = scenario.workload.trace
    if (
        trace is None or PurePath(trace).name == trace == PurePath(trace).stem
    ):  # a bundled trace goes by its name
        return scenario
    return scenario.replace("workload.trace", os.path.join(path.parent, trace))


def source_of(path_or_name: str | os.PathLike[str]) -> str:
    """A scenario as it is written, remarks included; what it says is for `load` to see.

    Examples
    --------
    >>> 'semantics = "fixed"' in source_of("fixed")
    True
    """
    return _text(_path_of(path_or_name), os.fspath(path_or_name))


def _path_of(path_or_name: str | os.PathLike[str]) -> Path:
    path = Path(path_or_name)
    if os.fspath(path_or_name) in names() and not path.is_file():
        return paths.data_dir() / "scenarios" / f"{path}.toml"
    return path


def _text(path: Path, source: str) -> str:
    near = difflib.get_close_matches(path.stem, names(), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    missing = f"no such file and no bundled scenario; {hint}bundled ones: {', '.join(names())}"
    remedy = "give a readable TOML file"
    return text_of(path, source, what="scenario", remedy=remedy, missing=missing, error=ScenarioError)


def loads(text: str, source: str = "scenario") -> Scenario:
    """Read a scenario from TOML text; ``source`` names it in errors.

    Examples
    --------
    >>> text = 'name = "x"\\n[workload]\\nrate_hz = 5\\nduration_s = 60\\n[billing]\\nfrom = "2026-02-03"'
    >>> loads(text).workload.rate_hz
    5.0
    """
    return validated(Scenario, toml_of(text, source, ScenarioError), source)


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
    root = Node.of(cls)
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


def _wrong_kinds(node: Node, value: Any, place: Place) -> list[tuple[Place, str]]:
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


def _place(root: Node, data: Any, location: Place) -> tuple[Place, Node]:
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


def _problem(root: Node, node: Node, data: Any, place: Place, detail: Any) -> str:
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


def _unknown(root: Node, parent: Node, data: Any, place: Place) -> str:
    key, value, table = str(place[-1]), _at(data, place), _dotted(place[:-1])
    what = (
        f"table {shown_table(table, key)}" if isinstance(value, dict) else f"{_label(place)} = {shown(value)}"
    )
    return f"{what} is not known; {suggestion(root, table, key, value, parent.children)}"


def _unusable(node: Node, place: Place, value: Any) -> str:
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


def warnings(scenario: Scenario) -> list[str]:
    """What a scenario says that is possible, and probably not meant; one line each.

    Examples
    --------
    >>> warnings(load("after"))
    []
    """
    found = []
    for stream in STREAMS:
        writer: WriterSpec = getattr(scenario.server.writers, stream)
        if writer.cap < writer.batch_rows:
            found.append(
                f"[server.writers.{stream}] buffer_cap_rows = {writer.cap} is below "
                f"batch_rows = {writer.batch_rows}: no batch ever fills, so only the timer flushes, "
                "and a full buffer drops until it does"
            )
    database = scenario.database
    if scenario.server.pool_limit > database.clients_max:
        found.append(
            f"[server.pool] limit = {scenario.server.pool_limit} connections: Postgres lets "
            f"{database.clients_max} in (max_connections {database.max_connections}, "
            f"{SUPERUSERS} of them kept for superusers) and refuses the rest"
        )
    return found + _without_effect(scenario)


def _without_effect(scenario: Scenario) -> list[str]:
    """Keys that say something other than their default, and that change nothing."""
    found = []
    load, database = scenario.workload, scenario.database
    if load.trace and load.duration_s is not None:
        found.append(
            "[workload] duration_s has no effect with a trace, which has a length of its own; leave it out"
        )
    if load.runs and load.mix != MixSpec():
        found.append("[workload.mix] has no effect with runs, which name their streams; leave it out")
    for number, run in enumerate(load.runs, start=1):
        if load.duration_s is not None and run.at_ms >= load.duration_s * 1_000:
            found.append(
                f"[[workload.runs]] number {number} begins after duration_s; nothing of it is simulated"
            )
    for number, fault in enumerate(database.faults, start=1):
        if load.duration_s is not None and fault.from_s >= load.duration_s:
            found.append(
                f"[[database.faults]] number {number} begins after the load's end; it hits few calls or none"
            )
    for name in ("insert", "update"):
        latency: LatencySpec = getattr(database, name)
        if latency.distribution != "lognormal" and latency.sigma != LatencySpec().sigma:
            found.append(
                f"[database.{name}] sigma has no effect on a distribution that is {latency.distribution}"
            )
    logger = scenario.server.logger
    if logger.file_consumer_hz != "none" and not logger.files:
        found.append("[server.logger] file_consumer_hz has no effect without files; set files, or leave it out")
    default = RedisSpec()
    for name in ("value_bytes", "persistence"):
        if not scenario.redis.keys and getattr(scenario.redis, name) != getattr(default, name):
            found.append(f"[redis] {name} has no effect without keys; set keys, or leave it out")
    return found


def dumps(scenario: Scenario) -> str:
    """A scenario as TOML text, with every key that has a value; `loads` makes an equal scenario of it.

    Examples
    --------
    >>> loads(dumps(load("after"))) == load("after")
    True
    """
    import tomlkit

    return tomlkit.dumps(scenario.model_dump(mode="json", by_alias=True, exclude_none=True))

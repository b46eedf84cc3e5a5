"""Reads and writes scenario files (TOML), and lists their keys.

The specs say what is possible; this module is the door. A file is data: nothing in it is ever executed.
"""

from __future__ import annotations

import difflib
import os
from functools import cache
from pathlib import Path, PurePath
from typing import Any

from capsim.base import paths
from capsim.base.errors import ScenarioError
from capsim.base.toml_text import text_of, toml_of
from capsim.scenario.database import SUPERUSERS, LatencySpec
from capsim.scenario.parameters import Parameter, SchemaNode, walk
from capsim.scenario.redis import RedisSpec
from capsim.scenario.scenario import Scenario
from capsim.scenario.server import WriterSpec
from capsim.scenario.validation import validated
from capsim.scenario.workload import STREAMS, MixSpec

__all__ = ["Parameter", "dumps", "keys", "load", "loads", "names", "schema", "validated", "warnings"]


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


def keys() -> list[Parameter]:
    """All keys of a scenario file.

    Examples
    --------
    >>> next(k for k in keys() if k.name == "server.pool.limit").default
    '10'
    """
    return list(_keys())


@cache  # a sweep asks for each of its values
def _keys() -> tuple[Parameter, ...]:
    return tuple(walk(SchemaNode.of(Scenario)))


def schema() -> dict[str, Any]:
    """The JSON Schema of a scenario file, for editors that complete and check TOML.

    Examples
    --------
    >>> schema()["title"]
    'Scenario'
    """
    body = Scenario.model_json_schema()
    for part in (body, *body["$defs"].values()):
        part["description"] = " ".join(
            part["description"].split("\n\n")[0].split()
        )  # the rest is for programmers
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **body}


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

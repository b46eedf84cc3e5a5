"""railway.json and railway.toml, the format that ends on 2026-12-01: its tables, its environments, its keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from capsim.telemetry.inspect.unknown import Unknown

# Keys that Railway knows (its command line's config/environment.rs and its API, 2026-08-21)
TOP = ("$schema", "build", "deploy", "environments")
BUILD = (
    "builder",
    "buildCommand",
    "buildEnvironment",
    "dockerfilePath",
    "nixpacksConfigPath",
    "nixpacksPlan",
    "nixpacksVersion",
    "railpackVersion",
    "watchPatterns",
)
DEPLOY = (
    "cronSchedule",
    "drainingSeconds",
    "healthcheckPath",
    "healthcheckTimeout",
    "ipv6EgressEnabled",
    "limitOverride",
    "multiRegionConfig",
    "numReplicas",
    "overlapSeconds",
    "preDeployCommand",
    "region",
    "registryCredentials",
    "requiredMountPath",
    "restartPolicyMaxRetries",
    "restartPolicyType",
    "runtime",
    "sleepApplication",
    "startCommand",
    "useLegacyStacker",
)


@dataclass(frozen=True)
class RailwayFile:
    """What such a file says, for one environment or for all."""

    build: Mapping[str, Any]
    deploy: Mapping[str, Any]
    environments: tuple[str, ...]  # those with a block of their own
    strange: tuple[str, ...]  # keys that Railway does not know, each with what may have been meant


def is_railway(data: Mapping[str, Any]) -> bool:
    """Whether a file of another name holds a key of Railway's below ``build`` or ``deploy``."""
    blocks = [block for block in _table(data, "environments").values() if isinstance(block, Mapping)]
    return any(
        not set(_table(part, table)).isdisjoint(known)
        for part in (data, *blocks)
        for table, known in (("build", BUILD), ("deploy", DEPLOY))
    )


def tables_of(data: Mapping[str, Any], source: str, environment: str | None = None) -> RailwayFile:
    """The tables that apply.

    Parameters
    ----------
    data : mapping
        The file.
    source : str
        Its name, for messages.
    environment : str, optional
        The environment whose block lies over the file's own tables. Without one, what such a block sets is Unknown.

    Examples
    --------
    >>> data = {"deploy": {"startcommand": "x"}, "environments": {"eu": {"deploy": {"numReplicas": 4}}}}
    >>> found = tables_of(data, "railway.json", "eu")
    >>> found.deploy["numReplicas"], found.strange
    (4, ('deploy.startcommand (startCommand?)',))
    >>> print(tables_of(data, "railway.json").deploy["numReplicas"])
    unknown: it differs by environment; choose one by --environment NAME
    """
    blocks = {str(k): v for k, v in _table(data, "environments").items() if isinstance(v, Mapping)}
    chosen = blocks.get(environment or "", {})
    found = {}
    for name in ("build", "deploy"):
        whole = dict(_table(data, name))
        if data.get(name) is not None and not isinstance(data[name], Mapping):
            whole = dict.fromkeys(DEPLOY if name == "deploy" else BUILD, Unknown("it is no table", f"{source}: {name}"))
        if environment is None:
            differs = Unknown("it differs by environment; choose one by --environment NAME", f"{source}: environments")
            whole |= {key: differs for block in blocks.values() for key in _table(block, name)}
        found[name] = whole | _table(chosen, name)
    return RailwayFile(found["build"], found["deploy"], tuple(blocks), tuple(_strange(data, blocks)))


def _table(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = data.get(name)
    return {str(k): v for k, v in value.items()} if isinstance(value, Mapping) else {}


def _strange(data: Mapping[str, Any], blocks: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    for key in data:
        if key not in TOP:
            yield likely(key, key, (*TOP, *(f"deploy.{k}" for k in DEPLOY), *(f"build.{k}" for k in BUILD)))
    for name, block in blocks.items():
        yield from (likely(f"environments.{name}.{key}", key, TOP[1:3]) for key in block if key not in TOP[1:3])
        yield from strange_below(block, f"environments.{name}.")
    yield from strange_below(data)


def strange_below(data: Mapping[str, Any], at: str = "") -> Iterable[str]:
    """Keys of ``build`` and ``deploy``, and of the tables in them, that Railway does not know."""
    deploy = _table(data, "deploy")
    limits = _table(deploy, "limitOverride")
    tables: list[tuple[str, Mapping[str, Any], tuple[str, ...]]] = [
        ("build", _table(data, "build"), BUILD),
        ("deploy", deploy, DEPLOY),
        ("deploy.limitOverride", limits, ("containers",)),
        ("deploy.limitOverride.containers", _table(limits, "containers"), ("cpu", "memoryBytes", "diskBytes")),
    ]
    for region, settings in _table(deploy, "multiRegionConfig").items():
        place = f"deploy.multiRegionConfig.{region}"
        tables.append((place, settings if isinstance(settings, Mapping) else {}, ("numReplicas", "stackerAssignment")))
    for place, table, known in tables:
        yield from (likely(f"{at}{place}.{key}", key, known) for key in table if key not in known)


def likely(place: str, key: str, known: Iterable[str]) -> str:
    """A key and the one that may have been meant: the same letters first, then a similar word."""
    lower = {name.rpartition(".")[2].lower(): name for name in known}
    close = get_close_matches(key[:60].lower(), lower, 1, 0.75)
    near = [name for word, name in lower.items() if len(key) > 3 and key.lower() in word]
    shown = "".join(c if c.isprintable() else "?" for c in place[:80])
    meant = lower[close[0]] if close else (near[0] if near else None)
    return f"{shown} ({meant}?)" if meant else shown

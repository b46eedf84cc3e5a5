"""railway.ts (the npm package `railway` 3.11): the fields of one service, in the words of railway.json; nothing is run.

The precedence among fields that say the same is the package's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from capsim.base.errors import CapsimError
from capsim.telemetry.inspect.grammar import parsed, shallow
from capsim.telemetry.inspect.railway_file import likely, strange_below
from capsim.telemetry.inspect.typescript_scope import Scope, walk
from capsim.telemetry.inspect.typescript_values import KEPT, Fields, Reference, Resource, TypeScriptValues
from capsim.telemetry.inspect.unknown import Unknown

FIELDS = (  # of a service, beside those that the modules below know by name
    "source",
    "root",
    "rootDirectory",
    "build",
    "deploy",
    "run",
    "start",
    "startCommand",
    "preDeploy",
    "preDeployCommand",
    "healthcheck",
    "healthcheckPath",
    "healthcheckTimeout",
    "replicas",
    "regions",
    "networking",
    "domains",
    "tcp",
    "tcpProxies",
    "env",
    "variables",
    "volumeMounts",
    "configFile",
    "parentServiceId",
    "groupId",
    "clusterRole",
    "replicaConfig",
    "clusterDisplay",
)


def typescript(text: str, source: str, service: str | None = None, environment: str | None = None) -> dict[str, Any]:
    """The service that a railway.ts declares.

    Parameters
    ----------
    text : str
        The file.
    source : str
        Its name, for messages.
    service : str, optional
        Which service, where it declares several.
    environment : str, optional
        Which environment ``ctx.isEnvironment(...)`` asks about.

    Returns
    -------
    dict
        ``build`` and ``deploy`` as railway.json has them, ``env`` (text or Unknown by name), ``fields`` (names that
        were written), ``strange`` (names that the package does not know), ``image`` (whether an
        image is deployed) and ``root`` (its folder).

    Raises
    ------
    CapsimError
        If it is no TypeScript, or several services could be meant.

    Examples
    --------
    >>> found = typescript('service("web", { build: "npm run build", run: { command: "node a.js" } })', "railway.ts")
    >>> found["deploy"], found["build"]
    ({'startCommand': 'node a.js'}, {'buildCommand': 'npm run build'})
    """
    with shallow(source):
        root = parsed("typescript", text)
        if root.has_error:
            raise CapsimError(f"{source}: is not TypeScript that can be read; correct it")
        values = TypeScriptValues(Scope(root), source, environment)
        fields = _chosen(_services(root, values), source, service)
        return {
            "build": _build(fields, source),
            "deploy": _deploy(fields, source),
            "env": _variables(fields, source),
            "fields": tuple(fields),
            "strange": tuple(_strange(fields)),
            "image": _is_image(fields.of("source")),
            "root": _root(fields),
        }


def not_read(text: str, source: str, service: str | None = None, environment: str | None = None) -> dict[str, Any]:
    """The same of railway.py or railway.go: all of it unknown."""
    why = Unknown("it is a program in another language than TypeScript, which is not read", source)
    return {
        "build": {"builder": why},
        "deploy": dict.fromkeys(("startCommand", *_MATTER), why),
        "env": {"...": why},
        "fields": (),
        "strange": (),
        "image": False,
        "root": None,
    }


def _strange(fields: Fields) -> Iterator[str]:
    yield from (likely(key, key, FIELDS) for key in fields if key not in FIELDS)
    yield from strange_below(fields)


def _services(root: Any, values: TypeScriptValues) -> dict[str, Fields]:
    found: dict[str, Fields] = {}
    for node in walk(root):
        if node.type != "call_expression":
            continue
        function = node.child_by_field_name("function")
        if function is None or values.scope.sdk_name(function) not in ("service", "fn"):
            continue
        declared = values.of(node)
        if not isinstance(declared, Resource):
            continue
        name = declared.name if isinstance(declared.name, str) else f"(computed, line {node.start_point[0] + 1})"
        fields = declared.fields
        if not isinstance(fields, Fields):
            unread, fields = fields, Fields()
            if unread is not None:
                fields.further = unread if isinstance(unread, Unknown) else values.unknown(node)
        found[name] = fields
    return found


def _chosen(services: Mapping[str, Fields], source: str, service: str | None) -> Fields:
    meant = {name: fields for name, fields in services.items() if service is None or name == service}
    if service is None and len(meant) > 1:
        started = {n: f for n, f in meant.items() if _start(f) is not None and not isinstance(_start(f), Unknown)}
        meant = started if len(started) == 1 else meant
    if len(meant) != 1:
        known = f" ({', '.join(services)})" if services else ""
        remedy = "choose one by --service NAME" if services else 'declare one: service("web", { ... })'
        counted = f"declares {len(services)} services{known}" if services else "declares no service that can be read"
        if service is not None and services:
            counted = f"declares no service {service}{known}" if not meant else counted
        raise CapsimError(f"{source}: {counted}; {remedy}")
    return next(iter(meant.values()))


def _first(*values: Any) -> Any:
    """The first that is set, as ``??`` takes it; Unknown where an earlier one may be."""
    return next((value for value in values if value is not None), None)


def _table(fields: Fields, key: str, source: str) -> Fields:
    value = fields.of(key)
    if isinstance(value, Fields):
        return value
    empty = Fields()
    if value is not None:
        empty.further = value if isinstance(value, Unknown) else Unknown("it is no object", f"{source}: {key}")
    return empty


def _start(fields: Fields) -> Any:
    run, deploy = _table(fields, "run", ""), _table(fields, "deploy", "")
    return _first(fields.of("start"), fields.of("startCommand"), run.of("command"), deploy.of("startCommand"))


def _is_image(source: Any) -> bool:
    if isinstance(source, Fields):
        return source.of("type") == "image" or (isinstance(source.of("image"), str) and not source.of("repo"))
    return isinstance(source, Resource) and source.kind == "image"


def _root(fields: Fields) -> Any:
    source = fields.of("source")
    options = source.fields if isinstance(source, Resource) else source
    own = options.of("rootDirectory") if isinstance(options, Fields) else None
    return _first(own, fields.of("root"), fields.of("rootDirectory"))


def _build(fields: Fields, source: str) -> dict[str, Any]:
    build = fields.of("build")
    if isinstance(build, str):
        return {"buildCommand": build}
    table = _table(fields, "build", source)
    found = {key: value for key, value in table.items() if value is not None}
    return found | ({"builder": table.further} if table.further and "builder" not in found else {})


def _deploy(fields: Fields, source: str) -> dict[str, Any]:
    run, deploy = _table(fields, "run", source), _table(fields, "deploy", source)
    found: dict[str, Any] = dict(deploy)
    if deploy.further is not None:
        found = dict.fromkeys(_MATTER, deploy.further) | found
    found["startCommand"] = _start(fields)
    found["preDeployCommand"] = _first(
        fields.of("preDeploy"), fields.of("preDeployCommand"), run.of("preDeploy"), deploy.of("preDeployCommand")
    )
    found["healthcheckPath"] = _first(
        fields.of("healthcheck"), fields.of("healthcheckPath"), run.of("healthcheck"), deploy.of("healthcheckPath")
    )
    found["healthcheckTimeout"] = _first(
        fields.of("healthcheckTimeout"), run.of("healthcheckTimeout"), deploy.of("healthcheckTimeout")
    )
    replicas, regions = fields.of("replicas"), fields.of("regions")
    if replicas is not None and not isinstance(replicas, Fields):
        found["numReplicas"] = replicas
    elif isinstance(by_region := _first(replicas, regions), Fields):
        found["multiRegionConfig"] = _regions(by_region)
    elif by_region is not None:
        found["multiRegionConfig"] = by_region
    return {key: value for key, value in found.items() if value is not None}


_MATTER = (
    "drainingSeconds",
    "overlapSeconds",
    "limitOverride",
    "restartPolicyType",
    "restartPolicyMaxRetries",
    "cronSchedule",
    "numReplicas",
    "multiRegionConfig",
    "sleepApplication",
    "healthcheckPath",
)


def _regions(regions: Fields) -> Any:
    """{region: {numReplicas}} of a number, ``{count}`` or ``{replicas}`` for each."""
    if regions.further is not None:
        return regions.further
    counts = {}
    for region, value in regions.items():
        count = _first(value.of("count"), value.of("replicas")) if isinstance(value, Fields) else value
        counts[region] = {} if count is None else {"numReplicas": count}
    return counts


def _variables(fields: Fields, source: str) -> dict[str, str | Unknown]:
    found: dict[str, str | Unknown] = {}
    for table in (_table(fields, "variables", source), _table(fields, "env", source)):  # env wins
        if table.further is not None:
            found = dict.fromkeys(found, table.further)
            found.setdefault("...", table.further)
        found |= {name: _variable(value, f"{source}: env.{name}") for name, value in table.items()}
    return found


def _variable(value: Any, place: str) -> str | Unknown:
    if isinstance(value, Reference):
        return value.text
    if isinstance(value, Fields):
        kind = value.of("type")
        if kind == "preserve":
            return Unknown(KEPT, place)
        if kind == "sharedReference":
            return f"${{{{shared.{value.of('name')}}}}}"
        value = value.of("value")
        value = value.of("value") if isinstance(value, Fields) else value
        if value is None:
            return Unknown("its value is set in Railway", place)
    if isinstance(value, str | Unknown):
        return value
    return Unknown("it is no text, which the package refuses; write it in quotes", place)

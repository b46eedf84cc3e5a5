"""What was not read, in few lines; and keys that have no effect, or none here."""

from __future__ import annotations

from collections.abc import Iterator

from capsim.telemetry.inspect.effective import Effective
from capsim.telemetry.inspect.finding import ConfigFinding
from capsim.telemetry.inspect.typescript_values import KEPT
from capsim.telemetry.inspect.unknown import Unknown

_USED = (
    "startCommand",
    "healthcheckPath",
    "numReplicas",
    "multiRegionConfig",
    "limitOverride",
    "restartPolicyType",
    "restartPolicyMaxRetries",
    "drainingSeconds",
    "overlapSeconds",
    "cronSchedule",
    "sleepApplication",
    "preDeployCommand",
    "builder",
    "dockerfilePath",
)
_FIELDS_USED = (
    "build",
    "deploy",
    "run",
    "env",
    "variables",
    "replicas",
    "regions",
    "start",
    "preDeploy",
    "healthcheck",
    *_USED,
)
_MOST_SHOWN = 12


def unread_findings(e: Effective) -> Iterator[ConfigFinding]:
    """Values, variables and keys."""
    yield from _values(e)
    yield from _variables(e)
    yield from _keys(e)


def _values(e: Effective) -> Iterator[ConfigFinding]:
    """One line for each reason, whatever the number of values."""
    groups: dict[tuple[str, str], list[str]] = {}
    limits = e.applied.deploy.get("limitOverride")
    parts = limits.items() if isinstance(limits, dict) else ()
    seconds = {"RAILWAY_DEPLOYMENT_DRAINING_SECONDS": e.draining_s, "RAILWAY_DEPLOYMENT_OVERLAP_SECONDS": e.overlap_s}
    text = {name: value for name, value in seconds.items() if e.declared.variable(name) is not None}
    for key, value in (*e.applied.build.items(), *e.applied.deploy.items(), *parts, *text.items()):
        if isinstance(value, Unknown) and key != "startCommand":  # `process_findings` has it
            groups.setdefault((value.place, value.why), []).append(key)
    for (place, why), keys in groups.items():
        what = f"{', '.join(keys)}: {why}"
        yield ConfigFinding("not read", "note", place, what, "write a plain value, or set the knob in the scenario")


def _variables(e: Effective) -> Iterator[ConfigFinding]:
    unread = {name: value for name, value in e.declared.variables.items() if isinstance(value, Unknown)}
    spread = unread.pop("...", None)
    if spread is not None:
        what = f"there may be further variables: {spread.why}"
        yield ConfigFinding("not read", "note", spread.place, what, _GIVE)
    kept = [name for name, value in unread.items() if value.why == KEPT]
    computed = [name for name in unread if name not in kept]
    if kept:
        what = f"kept in Railway: {_counted(kept)}"
        place = unread[kept[0]].place.rpartition(":")[0]
        remedy = _GIVE if any(map(_matters, kept)) else "nothing to do"
        yield ConfigFinding("variables kept in Railway", "note", place, what, remedy)
    for name in filter(_matters, computed):
        if name == "DATABASE_URL":  # `pool_findings` has it
            continue
        yield ConfigFinding("not read", "note", unread[name].place, f"{name}: {unread[name].why}", _GIVE)
    rest = [name for name in computed if not _matters(name)]
    if rest:
        what = f"not read, and nothing here depends on them: {_counted(rest)}"
        yield ConfigFinding("variables not read", "note", unread[rest[0]].place, what, "nothing to do")


def _counted(names: list[str]) -> str:
    told = f"{len(names)} variable{'s' if len(names) > 1 else ''}"
    among = [name for name in names if _matters(name)]
    return f"{told}, among them {', '.join(among[:_MOST_SHOWN])}" if among else told


def _matters(name: str) -> bool:
    return name in ("NODE_OPTIONS", "DATABASE_URL", "PORT", "WEB_CONCURRENCY") or name.startswith(
        ("RAILWAY_", "RAILPACK_", "NIXPACKS_")
    )


# Never "write it into the file": it may be a secret.
_GIVE = "give it here in a .env that you do not commit"


def _keys(e: Effective) -> Iterator[ConfigFinding]:
    d = e.declared
    file = d.new_file or (e.applied.origin if d.old is not None and e.applied.origin == d.old_file else None)
    if file is None:
        return
    strange = d.new["strange"] if d.new_file else d.old.strange if d.old else ()
    if strange:
        whose = "the package railway" if d.new_file else "Railway"
        what = f"{_listed(strange)}: no key of {whose}, so it has no effect"
        yield ConfigFinding("key without effect", "note", file, what, "write the key that is meant, or delete it")
    tables = {**e.applied.build, **e.applied.deploy}
    written = (*d.new.get("fields", ()), *(key for key, value in tables.items() if not isinstance(value, Unknown)))
    known = {key for key in written if key not in (*_USED, *_FIELDS_USED)}
    known -= {key.partition(" ")[0].rpartition(".")[2] for key in strange}
    if known:
        what = f"known, and not used here: {_listed(sorted(known))}"
        yield ConfigFinding("keys not used", "note", file, what, "nothing to do")
    if isinstance(e.applied.deploy.get("preDeployCommand"), str | list):
        what = "it runs to its end before the deployment starts, so a migration in it does not delay the server's start"
        yield ConfigFinding("pre-deploy command", "note", e.applied.place("preDeployCommand"), what, "nothing to do")


def _listed(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(names[:_MOST_SHOWN]) + more

"""Reads a file that Railway's API or command line wrote about use: its shape, its rows, and the time and place of it.

Shapes: GraphQL ``usage``, ``estimatedUsage`` and ``metrics``, with the query's variables kept beside them or not;
``railway usage --json``, ``railway usage projects --project NAME --json`` and ``railway metrics --raw --json`` as the
command line prints them (github.com/railwayapp/cli, src/commands/usage.rs and metrics.rs, 2026-08-21).
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from capsim.base.errors import CapsimError
from capsim.workload.instants import Stamps, iso

Kind = Literal["lines", "series", "usage", "services"]
Row = Mapping[str, Any]

ALL = "all services"
NO_PART = "none of the three services"
REMEDY = "give an export of Railway's usage or metrics, or a result.json that capsim wrote"
_LARGEST_BYTES = 64 << 20
_SHOWN_KEYS = 6
LARGEST = 1e15  # of any number in an export: bytes of a large month, or milliseconds; sums of such stay exact enough
# Names of services that are no part of a scenario, though their names may hold "pg" or "db".
_OTHERS = ("mysql", "mariadb", "mongo", "clickhouse", "minio", "bucket", "kafka", "rabbit", "pgadmin", "pgbouncer",
           "pgweb", "deleted service")  # fmt: skip
_POSTGRES = re.compile(r"postgres|postgis|timescale|database|(?<![a-z0-9])(?:pg[a-z0-9]*|db)(?![a-z0-9])")
_REDIS = re.compile(r"redis|valkey|keydb|dragonfly|(?<![a-z0-9])cache(?![a-z0-9])")


@dataclass(frozen=True)
class Period:
    """The time that an export is of, in seconds since 1970."""

    start_s: float
    end_s: float
    note: str = ""  # where its end is not the one that the export names

    @property
    def minutes(self) -> float:
        """Its length [min]."""
        return (self.end_s - self.start_s) / 60


@dataclass(frozen=True)
class Export:
    """A file, its rows as they stand, and what they are of."""

    file: str
    kind: Kind
    data: Any
    rows: tuple[Row, ...]
    period: Period | None
    scope: str  # of which project, workspace or service
    names: Mapping[str, str]  # of projects and services, by identifier

    def name_of(self, row: Row) -> str | None:
        """Name (or identifier) of the service that a row is of."""
        tags = row.get("tags")
        tags = tags if isinstance(tags, dict) else {}
        found = [of[key] for of in (row, tags) for key in ("serviceName", "name", "service") if of.get(key)]
        found += [self.names[of[key]] for of in (tags, row) for key in ("serviceId",) if of.get(key) in self.names]
        return next((one[:60] for one in found if isinstance(one, str)), None)


def part_of(name: str | None) -> str:
    """Which part of a scenario a service is, by its name; `ALL` without one, `NO_PART` for other databases and tools.

    Examples
    --------
    >>> [part_of(name) for name in ("backend", "Postgres-x4", "pgdata-db", "MySQL")]
    ['server', 'postgres', 'postgres', 'none of the three services']
    """
    if name is None:
        return ALL
    lower = name.lower()
    if any(other in lower for other in _OTHERS):
        return NO_PART
    return "postgres" if _POSTGRES.search(lower) else "redis" if _REDIS.search(lower) else "server"


def is_export(file: str) -> bool:
    """Whether a file is JSON that capsim did not write, which beside a scenario can only be meant as an export."""
    if not file.endswith(".json"):
        return False
    try:
        data = json.loads(Path(file).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return False  # the reader of results words what is wrong
    return not (isinstance(data, dict) and "schema_version" in data)


def read_export(file: str, until: str | None = None, project: str | None = None) -> Export:
    """Read an export.

    Parameters
    ----------
    file : str
    until : str, optional
        When a billing period that was still running was exported; the file's time by default.
    project : str, optional
        Name or identifier: rows of other projects are left out.

    Raises
    ------
    CapsimError
        If it cannot be read, is no such export, is of another project, or its time is not known.
    """
    try:
        path = Path(file)
        if path.stat().st_size > _LARGEST_BYTES:
            raise CapsimError(f"{file}: larger than 64 MiB; export a shorter time")
        written_s = path.stat().st_mtime
        data = json.loads(path.read_text(encoding="utf-8-sig"))
        kind, rows = _shape(data)
        names = dict(_names(data))
    except OSError as error:
        raise CapsimError(f"{file}: cannot be read ({error.strerror}); {REMEDY}") from None
    except (ValueError, RecursionError) as error:
        raise CapsimError(f"{file}: is not JSON ({type(error).__name__}); {REMEDY}") from None
    if kind is None:
        raise CapsimError(f"{file}: {_refusal(data)}")
    rows, scope = _of_project(file, data, rows, names, project)
    return Export(file, kind, data, tuple(rows), _period(data, file, until, written_s), scope, names)


def _shape(data: Any) -> tuple[Kind | None, list[Row]]:
    if isinstance(data, dict) and isinstance(data.get("lineItems"), list):
        return "lines", [item for item in data["lineItems"] if isinstance(item, dict)]
    if isinstance(data, dict) and isinstance(data.get("measurements"), dict):  # railway metrics --raw --json
        service = data.get("service")
        return "series", [
            {"measurement": name, "values": values, "serviceName": service}
            for name, values in data["measurements"].items()
        ]
    if rows := list(_with(data, "measurement")):
        return ("series" if any("values" in row for row in rows) else "usage"), rows
    if priced := list(_with(data, "memoryDollars", innermost=True)):
        return "services", priced
    return None, []


def _with(data: Any, key: str, innermost: bool = False) -> Iterator[Row]:
    """All objects that carry a key, at any depth: API and command line wrap them differently."""
    if isinstance(data, dict):
        inner = [row for value in data.values() for row in _with(value, key, innermost)] if innermost else []
        if key in data and not inner:
            yield data
        elif innermost:
            yield from inner
        else:
            for value in data.values():
                yield from _with(value, key)
    elif isinstance(data, list):
        for value in data:
            yield from _with(value, key, innermost)


def _names(data: Any) -> Iterator[tuple[str, str]]:
    """Identifiers with the names beside them: the API tells both where projects were asked for with the use."""
    if isinstance(data, dict):
        if isinstance(data.get("id"), str) and isinstance(data.get("name"), str):
            yield data["id"], data["name"][:60]
        for value in data.values():
            yield from _names(value)
    elif isinstance(data, list):
        for value in data:
            yield from _names(value)


def _refusal(data: Any) -> str:
    """What a file is that is no export of use, and what would be one."""
    if not isinstance(data, dict):
        return f"is no export of use: it has no measurements and no dollars; {REMEDY}"
    if not data:
        return f"is no export of use: it is empty; {REMEDY}"
    keys = ", ".join(str(key)[:20] for key in list(data)[:_SHOWN_KEYS])
    inner = data.get("data")
    if isinstance(data.get("errors"), list) and not inner:
        remedy = "it is an error of the API: ask again with a token that may read the project"
    elif isinstance(inner, dict) and any(inner.get(name) == [] for name in ("metrics", "usage", "estimatedUsage")):
        remedy = "its list is empty: export a time in which the service ran"
    elif isinstance(data.get("projects"), list):
        remedy = "it has dollars by project only: give railway usage projects --project NAME --json"
    elif any(isinstance(data.get(name), dict) for name in ("cpu", "memory")) or isinstance(data.get("services"), list):
        remedy = "it is a summary: give railway metrics --service NAME --raw --json"
    else:
        remedy = REMEDY
    return f"is no export of use: has keys {keys}; {remedy}"


def _of_project(
    file: str, data: Any, rows: Sequence[Row], names: Mapping[str, str], project: str | None
) -> tuple[list[Row], str]:
    """The rows of the project that is meant, and in words what they are of."""
    ids = [tags["projectId"] for row in rows if isinstance(tags := row.get("tags"), dict) and "projectId" in tags]
    ids += [row["projectId"] for row in rows if "projectId" in row]
    found = list(dict.fromkeys(str(one) for one in ids))
    told = data.get("project") if isinstance(data, dict) else None
    told = told.get("name") if isinstance(told, dict) else None
    own = str(told)[:60] if isinstance(told, str) else None
    workspace = data.get("workspace") if isinstance(data, dict) else None
    place = str(workspace["name"])[:60] if isinstance(workspace, dict) and workspace.get("name") else ""
    if project is None:
        if own:
            return list(rows), f"project {own}"
        if isinstance(data, dict) and isinstance(data.get("lineItems"), list):
            return list(rows), f"the whole workspace{' ' + place if place else ''}, all its projects"
        if isinstance(data, dict) and isinstance(data.get("measurements"), dict):
            told = [data[key][:40] for key in ("service", "environment") if isinstance(data.get(key), str)]
            return list(rows), f"service {', '.join(told)}" if told else ""
        if len(found) > 1:
            return list(rows), f"{len(found)} projects: {', '.join(names.get(one, one)[:40] for one in found[:5])}"
        return list(rows), f"project {names.get(found[0], found[0])[:40]}" if found else ""
    if found:
        mine = [one for one in found if project in (one, names.get(one))]
        if not mine:
            raise CapsimError(
                f"{file}: has no project {project}; it has {', '.join(names.get(one, one)[:40] for one in found[:5])}"
            )
        kept = [row for row in rows if _project_id(row) in mine]
        return kept, f"project {project}"
    if own is None:
        raise CapsimError(
            f"{file}: does not say which project its lines are of; give railway usage projects --project NAME --json"
        )
    if project not in (own, data["project"].get("id")):
        raise CapsimError(f"{file}: is of project {own}, not of {project}; leave --project out, or export the other")
    return list(rows), f"project {own}"


def _project_id(row: Row) -> str:
    tags = row.get("tags")
    return str((tags if isinstance(tags, dict) else row).get("projectId", row.get("projectId")))


def _period(data: Any, file: str, until: str | None, written_s: float) -> Period | None:
    """The time that an export names; the end of a billing period that still ran is when it was exported."""
    if not isinstance(data, dict):
        return None
    named = (
        ("startDate", "endDate", (data, data.get("variables"), data.get("period"))),
        ("since", "until", (data.get("window"),)),
        ("start", "end", (data.get("billingPeriod"),)),
    )
    for first, last, places in named:
        for place in places:
            if not (isinstance(place, dict) and place.get(first) and place.get(last)):
                continue
            try:
                start_s, end_s = (Stamps()(place[key]) / 1e6 for key in (first, last))
            except (ValueError, TypeError, OverflowError):
                raise CapsimError(f"{file}: {first} and {last} are no dates; write 2026-02-03T00:00:00Z") from None
            if end_s <= start_s:
                raise CapsimError(f"{file}: {last} is not after {first}; correct them")
            running = data.get("isCurrentPeriod") is True or data.get("period") == "current"
            if first == "start" and (running or (data.get("period") != "previous" and written_s < end_s)):
                return _running(file, start_s, end_s, until, written_s)
            if until is not None:
                raise CapsimError(f"{file}: says itself that it ends at {iso(round(end_s * 1e6))}; leave --until out")
            return Period(start_s, end_s)
    if until is not None:
        raise CapsimError(f"{file}: does not say when it begins, so --until says nothing of it; leave it out")
    return None


def _running(file: str, start_s: float, end_s: float, until: str | None, written_s: float) -> Period:
    if until is None:
        at_s, whose = written_s, "the time of the file; --until TIME says another"
    else:
        try:
            at_s, whose = Stamps()(until) / 1e6, "as --until says"
        except (ValueError, OverflowError):
            raise CapsimError("--until is no time; write it as 2026-02-14T10:00:00Z") from None
    begins, ends = (iso(round(1e6 * at)) for at in (start_s, end_s))
    if not start_s < at_s <= end_s:
        if until is not None:
            raise CapsimError(f"--until: {file} is of the period from {begins} to {ends}; give a time in it")
        raise CapsimError(
            f"{file}: is of a billing period that was still running ({begins} to {ends}), and the file's own time is "
            f"not in it; say when it was exported: --until {dt.datetime.fromtimestamp(start_s, dt.UTC):%Y-%m}-15T12:00Z"
        )
    note = f"the billing period was still running: it is counted up to {iso(round(at_s) * 1_000_000)}, {whose}"
    return Period(start_s, at_s, note)


def number(value: Any, file: str, what: str) -> float:
    """A number of an export, which is none below 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LARGEST:
        raise CapsimError(f"{file}: {what} is {repr(value)[:40]}; it must be a number from 0 to {LARGEST:g}")
    return float(value)

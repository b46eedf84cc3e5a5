"""Reads what Railway says was used: exports of its GraphQL API and of its command line, in quantities or in dollars.

The shapes are those of `usage`, `estimatedUsage` and `metrics` (GraphQL), ``railway usage --json``, ``railway usage
projects --json`` and ``railway metrics --raw --json`` as documented on 2026-08-21 (facts: railway §7).
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capsim.errors import CapsimError
from capsim.pricing import Meter
from capsim.usage import SERVICES

Floats = NDArray[np.float64]

ALL = "all services"
MEASUREMENTS: dict[str, Meter] = {
    "MEMORY_USAGE_GB": "memory",
    "CPU_USAGE": "cpu",
    "NETWORK_TX_GB": "egress",
    "DISK_USAGE_GB": "volume",
    "BACKUP_USAGE_GB": "backups",
}
_LABELS: dict[str, Meter] = {
    "cpu": "cpu", "memory": "memory", "egress": "egress", "volume": "volume", "backup": "backups",
}  # fmt: skip
_LARGEST_BYTES = 64 << 20
LARGEST = 1e15  # of any number in an export: bytes of a large month, or milliseconds; sums of such stay exact enough
_GAP_STEPS = 2.0  # between samples further apart than so many usual steps nothing is known, and nothing is counted
REMEDY = "give an export of Railway's usage or metrics, or a result.json that capsim wrote"


@dataclass(frozen=True)
class Entry:
    """One line of an export; either a quantity in the unit of the bill, or dollars."""

    service: str
    meter: Meter
    quantity: float | None = None
    usd: float | None = None


@dataclass(frozen=True)
class Series:
    """Samples of one meter of one service: vCPU, or GB in the size that the bill has of one.

    Attributes
    ----------
    at_s, values : array, shape (n,)
        Seconds since 1970, in order; two samples or more.
    """

    source: str
    service: str
    meter: Meter
    at_s: Floats
    values: Floats


@dataclass(frozen=True)
class Billed:
    """An export: its lines, the time it covers where it says so, and what of it was not taken."""

    source: str
    entries: tuple[Entry, ...]
    minutes: float | None
    notes: tuple[str, ...] = ()


def split_side(side: str) -> tuple[str | None, str]:
    """A side as ``FILE`` or ``SERVICE=FILE``, which says whose export it is.

    Examples
    --------
    >>> split_side("postgres=metrics.json"), split_side("usage.json")
    (('postgres', 'metrics.json'), (None, 'usage.json'))
    """
    service, equals, file = side.partition("=")
    return (service, file) if equals and service in SERVICES else (None, side)


def is_export(side: str) -> bool:
    """Whether a side is a Railway export rather than a scenario or a result of capsim."""
    service, file = split_side(side)
    if service:
        return True
    if not file.endswith(".json"):
        return False
    try:
        data = json.loads(Path(file).read_text(encoding="utf-8"))
        return not (isinstance(data, dict) and "schema_version" in data) and bool(_kind(data))
    except (OSError, ValueError, RecursionError):
        return False  # the reader of results words what is wrong


def read_billed(side: str) -> Billed:
    """Read an export.

    Parameters
    ----------
    side : str
        ``FILE``, or ``SERVICE=FILE`` for one that is of a single service and does not name it.

    Returns
    -------
    Billed
        Rows of the same line added up, as Railway asks for. Samples over time (metrics) become quantities by
        holding each value until the next, at most two usual steps.

    Raises
    ------
    CapsimError
        If the file cannot be read or is no such export, or a value is negative or no number.
    """
    service, file = split_side(side)
    data, kind = _read(file)
    notes: dict[str, None] = {}
    minutes = _period(data, file)
    if kind == "series":
        found, covered = _of_series(data, file, notes)
        minutes = covered
    elif kind == "usage":
        found = list(_of_usage(data, file, notes))
    elif kind == "lines":
        found = [
            Entry(ALL, meter, usd=_number(item.get("currentUsageDollars"), file, f"lineItems {meter}"))
            for item in data["lineItems"]
            if isinstance(item, dict) and (meter := _LABELS.get(str(item.get("label", "")).lower()))
        ]
    elif kind == "services":
        found = [
            Entry(_service(item), meter, usd=_number(item[f"{label}Dollars"], file, f"{label}Dollars"))
            for item in _priced(data)
            for label, meter in _LABELS.items()
            if f"{label}Dollars" in item
        ]
    else:
        raise CapsimError(f"{file}: is no export that is known; {REMEDY}")
    if not found:
        raise CapsimError(f"{file}: has no line of a bill (memory, CPU, egress, volume, backup); export more of it")
    if service:
        found = [Entry(service, e.meter, e.quantity, e.usd) for e in found]
    return Billed(source=file, entries=tuple(_added(found)), minutes=minutes, notes=tuple(notes))


def read_series(side: str) -> list[Series]:
    """Samples over time of memory and CPU, from an export of Railway's metrics.

    Parameters
    ----------
    side : str
        ``FILE``, or ``SERVICE=FILE`` for one that is of a single service and does not name it; a row without a name is
        taken for the server's.

    Raises
    ------
    CapsimError
        If the file cannot be read, has no such samples, or has a meter of a service twice (replicas).
    """
    service, file = split_side(side)
    data, kind = _read(file)
    if kind != "series":
        raise CapsimError(f"{file}: has no samples over time; give an export of railway metrics --raw --json")
    found: dict[tuple[str, Meter], Series] = {}
    for row in _rows(data):
        name = str(row["measurement"])
        if name not in ("MEMORY_USAGE_GB", "CPU_USAGE"):
            continue
        whose = service or _service(row)
        key = ("server" if whose == ALL else whose, MEASUREMENTS[name])
        if key in found:
            raise CapsimError(f"{file}: has {name} of {key[0]} twice (replicas, or two services); export one of them")
        points = np.array(_points(row, file, name))
        found[key] = Series(file, *key, points[:, 0], points[:, 1])
    return list(found.values())


def _read(file: str) -> tuple[Any, str | None]:
    """An export, and of which kind it is."""
    try:
        path = Path(file)
        if path.stat().st_size > _LARGEST_BYTES:
            raise CapsimError(f"{file}: larger than 64 MiB; export a shorter time")
        data = json.loads(path.read_text(encoding="utf-8-sig"))
        return data, _kind(data)
    except OSError as error:
        raise CapsimError(f"{file}: cannot be read ({error.strerror}); {REMEDY}") from None
    except (ValueError, RecursionError) as error:
        raise CapsimError(f"{file}: is not JSON ({type(error).__name__}); {REMEDY}") from None


def _kind(data: Any) -> str | None:
    if isinstance(data, dict) and isinstance(data.get("lineItems"), list):
        return "lines"
    rows = list(_rows(data))
    if rows:
        return "series" if any("values" in row for row in rows) else "usage"
    return "services" if any(True for _ in _priced(data)) else None


def _rows(data: Any) -> Iterator[Mapping[str, Any]]:
    """All objects that carry a measurement, at any depth: API and command line wrap them differently."""
    if isinstance(data, dict):
        if "measurement" in data:
            yield data
            return
        for value in data.values():
            yield from _rows(value)
    elif isinstance(data, list):
        for value in data:
            yield from _rows(value)


def _priced(data: Any) -> Iterator[Mapping[str, Any]]:
    """The innermost objects with dollars of memory: services, not the projects that add them up."""
    if isinstance(data, dict):
        inner = [item for value in data.values() for item in _priced(value)]
        if inner:
            yield from inner
        elif "memoryDollars" in data:
            yield data
    elif isinstance(data, list):
        for value in data:
            yield from _priced(value)


def _service(row: Mapping[str, Any]) -> str:
    """Which of the three services a row is of, by the name that it carries; without a name, all of them."""
    tags = row.get("tags")
    tags = tags if isinstance(tags, dict) else {}
    name = next(
        (str(of[key]).lower() for of in (row, tags) for key in ("serviceName", "name", "service") if of.get(key)), None
    )
    if name is None:
        return ALL
    return "postgres" if "postgres" in name or "database" in name else "redis" if "redis" in name else "server"


def _of_usage(data: Any, file: str, notes: dict[str, None]) -> Iterator[Entry]:
    for row in _rows(data):
        name = str(row["measurement"])
        if name not in MEASUREMENTS:
            notes[f"{name} is not charged and not compared"] = None
            continue
        value = row.get("value", row.get("estimatedValue"))
        if "estimatedValue" in row:
            notes["values are Railway's own estimate of the end of the cycle"] = None
        yield Entry(_service(row), MEASUREMENTS[name], quantity=_number(value, file, name))


def _of_series(data: Any, file: str, notes: dict[str, None]) -> tuple[list[Entry], float]:
    found, covered = [], 0.0
    for row in _rows(data):
        name = str(row["measurement"])
        if name not in MEASUREMENTS or name in ("NETWORK_TX_GB", "BACKUP_USAGE_GB"):
            notes[f"{name} as samples over time is not what is charged, and is not compared"] = None
            continue
        points = _points(row, file, name)
        steps = [later[0] - point[0] for point, later in pairwise(points)]
        usual_s = median(steps)
        held_s = [min(step, _GAP_STEPS * usual_s) for step in [*steps, usual_s]]
        if max(steps) > _GAP_STEPS * usual_s:
            notes[f"{name} has gaps; nothing is counted in them"] = None
        found.append(
            Entry(
                _service(row),
                MEASUREMENTS[name],
                quantity=math.fsum(value * held / 60 for (_, value), held in zip(points, held_s, strict=True)),
            )
        )
        covered = max(covered, math.fsum(held_s) / 60)
    return found, covered


def _points(row: Mapping[str, Any], file: str, name: str) -> list[tuple[float, float]]:
    """Instant and value of each sample, in order of time."""
    samples = row.get("values") or []
    if not isinstance(samples, list) or not all(isinstance(sample, dict) for sample in samples):
        raise CapsimError(f"{file}: the values of {name} are no list of samples; {REMEDY}")
    points = sorted((_number(s.get("ts"), file, f"{name} ts"), _number(s.get("value"), file, name)) for s in samples)
    if len(points) < 2:
        raise CapsimError(f"{file}: {name} has {len(points)} samples; export a longer time")
    return points


def _added(entries: list[Entry]) -> Iterator[Entry]:
    for service, meter in dict.fromkeys((e.service, e.meter) for e in entries):
        same = [e for e in entries if (e.service, e.meter) == (service, meter)]
        if same[0].usd is not None:
            yield Entry(service, meter, usd=math.fsum(e.usd or 0.0 for e in same))
        else:
            yield Entry(service, meter, quantity=math.fsum(e.quantity or 0.0 for e in same))


def _period(data: Any, file: str) -> float | None:
    """Minutes between startDate and endDate, where the export (or the query kept with it) has them."""
    places = [data, data.get("variables"), data.get("period")] if isinstance(data, dict) else []
    for place in places:
        if isinstance(place, dict) and place.get("startDate") and place.get("endDate"):
            try:
                start, end = (dt.datetime.fromisoformat(str(place[key])) for key in ("startDate", "endDate"))
                minutes = (end - start).total_seconds() / 60
            except (ValueError, TypeError):
                raise CapsimError(f"{file}: startDate and endDate are no dates; write 2026-02-03T00:00:00Z") from None
            if minutes <= 0:
                raise CapsimError(f"{file}: endDate is not after startDate; correct them")
            return minutes
    return None


def _number(value: Any, file: str, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LARGEST:
        raise CapsimError(f"{file}: {what} is {repr(value)[:40]}; it must be a number from 0 to {LARGEST:g}")
    return float(value)

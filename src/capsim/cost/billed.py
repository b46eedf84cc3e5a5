"""What Railway says was used: lines of a bill, in quantities or in dollars, and samples over time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capsim.base.errors import CapsimError
from capsim.cost.railway_export import ALL, NO_PART, Export, Row, number, part_of, read_export
from capsim.cost.railway_export import is_export as _is_export
from capsim.cost.railway_samples import held, length_s, points_of
from capsim.scenario.columns import SERVICES
from capsim.scenario.prices import Meter

Floats = NDArray[np.float64]

MEASUREMENTS: dict[str, Meter] = {
    "MEMORY_USAGE_GB": "memory",
    "CPU_USAGE": "cpu",
    "NETWORK_TX_GB": "egress",
    "DISK_USAGE_GB": "volume",
    "BACKUP_USAGE_GB": "backups",
}
_FREE = ("CPU_LIMIT", "MEMORY_LIMIT_GB", "NETWORK_RX_GB", "EPHEMERAL_DISK_USAGE_GB")
_FLOWS = ("NETWORK_TX_GB", "BACKUP_USAGE_GB")  # samples of these over time are not what is charged
_LABELS: tuple[tuple[str, Meter], ...] = (  # words of a line's label, as Railway or an invoice may write them
    ("cpu", "cpu"), ("memory", "memory"), ("ram", "memory"), ("egress", "egress"), ("network", "egress"),
    ("backup", "backups"), ("volume", "volume"),
)  # fmt: skip
_DOLLARS: dict[str, Meter] = {
    "cpuDollars": "cpu", "memoryDollars": "memory", "egressDollars": "egress", "volumeDollars": "volume",
    "backupDollars": "backups",
}  # fmt: skip
_TOTALS = ("totalDollars", "currentUsageDollars")
_STEP_S = 60.0  # of a single sample
_CENT = 0.01
MOSTLY = 0.95  # of the time: less is told


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
    """An export: its lines, what they are of, the time they cover where that is known, and what was not taken.

    Attributes
    ----------
    minutes : float or None
        Time that the lines are of [min]; None where the export does not say.
    covered : tuple of float, or None
        Share of that time that samples tell of, of the line with least and with most; None for anything but samples.
    left_out_usd : float
        Dollars of the export that are in no entry.
    """

    source: str
    entries: tuple[Entry, ...]
    minutes: float | None
    notes: tuple[str, ...] = ()
    scope: str = ""
    covered: tuple[float, float] | None = None
    left_out_usd: float = 0.0


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
    return service is not None or _is_export(file)


def read_billed(side: str, until: str | None = None, project: str | None = None) -> Billed:
    """Read an export.

    Parameters
    ----------
    side : str
        ``FILE``, or ``SERVICE=FILE`` for one that is of a single service and does not name it.
    until : str, optional
        When a billing period that still ran was exported (ISO 8601); the file's time by default.
    project : str, optional
        Name or identifier of the project whose rows are meant, where an export has several.

    Returns
    -------
    Billed
        Rows of the same line added up, as Railway asks for. Samples over time (metrics) become quantities by holding
        each value until the next, and the last until the end; ``covered`` says how much of the time they tell of.

    Raises
    ------
    CapsimError
        If the file cannot be read or is no such export, or a value is negative or no number.

    Examples
    --------
    >>> from capsim.base.paths import data_dir
    >>> export = data_dir().parent / "tests/data/billed/usage-cli.json"
    >>> [entry.usd for entry in read_billed(str(export)).entries if entry.meter == "memory"]  # doctest: +SKIP
    [12.0]
    """
    service, file = split_side(side)
    export = read_export(file, until, project)
    taking = _Taking(export, service)
    if export.kind == "series":
        _take_series(taking)
    else:
        {"usage": _take_usage, "lines": _take_lines, "services": _take_services}[export.kind](taking)
    if not taking.entries:
        told = f" ({'; '.join(list(taking.notes)[:3])})" if taking.notes else ""
        raise CapsimError(f"{file}: has no line of a bill{told}; export memory, CPU, egress, volume or backups")
    if export.period and export.period.note:
        taking.note(export.period.note)
    taking.say_names()
    return Billed(
        source=file,
        entries=tuple(_added(taking.entries)),
        minutes=taking.minutes,
        notes=tuple(taking.notes),
        scope=export.scope,
        covered=taking.covered,
        left_out_usd=taking.left_out_usd,
    )


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
    export = read_export(file)
    if export.kind != "series":
        raise CapsimError(f"{file}: has no samples over time; give an export of railway metrics --raw --json")
    found: dict[tuple[str, Meter], Series] = {}
    for row in export.rows:
        name = str(row["measurement"])
        whose = service or part_of(export.name_of(row))
        if name not in ("MEMORY_USAGE_GB", "CPU_USAGE") or whose == NO_PART:
            continue
        key = ("server" if whose == ALL else whose, MEASUREMENTS[name])
        if key in found:
            raise CapsimError(f"{file}: has {name} of {key[0]} twice (replicas, or two services); export one of them")
        points = points_of(row, file, name)
        if len(points) < 2:
            raise CapsimError(f"{file}: {name} has {len(points)} samples; export a longer time")
        table = np.array(points)
        found[key] = Series(file, *key, table[:, 0], table[:, 1])
    return list(found.values())


class _Taking:
    """What has been taken from an export, and what was not."""

    def __init__(self, export: Export, service: str | None) -> None:
        self.export, self.service, self.file = export, service, export.file
        self.entries: list[Entry] = []
        self.notes: dict[str, None] = {}
        self.names: dict[str, dict[str, None]] = {}
        self.minutes = export.period.minutes if export.period else None
        self.covered: tuple[float, float] | None = None
        self.left_out_usd = 0.0

    def note(self, text: str) -> None:
        self.notes[text] = None

    def part(self, row: Row) -> str | None:
        """The part of the scenario that a row is of; None where it is of none."""
        name = self.export.name_of(row)
        part = self.service or part_of(name)
        if name is None:
            tags = row.get("tags")
            name = str(tags["serviceId"])[:40] if isinstance(tags, dict) and tags.get("serviceId") else None
        if name:
            self.names.setdefault(part, {})[name] = None
        return None if part == NO_PART else part

    def leave_out(self, what: str, usd: float) -> None:
        """Name dollars that are compared with nothing."""
        if usd >= _CENT / 2:
            self.left_out_usd += usd
            self.note(f"{what} (${usd:,.2f}) is not compared")

    def say_names(self) -> None:
        """Which services of the export are which part of the scenario."""
        told = []
        for part, names in self.names.items():
            shown = ", ".join(list(names)[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
            told.append(f"{shown} = {part}{' added up' if part in (ALL, 'server') and len(names) > 1 else ''}")
        if told:
            self.note(f"services in {self.file}: {'; '.join(told)}")


def _take_lines(taking: _Taking) -> None:
    """Lines of the whole workspace, in dollars."""
    for item in taking.export.rows:
        label = str(item.get("label", ""))[:40]
        usd = number(item.get("currentUsageDollars"), taking.file, f"lineItems {label}")
        lower = label.lower()
        meter = next((meter for word, meter in _LABELS if word in lower), None)
        if "object" in lower or "ephemeral" in lower or "ingress" in lower or meter is None:
            taking.leave_out(label or "a line without a label", usd)
        else:
            taking.entries.append(Entry(taking.service or ALL, meter, usd=usd))
    _rest(taking, taking.export.data, math.fsum(e.usd or 0.0 for e in taking.entries))


def _take_services(taking: _Taking) -> None:
    """Services of one project, in dollars."""
    for item in taking.export.rows:
        part = taking.part(item)
        name = taking.export.name_of(item) or "a service"
        taken = left = 0.0
        for key, value in item.items():
            if not key.endswith("Dollars") or key in _TOTALS:
                continue
            usd = number(value, taking.file, f"{key[:40]} of {name}")
            if part is None:
                left += usd
            elif key in _DOLLARS:
                taking.entries.append(Entry(part, _DOLLARS[key], usd=usd))
            else:
                taking.leave_out(f"{key[:40]} of {name}", usd)
            taken += usd
        taking.leave_out(f"{name}, none of the three services", left)
        if item.get("totalDollars") is not None:
            total = number(item["totalDollars"], taking.file, f"totalDollars of {name}")
            taking.leave_out(f"what {name} was charged beyond its lines", total - taken)
    _rest(taking, taking.export.data, math.fsum(e.usd or 0.0 for e in taking.entries))


def _rest(taking: _Taking, data: Any, taken_usd: float) -> None:
    """What the export's own sum has beyond its lines."""
    if isinstance(data, dict) and data.get("currentUsageDollars") is not None:
        total = number(data["currentUsageDollars"], taking.file, "currentUsageDollars")
        if total - taken_usd - taking.left_out_usd >= _CENT:
            taking.leave_out("what currentUsageDollars has beyond the lines", total - taken_usd - taking.left_out_usd)


def _known(taking: _Taking, name: str) -> bool:
    if name in MEASUREMENTS:
        return True
    why = "is not charged" if name in _FREE else "is not known here"
    taking.note(f"{name[:40]} {why}, and is not compared")
    return False


def _take_usage(taking: _Taking) -> None:
    """Quantities of a time, in the units of the bill."""
    for row in taking.export.rows:
        name = str(row["measurement"])
        if not _known(taking, name):
            continue
        value = row.get("value", row.get("estimatedValue"))
        if "estimatedValue" in row:
            taking.note("values are Railway's own estimate of the end of the cycle")
        quantity = number(value, taking.file, name)
        if (part := taking.part(row)) is not None:
            taking.entries.append(Entry(part, MEASUREMENTS[name], quantity=quantity))
        elif quantity:
            taking.note(f"{name} of {taking.export.name_of(row)} ({quantity:,.6g}) is not compared")


def _take_series(taking: _Taking) -> None:
    """Samples, as the quantities that they amount to over the time of the export."""
    found: list[tuple[str, str, list[tuple[float, float]]]] = []
    for row in taking.export.rows:
        name = str(row["measurement"])
        if not _known(taking, name):
            continue
        if name in _FLOWS:
            taking.note(f"{name} as samples over time is not what is charged, and is not compared")
            continue
        points = points_of(row, taking.file, name)
        if not points:
            taking.note(f"{name} has no samples, and is not compared")
        elif (part := taking.part(row)) is not None:
            found.append((part, name, points))
    if not found:
        return
    steps = [median(later[0] - point[0] for point, later in pairwise(p)) for _, _, p in found if len(p) > 1]
    usual_s = min([step for step in steps if step > 0], default=_STEP_S)
    period = taking.export.period
    start_s = period.start_s if period else min(points[0][0] for _, _, points in found)
    end_s = period.end_s if period else max(points[-1][0] for _, _, points in found) + usual_s
    taking.minutes = (end_s - start_s) / 60
    told: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for part, name, points in found:
        # One of several rows of a line is a replica or a deployment, of which an end is an end.
        ends = sum((part, name) == other[:2] for other in found) > 1
        quantity, known = held(points, start_s, end_s, usual_s, ends)
        taking.entries.append(Entry(part, MEASUREMENTS[name], quantity=quantity))
        told.setdefault((part, name), []).extend(known)
    shares = {line: length_s(known) / (end_s - start_s) for line, known in told.items()}
    for (part, name), share in shares.items():
        if share < MOSTLY:
            taking.note(f"{name} of {part}: samples tell of {share:.0%} of the time; each value is held until the next")
    taking.covered = (min(shares.values()), max(shares.values()))


def _added(entries: list[Entry]) -> Iterator[Entry]:
    for service, meter in dict.fromkeys((e.service, e.meter) for e in entries):
        same = [e for e in entries if (e.service, e.meter) == (service, meter)]
        if same[0].usd is not None:
            yield Entry(service, meter, usd=math.fsum(e.usd or 0.0 for e in same))
        else:
            yield Entry(service, meter, quantity=math.fsum(e.quantity or 0.0 for e in same))

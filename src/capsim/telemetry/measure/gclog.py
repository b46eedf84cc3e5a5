"""What V8's own log of collections (``--trace-gc-nvp``) says of a program: bytes allocated, moved on, left."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from capsim.base.units import MIB

FLAGS = ("--trace-gc", "--trace-gc-nvp")
_HEAD = re.compile(r"^\[\d+:[^\]]*\]\s+(\d+) ms: pause=")
_BYTES = re.compile(r"[0-9]{1,15}")
_AFTER = ("total_size_after", "end_object_size")  # Node 20, Node 24


@dataclass(frozen=True)
class Event:
    """One collection: when it ended [s since the start], which, and what it counted [MiB]."""

    t_s: float
    full: bool
    allocated_mib: float
    promoted_mib: float
    used_after_mib: float


def events(lines: Iterable[str]) -> list[Event]:
    """The collections of a log; other lines are passed over.

    Examples
    --------
    >>> line = "[7:0x1]  500 ms: pause=1.0 gc=s total_size_after=1048576 allocated=2097152 promoted=524288"
    >>> events([line, "hello"])
    [Event(t_s=0.5, full=False, allocated_mib=2.0, promoted_mib=0.5, used_after_mib=1.0)]
    """
    out = []
    for line in lines:
        head = _HEAD.match(line)
        if not head:
            continue
        said = dict(part.split("=", 1) for part in line.split() if "=" in part)
        after = next((said[name] for name in _AFTER if name in said), None)
        if after is None or not {"gc", "allocated", "promoted"} <= said.keys():
            continue
        full = said["gc"].startswith("mc")
        counted = (said["allocated"], said["promoted"], after)
        if not all(_BYTES.fullmatch(text) for text in (head[1], *counted)):
            continue  # a line cut short, or another program's
        allocated, promoted, left = (int(text) / MIB for text in counted)
        out.append(Event(int(head[1]) / 1000, full, allocated, promoted, left))
    return out


@dataclass(frozen=True)
class Allocation:
    """What a request costs the heap [KiB], and the least that a full collection left [MiB; None without one]."""

    allocated_kib: float
    promoted_kib: float
    least_left_mib: float | None


def allocation(found: Iterable[Event], from_s: float, to_s: float, requests: int) -> Allocation | None:
    """Per request over a stretch of time; None where it holds no request or no collection."""
    inside = [event for event in found if from_s <= event.t_s <= to_s]
    if not inside or requests < 1:
        return None
    scavenges = [event for event in inside if not event.full]
    left = [event.used_after_mib for event in inside if event.full]
    return Allocation(
        1024 * sum(event.allocated_mib for event in inside) / requests,
        1024 * sum(event.promoted_mib for event in scavenges) / requests,
        min(left, default=None),
    )

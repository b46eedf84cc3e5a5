"""What the lines say of each request beside its time: method, path, status, bytes of the answer, duration.

Kept only when asked for (`capsim.workload.read.read_requests`). Paths are kept as patterns (`capsim.workload.paths`);
addresses, users and agents are never kept.
"""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from capsim.base.errors import TraceError
from capsim.workload.model import Ints, Trace
from capsim.workload.paths import MOST_SIBLINGS, path_of, without_names

MOST_ROUTES = 10_000  # distinct methods with paths; further ones are OTHER
OTHER = ("-", "(other paths)")
UNSAID = ("-", "-")
_MOST_TARGETS = 100_000  # raw requests remembered at a time: they differ by their queries
_METHOD = re.compile(r"[A-Z][A-Z-]{1,19}$")


class NoPaths(TraceError):
    """A file whose lines do not say what was asked; it can still be a load.

    Attributes
    ----------
    trace : Trace
        That load.
    """

    trace: Trace


@dataclass
class Columns:
    """The columns while a file is read: a row for each instant that its reader takes, in the same order."""

    routes: dict[tuple[str, str], int] = field(default_factory=dict)
    route: array[int] = field(default_factory=lambda: array("i"))
    status: array[int] = field(default_factory=lambda: array("h"))  # -1: not said
    response_bytes: array[int] = field(default_factory=lambda: array("q"))  # -1: not said
    duration_us: array[int] = field(default_factory=lambda: array("q"))  # -1: not said
    _known: dict[object, int] = field(default_factory=dict)

    def add(self, method: object, target: object, status: object, response_bytes: object, duration_us: object) -> None:
        """One request, each value as the line has it: None or anything odd is *not said*."""
        self.add_placed(self.place(method, target), status, response_bytes, duration_us)

    def add_placed(self, route: int, status: object, response_bytes: object, duration_us: object) -> None:
        """The same, if its place in `routes` is known."""
        self.route.append(route)
        self.status.append(_whole(status, 999))
        self.response_bytes.append(_whole(response_bytes, 1 << 50))
        self.duration_us.append(_whole(duration_us, 1 << 50))

    def keep(self, places: list[int]) -> None:
        """Keep these rows only."""
        self.route = array("i", [self.route[place] for place in places])
        self.status = array("h", [self.status[place] for place in places])
        self.response_bytes = array("q", [self.response_bytes[place] for place in places])
        self.duration_us = array("q", [self.duration_us[place] for place in places])

    def extend(self, other: Columns) -> None:
        """Add the rows of another file."""
        places = [self.routes.setdefault(route, len(self.routes)) for route in other.routes]
        self.route.extend([places[place] for place in other.route])
        self.status.extend(other.status)
        self.response_bytes.extend(other.response_bytes)
        self.duration_us.extend(other.duration_us)

    def place(self, method: object, target: object) -> int:
        """Where in `routes` a request belongs."""
        key = (method, target) if isinstance(method, str) and isinstance(target, str) else None
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _MOST_TARGETS:
                self._known.clear()
            known = self._known[key] = self._new(*key) if key else self._new("", "")
        return known

    def place_of_line(self, request: bytes) -> int:
        """The same of ``POST /api/events HTTP/1.1``."""
        known = self._known.get(request)
        if known is None:
            if len(self._known) >= _MOST_TARGETS:
                self._known.clear()
            parts = request.decode("latin-1").split(" ")
            known = self._known[request] = self._new(parts[0], parts[1] if len(parts) > 1 else "")
        return known

    def _new(self, method: str, target: str) -> int:
        said = target and _METHOD.match(method)
        route = (method, path_of(target)) if said else UNSAID
        if route not in self.routes and len(self.routes) >= MOST_ROUTES:
            route = OTHER
        return self.routes.setdefault(route, len(self.routes))


def told(columns: Columns) -> tuple[list[tuple[str, str]], NDArray[np.int32]]:
    """The routes of a whole log, and the place of each request among them; names that were many are parameters now."""
    routes, route = list(columns.routes), np.frombuffer(columns.route, np.int32)
    if len(routes) <= MOST_SIBLINGS:
        return routes, route
    often = np.bincount(route, minlength=len(routes)).tolist()
    paths = without_names(dict(zip(routes, often, strict=True)))
    merged = dict.fromkeys((method, paths[method, path]) for method, path in routes)
    places = {one: place for place, one in enumerate(merged)}
    new = np.array([places[method, paths[method, path]] for method, path in routes], np.int32)
    return list(merged), new[route]


def _whole(value: object, most: int) -> int:
    """A number that a line may write as text; -1 if it is none."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return -1
    return round(number) if 0 <= number <= most else -1


@dataclass(frozen=True, eq=False)
class Requests:
    """The requests of a log, one a row, in the order of the file.

    Attributes
    ----------
    trace : Trace
        The load they make, as `read_trace` gives it.
    times_us : int64[n]
        Instants as stamped [us since 1970]; not sorted.
    routes : list of (method, path)
        What was asked; ``("-", "-")`` where the line does not say.
    route : int32[n]
        Place in ``routes``.
    status : int16[n]
        HTTP status; -1 not said.
    response_bytes, duration_us : int64[n]
        Bytes of the answer [bytes], and how long it took [us]; -1 not said.
    """

    trace: Trace
    times_us: Ints
    routes: list[tuple[str, str]]
    route: NDArray[np.int32]
    status: NDArray[np.int16]
    response_bytes: Ints
    duration_us: Ints

    def window(self, from_: str | int | None = None, to: str | int | None = None) -> Requests:
        """Those in [from, to); see `capsim.workload.model.Trace.window`."""
        trace = self.trace.window(from_, to)
        kept = (self.times_us >= trace.start_us) & (self.times_us < trace.end_us)
        names = ("times_us", "route", "status", "response_bytes", "duration_us")
        return replace(self, trace=trace, **{name: getattr(self, name)[kept] for name in names})

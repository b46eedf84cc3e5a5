"""The cache of responses: by query, each until it expires; the oldest give way where there is no room."""

from __future__ import annotations

from typing import NamedTuple

from capsim.base.units import MIB, us_from_s
from capsim.scenario.parts import CacheSpec


class Response(NamedTuple):
    """What is made of the result of a read; what is kept of it is compressed for each answer."""

    query: int
    rows: int
    cpu_us: int
    size_bytes: int
    packing_us: int


class Cache:
    """Responses that are kept."""

    def __init__(self, spec: CacheSpec) -> None:
        self.spec = spec
        self._kept: dict[int, tuple[int, Response]] = {}  # by query: until when, and what; the oldest first

    def find(self, query: int, now_us: int) -> Response | None:
        """A response that has not expired."""
        until_us, response = self._kept.get(query, (0, None))
        return response if now_us < until_us else None

    def keep(self, response: Response, now_us: int) -> int:
        """Keep a response; how many bytes are kept now."""
        self._kept = {q: kept for q, kept in self._kept.items() if kept[0] > now_us and q != response.query}
        self._kept[response.query] = now_us + us_from_s(self.spec.ttl_s), response
        while self._kept and self._is_too_large:
            del self._kept[next(iter(self._kept))]
        return self.size_bytes

    @property
    def size_bytes(self) -> int:
        """Bytes that are kept."""
        return sum(response.size_bytes for _, response in self._kept.values())

    @property
    def _is_too_large(self) -> bool:
        entries, size_mib = self.spec.entries_max, self.spec.size_max_mib
        if entries != "none" and len(self._kept) > entries:
            return True
        return size_mib != "none" and self.size_bytes > size_mib * MIB

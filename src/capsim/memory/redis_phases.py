"""Redis in a container, operation by operation: fill, snapshot, rewrite, flush."""

from __future__ import annotations

import math
from dataclasses import replace

from capsim.memory.constants import PUBLISHED as value
from capsim.memory.container import Container, Usage
from capsim.memory.redis import Content

_PAGE_BYTES = 4096


class RedisContainer:
    """A Redis server alone in a memory group, empty at first.

    Parameters
    ----------
    limit_mib : float
        Limit of the container [MiB]; infinity for none.
    append_only : bool
        Whether every write goes to an append-only file, which is rewritten by itself once it has doubled
        (and passed 64 MiB).
    clients : int
        Connections; 10 KiB each.

    Notes
    -----
    Operations return what the container is charged for at their end; `peak_mib` is the most that the last one
    needed. Errors of all phases stand in docs/memory.md.

    Examples
    --------
    >>> server = RedisContainer()
    >>> server.fill(Content(100_000, 1_000)).usage_mib < 117  # measured: 115.5
    True
    >>> server.save().usage_mib < 216 and server.peak_mib < 217  # measured: 214.5, 214.8
    True
    >>> server.save(writes=175_600).usage_mib < 216 and server.peak_mib > 410  # measured: 214.8, 418.7
    True
    """

    def __init__(self, limit_mib: float = float("inf"), *, append_only: bool = False, clients: int = 1) -> None:
        self._box = Container(limit_mib)
        self._append_only, self._clients = append_only, clients
        self._content = Content(0, 0)
        self._kept_mib = 0.0  # the allocator's, once keys have come and gone
        self._aof_mib = self._rewritten_mib = 0.0
        self._made = {"rdb": 0, "aof": 0}  # files so far: a new one is complete before the old one goes
        self.peak_mib = 0.0
        self._box.write("programs", 0, value("redis_cache"))
        self._hold()

    @property
    def usage(self) -> Usage:
        """Memory of the container now."""
        return self._box.usage

    @property
    def killed(self) -> bool:
        """Whether Redis alone has ever needed more than the limit: the kernel then kills the server itself."""
        return self._box.killed

    def fill(self, content: Content) -> Usage:
        """Set all keys once; an append-only file that passes its mark is rewritten meanwhile."""
        self.peak_mib = 0.0
        self._content = content
        self._hold()
        before, after = self._until_rewrite(content.keys)
        self._log(before)
        if after:
            # The child sees the keys that were there when it began.
            self._rewrite(content.rdb_mib * before / content.keys, after, copied_mib=value("redis_copied_quiet"))
        return self._hold()

    def overwrite(self, writes: int, *, compressed: float) -> Usage:
        """Set keys again at random, to values that a file stores in another share of their size."""
        self.peak_mib = 0.0
        before, after = self._until_rewrite(writes)
        self._content = replace(self._content, compressed=compressed)
        self._log(before)
        if after:
            self._rewrite(self._content.rdb_mib, after, copied_mib=self._copied_mib(after))
        return self._hold()

    def save(self, writes: int = 0, *, compressed: float | None = None) -> Usage:
        """BGSAVE: a child writes a new snapshot, then the old one goes; pages written meanwhile are copied.

        The writes set random keys, to values of another `compressed` if that is given. An append-only file
        that has doubled by then is rewritten by the next operation, or by `rewrite`.
        """
        self.peak_mib = 0.0
        self._hold(self._copied_mib(writes))
        self._log(writes)
        self._renew("rdb", self._content.rdb_mib)
        if compressed is not None:
            self._content = replace(self._content, compressed=compressed)
        return self._hold()

    def rewrite(self) -> Usage:
        """BGREWRITEAOF without writes: as a snapshot, into a new append-only file."""
        self.peak_mib = 0.0
        self._rewrite(self._content.rdb_mib, 0, copied_mib=value("redis_copied_quiet"))
        return self._hold()

    def flush_all(self) -> Usage:
        """FLUSHALL: the memory of the keys comes back but for some MiB of the allocator's; files stay."""
        self.peak_mib = 0.0
        self._content = replace(self._content, keys=0)
        self._kept_mib = value("redis_kept")
        return self._hold()

    def stop(self) -> Usage:
        """Stop the server: its files stay in the page cache."""
        self._box.hold(0.0)
        return self.usage

    def _until_rewrite(self, writes: int) -> tuple[int, int]:
        """How many of the writes come before the append-only file rewrites itself, and how many after."""
        if not self._append_only:
            return writes, 0
        room = max(value("redis_aof_rewrite"), 2 * self._rewritten_mib) - self._aof_mib
        before = min(max(round(room / self._content.aof_mib(1)), 0), writes)
        return before, writes - before

    def _rewrite(self, base_mib: float, writes: int, copied_mib: float) -> None:
        """Write a new file from memory; what is set meanwhile goes to its end."""
        self._hold(copied_mib)
        self._rewritten_mib = base_mib
        self._aof_mib = base_mib + self._content.aof_mib(writes)
        self._renew("aof", self._aof_mib)

    def _copied_mib(self, writes: int) -> float:
        """Pages copied because they were written during a save: random keys, several to a page."""
        content = self._content
        written = writes / max(content.keys, 1) * _PAGE_BYTES / (content.value_bytes + value("redis_key"))
        return max(-math.expm1(-written) * content.memory_mib, value("redis_copied_quiet"))

    def _log(self, writes: int) -> None:
        if self._append_only:
            grown = self._aof_mib + self._content.aof_mib(writes)
            self._box.write(f"aof {self._made['aof']}", self._aof_mib, grown)
            self._aof_mib = grown
            self._mark()

    def _renew(self, kind: str, mib: float) -> None:
        self._made[kind] += 1
        self._box.write(f"{kind} {self._made[kind]}", 0.0, mib)
        self._mark()
        self._box.delete(f"{kind} {self._made[kind] - 1}")

    def _mark(self) -> None:
        self.peak_mib = max(self.peak_mib, self.usage.usage_mib)

    def _hold(self, copied_mib: float = 0.0) -> Usage:
        keys = self._content.memory_mib
        clients = self._clients * value("redis_client") / 1024
        anon = value("redis_anon") + clients + keys + self._kept_mib + copied_mib
        self._box.hold(anon, 0.0, value("redis_kernel") + value("redis_page_tables") * (keys + copied_mib))
        self._mark()
        return self.usage

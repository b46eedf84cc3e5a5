"""Container memory, which is what is billed: anonymous + shared + kernel + page cache, bounded by a limit.

Two views of one rule. `cached_mib` is the closed form for runs, in which files only grow: every byte touched
since the start stays cached until the limit leaves no room. `Container` also follows which pages go first, so
it can say what a deletion, a scan or a restart gives back: it keeps two lists, as the kernel does, pages that
were touched once and pages that were *read* again, and takes the oldest of the longer list first.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from capsim.base.errors import CapsimError
from capsim.memory.constants import PUBLISHED

Number = TypeVar("Number", float, NDArray[np.float64])

_CHUNK_MIB = 1.0  # pages are followed in chunks; usage is exact to one of them


def cached_mib(touched_mib: Number, held_mib: Number, limit_mib: float, kernel_share: Number | float = 0.0) -> Number:
    """Page cache of files that only grow [MiB].

    Parameters
    ----------
    touched_mib : float or array
        Bytes of files written or read since the start and still existing, once each [MiB].
    held_mib : float or array
        Memory that cannot be given back: anonymous, shared, kernel [MiB].
    limit_mib : float
        Limit of the container [MiB]; infinity for none.
    kernel_share : float or array
        Kernel memory that comes with each cached byte: 0.029 for written pages, 0.0025 for pages only read.

    Returns
    -------
    float or array
        ``min(touched, (limit - held) / (1 + kernel share))``, not below 0. Measured: usage stands at 98 to
        100 % of the limit while files are being touched (C11); without a limit the sum is met within 2 MiB up
        to 3.3 GiB (C2).

    Examples
    --------
    >>> cached_mib(2000.0, 150.0, 512.0), cached_mib(200.0, 150.0, 512.0)
    (362.0, 200.0)
    """
    room = np.maximum(limit_mib - held_mib, 0.0) / (1 + kernel_share)
    cached: Number = np.minimum(touched_mib, room)
    return cached if isinstance(cached, np.ndarray) else float(cached)


@dataclass(frozen=True)
class Usage:
    """What one container is charged for, in MiB; page cache without shared memory, which stands apart.

    Examples
    --------
    >>> Usage(anon_mib=4, shmem_mib=12, kernel_mib=2, cache_mib=9).usage_mib
    27.22
    """

    anon_mib: float
    shmem_mib: float
    kernel_mib: float
    cache_mib: float

    @property
    def usage_mib(self) -> float:
        """All of it, with 0.22 MiB that the kernel counts ahead (C1)."""
        return self.anon_mib + self.shmem_mib + self.kernel_mib + self.cache_mib + PUBLISHED("group_overhead")


@dataclass
class _Chunk:
    mib: float
    written: bool

    @property
    def kernel_mib(self) -> float:
        return self.mib * PUBLISHED("kernel_written" if self.written else "kernel_read")


class Container:
    """One memory group: what processes hold, and the file pages that they leave behind.

    Parameters
    ----------
    limit_mib : float
        Limit of the group [MiB]; infinity for none.
    reclaim_per_s : float
        Share of the pages touched once that the host takes back in a second without pressure. 0 by default:
        a kernel alone takes nothing. The machine of the measurements has a background reclaimer, 0.0007.

    Notes
    -----
    What the processes hold is set by `hold`; if that alone passes the limit, `killed` turns true, since only
    file pages can give way. Checked by the phases of Postgres and Redis in docs/memory.md.

    Examples
    --------
    A dump of 300 MiB under a limit of 200 leaves the group full; deleting the file empties it at once:

    >>> box = Container(limit_mib=200)
    >>> box.hold(anon_mib=20)
    >>> box.write("dump", 0, 300)
    >>> 198 < box.usage.usage_mib <= 200
    True
    >>> box.delete("dump")
    >>> round(box.usage.usage_mib)
    20
    """

    def __init__(self, limit_mib: float = float("inf"), reclaim_per_s: float = 0.0) -> None:
        if not limit_mib > 0:
            raise CapsimError(f"container limit is {limit_mib:g} MiB; give more than 0, or infinity for none")
        self.limit_mib, self._reclaim_per_s = limit_mib, reclaim_per_s
        self.killed = False
        self._once: OrderedDict[tuple[str, int], _Chunk] = OrderedDict()
        self._again: OrderedDict[tuple[str, int], _Chunk] = OrderedDict()
        self._mib = {"once": 0.0, "again": 0.0, "kernel": 0.0}
        self._held = Usage(0.0, 0.0, 0.0, 0.0)

    @property
    def usage(self) -> Usage:
        """Memory of the group now."""
        held, cache = self._held, self._mib["once"] + self._mib["again"]
        return Usage(held.anon_mib, held.shmem_mib, held.kernel_mib + self._mib["kernel"], cache)

    def hold(self, anon_mib: float, shmem_mib: float = 0.0, kernel_mib: float = 0.0) -> None:
        """Set what the processes hold [MiB]; file pages make room for it."""
        self._held = Usage(anon_mib, shmem_mib, kernel_mib, 0.0)
        self.killed |= self._held.usage_mib > self.limit_mib
        self._make_room()

    def write(self, file: str, from_mib: float, to_mib: float) -> None:
        """Write a stretch of a file; pages that were cached already stay in their list."""
        self._touch(file, from_mib, to_mib, written=True)

    def read(self, file: str, from_mib: float, to_mib: float) -> None:
        """Read a stretch of a file; pages that were cached already count as used again."""
        self._touch(file, from_mib, to_mib, written=False)

    def cached_of(self, file: str) -> float:
        """Cached bytes of one file [MiB]."""
        return sum(c.mib for part in (self._once, self._again) for (name, _), c in part.items() if name == file)

    def delete(self, file: str, from_mib: float = 0.0) -> None:
        """Remove a file, or cut it to `from_mib`: its pages go at once."""
        for part in (self._once, self._again):
            for key in [k for k in part if k[0] == file and k[1] * _CHUNK_MIB >= from_mib]:
                self._drop(part, key)

    def rest(self, seconds: float) -> None:
        """Let time pass: nothing goes, except what a host's own reclaimer takes of pages touched once."""
        gone = int(len(self._once) * (1 - (1 - self._reclaim_per_s) ** seconds))
        pages = list(self._once)
        for number in range(gone):  # spread evenly: it does not know files
            self._drop(self._once, pages[number * len(pages) // gone])

    def _touch(self, file: str, from_mib: float, to_mib: float, *, written: bool) -> None:
        for index in range(int(from_mib / _CHUNK_MIB), int(np.ceil(to_mib / _CHUNK_MIB))):
            key, mib = (file, index), min((index + 1) * _CHUNK_MIB, to_mib) - index * _CHUNK_MIB
            # A page goes to the second list when it is read again, not when it is written again.
            again = key in self._again or (key in self._once and not written)
            if key in self._once or key in self._again:
                old = self._drop(self._once if key in self._once else self._again, key)
                mib, written_before = max(mib, old.mib), old.written
            else:
                written_before = False
            self._put(self._again if again else self._once, key, _Chunk(mib, written or written_before))
            self._make_room()

    def _put(self, part: OrderedDict[tuple[str, int], _Chunk], key: tuple[str, int], chunk: _Chunk) -> None:
        part[key] = chunk
        self._mib["again" if part is self._again else "once"] += chunk.mib
        self._mib["kernel"] += chunk.kernel_mib

    def _drop(self, part: OrderedDict[tuple[str, int], _Chunk], key: tuple[str, int]) -> _Chunk:
        chunk = part.pop(key)
        self._mib["again" if part is self._again else "once"] -= chunk.mib
        self._mib["kernel"] -= chunk.kernel_mib
        return chunk

    def _make_room(self) -> None:
        while self.usage.usage_mib > self.limit_mib and (self._once or self._again):
            # Pages read again are spared until they are the larger part, then the oldest of them lose that.
            while self._again and self._mib["again"] > self._mib["once"]:
                key = next(iter(self._again))
                self._put(self._once, key, self._drop(self._again, key))
            self._drop(self._once, next(iter(self._once)))

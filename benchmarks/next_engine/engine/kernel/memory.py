"""The kernel's memory: one array, in which tables are placed one behind the other and grow by moving to the end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capsim.engine.kernel.fields import call as C
from capsim.engine.kernel.fields import event as E
from capsim.engine.kernel.fields import process as S
from capsim.engine.kernel.fields import setting as K
from capsim.engine.kernel.fields import visit as V
from capsim.engine.kernel.fields import whole as G
from capsim.engine.kernel.fields import writer as W

Ints = NDArray[np.int64]
# Facts that the loop writes: where they stand, how many there are, for how many there is room; columns.
FACTS = {
    "attempts": (G.ATTEMPTS, G.ATTEMPT_COUNT, G.ATTEMPT_ROOM, 16),
    "takes": (G.TAKES, G.TAKE_COUNT, G.TAKE_ROOM, 8),
    "waits": (G.WAITS, G.WAIT_COUNT, G.WAIT_ROOM, 5),
    "visits": (G.VISITS, G.VISIT_COUNT, G.VISIT_ROOM, 10),
    "stuck": (G.STUCK, G.STUCK_COUNT, G.STUCK_ROOM, 4),
}


class Memory:
    """The array ``m``, and what of it is taken."""

    def __init__(self, head: Ints) -> None:
        self.m: Ints = np.zeros(1 << 17, np.int64)
        self.m[: len(head)] = head
        self.m[G.END] = len(head) + 16
        self.rows: list[int] = []  # of processes, whether they live or wait for the next one
        self._rooms: dict[int, int] = {}  # of tables that are placed anew for each block

    def take(self, size: int) -> int:
        """Room for so many numbers, all 0; its address."""
        begin = int(self.m[G.END])
        if begin + size > len(self.m):
            wider = np.zeros(max(2 * len(self.m), begin + 2 * size), np.int64)
            wider[:begin] = self.m[:begin]
            self.m = wider
        self.m[begin : begin + size] = 0
        self.m[G.END] = begin + size
        return begin

    def put(self, values: Ints) -> int:
        """Room for these numbers; its address."""
        place = self.take(values.size)
        self.m[place : place + values.size] = values.ravel()
        return place

    def place(self, where: int, values: Ints) -> None:
        """Put a table of a block where the last one stood, if there is room; the head says where, at ``where``."""
        if values.size > self._rooms.get(where, -1):
            self._rooms[where] = 2 * values.size
            self.m[where] = self.take(2 * values.size)
        begin = int(self.m[where])
        self.m[begin : begin + values.size] = values.ravel()

    def grow(self, place: int, size: int, wanted: int) -> int:
        """A table of ``size`` numbers moves to where there is room for ``wanted``; its new address."""
        new = self.take(wanted)
        self.m[new : new + size] = self.m[place : place + size]
        return new

    # --- what runs short ---

    def more_rows(self, count: int, size: int, link: int, free: int) -> None:
        """So many more free rows of a kind, chained by a column; ``free`` is where the first stands in the head."""
        begin = self.take(count * size)
        links = begin + size * np.arange(1, count + 1)
        links[-1] = self.m[free]
        self.m[begin + link : begin + count * size : size] = links
        self.m[free] = begin
        self.m[free + 1] += count

    def more(self, keep: bool) -> None:
        """More of everything of which there may be too little for the next event."""
        m = self.m
        need = E.ROOM + sum(int(m[s + S.WAITING]) for s in self.rows)
        if m[G.FREE_COUNT] < E.ROOM:
            self.more_rows(2_048, C.SIZE, C.NEXT, G.FREE)
        if m[G.VISIT_FREE_COUNT] < E.ROOM:
            self.more_rows(1_024, V.SIZE, V.NEXT, G.VISIT_FREE)
        if self.m[G.HEAP_ROOM] - self.m[G.HEAP_SIZE] < need:
            room = 2 * int(self.m[G.HEAP_ROOM]) + need
            self.m[G.HEAP] = self.grow(int(self.m[G.HEAP]), 3 * int(self.m[G.HEAP_SIZE]), 3 * room)
            self.m[G.HEAP_ROOM] = room
        for name in FACTS if keep else ("waits", "stuck"):
            self.more_facts(name, need)
        for s in self.rows:
            self.longer_ring(s, S.RING, S.RING_SIZE, 3, int(self.m[s + S.HEAD]), int(self.m[s + S.TAIL]))
            if self.m[K.BEATS]:
                w = int(self.m[s + S.WRITERS]) + E.HEARTBEATS * W.SIZE
                oldest = int(self.m[w + (W.FIRST if self.m[w + W.FLUSHING] else W.HEAD)])
                self.longer_ring(s, S.BEATS, S.BEATS_SIZE, 2, oldest, int(self.m[w + W.SEEN]))

    def more_facts(self, name: str, need: int) -> None:
        """Room for more facts of a kind."""
        where, count, room, columns = FACTS[name]
        if self.m[room] - self.m[count] < need:
            wanted = 2 * int(self.m[room]) + need
            self.m[where] = self.grow(int(self.m[where]), int(self.m[count]) * columns, wanted * columns)
            self.m[room] = wanted

    def longer_ring(self, s: int, where: int, size: int, columns: int, head: int, tail: int) -> None:
        """A ring of a process has twice as many places, if it is full."""
        old = int(self.m[s + size])
        if tail - head < old:
            return
        entries = self.m[self.m[s + where] : self.m[s + where] + old * columns].reshape(old, columns).copy()
        begin = self.take(2 * old * columns)
        numbers = np.arange(head, tail)
        ring = self.m[begin : begin + 2 * old * columns].reshape(2 * old, columns)
        ring[numbers & (2 * old - 1)] = entries[numbers & (old - 1)]
        self.m[s + where], self.m[s + size] = begin, 2 * old

    def tables(self) -> tuple[list[int], dict[int, int]]:
        """What is known beside the array, for `restore`."""
        return list(self.rows), dict(self._rooms)

    def restore(self, m: Ints, rows: list[int], rooms: dict[int, int]) -> None:
        """Be again as a copy of the array, and `tables`, said."""
        self.m[: len(m)] = m
        self.rows, self._rooms = list(rows), dict(rooms)

    def facts(self, name: str) -> Ints:
        """The facts of a kind since the last call, a row each."""
        where, count, _, columns = FACTS[name]
        begin, rows = int(self.m[where]), int(self.m[count])
        self.m[count] = 0
        return self.m[begin : begin + rows * columns].reshape(rows, columns).copy()

"""What all processes have open at Postgres: it lets so many in, whoever opens them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from capsim.engine.simpy_engine.pool import Pool


class Connections:
    """The connections of all pools, and the most of them in each bin; of an instant, its end counts."""

    def __init__(self, most: int = 1 << 62, *, can_open: bool = True) -> None:
        self.most, self.can_open = most, can_open
        self.pools: list[Pool] = []
        self.left: dict[Pool, int] = {}  # of processes that have exited: when [us]
        self.levels: dict[int, tuple[int, int]] = {}
        self.level_us = 0
        self.in_use_max = self.open_max = 0

    def are_full(self, now_us: int) -> bool:
        """Whether Postgres refuses one more; a process that exits holds its connections to the end of the instant."""
        there = [*self.pools, *(pool for pool, left_us in self.left.items() if left_us == now_us)]
        return sum(pool.open - pool.turned_away for pool in there) >= self.most

    def open_of(self, pool: Pool) -> int:
        """Connections of a pool that Postgres has let in."""
        return (pool.open - pool.turned_away) * self.can_open

    def changed(self, pool: Pool) -> None:
        """What a pool has open, or uses, has changed."""
        if pool.time.now > self.level_us:
            self.settle()
            self.level_us = pool.time.now
        opened = self.open_of(pool)
        self.levels[id(pool)] = min(pool.in_use, opened), opened

    def settle(self) -> None:
        """An instant with changes is over."""
        self.in_use_max = max(self.in_use_max, sum(used for used, _ in self.levels.values()))
        self.open_max = max(self.open_max, sum(opened for _, opened in self.levels.values()))
        self._forget_gone()

    def gone(self, pool: Pool, *, at_once: bool) -> None:
        """A process has ended with its connections, at once or with the end of the instant."""
        self.pools.remove(pool)
        if at_once:
            self.changed(pool)
            self._forget_gone()
        else:
            self.left[pool] = pool.time.now

    def _forget_gone(self) -> None:
        there = {id(pool) for pool in self.pools}
        self.levels = {pool: level for pool, level in self.levels.items() if pool in there}

    def begin_bin(self, from_us: int) -> tuple[int, int]:
        """A bin begins; most in use and open in the last one."""
        self.settle()
        most = self.in_use_max, self.open_max
        self.level_us, self.in_use_max, self.open_max = from_us, 0, 0
        return most

"""Postgres in a container, operation by operation: what each leaves in memory, and what a limit takes away."""

from __future__ import annotations

from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from capsim.base.units import MIB
from capsim.memory.constants import PUBLISHED as value
from capsim.memory.container import Container, Usage
from capsim.memory.postgres import held_mib

if TYPE_CHECKING:
    import pandas as pd

_STEP_MIB = 4.0  # table and WAL are written by turns of this size
_PAGE_BYTES = 8192


class PostgresContainer:
    """A Postgres server alone in a memory group, from its start with an empty cluster.

    Parameters
    ----------
    limit_mib : float
        Limit of the container [MiB]; infinity for none.
    shared_buffers_mib : float
        As configured [MiB]; 128 was measured, others follow the same rule.
    reclaim_per_s : float
        See `capsim.memory.container.Container`.
    charged_elsewhere : bool
        Whether another group of the host holds the pages of all files already; see `redeploy`.

    Notes
    -----
    Every method plays one operation to its end and returns what the container is charged for then. The WAL
    directory is the one of a busy server: it fills up to ``max_wal_size`` (1 GiB) and recycles its files.
    Measured for tables up to 2 GiB; the errors of all phases stand in docs/memory.md.

    Examples
    --------
    >>> server = PostgresContainer(limit_mib=512)
    >>> 510 < server.insert(615_400, connections=10).usage_mib <= 512  # measured: 511 to 512 while it lasts
    True
    >>> 460 < server.rest(15).usage_mib < 480  # measured: 472
    True
    """

    def __init__(
        self,
        limit_mib: float = float("inf"),
        shared_buffers_mib: float = 128.0,
        *,
        reclaim_per_s: float = 0.0,
        charged_elsewhere: bool = False,
    ) -> None:
        self._elsewhere = charged_elsewhere
        self._box = Container(limit_mib, reclaim_per_s)
        self._buffers_mib = shared_buffers_mib
        self._table_mib = self._index_mib = 0.0
        self._wal_at_mib = 0.0
        self._idle, self._wrote, self._active = 0, 0, 0
        self._used_mib = 0.0  # of shared buffers
        self._deleted = 0.0
        self._vacuumed_mib = 0.0
        self._programs_mib = value("pg_cache_start")
        self._hold()

    @property
    def usage(self) -> Usage:
        """Memory of the container now."""
        return self._box.usage

    @property
    def killed(self) -> bool:
        """Whether processes alone have ever needed more than the limit (exit code 137)."""
        return self._box.killed

    @property
    def table_mib(self) -> float:
        """Size of the table without its indexes [MiB]."""
        return self._table_mib

    def connect(self, idle: int, wrote: int = 0, active: int = 0) -> Usage:
        """Set how many connections are open: ones that never wrote, ones that have, and how many of these work."""
        if idle + wrote:
            self._used_mib = max(self._used_mib, value("pg_shmem_connected"))
            self._programs_mib = value("pg_cache_start") + value("pg_cache_connected")
        self._idle, self._wrote, self._active = idle, wrote, active
        return self._hold()

    def insert(self, rows: int, connections: int) -> Usage:
        """Insert rows of 1,545 bytes of JSON from so many connections, which go on writing."""
        self.connect(0, connections, connections)
        data, wal = (rows * value(name) / MIB for name in ("pg_data_event", "pg_wal_event"))
        steps = max(1, int((data + wal) / _STEP_MIB))
        table = data * value("pg_table_share")
        for _ in range(steps):
            self._append("table", self._table_mib, table / steps)
            self._append("index", self._index_mib, (data - table) / steps)
            self._table_mib += table / steps
            self._index_mib += (data - table) / steps
            self._used_mib += data / steps
            self._log(wal / steps)
            self._hold()
        return self.usage

    def disconnect(self) -> Usage:
        """Close all connections: their memory goes, file pages and shared buffers stay."""
        return self.connect(0)

    def rest(self, seconds: float, *, autovacuum_s: float = 0.0) -> Usage:
        """Let time pass without clients; autovacuum works on the table for so much of it [s]."""
        self.disconnect()
        start = self._vacuumed_mib
        end = self._vacuumed_mib = min(start + autovacuum_s * value("pg_autovacuum"), self._table_mib)
        self._read("table", start, end)
        self._box.write("table", start, end)
        self._box.rest(seconds)
        return self.usage

    def checkpoint(self) -> Usage:
        """Write what shared buffers hold: half of them index pages, as inserts keep those warm (assumed)."""
        self._box.write("index", 0, min(self._index_mib, self._buffers_mib / 2))
        self._box.write("table", max(0.0, self._table_mib - self._buffers_mib / 2), self._table_mib)
        return self.usage

    def scan(self) -> Usage:
        """Read the whole table by a parallel sequential scan; its workers are gone at the end.

        A query of that cost is compiled just in time, and the compiler's library is read for it.
        """
        self._used_mib = max(self._used_mib, value("pg_shmem_connected"))
        self._hold(anon_mib=value("pg_scan_anon"), connections=3)
        self._read("jit", 0, value("pg_jit_library"))
        self._read("table", 0, self._table_mib)
        return self._hold()

    def dump(self, *, inside: bool) -> Usage:
        """pg_dump of the table, to a file inside the container or to a client elsewhere."""
        self._hold(anon_mib=value("pg_dump_anon"), connections=1)
        share = value("pg_dump_share")
        for start in np.arange(0, self._table_mib, _STEP_MIB).tolist():
            end = min(start + _STEP_MIB, self._table_mib)
            self._read("table", start, end)
            if inside:
                self._box.write("dump", start * share, end * share)
        return self._hold()

    def delete_dump(self) -> Usage:
        """Remove the file that `dump` wrote."""
        self._box.delete("dump")
        return self.usage

    def evict_data(self) -> Usage:
        """Drop the pages of the data directory by hand (posix_fadvise), as before a cold measurement."""
        self._box.delete("table")
        self._box.delete("index")
        return self.usage

    def delete_rows(self, share: float) -> Usage:
        """DELETE a share of the rows, taken at random, after a checkpoint: nearly every page is written."""
        self._hold(anon_mib=value("pg_change_anon"), connections=1)
        pages = 1 - (1 - share) ** value("pg_rows_page")
        rows = self._table_mib * MIB / (value("pg_data_event") * value("pg_table_share"))
        self._rewrite(pages, pages * self._table_mib + share * rows * value("pg_wal_delete") / MIB)
        self._deleted = pages
        return self.usage

    def vacuum(self) -> Usage:
        """VACUUM after a DELETE: two passes over the table, and 64 MiB of shared memory while it works."""
        self._hold(shmem_mib=value("pg_vacuum_shmem"), connections=1)
        # Pages that the DELETE did not touch are logged in full, the others by a short record.
        self._rewrite(1.0, (1 - self._deleted) * self._table_mib)
        self._read("index", 0, self._index_mib)
        self._box.write("index", 0, self._index_mib)
        self._rewrite(self._deleted, 0.0)
        return self._hold()

    def drop_table(self) -> Usage:
        """DROP TABLE and a checkpoint: its pages go at once."""
        self.evict_data()
        self._table_mib = self._index_mib = 0.0
        return self._hold()

    def stop(self) -> Usage:
        """Stop the server. Its file pages stay charged until the group is gone; a new deployment is a new group."""
        self._box.hold(0.0)
        return self.usage

    def redeploy(self, *, same_host: bool) -> PostgresContainer:
        """A new deployment on the same volume: a new group, billed from nothing.

        On the same host the old group goes on holding the pages, and reading them costs the new one nothing
        (measured: 760 MiB became 17, and 20 after a scan of the whole table).
        """
        new = PostgresContainer(self._box.limit_mib, self._buffers_mib, charged_elsewhere=same_host)
        new._table_mib, new._index_mib = self._table_mib, self._index_mib
        new._wal_at_mib = self._wal_at_mib
        return new

    def _read(self, file: str, from_mib: float, to_mib: float) -> None:
        if not self._elsewhere:
            self._box.read(file, from_mib, to_mib)

    def _append(self, file: str, at_mib: float, mib: float) -> None:
        self._box.write(file, at_mib, at_mib + mib)

    def _log(self, wal_mib: float) -> None:
        size = value("pg_wal_max")
        while wal_mib > 0:
            part = min(wal_mib, size - self._wal_at_mib)
            self._append("wal", self._wal_at_mib, part)
            self._wal_at_mib = (self._wal_at_mib + part) % size
            wal_mib -= part

    def _rewrite(self, pages: float, wal_mib: float) -> None:
        """Read the table and write a share of its pages, spread evenly, with so much WAL."""
        steps = max(1, int(self._table_mib / _STEP_MIB))
        edges = np.linspace(0, self._table_mib, steps + 1)
        for number, (start, end) in enumerate(pairwise(edges.tolist())):
            self._read("table", start, end)
            if (number * pages) % 1 + pages >= 1:
                self._box.write("table", start, end)
            self._log(wal_mib / steps)

    def _hold(self, anon_mib: float = 0.0, shmem_mib: float = 0.0, connections: int = 0) -> Usage:
        """Hold what connections and shared buffers need, and what an operation takes on top."""
        anon, shmem, kernel = held_mib(self._idle, self._wrote, self._active, self._used_mib, self._buffers_mib)
        kernel += connections * value("pg_kernel_inserted")
        self._box.hold(anon + anon_mib, float(shmem) + shmem_mib, kernel)
        self._read("programs", 0, self._programs_mib)  # in use by every operation
        return self.usage


def session(
    rows: int,
    *,
    limit_mib: float = float("inf"),
    rest_s: float = 60.0,
    autovacuum_s: float = 0.0,
    reclaim_per_s: float = 0.0,
) -> pd.DataFrame:
    """Play the sequence of operations that was measured: fill, scan, dump, delete, clean up, stop.

    Parameters
    ----------
    rows : int
        Rows inserted by 10 connections.
    limit_mib : float
        Limit of the container [MiB].
    rest_s : float
        Pause after the insert [s].
    autovacuum_s : float
        How much of the 10 s after the dump autovacuum works on the table [s]; it comes once a minute.
    reclaim_per_s : float
        See `capsim.memory.container.Container`.

    Returns
    -------
    DataFrame
        One row a phase, in order: ``phase``, then anonymous, shared and kernel memory, page cache (without
        shared memory) and their sum ``usage_mib``, at the end of the phase [MiB].

    Examples
    --------
    >>> table = session(636_800).set_index("phase").usage_mib
    >>> [round(float(table[phase]), -1) for phase in ("insert", "dump inside")]  # measured: 2185, 2861
    [2210.0, 2950.0]
    """
    import pandas as pd

    server = PostgresContainer(limit_mib, reclaim_per_s=reclaim_per_s)
    phases = {
        "idle": lambda: server.usage,
        "insert": lambda: server.insert(rows, connections=10),
        "rest": lambda: server.rest(rest_s),
        "checkpoint": server.checkpoint,
        "data evicted": server.evict_data,
        "cold scan": server.scan,
        "second scan": server.scan,
        "dump outside": lambda: server.dump(inside=False),
        "dump inside": lambda: server.dump(inside=True),
        "rest after dump": lambda: server.rest(10, autovacuum_s=autovacuum_s),
        "dump deleted": server.delete_dump,
        "delete 20 %": lambda: server.delete_rows(0.2),
        "vacuum": server.vacuum,
        "drop table": server.drop_table,
        "rest at the end": lambda: server.rest(3),
        "stopped": server.stop,
    }
    played = ((phase, operation()) for phase, operation in phases.items())
    return pd.DataFrame([{"phase": phase, **asdict(u), "usage_mib": u.usage_mib} for phase, u in played])

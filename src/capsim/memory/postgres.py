"""Memory, volume and CPU of Postgres: backends, shared buffers, and the files that it keeps in page cache."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from capsim.base.units import GB, MIB
from capsim.memory.constants import PUBLISHED, Values, varied
from capsim.memory.container import cached_mib
from capsim.scenario.prices import limits_on
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS

Floats = NDArray[np.float64]
Number = TypeVar("Number", float, Floats)

_PAGE_MIB = 8192 / MIB
_HOUR_S = 3600.0
_DEFAULT_BUFFERS_MIB = 128.0  # shared_buffers while the constants were measured


@dataclass(frozen=True)
class Files:
    """Bytes of files at the end of each bin [MiB], and the part of them that came through the page cache."""

    old: Floats  # table and indexes from before the run
    old_read: Floats  # of it, read since the start: by a backup, or in samples by autovacuum's analyze
    data_written: Floats
    wal_written: Floats  # WAL still in the page cache
    wal: Floats
    own_share: float  # of the file system, on top

    @property
    def volume(self) -> Floats:
        """What the volume holds, with the file system's own share [MiB]."""
        return (self.old + self.data_written + self.wal) * (1 + self.own_share)


def columns(samples: pd.DataFrame, scenario: Scenario, value: Values) -> dict[str, Floats]:
    """Postgres' part of `capsim.scenario.columns.MEMORY`.

    Parameters
    ----------
    samples : DataFrame
        Columns of `capsim.scenario.columns.SAMPLES`.
    scenario : Scenario

    Returns
    -------
    dict of str to array, shape (n,)
        By column name. *Lower* bills no file cache. *Expected* bills every page written or read since the
        start of the run, which is what metered containers show (pages stay in the cache until a limit, a
        deletion or a new container). *Upper* adds the files that were there before, as one backup or scan
        would. All are bounded by the limit, and files by the volume: once that is full, nothing is added.

    Notes
    -----
    Without a limit the sum was met within 2 % up to 3.6 GiB. `capsim.memory.postgres_phases` plays the same
    rules operation by operation, with what deletions and restarts give back.
    """
    width = samples["width_s"].to_numpy(np.float64)
    rows = samples["db_rows"].to_numpy(np.float64)
    updates = samples["db_updates"].to_numpy(np.float64)
    connections = np.maximum.accumulate(samples["pool_open_max"].to_numpy(np.float64))
    files = _stored(_wanted(samples, scenario, value), volume_limit_mib(scenario))

    inserted = np.minimum(connections, np.cumsum(samples["db_calls"].to_numpy(np.float64)))
    met = np.minimum(connections, 1.0)
    used = value("pg_shmem_connected") * met + files.data_written
    active = samples["pool_in_use_mean"].to_numpy(np.float64)
    buffers = float(scenario.database.shared_buffers_mib)
    anon, shmem, kernel = held_mib(connections - inserted, inserted, active, used, buffers, value)
    held = anon + shmem + kernel + value("group_overhead")
    programs = value("pg_cache_start") + value("pg_cache_connected") * met
    written = files.data_written + files.wal_written
    everything = np.maximum(files.old + files.data_written + files.wal - value("pg_cache_offset"), 0.0)
    limit = memory_limit_mib(scenario)
    billed = [
        _billed(held, programs + touched, written, limit, value) for touched in (written + files.old_read, everything)
    ]
    return {
        "postgres_cpu_vcpu": (
            rows * value("pg_cpu_row")
            + updates * value("pg_cpu_update")
            + _backups(samples, scenario) * (files.old + files.data_written) * value("pg_dump_cpu")
        )
        / width
        + value("pg_cpu_idle"),
        "postgres_billed_lower_mib": held,
        "postgres_billed_mib": np.minimum(*billed),
        "postgres_billed_upper_mib": billed[1],
        "postgres_volume_mib": files.volume,
    }


def held_mib(
    idle: Number, wrote: Number, active: Number, buffers_used_mib: Number, buffers_mib: float,
    value: Values = PUBLISHED,
) -> tuple[Number, Number, Number]:
    """Memory that no limit can take back: anonymous, shared, kernel [MiB].

    Parameters
    ----------
    idle, wrote : float or array
        Connections that have never written (residual 0.1 MiB at 10, 65 and 97, C8), and connections that have
        inserted (anonymous memory within 4 % at 5, 10, 20 and 65).
    active : float or array
        How many of the latter run a statement just now; anonymous memory then within 6 % (C9).
    buffers_used_mib : float or array
        Pages that have come into shared buffers so far [MiB].
    buffers_mib : float
        ``shared_buffers`` [MiB]; they fill up and never shrink. Measured at 128 only.

    Examples
    --------
    >>> round(float(sum(held_mib(65.0, 0.0, 0.0, 1.55, 128.0))), 1)  # measured: 102.5
    102.7
    """
    anon = value("pg_anon_base") + value("pg_anon_connected") * idle + value("pg_anon_inserted") * wrote
    anon += value("pg_anon_active") * active
    kernel = value("pg_kernel_base") + value("pg_kernel_connected") * idle + value("pg_kernel_inserted") * wrote
    most = value("pg_shmem_max") - _DEFAULT_BUFFERS_MIB + buffers_mib
    shmem: Number = np.minimum(value("pg_shmem_start") + buffers_used_mib, most)
    return anon, shmem, kernel


def memory_limit_mib(scenario: Scenario) -> float:
    """Limit of the container of Postgres [MiB]: the scenario's, at most the plan's for one replica."""
    own, billing = scenario.database.memory_limit_mib, scenario.billing
    limits = limits_on(billing.plan, billing.from_date)
    of_plan = float("inf") if limits is None else float(limits.ram_gb) * GB / MIB
    return of_plan if own == "plan" else min(float(own), of_plan)


def volume_limit_mib(scenario: Scenario) -> float:
    """Size of the volume of Postgres [MiB]: the scenario's, or the plan's default."""
    own, billing = scenario.database.volume_gb, scenario.billing
    limits = limits_on(billing.plan, billing.from_date)
    of_plan = float("inf") if limits is None else float(limits.volume_gb)
    return (of_plan if own == "plan" else float(own)) * GB / MIB


def volume_wanted_mib(samples: pd.DataFrame, scenario: Scenario) -> Floats:
    """What the volume would hold at the end of each bin if it had no end [MiB]."""
    return _wanted(samples, scenario, varied(scenario)).volume


def wal_directory_mib(wal_written_mib: Floats, width_s: Floats, value: Values = PUBLISHED) -> Floats:
    """Largest size that the WAL directory has wanted so far [MiB].

    Postgres recycles segments for about twice the WAL of one checkpoint interval (five minutes by default)
    and never passes ``max_wal_size``; recycled segments keep their pages in the cache. So the directory
    grows to 1 GiB only from some 1.7 MiB of WAL a second on. Shrinking after a quiet time (a tenth per
    checkpoint) is left out: an upper estimate.

    Parameters
    ----------
    wal_written_mib : array, shape (n,)
        WAL written up to the end of each bin [MiB].
    width_s : array, shape (n,)
        Length of the bins [s].

    Examples
    --------
    >>> minutes = np.full(60, 60.0)
    >>> wal_directory_mib(np.cumsum(minutes) * 0.04, minutes)[-1].tolist()  # some 20 rows/s
    32.0
    """
    segment, interval = value("pg_wal_start"), value("pg_checkpoint_interval")
    end_s = np.cumsum(width_s)
    before = np.interp(end_s - interval, np.append(0.0, end_s), np.append(0.0, wal_written_mib), left=0.0)
    wanted = segment * np.ceil(value("pg_wal_intervals") * (wal_written_mib - before) / segment - 1e-9)
    return np.maximum.accumulate(np.clip(wanted, segment, value("pg_wal_max")))


def _billed(held: Floats, touched: Floats, written: Floats, limit: float, value: Values) -> Floats:
    """Held memory and as much of the touched files as the limit leaves room for, with their kernel memory."""
    dirty = np.minimum(written / np.maximum(touched, 1e-9), 1.0)
    share = value("kernel_written") * dirty
    return held + cached_mib(touched, held, limit, share) * (1 + share)


def _wanted(samples: pd.DataFrame, scenario: Scenario, value: Values) -> Files:
    """Files as the load makes them grow, on a volume without end."""
    width = samples["width_s"].to_numpy(np.float64)
    rows = samples["db_rows"].to_numpy(np.float64)
    data_row, wal_row = _row_bytes(samples, scenario, value)
    written = np.cumsum(rows * data_row) / MIB
    wal = np.cumsum(rows * wal_row + samples["db_updates"].to_numpy(np.float64) * value("pg_wal_update")) / MIB
    directory = wal_directory_mib(wal, width, value)
    before = scenario.database.rows_at_start * value("pg_data_event") / MIB
    old = np.full(len(samples), value("pg_data_start") + before)
    dumped = np.cumsum(_backups(samples, scenario)) > 0
    read = np.where(dumped, before, before * _analyzed(rows, scenario.database.rows_at_start, value))
    return Files(
        old, read, written, np.minimum(wal, directory), np.minimum(value("pg_wal_start") + wal, directory),
        value("pg_volume_metadata"),
    )  # fmt: skip


def _stored(wanted: Files, volume_mib: float) -> Files:
    """The same on a volume that fills up: from then on no row finds room."""
    room = np.maximum(volume_mib / (1 + wanted.own_share) - wanted.old - wanted.wal, 0.0)
    return replace(wanted, data_written=np.minimum(wanted.data_written, room))


def _backups(samples: pd.DataFrame, scenario: Scenario) -> Floats:
    """How many backups by pg_dump fall into each bin; they read every table through the page cache."""
    every_h = scenario.database.backup_every_h
    if every_h == "none":
        return np.zeros(len(samples))
    start = samples["time_s"].to_numpy(np.float64) / (every_h * _HOUR_S)
    end = start + samples["width_s"].to_numpy(np.float64) / (every_h * _HOUR_S)
    return np.floor(end + 1e-9) - np.floor(start + 1e-9)


def _analyzed(rows: Floats, rows_at_start: int, value: Values) -> Floats:
    """Share of the old table that autovacuum's analyze has read by the end of each bin.

    It comes each time the table has grown by a tenth (and 50 rows) and reads 30,000 pages at random.
    Autovacuum's vacuum reads only pages with new rows, which are cached anyway.
    """
    size, grown = float(rows_at_start), np.cumsum(rows)
    due = []
    while len(rows) and size < rows_at_start + grown[-1]:
        size += 50 + value("pg_analyze_scale") * size
        due.append(size - rows_at_start)
    times = np.searchsorted(np.array(due), grown, side="right")
    pages = max(rows_at_start * value("pg_data_event") * value("pg_table_share") / MIB / _PAGE_MIB, 1.0)
    missed = 1 - min(value("pg_analyze_pages") / pages, 1.0)
    return np.asarray(1 - missed**times, dtype=np.float64)


def _row_bytes(samples: pd.DataFrame, scenario: Scenario, value: Values) -> tuple[Floats, Floats]:
    """Bytes of table with indexes, and of WAL, for an inserted row of each bin: events and revenue as they
    were written.

    Heartbeats are updates of sessions; their rows do not grow a table.
    """
    share = np.ones(len(samples))
    written = {s: samples[f"{s}_written_rows"].to_numpy(np.float64) for s in STREAMS}
    inserts = written["events"] + written["revenue"]
    np.divide(written["events"], inserts, out=share, where=inserts > 0)
    # An index that no query uses is written, and logged, all the same; only the events' table has them.
    unused = share * scenario.database.unused_indexes * value("pg_data_index")
    data = share * value("pg_data_event") + (1 - share) * value("pg_data_revenue") + unused
    wal = share * value("pg_wal_event") + (1 - share) * value("pg_wal_revenue") + unused
    return data, wal

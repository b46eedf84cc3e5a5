"""Memory, volume and CPU of Postgres: backends, shared buffers, and the files that it keeps in page cache."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from capsim.memory.constants import value
from capsim.specs import STREAMS, Scenario
from capsim.units import MIB

Floats = NDArray[np.float64]


def columns(samples: pd.DataFrame, scenario: Scenario) -> dict[str, Floats]:
    """Postgres' part of `capsim.tables.MEMORY`.

    Parameters
    ----------
    samples : DataFrame
        Columns of `capsim.tables.SAMPLES`.
    scenario : Scenario

    Returns
    -------
    dict of str to array, shape (n,)
        By column name. *Lower* bills no file cache. *Expected* bills every page written since the start of
        the run, which is what metered containers show (writes stay in the cache until a limit, a deletion
        or a new container). *Upper* adds the files that were there before, as one backup or scan would.
    """
    width = samples["width_s"].to_numpy(np.float64)
    rows = samples["db_rows"].to_numpy(np.float64)
    updates = samples["db_updates"].to_numpy(np.float64)
    connections = np.maximum.accumulate(samples["pool_open_max"].to_numpy(np.float64))
    data_row, wal_row = _row_bytes(samples)
    old = scenario.database.rows_at_start
    data_written = np.cumsum(rows * data_row) / MIB
    wal_bytes = rows * wal_row + updates * value("pg_wal_update")
    wal_written = np.cumsum(wal_bytes) / MIB
    data_start = value("pg_data_start") + old * value("pg_data_event") / MIB
    directory = wal_directory_mib(wal_written, width)
    wal_cached = np.minimum(wal_written, directory)
    wal_files = np.minimum(value("pg_wal_start") + wal_written, directory)

    inserted = np.minimum(connections, np.cumsum(samples["db_calls"].to_numpy(np.float64)))
    anon = value("pg_anon_base") + value("pg_anon_inserted") * inserted
    anon += value("pg_anon_connected") * (connections - inserted)
    kernel = value("pg_kernel_base") + value("pg_kernel_inserted") * inserted
    kernel += value("pg_kernel_connected") * (connections - inserted)
    met = np.minimum(connections, 1.0)
    shmem = value("pg_shmem_start") + value("pg_shmem_connected") * met + data_written
    shmem = np.minimum(shmem, value("pg_shmem_max"))
    cache = value("pg_cache_start") + value("pg_cache_connected") * met
    lower = anon + kernel + shmem + value("group_overhead")
    written = data_written + wal_cached
    expected = lower + cache + written * (1 + value("pg_kernel_written"))
    everything = data_start + data_written + wal_files - value("pg_cache_offset")
    everything = cache + np.maximum(everything, 0.0)
    upper = lower + everything + value("pg_kernel_written") * written
    files = data_start + data_written + wal_files
    return {
        "postgres_cpu_vcpu": (rows * value("pg_cpu_row") + updates * value("pg_cpu_update")) / width
        + value("pg_cpu_idle"),
        "postgres_billed_lower_mib": lower,
        "postgres_billed_mib": np.minimum(expected, upper),
        "postgres_billed_upper_mib": upper,
        "postgres_volume_mib": files * (1 + value("pg_volume_metadata")),
    }


def wal_directory_mib(wal_written_mib: Floats, width_s: Floats) -> Floats:
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


def _row_bytes(samples: pd.DataFrame) -> tuple[Floats, Floats]:
    """Bytes of table with indexes, and of WAL, for an inserted row of each bin: events and revenue as they
    were written.

    Heartbeats are updates of sessions; their rows do not grow a table.
    """
    share = np.ones(len(samples))
    written = {s: samples[f"{s}_written_rows"].to_numpy(np.float64) for s in STREAMS}
    inserts = written["events"] + written["revenue"]
    np.divide(written["events"], inserts, out=share, where=inserts > 0)
    data = share * value("pg_data_event") + (1 - share) * value("pg_data_revenue")
    wal = share * value("pg_wal_event") + (1 - share) * value("pg_wal_revenue")
    return data, wal

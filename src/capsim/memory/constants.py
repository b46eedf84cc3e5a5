"""Every number that turns a count into bytes or CPU, with its unit, error, standing and source.

``measured`` is a figure read off a measurement, ``fitted`` comes from a regression or from matching
recorded runs, ``assumed`` has no measurement behind it. The laws L1-L14 and C1-C14 are the ones of the
measurements made on 2026-11-23 (node 20.20.2, PostgreSQL 15.18, Redis 7.0.15, Linux 6.18 x86-64);
`docs/memory.md` says how they were made. MiB = 2^20 bytes, KiB = 2^10 bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Constant:
    """One number of the memory model.

    Parameters
    ----------
    name : str
        What it is; the unit stands in `unit`.
    value : float
        In `unit`.
    unit : str
    error : str
        How far off it may be: a residual, a range of repeats, or "unknown".
    status : {"measured", "fitted", "assumed"}
    source : str
        Law, run or document that it comes from.
    """

    name: str
    value: float
    unit: str
    error: str
    status: Literal["measured", "fitted", "assumed"]
    source: str


_SERIES = "timeseries of the loaded stand-in server"

CONSTANTS: tuple[Constant, ...] = (
    # --- rows in the heap of the server
    Constant("event_row", 2387, "bytes", "+-2 % from 10k to 1M rows", "measured", "L3, memory section 2"),
    Constant("revenue_row", 1090, "bytes", "1087-1151", "measured", "L3, memory section 2"),
    Constant("heartbeat_row", 330, "bytes", "308-355", "measured", "L3, array (semantics seed)"),
    Constant("heartbeat_map_row", 373, "bytes", "373-408", "measured", "L3, Map (semantics fixed)"),
    Constant("insert_text_row", 1116, "bytes", "one batch of 100 rows: 109 KiB", "measured", "memory section 2"),
    Constant("result_row", 0.449, "KiB", "rms 2.4 MiB of heap, 1k-2M rows", "fitted", "L10, through pg"),
    Constant("response_text", 3.2, "1", "one run", "measured", "L10: text and buffer of a response over its JSON"),
    Constant("queued_command", 2.3, "KiB", "one run", "measured", "memory section 8, promise included"),
    Constant(
        "stalled_line",
        430,
        "bytes",
        "+-30",
        "fitted",
        "heap of a line in a pipe nobody reads, beside its text: 629, 1,430, 10,776 B for 200, 1,000, 10,000 "
        "(Node 20, winston 3.17, JSON, 20,000 lines each)",
    ),
    Constant("stalled_line_text", 1.035, "1", "+-0.01", "fitted", "the same: more for every byte of the line"),
    Constant("line_cpu_console", 12, "us", "about", "measured", "memory section 7"),
    Constant("line_cpu_files", 26, "us", "about", "measured", "memory section 7: console and two files"),
    Constant("pg_data_index", 44, "bytes", "175 bytes for four", "measured", "C10: one index, one row"),
    # --- V8 heap
    Constant("live_base", 7.2, "MiB", "7.0-7.7 at 50-1000 req/s", "measured", "old space after full collections"),
    Constant("promoted_request", 10.1, "KiB", "+-8 %; 7.7 at 50 req/s", "fitted", "L6"),
    Constant("allocated_request", 33.0, "KiB", "+-2 %, 50-1000 req/s", "fitted", "L4"),
    Constant("scavenge_every", 10.7, "MiB", "+-7 %", "fitted", "L5: allocation from one scavenge to the next"),
    Constant("growing_step", 8.0, "MiB", "exact", "measured", "V8 heap-controller: smallest growth of the limit"),
    Constant("growing_factor_max", 4.0, "1", "exact", "measured", "V8 heap-controller; L7: 4.04-4.65 seen"),
    Constant("growing_factor_min", 1.1, "1", "exact", "measured", "V8 heap-controller"),
    Constant("target_utilization", 0.97, "1", "exact", "measured", "V8 heap-controller"),
    Constant(
        "collector_speed",
        262,
        "MiB/s",
        "215-300",
        "fitted",
        "r200_none, r500_none, r1000_none; full collections",
    ),
    Constant("collector_speed_slow", 215, "MiB/s", "unknown", "fitted", "peaks of r500_none and stall2_cap"),
    Constant("marking", 0.35, "s", "unknown", "fitted", "from trigger to end of a full collection, r200 to r1000"),
    Constant(
        "pages_kept",
        0.9,
        "1",
        "0.34-0.95",
        "fitted",
        "share of a saw-tooth still committed after collection",
    ),
    Constant("new_space_max", 32.0, "MiB", "exact", "measured", "L2: two semi-spaces of 16 MiB, node 20"),
    Constant("new_space_grown_after", 3000, "requests", "2000-5000", "fitted", "r50 to r500, own run at 35 req/s"),
    Constant("heap_overhead", 1.3, "MiB", "+-0.5", "fitted", "L2: heapTotal beyond old and new space"),
    Constant("reducer_tick", 8.0, "s", "exact", "measured", "V8 memory-reducer"),
    Constant("reducer_chance", 0.2, "1", "0.1-0.3", "fitted", "8 of 17 idle processes released by the third tick"),
    Constant(
        "reducer_looks", 3, "1", "2-4", "fitted", "ticks after a collection; none of 6 own runs released in 115 s"
    ),
    Constant("new_space_low", 1.3, "MiB", "1-2; 4 in the first minute", "measured", "own runs at 0.5-20 req/s"),
    Constant(
        "shrinks_below",
        1e6,
        "bytes/s",
        "exact",
        "measured",
        "V8: low allocation throughput; own runs at 20, 35 req/s",
    ),
    # --- the same heap collection by collection (heap.py)
    Constant("scavenge_at", 0.8, "1", "+-7 % of the allocation between", "fitted", "L5: share of a half of new space"),
    Constant("scavenge_stays", 0.19, "1", "unknown", "fitted", "share of the allocation that stays in new space"),
    Constant("survived", 0.33, "1", "0.21-0.35", "fitted", "share of the allocation that counts for growing new space"),
    Constant("survived_13", 0.5, "1", "0.4-0.5", "fitted", "the same in V8 13.6 (Node 24); kit24_500"),
    Constant(
        "loading_touches", 1.5, "1", "1.4-1.6", "fitted", "V8 13.6: pages of new space left per MiB loaded; kit24"
    ),
    Constant("first_step", 4.0, "MiB", "2-7", "fitted", "growth before the first full collection; all loaded runs"),
    Constant(
        "marking_base", 0.15, "s", "0.05-0.35", "fitted", "from the limit to the end of a collection; r500, r1000"
    ),
    Constant(
        "marking_share", 0.0013, "s/MiB", "factor 2", "fitted", "leakq_64_1500; own runs of 36 and 43 MiB live under 64"
    ),
    Constant(
        "marking_doubles",
        200,
        "MiB",
        "unknown",
        "fitted",
        "old space at which a MiB takes twice as long; leakq_256_5000",
    ),
    Constant("pages_idle", 0.5, "MiB", "+-0.3", "fitted", "committed beyond used old space while it grows"),
    Constant("slack_always", 10.0, "MiB", "8-10", "fitted", "free committed pages that stay; r200, r500 capped"),
    Constant(
        "slack_kept", 0.75, "1", "0.45-0.95", "fitted", "share of free pages that stay, up to 40 MiB; r500, r1000"
    ),
    Constant("slack_kept_less", 0.0022, "1/MiB", "unknown", "fitted", "less for every MiB above; live150, leaks"),
    Constant("slack_kept_min", 0.33, "1", "0.25-0.7", "fitted", "the least of it; live150_none"),
    Constant("shrinks_near_cap", 0.80, "1", "0.80-0.92", "fitted", "survivors over cap from which new space shrinks"),
    Constant(
        "speed_median", 350, "MiB/s", "330-450", "measured", "own runs at 200-1000 req/s, V8's own trace; quiet machine"
    ),
    Constant("speed_missing", 0.6, "1", "0.4-0.8", "measured", "the same: how much less at the second collection"),
    Constant("speed_learned", 3.0, "1", "2-4", "measured", "the same: collections until most of it is caught up"),
    Constant("speed_sigma", 0.2, "1", "0.1-0.4", "measured", "the same: spread of its logarithm"),
    Constant("scavenge_pause", 0.70, "ms", "+-0.1", "measured", "own run, 500/s: half of new space of 1 MiB"),
    Constant(
        "scavenge_pause_power", 0.78, "1", "15 % at 4 MiB", "fitted", "own runs: 0.70, 2.43, 6.1 ms at 1, 4, 16 MiB"
    ),
    Constant(
        "full_every", 1100, "requests", "1000-1250; to 2860 at 1000/s without a cap", "measured", "r50_none to r500_64"
    ),
    Constant("full_pause_doubles", 150, "MiB", "factor 2", "fitted", "own runs, 50 to 120 MiB live: 7, 7, 12, 13 ms"),
    Constant("scavenge_pause_quota", 0.15, "1", "one run", "fitted", "own run: 9.7 ms under 0.2 CPU, 6.1 without"),
    Constant(
        "scavenge_cpu", 0.36, "ms", "0 to 1.7 (logging)", "measured", "own runs: time stopped for each that comes more"
    ),
    Constant(
        "off_heap_share",
        0.012,
        "1",
        "0.010-0.014",
        "fitted",
        "anonymous memory at the end of eight leaks in 512 MiB, 268 to 482 MiB: within 2",
    ),
    Constant("node24_live", 0.5, "MiB", "+-0.3", "fitted", "Node 24 beside 20, the kit's server: after collections"),
    Constant("node24_file", 6.2, "MiB", "+-0.2", "fitted", "the same: mapped program files"),
    Constant("node24_off_heap", 2.5, "MiB", "+-2", "fitted", "the same: RSS - RssFile - heapTotal"),
    Constant("hung_cpu", 0.45, "vCPU", "0.4-0.5", "measured", "cgroup section 3: two processes that hung in 512 MiB"),
    # --- out of memory by the cap
    Constant(
        "beyond_cap",
        9.2,
        "MiB",
        "+-0.4",
        "fitted",
        "C14: peak use of a container at an abort, less the cap: 22.4 at 256 to 33.2 at 464; 21 at 208 (N14, unseen)",
    ),
    Constant("beyond_cap_share", 0.052, "1", "0.049-0.054", "fitted", "the same: more for every MiB of the cap"),
    Constant(
        "files_in_use",
        24.0,
        "MiB",
        "26 enough, 23 too few",
        "measured",
        "file pages left at an abort (26, 31) and at hangs (17 to 23), six runs: cgroup section 3, N13, N14",
    ),
    Constant("files_margin", 7.0, "MiB", "chosen", "assumed", "room for files beyond that: 31 left is a sure abort"),
    Constant(
        "death_margin",
        4.0,
        "MiB",
        "2-8",
        "measured",
        "cap minus live bytes at death: leak_to_cap, live45, live55",
    ),
    # --- resident memory of the server
    Constant("server_file", 42.6, "MiB", "+-0.1", "measured", "L1: mapped program files, RssFile"),
    Constant("server_off_heap", 6.3, "MiB", "rmse 2.4", "fitted", "L1: RSS - RssFile - heapTotal"),
    # --- CPU of the server
    Constant("warm_after", 3000, "requests", "2500-4000", "measured", "cgroup section 6"),
    Constant("cold_request", 0.4, "ms", "0.1-0.6", "fitted", "extra CPU of a request before; L14 at four rates"),
    Constant("server_idle_cpu", 0.0014, "vCPU", "0.001-0.0015", "measured", _SERIES + ", idle tails"),
    Constant("request_cpu", 1.0, "1", "exact", "assumed", "CPU of a request over that of the measured server"),
    # --- container of the server
    Constant("server_cache_request", 0.0, "bytes", "exact", "assumed", "page cache of a request, log files apart"),
    Constant("server_mapped", 39.0, "MiB", "0 if another group holds them", "measured", "cgroup, base500: mapped"),
    Constant("server_files_read", 79.1, "MiB", "66-79; 0 if another group holds them", "measured", "C7, base500"),
    Constant("node_kernel_base", 0.7, "MiB", "+-0.07", "fitted", "C5"),
    Constant("node_kernel_share", 0.032, "1", "3.20-3.27 %", "fitted", "C5: page tables per anonymous byte"),
    Constant("group_overhead", 0.22, "MiB", "rms 0.16", "fitted", "C1"),
    # --- page cache of any container
    Constant("kernel_written", 0.029, "1", "2.90-3.04 %", "fitted", "C4: kernel memory per cached written byte"),
    Constant("kernel_read", 0.0025, "1", "one scan", "measured", "C4: the same for pages that were only read"),
    # --- Postgres
    Constant("pg_anon_base", 4.13, "MiB", "+-0.1", "measured", "conns run, no clients"),
    Constant("pg_anon_connected", 1.04, "MiB", "<= 0.1 for N = 10, 65, 97", "fitted", "C8"),
    Constant("pg_anon_inserted", 3.03, "MiB", "2.9-3.1 for N = 5, 10, 20, 65", "measured", "memory section 8, at rest"),
    Constant("pg_anon_active", 0.57, "MiB", "0.35-0.65", "fitted", "C9 less the above: while 100 rows are inserted"),
    Constant("pg_kernel_base", 1.44, "MiB", "+-0.1", "measured", "conns run, no clients"),
    Constant("pg_kernel_connected", 0.25, "MiB", "+-0.01", "fitted", "C8"),
    Constant("pg_kernel_inserted", 0.50, "MiB", "0.42-0.52", "fitted", "C9: page tables 0.39 + rest of C8"),
    Constant("pg_shmem_start", 11.7, "MiB", "11.66 in every run", "measured", "cgroup section 4"),
    Constant("pg_shmem_connected", 1.55, "MiB", "one run", "measured", "conns run: once anyone has connected"),
    Constant("pg_cache_connected", 2.56, "MiB", "one run", "measured", "conns run: once anyone has connected"),
    Constant("pg_shmem_max", 140.0, "MiB", "139.7-140.1", "measured", "shared_buffers = 128 MB"),
    Constant("pg_data_start", 21.4, "MiB", "21.4 in every run", "measured", "empty cluster, data_mb at start"),
    Constant("pg_wal_start", 16.0, "MiB", "one segment", "measured", "empty cluster, wal_mb at start"),
    Constant("pg_wal_max", 1024.0, "MiB", "reached, not passed", "measured", "max_wal_size = 1 GB"),
    Constant("pg_checkpoint_interval", 300.0, "s", "exact", "measured", "Postgres default of checkpoint_timeout"),
    Constant(
        "pg_wal_intervals",
        2.1,
        "1",
        "2-3 after rounding",
        "measured",
        "own run: WAL of one interval 10.5, directory 32",
    ),
    Constant("pg_cache_start", 8.7, "MiB", "+-0.1", "measured", "cache minus shmem of an empty, idle server"),
    Constant("pg_cache_offset", 15.0, "MiB", "rmse 1.9", "fitted", "C2: files on disk that are not in cache"),
    Constant("pg_data_event", 1540, "bytes", "1524-1552", "fitted", "C10: table 1365 + four indexes 175"),
    Constant(
        "pg_data_revenue",
        560,
        "bytes",
        "unknown",
        "assumed",
        "as for events: 0.883 x 423 B of JSON + indexes",
    ),
    Constant("pg_wal_event", 2000, "bytes", "1812-2241", "measured", "C10"),
    Constant("pg_wal_revenue", 730, "bytes", "unknown", "assumed", "as for events: 1.3 x its bytes of data"),
    Constant("pg_wal_update", 183, "bytes", "one run", "measured", "cgroup section 4: one UPDATE per statement"),
    Constant("pg_volume_metadata", 0.025, "1", "2-3 %", "assumed", "file-system metadata per byte of files"),
    Constant("pg_cpu_row", 0.045e-3, "s", "0.044-0.059 per 1000", "measured", "cgroup section 6, batches of 100"),
    Constant("pg_cpu_update", 0.164e-3, "s", "0.120 with 10 connections", "measured", "cgroup section 6"),
    Constant("pg_cpu_idle", 0.00027, "vCPU", "one run", "measured", "cgroup section 6"),
    Constant("pg_table_share", 0.886, "1", "0.88-0.89", "measured", "C10: table 1365 of 1540 bytes, the rest indexes"),
    Constant("pg_rows_page", 6, "rows", "8192 / 1365", "measured", "C10"),
    Constant("pg_wal_delete", 60, "bytes", "unknown", "assumed", "a deleted row, without full pages"),
    Constant("pg_scan_anon", 32, "MiB", "30-35", "measured", "cgroup section 4: leader and two workers of a scan"),
    Constant("pg_jit_library", 104.9, "MiB", "version 14", "measured", "libLLVM of Debian 12; cold scan: 933 - 829"),
    Constant("pg_dump_anon", 4.0, "MiB", "3.6-4.1", "measured", "cgroup section 4: the backend of pg_dump"),
    Constant("pg_change_anon", 10.8, "MiB", "10.8-11", "measured", "cgroup section 4: the backend of DELETE"),
    Constant("pg_vacuum_shmem", 64.2, "MiB", "exact", "measured", "cgroup section 4: shmem 204.3 during VACUUM"),
    Constant("pg_dump_share", 0.9405, "1", "0.9404-0.9406", "measured", "size of a plain dump per byte of table"),
    Constant("pg_dump_cpu", 0.0042, "s/MiB", "0.0038-0.0043", "measured", "cgroup section 4: pg_dump to nowhere"),
    Constant("pg_analyze_pages", 30_000, "pages", "exact", "measured", "Postgres: 300 x default_statistics_target"),
    Constant("pg_analyze_scale", 0.1, "1", "exact", "measured", "Postgres: autovacuum_analyze_scale_factor"),
    Constant("pg_autovacuum", 31, "MiB/s", "28-32", "measured", "cgroup, full_none: growth of dirty pages"),
    # --- Redis
    Constant("redis_anon", 2.7, "MiB", "+-0.1", "measured", "L12, cgroup section 5"),
    Constant("redis_kernel", 0.25, "MiB", "+-0.01", "measured", "cgroup section 5"),
    Constant("redis_cache", 3.1, "MiB", "2.3-3.1", "measured", "cgroup section 5: program files read at start"),
    Constant("redis_mapped", 2.4, "MiB", "1.7-2.4", "measured", "cgroup section 5"),
    Constant("redis_client", 10.0, "KiB", "linear, 10-1000 clients", "fitted", "L12"),
    Constant("redis_key", 143, "bytes", "134-195 with expiry", "fitted", "cgroup section 5: per key beside its value"),
    Constant("redis_rdb_key", 10, "bytes", "exact", "measured", "cgroup section 5: 96.31 MiB for 100k x 1000 B"),
    Constant("redis_aof_command", 42, "bytes", "36-42", "measured", "cgroup section 5: 176.1 MiB for 177,200 SETs"),
    Constant("redis_aof_rewrite", 64.0, "MiB", "exact", "measured", "Redis: auto-aof-rewrite-min-size, 100 % growth"),
    Constant("redis_page_tables", 0.002, "1", "0.0020", "measured", "cgroup section 5: kernel per byte of keys"),
    Constant("redis_kept", 4.7, "MiB", "4.7-5.1", "measured", "cgroup section 5: held after FLUSHALL"),
    Constant("redis_copied_quiet", 0.8, "MiB", "0.7-1.4", "measured", "cgroup section 5: copied by a quiet BGSAVE"),
    Constant("redis_cpu_idle", 0.001, "vCPU", "unknown", "assumed", "ten timer ticks a second and pings"),
)

_VALUES = {c.name: c.value for c in CONSTANTS}
_AROUND = re.compile(r"\+-\s*(\d+(?:\.\d+)?)\s*(%)?")
_RANGE = re.compile(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)(?:\s*(%))?")


def value(name: str) -> float:
    """The number of that name, in its own unit.

    Examples
    --------
    >>> value("event_row")
    2387
    """
    return _VALUES[name]


@contextmanager
def assuming(name: str, number: float) -> Iterator[None]:
    """Let one constant have another value for a while: what if it were at the end of its bracket?

    Parameters
    ----------
    name : str
        Of a constant.
    number : float
        In its own unit.

    Examples
    --------
    >>> with assuming("pg_wal_event", 2241):
    ...     value("pg_wal_event")
    2241
    >>> value("pg_wal_event")
    2000
    """
    kept = _VALUES[name]
    _VALUES[name] = number
    try:
        yield
    finally:
        _VALUES[name] = kept


def bracket(constant: Constant) -> tuple[float, float] | None:
    """Lowest and highest value of a constant, where its ``error`` says them in numbers.

    Parameters
    ----------
    constant : Constant

    Returns
    -------
    (float, float) or None
        None where the error is in words only, such as "unknown"; both equal where it is "exact".

    Examples
    --------
    >>> [bracket(c) for c in CONSTANTS if c.name in ("event_row", "collector_speed", "pg_data_revenue")]
    [(2339.26, 2434.74), (215.0, 300.0), None]
    """
    text, number = constant.error, constant.value
    if text == "exact":
        return number, number
    if text.startswith("factor "):
        factor = float(text.removeprefix("factor "))
        return number / factor, number * factor
    if found := _AROUND.match(text):
        off = float(found[1]) * (number / 100 if found[2] else 1)
        return number - off, number + off
    if found := _RANGE.match(text):
        scale = 0.01 if found[3] else 1.0
        low, high = float(found[1]) * scale, float(found[2]) * scale
        # A range in another unit than the constant's does not hold it, and is not read.
        return (low, high) if low <= number * (1 + 1e-9) and high >= number * (1 - 1e-9) else None
    return None


def constants() -> pd.DataFrame:
    """All constants of the memory model as a table: name, value, unit, error, status, source.

    Examples
    --------
    >>> table = constants()
    >>> table.loc[table.name == "growing_step", ["value", "unit", "status"]].values.tolist()
    [[8.0, 'MiB', 'measured']]
    """
    import pandas as pd

    return pd.DataFrame([asdict(c) for c in CONSTANTS])

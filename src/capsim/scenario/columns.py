"""The tables that stages hand to each other: column, type, unit, meaning.

    trace -> workload -> server -> memory -> cost -> report

A stage takes a table and a spec and returns a table, so it can be run, tested or replaced alone. `SAMPLES` and its
relatives below are the only description of those tables; the documentation and the tests read them too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from capsim.scenario.workload import STREAMS

if TYPE_CHECKING:  # pandas takes longer to import than the command line may
    import pandas as pd

SERVICES = ("server", "postgres", "redis")
# Columns of each writer that say how items were lost.
LOSSES = ("dropped_cap", "dropped_failed", "uncounted", "lost_exit", "refused_down")


@dataclass(frozen=True)
class Column:
    """One column: its name (with the unit as suffix), its NumPy type and what it means."""

    name: str
    dtype: str
    meaning: str


def _per_writer(*columns: Column) -> tuple[Column, ...]:
    return tuple(
        Column(f"{stream}_{c.name}", c.dtype, c.meaning.replace("WRITER", f"the {stream} writer"))
        for stream in STREAMS
        for c in columns
    )


# One row per bin of simulated time (60 s unless said otherwise). Integrals are exact: a mean is integral / width.
SAMPLES = (
    Column("time_s", "float64", "start of the bin, since the start of the load [s]"),
    Column("width_s", "float64", "length of the bin [s]; the last one may be shorter"),
    Column("has_load", "bool", "whether the trace has data here; without data no arrivals are simulated"),
    Column("requests", "int64", "HTTP requests that arrived in the bin, all streams and session starts and ends"),
    Column("requests_late", "int64", "of them: their client stopped waiting before they were served"),
    Column("requests_given_up", "int64", "of them: on the client's last try"),
    Column("loop_offered", "float64", "work that arrived for the HTTP loop, over what it can do in the bin [1]"),
    Column("loop_utilisation", "float64", "share of the bin in which the HTTP loop was busy [1]"),
    Column("loop_wait_max_ms", "float64", "longest that a request of the bin waited for the HTTP loop [ms]"),
    Column("loop_block_max_ms", "float64", "longest single job of the HTTP loop that arrived in the bin [ms]"),
    Column("loop_backlog_ms", "float64", "work that waits for the HTTP loop at the end of the bin [ms]"),
    *_per_writer(
        Column("arrived", "int64", "items in requests for WRITER that arrived in the bin"),
        Column("written_rows", "int64", "items of WRITER whose flush succeeded in the bin (by end of flush)"),
        Column("dropped_cap", "int64", "items that WRITER refused at its cap (by arrival)"),
        Column("dropped_failed", "int64", "items of WRITER in batches given up (by end of flush)"),
        Column("uncounted", "int64", "items of WRITER lost in no counter: single failed updates (by end of flush)"),
        Column("lost_exit", "int64", "items of WRITER that a process held when it ended"),
        Column("refused_down", "int64", "items for WRITER that came while no process was healthy"),
        Column("flushes", "int64", "flushes of WRITER that began in the bin"),
        Column("buffer_mean_rows", "float64", "time average of WRITER's buffer"),
        Column("buffer_min_rows", "int64", "smallest buffer of WRITER in the bin"),
        Column("buffer_max_rows", "int64", "largest buffer of WRITER in the bin"),
        Column("in_flight_mean_rows", "float64", "time average of rows out in a flush of WRITER"),
        Column("in_flight_max_rows", "int64", "most rows out in a flush of WRITER"),
    ),
    Column("db_calls", "int64", "database calls of attempts that ended in the bin"),
    Column("db_rows", "int64", "rows inserted by attempts that ended in the bin, repeats included"),
    Column("db_updates", "int64", "rows updated (heartbeats) by attempts that ended in the bin"),
    Column("pool_in_use_mean", "float64", "time average of connections held"),
    Column("pool_in_use_max", "int64", "most connections held at once"),
    Column("pool_open_max", "int64", "most connections open in the bin (they stay open)"),
    Column("connections_refused", "int64", "connections that Postgres refused (told in the last bin of an hour)"),
    Column("queries", "int64", "analytics reads that ended in the bin"),
    Column("queries_cached", "int64", "of them: answered from the cache"),
    Column("queries_failed", "int64", "of them: failed"),
    Column("read_rows", "int64", "rows that reads of the bin loaded from the database"),
    Column("response_bytes", "int64", "responses to reads of the bin, compressed if they are [bytes]"),
    Column("result_mean_rows", "float64", "time average of result rows in the heap"),
    Column("result_max_rows", "int64", "most result rows in the heap"),
    Column("cached_max_bytes", "int64", "most JSON in the response cache [bytes]"),
    Column("sessions_due_max", "int64", "most sessions that should be closed, as the cleanup's runs saw"),
    Column("sessions_closed", "int64", "sessions that the cleanup closed in the bin (by end of its run)"),
    Column("sessions_closed_alive", "int64", "sessions that a run of the bin took for gone though they were not"),
    Column("redis_queued_max", "int64", "most commands that waited for Redis"),
    Column("redis_rejected", "int64", "commands rejected because too many waited"),
    Column("log_lines", "float64", "lines logged in the bin"),
    Column("log_error_lines", "float64", "of them: of level error"),
    Column("log_lines_dropped", "float64", "of them: beyond what the platform keeps in a second"),
    Column("log_lines_max_hz", "float64", "most lines in one second of the bin [1/s]"),
    Column("log_behind_max_lines", "float64", "most lines that a slow reader or slow files had not taken"),
)

# Added to SAMPLES by `capsim.memory.resident`: bytes from counts. All in MiB = 2^20 bytes, CPU in average vCPUs.
MEMORY = (
    Column("server_heap_mib", "float64", "V8 heapTotal of the server, time average [MiB]"),
    Column("server_rss_mib", "float64", "resident set of the server, time average [MiB]"),
    Column("server_rss_peak_mib", "float64", "highest resident set of the server in the bin [MiB]"),
    Column("server_cpu_vcpu", "float64", "CPU of the server, average [vCPU]"),
    Column("server_billed_lower_mib", "float64", "billed memory of the server, of page cache only mapped files [MiB]"),
    Column("server_billed_mib", "float64", "billed memory of the server, expected [MiB]"),
    Column("server_billed_upper_mib", "float64", "billed memory of the server, all page cache billed [MiB]"),
    Column("postgres_cpu_vcpu", "float64", "CPU of Postgres, average [vCPU]"),
    Column("postgres_billed_lower_mib", "float64", "billed memory of Postgres without file cache [MiB]"),
    Column("postgres_billed_mib", "float64", "billed memory of Postgres, expected [MiB]"),
    Column("postgres_billed_upper_mib", "float64", "billed memory of Postgres, every file page kept and billed [MiB]"),
    Column("postgres_volume_mib", "float64", "bytes on the volume of Postgres: data, WAL, file-system metadata [MiB]"),
    Column("redis_cpu_vcpu", "float64", "CPU of Redis, average [vCPU]"),
    Column("redis_billed_lower_mib", "float64", "billed memory of Redis without file cache [MiB]"),
    Column("redis_billed_mib", "float64", "billed memory of Redis, expected [MiB]"),
    Column("redis_billed_upper_mib", "float64", "billed memory of Redis, upper [MiB]"),
)

# One row per attempt of a flush (kept on request: it grows with the load).
BATCHES = (
    Column("writer", "str", "events, revenue or heartbeats"),
    Column("process", "int64", "number of the server's process, from 0"),
    Column("batch", "int64", "number of the flush of this writer, from 0"),
    Column("attempt", "int64", "1 or 2"),
    Column("start_us", "int64", "start of the attempt, since the start of the load [us]"),
    Column("end_us", "int64", "end of the attempt [us]; -1 while it is out"),
    Column("ok", "bool", "whether the attempt succeeded"),
    Column("rows", "int64", "items in the batch"),
    Column("calls", "int64", "database calls started"),
    Column("counted", "int64", "items added to the writer's total by this attempt"),
    Column("first_item", "int64", "arrival number (from 0) of the first item offered since the previous take"),
    Column("accepted_to", "int64", "arrivals from here to next_item were refused at the cap"),
    Column("next_item", "int64", "arrival number of the first item after the take"),
)

# One row per line of a bill.
BILL = (
    Column("service", "str", "server, postgres, redis or workspace"),
    Column("line", "str", "memory, cpu, egress, volume, backups, subscription, included usage, total ..."),
    Column("quantity", "float64", "how much, in `unit`"),
    Column("unit", "str", "unit of the quantity, for example GB-minute"),
    Column("price_usd", "float64", "price of one unit [USD]"),
    Column("amount_usd", "float64", "quantity x price, rounded to cents [USD]"),
    Column("lower_usd", "float64", "amount with the lower bracket of the page cache [USD]"),
    Column("upper_usd", "float64", "amount with the upper bracket of the page cache [USD]"),
    Column("basis", "str", "modelled, assumed, or not modelled"),
    Column("source", "str", "price table row and what the quantity rests on"),
)


def empty(columns: tuple[Column, ...]) -> pd.DataFrame:
    """A table of these columns without rows.

    Examples
    --------
    >>> list(empty(BILL).columns)[:2]
    ['service', 'line']
    """
    import pandas as pd

    return pd.DataFrame({c.name: pd.Series(dtype=c.dtype) for c in columns})

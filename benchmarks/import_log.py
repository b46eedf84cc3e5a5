"""Reading a large Combined log: capsim beside DuckDB alone and a plain loop over the lines, in lines a second.

All three find the requests of every minute of the same file, and have to agree. DuckDB uses the cores that it is given.
"""

from __future__ import annotations

import argparse
import datetime as dt
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

PATHS = ("events", "events/batch", "heartbeat", "revenue", "dashboard")
AGENTS = ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", "curl/8.5.0", "okhttp/4.12.0")


def make(path: Path, lines: int) -> None:
    """A log of so many lines, two a second, from a fixed seed."""
    rng = np.random.default_rng(1)
    seconds = np.cumsum(rng.exponential(0.5, lines)).astype(int).tolist()
    which, agent, size = rng.integers(0, 5, lines), rng.integers(0, 3, lines), rng.integers(20, 9_000, lines)
    start = dt.datetime(2026, 2, 1, tzinfo=dt.UTC)
    with path.open("w", encoding="ascii", buffering=1 << 22) as file:
        for n, second in enumerate(seconds):
            when = start + dt.timedelta(seconds=second)
            file.write(
                f'10.0.{n % 251}.{n % 241} - - [{when:%d/%b/%Y:%H:%M:%S} +0000] "POST /api/analytics/{PATHS[which[n]]} '
                f'HTTP/1.1" 202 {size[n]} "-" "{AGENTS[agent[n]]}"\n'
            )


def by_capsim(path: Path) -> tuple[int, int]:
    """Requests, and those of the busiest minute."""
    from capsim.workload import read_trace

    times_us = read_trace(path).times_us
    return len(times_us), int(np.unique(times_us // 60_000_000, return_counts=True)[1].max())


def by_duckdb(path: Path) -> tuple[int, int]:
    """The same, by one query."""
    import duckdb

    columns = "columns={'line': 'VARCHAR'}, delim='\\x01', quote='', escape='', header=false"
    query = f"""
        SELECT sum(n), max(n) FROM (
          SELECT count(*) AS n FROM read_csv('{path}', {columns})
          GROUP BY regexp_extract(line, '\\[(../.../....:..:..)', 1))
    """
    with duckdb.connect() as database:
        row = database.execute(query).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def by_loop(path: Path) -> tuple[int, int]:
    """The same, as one would write it in a few lines of Python."""
    minute = re.compile(r"\[(\S+ [+-]\d{4})\]")
    counts: Counter[dt.datetime] = Counter()
    with path.open(encoding="ascii") as file:
        for line in file:
            found = minute.search(line)
            if found:
                counts[dt.datetime.strptime(found[1], "%d/%b/%Y:%H:%M:%S %z").replace(second=0)] += 1
    return counts.total(), max(counts.values())


WAYS = {"capsim": by_capsim, "DuckDB alone": by_duckdb, "plain Python loop": by_loop}


def main() -> int:
    """Time every way in fresh processes, in turns."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lines", type=int, default=10_000_000, help="of the log (10,000,000: 1.2 GB on disk)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("WAY", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        way, name = options.one
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        requests, busiest = WAYS[way](Path(name))
        wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
        print(requests, busiest, wall_s, cpu_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return 0
    took: dict[str, list[tuple[float, ...]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "access.log"
        make(path, options.lines)
        for _ in range(options.repeats):
            for way in WAYS:
                command = [sys.executable, __file__, "--one", way, str(path)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                took[way].append(tuple(float(part) for part in done.stdout.split()))
        size_mb = path.stat().st_size / 1e6
    if len({runs[0][:2] for runs in took.values()}) > 1:
        raise SystemExit(f"import_log: the ways disagree: { {way: runs[0][:2] for way, runs in took.items()} }")
    print(f"| {options.lines:,} lines, {size_mb:,.0f} MB | lines/s (wall) | lines/CPU s | MB/s | peak MiB |")
    print("|---|--:|--:|--:|--:|")
    for way, runs in took.items():
        wall_s, cpu_s, peak_mib = (statistics.median(run[n] for run in runs) for n in (2, 3, 4))
        rates = f"{options.lines / wall_s:,.0f} | {options.lines / cpu_s:,.0f} | {size_mb / wall_s:,.0f}"
        print(f"| {way} | {rates} | {peak_mib:,.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

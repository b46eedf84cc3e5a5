"""What the server's other parts keep in memory and cost in CPU: results, sessions, cached responses, commands, lines.

Each from its own column of `capsim.scenario.columns.SAMPLES`; a part that is left out costs nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from capsim.base.units import KIB, MIB
from capsim.memory.constants import PUBLISHED, Values
from capsim.scenario.scenario import Scenario

Floats = NDArray[np.float64]


class Held(NamedTuple):
    """Live bytes of each bin, on average and at most [MiB]."""

    mean_mib: Floats
    max_mib: Floats
    lasting_mib: Floats  # at most, but for results, which are gone as soon as their text is written


def held(samples: pd.DataFrame, scenario: Scenario, value: Values = PUBLISHED) -> Held:
    """Live heap of results, cached responses, sessions to be closed, commands for Redis, and lines for their reader.

    Parameters
    ----------
    samples : DataFrame
        Columns of `capsim.scenario.columns.SAMPLES`.
    scenario : Scenario

    Returns
    -------
    Held
        A row of a result with its share of the response's text; the text is there at the peak only. Results of 1,000
        to 2,000,000 rows of ten columns were measured, within 13 MiB; other rows cost about in proportion. A session
        that a run of the cleanup loads is taken for such a row (assumed), until the run is over: at the peak only.
    """
    spec = scenario.server
    row = value("result_row") * KIB
    text = value("response_text") * spec.queries.row_json_bytes
    kept = np.zeros(len(samples))
    if spec.cache is not None and spec.cache.store == "memory":
        kept = samples["cached_max_bytes"].to_numpy(np.float64)
    command = value("queued_command") * KIB + spec.redis_client.command_bytes
    waiting = samples["redis_queued_max"].to_numpy(np.float64) * command
    line = value("stalled_line") + value("stalled_line_text") * spec.logger.line_bytes
    behind = samples["log_behind_max_lines"].to_numpy(np.float64) * line
    steady = kept + waiting + behind
    loaded = np.zeros(len(samples))
    if spec.cleanup is not None:
        limit = np.inf if spec.cleanup.limit_rows == "none" else float(spec.cleanup.limit_rows)
        loaded = np.minimum(samples["sessions_due_max"].to_numpy(np.float64), limit) * row
    mean = samples["result_mean_rows"].to_numpy(np.float64) * row + steady
    most = samples["result_max_rows"].to_numpy(np.float64) * (row + text) + loaded + steady
    return Held(mean / MIB, most / MIB, (steady + loaded) / MIB)


def log_files_mib(samples: pd.DataFrame, scenario: Scenario) -> Floats:
    """Log files on the disk of the container, all of them in the page cache [MiB]; from the start of its process.

    Each line goes into both transports, and the oldest file is deleted when the next one is begun.

    Examples
    --------
    >>> from capsim.scenario.scenario import Scenario
    >>> s = Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing={"from": "2026-02-03"})
    >>> lines = pd.DataFrame({"log_lines": [1e6, 1e6]})
    >>> log_files_mib(lines, s.replace("server.logger.files", 5)).tolist()
    [50.0, 50.0]
    """
    logger = scenario.server.logger
    written = np.cumsum(samples["log_lines"].to_numpy(np.float64)) * logger.line_bytes / MIB
    most: Floats = 2 * np.minimum(written, logger.files * logger.file_mib)
    return most


def cpu_vcpu(samples: pd.DataFrame, scenario: Scenario, value: Values = PUBLISHED) -> Floats:
    """CPU of log lines and of reads, on top of that of the requests [vCPU].

    Examples
    --------
    >>> from capsim.scenario.scenario import Scenario
    >>> from capsim.scenario.columns import SAMPLES, empty
    >>> s = Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing={"from": "2026-02-03"})
    >>> table = empty(SAMPLES).reindex(range(1)).fillna(0).assign(width_s=1.0, queries=1, read_rows=10_000)
    >>> cpu_vcpu(table, s).round(4).tolist()
    [0.1003]
    """
    queries, metrics = scenario.server.queries, scenario.server.metrics
    line_us = value("line_cpu_files" if scenario.server.logger.files else "line_cpu_console")
    seconds = samples["log_lines"].to_numpy(np.float64) * line_us / 1e6
    seconds += samples["queries"].to_numpy(np.float64) * queries.cpu_ms / 1e3
    rows = samples["read_rows"].to_numpy(np.float64)
    seconds += rows * queries.row_cpu_ms / 1e3
    if queries.compression:
        seconds += rows * queries.row_json_bytes / MIB * queries.compression_cpu_ms_per_mib / 1e3
    width = samples["width_s"].to_numpy(np.float64)
    if metrics is not None:
        seconds += width / metrics.every_s * metrics.cpu_ms / 1e3
    used: Floats = seconds / width
    return used

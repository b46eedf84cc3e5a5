"""The table of samples of one process, from what an engine counted in bins and seconds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from capsim.base.units import US_PER_MS, US_PER_S
from capsim.engine.kernel.fields import bin as B
from capsim.scenario import columns
from capsim.scenario.workload import STREAMS

Ints = NDArray[np.int64]


def columns_of(edges_us: Ints, bins: Ints) -> dict[str, NDArray[np.generic]]:
    """Columns of `capsim.scenario.columns.SAMPLES` but those of load, log and Redis.

    Parameters
    ----------
    edges_us : int64[n + 1]
        Edges of the bins [us].
    bins : int64[n, B.SIZE]
        What was counted in them; columns as in `capsim.engine.kernel.fields.bin`.
    """
    width_us = np.diff(edges_us)
    found: dict[str, NDArray[np.generic]] = {"time_s": edges_us[:-1] / US_PER_S, "width_s": width_us / US_PER_S}
    whole = {"requests": B.REQUESTS, "requests_late": B.LATE, "requests_given_up": B.GIVEN_UP}
    found |= {name: bins[:, column] for name, column in whole.items()}
    found |= {
        "loop_offered": bins[:, B.OFFERED_US] / width_us,
        "loop_utilisation": (bins[:, B.BACKLOG_FROM_US] + bins[:, B.OFFERED_US] - bins[:, B.BACKLOG_US]) / width_us,
        "loop_wait_max_ms": bins[:, B.WAIT_US] / US_PER_MS,
        "loop_block_max_ms": bins[:, B.LONGEST_US] / US_PER_MS,
        "loop_backlog_ms": bins[:, B.BACKLOG_US] / US_PER_MS,
    }
    none = np.zeros(len(bins), np.int64)
    for stream, name in enumerate(STREAMS):
        own = bins[:, stream * B.WRITER : (stream + 1) * B.WRITER]
        found |= {
            f"{name}_arrived": own[:, B.ARRIVED],
            f"{name}_written_rows": own[:, B.WRITTEN],
            f"{name}_dropped_cap": own[:, B.DROPPED_CAP],
            f"{name}_dropped_failed": own[:, B.DROPPED_FAILED],
            f"{name}_uncounted": own[:, B.UNCOUNTED],
            f"{name}_lost_exit": none,
            f"{name}_refused_down": none,
            f"{name}_flushes": own[:, B.FLUSHES],
            f"{name}_buffer_mean_rows": own[:, B.BUFFER] / width_us,
            f"{name}_buffer_min_rows": own[:, B.BUFFER_MIN],
            f"{name}_buffer_max_rows": own[:, B.BUFFER_MAX],
            f"{name}_in_flight_mean_rows": own[:, B.OUT] / width_us,
            f"{name}_in_flight_max_rows": own[:, B.OUT_MAX],
        }
    found |= {
        "db_calls": bins[:, B.CALLS],
        "db_rows": bins[:, B.INSERTED],
        "db_updates": bins[:, B.UPDATED],
        "pool_in_use_mean": bins[:, B.IN_USE] / width_us,
        # A call that Postgres is turning away has a place in the pool and no connection.
        "pool_in_use_max": np.minimum(bins[:, B.IN_USE_MAX], bins[:, B.OPEN_MAX]),
        "pool_open_max": bins[:, B.OPEN_MAX],
        "connections_refused": bins[:, B.REFUSED],
        "queries": bins[:, B.READS],
        "queries_cached": bins[:, B.CACHED],
        "queries_failed": bins[:, B.READS_FAILED],
        "read_rows": bins[:, B.READ_ROWS],
        "response_bytes": bins[:, B.RESPONSE],
        "result_mean_rows": bins[:, B.RESULT] / width_us,
        "result_max_rows": bins[:, B.RESULT_MAX],
        "cached_max_bytes": bins[:, B.CACHED_MAX],
        "sessions_due_max": bins[:, B.DUE_MAX],
        "sessions_closed": bins[:, B.CLOSED],
        "sessions_closed_alive": bins[:, B.CLOSED_ALIVE],
    }
    return found


def table(parts: list[dict[str, NDArray[np.generic]]]) -> pd.DataFrame:
    """All bins of a process, as `capsim.scenario.columns.SAMPLES` describes them."""
    if not parts:
        return columns.empty(columns.SAMPLES)
    joined = {c.name: np.concatenate([part[c.name] for part in parts]).astype(c.dtype) for c in columns.SAMPLES}
    return pd.DataFrame(joined, copy=False)

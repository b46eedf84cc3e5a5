"""What became of every item: one row a writer, and the rows add up."""

from __future__ import annotations

import pandas as pd

from capsim.engine.fleet import Fleet
from capsim.scenario.workload import STREAMS

FATES = (
    "written",  # counted by a flush that succeeded
    "coalesced",  # replaced by a later heartbeat of its session before it was written
    "in_loop",  # in a request that was not served before the end
    "buffered",  # in the buffer at the end
    "in_flight",  # out in a flush at the end
    "dropped_cap",  # refused by a full buffer
    "dropped_failed",  # in a batch that was given up
    "uncounted",  # lost in no counter: updates that failed one by one
    "lost_exit",  # held by a process when it ended
    "refused_down",  # came while no process was healthy
    "rejected",  # came to a process after its shutdown call
)


def accounting(fleet: Fleet) -> pd.DataFrame:
    """Where the items of a finished run are.

    Returns
    -------
    DataFrame
        Columns ``writer``, ``arrived`` and one for each of `FATES` [items]; ``arrived`` is the sum of the others.
    """
    rows = []
    for stream in STREAMS:
        row = dict.fromkeys(("arrived", *FATES), 0)
        row["refused_down"] = fleet.refused[stream]
        row["arrived"] = fleet.refused[stream]
        for process in fleet.processes:
            writer = process.server.writers[stream]
            offered = writer.seen - writer.arrivals.first
            row["arrived"] += offered + process.server.in_loop(stream)
            row["written"] += writer.flushed
            row["coalesced"] += offered - writer.dropped_cap - writer.rejected - writer.entries
            if process.lost:
                row["lost_exit"] += process.lost[stream]
            else:
                row["in_loop"] += process.server.in_loop(stream)
                row["buffered"] += writer.count
                row["in_flight"] += process.server.in_flight(stream)
            row["dropped_cap"] += writer.dropped_cap
            row["dropped_failed"] += writer.dropped_failed
            row["uncounted"] += writer.uncounted
            row["rejected"] += writer.rejected
        rows.append({"writer": stream, **row})
    return pd.DataFrame(rows)

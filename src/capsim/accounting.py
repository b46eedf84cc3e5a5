"""What became of every item: one row a writer, and the rows add up."""

from __future__ import annotations

import pandas as pd

from capsim.server.model import Server

FATES = (
    "written",  # counted by a flush that succeeded
    "coalesced",  # replaced by a later heartbeat of its session before it was written
    "buffered",  # in the buffer at the end
    "in_flight",  # out in a flush at the end
    "dropped_cap",  # refused by a full buffer
    "dropped_failed",  # in a batch that was given up
    "uncounted",  # lost in no counter: updates that failed one by one
    "rejected",  # arrived after the shutdown call
)


def accounting(server: Server) -> pd.DataFrame:
    """Where the items of a finished run are.

    Returns
    -------
    DataFrame
        Columns ``writer``, ``arrived`` and one for each of `FATES` [items]; ``arrived`` is the sum of the others.
    """
    rows = []
    for stream, writer in server.writers.items():
        flusher = server.flushers[stream]
        in_flight = flusher.out[0].rows if flusher.out else 0
        row = {
            "writer": stream,
            "arrived": writer.seen,
            "written": writer.flushed,
            "coalesced": writer.seen - writer.dropped_cap - writer.rejected - writer.entries,
            "buffered": writer.count,
            "in_flight": in_flight,
            "dropped_cap": writer.dropped_cap,
            "dropped_failed": writer.dropped_failed,
            "uncounted": writer.uncounted,
            "rejected": writer.rejected,
        }
        rows.append(row)
    return pd.DataFrame(rows)

"""A trace as CSV text that `read_trace` reads back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capsim.base.units import US_PER_MS, US_PER_S
from capsim.workload.model import Ints, Trace


def csv_text(trace: Trace) -> str:
    """``timestamp,count`` for counts (absent bins stay absent), one ``timestamp`` per row for events.

    Examples
    --------
    >>> print(csv_text(Trace.from_counts("x", [0, 60_000_000], [4, 7], 60_000_000)), end="")
    timestamp,count
    1970-01-01T00:00:00Z,4
    1970-01-01T00:01:00Z,7
    """
    if trace.kind == "events":
        return "\n".join(["timestamp", *_stamps(trace.times_us), ""])
    rows = (f"{stamp},{count}" for stamp, count in zip(_stamps(trace.bin_start_us), trace.counts.tolist(), strict=True))
    return "\n".join(["timestamp,count", *rows, ""])


def _stamps(times_us: Ints) -> list[str]:
    unit = "s" if not (times_us % US_PER_S).any() else "ms" if not (times_us % US_PER_MS).any() else "us"
    instants: NDArray[np.datetime64] = times_us.view("datetime64[us]")
    return [f"{stamp}Z" for stamp in np.datetime_as_string(instants, unit).tolist()]  # type: ignore[call-overload]

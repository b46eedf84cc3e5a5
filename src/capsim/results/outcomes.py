"""What became of every single arrival, worked out after the run from the facts of the flushes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from capsim.engine.happened import Happened
from capsim.scenario.workload import STREAMS

Ints = NDArray[np.int64]

OUTCOMES = ("written", "coalesced", "buffered", "in_flight", "dropped_cap", "dropped_failed", "unknown")


def outcomes(happened: list[Happened]) -> pd.DataFrame:
    """One row for every arrival of a run without a shutdown.

    Parameters
    ----------
    happened : list of Happened
        All blocks of the run, in order.

    Returns
    -------
    DataFrame
        Columns ``writer``; ``time_us``, arrival since the start of the load [us]; ``outcome``, one of `OUTCOMES`
        (``unknown``: in a batch of single updates of which some failed, no counter says which); ``batch``, number of
        the flush that took it, -1 without one; ``wait_us``, from arrival to the start of that flush [us], -1 without.
    """
    parts = []
    for part, stream in enumerate(STREAMS):
        times_us = np.concatenate([block.stretches[stream].arrivals_us for block in happened])
        refused = np.concatenate([block.stretches[stream].refused for block in happened])
        replaced = _replaced(refused, [block.stretches[stream].previous for block in happened])
        taken_us, next_item = _column(happened, part, "taken_us"), _column(happened, part, "next_item")
        fate = _fates(happened, part, len(taken_us))
        batch = next_item.searchsorted(np.arange(len(times_us)), "right")
        taken = (batch < len(taken_us)) & ~refused
        # A replacement counts only if it lies in the same batch; the one replaced is then never written itself.
        coalesced = taken & (replaced >= 0) & (batch == batch[replaced])
        coalesced |= ~taken & ~refused & (replaced >= 0)
        outcome = np.where(
            taken, np.concatenate((fate, ["buffered"]))[batch], np.where(refused, "dropped_cap", "buffered")
        )
        outcome[coalesced] = "coalesced"
        start_us = np.concatenate((taken_us, [0]))[np.minimum(batch, len(taken_us))]
        parts.append(
            pd.DataFrame(
                {
                    "writer": stream,
                    "time_us": times_us,
                    "outcome": outcome,
                    "batch": np.where(taken, batch, -1),
                    "wait_us": np.where(taken, start_us - times_us, -1),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _column(happened: list[Happened], part: int, name: str) -> Ints:
    return np.concatenate([block.takes[name][block.takes["part"] == part] for block in happened])


def _fates(happened: list[Happened], part: int, batches: int) -> NDArray[np.str_]:
    """What became of each batch."""
    fate = np.full(batches, "in_flight", dtype="U14")
    for block in happened:
        last = (block.attempts["part"] == part) & (block.attempts["last"] == 1)
        ended = {name: column[last] for name, column in block.attempts.items()}
        whole = np.where(ended["lost"] == 0, "written", "unknown")
        # A batch given up after some of its pieces were written is no whole loss either.
        given_up = np.where(ended["lost"] == ended["rows"], "dropped_failed", "unknown")
        fate[ended["batch"]] = np.where(ended["ok"] == 1, whole, given_up)
    return fate


def _replaced(refused: NDArray[np.bool_], previous: list[Ints | None]) -> Ints:
    """By arrival: the next stored arrival of the same session, -1 without one."""
    replaced = np.full(len(refused), -1, np.int64)
    if any(part is not None for part in previous):
        before = np.concatenate([part for part in previous if part is not None])
        later = np.flatnonzero((before >= 0) & ~refused)
        replaced[before[later]] = later
    return replaced

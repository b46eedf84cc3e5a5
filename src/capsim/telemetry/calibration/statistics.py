"""What is compared of measured and simulated samples: a few dozen numbers in place of thousands of samples.

A sample falls somewhere on a saw-tooth whose phase nobody knows, so samples are not compared one by one. These numbers
are: by load (thirds of the samples by request rate) the levels of heapUsed, heapTotal and of what is beside the heap,
how much they vary, how much heapUsed moves from one sample to the next, and how often it falls; and how heapUsed goes
with the rows in the buffers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from capsim.scenario.workload import STREAMS
from capsim.telemetry.calibration.segments import Segment

Floats = NDArray[np.float64]

GROUPS = 3
FALL_MIB = 3.0
LAGS = (1, 2, 4)
FEW = 25  # samples of a group


class Statistics:
    """How the numbers are formed for one set of stretches.

    Parameters
    ----------
    parts : sequence of Segment
        Their load decides the groups; it is the same for what was measured and for every simulation.
    """

    def __init__(self, parts: Sequence[Segment]) -> None:
        rate = np.concatenate([part.rate_hz for part in parts])
        self._first = np.concatenate([[True, *[False] * (int(part.seen.sum()) - 1)] for part in parts])
        early = np.concatenate([_early(part) for part in parts])
        order = np.argsort(np.argsort(rate, kind="stable"), kind="stable")
        spread = np.quantile(rate, 0.9) > 1.3 * max(np.quantile(rate, 0.1), 0.1)
        thirds = order * GROUPS // len(rate) if spread else np.zeros(len(rate), int)
        groups = [(thirds == g) & ~early for g in range(GROUPS if spread else 1)]
        groups += [early & (np.cumsum(early) <= early.sum() // 2), early & (np.cumsum(early) > early.sum() // 2)]
        self._groups = [group for group in groups if group.sum() >= FEW] or [np.ones(len(rate), bool)]
        rows = {s: np.concatenate([p.rows[s][p.seen] + p.out_rows[s][p.seen] for p in parts]) for s in STREAMS}
        self._rows = {s: r - r.mean() for s, r in rows.items() if r.std() > 20.0}

    def of(self, samples: Floats) -> Floats:
        """The numbers.

        Parameters
        ----------
        samples : array, shape (3, n)
            rss, heapTotal and heapUsed at the instants that are compared [MiB].
        """
        rss, total, used = samples
        step = np.append(0.0, np.diff(used))
        inner = ~self._first
        out: list[float] = []
        for group in self._groups:
            level = used[group]
            moves = step[group & inner]
            beside = rss[group] - total[group]
            out += [level.mean(), level.std(), total[group].mean(), total[group].std(), beside.mean()]
            out += [np.abs(moves).mean(), (moves < -FALL_MIB).mean(), np.minimum(np.maximum(moves, 0), 4).mean()]
            around = np.where(group, used - level.mean(), 0.0)
            spread = max(level.var(), 0.1)
            out += [float((around[lag:] * around[:-lag]).sum() / group.sum() / spread) for lag in LAGS]
        for rows in self._rows.values():
            out += [float((rows * used).sum() / (rows**2).sum()) * 1000]
            out += [float((rows * total).sum() / (rows**2).sum()) * 1000]
        return np.array(out)


def _early(part: Segment) -> NDArray[np.bool_]:
    """Samples of the first five minutes of a process, while its new space grows."""
    times = part.time_s[part.seen]
    early: NDArray[np.bool_] = (times < part.time_s[0] + 300.0) & part.young
    return early

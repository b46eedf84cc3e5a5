"""The batch writer of the measured stand-in server (rules ``kit``), for replaying what its buffers held.

Not one of the production writers: an arrival at a full buffer is dropped, otherwise stored; at 100 rows it asks for a
flush, else a timer of 5 s is armed if none is; a flush takes at most 100 rows from the front; when it ends the writer
looks again. So it drains a hundred at a time and never stops for good. Arrivals are a curve, not single items: a buffer
is right to within a row or two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BATCH_ROWS = 100
DELAY_S = 5.0


@dataclass(frozen=True)
class Flushes:
    """How long a flush takes, by when it starts: ``slow_s`` in ``[slow_from_s, slow_to_s)``, otherwise ``usual_s``."""

    usual_s: float = 0.02
    slow_s: float = 0.0
    slow_from_s: float = 0.0
    slow_to_s: float = 0.0

    def lasts_s(self, start_s: float) -> float:
        """Duration of a flush that starts then [s]."""
        return self.slow_s if self.slow_from_s <= start_s < self.slow_to_s else self.usual_s


@dataclass(frozen=True)
class Rows:
    """Rows of one writer at the times asked for."""

    buffered: Floats
    in_flight: Floats
    dropped: Floats


def replay(t_s: Floats, arrived: Floats, flushes: Flushes, cap_rows: float = np.inf) -> Rows:
    """What one writer holds while the recorded number of rows arrives.

    Parameters
    ----------
    t_s : array, shape (n,)
        Times of the samples [s], rising.
    arrived : array, shape (n,)
        Rows offered up to each sample; evenly spaced in between.
    flushes : Flushes
    cap_rows : float
        Largest buffer [rows]; no cap by default.

    Returns
    -------
    Rows

    Examples
    --------
    >>> second = np.arange(31.0)
    >>> held = replay(second, 500 * second, Flushes(slow_s=20, slow_from_s=0, slow_to_s=20), cap_rows=1000)
    >>> held.buffered[[10, 30]].round().tolist(), round(held.dropped[30])
    ([1000.0, 0.0], 9000)
    """
    writer = _Writer(t_s, arrived, cap_rows)
    now, end_s = float(t_s[0]), float(t_s[-1])
    while now < end_s:
        now = writer.next_start(now)
        if now > end_s:
            break
        taken = writer.take(now)
        ends = now + max(flushes.lasts_s(now), 1e-6)
        writer.note(now, taken)
        now = ends
        writer.pass_to(now)
        writer.note(now, 0.0)
    return writer.at(t_s)


class _Writer:
    """Buffer of one writer along the curve of arrivals."""

    def __init__(self, t_s: Floats, arrived: Floats, cap_rows: float) -> None:
        self.t_s, self.arrived, self.cap = t_s, arrived, cap_rows
        self.time, self.seen = float(t_s[0]), float(arrived[0])
        self.buffer = self.dropped = 0.0
        self.points: list[tuple[float, float, float, float, float]] = []
        self.note(self.time, 0.0)

    def seen_at(self, t: float) -> float:
        return float(np.interp(t, self.t_s, self.arrived))

    def when(self, count: float) -> float:
        """Time at which that many have arrived; never, if they do not."""
        i = int(np.searchsorted(self.arrived, count))
        if i >= self.arrived.size:
            return np.inf
        if i == 0:
            return float(self.t_s[0])
        share = (count - self.arrived[i - 1]) / (self.arrived[i] - self.arrived[i - 1])
        return float(self.t_s[i - 1] + share * (self.t_s[i] - self.t_s[i - 1]))

    def pass_to(self, t: float) -> None:
        seen = self.seen_at(t)
        full = self.buffer + seen - self.seen
        self.buffer = min(full, self.cap)
        self.dropped += full - self.buffer
        self.time, self.seen = t, seen

    def next_start(self, now: float) -> float:
        if self.buffer >= BATCH_ROWS:
            return now
        first = now if self.buffer >= 1 else self.when(self.seen + 1 - self.buffer)
        return max(now, min(first + DELAY_S, self.when(self.seen + BATCH_ROWS - self.buffer)))

    def take(self, t: float) -> float:
        self.pass_to(t)
        taken = min(self.buffer, BATCH_ROWS)
        self.buffer -= taken
        return taken

    def note(self, t: float, in_flight: float) -> None:
        self.points.append((t, self.seen, self.buffer, in_flight, self.dropped))

    def at(self, t_s: Floats) -> Rows:
        time, seen, buffer, in_flight, dropped = np.array(self.points).T
        i = np.searchsorted(time, t_s, side="right") - 1
        full = buffer[i] + np.interp(t_s, self.t_s, self.arrived) - seen[i]
        held = np.minimum(full, self.cap)
        return Rows(held, in_flight[i], dropped[i] + full - held)

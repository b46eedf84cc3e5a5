"""One stretch of a load: what arrives in it, stream by stream."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

BLOCK_US = 3_600_000_000  # one hour


@dataclass(frozen=True)
class Sessions:
    """Players' sessions, one entry each.

    Attributes
    ----------
    ids : int64[n]
        Number of the session, counted from 0 over the whole load in the order of starts.
    start_us, end_us : int64[n]
        Since the start of the load [us]. An abandoned session ends with its last heartbeat (or its start).
    abandoned : bool[n]
        Whether it ended without saying so.
    """

    ids: Ints
    start_us: Ints
    end_us: Ints
    abandoned: NDArray[np.bool_]

    def where(self, chosen: NDArray[np.bool_]) -> Sessions:
        """The sessions chosen by a mask."""
        return Sessions(self.ids[chosen], self.start_us[chosen], self.end_us[chosen], self.abandoned[chosen])


@dataclass(frozen=True)
class Block:
    """What arrives in [from_us, to_us), at most one hour; all times since the start of the load [us].

    Attributes
    ----------
    times : dict of stream to int64[n]
        Sorted arrivals of ``events``, ``revenue`` and ``heartbeats``.
    heartbeat_sessions : int64[n] or None
        Session of each heartbeat; None if every heartbeat stands for a session of its own.
    other_us : int64[n]
        Sorted HTTP requests that reach no writer: starts and ends of sessions.
    covered_us : tuple of (from_us, to_us)
        Where in the block the load has data. Outside nothing new arrives; live sessions play on.
    started, ended : Sessions or None
        Sessions that start, and that end, in this block; None for a load without sessions.
    queries_us : int64[n]
        Sorted analytics reads; they come on top of the requests.
    in_order : (int64[n], int8[n]) or None
        All of ``times`` in one order, of one instant those of earlier streams first, and which stream each is of; None
        where it has not been kept.
    """

    from_us: int
    to_us: int
    times: dict[str, Ints]
    heartbeat_sessions: Ints | None
    other_us: Ints
    covered_us: tuple[tuple[int, int], ...]
    started: Sessions | None = None
    ended: Sessions | None = None
    queries_us: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    in_order: tuple[Ints, NDArray[np.int8]] | None = None

    @property
    def requests(self) -> int:
        """HTTP requests in the block, all kinds together."""
        return sum(times.size for times in self.times.values()) + int(self.other_us.size)

    def until(self, to_us: int) -> Block:
        """The block cut off at ``to_us``; itself if it ends before."""
        if to_us >= self.to_us:
            return self
        heartbeats = int(self.times["heartbeats"].searchsorted(to_us))
        return Block(
            from_us=self.from_us,
            to_us=to_us,
            times={name: times[: times.searchsorted(to_us)] for name, times in self.times.items()},
            heartbeat_sessions=None if self.heartbeat_sessions is None else self.heartbeat_sessions[:heartbeats],
            other_us=self.other_us[: self.other_us.searchsorted(to_us)],
            covered_us=tuple((a, min(b, to_us)) for a, b in self.covered_us if a < to_us),
            started=self.started and self.started.where(self.started.start_us < to_us),
            ended=self.ended and self.ended.where(self.ended.end_us < to_us),
            queries_us=self.queries_us[: self.queries_us.searchsorted(to_us)],
            in_order=self.in_order and before(to_us, *self.in_order),
        )


def before(to_us: int, times: Ints, kinds: NDArray[np.int8]) -> tuple[Ints, NDArray[np.int8]]:
    """Those before an instant of arrivals in order of time."""
    count = int(times.searchsorted(to_us))
    return times[:count], kinds[:count]

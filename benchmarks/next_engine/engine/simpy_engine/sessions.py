"""Players' sessions as Postgres knows them; all processes share them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from capsim.workload.block import Block

NEVER_US = 1 << 62


@dataclass
class Session:
    """A session that is not closed [us]."""

    number: int
    start_us: int
    last_us: int  # last heartbeat that has been written, or the start
    leaves_us: int  # when it says that it ends, if it does
    live_to_us: int  # when its player really leaves


class Sessions:
    """Sessions by number."""

    def __init__(self) -> None:
        self.open: dict[int, Session] = {}

    def begin(self, block: Block) -> None:
        """These sessions will start in the block; those that have ended are forgotten."""
        self.open = {number: session for number, session in self.open.items() if session.leaves_us > block.from_us}
        if block.started is not None:
            started = block.started
            columns = (started.ids, started.start_us, started.end_us, started.abandoned)
            for number, start_us, end_us, abandoned in zip(*(column.tolist() for column in columns), strict=True):
                leaves_us = NEVER_US if abandoned else end_us
                self.open[number] = Session(number, start_us, start_us, leaves_us, end_us)

    def beat(self, items: Iterable[tuple[int, int]]) -> None:
        """Heartbeats have been written: whose, and when they came [us]."""
        for number, came_us in items:
            if number in self.open:
                self.open[number].last_us = max(self.open[number].last_us, came_us)

    def due(self, now_us: int, timeout_us: int) -> list[Session]:
        """Those whose last heartbeat is older than the timeout, the longest silent first."""
        there = [session for session in self.open.values() if session.start_us <= now_us < session.leaves_us]
        silent = [session for session in there if session.last_us < now_us - timeout_us]
        return sorted(silent, key=lambda session: (session.last_us, session.number))

    def close(self, sessions: Iterable[Session], now_us: int) -> int:
        """These are closed; how many had not ended by themselves, or been closed by another, meanwhile."""
        found = [self.open.pop(session.number) for session in sessions if session.number in self.open]
        return sum(session.leaves_us > now_us for session in found)

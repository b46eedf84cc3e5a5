"""What can be seen of a running reference: facts as they happen, told to whoever watches."""

from __future__ import annotations

from dataclasses import dataclass

from capsim.scenario.workload import Stream
from capsim.validation.reference.database import Part, Statement


@dataclass
class Tried:
    """One attempt to write a batch: a row of `capsim.scenario.columns.BATCHES`."""

    writer: Stream
    batch: int
    attempt: int
    start_us: int
    rows: int
    first_item: int
    accepted_to: int
    next_item: int
    end_us: int = -1
    ok: bool = False
    calls: int = 0
    counted: int = 0


@dataclass
class Visited:
    """One run of the cleanup, read, or call of the metrics.

    Attributes
    ----------
    part, number : Part, int
        Of what, and which one: a read by its arrival from 0 on, the others by their turn from 1 on.
    start_us, end_us : int
        From its beginning until its last call was answered [us].
    ok, rows, cached, calls, updated
        Whether it got what it asked for; rows that it loaded; whether from the cache; calls of the database; sessions
        closed.
    """

    part: Part
    number: int
    start_us: int
    end_us: int = -1
    ok: bool = False
    rows: int = 0
    cached: bool = False
    calls: int = 0
    updated: int = 0

    def over(self, now_us: int, *, ok: bool = True) -> Visited:
        """It has ended."""
        self.end_us, self.ok = now_us, ok
        return self


class Watch:
    """Looks away; subclasses look. All times are of the server's clock [us]."""

    def attempted(self, tried: Tried) -> None:
        """An attempt has ended."""

    def visited(self, visit: Visited) -> None:
        """A visit has ended."""

    def granted(self, statement: Statement, asked_us: int, granted_us: int) -> None:
        """A call has got its turn on a connection, open or still to be opened."""

    def gave_up(self, statement: Statement, asked_us: int, gave_up_us: int) -> None:
        """A call has waited for a connection for too long."""

    def called(
        self, statement: Statement, asked_us: int, granted_us: int, start_us: int, end_us: int, ok: bool
    ) -> None:
        """A statement has run on an open connection, well or not."""

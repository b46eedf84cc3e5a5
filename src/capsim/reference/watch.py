"""What can be seen of a running reference: facts as they happen, told to whoever watches."""

from __future__ import annotations

from dataclasses import dataclass

from capsim.reference.database import Statement
from capsim.specs import Stream


@dataclass
class Tried:
    """One attempt to write a batch: a row of `capsim.tables.BATCHES`."""

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


class Watch:
    """Looks away; subclasses look. All times are of the server's clock [us]."""

    def attempted(self, tried: Tried) -> None:
        """An attempt has ended."""

    def granted(self, statement: Statement, asked_us: int, granted_us: int) -> None:
        """A call has got its turn on a connection, open or still to be opened."""

    def gave_up(self, statement: Statement, asked_us: int, gave_up_us: int) -> None:
        """A call has waited for a connection for too long."""

    def called(
        self, statement: Statement, asked_us: int, granted_us: int, start_us: int, end_us: int, ok: bool
    ) -> None:
        """A statement has run on an open connection, well or not."""

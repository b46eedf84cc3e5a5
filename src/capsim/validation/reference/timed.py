"""A database for virtual time: no rows of its own, calls last as long, and end, as a function says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from capsim.validation.reference.clock import Clock, Phase, sleep_until
from capsim.validation.reference.database import Answer, CallFailed, Statement

Outcome = Literal["ok", "fail", "missing"]
Lasts = Callable[[Statement, int], tuple[int, Outcome]]
Answers = Callable[[Statement, int], Answer]


def _all_changed(statement: Statement, now_us: int) -> Answer:
    return Answer(changed=len(statement.values))


class TimedDatabase:
    """Lets connections in, or refuses them, and takes its time.

    Parameters
    ----------
    clock : Clock
        Whose time the calls take.
    lasts : callable
        Given a statement and the start of its run [us]: duration [us, at least 1] and ``ok``, ``fail``, or ``missing``
        (no such row).
    connect_us, refused_us : int
        Time that opening a connection takes, and until one is refused [us].
    answers : callable, optional
        Given a statement that has gone well and the end of its run [us]: what it brings. By default each value has
        changed a row.
    most : int, optional
        Connections that it lets in; None for any number.
    downs_us : sequence of (int, int)
        When it goes down, and until when it refuses connections, ascending [us]. All connections break.

    Attributes
    ----------
    open, refusing, refused : int
        Connections that it has or is opening; those that it is just refusing, and has refused.
    """

    def __init__(
        self,
        clock: Clock,
        lasts: Lasts,
        connect_us: int = 0,
        *,
        refused_us: int = 1_000,
        answers: Answers = _all_changed,
        most: int | None = None,
        downs_us: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.clock, self.lasts, self.answers = clock, lasts, answers
        self._connect_us, self._refused_us, self._most, self._downs_us = connect_us, refused_us, most, downs_us
        self._broken = 0  # times that it went down
        self.open = self.refusing = self.refused = 0
        for from_us, _ in downs_us:
            clock.at(from_us, Phase.TIMERS, self._break)

    @property
    def epoch(self) -> int:
        """How often it went down: connections of an earlier epoch are broken."""
        return self._broken

    def _break(self) -> None:
        self._broken += 1
        self.open = 0

    async def connect(self) -> TimedConnection:
        """Open a connection."""
        now_us = self.clock.now_us()
        is_down = any(from_us <= now_us < to_us for from_us, to_us in self._downs_us)
        if is_down or (self._most is not None and self.open >= self._most):
            self.refused += 1
            self.refusing += 1
            try:
                await sleep_until(self.clock, now_us + self._refused_us, Phase.COMPLETIONS)
            finally:
                self.refusing -= 1
            raise CallFailed("the database lets no one in" if is_down else "the database has too many connections")
        epoch = self._broken
        self.open += 1
        try:
            if self._connect_us:
                await sleep_until(self.clock, now_us + self._connect_us, Phase.COMPLETIONS)
        except BaseException:
            self.open -= self._broken == epoch
            raise
        return TimedConnection(self, epoch)


class TimedConnection:
    """A connection of a `TimedDatabase`; it stays open until that goes down."""

    server_pid = None

    def __init__(self, database: TimedDatabase, epoch: int) -> None:
        self._database, self._epoch = database, epoch

    @property
    def is_open(self) -> bool:
        """Whether the database has not gone down since."""
        return self._epoch == self._database.epoch

    async def run(self, statement: Statement) -> Answer:
        """Take the time that the call takes."""
        database = self._database
        start_us = database.clock.now_us()
        duration_us, outcome = database.lasts(statement, start_us)
        await sleep_until(database.clock, start_us + duration_us, Phase.COMPLETIONS)
        if outcome == "fail":
            raise CallFailed("the database said no")
        return Answer() if outcome == "missing" else database.answers(statement, start_us + duration_us)

    async def close(self) -> None:
        """Give it up."""
        self._database.open -= self.is_open

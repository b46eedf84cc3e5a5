"""What a database is to the reference: connections that run statements, one at a time each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from capsim.reference.clock import Clock, Phase, sleep_until
from capsim.specs import STREAMS

# Who asks for connections; those who ask in one instant get them in this order.
Part = Literal["events", "revenue", "heartbeats", "cleanup", "queries"]
PARTS: tuple[Part, ...] = (*STREAMS, "cleanup", "queries")

Operation = Literal[
    "insert_events",
    "insert_revenue",
    "touch_session",
    "touch_sessions",
    "start_session",
    "end_session",
    "stale_sessions",
    "analytics",
    "follow_up",
    "connections",
]


class CallFailed(Exception):
    """A database call that did not succeed, for whatever reason; what follows is for the caller to decide."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One database call.

    Attributes
    ----------
    operation : str
        What to do.
    part : str
        Who asks.
    values : sequence
        The rows or arguments.
    item, attempt : int
        Address of the call: for a writer the arrival number of the batch's first item plus the number of the call
        within its attempt, and the attempt.
    """

    operation: Operation
    part: Part
    values: Sequence[Any] = ()
    item: int = 0
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call brought: rows changed, or rows read."""

    changed: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)


class Connection(Protocol):
    """An open connection."""

    @property
    def is_open(self) -> bool:
        """Whether it can be used again."""

    async def run(self, statement: Statement) -> Answer:
        """Run one statement.

        Raises
        ------
        CallFailed
            With the reason in one line.
        """

    async def close(self) -> None:
        """Give it up."""


class Database(Protocol):
    """A place that connections lead to."""

    async def connect(self) -> Connection:
        """Open one.

        Raises
        ------
        CallFailed
            With the reason in one line.
        """


Outcome = Literal["ok", "fail", "missing"]
Lasts = Callable[[Statement, int], tuple[int, Outcome]]


class TimedDatabase:
    """No database: calls last as long, and end, as a function says.

    Parameters
    ----------
    clock : Clock
        Whose time the calls take.
    lasts : callable
        Given a statement and the start of its run [us]: duration [us, at least 1] and ``ok``, ``fail``, or ``missing``
        (no such row).
    connect_us : int
        Time that opening a connection takes [us].
    """

    def __init__(self, clock: Clock, lasts: Lasts, connect_us: int = 0) -> None:
        self._clock, self._lasts, self._connect_us = clock, lasts, connect_us

    async def connect(self) -> TimedConnection:
        """Open a connection."""
        if self._connect_us:
            await sleep_until(self._clock, self._clock.now_us() + self._connect_us, Phase.COMPLETIONS)
        return TimedConnection(self._clock, self._lasts)


class TimedConnection:
    """A connection of a `TimedDatabase`; it stays open."""

    is_open = True

    def __init__(self, clock: Clock, lasts: Lasts) -> None:
        self._clock, self._lasts = clock, lasts

    async def run(self, statement: Statement) -> Answer:
        """Take the time that the call takes."""
        start_us = self._clock.now_us()
        duration_us, outcome = self._lasts(statement, start_us)
        await sleep_until(self._clock, start_us + duration_us, Phase.COMPLETIONS)
        if outcome == "fail":
            raise CallFailed("the database said no")
        return Answer(changed=0 if outcome == "missing" else len(statement.values))

    async def close(self) -> None:
        """Nothing to give up."""

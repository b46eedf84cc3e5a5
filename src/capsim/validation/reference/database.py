"""What a database is to the reference: connections that run statements, one at a time each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from capsim.scenario.workload import STREAMS

# Who asks for connections; those who ask in one instant get them in this order.
Part = Literal["events", "revenue", "heartbeats", "cleanup", "queries", "metrics"]
PARTS: tuple[Part, ...] = (*STREAMS, "cleanup", "queries", "metrics")

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
        within its attempt, and the attempt; else the number of the read, or of the turn.
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

    @property
    def server_pid(self) -> int | None:
        """The database's first process, if it is known and runs on this machine."""

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

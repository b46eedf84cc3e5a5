"""What an attempt to write a batch is: which calls it makes, when it fails, how many items it counts (oracle §5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from capsim.scenario.workload import Stream
from capsim.validation.reference.database import Answer, CallFailed, Operation
from capsim.validation.reference.log import Log

CHUNK_ROWS = 250  # of the later heartbeat writer
PIECE_ROWS = 500  # most rows of one statement of the recommended writer

# One call of the attempt that is going on; raises `CallFailed`.
Call = Callable[[Operation, Sequence[Any]], Awaitable[Answer]]
# The calls of one attempt on a batch; returns the items counted, raises `CallFailed` when the attempt has failed.
Attempt = Callable[[Call, Sequence[Any], Log], Awaitable[int]]


class Stopped(CallFailed):
    """An attempt failed after it had written some of its rows."""

    def __init__(self, written: int, cause: CallFailed) -> None:
        super().__init__(str(cause))
        self.written = written


def attempt_of(stream: Stream, semantics: str) -> Attempt:
    """How a writer of these semantics writes a batch."""
    if semantics == "recommended":
        return PIECES[stream]
    if stream == "events":
        return insert_events
    if stream == "revenue":
        return insert_revenue
    return one_by_one if semantics == "seed" else in_chunks


async def insert_events(call: Call, rows: Sequence[Any], log: Log) -> int:
    """All events in one insert; a row that is there already counts as written."""
    await call("insert_events", rows)
    return len(rows)


async def insert_revenue(call: Call, rows: Sequence[Any], log: Log) -> int:
    """All records in one insert; a row that is there already counts as written."""
    await call("insert_revenue", rows)
    return len(rows)


async def one_by_one(call: Call, rows: Sequence[Any], log: Log) -> int:
    """An update per heartbeat; one that fails is only warned of, so the attempt always succeeds."""
    counted = 0
    for row in rows:
        try:
            answer = await call("touch_session", (row,))
        except CallFailed as error:
            log.warn(f"heartbeat not written: {error}")
            continue
        counted += 1
        if not answer.changed:
            log.debug("heartbeat of an unknown session")
    return counted


async def in_chunks(call: Call, rows: Sequence[Any], log: Log) -> int:
    """An update per `CHUNK_ROWS` sessions; counts the sessions that were found."""
    counted = 0
    for start in range(0, len(rows), CHUNK_ROWS):
        answer = await call("touch_sessions", rows[start : start + CHUNK_ROWS])
        counted += answer.changed
    return counted


def in_pieces(operation: Operation) -> Attempt:
    """One statement per `PIECE_ROWS` rows; a failure says how many rows came before it."""

    async def write(call: Call, rows: Sequence[Any], log: Log) -> int:
        written = 0
        for start in range(0, len(rows), PIECE_ROWS):
            piece = rows[start : start + PIECE_ROWS]
            try:
                await call(operation, piece)
            except CallFailed as error:
                raise Stopped(written, error) from error
            written += len(piece)
        return written

    return write


PIECES: dict[Stream, Attempt] = {
    "events": in_pieces("insert_events"),
    "revenue": in_pieces("insert_revenue"),
    "heartbeats": in_pieces("touch_sessions"),
}

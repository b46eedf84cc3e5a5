"""What one attempt to write a batch is: a sequence of statements, each depending on how the last one went.

An attempt is a generator that yields statements and is sent their outcomes; it does not know how time passes, so the
same attempt can be played call by call or in one step. Beside it stands what it comes to for many batches at once if
no statement fails: the duration of each attempt, and how many calls and inserted rows it makes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from capsim.engine.database import Database, Ints, Kind, Outcome, Statement
from capsim.engine.writer import Batch, Series
from capsim.scenario.server import WriterSpec
from capsim.scenario.workload import Stream

PIECE_ROWS = 500  # rows of one statement of semantics `recommended`: five full batches (docs/recommended-writer.md)
CHUNK_ROWS = 250  # heartbeats of semantics `fixed` go out in chunks (recorded: oracle §5)


class Result(NamedTuple):
    """How an attempt ended."""

    ok: bool
    counted: int  # items added to the writer's total
    inserted: int = 0  # rows written by successful inserts, repeats included
    failed_calls: int = 0  # single updates that failed without failing the attempt
    missing: int = 0  # single updates that found no row


Attempt = Generator[Statement, Outcome, Result]


class Many(NamedTuple):
    """Attempts of many batches, none of which fails."""

    durations_us: Ints
    calls: Ints
    inserted: Ints
    certain: NDArray[np.bool_]  # where that is what happens, unless a fault interferes


def insert(batch: Batch) -> Attempt:
    """One insert for the whole batch (events, revenue)."""
    outcome = yield Statement("insert", batch.first_item, batch.rows)
    ok = outcome.result == "ok"
    return Result(ok, batch.rows * ok, batch.rows * ok)


def inserts(database: Database, stream: Stream, series: Series) -> Many:
    """`insert` for many batches."""
    rows = series.next_items - series.first_items
    durations_us = database.durations(stream, "insert", series.first_items, rows, series.start_us)
    return Many(durations_us, np.ones_like(rows), rows, np.ones(len(rows), bool))


def one_by_one(batch: Batch) -> Attempt:
    """One update an item; failures are skipped, and counted nowhere (heartbeats, ``seed``)."""
    failed = missing = 0
    for place in range(batch.rows):
        outcome = yield Statement("update", batch.first_item + place, 1)
        failed += outcome.result == "fail"
        missing += outcome.result == "missing"
    return Result(True, batch.rows - failed, 0, failed, missing)


def updates(database: Database, stream: Stream, series: Series) -> Many:
    """`one_by_one` for many batches, which follow each other without a gap."""
    first = series.first_items
    rows = series.next_items - first
    items = np.arange(int(first[0]), int(series.next_items[-1]))
    each_us = database.durations(stream, "update", items, np.int64(1), np.repeat(series.start_us, rows))
    durations_us = np.add.reduceat(each_us, first - first[0])
    return Many(durations_us, rows, np.zeros_like(rows), np.ones(len(rows), bool))


def in_chunks(batch: Batch, unmatched_per_call: int = 0) -> Attempt:
    """One statement a chunk; the first failing chunk fails the attempt (heartbeats, ``fixed``)."""
    counted = 0
    for call, begin in enumerate(range(0, batch.rows, CHUNK_ROWS)):
        rows = min(CHUNK_ROWS, batch.rows - begin)
        outcome = yield Statement("update", batch.first_item + call, rows)
        if outcome.result != "ok":
            return Result(False, 0)
        counted += max(0, rows - unmatched_per_call)
    return Result(True, counted)


def chunks(database: Database, stream: Stream, series: Series) -> Many:
    """`in_chunks` for many batches of one chunk each."""
    rows = series.next_items - series.first_items
    durations_us = database.durations(stream, "update", series.first_items, rows, series.start_us)
    return Many(durations_us, np.ones_like(rows), np.zeros_like(rows), rows <= CHUNK_ROWS)


def insert_pieces(batch: Batch) -> Attempt:
    """One insert a piece, from where the last attempt came to (events, revenue, ``recommended``)."""
    return (yield from _pieces(batch, "insert"))


def update_pieces(batch: Batch) -> Attempt:
    """One statement a piece, from where the last attempt came to (heartbeats, ``recommended``)."""
    return (yield from _pieces(batch, "update"))


def _pieces(batch: Batch, kind: Kind) -> Attempt:
    counted = 0
    for call, begin in enumerate(range(batch.written, batch.rows, PIECE_ROWS)):
        rows = min(PIECE_ROWS, batch.rows - begin)
        outcome = yield Statement(kind, batch.first_item + call, rows)
        if outcome.result != "ok":
            return Result(False, counted, counted * (kind == "insert"))
        counted += rows
    return Result(True, counted, counted * (kind == "insert"))


def first_inserts(database: Database, stream: Stream, series: Series) -> Many:
    """`insert_pieces` for many batches of one piece each."""
    many = inserts(database, stream, series)
    return many._replace(certain=many.inserted <= PIECE_ROWS)


def first_updates(database: Database, stream: Stream, series: Series) -> Many:
    """`update_pieces` for many batches of one piece each."""
    many = chunks(database, stream, series)
    return many._replace(certain=series.next_items - series.first_items <= PIECE_ROWS)


MANY: dict[Callable[[Batch], Attempt], Callable[[Database, Stream, Series], Many]] = {
    insert: inserts,
    one_by_one: updates,
    in_chunks: chunks,
    insert_pieces: first_inserts,
    update_pieces: first_updates,
}


def attempt_rules(stream: Stream, spec: WriterSpec) -> Callable[[Batch], Attempt]:
    """The attempt that a writer of this kind makes."""
    if spec.semantics == "recommended":
        return update_pieces if stream == "heartbeats" else insert_pieces
    if stream != "heartbeats":
        return insert
    return one_by_one if spec.semantics == "seed" else in_chunks

"""The server wired together, and played block by block.

`Server` joins writers, pool and database under one SimPy environment; `advance` plays one block of arrivals and hands
back what happened in it. Nothing older than the block is kept unless it still matters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import simpy
from numpy.typing import NDArray

from capsim.server.arrivals import Arrivals
from capsim.server.attempts import Attempt, attempt_rules
from capsim.server.clock import Clock
from capsim.server.database import Database
from capsim.server.flusher import Flusher
from capsim.server.pool import Pool
from capsim.server.recorder import Facts
from capsim.server.writer import Batch, Writer
from capsim.specs import STREAMS, PoolSpec, Stream, WriterSpec
from capsim.units import us_from_s

Ints = NDArray[np.int64]

TAKES = ("part", "taken_us", "phase", "rows", "first_item", "accepted_to", "next_item")
ATTEMPTS = ("part", "batch", "attempt", "start_us", "end_us", "ok", "rows", "calls", "counted", "inserted",
            "first_item", "accepted_to", "next_item")  # fmt: skip


class Block(Protocol):
    """A stretch of load: all arrivals in ``[from_us, to_us)``."""

    @property
    def from_us(self) -> int: ...
    @property
    def to_us(self) -> int: ...
    @property
    def times(self) -> Mapping[str, Ints]: ...
    @property
    def heartbeat_sessions(self) -> Ints | None: ...


@dataclass
class Stretch:
    """What happened to one writer in a stretch of time; all times in microseconds."""

    arrivals_us: Ints
    stored_us: Ints  # arrivals that made the buffer longer
    refused: NDArray[np.bool_]  # whether each arrival was refused at the cap
    taken_us: Ints
    taken_rows: Ints
    ended_us: Ints  # ends of flushes
    ended_rows: Ints
    written_rows: Ints  # of each flush that ended: rows it counted
    failed_rows: Ints  # of each flush that ended: rows it gave up
    uncounted_rows: Ints  # of each flush that ended: rows it lost without counting them
    previous: Ints | None  # of each arrival, if kept by session: number of the one before it in the same session

    @property
    def refused_us(self) -> Ints:
        """Arrivals refused at the cap."""
        return self.arrivals_us[self.refused]


@dataclass
class Happened:
    """What happened while a block was played; columns as in `TAKES`, `ATTEMPTS`, `Pool.changes` and `Pool.waits`."""

    takes: dict[str, Ints]
    attempts: dict[str, Ints]
    connections: dict[str, Ints]
    waits: dict[str, Ints]
    stretches: dict[Stream, Stretch]


class Server:
    """Writers, pool and database, ready to be played.

    Parameters
    ----------
    writers : mapping of stream to WriterSpec
        The writers to run; usually all three.
    pool, pool_limit
        Pool settings, and the limit as the process applies it.
    database : Database
        What answers the statements.
    attempts : mapping of stream to attempt rules, optional
        In place of those that the writer's semantics say (used by the recorded cases).
    look_ahead : bool
        Whether undisturbed stretches may be played without events; the results are the same either way.
    begins_us : int
        When its first block begins [us].
    first_items : mapping of stream to int, optional
        Numbers of the first arrivals that it will get; draws of the database are addressed by them.
    """

    def __init__(
        self,
        writers: Mapping[Stream, WriterSpec],
        pool: PoolSpec,
        pool_limit: int,
        database: Database,
        attempts: Mapping[Stream, Callable[[Batch], Attempt]] | None = None,
        *,
        look_ahead: bool = True,
        begins_us: int = 0,
        first_items: Mapping[Stream, int] | None = None,
    ) -> None:
        self.env = Clock(begins_us)
        self.pool = Pool(
            self.env,
            limit=pool_limit,
            timeout_us=us_from_s(pool.pool_timeout_s),
            connect_us=database.connect_us,
            connect_timeout_us=us_from_s(pool.connect_timeout_s),
            parts=len(writers),
        )
        self._looks_ahead = look_ahead and database.by_address and self.pool.ample and self.pool.can_open
        self._outside_us: list[int] = []  # instants at which something from outside happens
        self.flushes_ahead = 0  # played without an event
        self.known_to_us = begins_us
        self.takes, self.attempts = Facts(*TAKES), Facts(*ATTEMPTS)
        self.writers: dict[Stream, Writer] = {}
        self.flushers: dict[Stream, Flusher] = {}
        for stream in STREAMS:
            if stream not in writers:
                continue
            spec = writers[stream]
            keyed = stream == "heartbeats" and spec.semantics == "fixed"
            first = (first_items or {}).get(stream, 0)
            writer = Writer(stream, spec, Arrivals(keyed=keyed, first=first))
            rules = (attempts or {}).get(stream) or attempt_rules(stream, spec)
            self.writers[stream] = writer
            self.flushers[stream] = Flusher(
                self.env,
                writer,
                STREAMS.index(stream),
                pool=self.pool,
                database=database,
                attempt=rules,
                known_to_us=lambda: self.known_to_us,
                takes=self.takes,
                attempts=self.attempts,
            )

    def shut_down(self, when_us: int) -> dict[Stream, simpy.Process]:
        """Call ``shutdown()`` of every writer at an instant; the processes end when it has resolved."""
        self._outside_us.append(when_us)
        return {stream: self.env.process(flusher.shut_down(when_us)) for stream, flusher in self.flushers.items()}

    def in_flight(self, stream: Stream) -> int:
        """Items of a writer that are out in a flush."""
        out = self.flushers[stream].out
        return out[0].rows if out else 0

    def advance(self, block: Block) -> Happened:
        """Play the next block; blocks follow each other without gaps."""
        loaded: dict[Stream, tuple[int, Ints | None, int]] = {}
        for stream, writer in self.writers.items():
            writer.settle(block.from_us)
            sessions = block.heartbeat_sessions if stream == "heartbeats" else None
            first, head = writer.arrivals.known, writer.head
            previous = writer.arrivals.extend(block.times[stream], sessions, writer.seen)
            loaded[stream] = (first, previous, head)
        self.known_to_us = block.to_us
        if self._looks_ahead:
            self._look_ahead(block.to_us)
        self.env.run(until=block.to_us)
        takes, attempts = self.takes.drain(), self.attempts.drain()
        stretches = {}
        for stream, writer in self.writers.items():
            writer.settle(block.to_us)
            part = STREAMS.index(stream)
            own_takes = {name: column[takes["part"] == part] for name, column in takes.items()}
            own_attempts = {name: column[attempts["part"] == part] for name, column in attempts.items()}
            stretches[stream] = _stretch(
                writer, block.times[stream], *loaded[stream], takes=own_takes, attempts=own_attempts
            )
        return Happened(takes, attempts, self.pool.changes.drain(), self.pool.waits.drain(), stretches)


    def _look_ahead(self, to_us: int) -> None:
        """Play what nothing can disturb, up to ``to_us`` or the next thing from outside, without the engine.

        Each writer is played on its own, as if there were an idle connection whenever it asks. That can be wrong only
        while the pool has fewer open connections than writers: if they turn out to have needed more at once, the
        stretch is taken back, and the engine plays it event by event and opens what is missing.
        """
        env, flushers = self.env, self.flushers.values()
        while not all(flusher.resting for flusher in flushers) and env.peek() < to_us:
            env.step()
        horizon_us = min([to_us, *(when_us for when_us in self._outside_us if when_us >= env.now)])
        if env.now >= horizon_us or not all(flusher.resting for flusher in flushers):
            return
        if any(flusher.writer.looks_pending for flusher in flushers):
            return
        facts = (self.takes, self.attempts, self.pool.changes)
        marks = [len(fact) for fact in facts]
        states = [flusher.state() for flusher in flushers]
        begun_us = [start for start in (flusher.look_ahead(horizon_us) for flusher in flushers) if start is not None]
        if self.pool.connect_us and self.pool.open < self.pool.parts:
            changes = self.pool.changes.since(marks[2])
            when_us = np.concatenate((changes["when_us"], np.array(begun_us, np.int64)))
            change = np.concatenate((changes["change"], np.ones(len(begun_us), np.int64)))
            held = np.cumsum(change[np.lexsort((change, when_us))])
            if held.max(initial=0) > self.pool.open:
                for fact, mark in zip(facts, marks, strict=True):
                    fact.cut(mark)
                for flusher, state in zip(flushers, states, strict=True):
                    flusher.restore(state)
                return
        self.flushes_ahead += len(self.takes) - marks[0]
        for flusher in flushers:
            flusher.look_again()


def _stretch(
    writer: Writer,
    times_us: Ints,
    first: int,
    previous: Ints | None,
    head: int,
    *,
    takes: dict[str, Ints],
    attempts: dict[str, Ints],
) -> Stretch:
    """What the block's arrivals became; ``first`` is the number of the first, ``head`` where its cycle began."""
    refused = np.zeros(len(times_us), bool)
    for start, stop in writer.drain_refused():
        refused[max(start - first, 0) : max(stop - first, 0)] = True
    stored = ~refused
    if writer.closed_from is not None:
        stored[max(writer.closed_from - first, 0) :] = False
    if previous is not None:
        cycles = np.concatenate(([head], takes["next_item"]))
        numbers = np.arange(first, first + len(times_us))
        stored &= previous < cycles[np.searchsorted(cycles, numbers, "right") - 1]
    last = (attempts["ok"] == 1) | (attempts["attempt"] == 2)
    ok, rows = attempts["ok"][last], attempts["rows"][last]
    counted = attempts["counted"][last]
    return Stretch(
        arrivals_us=times_us,
        stored_us=times_us[stored],
        refused=refused,
        taken_us=takes["taken_us"],
        taken_rows=takes["rows"],
        ended_us=attempts["end_us"][last],
        ended_rows=rows,
        written_rows=counted * ok,
        failed_rows=rows * (1 - ok),
        uncounted_rows=(rows - counted) * ok,
        previous=previous,
    )

"""The rules of a batch writer, by index: which arrival or timer starts the next flush, and what it takes.

The rules are those recorded from the production server (semantics ``seed`` and ``fixed``), quirks included: a spent
timer still counts as armed, and an arrival at a full buffer asks for nothing. Beside them stand the rules of the
repaired writer (``recommended``, docs/recommended-writer.md). They are applied to stretches of
arrivals instead of one by one. What makes that possible: between two takes the stored arrivals are one run of numbers
(first the buffer fills, then everything is refused), so a few numbers say all there is to know about the buffer.

This module knows neither SimPy nor the database: `next_flush` says when something will happen if nobody interferes,
`take` and `finish` are the two ends of a flush, `close` is the shutdown call.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from capsim.engine import clock
from capsim.engine.arrivals import Arrivals
from capsim.scenario.server import WriterSpec
from capsim.scenario.workload import Stream

SPENT = -1  # a timer that fired during a flush: armed for ever, until a flush starts or an arrival completes a batch
FIRST_PAUSE_US, LONGEST_PAUSE_US = 100_000, 5_000_000  # ``recommended``: before the second attempt; at most
GRACE_US = 3_000_000  # a shutdown waits for so long (recorded: oracle §6); ``recommended`` retries no longer than that
LOOK = 0  # phase of a decision that only says: more arrivals have to be known before there is a decision


@dataclass(frozen=True, slots=True)
class Batch:
    """What a flush takes. Numbers count the arrivals of the stream from 0."""

    number: int
    first_item: int  # first arrival after the previous take
    accepted_to: int  # first arrival refused at the cap, next_item if none was
    next_item: int  # first arrival after this take
    rows: int
    taken_us: int
    phase: int
    written: int = 0  # rows of it that earlier attempts wrote (``recommended``)

    @property
    def left(self) -> int:
        """Rows still to be written."""
        return self.rows - self.written


@dataclass(frozen=True, slots=True)
class Series:
    """Flushes that follow one another, each over before the next one is due."""

    first_items: NDArray[np.int64]  # first arrival of each batch
    next_items: NDArray[np.int64]  # first arrival after it
    start_us: NDArray[np.int64]
    phases: NDArray[np.int64]  # `clock.TIMER` or `clock.REQUEST`
    number: int  # of the first of them


class Writer:
    """One writer: its buffer, its timer, its totals.

    Parameters
    ----------
    stream : {"events", "revenue", "heartbeats"}
        Heartbeats under ``fixed`` are kept in a map by session; the arrivals must then be keyed.
    spec : WriterSpec
        Batch size, delay and cap.
    arrivals : Arrivals
        The window that the model extends.
    """

    def __init__(self, stream: Stream, spec: WriterSpec, arrivals: Arrivals) -> None:
        self.stream = stream
        self.looks_again = spec.semantics == "fixed"
        self.repaired = spec.semantics == "recommended"
        self._retry_for_us = spec.retry_for_ms * 1_000
        self._batch_rows, self.delay_us, self._cap = spec.batch_rows, spec.delay_ms * 1_000, spec.cap
        self.arrivals = arrivals
        self.seen = arrivals.first  # arrivals before this number have been dealt with
        self.head = arrivals.first  # first arrival after the last take
        self.count = 0  # entries in the buffer
        self._accepted_to: int | None = None  # first arrival refused since the last take
        self._due_us: int | None = None  # None, SPENT, or when the timer fires
        self.held = 0  # rows of the batch that is out and that count against the cap (``recommended``)
        self.goes_on = False  # ``recommended``: the next flush starts where the last one ended
        self.closed_us: int | None = None
        self._requested = False  # `fixed` found a full batch at the end of a flush
        self.flushing = False
        self.closing = False
        self.looks_pending = False  # a shutdown looks at the writer every 100 ms
        self.closed_from: int | None = None
        self._stuck_from_us: int | None = None
        self.batches = 0
        self.largest_buffer = 0
        self.dropped_cap = self.rejected = 0
        self.entries = 0  # that the buffer has taken in, replacements not counted
        self.flushed = self.failed_batches = self.dropped_failed = self.uncounted = 0
        self.requests_made = 0
        self._refused: list[tuple[int, int]] = []  # runs of arrivals refused at the cap: numbers [from, to)
        self.stuck: list[tuple[int, int]] = []  # [from_us, to_us) in which only a new arrival could start a flush

    # --- looking ahead ----------------------------------------------------------------------------------------------

    def next_flush(self, now_us: int, known_to_us: int) -> tuple[int, int] | None:
        """When the next flush starts, if no shutdown interferes: ``(when_us, phase)``; None for never.

        The phase is `clock.TIMER`, `clock.REQUEST`, `clock.DATABASE` (where the last flush ended), or
        `LOOK` when the arrivals known so far (all before ``known_to_us``) do not decide it: ask again at that time. Not
        to be called while a flush is out.
        """
        if self.goes_on:
            return now_us, clock.DATABASE
        if self._requested:
            return now_us, clock.REQUEST
        due = self._due_us
        if self.closing:
            return None if due is None or due == SPENT else (due, clock.TIMER)
        arrivals, seen = self.arrivals, self.seen
        if due is None and self.count == 0 and seen < arrivals.known:
            due = arrivals.time_us(seen) + self.delay_us
        full_us = None
        if self.count < self._cap:
            missing = max(self._batch_rows - self.count, 1)
            if self.count + missing <= self._cap:
                number = arrivals.nth_entry(seen, missing, self.head)
                if number is not None:
                    full_us = arrivals.time_us(number)
        if due is not None and due != SPENT and (full_us is None or due <= full_us):
            if due < known_to_us or full_us is not None:
                return due, clock.TIMER
            return known_to_us, LOOK
        if full_us is not None:
            return full_us, clock.REQUEST
        return known_to_us, LOOK

    def regular_flushes(self, phase: int, most: int, until_us: int) -> Series | None:
        """The next flushes as arrays, as long as nothing is refused.

        Only the arrivals are looked at: whether a flush lasts so long that it changes the next one is for the caller to
        see. At most about ``most``, and not many that start after ``until_us``; None if there are not even two, as the
        caller can say of no flush what it does without the one after it.

        Parameters
        ----------
        phase : {`clock.TIMER`, `clock.REQUEST`}
            How the next flush starts, as `next_flush` said.
        """
        if self.closing or self.arrivals.coalescing or self._accepted_to is not None or self._requested:
            return None
        if self.repaired and (self.goes_on or 2 * self._batch_rows > self._cap):
            return None  # a batch that is out may leave too little room for the next one
        if self._due_us == SPENT or (self.count > 0 and self._due_us is None) or self._batch_rows > self._cap:
            return None
        arrivals, timed = self.arrivals, phase == clock.TIMER
        arrivals.look()
        due_us = second = None
        if timed:
            due_us = arrivals.time_us(self.seen) + self.delay_us if self._due_us is None else self._due_us
            second = arrivals.before(due_us, self.seen)  # its timer takes what came before it fires
        found = arrivals.batches(
            self.head,
            self.head + self._batch_rows if second is None else second,
            due_us,
            rows=self._batch_rows,
            apart_us=self.delay_us,
            most=most,
            until_us=until_us,
        )
        if found is None:
            return None
        count = len(found.certain) if found.certain.all() else int(found.certain.argmin())
        if count < len(found.certain):
            arrivals.forget_after(int(found.following[count]))
        if count < 2:
            return None
        following = found.following[:count]
        first = np.concatenate(([self.head], following[:-1]))
        phases = np.where(found.full[:count], clock.REQUEST, clock.TIMER)
        return Series(first, following, found.start_us[:count], phases, self.batches)

    def take_all(self, series: Series, count: int) -> None:
        """The first ``count`` flushes of a series: all but the last are over, the last is out."""
        if count + 1 < len(series.next_items):  # the next flush was looked at, and when the one after it starts
            self.arrivals.forget_after(int(series.next_items[count + 1]))
        begin, end = int(series.first_items[0]), int(series.next_items[count - 1])
        self.entries += end - begin - self.count
        self.flushed += end - begin
        self.batches += count
        rows = series.next_items[:count] - series.first_items[:count]
        self.largest_buffer = max(self.largest_buffer, int(rows.max()))
        self.requests_made += int(np.count_nonzero(series.phases[:count] == clock.REQUEST))
        self.head = self.seen = end
        self.count, self._due_us, self.flushing = 0, None, True
        self.held = int(rows[-1]) if self.repaired else 0
        if self._stuck_from_us is not None:
            self.stuck.append((self._stuck_from_us, int(series.start_us[0])))
            self._stuck_from_us = None

    def least_to_act(self, out_rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """So many items at least must have come while a batch of so many rows was out, for them to change anything.

        By completing the next batch, or by filling the buffer.
        """
        room = np.maximum(self._cap - out_rows, 1) if self.repaired else np.full_like(out_rows, self._cap)
        return np.minimum(room, max(self._batch_rows, 1))

    # --- the passing of time ----------------------------------------------------------------------------------------

    def settle(self, when_us: int, *, through: bool = False) -> None:
        """Deal with the arrivals before ``when_us`` (or through it), none of which starts a flush by itself."""
        arrivals, seen = self.arrivals, self.seen
        upto = arrivals.through(when_us, seen) if through else arrivals.before(when_us, seen)
        if upto > seen:
            self._store(seen, upto)
            self.seen = upto

    def _store(self, start: int, stop: int) -> None:
        if self.closing:
            self.rejected += stop - start
            return
        # One place is always left beside a batch that is out: an empty buffer must not have refused anything, or what
        # is stored after the flush would be no one run of numbers with what came before.
        room = (max(self._cap - self.held, 1) if self.held else self._cap) - self.count
        offered = self.arrivals.new_entries(start, stop, self.head) if room > 0 else 0
        refused_from = stop if room > 0 else start
        if offered >= room > 0:  # the arrival that fills the buffer is stored, the next one is refused
            filler = self.arrivals.nth_entry(start, room, self.head)
            assert filler is not None
            refused_from, offered = filler + 1, room
        if refused_from < stop:
            self.dropped_cap += stop - refused_from
            if self._accepted_to is None:
                self._accepted_to = refused_from
        if refused_from == start:
            return
        if self.count == 0 and self._due_us is None:
            self._due_us = self.arrivals.time_us(start) + self.delay_us
        missing = max(self._batch_rows - self.count, 1)
        if offered >= missing or self.count >= self._batch_rows:
            # Every stored arrival from the one that completes a batch disarms the timer and requests a flush.
            completing = start
            if self.count < self._batch_rows:
                number = self.arrivals.nth_entry(start, missing, self.head)
                assert number is not None
                completing = number
            self._due_us = None
            self.requests_made += refused_from - completing
        self.count += offered
        self.entries += offered
        self.largest_buffer = max(self.largest_buffer, self.count)

    def take(self, when_us: int, phase: int) -> Batch | None:
        """Start a flush: the whole buffer, unless a batch is out (None) or there is nothing to take (None)."""
        self.settle(when_us, through=phase >= clock.SHUTDOWN)
        self._requested = self.goes_on = False
        if self.flushing:
            return None
        self._due_us = None
        if self.count == 0:
            return None
        accepted_to = self.seen if self._accepted_to is None else self._accepted_to
        if self.closed_from is not None:
            accepted_to = min(accepted_to, self.closed_from)
        batch = Batch(self.batches, self.head, accepted_to, self.seen, self.count, when_us, phase)
        self._end_refusals()
        if self._stuck_from_us is not None:
            if self._stuck_from_us < when_us:
                self.stuck.append((self._stuck_from_us, when_us))
            self._stuck_from_us = None
        self.batches += 1
        self.held = self.count if self.repaired else 0
        self.head, self.count, self._accepted_to = self.seen, 0, None
        self.flushing = True
        return batch

    def succeed(self, batch: Batch, counted: int) -> None:
        """An attempt succeeded and reports this many items; the others are lost, and nobody says so."""
        self.flushed += counted
        self.uncounted += batch.left - counted

    def write_some(self, batch: Batch, counted: int) -> Batch:
        """An attempt failed after it had written this many rows: the batch without them."""
        self.flushed += counted
        return replace(batch, written=batch.written + counted) if counted else batch

    def pause_us(self, batch: Batch, attempt: int, now_us: int) -> int | None:
        """After a failed attempt: how long to wait before the next one; None to give the batch up."""
        if not self.repaired:
            return 0 if attempt == 1 else None
        pause_us = min(FIRST_PAUSE_US << min(attempt - 1, 10), LONGEST_PAUSE_US)
        last_us = batch.taken_us + self._retry_for_us
        if self.closed_us is not None:
            last_us = min(last_us, self.closed_us + GRACE_US)
        return pause_us if now_us + pause_us <= last_us else None

    def give_up(self, batch: Batch) -> None:
        """The last attempt failed: what is left of the batch is gone."""
        self.failed_batches += 1
        self.dropped_failed += batch.left

    def finish(self, when_us: int, waited_from_us: int | None = None) -> None:
        """The flush is over, one way or the other.

        ``waited_from_us``: since when its last call had been waiting for a connection, if that wait ran out. The end is
        then a timer itself, and of two timers due in one instant the one armed earlier goes first.
        """
        self.settle(when_us)
        due = self._due_us
        if due is not None and due != SPENT and due <= when_us:
            armed_us = due - self.delay_us
            if due < when_us or waited_from_us is None or armed_us < waited_from_us:
                due = self._due_us = SPENT
        self.flushing, self.held = False, 0
        if self.repaired:
            # The buffer's first item has armed the timer, so only three things can have been missed: a timer that fired
            # during the flush, a batch that filled up, and (no new items, but a full buffer) a shutdown.
            waits = due is not None and due != SPENT and self._accepted_to is None
            self.goes_on = self.count > 0 and not waits
            return
        if self.looks_again and self.count:
            if self.count >= self._batch_rows:
                self._requested = True
                self.requests_made += 1
            elif due is None:
                due = self._due_us = when_us + self.delay_us
        ticking = due is not None and due != SPENT
        if self.count and not ticking and not self._requested and not self.looks_pending:
            self._stuck_from_us = when_us

    def close(self, when_us: int) -> None:
        """The shutdown call: what arrives later is refused, the timer is disarmed."""
        self.settle(when_us, through=True)
        self.closing = True
        self.closed_from = self.seen
        self.closed_us = when_us
        self._due_us = None

    def stuck_at(self, end_us: int) -> int | None:
        """Since when the writer has been stuck, if it is at the end of the run [us]."""
        since = self._stuck_from_us
        return since if since is not None and since <= end_us else None

    def state(self) -> dict[str, object]:
        """Everything about the writer that passes, for `restore`."""
        passing = {name: value for name, value in self.__dict__.items() if name != "arrivals"}
        return {name: value.copy() if isinstance(value, list) else value for name, value in passing.items()}

    def restore(self, state: dict[str, object]) -> None:
        """Be again as `state` said."""
        self.__dict__.update(state)

    def _end_refusals(self) -> None:
        if self._accepted_to is not None:
            self._refused.append((self._accepted_to, self.seen if self.closed_from is None else self.closed_from))

    def drain_refused(self) -> list[tuple[int, int]]:
        """Runs of arrivals refused at the cap since the last call: numbers ``[from, to)``; a run goes on if need be."""
        self._end_refusals()
        runs, self._refused = self._refused, []
        return runs

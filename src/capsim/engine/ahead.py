"""Looking ahead: all that a stretch without anything from outside brings, in one step.

Each writer plays the stretch on its own, and so do the visits, as if there were an idle connection whenever they ask.
Afterwards it is seen whether that was the truth:

* the pool may have fewer open connections than they turn out to have needed at once;
* a flush makes later requests wait for the loop, of which the writers knew nothing. Then those whose items move past
  something that they did play the stretch again, and are shown the flushes that were found, until these are the flushes
  that follow.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from capsim.engine.flusher import Flusher
from capsim.engine.loop import FLUSH, Loop, Moved
from capsim.engine.pool import Pool, in_order
from capsim.engine.recorder import Facts
from capsim.engine.visits import Visits
from capsim.engine.writer import Batch, Writer
from capsim.scenario.workload import STREAMS, Stream

Ints = NDArray[np.int64]

MOST_ROUNDS = 8  # in which flushes are looked for that are their own consequence
NEVER_US = 1 << 62


class _Shown(NamedTuple):
    """What the loop would do with the flushes and results of a stretch, as `Loop.show` and `Loop.accept` take it."""

    starts_us: Ints
    cpu_us: Ints
    tags: Ints
    done_us: Ints
    ends_us: Ints


class _Player:
    """Who plays a stretch on his own, or says again what he did the last time."""

    def __init__(
        self, flushers: Mapping[Stream, Flusher], facts: Sequence[Facts], visits: Visits | None = None
    ) -> None:
        self._flushers, self._facts, self._visits = flushers, facts, visits
        self._before: tuple[list[Any], Any] | None = None  # states, each good for one return
        self._from: list[int] = []  # and to: where the facts stood before he played, and after
        self._to: list[int] = []
        self._rows: list[list[array[int]]] = []
        self.visits_since_us: list[int] = []

    def restore(self) -> None:
        """Be as before the stretch."""
        if self._before is None:
            return
        states, visiting = self._before
        for flusher, state in zip(self._flushers.values(), states, strict=True):
            flusher.restore(state)
        if self._visits is not None:
            self._visits.restore(visiting)

    def play(self, horizon_us: int, again: set[Stream]) -> None:
        """Play if one of his is in ``again``, or if the facts do not stand where they did: the cleanup counts rows."""
        stand = [len(fact) for fact in self._facts]
        if stand == self._from and not again & self._flushers.keys():
            for fact, rows in zip(self._facts, self._rows, strict=True):
                fact.put_back(rows)
            return
        self.restore()
        states = [flusher.state() for flusher in self._flushers.values()]
        self._before = states, None if self._visits is None else self._visits.state()
        for flusher in self._flushers.values():
            flusher.look_ahead(horizon_us)
        if self._visits is not None:
            self.visits_since_us = self._visits.look_ahead(horizon_us)
        self._from, self._to = stand, [len(fact) for fact in self._facts]

    def keep(self) -> None:
        """Keep what he did, which is about to be cut."""
        spans = zip(self._facts, self._from, self._to, strict=True)
        self._rows = [fact.rows(begin, end) for fact, begin, end in spans]


class LookAhead:
    """Plays stretches of a server whose writers and visits rest.

    Parameters
    ----------
    flushers : mapping of stream to Flusher
    visits, pool, loop
        What they meet at.
    takes, attempts : Facts
        Where they record what they do.

    Attributes
    ----------
    flushes, visits : int
        So many were played.
    short_from_us : int
        From when on the last stretch would have needed more connections than are open [us].
    """

    def __init__(
        self,
        flushers: Mapping[Stream, Flusher],
        visits: Visits,
        *,
        pool: Pool,
        loop: Loop | None,
        takes: Facts,
        attempts: Facts,
    ) -> None:
        self._flushers, self._visits, self._pool, self._loop = flushers, visits, pool, loop
        self._takes, self._attempts = takes, attempts
        self._facts = (takes, attempts, pool.changes, visits.facts)
        self.flushes = self.visits = 0
        self.short_from_us = NEVER_US

    @property
    def short(self) -> bool:
        """Whether the last stretch would have needed a connection that is not open."""
        return self.short_from_us < NEVER_US

    def play(self, horizon_us: int) -> bool:
        """Play up to an instant before which nothing from outside happens; if it can't be done, all is as before."""
        marks = [len(fact) for fact in self._facts]
        players = self._players()
        again = set(self._flushers)
        if self._loop is not None:
            self._guess(self._loop, horizon_us)
        for _ in range(MOST_ROUNDS):
            for player in players:
                player.play(horizon_us, again)
            self.short_from_us = self._more_connections_from_us(marks[2], players[-1].visits_since_us)
            if not self.short:
                again = set() if self._loop is None else self._round(self._loop, marks, horizon_us)
                if not again:
                    self.flushes += len(self._takes) - marks[0]
                    self.visits += len(self._visits.facts) - marks[3]
                    return True
            if not self.short:
                for player in players:
                    player.keep()
            for fact, mark in zip(self._facts, marks, strict=True):
                fact.cut(mark)
            if self.short:
                break
        for player in players:
            player.restore()
        return False

    def _guess(self, loop: Loop, horizon_us: int) -> None:
        """Show what comes if all flushes are where they seem to be: most of them are, and need not be played again."""
        found = [guess for flusher in self._flushers.values() if (guess := flusher.guess(horizon_us)) is not None]
        if not found:
            return
        starts_us = np.concatenate([series.start_us for series in found])
        rows = np.concatenate([series.next_items - series.first_items for series in found])
        order = np.argsort(starts_us, kind="stable")
        order = order[: starts_us[order].searchsorted(horizon_us)]
        done_us, _ = loop.with_inserted(starts_us[order], loop.flushes_us(rows[order]))
        loop.show(done_us, loop.moved(done_us))

    def _players(self) -> list[_Player]:
        """The writers one by one, but the heartbeats' with the visits: the cleanup reads which have been written."""
        alone = {stream: flusher for stream, flusher in self._flushers.items() if stream != "heartbeats"}
        players = [_Player({stream: flusher}, self._facts) for stream, flusher in alone.items()]
        rest = {stream: flusher for stream, flusher in self._flushers.items() if stream not in alone}
        return [*players, _Player(rest, self._facts, self._visits)]

    def _more_connections_from_us(self, mark: int, visits_since_us: list[int]) -> int:
        """When what was played first held more connections at once than are open [us]."""
        pool = self._pool
        if pool.capacity >= pool.parts:
            return NEVER_US
        changes = self._pool.changes.since(mark)
        begun_us = [*(begun.taken_us for begun in self._begun()), *visits_since_us]
        when_us = np.concatenate((changes["when_us"], np.array(begun_us, np.int64)))
        change = np.concatenate((changes["change"], np.ones(len(begun_us), np.int64)))
        when_us, change = in_order(when_us, change)
        over = np.cumsum(change) > pool.capacity
        return int(when_us[over.argmax()]) if over.any() else NEVER_US

    def _begun(self) -> list[Batch]:
        """Flushes that are left to the engine."""
        return [flusher.begun for flusher in self._flushers.values() if flusher.begun is not None]

    def _round(self, loop: Loop, marks: Sequence[int], horizon_us: int) -> set[Stream]:
        """Whose flushes were not those that follow from all flushes; if there are any, the writers are shown more."""
        takes, attempts = self._takes.since(marks[0]), self._attempts.since(marks[1])
        shown = self._shown(loop, takes)
        moved = loop.moved(shown.done_us)
        disturbed = self._disturbed(moved, takes, attempts) | _coming_into_sight(moved, horizon_us)
        loop.show(shown.done_us, moved)
        if not disturbed:
            loop.accept(shown.starts_us, shown.cpu_us, shown.tags, shown.ends_us)
        return disturbed

    def _shown(self, loop: Loop, takes: Mapping[str, Ints]) -> _Shown:
        """What the loop would do with all that was found."""
        begun = self._begun()
        jobs = self._visits.jobs.since(0)

        def with_begun(column: str, of_begun: list[int]) -> Ints:
            return np.concatenate((takes[column], np.array(of_begun, np.int64)))

        rows = with_begun("rows", [b.rows for b in begun])
        starts_us = np.concatenate((with_begun("taken_us", [b.taken_us for b in begun]), jobs["when_us"]))
        phases = np.concatenate((with_begun("phase", [b.phase for b in begun]), jobs["phase"]))
        order = np.lexsort((phases, starts_us))
        starts_us = starts_us[order]
        cpu_us = np.concatenate((loop.flushes_us(rows), jobs["cpu_us"]))[order]
        tags = np.concatenate((np.full(len(rows), FLUSH), jobs["tag"]))[order]
        return _Shown(starts_us, cpu_us, tags, *loop.with_inserted(starts_us, cpu_us))

    def _disturbed(self, moved: Moved, takes: Mapping[str, Ints], attempts: Mapping[str, Ints]) -> set[Stream]:
        """Writers that may do something else when these items come at another time than they were shown."""
        disturbed: set[Stream] = set()
        for stream, (numbers, shown_us, done_us) in moved.items():
            part, flusher = STREAMS.index(stream), self._flushers[stream]
            own, ended = takes["part"] == part, (attempts["part"] == part) & (attempts["last"] == 1)
            begun = [] if flusher.begun is None else [(flusher.begun.taken_us, flusher.begun.first_item)]
            taken = np.column_stack((takes["taken_us"][own], takes["first_item"][own]))
            taken_us, first_items = np.concatenate((taken, np.array(begun, np.int64).reshape(-1, 2))).T
            batches = _Batches(
                flusher.writer,
                taken_us=taken_us,
                first_items=first_items,
                end_us=attempts["end_us"][ended],
                next_items=attempts["next_item"][ended],
                rows=attempts["rows"][ended],
            )
            if batches.change_by(numbers, np.minimum(shown_us, done_us), np.maximum(shown_us, done_us)):
                disturbed.add(stream)
        return disturbed


def _coming_into_sight(moved: Moved, horizon_us: int) -> set[Stream]:
    """Writers with items that come before the horizon and were shown to come after it: a flush may follow from them.

    A guess can show items too late, when it contains a flush that is not to be.
    """
    return {
        stream
        for stream, (_, shown_us, done_us) in moved.items()
        if ((done_us < horizon_us) & (shown_us >= horizon_us)).any()
    }


class _Batches:
    """What a writer took and wrote in a stretch, and whether it would have been the same with items at other times.

    It is the same if no item moves past (or on to) an instant at which a batch is taken, none moves past the end of a
    flush for which it matters, and no timer that an item sets could have gone off.
    """

    def __init__(
        self, writer: Writer, *, taken_us: Ints, first_items: Ints, end_us: Ints, next_items: Ints, rows: Ints
    ) -> None:
        self._writer = writer
        self._taken_us, self._first_items = taken_us, first_items
        self._end_us, self._next_items, self._rows = end_us, next_items, rows

    def change_by(self, numbers: Ints, earlier_us: Ints, later_us: Ints) -> bool:
        """Whether items moving between these instants may change them."""
        from_, to = _passed(self._taken_us, earlier_us, later_us)
        if (from_ < to).any() or self._timers_change(numbers, earlier_us):
            return True
        from_, to = _passed(self._end_us, earlier_us, later_us)
        passing = np.flatnonzero(from_ < to)
        if not len(passing):
            return False
        end = from_[passing]
        if (to[passing] > end + 1).any() or (end == len(self._end_us) - 1).any():
            return True  # from the last end on, the writer goes on with what had come by then
        # At the end of a flush it matters whether there is an item, and whether there are enough.
        behind = numbers[passing] - self._next_items[end]
        return bool(((behind == 0) | (behind + 1 >= self._writer.least_to_act(self._rows[end]))).any())

    def _timers_change(self, numbers: Ints, earlier_us: Ints) -> bool:
        """Whether a first item of a batch moves, unless its timer would be due after the batch was taken anyway."""
        if (numbers == self._writer.head).any():
            return True
        if not len(self._first_items):
            return False
        places = self._first_items.searchsorted(numbers)
        places[places == len(self._first_items)] = 0
        firsts = np.flatnonzero(self._first_items[places] == numbers)
        due_us = earlier_us[firsts] + self._writer.delay_us
        return bool((due_us <= self._taken_us[places[firsts]]).any())


def _passed(instants_us: Ints, earlier_us: Ints, later_us: Ints) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The instants, ascending, that lie in each stretch, both its ends included: places ``[from, to)``."""
    return instants_us.searchsorted(earlier_us), instants_us.searchsorted(later_us, "right")

"""The event loop: one thread on which requests, the building of inserts and garbage collection wait for each other.

Everything that needs the thread is a job with an instant and a duration; jobs are done in order of arrival, so all ends
follow from Lindley's recursion and are found on arrays. An item reaches its writer when its request is done. A flush is
a job too, and delays requests that come after it; these may start later flushes. What is known of a stretch of load is
therefore tentative until the clock has passed it: a flush that starts moves requests to a later instant, never to an
earlier one, and only requests that arrive after it. `capsim.engine.model` uses that to look ahead.

Timers and answers of the database are taken to be seen at once, whatever the loop is doing.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from capsim.base.units import US_PER_MS, us_from_ms
from capsim.engine.clients import Clients
from capsim.engine.jobs import CLASSES, JOB, Jobs, Queue, Served, finished, jobs, joined, merged, no_jobs
from capsim.engine.writer import Writer
from capsim.memory.pauses import Pauses, grown
from capsim.scenario.server import HttpSpec
from capsim.scenario.workload import STREAMS, Stream

Ints = NDArray[np.int64]
Moved = dict[Stream, tuple[Ints, Ints, Ints]]  # items by number: when they were shown to come, and when they do [us]

# Requests whose fate is worked out together: so many that look-ahead pays (32,768 took a fifth longer at 100/s), so few
# that a flush which moves another costs little. It changes nothing but the speed.
STRETCH = 131_072
ONE_BY_ONE = 32  # jobs that are put off without arrays; by trial, changes nothing but the speed


class Load(Protocol):
    """The requests of a block."""

    @property
    def from_us(self) -> int: ...
    @property
    def to_us(self) -> int: ...
    @property
    def times(self) -> Mapping[str, Ints]: ...
    @property
    def heartbeat_sessions(self) -> Ints | None: ...
    @property
    def other_us(self) -> Ints: ...
    @property
    def in_order(self) -> tuple[Ints, NDArray[np.int8]] | None: ...


FLUSH = -1  # tag of the building of an insert; other tags say which visit a job is of


@dataclass
class _Inserted:
    """Jobs that came up in a stretch, in order of their start: inserts being built, results of visits."""

    at_us: array[int] = field(default_factory=lambda: array("q"))
    cpu_us: array[int] = field(default_factory=lambda: array("q"))
    tag: array[int] = field(default_factory=lambda: array("q"))


class Loop:
    """The thread, and what waits for it; stands between the load and the writers.

    Parameters
    ----------
    spec : HttpSpec
        CPU of each kind of job, and how clients behave.
    writers : mapping of stream to Writer
        Who gets the items of the requests that are done.
    pauses : Pauses, optional
        Which requests wait for the collector; by default those of a server that no container holds small.
    visits_us : callable, optional
        The most work that visits of the database may bring before an instant [us].
    """

    def __init__(
        self,
        spec: HttpSpec,
        writers: Mapping[Stream, Writer],
        pauses: Pauses | None = None,
        visits_us: Callable[[int], int] = lambda _: 0,
    ) -> None:
        self._writers, self._visits_us = writers, visits_us
        # By kind; a `JOB` brings its own.
        self._cpu_us = np.array([us_from_ms(getattr(spec, f"{name}_cpu_ms")) for name in CLASSES] + [0], np.int64)
        self._row_cpu_ms = spec.row_cpu_ms
        self._pauses = pauses or grown(spec.gc_pause_ms)
        self._clients = None if spec.clients is None else Clients(spec.clients)
        self._requests = 0  # so far: every so many, the collector stops the loop
        self._free_us = 0
        self._later = no_jobs()  # announced by `announce`
        self._sessions = False
        # Of the block: what has not been looked at, and what was done.
        self._waiting = no_jobs()
        self._block_us = (0, 0)
        self._free_before_us = 0
        self._served: list[Served] = []
        self._reached: dict[Stream, list[tuple[Ints, Ints | None]]] = {stream: [] for stream in writers}
        self.never_came: dict[Stream, int] = dict.fromkeys(writers, 0)  # items announced to writers, after an exit
        # Of the stretch.
        self.heartbeats: tuple[Ints, Ints] = (np.empty(0, np.int64), np.empty(0, np.int64))  # sessions, arrivals [us]
        self._jobs = no_jobs()
        self._queue = Queue(self._jobs.at_us, self._jobs.cpu_us)
        self._done_us: Ints = np.empty(0, np.int64)
        self._places: dict[Stream, tuple[int, NDArray[np.intp]]] = {}  # first number, and where its items are
        self._previous: dict[Stream, Ints | None] = {}
        self._inserted = _Inserted()
        self._inserted_done_us = 0
        self._inserted_ends_us: Ints | None = None  # of all of them, unless one came up since `accept`

    def announce(self, at_us: Ints, cpu_us: Ints) -> None:
        """Jobs that will hold the loop: large results, say. Ascending, in blocks that have not begun [us]."""
        self._later = merged(self._later, jobs(at_us, JOB, cpu_us=cpu_us))

    # --- a block, stretch by stretch --------------------------------------------------------------------------------

    def begin(self, block: Load) -> None:
        """The requests of the next block."""
        sessions = block.heartbeat_sessions
        self._sessions = sessions is not None
        due = self._later.at_us < block.to_us
        rest = [jobs(block.other_us, CLASSES.index("other")), self._later.where(due)]
        if block.in_order is not None and sessions is None:
            at_us, kinds = block.in_order
            requests = [jobs(at_us, JOB)._replace(kind=kinds)]
        else:
            requests = [
                jobs(block.times[stream], kind, session=-1 if sessions is None or stream != "heartbeats" else sessions)
                for kind, stream in enumerate(STREAMS)
            ]
        alone = len(requests) == 1 and not any(len(others.at_us) for others in rest)
        self._waiting = requests[0] if alone else merged(*requests, *rest)
        if self._clients is None:  # nobody comes back, so their order is known, and with it their costs
            self._waiting = self._waiting._replace(cpu_us=self._costs(self._waiting))
        self._later = self._later.where(~due)
        self._block_us = (block.from_us, block.to_us)
        self._free_before_us = self._free_us

    def next_stretch(self, longest_us: int) -> int | None:
        """Hand the writers the items of the next stretch; until when it goes [us], None at the end of the block.

        Where it ends changes nothing but the speed.
        Their times are those without the flushes that are still to come.
        """
        from_us, end_us = self._block_us
        if from_us >= end_us:
            return None
        for writer in self._writers.values():
            writer.settle(from_us)
        to_us = self._cut(from_us, min(end_us, from_us + longest_us))
        found = self._waiting.before(to_us)
        self._waiting = self._waiting.where(slice(len(found.at_us), None))
        if self._clients is not None:
            found = merged(found, self._clients.returning(to_us))
            found = found._replace(cpu_us=self._costs(found))
        self._block_us = (to_us, end_us)
        self._jobs = found
        self._inserted, self._inserted_done_us, self._inserted_ends_us = _Inserted(), 0, None
        self._queue = Queue(self._jobs.at_us, self._jobs.cpu_us)
        self._done_us = self._queue.finished(self._free_us)
        for kind, stream in enumerate(STREAMS):
            if stream not in self._writers:
                continue
            writer = self._writers[stream]
            places = np.flatnonzero(self._jobs.kind == kind)
            sessions = self._jobs.session[places] if stream == "heartbeats" and self._sessions else None
            if sessions is not None:
                self.heartbeats = sessions, self._jobs.at_us[places]
            self._places[stream] = (writer.arrivals.known, places)
            self._previous[stream] = writer.arrivals.extend(self._done_us[places], sessions, writer.seen)
        return to_us

    def _cut(self, from_us: int, end_us: int) -> int:
        """Where the stretch ends: after so many requests, and before one of them can come back."""
        to_us = end_us
        if len(self._waiting.at_us) > STRETCH:
            to_us = max(from_us + 1, int(self._waiting.at_us[STRETCH]))
        if self._clients is None:
            return to_us
        # If nobody can possibly lose patience, nobody comes back. The shorter a stretch, the sooner that can be said.
        soonest_us = from_us + self._clients.soonest_us
        while to_us > soonest_us and self._longest_us(to_us, self._clients) > self._clients.timeout_us:
            to_us = max((from_us + to_us) // 2, soonest_us)
        return to_us

    def _longest_us(self, to_us: int, clients: Clients) -> int:
        """The longest that a request before an instant can take [us].

        At worst all rows are built, and all that visits of the database ask for is done, before anything else.
        """
        found = merged(self._waiting.before(to_us), clients.expected(to_us))
        rows = len(found.at_us) + sum(w.count + w.arrivals.known - w.seen for w in self._writers.values())
        own_us = finished(found.at_us, self._costs(found), self._free_us) - found.at_us
        return int(own_us.max(initial=0)) + self.flush_us(rows) + rows + self._visits_us(to_us)

    def _costs(self, found: Jobs) -> Ints:
        """CPU of each job, collections included [us]."""
        is_request = found.kind != JOB
        requests = int(np.count_nonzero(is_request))
        cpu_us: Ints = self._cpu_us.take(found.kind)
        paused_us = self._pauses.us(requests, self._requests)
        if requests == len(cpu_us):
            cpu_us += paused_us
        else:
            cpu_us[is_request] += paused_us
            cpu_us[~is_request] = found.cpu_us[~is_request]
        return cpu_us

    def flush_us(self, rows: int) -> int:
        """CPU of building the insert of so many rows [us]."""
        return us_from_ms(rows * self._row_cpu_ms)

    # --- flushes ----------------------------------------------------------------------------------------------------

    def insert(self, when_us: int, took_us: int, tag: int = FLUSH) -> None:
        """A job comes up now, a flush say: it takes its turn, and requests that arrive later wait for it."""
        at_us, done_us = self._jobs.at_us, self._done_us
        self._inserted.at_us.append(when_us)
        self._inserted.cpu_us.append(took_us)
        self._inserted.tag.append(tag)
        first = int(at_us.searchsorted(when_us, "right"))
        before_us = max(when_us, self._free_us, self._inserted_done_us, int(done_us[first - 1]) if first else 0)
        free_us = self._inserted_done_us = before_us + took_us
        self._inserted_ends_us = None
        stop = self._put_off(first, free_us)
        if stop > first:
            self._tell(first, stop)

    def _put_off(self, first: int, free_us: int) -> int:
        """Jobs from ``first`` on find the loop free at this instant [us]; the first one that is done when it was."""
        at_us, cpu_us, done_us = self._jobs.at_us, self._jobs.cpu_us, self._done_us
        few = min(first + ONE_BY_ONE, len(at_us))
        at, cpu, done = at_us.data, cpu_us.data, done_us.data  # of which a number is read sooner than of an array
        for job in range(first, few):
            free_us = max(free_us, at[job]) + cpu[job]
            if done[job] == free_us:  # and so is everything after it
                return job
            done[job] = free_us
        start, size = few, 4 * ONE_BY_ONE
        while start < len(at_us):
            moved = finished(at_us[start : start + size], cpu_us[start : start + size], free_us)
            same = moved == done_us[start : start + size]
            done_us[start : start + size] = moved
            if same.any():
                return start + int(same.argmax())
            start, size, free_us = start + size, 4 * size, int(moved[-1])
        return len(at_us)

    def with_inserted(self, starts_us: Ints, cpu_us: Ints) -> tuple[Ints, Ints]:
        """When everything would be done, were these jobs, ascending, to follow those that have come up.

        Requests and the like first, then all jobs that have come up and these [us].
        """
        return self._queue.with_others(*self._inserted_arrays(starts_us, cpu_us), self._free_us)

    def show(self, done_us: Ints, moved: Moved) -> None:
        """Let the writers see these times, found by `with_inserted`, and what they change, found by `moved`."""
        self._done_us = done_us
        for stream, (numbers, _, when_us) in moved.items():
            self._writers[stream].arrivals.move_some(numbers, when_us)

    def show_begun(self) -> None:
        """Let the writers see the times that follow from the jobs that have come up, and no others."""
        none = np.empty(0, np.int64)
        done_us, _ = self.with_inserted(none, none)
        self.show(done_us, self.moved(done_us))

    def accept(self, starts_us: Ints, cpu_us: Ints, tags: Ints, ends_us: Ints) -> None:
        """These jobs do come up; ``ends_us`` is what `with_inserted` said of them, and what else it said is shown."""
        at_us, all_cpu_us = self._inserted_arrays(starts_us, cpu_us)
        self._inserted.tag.frombytes(tags.tobytes())
        self._inserted = _Inserted(_items(at_us), _items(all_cpu_us), self._inserted.tag)
        self._inserted_ends_us = ends_us
        self._inserted_done_us = int(ends_us[-1]) if len(ends_us) else 0

    def moved(self, done_us: Ints) -> Moved:
        """Items that would come at another time than shown: by stream their numbers, and both times [us]."""
        changed = np.flatnonzero(done_us != self._done_us)
        found: Moved = {}
        for stream, (first, places) in self._places.items():
            own = changed[self._jobs.kind[changed] == STREAMS.index(stream)]
            if len(own):
                found[stream] = (first + places.searchsorted(own), self._done_us[own], done_us[own])
        return found

    def flushes_us(self, rows: Ints) -> Ints:
        """CPU of building inserts of so many rows each [us]."""
        found: Ints = np.rint(rows * self._row_cpu_ms * US_PER_MS).astype(np.int64)
        return found

    def _inserted_arrays(self, starts_us: Ints, cpu_us: Ints) -> tuple[Ints, Ints]:
        """Starts and CPU of the jobs that have come up, and of these after them [us]."""
        begun = self._inserted
        at_us, own_cpu_us = np.frombuffer(begun.at_us, np.int64), np.frombuffer(begun.cpu_us, np.int64)
        return np.concatenate((at_us, starts_us)), np.concatenate((own_cpu_us, cpu_us))

    def _tell(self, start: int, stop: int) -> None:
        """The writers' items among jobs ``start`` to ``stop`` come when those are done."""
        for stream, (first, places) in self._places.items():
            low, high = places.searchsorted((start, stop))
            self._writers[stream].arrivals.move(first + int(low), self._done_us[places[low:high]])

    def bury(self) -> None:
        """Nothing comes any more: forget the stretch and what follows."""
        self._waiting = self._later = self._jobs = no_jobs()
        self._queue = Queue(self._jobs.at_us, self._jobs.cpu_us)
        self._done_us, self._places, self._inserted_ends_us = np.empty(0, np.int64), {}, None

    # --- what has happened ------------------------------------------------------------------------------------------

    def end_stretch(self, exited_us: int | None = None) -> None:
        """The clock has passed the stretch, or the process has exited in it: its times are final."""
        if exited_us is not None and self._clients is not None:
            self._forget_after(exited_us)
        none = np.empty(0, np.int64)
        flush_us, flush_cpu_us = self._inserted_arrays(none, none)
        done_us, flush_done_us = self._done_us, self._inserted_ends_us
        if flush_done_us is None:
            done_us, flush_done_us = self._queue.with_others(flush_us, flush_cpu_us, self._free_us)
        ends = [self._free_us, *(int(ends_us[-1]) for ends_us in (done_us, flush_done_us) if len(ends_us))]
        self._free_us = max(ends)
        self._requests += int(np.count_nonzero(self._jobs.kind != JOB))
        nobody: NDArray[np.bool_] = np.broadcast_to(np.False_, len(done_us))
        late = given_up = nobody
        if self._clients is not None:
            late, given_up = self._clients.lose_patience(self._jobs, done_us)
        self._served.append(
            Served(
                self._free_before_us,
                self._jobs.at_us,
                self._jobs.kind,
                self._jobs.cpu_us,
                done_us,
                late,
                given_up,
                flush_us,
                flush_cpu_us,
                flush_done_us,
                np.array(self._inserted.tag, np.int64),
            )
        )
        for stream, (_, places) in self._places.items():
            self._reached[stream].append((done_us[places], self._previous[stream]))

    def _forget_after(self, when_us: int) -> None:
        """Who would send again after an instant comes to no one."""
        kept = int(self._jobs.at_us.searchsorted(when_us, "right"))
        self._jobs, self._done_us = self._jobs.where(slice(kept)), self._done_us[:kept]
        self._queue, self._inserted_ends_us = Queue(self._jobs.at_us, self._jobs.cpu_us), None
        for stream, (first, places) in self._places.items():
            own, previous = int(places.searchsorted(kept)), self._previous[stream]
            self.never_came[stream] += len(places) - own
            self._places[stream] = (first, places[:own])
            self._previous[stream] = None if previous is None else previous[:own]

    def served(self) -> Served:
        """What happened in the block."""
        parts, self._served = self._served, []
        _, *columns = zip(*parts, strict=True)
        return Served(self._free_before_us, *(joined(*column) for column in columns))

    def reached(self, stream: Stream, count: int) -> tuple[Ints, Ints | None]:
        """Arrivals at a writer not asked for before, ``count`` of them: when, and what `Arrivals.extend` said."""
        times_us = np.concatenate([part for part, _ in self._reached[stream]])
        keyed = self._writers[stream].arrivals.keyed
        previous = np.concatenate([part for _, part in self._reached[stream] if part is not None]) if keyed else None
        self._reached[stream] = [(times_us[count:], None if previous is None else previous[count:])]
        return times_us[:count], None if previous is None else previous[:count]


def _items(values: Ints) -> array[int]:
    return array("q", values.tobytes())

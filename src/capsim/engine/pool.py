"""The connection pool: opened lazily up to a limit, waited for in order of asking.

Who gets a connection is decided once per instant, in its last phase, when all releases of the instant have happened:
calls that were waiting already go first, in their order; then those that asked in this instant, in the order of the
parts (`capsim.engine.parts`). While the pool cannot run short that detour changes nothing and is not taken.

Postgres lets so many connections in, whoever opens them; one more is refused, and the call that wanted it fails. When
Postgres goes down every connection breaks, and each has to be opened again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import simpy
from numpy.typing import NDArray

from capsim.engine import clock
from capsim.engine.clock import Clock, at
from capsim.engine.recorder import Facts

WAITING, GRANTED, FAILED = 0, 1, 2


def in_order(when_us: NDArray[np.int64], change: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Changes by one connection in order of time; those of an instant that give one back go first.

    Examples
    --------
    >>> when_us, change = in_order(np.array([5, 9, 9]), np.array([1, 1, -1]))
    >>> when_us.tolist(), change.tolist()
    ([5, 9, 9], [1, -1, 1])
    """
    keys = np.sort(2 * when_us + (change > 0), kind="stable")  # both in one number; they come in sorted runs
    return keys >> 1, 2 * (keys & 1) - 1


class Call:
    """One request for a connection."""

    __slots__ = ("asked_us", "decided", "opens", "part", "refused", "state")

    def __init__(self, env: Clock, part: int) -> None:
        self.part, self.asked_us = part, env.now
        self.state = WAITING
        self.opens = False  # granted, but the connection has yet to be opened
        self.refused = False  # Postgres has no room for it
        self.decided = simpy.Event(env)


class Pool:
    """Connections shared by the parts of the server.

    Parameters
    ----------
    limit : int
        Most connections that may be open.
    timeout_us, connect_us, connect_timeout_us : int
        How long a call waits before it fails, the opening of its connection included; how long opening takes; how
        long opening may take [us].
    parts : int or None
        How many parts ask for connections, each for at most one at a time; None if nobody can say.
    parallel : int
        Calls that the database runs side by side at full speed.
    room : callable, optional
        How many connections Postgres would let this pool have at an instant [us].
    is_down : callable, optional
        Whether Postgres opens none at all at an instant [us].
    """

    def __init__(
        self,
        env: Clock,
        *,
        limit: int,
        timeout_us: int,
        connect_us: int,
        connect_timeout_us: int,
        parts: int | None,
        parallel: int = 1 << 30,
        room: Callable[[int], int] | None = None,
        is_down: Callable[[int], bool] = lambda _: False,
    ) -> None:
        self._env = env
        self.limit, self.timeout_us = limit, timeout_us
        self.connect_us, self.connect_timeout_us = connect_us, connect_timeout_us
        self.parts = 1 << 30 if parts is None else parts
        self._parallel, self._room, self._is_down = parallel, room, is_down
        self.shared = False  # whether others may take what room there is, at any instant
        self.open = self.idle = 0  # open counts those being opened too
        self._turned_away = 0  # of them, those that Postgres is refusing: it does not count them
        self._broken = 0  # held when Postgres went down, and of no use any more
        self.opened: list[tuple[int, int]] = []  # when, and how many are open from then on
        self.refusals = 0
        self._queue: deque[Call] = deque()
        self._asked: list[Call] = []
        self._arbitrating = False
        self._series: dict[simpy.Process, set[int]] = {}
        self.timeouts = 0
        self.changes = Facts("when_us", "change")  # +1: a connection is taken, -1: given back
        self.waits = Facts("part", "asked_us", "decided_us", "granted")  # of calls that were not served at once

    @property
    def crowding(self) -> float:
        """Factor on the latency of a call that starts now: connections in use over those that run at full speed."""
        return max(1.0, (self.open - self.idle - self._turned_away) / self._parallel)

    @property
    def capacity(self) -> int:
        """Connections that can be used at full speed without it making a difference that one is opened first."""
        roomy = not self.shared and (self._room is None or self._room(self._env.now) >= min(self.limit, self.parts))
        slow_to_open = self.connect_us > 0 or not roomy or self._is_down(self._env.now)
        return min(self.open if slow_to_open else self.limit, self._parallel)

    @property
    def ample(self) -> bool:
        """Whether no call can wait, be slowed down or be refused: every part may hold a connection at once."""
        if self.shared or min(self.limit, self._parallel) < self.parts:
            return False
        return self._room is None or self._room(self._env.now) >= self.parts

    # --- asking -----------------------------------------------------------------------------------------------------

    def ask(self, part: int) -> Call:
        """Ask for a connection; the answer comes as ``call.decided``, at once if nobody can interfere."""
        call = Call(self._env, part)
        held = self.open - self.idle
        if self.ample and (self.idle >= self.parts - held or not self.connect_us):
            self._grant(call)
            return call
        if self.idle <= len(self._asked):
            self._cut_series()
        self._asked.append(call)
        self._arbitrate_later()
        if not self.ample:  # armed when asked: timers of one later instant go off in the order of arming
            expiry = at(self._env, call.asked_us + self.timeout_us, clock.TIMER)
            expiry.callbacks.append(partial(self._expire, call))
        return call

    def _arbitrate_later(self) -> None:
        if not self._arbitrating:
            self._arbitrating = True
            event = at(self._env, self._env.now, clock.POOL)
            event.callbacks.append(self._arbitrate)

    def _arbitrate(self, _: simpy.Event) -> None:
        self._arbitrating = False
        self._queue.extend(sorted(self._asked, key=lambda call: call.part))
        self._asked.clear()
        while self._queue and (self.idle or self.open < self.limit):
            call = self._queue.popleft()
            self._grant(call)
            call.decided.succeed()

    def _grant(self, call: Call) -> None:
        call.state = GRANTED
        self.changes.add(self._env.now, 1)
        if self._env.now > call.asked_us:
            self.waits.add(call.part, call.asked_us, self._env.now, 1)
        if self.idle:
            self.idle -= 1
        else:
            call.opens = True
            accepted = self.open - self._turned_away
            call.refused = self._room is not None and accepted >= self._room(self._env.now)
            self._turned_away += call.refused
            self._count(+1)

    def _expire(self, call: Call, _: simpy.Event) -> None:
        if call.state == WAITING:
            call.state = FAILED
            self._queue.remove(call)
            self.time_out(call)
            call.decided.succeed()

    def time_out(self, call: Call) -> None:
        """A call has waited as long as it may, for its turn or for its connection to open."""
        self.timeouts += 1
        self.waits.add(call.part, call.asked_us, self._env.now, 0)

    # --- giving back ------------------------------------------------------------------------------------------------

    def release(self) -> None:
        """A connection is idle again, unless it broke."""
        if self._broken:
            self._broken -= 1
            self._count(-1)
        else:
            self.idle += 1
        self._free()

    def turn_away(self, call: Call) -> None:
        """Postgres is down: a connection that it refuses takes none of those that it lets in."""
        if not call.refused:
            call.refused = True
            self._turned_away += 1
            self._count(0)

    def discard(self, call: Call) -> None:
        """A connection could not be opened."""
        self._turned_away -= call.refused
        self._broken = max(self._broken - 1, 0)
        self._count(-1)
        self._free()

    def break_all(self) -> None:
        """Postgres goes down: what is idle is gone, what is held will be."""
        held = self.open - self.idle
        self._count(-self.idle)
        self.idle, self._broken = 0, held

    def _count(self, change: int) -> None:
        self.open += change
        self.opened.append((self._env.now, self.open - self._turned_away))

    def _free(self) -> None:
        self.changes.add(self._env.now, -1)
        if self._queue:
            self._arbitrate_later()

    # --- looking ahead ----------------------------------------------------------------------------------------------

    @property
    def can_open(self) -> bool:
        """Whether a connection can be opened at all in the time allowed."""
        return self.connect_us <= min(self.connect_timeout_us, self.timeout_us)

    def record_hold(self, from_us: int, to_us: int) -> None:
        """A connection was held for a stretch that no one has to be told about."""
        self.changes.add(from_us, 1)
        self.changes.add(to_us, -1)

    def record_holds(self, from_us: NDArray[np.int64], to_us: NDArray[np.int64]) -> None:
        """The same for many stretches."""
        self.changes.add_all(from_us, 1)
        self.changes.add_all(to_us, -1)

    # --- calls run in one step --------------------------------------------------------------------------------------

    def begin_series(self, process: simpy.Process, handovers_us: Iterable[int]) -> None:
        """A part runs several calls in one step, giving its connection back and asking again at these instants."""
        self._series[process] = set(handovers_us)

    def end_series(self, process: simpy.Process) -> None:
        """The step is over."""
        del self._series[process]

    def _cut_series(self) -> None:
        # Somebody asks at the very instant in which a series hands its connection over, and no other is idle: the two
        # now compete for it, so the series has to go on call by call from here.
        for process, handovers_us in self._series.items():
            if self._env.now in handovers_us:
                process.interrupt()

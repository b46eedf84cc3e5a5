"""The connections that all parts share: opened lazily up to a limit, waited for in order of asking."""

from __future__ import annotations

import asyncio
from collections import deque

from capsim.validation.reference.clock import Clock, Phase, Timer
from capsim.validation.reference.database import PARTS, Answer, CallFailed, Connection, Database, Part, Statement
from capsim.validation.reference.observer import Watch


class _Waiter:
    """One call on its way to a connection."""

    __slots__ = ("asked_us", "granted", "part", "timer", "waited")

    def __init__(self, part: Part, asked_us: int, granted: asyncio.Future[None]) -> None:
        self.part, self.asked_us, self.granted = part, asked_us, granted
        self.timer: Timer | None = None
        self.waited = False  # for others; that a busy loop takes a moment to hand out what is free is no wait


class Pool:
    """A pool after Prisma's: a connection per call, none opened before it is needed, none closed while it works.

    Parameters
    ----------
    clock : Clock
        Real or virtual time.
    database : Database
        Where connections lead.
    limit : int
        Most connections.
    timeout_us, connect_timeout_us : int
        Waiting longer for a connection, its opening included, or opening one for longer, fails the call [us].
    watch : Watch, optional
        Told what happens to the calls.
    """

    def __init__(
        self,
        clock: Clock,
        database: Database,
        limit: int,
        timeout_us: int,
        connect_timeout_us: int,
        watch: Watch | None = None,
    ) -> None:
        self._clock, self._database, self._limit = clock, database, limit
        self._timeout_us, self._connect_timeout_us = timeout_us, connect_timeout_us
        self._watch = watch or Watch()
        self._links: set[Connection] = set()  # all that are open
        self._idle: list[Connection] = []
        self._asked: list[_Waiter] = []  # in this instant
        self._waiting: deque[_Waiter] = deque()  # since earlier ones
        self._settling = False
        self.held = 0
        self.open = 0
        self.timeouts = 0

    @property
    def waiting(self) -> int:
        """Calls that wait for a connection."""
        return len(self._asked) + len(self._waiting)

    async def call(self, statement: Statement) -> Answer:
        """Run one statement on a connection of its own.

        Raises
        ------
        CallFailed
            If no connection came free in time, none could be opened, or the statement failed.
        """
        asked_us = self._clock.now_us()
        try:
            waited = await self._granted(statement.part, asked_us)
        except CallFailed:
            self._watch.gave_up(statement, asked_us, self._clock.now_us())
            raise
        granted_us = self._clock.now_us() if waited else asked_us
        self._watch.granted(statement, asked_us, granted_us)
        start_us, ok = -1, False
        connection: Connection | None = None
        try:
            connection = self._usable() or await self._opened(statement, asked_us)
            start_us = self._clock.now_us()
            answer = await connection.run(statement)
            ok = True
            return answer
        except CallFailed:
            raise
        except Exception as error:  # whatever a driver throws, a writer must learn that its call has failed
            raise CallFailed(f"{type(error).__name__}: {error}") from error
        finally:
            self._release(connection)
            if start_us >= 0:
                self._watch.called(statement, asked_us, granted_us, start_us, self._clock.now_us(), ok)

    async def close(self, within_s: float = 1.0) -> None:
        """Close all connections; those that do not answer in time [s] are left to the end of the process."""
        links, self._links = self._links, set()
        self._idle.clear()
        self.open = 0
        if links:
            closing = [asyncio.ensure_future(link.close()) for link in links]
            await asyncio.wait(closing, timeout=within_s)

    async def _granted(self, part: Part, asked_us: int) -> bool:
        """Wait for a turn; whether others had to be waited for."""
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(part, asked_us, granted)
        waiter.timer = self._clock.at(asked_us + self._timeout_us, Phase.TIMERS, lambda: self._give_up(waiter))
        self._asked.append(waiter)
        self._settle_later()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():  # granted and cancelled in one go: hand it on
                self._release(None)
            else:
                self._forget(waiter)
            raise
        finally:
            waiter.timer.cancel()
        return waiter.waited

    def _give_up(self, waiter: _Waiter) -> None:
        if not waiter.granted.done():
            self._forget(waiter)
            self.timeouts += 1
            waited_s = (self._clock.now_us() - waiter.asked_us) / 1e6
            waiter.granted.set_exception(CallFailed(f"no connection came free within {waited_s:.3g} s"))

    def _forget(self, waiter: _Waiter) -> None:
        for line in (self._asked, self._waiting):
            if waiter in line:
                line.remove(waiter)

    def _usable(self) -> Connection | None:
        """An idle connection; those that have broken while they were idle are let go."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
            self._links.discard(connection)
            self.open = len(self._links)
        return None

    def _release(self, connection: Connection | None) -> None:
        """Take a slot back; in this instant it can go to someone only after all others have asked."""
        if connection is not None:
            if connection.is_open:
                self._idle.append(connection)
            else:
                self._links.discard(connection)
                self.open = len(self._links)
        self.held -= 1
        self._settle_later()

    def _settle_later(self) -> None:
        if not self._settling:
            self._settling = True
            self._clock.later(Phase.CONNECTIONS, self._settle)

    def _settle(self) -> None:
        self._settling = False
        self._waiting.extend(sorted(self._asked, key=lambda waiter: PARTS.index(waiter.part)))
        self._asked.clear()
        while self._waiting and self.held < self._limit:
            waiter = self._waiting.popleft()
            if not waiter.granted.done():
                self.held += 1
                waiter.granted.set_result(None)
        for waiter in self._waiting:
            waiter.waited = True

    async def _opened(self, statement: Statement, asked_us: int) -> Connection:
        """Open one; the time to wait for a connection goes on meanwhile, and may be over first."""
        opening = asyncio.ensure_future(self._database.connect())
        due_us, pool_us = self._clock.now_us() + self._connect_timeout_us, asked_us + self._timeout_us
        late = False

        def give_up() -> None:
            nonlocal late
            late = opening.cancel()

        timer = self._clock.at(min(due_us, pool_us), Phase.CONNECT_TIMEOUTS, give_up)
        try:
            connection = await opening
        except asyncio.CancelledError:
            if not late:
                opening.cancel()
                raise
            if pool_us < due_us:
                self.timeouts += 1
                self._watch.gave_up(statement, asked_us, self._clock.now_us())
                raise CallFailed(f"no connection came within {self._timeout_us / 1e6:.3g} s") from None
            raise CallFailed(f"no connection opened within {self._connect_timeout_us / 1e6:.3g} s") from None
        finally:
            timer.cancel()
        self._links.add(connection)
        self.open = len(self._links)
        return connection

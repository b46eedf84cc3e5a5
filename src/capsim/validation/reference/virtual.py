"""An asyncio event loop whose clock jumps: an hour takes a second, and every run is exact and repeatable.

Kept libraries that do this (async-solipsism, looptime, aiotools) count time in floats and leave the order inside one
instant to a heap that ignores it. The recorded writers turn on that order, so this loop counts microseconds and runs
an instant phase by phase; what a callback makes ready runs before the next callback, as in Node.
"""

from __future__ import annotations

import asyncio
import heapq
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import TYPE_CHECKING, Any

from capsim.base.units import US_PER_S
from capsim.validation.reference.clock import Phase

if TYPE_CHECKING:
    from asyncio import BaseEventLoop as _Loop
else:  # has no state, and no methods that this loop could not answer for; a type checker asks for all of them
    from asyncio import AbstractEventLoop as _Loop


class Entry:
    """A callback that is due, and can be cancelled."""

    __slots__ = ("_args", "_callback", "_context")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None) -> None:
        self._callback: Callable[..., object] | None = callback
        self._args = args
        self._context = context

    def cancel(self) -> None:
        """Let it not happen."""
        self._callback = None

    def cancelled(self) -> bool:
        """Whether it will not happen."""
        return self._callback is None

    def run(self) -> None:
        """Call back, unless cancelled."""
        if self._callback is None:
            return
        if self._context is None:
            self._callback(*self._args)
        else:
            self._context.run(self._callback, *self._args)


class VirtualLoop(_Loop):
    """Runs coroutines in virtual time; it is its own `capsim.validation.reference.clock.Clock`.

    Parameters
    ----------
    after_instant : callable, optional
        Told the time [us] when everything of an instant has been done.

    Examples
    --------
    >>> loop = VirtualLoop()
    >>> _ = loop.create_task(asyncio.sleep(3_600))
    >>> loop.run_to(7_200_000_000)
    >>> loop.now_us()
    7200000000
    >>> loop.close()
    """

    def __init__(self, after_instant: Callable[[int], None] | None = None) -> None:
        self._now_us = 0
        self._order = 0
        self._due: list[tuple[int, int, int, Entry]] = []
        self._ready: deque[Entry] = deque()
        self._tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._after_instant = after_instant
        self._running = self._closed = False
        self._errors: list[dict[str, Any]] = []

    # --- the clock -----------------------------------------------------------------------------------------

    def now_us(self) -> int:
        """Virtual time since the start [us]."""
        return self._now_us

    def at(self, when_us: int, phase: Phase, callback: Callable[[], None]) -> Entry:
        """Call back at an instant [us], in a phase of it, after what was asked for earlier."""
        return self._push(when_us, phase, Entry(callback, (), None))

    def later(self, phase: Phase, callback: Callable[[], None]) -> None:
        """Call back in a later phase of this instant."""
        self._push(self._now_us, phase, Entry(callback, (), None))

    def run_to(self, end_us: int) -> None:
        """Run everything that happens up to ``end_us`` inclusive.

        Raises
        ------
        Exception
            Whatever a callback or a forgotten task raised: a run that hides an error proves nothing.
        """
        self._running = True
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            self._drain()
            while self._due and self._due[0][0] <= end_us:
                when_us = self._due[0][0]
                self._now_us = max(self._now_us, when_us)
                while self._due and self._due[0][0] <= self._now_us:
                    heapq.heappop(self._due)[3].run()
                    self._drain()
                if self._after_instant is not None:
                    self._after_instant(self._now_us)
            self._now_us = max(self._now_us, end_us)
        finally:
            asyncio._set_running_loop(before)
            self._running = False
        if self._errors:
            raise self._errors[0].get("exception") or RuntimeError(self._errors[0]["message"])

    def _push(self, when_us: int, phase: Phase, entry: Entry) -> Entry:
        self._order += 1
        heapq.heappush(self._due, (max(when_us, self._now_us), int(phase), self._order, entry))
        return entry

    def _drain(self) -> None:
        ready = self._ready
        while ready:
            ready.popleft().run()

    # --- what asyncio asks of a loop -----------------------------------------------------------------------

    def time(self) -> float:
        """Virtual time [s]."""
        return self._now_us / US_PER_S

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Any:
        """Run before anything else happens."""
        entry = Entry(callback, args, context)
        self._ready.append(entry)
        return entry

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Any:
        """Run after a time [s], as a timer."""
        return self._push(self._now_us + round(delay * US_PER_S), Phase.TIMERS, Entry(callback, args, context))

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Any:
        """Run at a time [s], as a timer."""
        return self._push(round(when * US_PER_S), Phase.TIMERS, Entry(callback, args, context))

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[Any]:
        """Start a coroutine."""
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks.add(task)
        return task

    def get_debug(self) -> bool:
        """Never: asyncio's debug mode measures real time."""
        return False

    def is_running(self) -> bool:
        """Whether `run_to` is on the stack."""
        return self._running

    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep the error for `run_to` to raise."""
        self._errors.append(context)

    def close(self) -> None:
        """Cancel what is still going on; time does not pass any more."""
        for task in list(self._tasks):
            task.cancel()
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            self._drain()
        finally:
            asyncio._set_running_loop(before)
        self._closed = True
        self._due.clear()

"""Jobs done side by side by processes on one machine; the answers come back in the order of the jobs.

Nothing that is answered depends on the number of workers: a job knows all that it needs, and its chance has an address.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from types import ModuleType, TracebackType
from typing import Self, TypeVar

from capsim.errors import CapsimError

T = TypeVar("T")
WORKERS = 2


class Workers:
    """Processes that wait for jobs; with one worker the jobs are done in this process.

    Parameters
    ----------
    count : int
        Processes. They are started afresh, so that a notebook's threads are no part of them.

    Examples
    --------
    >>> from functools import partial
    >>> with Workers(1) as workers:
    ...     workers.all([partial(pow, 2, 3), partial(pow, 2, 4)])
    [8, 16]
    """

    def __init__(self, count: int = WORKERS) -> None:
        self._count = count
        self._pool: ProcessPoolExecutor | None = None
        self._others = set(active_children())

    def __enter__(self) -> Self:
        if self._count > 1:
            self._pool = ProcessPoolExecutor(self._count, mp_context=get_context("spawn"), initializer=_begin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=error is None, cancel_futures=True)
            if error is not None:
                for child in set(active_children()) - self._others:
                    child.terminate()

    def all(self, jobs: Sequence[Callable[[], T]], progress: Callable[[float], None] | None = None) -> list[T]:
        """Do every job.

        Raises
        ------
        CapsimError
            If a process dies over its job, usually for want of memory; and whatever a job raises.
        """
        found: dict[int, T] = {}

        def keep(place: int, answer: T) -> None:
            found[place] = answer
            if progress is not None:
                progress(len(found) / len(jobs))

        if self._pool is None:
            for place, job in enumerate(jobs):
                keep(place, job())
        else:
            with no_script():
                futures = {self._pool.submit(job): place for place, job in enumerate(jobs)}
            try:
                for future in as_completed(futures):
                    keep(futures[future], future.result())
            except BrokenProcessPool:
                raise CapsimError(
                    "a worker process has died, probably for want of memory; use a shorter load (--from, --to)"
                ) from None
        return [found[place] for place in range(len(jobs))]


@contextmanager
def no_script() -> Iterator[None]:
    """Start workers that do not import the user's script again: nothing of it is needed there.

    Without this a script would have to be written with ``if __name__ == "__main__"`` around its search.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the first one decides

"""The one pool of processes: tasks done side by side on this machine, by every command that has many.

Nothing that is answered depends on the number of workers: a task knows all that it needs, its random seed too.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from multiprocessing import active_children, get_context, parent_process
from types import ModuleType, TracebackType
from typing import Any, Self

from capsim.base.errors import MachineError

WORKERS = 2
AHEAD = 2  # tasks handed out for each worker, so that none waits for the next

_work: Callable[[Any], Any] | None = None  # of this worker process


def called(task: Callable[[], Any]) -> Any:
    """The work of a task that is itself what is to be done."""
    return task()


class Workers:
    """Processes that wait for tasks; with one worker the tasks are done in this process.

    Parameters
    ----------
    count : int
        Processes. They are started afresh, so that a notebook's threads are no part of them.
    work : callable, optional
        What is done with a task. It travels once to each worker; by default each task is called.
    tries : int
        How often a task is done that was out when a worker died; 1: never again.
    name : callable, optional
        What a task is called when workers keep dying over it.
    remedy : str
        What to do about it.

    Examples
    --------
    >>> from functools import partial
    >>> with Workers(1) as workers:
    ...     workers.all([partial(pow, 2, 3), partial(pow, 2, 4)])
    [8, 16]
    """

    def __init__(
        self,
        count: int = WORKERS,
        *,
        work: Callable[[Any], Any] = called,
        tries: int = 1,
        name: Callable[[Any], str] | None = None,
        remedy: str = "use a shorter load (--from, --to)",
    ) -> None:
        self._count, self._work, self._tries, self._name, self._remedy = count, work, tries, name, remedy
        self._pool: ProcessPoolExecutor | None = None
        self._others = set(active_children())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._end(well=error is None)

    def all(self, tasks: Sequence[Any], progress: Callable[[float], None] | None = None) -> list[Any]:
        """Do every task; the answers in the order of the tasks.

        Raises
        ------
        MachineError
            If a worker dies, usually for want of memory; and whatever a task raises.
        """
        found: dict[int, Any] = {}
        with closing(self._numbered(enumerate(tasks))) as answers:
            for number, _, answer in answers:
                found[number] = answer
                if progress is not None:
                    progress(len(found) / len(tasks))
        return [found[number] for number in range(len(tasks))]

    def each(self, tasks: Iterable[Any]) -> Iterator[Any]:
        """Do every task; the answers as they come, tasks being taken when a worker is free.

        Raises
        ------
        MachineError
            As for `all`.
        """
        with closing(self._numbered(enumerate(tasks))) as answers:
            for _, _, answer in answers:
                yield answer

    def _numbered(self, tasks: Iterator[tuple[int, Any]]) -> Generator[tuple[int, Any, Any], None, None]:
        if self._count < 2:
            for number, task in tasks:
                yield number, task, self._work(task)
            return
        again: list[tuple[int, Any]] = []
        deaths: Counter[int] = Counter()
        out: dict[Future[Any], tuple[int, Any]] = {}
        while True:
            try:
                while len(out) < AHEAD * self._count and (given := again.pop() if again else next(tasks, None)):
                    again.append(given)  # until it is out: the pool may be broken already
                    future = self._submitted(given[1])
                    out[future] = again.pop()
                if not out:
                    return
                for future in wait(out, return_when=FIRST_COMPLETED).done:
                    answer = future.result()
                    number, task = out.pop(future)
                    yield number, task, answer
            except BrokenProcessPool:
                self._end(well=False)
                again += out.values()  # which of them the dead worker had is not known
                deaths.update(number for number, _ in out.values())
                for number, task in out.values() or again:
                    if deaths[number] >= self._tries or not out:
                        raise self._died(task) from None
                out = {}
            except BaseException:
                self._end(well=False)
                raise

    def _submitted(self, task: Any) -> Future[Any]:
        with no_script():
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    self._count, mp_context=get_context("spawn"), initializer=_begin, initargs=(self._work,)
                )
            try:
                return self._pool.submit(_done, task)
            except OSError as error:
                raise MachineError(f"no worker process can be started ({error.strerror}); use fewer workers") from error

    def _died(self, task: Any) -> MachineError:
        why = f"probably for want of memory; {self._remedy}"
        if self._name is None:
            return MachineError(f"a worker process has died, {why}")
        return MachineError(f"{self._name(task)}: workers have died {self._tries} times while it was being run, {why}")

    def _end(self, *, well: bool) -> None:
        if self._pool is None:
            return
        self._pool.shutdown(wait=well, cancel_futures=True)
        self._pool = None
        if not well:
            for child in set(active_children()) - self._others:
                child.terminate()


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


def _begin(work: Callable[[Any], Any]) -> None:
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the first one decides
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: object) -> None:
    """Without its parent a worker would wait for ever: it holds both ends of its queue."""
    parent.join()  # type: ignore[attr-defined]
    os._exit(1)


def _done(task: Any) -> Any:
    assert _work is not None
    return _work(task)

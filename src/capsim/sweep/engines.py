"""Engines on one machine: tasks in, outcomes out, in any order.

An engine never decides what is run or where it stands in the table, so all of them give the same bytes.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context, parent_process

from capsim.errors import CapsimError
from capsim.sweep.point import Job, Outcome, Task, place, run_task
from capsim.workers import no_script

TRIES = 3  # a run that was out each time a worker died is not tried again
AHEAD = 2  # tasks handed out for each worker, so that none waits for the next

_job: Job | None = None  # of this worker process


def serial(job: Job, tasks: Iterable[Task]) -> Iterator[Outcome]:
    """One after the other, in this process."""
    for task in tasks:
        yield run_task(job, task)


def processes(job: Job, tasks: Iterable[Task], workers: int) -> Iterator[Outcome]:
    """In fresh processes; one that dies is replaced, and what it was doing is done again.

    Raises
    ------
    CapsimError
        If a run fails, or if workers keep dying over it: usually the kernel has killed them for want of memory.
    """
    source = iter(tasks)
    again: list[Task] = []
    deaths: Counter[tuple[int, int]] = Counter()
    finished = False
    while not finished:
        others = set(active_children())
        executor = ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(job,)
        )
        out: dict[Future[Outcome], Task] = {}
        ended_well = False
        try:
            while True:
                while len(out) < AHEAD * workers:
                    task = again.pop() if again else next(source, None)
                    if task is None:
                        break
                    out[_submitted(executor, task)] = task
                if not out:
                    break
                for future in wait(out, return_when=FIRST_COMPLETED).done:
                    outcome = future.result()
                    del out[future]
                    yield outcome
            finished = ended_well = True
        except BrokenProcessPool:
            again += out.values()  # which of them the dead worker had is not known
            deaths.update((task.point, task.replicate) for task in out.values())
            for task in out.values():
                if deaths[task.point, task.replicate] >= TRIES:
                    raise CapsimError(
                        f"{place(task)}: workers have died {TRIES} times while it was being run, probably for want of "
                        "memory; use fewer --workers or a shorter load, and --resume"
                    ) from None
        finally:
            executor.shutdown(wait=ended_well, cancel_futures=True)
            if not ended_well:
                for child in set(active_children()) - others:
                    child.terminate()


def _submitted(executor: ProcessPoolExecutor, task: Task) -> Future[Outcome]:
    with no_script():
        return executor.submit(_run, task)


def _begin(job: Job) -> None:
    global _job
    _job = job
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the first one decides
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: object) -> None:
    """Without its parent a worker would wait for ever: it holds both ends of its queue."""
    parent.join()  # type: ignore[attr-defined]
    os._exit(1)


def _run(task: Task) -> Outcome:
    assert _job is not None
    return run_task(_job, task)

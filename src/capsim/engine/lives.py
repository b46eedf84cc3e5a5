"""The lives of the server's processes: when each starts, is given requests, and ends.

A deploy starts the next process beside the old one; requests go to the new one as soon as it is healthy, and the old
one is told to stop after the overlap: by SIGTERM, if that reaches it, and by SIGKILL when the draining time is over
(both times are 0 s on Railway by default). A process that SIGTERM reaches exits as soon as its `shutdown()` has
resolved, which the play alone can say (`capsim.engine.fleet`). A crash ends a process at once; it is restarted after a
delay, so many times for one deployment, then it stays down. (Facts: Railway's documentation of restarts, overlap and
draining, 2026-02 to 2026-08; the delay before a restart is not documented and assumed.) A process that its memory has
brought to a standstill has not exited: nothing restarts it, and it keeps its memory until the next deploy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from heapq import merge
from itertools import count, takewhile
from typing import Literal, get_args

from capsim.base.units import us_from_s
from capsim.scenario.server import LifecycleSpec, ProcessSpec

Fatal = Literal["abort", "oom-kill", "hang"]
"""Ends by memory: V8 gives up (exit 134), the kernel kills (137), or the process lives on and answers nothing."""

FATAL: tuple[Fatal, ...] = get_args(Fatal)
End = Literal["run", "crash", "killed", "exited"] | Fatal
WANTED: tuple[End, ...] = ("run", "killed", "exited")
"""What is no failure: it lives on beyond the end of the run, or a deploy has ended it (SIGKILL, or its own exit)."""


@dataclass(frozen=True, slots=True)
class Life:
    """One process, all times since the start of the load [us]."""

    start_us: int  # its container is there, and is billed from here
    accepts_from_us: int  # it is healthy: requests go to it
    accepts_to_us: int
    sigterm_us: int | None  # when its shutdown is called, if it ever is
    end_us: int  # at the latest: it may exit sooner
    end: End
    holds_to_us: int | None = None  # after a hang: until when it keeps its memory


@dataclass(frozen=True, slots=True)
class _Event:
    at_us: int
    kind: Literal["deploy", "crash"]
    end: End = "crash"


def lives(
    process: ProcessSpec, lifecycle: Iterable[LifecycleSpec], end_us: int, deaths: Iterable[tuple[int, Fatal]] = ()
) -> list[Life]:
    """The processes of one replica, in order of their starts.

    Parameters
    ----------
    process, lifecycle
        Of the scenario.
    end_us : int
        End of the run [us].
    deaths : iterable of (int, str)
        Ends by memory that the run itself has brought about [us], and their kinds.

    Returns
    -------
    list of Life
        The first one is healthy from 0 on. Crashes while no process is healthy hit nothing; a deploy while the last
        one stays down, or hangs, starts anew.

    Examples
    --------
    >>> crash = LifecycleSpec(kind="crash", at_s=60)
    >>> [life.accepts_from_us for life in lives(ProcessSpec(start_s=4), [crash], 100_000_000)]
    [0, 65000000]
    """
    up_us = us_from_s(process.migration_s) + us_from_s(process.start_s)
    delay_us = us_from_s(process.restart_delay_s)
    current: Life | None = Life(0, 0, end_us, None, end_us, "run")
    done: list[Life] = []
    restarts = 0
    for event in _events(lifecycle, end_us, deaths):
        if event.kind == "crash":
            if current is None or event.at_us < current.accepts_from_us:
                continue
            done.append(replace(current, accepts_to_us=event.at_us, end_us=event.at_us, end=event.end))
            if event.end == "hang":
                done[-1] = replace(done[-1], holds_to_us=end_us)
                current = None
                continue
            restarts += 1
            begins_us = event.at_us + delay_us
            current = None
            if restarts <= process.restarts_max and begins_us + up_us < end_us:
                current = Life(begins_us, begins_us + up_us, end_us, None, end_us, "run")
        else:
            healthy_us = event.at_us + up_us
            if healthy_us >= end_us:
                continue
            if current is not None:
                if event.at_us < current.accepts_from_us:
                    continue  # the deployment before it is not up yet
                done.append(_replaced(current, healthy_us, process, end_us))
            elif done and done[-1].holds_to_us == end_us:
                stopped_us = healthy_us + us_from_s(process.overlap_s) + us_from_s(process.draining_s)
                done[-1] = replace(done[-1], holds_to_us=min(stopped_us, end_us))
            current, restarts = Life(event.at_us, healthy_us, end_us, None, end_us, "run"), 0
    return [*done, *([current] if current else [])]


def _replaced(life: Life, healthy_us: int, process: ProcessSpec, end_us: int) -> Life:
    """A process whose successor is healthy."""
    told_us = healthy_us + us_from_s(process.overlap_s)
    killed_us = told_us + us_from_s(process.draining_s)
    sigterm_us = told_us if process.handles_sigterm and told_us < min(killed_us, end_us) else None
    if killed_us >= end_us:
        return replace(life, accepts_to_us=healthy_us, sigterm_us=sigterm_us)
    return replace(life, accepts_to_us=healthy_us, sigterm_us=sigterm_us, end_us=killed_us, end="killed")


def _events(lifecycle: Iterable[LifecycleSpec], end_us: int, deaths: Iterable[tuple[int, Fatal]]) -> Iterator[_Event]:
    streams = [_repeated(spec, end_us) for spec in lifecycle]
    fatal = (_Event(at_us, "crash", end) for at_us, end in sorted(deaths))
    return merge(*streams, fatal, key=lambda event: event.at_us)


def _repeated(spec: LifecycleSpec, end_us: int) -> Iterator[_Event]:
    first_us = us_from_s(spec.at_s)
    if spec.every_s is None:
        return iter([_Event(first_us, spec.kind)] if first_us < end_us else [])
    step_us = us_from_s(spec.every_s)
    return takewhile(lambda event: event.at_us < end_us, (_Event(at, spec.kind) for at in count(first_us, step_us)))

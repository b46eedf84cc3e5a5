"""The lives of the server's processes: when each starts, is given requests, and ends.

A deploy starts the next process beside the old one; requests go to the new one as soon as it is healthy, and the old
one is told to stop after the overlap: by SIGTERM, if that reaches it, and by SIGKILL when the draining time is over
(both times are 0 s on Railway by default). A crash ends a process at once; it is restarted after a delay, so many times
for one deployment, then it stays down. (Facts: Railway's documentation of restarts, overlap and draining, 2026-02 to
2026-08; the delay before a restart is not documented and assumed.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from heapq import merge
from itertools import count, takewhile
from typing import Literal

from capsim.specs import LifecycleSpec, ProcessSpec
from capsim.units import us_from_s

End = Literal["run", "crash", "killed"]


@dataclass(frozen=True, slots=True)
class Life:
    """One process, all times since the start of the load [us]."""

    start_us: int  # its container is there, and is billed from here
    accepts_from_us: int  # it is healthy: requests go to it
    accepts_to_us: int
    sigterm_us: int | None  # when its shutdown is called, if it ever is
    end_us: int
    end: End  # "run": it lives on beyond the end of the run


@dataclass(frozen=True, slots=True)
class _Event:
    at_us: int
    kind: Literal["deploy", "crash"]


def lives(
    process: ProcessSpec, lifecycle: Iterable[LifecycleSpec], end_us: int, deaths_us: Iterable[int] = ()
) -> list[Life]:
    """The processes of one replica, in order of their starts.

    Parameters
    ----------
    process, lifecycle
        Of the scenario.
    end_us : int
        End of the run [us].
    deaths_us : iterable of int
        Crashes that the run itself has brought about [us].

    Returns
    -------
    list of Life
        The first one is healthy from 0 on. Crashes while no process is healthy hit nothing; a deploy while the last
        one stays down starts anew.

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
    for event in _events(lifecycle, end_us, deaths_us):
        if event.kind == "crash":
            if current is None or event.at_us < current.accepts_from_us:
                continue
            done.append(replace(current, accepts_to_us=event.at_us, end_us=event.at_us, end="crash"))
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


def _events(lifecycle: Iterable[LifecycleSpec], end_us: int, deaths_us: Iterable[int]) -> Iterator[_Event]:
    streams = [_repeated(spec, end_us) for spec in lifecycle]
    deaths = (_Event(at_us, "crash") for at_us in sorted(deaths_us))
    return merge(*streams, deaths, key=lambda event: event.at_us)


def _repeated(spec: LifecycleSpec, end_us: int) -> Iterator[_Event]:
    first_us = us_from_s(spec.at_s)
    if spec.every_s is None:
        return iter([_Event(first_us, spec.kind)] if first_us < end_us else [])
    step_us = us_from_s(spec.every_s)
    return takewhile(lambda event: event.at_us < end_us, (_Event(at, spec.kind) for at in count(first_us, step_us)))

"""Every schedule of a small writer: which states can be reached, and whether one of them is a trap.

The rules of a batch writer are written down once more, as a transition system without a clock: an arrival, the timer,
the end of a database call (well or badly) and a requested flush may each come next whenever they are possible. Real
schedules are some of these; so what no schedule here reaches, no real one does. A breadth-first search visits all
states for small constants, and the first trap that it meets has the shortest schedule.

* A state is *stuck* if the buffer holds items, no batch is out, and neither a timer nor a request will start a flush.
* It is *wedged* if it is stuck and no arrival helps: the buffer is full and stays full for good.

Valid for one writer whose items are all alike; counts of sessions, durations and the pool are left out. Times matter
only for how long something takes, never for what may come next.

Examples
--------
>>> explore("seed", batch=2, cap=3, faults=1).wedge
('arrival', 'timer', 'arrival', 'arrival', 'arrival', 'request', 'written')
>>> explore("recommended", batch=2, cap=3, faults=1).stuck is None
True
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

Semantics = Literal["seed", "fixed", "recommended"]
Timer = Literal["none", "live", "spent"]
Step = Literal["arrival", "timer", "request", "written", "failed", "pause over", "given up", "shutdown"]


class State(NamedTuple):
    """Where a writer stands between two steps."""

    buffer: int = 0  # items
    out: int = 0  # rows of the batch that is out; 0 without one
    timer: Timer = "none"
    requested: bool = False  # a flush is asked for and comes in this instant
    refused: bool = False  # an item was refused since the last take
    pausing: bool = False  # the batch waits for its next attempt
    attempt: int = 0  # of the batch that is out (only while it matters what comes next)
    faults: int = 0  # failures that may still come
    closing: bool = False


@dataclass(frozen=True)
class Explored:
    """What an exploration found.

    Attributes
    ----------
    states, steps : int
        Reachable states, and transitions between them.
    stuck, wedge : tuple of str, optional
        The shortest schedule into such a state; None if none is reachable.
    most_rows : int
        Largest number of rows in memory, buffer and batch together.
    """

    states: int
    steps: int
    stuck: tuple[Step, ...] | None
    wedge: tuple[Step, ...] | None
    most_rows: int


def explore(semantics: Semantics, *, batch: int, cap: int, faults: int, shutdown: bool = False) -> Explored:
    """Visit every state that a writer can reach.

    Parameters
    ----------
    semantics : {"seed", "fixed", "recommended"}
        The rules.
    batch, cap : int
        Items that start a flush; items that the buffer holds.
    faults : int
        Most failed attempts in one schedule.
    shutdown : bool
        Whether the shutdown call may come; what it leaves behind at the end of its grace is not called stuck.

    Returns
    -------
    Explored
        Counts, and the shortest ways into a trap.
    """
    start = State(faults=faults)
    came_from: dict[State, tuple[State, Step] | None] = {start: None}
    todo, steps, most_rows = deque([start]), 0, 0
    stuck: State | None = None
    wedge: State | None = None
    while todo:
        state = todo.popleft()
        most_rows = max(most_rows, state.buffer + state.out)
        if is_stuck(state):
            stuck = stuck or state
            if state.buffer >= cap:
                wedge = wedge or state
        for step, after in _next(semantics, state, batch, cap, shutdown):
            steps += 1
            if after not in came_from:
                came_from[after] = state, step
                todo.append(after)

    def way(state: State | None) -> tuple[Step, ...] | None:
        if state is None:
            return None
        taken: list[Step] = []
        while (before := came_from[state]) is not None:
            state, step = before
            taken.append(step)
        return tuple(reversed(taken))

    return Explored(len(came_from), steps, way(stuck), way(wedge), most_rows)


def is_stuck(state: State) -> bool:
    """Whether items wait and only a further arrival, if anything, can start a flush."""
    return state.buffer > 0 and not state.out and state.timer != "live" and not state.requested and not state.closing


def _next(semantics: Semantics, state: State, batch: int, cap: int, shutdown: bool) -> Iterator[tuple[Step, State]]:
    """Everything that may come next, and where it leads."""
    if not state.closing:
        yield "arrival", _arrival(semantics, state, batch, cap)
    if state.timer == "live":
        spent = state._replace(timer="spent")
        yield "timer", spent if state.out else _take(spent)
    if state.requested:
        idle = state._replace(requested=False)
        yield "request", idle if state.out else _take(idle)
    if state.pausing:
        yield "pause over", state._replace(pausing=False)
    elif state.out:
        yield "written", _end(semantics, state, batch)
        if state.faults:
            failed = state._replace(faults=state.faults - 1)
            if semantics == "recommended":
                # Whether the time for retries is over depends on the clock, so both may happen.
                yield "failed", failed._replace(pausing=True)
                yield "given up", _end(semantics, failed, batch)
            elif state.attempt == 1:
                yield "failed", failed._replace(attempt=2)
            else:
                yield "given up", _end(semantics, failed, batch)
    if shutdown and not state.closing:
        closing = state._replace(closing=True, timer="none")
        yield "shutdown", closing if state.out else _take(closing)


def _arrival(semantics: Semantics, state: State, batch: int, cap: int) -> State:
    room = max(cap - state.out, 1) if semantics == "recommended" and state.out else cap
    if state.buffer >= room:
        return state._replace(refused=True)
    buffer, timer, requested = state.buffer + 1, state.timer, state.requested
    if buffer == 1 and timer == "none":
        timer = "live"
    if buffer >= batch:
        timer, requested = "none", True
    return state._replace(buffer=buffer, timer=timer, requested=requested)


def _take(state: State) -> State:
    state = state._replace(timer="none", refused=False)
    return state if not state.buffer else state._replace(buffer=0, out=state.buffer, attempt=1)


def _end(semantics: Semantics, state: State, batch: int) -> State:
    state = state._replace(out=0, attempt=0, pausing=False)
    if not state.buffer or semantics == "seed":
        return state
    if semantics == "recommended":
        return _take(state) if state.timer != "live" or state.refused else state
    if state.buffer >= batch:
        return state._replace(requested=True)
    return state._replace(timer="live") if state.timer == "none" else state

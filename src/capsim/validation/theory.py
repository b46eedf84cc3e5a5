"""Queueing theory as a witness: the pool as M/M/c, the loop as M/G/1, Little's law in every part.

A cell is one queue at one load. Its mean wait comes from independent replicates that leave their beginning out, as a
Student interval; whether such intervals hold what they promise is counted over many of them, with seeds fixed here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from capsim.base.intervals import TooShort, batch_interval, interval
from capsim.validation import queueing
from capsim.validation.little import little

Floats = NDArray[np.float64]

SEED = 20_260_203
SERVERS = (1, 2, 5, 10, 20)
LOADS = (0.5, 0.7, 0.9, 0.95)
REPLICATES = 30  # to one interval
INTERVALS = 200  # to one cell, where coverage is counted
LEAST, MOST = 180, 198  # of those that cover
LEAST_SHARE, MOST_SHARE = 0.94, 0.96  # over all cells
SURE = 0.999  # confidence of the one interval of a short check: all are to hold at once
SHORTEST = {"seen": 1_600, "relaxations": 30}  # of a replicate: customers that wait (in all), relaxation times


class TheoryCheck(NamedTuple):
    """One line of the report."""

    passed: bool
    text: str


def _lengths(load: float, waiting: float) -> tuple[int, int]:
    """Customers to leave out at the beginning of a replicate, and to observe."""
    memory = queueing.relaxation(load)
    seen = max(SHORTEST["relaxations"] * memory, SHORTEST["seen"] / waiting / 2)
    return math.ceil(6 * memory) + 200, math.ceil(seen)


def _judged(name: str, theory_us: float, means: Floats, full: bool) -> tuple[TheoryCheck, int]:
    """The verdict on a cell, and how many of its intervals cover."""
    if not full:
        found = interval(means, SURE)
        text = (
            f"{name}: mean wait {found.mean / 1e3:.2f} ms, theory {theory_us / 1e3:.2f} "
            f"({SURE:.1%} interval +-{found.half_width / 1e3:.2f})"
        )
        return TheoryCheck(found.holds(theory_us), text), 0
    covering = sum(interval(part).holds(theory_us) for part in means.reshape(INTERVALS, REPLICATES))
    text = (
        f"{name}: mean wait {means.mean() / 1e3:.2f} ms, theory {theory_us / 1e3:.2f}; "
        f"{covering} of {INTERVALS} intervals cover"
    )
    return TheoryCheck(LEAST <= covering <= MOST, text), covering


def checks(*, full: bool = False) -> Iterator[TheoryCheck]:
    """All checks, one after the other.

    Parameters
    ----------
    full : bool
        Count the coverage of `INTERVALS` intervals in each cell (minutes) in place of one wide interval (seconds).
    """
    replicates = REPLICATES * (INTERVALS if full else 1)
    covering = cells = 0
    for servers in SERVERS:
        for load in LOADS:
            yield _pool_is_the_queue(servers, load, replicates, 5_000 if full else 500)
            warm_up, customers = _lengths(load, queueing.erlang_c(servers, load))
            means = queueing.mmc_waits_us(servers, load, replicates, warm_up, customers, SEED)
            name = f"pool as M/M/{servers} at {load:.0%}"
            check, held = _judged(name, queueing.mmc_wait_us(servers, load), means, full)
            covering, cells = covering + held, cells + 1
            yield check
    for service in queueing.SERVICES:
        for load in LOADS:
            warm_up, customers = _lengths(load, load)
            means = np.array([
                queueing.loop_waits_us(service, load, warm_up + customers, seed=SEED, number=number)[warm_up:].mean()
                for number in range(replicates)
            ])  # fmt: skip
            name = f"loop as M/{service}/1 at {load:.0%}"
            check, held = _judged(name, queueing.mg1_wait_us(service, load), means, full)
            covering, cells = covering + held, cells + 1
            yield check
    if full:
        share = covering / (cells * INTERVALS)
        text = f"{covering} of {cells * INTERVALS} intervals cover, {share:.2%}"
        yield TheoryCheck(LEAST_SHARE <= share <= MOST_SHARE, text)
    yield _short_runs_are_refused()

    for part, area, waited in little(SEED):
        yield TheoryCheck(area == waited, f"Little's law, {part}: {area:,} item-us in the part, {waited:,} us waited")


def _pool_is_the_queue(servers: int, load: float, lanes: int, customers: int) -> TheoryCheck:
    """The pool's callers wait exactly as in the recursion that the intervals are made with."""
    at_us, services_us, waits_us = queueing.first_waits_us(servers, load, lanes, customers, SEED)
    same = int((queueing.pool_waits_us(servers, at_us, services_us) == waits_us).sum())
    return TheoryCheck(
        same == customers, f"pool of {servers} at {load:.0%}: {same} of {customers} callers wait as in M/M/c"
    )


def _short_runs_are_refused(runs: int = 100) -> TheoryCheck:
    """A run of two relaxation times gets no interval, one of thousands gets one."""
    short = sum(_refused(0.95, 3_000, number) for number in range(runs))
    long = sum(_refused(0.8, 300_000, number) for number in range(runs // 5))
    text = f"runs too short for an interval: {short} of {runs} refused; long ones: {long} of {runs // 5}"
    return TheoryCheck(short >= 0.9 * runs and long <= 0.2 * runs / 5, text)


def _refused(load: float, customers: int, number: int) -> bool:
    """Whether one run of an M/M/1 queue, its first tenth left out, gets no interval."""
    waits_us = queueing.loop_waits_us("M", load, customers, seed=SEED, number=number)[customers // 10 :]
    try:
        batch_interval(waits_us.astype(np.float64))
    except TooShort:
        return True
    return False

"""Queues in closed form, and the same queues simulated by the parts of the model.

Times are in microseconds, rates in customers per microsecond, and a load is the share of its time that a server is
busy. Arrivals are Poisson, service is first come, first served.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from capsim.base import rng
from capsim.engine.clock import ARRIVAL, DATABASE, Clock, Process, at
from capsim.engine.jobs import finished
from capsim.engine.pool import WAITING, Pool

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SERVICE_US = 100_000  # mean; so long that rounding to whole microseconds changes no figure by more than 1e-5
SHORT_US, LONG_US, LONG_SHARE = 50_000, 550_000, 0.1  # of the general service: many requests, now and then a flush
SERVICES = ("M", "D", "G")
STEPS = 512  # customers drawn at once


def erlang_c(servers: int, load: float) -> float:
    """Probability that a customer of an M/M/c queue has to wait.

    Parameters
    ----------
    servers : int
        Number of servers c.
    load : float
        Utilisation of each, in (0, 1).

    References
    ----------
    A. K. Erlang, "Solution of some problems in the theory of probabilities of significance in automatic telephone
    exchanges", 1917.

    Examples
    --------
    >>> round(erlang_c(1, 0.8), 6), round(erlang_c(10, 0.9), 4)
    (0.8, 0.6687)
    """
    offered = servers * load
    blocked = 1.0
    for n in range(1, servers + 1):  # Erlang B, by its stable recursion
        blocked = offered * blocked / (n + offered * blocked)
    return blocked / (1 - load * (1 - blocked))


def mmc_wait_us(servers: int, load: float) -> float:
    """Mean wait in an M/M/c queue whose mean service is `SERVICE_US` [us].

    Examples
    --------
    >>> round(mmc_wait_us(1, 0.5))
    100000
    """
    return erlang_c(servers, load) * SERVICE_US / (servers * (1 - load))


def mg1_wait_us(service: str, load: float) -> float:
    """Mean wait in an M/G/1 queue by the formula of Pollaczek and Khinchine [us].

    Parameters
    ----------
    service : {"M", "D", "G"}
        Exponential, constant, or of two lengths: `SHORT_US` and, with probability `LONG_SHARE`, `LONG_US`.
    load : float
        Utilisation, in (0, 1).

    Examples
    --------
    >>> round(mg1_wait_us("D", 0.5)), round(mg1_wait_us("M", 0.5))
    (50000, 100000)
    """
    squares = {
        "M": 2.0 * SERVICE_US**2,
        "D": 1.0 * SERVICE_US**2,
        "G": (1 - LONG_SHARE) * SHORT_US**2 + LONG_SHARE * LONG_US**2,
    }
    return load / SERVICE_US * squares[service] / (2 * (1 - load))


def relaxation(load: float) -> float:
    """Customers after which an M/M/c queue has forgotten most of its beginning (all c).

    Examples
    --------
    >>> round(relaxation(0.95))
    1482
    """
    return load / (1 - math.sqrt(load)) ** 2


def lanes(address: str, servers: int, load: float, count: int, seed: int) -> Iterator[tuple[Ints, Ints]]:
    """Gaps before and services of the customers of ``count`` M/M/c queues side by side, `STEPS` at a time [us]."""
    block = 0
    while True:
        draws = rng.generator(seed, 0, f"theory {address} {servers} {load}", block)
        gaps = np.rint(draws.standard_exponential((STEPS, count)) * (SERVICE_US / (servers * load)))
        yield gaps.astype(np.int64), np.rint(draws.standard_exponential((STEPS, count)) * SERVICE_US).astype(np.int64)
        block += 1


def mmc_waits_us(servers: int, load: float, count: int, warm_up: int, customers: int, seed: int) -> Floats:
    """Mean wait in each of ``count`` queues that began empty, without the first customers [us].

    The work that each server has left, in order, is all there is to know (J. Kiefer, J. Wolfowitz, "On the theory of
    queues with many servers", Trans. Amer. Math. Soc. 78, 1955). `pool_waits_us` says whether the pool does the same.
    """
    left = np.zeros((servers, count), np.int64)
    total = np.zeros(count, np.int64)
    number = 0
    for gaps, services in lanes("pool", servers, load, count, seed):
        for gap, service in zip(gaps, services, strict=True):
            np.maximum(left - gap, 0, out=left)
            if number >= warm_up:
                total += left[0]
            left[0] += service
            if servers > 1:
                left.sort(axis=0)
            number += 1
            if number == warm_up + customers:
                return total / customers
    raise AssertionError("there is always another customer")


def first_waits_us(servers: int, load: float, count: int, customers: int, seed: int) -> tuple[Ints, Ints, Ints]:
    """Arrivals, services and waits of the first customers of the first queue of `mmc_waits_us` [us]."""
    parts = list(islice(lanes("pool", servers, load, count, seed), -(-customers // STEPS)))
    gaps = np.concatenate([gaps[:, 0] for gaps, _ in parts])[:customers]
    services = np.concatenate([services[:, 0] for _, services in parts])[:customers]
    left, waits = np.zeros(servers, np.int64), np.empty(customers, np.int64)
    for number, (gap, service) in enumerate(zip(gaps, services, strict=True)):
        left = np.maximum(left - gap, 0)
        waits[number] = left[0]
        left[0] += service
        left.sort()
    return np.cumsum(gaps), services, waits


def pool_waits_us(servers: int, at_us: Ints, services_us: Ints) -> Ints:
    """How long each caller of the model's own pool waits for a connection [us]."""
    env = Clock()
    never_us = int(at_us[-1] + services_us.sum()) + 1
    pool = Pool(env, limit=servers, timeout_us=never_us, connect_us=0, connect_timeout_us=1, parts=servers + 1)
    waits = np.empty(len(at_us), np.int64)

    def caller(number: int, service_us: int) -> Process:
        call = pool.ask(0)
        if call.state == WAITING:
            yield call.decided
        waits[number] = env.now - call.asked_us
        yield at(env, env.now + service_us, DATABASE)
        pool.release()

    def callers() -> Process:
        for number, (when_us, service_us) in enumerate(zip(at_us.tolist(), services_us.tolist(), strict=True)):
            yield at(env, when_us, ARRIVAL)
            env.process(caller(number, service_us))

    env.process(callers())
    env.run(until=never_us)
    return waits


def loop_waits_us(service: str, load: float, customers: int, *, seed: int, number: int = 0) -> Ints:
    """Waits of the customers of a single server that began empty, by the model's own loop [us]."""
    draws = rng.generator(seed, number, f"theory loop {service} {load}")
    at_us = np.cumsum(np.rint(draws.standard_exponential(customers) * (SERVICE_US / load)).astype(np.int64))
    if service == "M":
        cpu_us = np.rint(draws.standard_exponential(customers) * SERVICE_US).astype(np.int64)
    elif service == "D":
        cpu_us = np.full(customers, SERVICE_US)
    else:
        cpu_us = np.where(draws.random(customers) < LONG_SHARE, LONG_US, SHORT_US)
    waits: Ints = finished(at_us, cpu_us) - cpu_us - at_us
    return waits

"""Little's law, exactly: in every part, what is there over time is what each one spent there, added up."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from capsim.base import rng
from capsim.base.units import US_PER_MINUTE
from capsim.engine.database import LatencyDatabase
from capsim.engine.jobs import JOB
from capsim.engine.model import Server
from capsim.engine.sampler import Sampler
from capsim.scenario.database import DatabaseSpec
from capsim.scenario.server import HttpSpec, PoolSpec, WriterSpec
from capsim.scenario.workload import STREAMS

Ints = NDArray[np.int64]

END_US = 10 * US_PER_MINUTE
RATES_HZ = {"events": 60, "revenue": 5, "heartbeats": 35, "other": 10}


def little(seed: int) -> Iterator[tuple[str, int, int]]:
    """Ten minutes of load: by part the integral of how many are in it, and the sum of their times in it [item x us].

    The integrals are those of the samples of a run, the times those of single requests, items and flushes.
    """
    times = {}
    for name, rate_hz in RATES_HZ.items():
        draws = rng.generator(seed, 0, f"little {name}")
        times[name] = np.sort(draws.integers(0, END_US, draws.poisson(rate_hz * END_US / 1e6)))
    server = Server(
        {stream: WriterSpec() for stream in STREAMS}, PoolSpec(), 10, LatencyDatabase(DatabaseSpec(), seed, 0),
        http=HttpSpec(),
    )  # fmt: skip
    other_us = times.pop("other")
    sampler = Sampler(US_PER_MINUTE)
    happened = sampler.play(
        server,
        SimpleNamespace(
            from_us=0,
            to_us=END_US,
            times=times,
            heartbeat_sessions=None,
            other_us=other_us,
            covered_us=((0, END_US),),
            in_order=None,
        ),
    )
    table = sampler.table()

    def area(column: str) -> int:
        return round(float((table[column] * table["width_s"]).sum() * 1e6))

    served = happened.served
    assert served is not None
    requests = served.kind != JOB
    at_us, done_us = served.at_us[requests], np.minimum(served.done_us[requests], END_US)
    yield "requests at the loop", _area(at_us, done_us), int((done_us - at_us).sum())
    for stream, stretch in happened.stretches.items():
        taken_us = np.repeat(stretch.taken_us, stretch.taken_rows)
        left = len(stretch.stored_us) - len(taken_us)
        until_us = np.concatenate((taken_us, np.full(left, END_US)))
        waited_us = int((until_us - stretch.stored_us).sum())
        yield f"items buffered by {stream}", area(f"{stream}_buffer_mean_rows"), waited_us
        ended_us = np.concatenate((stretch.ended_us, np.full(len(stretch.taken_us) - len(stretch.ended_us), END_US)))
        out = int(((ended_us - stretch.taken_us) * stretch.taken_rows).sum())
        yield f"items written by {stream}", area(f"{stream}_in_flight_mean_rows"), out
    held = happened.takes["taken_us"]
    ended = np.minimum(np.sort(happened.attempts["end_us"]), END_US)
    missing = np.full(len(held) - len(ended), END_US)
    yield "connections held", area("pool_in_use_mean"), int(np.concatenate((ended, missing)).sum() - held.sum())


def _area(from_us: Ints, to_us: Ints) -> int:
    """Integral of how many are there, from the instants at which that number changes."""
    when_us = np.concatenate((from_us, to_us))
    change = np.repeat((1, -1), (len(from_us), len(to_us)))
    order = np.argsort(when_us, kind="stable")
    return int((np.cumsum(change[order])[:-1] * np.diff(when_us[order])).sum())

"""CPU time of one batch writer over one hour: plain SimPy, the capsim model, and only making the arrivals.

Run it with ``python benchmarks/writer_job.py [--repeats N]``. All ways play the same arrivals with the same
flush durations, take turns in one process, and have to agree on the flushes, the rows written and the rows
dropped; otherwise it exits with 1.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import numpy as np
import simpy
from numpy.typing import NDArray

from capsim.rng import generator
from capsim.server.database import Outcome, Statement
from capsim.server.model import Server
from capsim.specs import PoolSpec, WriterSpec

SEED = 7
HOUR_US = 3_600_000_000
END_US = HOUR_US + 60_000_000  # the last timer and the last flush are played too
RATE_HZ = 100
BATCH_ROWS = 100
DELAY_US = 5_000_000
CAP_ROWS = 1_000
FLUSH_MEDIAN_US = 20_000
FLUSH_SIGMA = 0.5

Microseconds = NDArray[np.int64]


class Counts(NamedTuple):
    """What every way has to agree on."""

    flushes: int
    written: int
    dropped: int


def make_arrivals(seed: int = SEED, end_us: int = HOUR_US, rate_hz: float = RATE_HZ) -> Microseconds:
    """Poisson arrivals in ``[0, end_us)`` [us]: exponential gaps, added up."""
    rng = generator(seed, 0, "benchmark arrivals")
    mean = rate_hz * end_us / 1e6
    gaps_us = rng.exponential(1e6 / rate_hz, size=int(mean + 10 * mean**0.5 + 10))
    times_us = np.cumsum(gaps_us).astype(np.int64)
    return times_us[times_us < end_us]


def make_durations(items: int, seed: int = SEED, median_us: float = FLUSH_MEDIAN_US) -> list[int]:
    """Duration of the insert whose batch begins with item i [us], for every i: lognormal."""
    draws = generator(seed, 0, "benchmark flushes").lognormal(0.0, FLUSH_SIGMA, size=items)
    durations_us: list[int] = np.maximum(1, np.rint(median_us * draws)).astype(np.int64).tolist()
    return durations_us


class PlainWriter:
    """The writer (semantics seed) as one would naturally write it in SimPy."""

    def __init__(self, env: simpy.Environment, durations_us: list[int]) -> None:
        self.env, self.durations_us = env, durations_us
        self.buffer: list[int] = []
        self.first_item = self.arrived = 0
        self.timer: simpy.Process | None = None
        self.flushing = False
        self.flushes = self.written = self.dropped = 0

    def item(self, number: int) -> Generator[simpy.Event, Any, None]:
        """One arrival: into the buffer, or dropped."""
        self.arrived += 1
        if len(self.buffer) >= CAP_ROWS:
            self.dropped += 1
            return
        self.buffer.append(number)
        if len(self.buffer) == 1 and self.timer is None:
            self.timer = self.env.process(self.wait_for_timer())
        if len(self.buffer) >= BATCH_ROWS:
            self.disarm()
            yield self.env.timeout(0)  # the flush comes after the other arrivals of this instant
            yield from self.flush()

    def wait_for_timer(self) -> Generator[simpy.Event, Any, None]:
        try:
            yield self.env.timeout(DELAY_US)
        except simpy.Interrupt:
            return
        if not self.flushing:  # otherwise the timer is spent, and stays so until it is disarmed
            self.timer = None
            yield from self.flush()

    def disarm(self) -> None:
        if self.timer is not None and self.timer.is_alive:
            self.timer.interrupt()
        self.timer = None

    def flush(self) -> Generator[simpy.Event, Any, None]:
        if not self.buffer or self.flushing:
            return
        self.disarm()
        self.flushing = True
        batch, self.buffer = self.buffer, []
        duration_us, self.first_item = self.durations_us[self.first_item], self.arrived
        self.flushes += 1
        yield self.env.timeout(duration_us)
        self.written += len(batch)
        self.flushing = False


def run_plain(arrivals_us: Microseconds, durations_us: list[int]) -> Counts:
    """Plain SimPy with a process per arrival."""
    env = simpy.Environment()
    writer = PlainWriter(env, durations_us)

    def source() -> Generator[simpy.Event, Any, None]:
        for number, at_us in enumerate(arrivals_us.tolist()):
            yield env.timeout(at_us - env.now)
            env.process(writer.item(number))

    env.process(source())
    env.run(until=END_US)
    return Counts(writer.flushes, writer.written, writer.dropped)


class DatabaseByItem:
    """Answers with the duration that belongs to the first item of a batch."""

    connect_us = 0
    by_address = True

    def __init__(self, durations_us: Microseconds) -> None:
        self._durations_us = durations_us

    def run(self, stream: str, attempt: int, statement: Statement, start_us: int) -> Outcome:
        return Outcome(int(self._durations_us[statement.item]), "ok")

    def durations(
        self, stream: str, kind: str, items: Microseconds, rows: Microseconds, starts_us: Microseconds
    ) -> Microseconds:
        return self._durations_us[items]

    def steady(self, from_us: Microseconds, to_us: Microseconds) -> NDArray[np.bool_]:
        return np.ones(len(from_us), bool)


def run_model(arrivals_us: Microseconds, durations_us: Microseconds, *, look_ahead: bool = True) -> Counts:
    """The capsim model; without look-ahead it spends two engine events on a flush, its start and its end."""
    spec = WriterSpec(batch_rows=BATCH_ROWS, delay_ms=DELAY_US // 1_000, buffer_cap_rows=CAP_ROWS)
    server = Server({"events": spec}, PoolSpec(), 1, DatabaseByItem(durations_us), look_ahead=look_ahead)
    server.advance(OneBlock(0, END_US, {"events": arrivals_us}, None))
    writer = server.writers["events"]
    return Counts(writer.batches, writer.flushed, writer.dropped_cap + writer.dropped_failed)


class OneBlock(NamedTuple):
    """The whole load at once."""

    from_us: int
    to_us: int
    times: dict[str, Microseconds]
    heartbeat_sessions: None


def cpu_ms(job: Callable[[], Any]) -> tuple[float, Any]:
    started_s = time.process_time()
    result = job()
    return (time.process_time() - started_s) * 1000, result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5, help="the median of so many is printed (default 5)")
    repeats = parser.parse_args().repeats

    arrivals_us = make_arrivals()
    durations_us = make_durations(len(arrivals_us))
    array_us = np.asarray(durations_us)
    ways: dict[str, Callable[[], Counts]] = {
        "plain SimPy, a process per arrival": lambda: run_plain(arrivals_us, durations_us),
        "capsim model, engine events only": lambda: run_model(arrivals_us, array_us, look_ahead=False),
        "capsim model, looking ahead": lambda: run_model(arrivals_us, array_us),
    }
    times_ms: dict[str, list[float]] = {"only making the arrivals": []}
    counts: dict[str, Counts] = {}
    for _ in range(repeats):  # in turns, so that a slow moment of the machine falls on all of them
        times_ms["only making the arrivals"].append(cpu_ms(make_arrivals)[0])
        for name, way in ways.items():
            took_ms, got = cpu_ms(way)
            times_ms.setdefault(name, []).append(took_ms)
            counts[name] = got

    plain_ms = statistics.median(times_ms["plain SimPy, a process per arrival"])
    print(f"one writer, one hour, {len(arrivals_us):,} Poisson arrivals at {RATE_HZ}/s; median of {repeats}")
    print(f"{'':36} {'CPU ms':>9} {'best':>9} {'plain / this':>13}   flushes, written, dropped")
    for name, taken_ms in times_ms.items():
        median_ms = statistics.median(taken_ms)
        told = "{:,}, {:,}, {:,}".format(*counts[name]) if name in counts else ""
        print(f"{name:36} {median_ms:9.1f} {min(taken_ms):9.1f} {plain_ms / median_ms:12.1f}x   {told}")
    if len(set(counts.values())) > 1:
        print("the ways disagree: see the last column", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

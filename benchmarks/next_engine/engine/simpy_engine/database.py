"""The database: how long a statement takes, and whether it succeeds.

A draw is addressed by part, kind, attempt and item, slow periods and faults by time: two scenarios of one replicate
meet the same database even after their flushes have parted.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from typing import NamedTuple

import numpy as np

from capsim.base import rng
from capsim.base.units import us_from_ms, us_from_s
from capsim.scenario.database import BurstsSpec, DatabaseSpec, LatencySpec
from capsim.scenario.workload import STREAMS

PARTS = (*STREAMS, "cleanup", "queries", "metrics")
LONGEST_CALL_US = 366 * 86_400 * 1_000_000  # nothing lasts longer


class Statement(NamedTuple):
    """One call of a part."""

    part: int
    kind: str
    attempt: int
    item: int  # addresses the draw
    rows: int


class SlowPeriods:
    """Calm and slow periods in turn, of exponential lengths; calm at first."""

    def __init__(self, spec: BurstsSpec, seed: int, replicate: int) -> None:
        self._rng, self._bounds_us = rng.generator(seed, replicate, "database slow periods"), [0]
        self._means_us, self.factor = (spec.calm_s * 1e6, spec.slow_s * 1e6), spec.factor

    def factor_at(self, now_us: int) -> float:
        """Factor on the latency of a call that starts now."""
        bounds = self._bounds_us
        while bounds[-1] <= now_us:
            mean_us = self._means_us[(len(bounds) - 1) % 2]
            bounds.append(bounds[-1] + max(1, round(self._rng.standard_exponential() * mean_us)))
        return self.factor if bisect_right(bounds, now_us) % 2 == 0 else 1.0


class Database:
    """Latency by rows with named distributions, slow periods, and a schedule of faults.

    Examples
    --------
    >>> spec = DatabaseSpec(insert=LatencySpec(call_ms=20, distribution="constant"))
    >>> Database(spec, seed=1, replicate=0).run(Statement(0, "insert", 1, 0, 100), 0)
    (20000, True)
    """

    def __init__(self, spec: DatabaseSpec, seed: int, replicate: int, replica: int = 0) -> None:
        self.spec, self._address, self._replica = spec, (seed, replicate), replica
        self.refused_us, self.warm_up_us = us_from_ms(spec.refused_ms), us_from_s(spec.warm_up_s)
        self._draws: dict[str, rng.Table] = {}
        self._slow = SlowPeriods(spec.bursts, seed, replicate) if spec.bursts else None
        self._faults = [(us_from_s(fault.from_s), us_from_s(fault.to_s), fault) for fault in spec.faults]

    @cached_property
    def downs(self) -> list[tuple[int, int]]:
        """From when to when Postgres is down [us]."""
        return sorted((from_us, to_us) for from_us, to_us, fault in self._faults if fault.kind == "down")

    def is_down(self, now_us: int) -> bool:
        """Whether it refuses connections."""
        return any(from_us <= now_us < to_us for from_us, to_us in self.downs)

    def run(self, statement: Statement, now_us: int, in_use: int = 1) -> tuple[int, bool]:
        """How long a call that starts now takes [us], and whether it succeeds; of ``in_use`` calls at once."""
        took_us, ok = self._after_faults(statement, now_us, self._latency_us(statement, now_us, in_use))
        for from_us, _ in self.downs:
            if now_us < from_us < now_us + took_us:  # whatever it is doing
                return from_us - now_us, False
        return took_us, ok

    def _latency_us(self, statement: Statement, now_us: int, in_use: int) -> int:
        spec: LatencySpec = getattr(self.spec, statement.kind)
        row_ms = spec.row_ms
        if statement.kind == "insert" and self.spec.unused_indexes:  # each row is written into each of them too
            row_ms += self.spec.unused_indexes * self.spec.index_row_ms
        duration_ms = (spec.call_ms + row_ms * statement.rows) * self._factor(spec, statement)
        if self._slow is not None:
            duration_ms *= self._slow.factor_at(now_us)
        if self.downs:
            duration_ms *= self._coldness(now_us)
        crowding = max(1.0, in_use / self.spec.parallel_calls)
        return max(1, round(min(duration_ms * crowding * 1_000, LONGEST_CALL_US)))

    def _factor(self, spec: LatencySpec, statement: Statement) -> float:
        """A draw with median 1."""
        if spec.distribution == "constant":
            return 1.0
        normal = spec.distribution == "lognormal"
        of = f" of replica {self._replica}" if self._replica else ""
        name = f"database {PARTS[statement.part]} {statement.kind} {statement.attempt}{of}"
        if name not in self._draws:
            self._draws[name] = rng.Table(*self._address, name, "normal" if normal else "exponential")
        draw = self._draws[name][statement.item]
        return float(np.exp(spec.sigma * draw) if normal else draw / np.log(2))

    def _coldness(self, now_us: int) -> float:
        """Soon after Postgres was down its cache fills again."""
        since_us = min((now_us - to_us for _, to_us in self.downs if to_us <= now_us), default=self.warm_up_us)
        if since_us >= self.warm_up_us:
            return 1.0
        return self.spec.cold_factor - (self.spec.cold_factor - 1) * since_us / self.warm_up_us

    def _after_faults(self, statement: Statement, now_us: int, took_us: int) -> tuple[int, bool]:
        """The first fault that covers the call decides."""
        for from_us, to_us, fault in self._faults:
            if not from_us <= now_us < to_us or (fault.kind == "full" and statement.kind == "query"):
                continue  # what only reads needs no room
            if fault.kind == "stall":
                return to_us - now_us, True
            if fault.kind == "down":
                return self.refused_us, False
            fixed_us = us_from_ms(fault.duration_ms) if fault.duration_ms else 0
            return fixed_us or took_us, fault.kind not in ("fail", "full")
        return took_us, True

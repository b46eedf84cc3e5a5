"""The database as the server sees it: how long a statement takes, and whether it succeeds.

A statement's draw is addressed by (stream, attempt, item), so the same batch meets the same database in every scenario
of a replicate; slow periods and faults are addressed by time.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from capsim.base import rng
from capsim.base.units import us_from_ms, us_from_s
from capsim.scenario.database import DatabaseSpec, LatencySpec

Kind = Literal["insert", "update", "query"]
Ints = NDArray[np.int64]

LONGEST_CALL_US = 366 * 86_400 * 1_000_000  # nothing lasts longer; the largest of draws that scatter widely is endless


class Statement(NamedTuple):
    """One database call as a part of the server asks for it."""

    kind: Kind
    item: int  # arrival number that addresses the draw
    rows: int


class Outcome(NamedTuple):
    """What became of a call. ``missing``: the row to update does not exist, which is no failure."""

    duration_us: int
    result: Literal["ok", "fail", "missing"]


class Database(Protocol):
    """Anything that answers statements.

    ``by_address``: whether asking twice gives the same answer twice, so that a flush may be tried and played again.
    """

    connect_us: int
    by_address: bool

    @property
    def refused_us(self) -> int:
        """How long it takes until a connection is refused [us]."""
        return 1_000

    @property
    def downs_us(self) -> Sequence[int]:
        """When it goes down, ascending: every connection breaks [us]."""
        return ()

    def is_down(self, when_us: int) -> bool:
        """Whether it refuses connections at an instant."""
        return False

    def run(self, stream: str, attempt: int, statement: Statement, start_us: int, crowding: float = 1.0) -> Outcome:
        """Duration and outcome of a statement that starts now; ``crowding`` is a factor on its latency."""
        ...

    def durations(self, stream: str, kind: Kind, items: Ints, rows: Ints | np.int64, starts_us: Ints) -> Ints:
        """Durations of many statements of first attempts, ascending by item and start, if no fault interferes."""
        ...

    def steady(self, from_us: Ints, to_us: Ints) -> NDArray[np.bool_]:
        """Whether no fault and no change of the latency falls into each stretch."""
        ...


class Draws(Protocol):
    """Factors on a latency, by item."""

    def __getitem__(self, item: int) -> float: ...
    def many(self, items: Ints, /) -> NDArray[np.float64]:
        """Those of several items, ascending and each once."""
        ...


class _Draws(rng.Table):
    """Factors with median 1, by item; of the draws only those asked for are made into factors, one in a batch."""

    def __init__(self, seed: int, replicate: int, name: str, spec: LatencySpec) -> None:
        self._sigma = spec.sigma if spec.distribution == "lognormal" else None
        super().__init__(seed, replicate, name, "exponential" if self._sigma is None else "normal")

    def __getitem__(self, item: int) -> float:
        return float(self._factors(super().__getitem__(item)))

    def many(self, items: Ints) -> NDArray[np.float64]:
        factors: NDArray[np.float64] = self._factors(super().many(items))
        return factors

    def _factors(self, draws: Any) -> Any:
        return draws / np.log(2) if self._sigma is None else np.exp(self._sigma * draws)


class _Constant:
    """The factor of a latency that does not vary."""

    def __getitem__(self, item: int) -> float:
        return 1.0

    def many(self, items: Ints) -> NDArray[np.float64]:
        return np.ones(len(items))


class SlowPeriods:
    """Alternating calm and slow periods, the same for every scenario of a replicate.

    Starts calm. Lengths are exponential; the boundaries are made as far as they are asked for.
    """

    def __init__(self, seed: int, replicate: int, calm_s: float, slow_s: float, factor: float) -> None:
        self._rng = rng.generator(seed, replicate, "database slow periods")
        self._means_us = (calm_s * 1e6, slow_s * 1e6)
        self._factor = factor
        self._bounds_us = array("q", [0])  # even places begin calm, odd places begin slow

    def factor_at(self, when_us: int) -> float:
        """Factor on the latency of a call that starts at ``when_us``."""
        self._reach(when_us)
        return self._factor if bisect_right(self._bounds_us, when_us) % 2 == 0 else 1.0

    def factors_at(self, when_us: Ints) -> NDArray[np.float64]:
        """The same for many instants."""
        return np.where(self._periods(when_us) % 2 == 0, self._factor, 1.0)

    def same_period(self, from_us: Ints, to_us: Ints) -> NDArray[np.bool_]:
        """Whether each stretch lies within one period."""
        same: NDArray[np.bool_] = self._periods(from_us) == self._periods(to_us)
        return same

    def _periods(self, when_us: Ints) -> Ints:
        self._reach(int(when_us.max()))
        return np.frombuffer(self._bounds_us, np.int64).searchsorted(when_us, "right")

    def _reach(self, when_us: int) -> None:
        bounds = self._bounds_us
        while bounds[-1] <= when_us:
            mean_us = self._means_us[(len(bounds) - 1) % 2]
            bounds.append(bounds[-1] + max(1, round(self._rng.standard_exponential() * mean_us)))


class LatencyDatabase:
    """Latency by rows with named distributions, slow periods, and a schedule of faults.

    Parameters
    ----------
    spec : DatabaseSpec
        Latencies, bursts and faults of the scenario.
    seed, replicate : int
        Address of all draws.
    of : str
        Added to the names of the draws, for replicas that number their items alike.

    Examples
    --------
    >>> spec = DatabaseSpec(insert=LatencySpec(call_ms=20, distribution="constant"))
    >>> LatencyDatabase(spec, seed=1, replicate=0).run("events", 1, Statement("insert", 0, 100), 0)
    Outcome(duration_us=20000, result='ok')
    """

    by_address = True

    def __init__(self, spec: DatabaseSpec, seed: int, replicate: int, of: str = "") -> None:
        self.connect_us = us_from_ms(spec.connect_ms)
        self._address, self._of = (seed, replicate), of
        insert = spec.insert
        if spec.unused_indexes:  # each row is written into each of them too
            row_ms = insert.row_ms + spec.unused_indexes * spec.index_row_ms
            insert = insert.model_copy(update={"row_ms": row_ms})
        self._latency: dict[str, LatencySpec] = {"insert": insert, "update": spec.update, "query": spec.query}
        self.refused_us = us_from_ms(spec.refused_ms)
        self._cold_factor, self._warm_up_us = spec.cold_factor, us_from_s(spec.warm_up_s)
        self._downs = sorted((us_from_s(f.from_s), us_from_s(f.to_s)) for f in spec.faults if f.kind == "down")
        self.downs_us = [from_us for from_us, _ in self._downs]
        self._draws: dict[tuple[str, str, int], Draws] = {}
        bursts = spec.bursts
        self._slow = SlowPeriods(seed, replicate, bursts.calm_s, bursts.slow_s, bursts.factor) if bursts else None
        self._faults = [
            (us_from_s(f.from_s), us_from_s(f.to_s), f.kind, us_from_ms(f.duration_ms) if f.duration_ms else None)
            for f in spec.faults
        ]

    def is_down(self, when_us: int) -> bool:
        """Whether Postgres refuses connections at an instant."""
        return any(from_us <= when_us < to_us for from_us, to_us in self._downs)

    def _coldness(self, when_us: int) -> float:
        """Factor on the latency of a call soon after Postgres was down, while its cache fills again."""
        since_us = min((when_us - to_us for _, to_us in self._downs if to_us <= when_us), default=self._warm_up_us)
        if since_us >= self._warm_up_us:
            return 1.0
        return self._cold_factor - (self._cold_factor - 1) * since_us / self._warm_up_us

    def run(self, stream: str, attempt: int, statement: Statement, start_us: int, crowding: float = 1.0) -> Outcome:
        """Duration and outcome of a statement that starts at ``start_us``; the first fault that covers it decides.

        Whatever it is doing, a call ends with a failure when Postgres goes down.
        """
        outcome = self._run(stream, attempt, statement, start_us, crowding)
        for from_us, _ in self._downs:
            if start_us < from_us < start_us + outcome.duration_us:
                return Outcome(from_us - start_us, "fail")
        return outcome

    def _run(self, stream: str, attempt: int, statement: Statement, start_us: int, crowding: float) -> Outcome:
        kind, item, rows = statement
        spec = self._latency[kind]
        duration_ms = (spec.call_ms + spec.row_ms * rows) * self._draws_of(stream, kind, attempt)[item]
        if self._slow is not None:
            duration_ms *= self._slow.factor_at(start_us)
        if self._downs:
            duration_ms *= self._coldness(start_us)
        duration_us = max(1, round(min(duration_ms * crowding * 1_000, LONGEST_CALL_US)))
        for from_us, to_us, fault, fixed_us in self._faults:
            if from_us <= start_us < to_us:
                if fault == "full" and kind == "query":
                    continue  # what only reads needs no room
                if fault == "stall":
                    return Outcome(to_us - start_us, "ok")
                if fault == "down":
                    return Outcome(self.refused_us, "fail")
                return Outcome(fixed_us or duration_us, "fail" if fault in ("fail", "full") else "ok")
        return Outcome(duration_us, "ok")

    def durations(self, stream: str, kind: Kind, items: Ints, rows: Ints | np.int64, starts_us: Ints) -> Ints:
        """Durations [us] of many statements of first attempts, ascending by item and start, if no fault interferes."""
        spec = self._latency[kind]
        duration_ms = (spec.call_ms + spec.row_ms * rows) * self._draws_of(stream, kind, 1).many(items)
        if self._slow is not None:
            duration_ms *= self._slow.factors_at(starts_us)
        duration_ms *= 1_000
        return np.clip(np.rint(duration_ms, out=duration_ms), 1, LONGEST_CALL_US, out=duration_ms).astype(np.int64)

    def steady(self, from_us: Ints, to_us: Ints) -> NDArray[np.bool_]:
        """Whether no fault and no change of the latency falls into each stretch."""
        steady = np.ones(len(from_us), bool)
        for begin_us, end_us, fault, _ in self._faults:
            end_us += self._warm_up_us if fault == "down" else 0
            steady &= (to_us < begin_us) | (from_us >= end_us)
        if self._slow is not None:
            steady &= self._slow.same_period(from_us, to_us)
        return steady

    def _draws_of(self, stream: str, kind: str, attempt: int) -> Draws:
        draws = self._draws.get((stream, kind, attempt))
        if draws is None:
            name, spec = f"database {stream} {kind} {attempt}{self._of}", self._latency[kind]
            draws = _Constant() if spec.distribution == "constant" else _Draws(*self._address, name, spec)
            self._draws[stream, kind, attempt] = draws
        return draws

"""Draws for the kernel: factors on latencies, made by NumPy block by block, where the kernel finds them by address."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capsim.base import rng
from capsim.engine.kernel.fields import call as C
from capsim.engine.kernel.fields import event as E
from capsim.engine.kernel.fields import process as S
from capsim.engine.kernel.fields import setting as K
from capsim.engine.kernel.fields import whole as G
from capsim.engine.kernel.memory import Memory
from capsim.scenario.database import LatencySpec
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS

PARTS = (*STREAMS, "cleanup", "queries", "metrics")
KINDS = ("insert", "update", "query")
MOST_TABLES = 256
TABLE = E.KEPT_DRAWS * E.BLOCK_DRAWS


class Draws:
    """The array ``d``: fractions of the settings, and behind them tables of factors."""

    def __init__(self, scenario: Scenario, seed: int, replicate: int, fractions: NDArray[np.float64]) -> None:
        self._scenario, self._address = scenario, (seed, replicate)
        self.d = np.concatenate((fractions, np.zeros(4 * TABLE)))
        self._tables: list[tuple[rng.Table | None, LatencySpec]] = []

    def begin(self, memory: Memory, replicas: int) -> None:
        """Make the directory of tables."""
        memory.m[G.DRAW_ATTEMPTS] = 2
        memory.m[G.DRAW_TABLES] = memory.put(np.full(replicas * 18 * 2, -1))
        memory.m[G.DRAW_BLOCKS] = memory.put(np.full(MOST_TABLES * E.KEPT_DRAWS, -1))

    def forget(self, memory: Memory, replicas: int) -> None:
        """All tables are made again when they are needed: the memory is of another time than they are."""
        m, self._tables = memory.m, []
        m[m[G.DRAW_TABLES] : m[G.DRAW_TABLES] + replicas * 18 * m[G.DRAW_ATTEMPTS]] = -1
        m[m[G.DRAW_BLOCKS] : m[G.DRAW_BLOCKS] + MOST_TABLES * E.KEPT_DRAWS] = -1

    def make(self, memory: Memory, replicas: int) -> None:
        """Make the block of draws that a call needs."""
        m = memory.m
        c, block = int(m[G.CALL]), int(m[G.BLOCK])
        part, kind, attempt = (int(m[c + column]) for column in (C.PART, C.KIND, C.ATTEMPT))
        replica = int(m[m[c + C.PROCESS] + S.REPLICA])
        if attempt > m[G.DRAW_ATTEMPTS]:
            self._wider(memory, replicas, 2 * attempt)
            m = memory.m
        entry = int(m[G.DRAW_TABLES]) + ((replica * 6 + part) * 3 + kind) * int(m[G.DRAW_ATTEMPTS]) + attempt - 1
        if m[entry] < 0:
            if len(self._tables) == MOST_TABLES:  # begin anew: what is needed is made again
                self.forget(memory, replicas)
            m[entry] = len(self._tables)
            self._tables.append(self._table(replica, part, kind, attempt))
        table = int(m[entry])
        end = K.FRACTIONS + (table + 1) * TABLE
        if end > len(self.d):
            self.d = np.concatenate((self.d, np.zeros(max(len(self.d), end) - len(self.d) + len(self.d))))
        kept = table * E.KEPT_DRAWS + block % E.KEPT_DRAWS
        begin = K.FRACTIONS + kept * E.BLOCK_DRAWS
        self.d[begin : begin + E.BLOCK_DRAWS] = self._factors(table, block)
        m[m[G.DRAW_BLOCKS] + kept] = block

    def _wider(self, memory: Memory, replicas: int, attempts: int) -> None:
        m, old = memory.m, int(memory.m[G.DRAW_ATTEMPTS])
        begin = int(m[G.DRAW_TABLES])
        known = m[begin : begin + replicas * 18 * old].reshape(-1, old)
        wider = np.full((replicas * 18, attempts), -1)
        wider[:, :old] = known
        memory.m[G.DRAW_TABLES] = memory.put(wider)
        memory.m[G.DRAW_ATTEMPTS] = attempts

    def _table(self, replica: int, part: int, kind: int, attempt: int) -> tuple[rng.Table | None, LatencySpec]:
        spec: LatencySpec = getattr(self._scenario.database, KINDS[kind])
        if spec.distribution == "constant":
            return None, spec
        of = f" of replica {replica}" if replica else ""
        name = f"database {PARTS[part]} {KINDS[kind]} {attempt}{of}"
        return rng.Table(*self._address, name, "normal" if spec.distribution == "lognormal" else "exponential"), spec

    def _factors(self, table: int, block: int) -> NDArray[np.float64] | float:
        draws, spec = self._tables[table]
        if draws is None:
            return 1.0
        values = draws.block(block)
        factors: NDArray[np.float64] = np.exp(spec.sigma * values) if spec.distribution == "lognormal" else values / np.log(2)
        return factors

"""The load of a block as the kernel takes it: requests with the row of each one's process, reads, and sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from capsim.base import rng
from capsim.base.units import MIB, US_PER_MS
from capsim.engine.kernel.fields import event as E
from capsim.engine.redis import RedisClient
from capsim.scenario.parts import QueriesSpec
from capsim.scenario.workload import STREAMS
from capsim.workload.block import Block

Ints = NDArray[np.int64]
Names = tuple[str, ...]
MOST_ROWS = 10**9  # of one result
NAMES: Names = (*STREAMS, "other", "queries")


class Share(NamedTuple):
    """What of a block is one process's."""

    row: int  # its address
    replica: int
    from_us: int
    to_us: int  # it is given no request from then on


class Requests(NamedTuple):
    """Requests of a block, ascending: when, of which kind, the row of each one's process, its session (or none)."""

    at_us: Ints
    kind: NDArray[np.int8]
    row: Ints
    session: Ints


def rows_of(block: Block, shares: Sequence[Share], replicas: int, seen: Counter[str]) -> dict[str, Ints]:
    """The row of the process that each request of a kind goes to, 0 where there is none.

    Requests go round among the replicas by their number over the whole load; ``seen`` came before the block.
    """
    rows = {}
    for name, times_us in times_of(block).items():
        found = rows[name] = np.zeros(len(times_us), np.int64)
        for share in shares:
            begin, end = np.searchsorted(times_us, [share.from_us, max(share.from_us, share.to_us)]).tolist()
            offset = (share.replica - seen[name] - begin) % replicas
            found[begin + offset : end : replicas] = share.row
    return rows


def times_of(block: Block) -> dict[str, Ints]:
    """Arrivals by kind [us]."""
    return {**block.times, "other": block.other_us, "queries": block.queries_us}


def requests_of(block: Block, rows: dict[str, Ints]) -> Requests:
    """All requests that find a process, in order; of one instant those of earlier kinds first."""
    sessions, whose = block.heartbeat_sessions, np.empty(0, np.int64)
    if block.in_order is not None and sessions is None and not len(block.other_us):
        at_us, kind = block.in_order
        only = rows["events"][:1]
        if all((rows[stream] == only).all() for stream in STREAMS) and len(only) and only[0]:
            return Requests(at_us, kind, np.full(len(at_us), only[0]), whose)
        row = np.empty(len(at_us), np.int64)
        for number, stream in enumerate(STREAMS):
            row[kind == number] = rows[stream]
    else:
        times, names = times_of(block), (*STREAMS, "other")
        at_us = np.concatenate([times[name] for name in names])
        order = np.argsort(at_us, kind="stable")
        kind = np.repeat(np.arange(4, dtype=np.int8), [len(times[name]) for name in names])[order]
        row, at_us = np.concatenate([rows[name] for name in names])[order], at_us[order]
        if sessions is not None:
            whose = np.full(len(at_us), -1, np.int64)
            whose[kind == E.HEARTBEATS] = sessions
    known = row > 0
    if known.all():
        return Requests(at_us, kind, row, whose)
    return Requests(at_us[known], kind[known], row[known], whose[known] if len(whose) else whose)


class Reads:
    """Analytics reads: what each asks for, and the rows and CPU of its response; draws by the number of the read."""

    def __init__(self, spec: QueriesSpec, address: tuple[int, int], replicas: int) -> None:
        self._spec, self._replicas = spec, replicas
        self._draws = [
            tuple(
                rng.Table(*address, f"queries {what}" + (f" of replica {replica}" if replica else ""), law)
                for what, law in (("which", "uniform"), ("rows", "normal"))
            )
            for replica in range(replicas)
        ]

    def of_block(self, block: Block, row: Ints, first: int) -> Ints:
        """A row a read: when, whose, number, rows, CPU, query, bytes, CPU of packing [us], answered by Redis [us]."""
        table, number = np.zeros((len(row), E.READ_SIZE), np.int64), np.arange(first, first + len(row))
        table[:, 0], table[:, 1], table[:, 8] = block.queries_us, row, block.queries_us
        for replica in range(self._replicas):
            own = np.flatnonzero(number % self._replicas == replica)
            if len(own):
                for column, values in enumerate(self._responses(replica, (number[own] - replica) // self._replicas), 2):
                    table[own, column] = values
        return table[row > 0]

    def _responses(self, replica: int, number: Ints) -> tuple[Ints, ...]:
        spec, (which, how_many) = self._spec, self._draws[replica]
        with np.errstate(over="ignore"):
            found = spec.rows_median * np.exp(spec.rows_sigma * how_many.many(number))
        rows = np.maximum(np.rint(np.minimum(found, MOST_ROWS)), 1).astype(np.int64)
        if spec.take_rows != "none":
            rows = np.minimum(rows, spec.take_rows)
        cpu_ms, size = rows * spec.row_cpu_ms, np.rint(rows * spec.row_json_bytes)
        if spec.compression:
            cpu_ms = cpu_ms + size / MIB * spec.compression_cpu_ms_per_mib
        cpu_us = np.rint(np.minimum(cpu_ms * US_PER_MS, E.LONGEST_CALL_US)).astype(np.int64)
        plain_us = np.rint(rows * spec.row_cpu_ms * US_PER_MS).astype(np.int64)
        packing_us = cpu_us - plain_us if spec.compression else np.zeros_like(rows)
        query = (which.many(number) * spec.distinct).astype(np.int64)
        return number, rows, cpu_us, query, size.astype(np.int64), packing_us


def ask_redis(redis: RedisClient, reads: Ints, row: int) -> None:
    """When Redis answers the reads of a process: now, when the connection is back, or never (-1)."""
    earlier = 0  # reads of the same instant
    own = np.flatnonzero(reads[:, 1] == row)
    for before, place in zip([-1, *own.tolist()], own.tolist(), strict=False):
        now_us = int(reads[place, 0])
        earlier = earlier + 1 if before >= 0 and reads[before, 0] == now_us else 0
        answered_us = redis.answered_us(now_us, earlier)
        reads[place, 8] = -1 if answered_us is None else answered_us


def with_started(block: Block, table: Ints, base: int) -> tuple[Ints, int]:
    """Sessions that are open, and the number of the first, when a block begins; with those that start in it."""
    table[table[:, E.LEAVES_US] <= block.from_us, E.IS_OPEN] = 0
    still = np.flatnonzero(table[:, E.IS_OPEN])
    gone = int(still[0]) if len(still) else len(table)
    table, base, started = table[gone:], base + gone, block.started
    if started is not None and len(started.ids):
        if not len(table):
            base = int(started.ids[0])
        leaves_us = np.where(started.abandoned, E.NEVER_US, started.end_us)
        new = (started.start_us, started.start_us, leaves_us, started.end_us, np.ones_like(leaves_us))
        table = np.concatenate((table, np.column_stack(new)))
    return table, base

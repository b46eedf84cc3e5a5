"""What the kernel has to know of a scenario, as numbers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from capsim.base.units import MIB, us_from_ms, us_from_s
from capsim.engine.kernel.fields import event as E
from capsim.engine.kernel.fields import setting as K
from capsim.engine.kernel.fields import whole as G
from capsim.engine.kernel.fields import writer as W
from capsim.engine.log import with_lines
from capsim.engine.redis import disconnected
from capsim.memory.pauses import pauses
from capsim.scenario.scenario import Scenario
from capsim.scenario.server import WriterSpec
from capsim.scenario.workload import STREAMS

Ints = NDArray[np.int64]
CLASSES = (*STREAMS, "other")
RULES = {"seed": E.SEED, "fixed": E.FIXED, "recommended": E.RECOMMENDED}
FAULTS = {"stall": E.STALL, "fail": E.FAIL, "slow": E.SLOWED, "down": E.IS_DOWN, "full": E.FULL}
CHUNK_ROWS = 250  # heartbeats of one statement, ``fixed`` (recorded: oracle §5)
PIECE_ROWS = 500  # rows of one statement, ``recommended``: five full batches (docs/recommended-writer.md)
GRACE_US, LOOK_US = 3_000_000, 100_000  # a shutdown waits so long for a batch, and looks this often (oracle §6)
NO_END = 1 << 62


class Settings(NamedTuple):
    """Numbers as `capsim.engine.kernel.fields` places them, and tables of instants [us]."""

    whole: Ints
    fractions: NDArray[np.float64]
    faults: list[tuple[int, ...]]
    downs: list[tuple[int, int]]
    away: list[tuple[int, int]]  # from when until when the connection to Redis is away, and the cache in it


def settings(scenario: Scenario) -> Settings:
    """The settings of a scenario."""
    database, server = scenario.database, scenario.server
    m, d = np.zeros(K.BEGIN + K.SIZE, np.int64), np.zeros(K.FRACTIONS)
    _thread(scenario, m, d)
    _pool(scenario, m)
    for kind, spec in enumerate((database.insert, database.update, database.query)):
        d[K.CALL_MS + kind], d[K.ROW_MS + kind] = spec.call_ms, spec.row_ms
    if database.unused_indexes:
        d[K.ROW_MS] = database.insert.row_ms + database.unused_indexes * database.index_row_ms
    d[K.COLD], d[K.SLOW] = database.cold_factor, database.bursts.factor if database.bursts else 1.0
    _cleanup(scenario, m, d)
    _reads(scenario, m, d)
    if server.metrics is not None:
        m[K.METRICS], m[K.METRICS_EVERY_US] = 1, us_from_s(server.metrics.every_s)
        m[K.METRICS_US] = us_from_ms(server.metrics.cpu_ms)
    m[K.GRACE_US], m[K.LOOK_US] = GRACE_US, LOOK_US
    downs = sorted((us_from_s(f.from_s), us_from_s(f.to_s)) for f in database.faults if f.kind == "down")
    faults = [
        (us_from_s(f.from_s), us_from_s(f.to_s), FAULTS[f.kind], us_from_ms(f.duration_ms) if f.duration_ms else 0)
        for f in database.faults
    ]
    away = disconnected(server.redis_client, scenario.redis.faults) if scenario.redis.faults else []
    m[K.DOWNS], m[G.AWAY_COUNT] = len(downs), len(away)
    return Settings(m, d, list(faults), downs, away)


def _thread(scenario: Scenario, m: Ints, d: NDArray[np.float64]) -> None:
    http, paused = with_lines(scenario.server.http, scenario.server.logger), pauses(scenario)
    for kind, name in enumerate(CLASSES):
        m[K.EVENT_CPU_US + kind] = us_from_ms(getattr(http, f"{name}_cpu_ms"))
    m[K.SCAVENGE_EVERY], m[K.SCAVENGE_US] = paused.scavenge_every, paused.scavenge_us
    m[K.FULL_EVERY], m[K.FULL_US] = paused.full_every, paused.full_us
    d[K.ROW_CPU_MS] = http.row_cpu_ms
    if http.clients is not None:
        m[K.CLIENTS], m[K.PATIENCE_US] = 1, us_from_s(http.clients.timeout_s)
        m[K.BACKOFF_US], m[K.RETRIES] = us_from_s(http.clients.backoff_s), http.clients.retries


def _pool(scenario: Scenario, m: Ints) -> None:
    pool, database = scenario.server.pool, scenario.database
    m[K.LIMIT], m[K.TIMEOUT_US] = scenario.server.pool_limit, us_from_s(pool.pool_timeout_s)
    m[K.CONNECT_US], m[K.CONNECT_TIMEOUT_US] = us_from_ms(database.connect_ms), us_from_s(pool.connect_timeout_s)
    m[K.CLIENTS_MAX], m[K.PARALLEL] = database.clients_max, database.parallel_calls
    m[K.REFUSED_US], m[K.WARM_UP_US] = us_from_ms(database.refused_ms), us_from_s(database.warm_up_s)
    m[K.BURSTS] = database.bursts is not None
    m[K.CAN_OPEN] = m[K.CONNECT_US] <= min(m[K.CONNECT_TIMEOUT_US], m[K.TIMEOUT_US])


def _cleanup(scenario: Scenario, m: Ints, d: NDArray[np.float64]) -> None:
    spec = scenario.server.cleanup
    if spec is None:
        return
    m[K.CLEANUP], m[K.CLEANUP_EVERY_US] = 1, us_from_s(spec.interval_s)
    m[K.CLEANUP_TIMEOUT_US], m[K.ONE_STATEMENT] = us_from_s(spec.timeout_s), spec.one_statement
    m[K.CLEANUP_LIMIT] = NO_END if spec.limit_rows == "none" else spec.limit_rows
    d[K.CLEANUP_ROW_MS] = spec.row_cpu_ms
    m[K.BEATS] = scenario.workload.sessions is not None


def _reads(scenario: Scenario, m: Ints, d: NDArray[np.float64]) -> None:
    reads, cache = scenario.server.queries, scenario.server.cache
    m[K.READ_US] = us_from_ms(reads.cpu_ms)
    d[K.ROW_BYTES] = reads.row_json_bytes * (reads.compressed_share if reads.compression else 1.0)
    if cache is not None:
        m[K.CACHE], m[K.TTL_US], m[K.IN_REDIS] = 1, us_from_s(cache.ttl_s), cache.store == "redis"
        m[K.ENTRIES_MAX] = NO_END if cache.entries_max == "none" else cache.entries_max
        d[K.CACHE_BYTES] = np.inf if cache.size_max_mib == "none" else cache.size_max_mib * MIB


def writer_rows(scenario: Scenario) -> Ints:
    """The rows of the three writers of a process, with their rules."""
    rows = np.zeros((3, W.SIZE), np.int64)
    for stream, name in enumerate(STREAMS):
        spec: WriterSpec = getattr(scenario.server.writers, name)
        row, beats, rules = rows[stream], name == "heartbeats", RULES[spec.semantics]
        row[W.STREAM], row[W.RULES], row[W.BATCH_ROWS] = stream, rules, spec.batch_rows
        row[W.DELAY_US], row[W.CAP], row[W.RETRY_FOR_US] = spec.delay_ms * 1_000, spec.cap, spec.retry_for_ms * 1_000
        row[W.KEYED], row[W.KIND] = beats and spec.keyed, E.UPDATE if beats else E.INSERT
        row[W.ONE_BY_ONE] = beats and rules == E.SEED
        sizes = {E.SEED: 1 if beats else 0, E.FIXED: CHUNK_ROWS if beats else 0, E.RECOMMENDED: PIECE_ROWS}
        row[W.CALL_ROWS] = sizes[rules]
        row[[W.ACCEPTED_TO, W.CLOSED_FROM, W.STUCK_US, W.LINE_S]] = -1
    return rows

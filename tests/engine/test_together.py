"""Visits played by array are those played one by one: the same facts in the same order, jobs, cache and leftovers."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from capsim.engine.database import LatencyDatabase, SlowPeriods
from capsim.engine.model import Server
from capsim.engine.queries import Metrics, Queries
from capsim.engine.sessions import Cleanup, OpenSessions
from capsim.engine.together import Together, asked, in_order
from capsim.engine.visits import Source
from capsim.scenario.database import DatabaseSpec
from capsim.scenario.parts import CacheSpec, QueriesSpec
from test_model_twin import SEED
from test_visits_twin import Visited, blocks_of, random_visited


class QueriesOneByOne(Queries):
    """The slow way."""

    def together(self, *_: Any) -> None:
        """Never."""


class MetricsOneByOne(Metrics):
    """The slow way."""

    def together(self, *_: Any) -> None:  # type: ignore[override]
        """Never."""


def with_cache_in_redis(visited: Visited) -> Visited:
    """The same case, with calls of the metrics beside reads that wait for Redis."""
    scenario = visited.served.case.scenario.replace("server.cache", {"ttl_s": 0.5, "store": "redis"})
    scenario = scenario.replace("server.metrics", {"every_s": 0.05})
    return visited._replace(served=visited.served._replace(case=visited.served.case._replace(scenario=scenario)))


def slow_redis(now_us: int, _: int) -> int | None:
    """At once, after a while, or never."""
    return (now_us, now_us, now_us + 25_000, None)[now_us // 25_000 % 4]


def looked_ahead(visited: Visited, horizons_us: list[int], *, by_array: bool) -> list[Any]:
    """What a look ahead to each horizon finds, each after going back to the start; and to where a visit ends in it."""
    case, spec = visited.served.case, visited.served.case.scenario.server
    sessions, sources = OpenSessions(), list[Source]()
    if spec.cleanup is not None:
        sources.append(Cleanup(spec.cleanup, sessions, 0, case.end_us + 1))
    redis = slow_redis if spec.cache is not None and spec.cache.store == "redis" else None
    of_queries, of_metrics = (Queries, Metrics) if by_array else (QueriesOneByOne, MetricsOneByOne)
    queries = of_queries(spec.queries, spec.cache, seed=SEED, replicate=0, redis=redis)
    sources.append(queries)
    if spec.metrics is not None:
        sources.append(of_metrics(spec.metrics, 0, case.end_us + 1))
    server = Server({}, spec.pool, 8, LatencyDatabase(case.scenario.database, SEED, 0), sources=sources)
    visits, found = server.visits, list[Any]()
    ((_, started, reads_us),) = blocks_of(visited, 1)
    sessions.begin(0, started)
    order = np.argsort(sessions.ids)
    for name in ("ids", "start_us", "last_us", "leaves_us", "live_to_us"):
        setattr(sessions, name, getattr(sessions, name)[order])
    queries.come(reads_us)
    before = visits.state()
    for horizon_us in horizons_us:
        if horizon_us < 0:
            ends_us = [row[3] for row in found[0][1]]
            horizon_us = ends_us[len(ends_us) // -horizon_us] if ends_us else 1
        since_us = visits.look_ahead(horizon_us)
        facts = list(zip(*(column.tolist() for column in visits.facts.drain().values()), strict=True))
        changes = sorted(zip(*(column.tolist() for column in server.pool.changes.drain().values()), strict=True))
        jobs = list(zip(*(column.tolist() for column in visits.jobs.since(0).values()), strict=True))
        left = [(v.part, v.number, v.start_us, v.step, v.step_us, v.calls) for v in visits._begun]
        cache = None if queries.cache is None else (list(queries.cache._kept.items()), len(queries.cache.level))
        found.append((since_us, facts, changes, jobs, left, cache, [source.next_us() for source in sources]))
        visits.restore(before)
        before = visits.state()
    return found


@pytest.mark.parametrize("hundred", range(4))
def test_visits_by_array_and_one_by_one_are_the_same(hundred: int) -> None:
    """On coarse grids, where much happens in one instant, with faults, slow periods, a cache, cleanups between them."""
    for number in range(100 * hundred, 100 * (hundred + 1)):
        visited = random_visited(number)
        rng = random.Random(number)
        end_us = visited.served.case.end_us
        reads_us = sorted([*visited.reads_us, *(rng.randrange(end_us + 1) // 25_000 * 25_000 for _ in range(30))])
        visited = visited._replace(reads_us=reads_us)
        if number % 3 == 0:
            visited = with_cache_in_redis(visited)
        horizons_us = [end_us + 1, rng.randrange(1, end_us + 2), -2, -3]  # the last two: an end

        assert looked_ahead(visited, horizons_us, by_array=True) == looked_ahead(visited, horizons_us, by_array=False)


def test_the_rows_and_the_work_of_reads_are_those_of_the_formula() -> None:
    spec = QueriesSpec(take_rows=3_000, compression=True, row_json_bytes=251.7)
    queries = Queries(spec, None, seed=SEED, replicate=0)
    rows = queries.rows(np.arange(5_000))
    cpu_us = queries.cpu_us(rows).tolist()

    draws = [queries._rows[number] for number in range(5_000)]
    expected = [min(max(1, round(spec.rows_median * float(np.exp(spec.rows_sigma * draw)))), 3_000) for draw in draws]
    assert rows.tolist() == expected
    assert len(set(expected)) > 1_000
    size_bytes = [round(one * spec.row_json_bytes) for one in expected]
    assert cpu_us == [
        round((one * spec.row_cpu_ms + size / (1 << 20) * spec.compression_cpu_ms_per_mib) * 1_000)
        for one, size in zip(expected, size_bytes, strict=True)
    ]


def test_reads_are_told_apart_from_those_of_the_block_before() -> None:
    """Numbers go on from block to block, with the rows that belong to them."""
    whole = Queries(QueriesSpec(), CacheSpec(), seed=SEED, replicate=0)
    whole.come(np.arange(10))
    parts = Queries(QueriesSpec(), CacheSpec(), seed=SEED, replicate=0)
    for begin, end in pairwise((0, 3, 4, 10)):
        parts.come(np.arange(begin, end))
        if begin:
            assert parts.begin() is not None
    for _ in range(2):
        assert whole.begin() is not None

    assert parts.next_us() == whole.next_us() == 2
    assert parts._known.rows.tolist() == whole._known.rows[1:].tolist()  # the first one had begun by the last block
    assert parts._response(9) == whole._response(9)


def test_a_call_that_a_fault_meets_ends_as_the_fault_says() -> None:
    spec = DatabaseSpec.model_validate({"faults": [{"kind": "stall", "from_s": 1, "to_s": 2}]})
    database = LatencyDatabase(spec, SEED, 0)
    starts_us = np.array([0, 1_500_000, 3_000_000])

    end_us, ok = asked(database, "queries", np.arange(3), starts_us, np.ones(3, np.int64))

    assert end_us[1] == 2_000_000
    assert ok.all()
    assert ((end_us - starts_us)[[0, 2]] < 500_000).all()


def test_calls_that_end_in_another_order_than_they_started_are_looked_at_each_by_itself() -> None:
    periods = SlowPeriods(SEED, 0, 10.0, 10.0, 2.0)
    from_us, to_us = np.array([10**8, 1]), np.array([10**9, 2])

    assert periods.same_period(from_us, to_us).tolist() == [False, True]


def test_those_of_one_instant_are_in_the_order_in_which_they_asked() -> None:
    one = np.ones(2, np.int64)
    calls = Together.of(7, np.array([0, 1]), np.array([3, 1]), np.array([9, 9]), ok=one > 0, rows=one, cpu_us=one)
    reads = Together.of(6, np.array([0, 1]), np.array([1, 9]), np.array([9, 9]), ok=one > 0, rows=one, cpu_us=one,
                        cached=np.array([False, True]))  # fmt: skip

    many = in_order(calls, reads)

    assert list(zip(many.part.tolist(), many.number.tolist(), strict=True)) == [(6, 0), (7, 1), (7, 0), (6, 1)]
    assert [many.before(8, ()), many.before(9, ()), many.before(10, ())] == [0, 0, 4]
    assert many.before(9, (1, 30, 3, 0)) == 0  # a cleanup asks before the reads of its instant
    assert many.before(9, (2, 20, 3, 0)) == 2
    assert many.before(9, (9,)) == 3  # all answers, not the one that was found in the cache

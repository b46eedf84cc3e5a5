"""Redis: fill, snapshot, rewrite, flush; the expected numbers are recordings (tests/data/memory_cgroup)."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from capsim.memory import resident
from capsim.memory.redis import Content
from capsim.memory.redis_phases import RedisContainer
from capsim.scenario.columns import SAMPLES
from capsim.scenario.scenario import Scenario

MEASURED = pd.read_csv(Path(__file__).parents[1] / "data" / "memory_cgroup" / "redis_phases.csv")
KEYS = Content(100_000, 1_000)  # random values at first, then one repeated string (a file stores a fifth of it)


def plain():
    server = RedisContainer()
    yield "idle", server.usage, server
    yield "fill", server.fill(KEYS), server
    yield "save", server.save(), server
    yield "save under writes", server.save(175_600, compressed=0.2), server
    yield "save again", server.save(), server
    yield "flush", server.flush_all(), server
    yield "stopped", server.stop(), server


def aof():
    server = RedisContainer(append_only=True)
    yield "idle", server.usage, server
    yield "fill", server.fill(KEYS), server
    yield "save", server.save(), server
    yield "save under writes", server.save(177_200, compressed=0.2), server
    yield "rewrite after it", server.rewrite(), server
    yield "save again", server.save(), server
    yield "overwrite", server.overwrite(100_000, compressed=0.035), server
    yield "rewrite", server.rewrite(), server
    yield "flush", server.flush_all(), server
    yield "stopped", server.stop(), server


def aof_192():
    server = RedisContainer(192, append_only=True)
    yield "idle", server.usage, server
    yield "fill", server.fill(KEYS), server
    yield "save", server.save(), server


@pytest.mark.parametrize("run", [plain, aof, aof_192], ids=lambda run: run.__name__)
def test_every_phase_is_within_5_percent(run):
    """Or 1.2 MiB: an idle Redis finds part of its program files charged to another group, by chance."""
    recorded = MEASURED[MEASURED.run == run.__name__].set_index("phase")
    played = []
    for phase, usage, server in run():
        played.append(phase)
        row = recorded.loc[phase]
        assert usage.usage_mib == pytest.approx(row.usage_mib, rel=0.05, abs=1.2), phase
        if not np.isnan(row.peak_mib):
            assert server.peak_mib == pytest.approx(row.peak_mib, rel=0.05), phase

    assert played == list(recorded.index)


def test_a_snapshot_under_writes_kills_the_server_in_a_container_that_holds_data_and_copy_no_more():
    """Recorded: limit 192 MiB, 106 MiB of data; the quiet snapshot lived, the one under writes was killed."""
    server = RedisContainer(192, append_only=True)
    server.fill(KEYS)
    server.save()
    assert not server.killed

    server.save(177_200)
    assert server.killed


def test_a_snapshot_leaves_its_file_on_the_bill():
    server = RedisContainer()
    before = server.fill(KEYS).usage_mib

    assert server.save().usage_mib - before == pytest.approx(KEYS.rdb_mib * 1.029, abs=0.1)
    assert server.save().usage_mib - before == pytest.approx(KEYS.rdb_mib * 1.029, abs=0.1)  # the old one went


def billed(**redis):
    scenario = Scenario(
        name="x", workload={"rate_hz": 1, "duration_s": 60}, billing={"from": "2026-02-03"}, redis=redis
    )
    bins = pd.DataFrame({c.name: np.zeros(1, dtype=c.dtype) for c in SAMPLES}).assign(width_s=60.0, has_load=True)
    row = resident(bins, scenario).iloc[0]
    return row.redis_billed_lower_mib, row.redis_billed_mib, row.redis_billed_upper_mib


def test_keys_are_billed_in_every_bracket():
    none, some = billed(), billed(keys=100_000, value_bytes=1_000)

    assert [b - a for a, b in zip(none, some, strict=True)] == pytest.approx([109.2] * 3, abs=0.1)


def test_files_of_the_persistence_are_billed_above_the_lower_bracket():
    cache = {"keys": 100_000, "value_bytes": 1_000}
    none, rdb, aof_ = (billed(**cache, persistence=p) for p in ("none", "rdb", "aof"))

    assert none[0] == rdb[0] == aof_[0]
    assert rdb[1] - none[1] == pytest.approx(99.1, abs=0.1)  # recorded: 214.5 - 115.5
    assert none[1] < rdb[1] < aof_[1]
    assert none[2] < rdb[2] < aof_[2]


def test_small_values_cost_mostly_their_keys():
    """Recorded: 100,000 keys of 100 bytes added 22.3 MiB, of 1,000 bytes with an expiry 114."""
    assert Content(100_000, 100).memory_mib == pytest.approx(22.3, rel=0.05)
    assert Content(100_000, 1_000).memory_mib == pytest.approx(114, rel=0.05)


def test_files_of_a_large_redis_are_cached_within_the_plans_memory():
    """Ten million keys of 500 bytes: with a snapshot being written they would need more than the 8 GB of the plan."""
    columns = {c.name: np.zeros(3, dtype=c.dtype) for c in SAMPLES}
    samples = pd.DataFrame(columns).assign(width_s=60.0, has_load=True)
    scenario = Scenario(
        name="large",
        workload={"rate_hz": 1, "duration_s": 60},
        billing={"from": "2026-02-03", "plan": "hobby"},
        redis={"keys": 10_000_000, "value_bytes": 500, "persistence": "rdb"},
    )
    billed = resident(samples, scenario)
    limit_mib = 8e9 / 2**20

    assert (billed.redis_billed_upper_mib == billed.redis_billed_upper_mib.iloc[0]).all()
    assert billed.redis_billed_lower_mib.iloc[0] < billed.redis_billed_upper_mib.iloc[0] <= limit_mib * (1 + 1e-9)
    assert billed.redis_billed_upper_mib.iloc[0] > 0.98 * limit_mib

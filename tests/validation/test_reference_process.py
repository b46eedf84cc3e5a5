"""What the reference measures of processes, and what it does beside the writers."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import psutil
import pytest

from capsim.scenario.parts import CleanupSpec
from capsim.validation.reference.cleanup import Cleanup
from capsim.validation.reference.database import Answer, CallFailed, Statement
from capsim.validation.reference.log import Log
from capsim.validation.reference.observer import Watch
from capsim.validation.reference.pool import Pool
from capsim.validation.reference.process import COLUMNS, ProcessSamples, family, sample
from capsim.validation.reference.virtual import VirtualLoop


def test_samples_are_a_tidy_table_at_their_interval() -> None:
    async def story() -> ProcessSamples:
        samples = ProcessSamples({"server": lambda: [psutil.Process()], "nobody": list}, every_s=0.05)
        task = asyncio.ensure_future(samples.run())
        while len(samples.rows) < 6:
            await asyncio.sleep(0.01)
        task.cancel()
        return samples

    table = asyncio.run(story()).table()
    server, nobody = (table[table["of"] == of] for of in ("server", "nobody"))

    assert list(table.columns) == list(COLUMNS)
    assert 3 <= len(server) == len(nobody)
    assert all(at_s >= 0.05 * number - 0.01 for number, at_s in enumerate(server["time_s"]))  # never early
    assert (server["processes"] == 1).all() and (server["uss_mib"] > 5).all()
    assert (server["rss_mib"] >= server["uss_mib"]).all() and server["cpu_s"].is_monotonic_increasing
    assert (nobody["processes"] == 0).all() and (nobody["rss_mib"] == 0).all()


def test_a_family_is_a_process_and_its_children_until_they_end() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        while len(family(parent.pid)) < 2:
            assert parent.poll() is None
        members = family(parent.pid)
        assert sample("both", members, 0.0)["processes"] == 2
        parent.communicate(b"\n")

    assert family(parent.pid) == []
    assert sample("both", members, 1.0)["processes"] == 0


class Sessions:
    """A database of silent sessions that takes 40 ms for a call; every third one cannot be closed."""

    is_open = True
    server_pid = None

    def __init__(self, loop: VirtualLoop, silent: int) -> None:
        self._loop = loop
        self.silent = [{"id": f"s{i}", "last_heartbeat_ms": 0} for i in range(silent)]
        self.selects_us: list[int] = []

    async def connect(self) -> Sessions:
        return self

    async def run(self, statement: Statement) -> Answer:
        await asyncio.sleep(0.04)
        if statement.operation == "stale_sessions":
            self.selects_us.append(self._loop.now_us())
            return Answer(rows=self.silent[: statement.values[1]])
        (ended,) = statement.values
        if int(ended.session_id[1:]) % 3 == 0:
            raise CallFailed("not this one")
        self.silent = [row for row in self.silent if row["id"] != ended.session_id]
        return Answer(changed=1)

    async def close(self) -> None: ...


@pytest.mark.parametrize(("most", "left"), [(100, 160), (None, 100)])
def test_cleanup_closes_no_more_than_it_may_each_time_and_goes_on_after_a_failure(most: int | None, left: int) -> None:
    loop, log = VirtualLoop(), Log()
    database = Sessions(loop, 300)
    pool = Pool(loop, database, 1, 20_000_000, 10_000_000)
    spec = CleanupSpec(limit_rows=most or "none")
    loop.create_task(Cleanup(spec, loop, pool, log, Watch(), lambda: 10**15).keep())

    loop.run_to(400_000_000)
    loop.close()

    # Those that cannot be closed come first again each time: 66, 44 and 30 of 100 are closed.
    assert len(database.silent) == left
    # However long a run takes, the next one comes with the next turn.
    assert database.selects_us == [120_040_000, 240_040_000, 360_040_000]
    assert log.lines["warn"] > 0

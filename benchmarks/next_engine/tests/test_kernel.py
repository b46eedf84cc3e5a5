"""The compiled kernel: nothing is lost, and a play from a checkpoint is the play that it was."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from capsim.engine.kernel.driver import Kernel
from capsim.engine.lives import lives
from capsim.scenario.server import STREAMS, Scenario
from capsim.workload.load import load_of

sys.path.insert(0, str(Path(__file__).parent))
from random_servers import scenario  # noqa: E402

CASES = (1, 3, 4, 21, 39, 56, 87, 120, 133, 180)


def played(number: int, *, again: bool = False) -> Kernel:
    spec = Scenario(**scenario(number))
    load = load_of(spec, None, number, 0)
    process = spec.server.process
    rows = [lives(process, spec.server.lifecycle, load.until_us, []) for _ in range(process.replicas)]
    kernel = Kernel(spec, number, 0, rows, 60_000_000, load.span_us, [load.span_us], keep=True)
    for block in load.blocks():
        if again:
            point = kernel.checkpoint()
            kernel.play(block)
            kernel.restore(point)
        kernel.play(block)
    return kernel


@pytest.mark.parametrize("number", CASES)
def test_a_play_from_a_checkpoint_is_the_same(number: int) -> None:
    one, two = played(number), played(number, again=True)
    for name, rows in one.facts.items():
        assert [r.tolist() for r in rows] == [r.tolist() for r in two.facts[name]]
    for a, b in zip(one.processes, two.processes, strict=True):
        assert a.counts == b.counts
        assert all((x.bins == y.bins).all() for x, y in zip(a.bins, b.bins, strict=True))


@pytest.mark.parametrize("number", CASES)
def test_bins_end_with_the_process_and_count_what_it_was_given(number: int) -> None:
    for process in played(number).processes:
        edges = [bins.edges_us for bins in process.bins]
        if edges:
            assert edges[0][0] == process.life.accepts_from_us
            assert edges[-1][-1] == process.life.end_us
            assert all((np.diff(each) > 0).all() for each in edges)
        for name in STREAMS:
            counts = process.counts[name]
            assert counts["in_loop"] >= 0
            assert counts["buffered"] >= 0

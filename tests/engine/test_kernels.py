"""Kernels: passes in the interpreter, the loop, and the loop as machine code say the same, and so does a whole run."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from capsim import load
from capsim.engine import kernels
from capsim.engine.chains import GALLOPED, bisected, follow
from capsim.engine.jobs import JOB, ONE_AFTER_ANOTHER, Queue, Served
from capsim.engine.kernels import PROCESS, Kernel
from capsim.engine.responses import COUNTED, WORK_OF, Responses, bins
from capsim.results.run import simulate

TIMES = arrays.arrays(np.int64, st.integers(1, 700), elements=st.integers(0, 5_000)).map(np.sort)
KERNELS = (GALLOPED, ONE_AFTER_ANOTHER, COUNTED, WORK_OF)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """A process that has done nothing yet, whatever other tests did in this one."""
    for name, value in vars(type(PROCESS)()).items():
        monkeypatch.setattr(PROCESS, name, value)


@pytest.fixture
def machine_code():
    pytest.importorskip("numba")
    PROCESS.load()
    assert PROCESS.loaded


class Way:
    """How kernels are done: not at all, by their loop in the interpreter, or as machine code."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, function, *args):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PROCESS, "loaded", self._name != "passes")
            if self._name == "loops":
                for kernel in KERNELS:
                    patch.setitem(kernel.__dict__, "_machine", kernel.loop)
            return function(*args)


PASSES, LOOPS, MACHINE_CODE = (Way(name) for name in ("passes", "loops", "machine code"))


def one_by_one(times_us: np.ndarray, place: int, apart_us: int, rows: int, most: int) -> list[int]:
    """The slow twin of a chain: look at every arrival."""
    places, last_us = [place], times_us[place]
    for number in range(place + 1, len(times_us)):
        if (times_us[number] >= last_us + apart_us or number == places[-1] + rows) and len(places) <= most:
            places.append(number)
            last_us = times_us[number]
    return places


@given(TIMES, st.data())
def test_every_way_finds_the_same_chain(times_us, data):
    pytest.importorskip("numba")
    place = data.draw(st.integers(0, len(times_us) - 1))
    apart_us = data.draw(st.integers(1, 6_000))
    rows = data.draw(st.integers(1, 700))
    most = data.draw(st.integers(0, 800))
    expected = one_by_one(times_us, place, apart_us, rows, most)

    for way in (PASSES, LOOPS, MACHINE_CODE):
        assert way(follow, times_us, place, apart_us, rows, most).tolist() == expected


def test_arrivals_that_may_not_be_written_to_are_followed_too(machine_code):
    times_us = np.arange(0, 100, 3)
    times_us.flags.writeable = False

    assert follow(times_us, 0, 5, 9, 99).tolist() == bisected(times_us, 0, 5, 9, 99).tolist()


def test_a_delay_of_nothing_stays_where_it_is(machine_code):
    for way in (PASSES, LOOPS, MACHINE_CODE):
        assert way(follow, np.arange(9), 4, 0, 9, 3).tolist() == [4, 4, 4, 4]


@st.composite
def blocks(draw) -> Served:
    """What a loop did in a block: jobs of all kinds, some of them after hours of waiting."""

    def numbers(size: int, low: int, high: int) -> np.ndarray:
        return np.array(draw(st.lists(st.integers(low, high), min_size=size, max_size=size)), np.int64)

    jobs, others = draw(st.integers(0, 60)), draw(st.integers(0, 6))
    dear_us = draw(st.sampled_from([100, 40_000, 10**10]))
    at_us, cpu_us = np.sort(numbers(jobs, 0, 5_000)), numbers(jobs, 0, dear_us)
    others_at_us, others_cpu_us = np.sort(numbers(others, 0, 6_000)), numbers(others, 0, dear_us)
    free_us = draw(st.integers(0, 6_000))
    kind = numbers(jobs, 0, JOB).astype(np.int8)
    done_us, others_done_us = PASSES(Queue(at_us, cpu_us).with_others, others_at_us, others_cpu_us, free_us)
    late = np.zeros(jobs, bool)
    return Served(
        free_us, at_us, kind, cpu_us, done_us, late, late, others_at_us, others_cpu_us, others_done_us, others_at_us * 0
    )


def one_bin(block: Served, from_us: int, to_us: int) -> dict[str, float]:
    """The slow twin of a bin: every job is looked at."""
    jobs = list(zip(block.at_us, block.cpu_us, block.done_us, block.kind, strict=True))
    others = list(zip(block.flush_us, block.flush_cpu_us, block.flush_done_us, itertools.repeat(JOB)))

    def backlog_us(when_us: int) -> int:
        return max(0, max([block.free_us, *(done for at, _, done, _ in jobs + others if at < when_us)]) - when_us)

    own = [job for job in jobs + others if from_us <= job[0] < to_us]
    offered_us, width_us = sum(cpu for _, cpu, _, _ in own), to_us - from_us
    waits = [done - cpu - at for at, cpu, done, kind in own if kind != JOB]
    return {
        "requests": len(waits),
        "requests_late": 0,
        "requests_given_up": 0,
        "loop_offered": offered_us / width_us,
        "loop_utilisation": (backlog_us(from_us) + offered_us - backlog_us(to_us)) / width_us,
        "loop_wait_max_ms": max(waits, default=0) / 1_000,
        "loop_block_max_ms": max([cpu for _, cpu, _, _ in own], default=0) / 1_000,
        "loop_backlog_ms": backlog_us(to_us) / 1_000,
    }


@given(blocks(), st.lists(st.integers(1, 7_000), min_size=1, max_size=6, unique=True).map(sorted))
def test_every_way_serves_and_counts_the_same(block, ends_us):
    pytest.importorskip("numba")

    def all_of_it():
        found = Queue(block.at_us, block.cpu_us).with_others(block.flush_us, block.flush_cpu_us, block.free_us)
        responses = Responses(ends_us)
        responses.add(block)
        return [*found, responses.table(ends_us[-1]), bins(block, np.array([0, *ends_us]))]

    passes = PASSES(all_of_it)
    expected = [one_bin(block, *edges) for edges in itertools.pairwise([0, *ends_us])]
    for name, values in passes[3].items():
        assert values.tolist() == [found[name] for found in expected], name
    for way in (LOOPS, MACHINE_CODE):
        done_us, others_us, table, columns = way(all_of_it)
        assert np.array_equal(done_us, passes[0]) and np.array_equal(others_us, passes[1])
        assert table.equals(passes[2])
        for name, values in columns.items():
            assert np.array_equal(values, passes[3][name]), name


def run_of_an_hour():
    return simulate(load("after").replace("workload", {"rate_hz": 20, "duration_s": 3_600}), seed=3, month=False)


def test_a_run_is_the_same_whenever_machine_code_is_loaded():
    """Before the first kernel, in the midst of the run, and never."""
    pytest.importorskip("numba")
    found = []
    for left_ns in (0, 300_000, 10**15):
        PROCESS.loaded, PROCESS.left_ns = False, left_ns
        found.append(run_of_an_hour())
        assert PROCESS.loaded is (left_ns < 10**15)

    for other in found[:2]:
        assert other.samples.equals(found[2].samples)
        assert other.summary().equals(found[2].summary())


def test_machine_code_is_loaded_when_its_lack_has_cost_what_loading_takes():
    pytest.importorskip("numba")
    kernel = Kernel(sum, saves_ns=kernels.LOADING_NS / 10)

    kernel.missed(9)
    assert not kernel.loaded

    kernel.missed(1)
    assert kernel.loaded and all(other.loaded for other in KERNELS)


def test_without_numba_all_goes_on_in_the_interpreter(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "capsim.base.compiled", raising=False)

    PROCESS.load()
    PROCESS.load()

    assert not PROCESS.loaded
    assert follow(np.arange(9), 0, apart_us=4, rows=9, most=9).tolist() == [0, 4, 8]


@pytest.mark.parametrize("took_us", [127, 128, 32_767, 32_768, 32_769])
def test_times_at_the_edge_of_what_is_counted_by_the_microsecond(machine_code, took_us):
    def table():
        responses = Responses([10**9])
        responses.count(np.array([0, 7]), np.array([0, 1]), np.array([took_us, took_us + 7]))
        return responses.table(10**9)

    for way in (PASSES, MACHINE_CODE):
        found = way(table)
        assert found["max_ms"].iloc[:2].tolist() == [took_us / 1_000] * 2
        assert found["requests"].tolist() == [1, 1, 0, 0]

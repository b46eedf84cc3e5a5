"""Chains of timers: by bisection, by the loop that numba compiles, and step by step, they are the same."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from capsim import load
from capsim.run import simulate
from capsim.server import chains
from capsim.server.chains import Chains, bisected, galloped

TIMES = arrays.arrays(np.int64, st.integers(1, 700), elements=st.integers(0, 5_000)).map(np.sort)


def one_by_one(times_us: np.ndarray, place: int, apart_us: int, most: int) -> list[int]:
    """The slow twin: look at every arrival."""
    places, last_us = [place], times_us[place]
    for number in range(place + 1, len(times_us)):
        if times_us[number] >= last_us + apart_us and len(places) <= most:
            places.append(number)
            last_us = times_us[number]
    return places


@pytest.fixture(scope="module")
def compiled() -> Chains:
    pytest.importorskip("numba")
    made = Chains()
    made.load()
    assert made._way not in (bisected, galloped)
    return made


@given(TIMES, st.data())
def test_every_way_finds_the_same(compiled, times_us, data):
    place = data.draw(st.integers(0, len(times_us) - 1))
    apart_us = data.draw(st.integers(1, 6_000))
    most = data.draw(st.integers(0, 800))
    expected = one_by_one(times_us, place, apart_us, most)

    for way in (bisected, galloped, Chains().follow, compiled.follow):
        assert way(times_us, place, apart_us, most).tolist() == expected


def test_arrivals_that_may_not_be_written_to_are_followed_too(compiled):
    times_us = np.arange(0, 100, 3)
    times_us.flags.writeable = False

    assert compiled.follow(times_us, 0, 5, 99).tolist() == bisected(times_us, 0, 5, 99).tolist()


def test_a_delay_of_nothing_stays_where_it_is(compiled):
    times_us = np.arange(9)

    for way in (bisected, galloped, compiled.follow):
        assert way(times_us, 4, 0, 3).tolist() == [4, 4, 4, 4]


def run_of_an_hour():
    return simulate(load("after").replace("workload", {"rate_hz": 20, "duration_s": 3_600}), seed=3, month=False)


def test_a_run_is_the_same_whenever_machine_code_is_loaded(monkeypatch):
    """Before the first chain, in the midst of the run, and never."""
    pytest.importorskip("numba")
    found = []
    for worth in (0, 300, 1 << 40):
        monkeypatch.setattr(chains, "WORTH_LOADING", worth)
        process = Chains()
        monkeypatch.setattr("capsim.server.arrivals.CHAINS", process)
        found.append(run_of_an_hour())
        assert (process._way is bisected) is (worth > 300)

    for other in found[:2]:
        assert other.samples.equals(found[2].samples)


def test_without_numba_all_goes_on_in_the_interpreter(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "capsim.compiled", raising=False)
    process = Chains()

    process.load()
    process.load()

    assert process._way is bisected
    assert process.follow(np.arange(9), 0, apart_us=4, most=9).tolist() == [0, 4, 8]

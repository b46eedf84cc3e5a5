"""A scenario that is accepted runs to its end: every limit that the model needs is one that the scenario names."""

from __future__ import annotations

from itertools import count, islice

import numpy as np
import pytest

import capsim as cs
from capsim.base.errors import CapsimError
from capsim.engine.database import LONGEST_CALL_US, LatencyDatabase, Statement
from capsim.engine.queries import MOST_ROWS, Queries
from capsim.memory.fits import check_fits
from capsim.memory.volume import filled
from capsim.scenario.database import DatabaseSpec
from capsim.scenario.file import dumps, load, loads
from capsim.scenario.parts import QueriesSpec
from capsim.scenario.scenario import Scenario
from capsim.scenario.validation import validated
from random_scenarios import changed

FEW, MANY = 80, 3_000


def valid(number: int) -> bool:
    """Whether the scenario of this number is accepted, and fits into its containers."""
    try:
        check_fits(validated(Scenario, changed(number)[0], "made"))
    except CapsimError:
        return False
    return True


def played(number: int) -> None:
    """It is written, read and run."""
    data, told = changed(number)
    scenario = validated(Scenario, data, "made")
    assert loads(dumps(scenario)) == scenario, told
    run = cs.simulate(scenario, month=False)
    assert len(run.samples), told


@pytest.mark.parametrize("number", islice(filter(valid, count()), FEW))
def test_what_is_valid_runs(number):
    played(number)


def test_most_of_them_are_valid():
    assert sum(map(valid, range(300))) > 200


def test_a_call_never_lasts_longer_than_anything_may():
    """At the ends of all limits; by array and one by one."""
    spec = DatabaseSpec(insert={"call_ms": 3_600_000, "row_ms": 3_600_000, "sigma": 5})
    database = LatencyDatabase(spec, 0, 0)
    items, starts_us = np.arange(500), np.zeros(500, np.int64)
    by_array = database.durations("events", "insert", items, np.int64(10**9), starts_us)
    one_by_one = [database.run("events", 1, Statement("insert", int(i), 10**9), 0).duration_us for i in items]

    assert by_array.max() == LONGEST_CALL_US and by_array.min() >= 1
    assert by_array.tolist() == one_by_one


def test_a_result_never_has_more_rows_than_there_can_be():
    queries = Queries(QueriesSpec(rows_median=1e300, rows_sigma=5), None, seed=0, replicate=0)

    assert queries.rows(np.arange(50)).max() == MOST_ROWS


def test_a_volume_that_is_full_with_the_last_row_is_full():
    (fault,) = filled(load("before").replace("database.faults", ()), 60, 60).database.faults

    assert fault.from_s == 60 < fault.to_s


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_what_is_valid_runs_many_times():
    for number in islice(filter(valid, count(FEW)), MANY):
        played(number)

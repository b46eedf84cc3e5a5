"""A scenario that is accepted runs to its end: every limit that the model needs is one that the scenario names."""

from __future__ import annotations

import pytest

import capsim as cs
from capsim.errors import CapsimError
from capsim.scenario import dumps, loads, validated
from capsim.specs import Scenario
from random_scenarios import changed

FEW, MANY = 80, 3_000


def played(number: int) -> bool:
    """Whether it is valid; then it was written, read and run."""
    data, told = changed(number)
    try:
        scenario = validated(Scenario, data, "made")
    except CapsimError:
        return False
    assert loads(dumps(scenario)) == scenario, told
    run = cs.simulate(scenario, month=False)
    assert len(run.samples), told
    return True


@pytest.mark.parametrize("number", range(FEW))
def test_what_is_valid_runs(number):
    played(number)


def test_most_of_them_are_valid():
    valid = 0
    for number in range(300):
        try:
            validated(Scenario, changed(number)[0], "made")
            valid += 1
        except CapsimError:
            pass

    assert valid > 200


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_what_is_valid_runs_many_times():
    assert sum(played(FEW + number) for number in range(MANY)) > 0.7 * MANY

"""All schedules of a writer with small constants: which rules have traps."""

from __future__ import annotations

from itertools import product

import pytest

from schedule_explorer import State, explore, is_stuck

SMALL = [(b, c, f) for b, c, f in product((1, 2, 3), range(1, 7), range(4))]


def test_a_recommended_writer_has_no_trap_in_any_schedule() -> None:
    """Batch at most 3, cap at most 6, at most 3 faults, with a shutdown at any moment."""
    states = steps = 0
    for batch, cap, faults in SMALL:
        found = explore("recommended", batch=batch, cap=cap, faults=faults, shutdown=True)
        assert found.stuck is None and found.wedge is None, (batch, cap, faults)
        assert found.most_rows <= cap + 1
        states, steps = states + found.states, steps + found.steps
    print(f"recommended: {states:,} states, {steps:,} steps")  # pytest -s
    assert states > 1_000


@pytest.mark.parametrize("cap", [3, 4, 6])
def test_a_seed_writer_is_wedged_by_as_many_arrivals_as_its_cap(cap: int) -> None:
    found = explore("seed", batch=2, cap=cap, faults=0)

    assert found.wedge is not None
    print(f"seed: {found.states:,} states; shortest schedule into the wedge: {', '.join(found.wedge)}")
    assert found.wedge == ("arrival", "timer", *["arrival"] * cap, "request", "written")


@pytest.mark.parametrize("faults", range(4))
def test_a_fixed_writer_gets_stuck_but_not_wedged(faults: int) -> None:
    """A timer that fires during a flush stays spent; where the cap is no smaller than the batch, arrivals free it."""
    for batch, cap in product((2, 3), range(3, 7)):
        found = explore("fixed", batch=batch, cap=cap, faults=faults)
        assert found.stuck is not None and "timer" in found.stuck
        assert found.wedge is None


def test_a_single_arrival_is_never_stuck_without_a_flush_that_outlasts_its_timer() -> None:
    assert not is_stuck(State(buffer=1, timer="live"))
    assert is_stuck(State(buffer=1, timer="spent"))
    assert not is_stuck(State(buffer=1, out=1))

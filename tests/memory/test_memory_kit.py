"""The writers of the measured stand-in server, replayed on recorded requests."""

import numpy as np
import pytest

from capsim.memory.kit import Flushes, replay

T = np.arange(86.0)
STALL = Flushes(slow_s=30, slow_from_s=10, slow_to_s=70)


def test_a_stall_drops_what_the_recorded_one_dropped():
    """500/s for 85 s, flushes of 30 s for a minute, cap 1,000: 28,901 recorded."""
    assert replay(T, 500 * T, STALL, cap_rows=1000).dropped[-1] == pytest.approx(28_900, abs=100)


def test_an_unbounded_stall_holds_what_the_recorded_one_held():
    """29,494 rows at most; drained a hundred at a time within ten seconds."""
    rows = replay(T, 500 * T, STALL)

    assert rows.buffered.max() == pytest.approx(29_500, rel=0.02)
    assert rows.buffered[80] < 200


def test_every_row_is_held_in_flight_dropped_or_written():
    t = np.linspace(0, 60, 601)
    rows = replay(t, 333 * t, Flushes(slow_s=7, slow_from_s=5, slow_to_s=30), cap_rows=500)
    written = 333 * t - rows.buffered - rows.in_flight - rows.dropped

    assert written.min() > -1
    assert (np.diff(written) > -1.001).all()


def test_below_a_hundred_rows_the_timer_flushes():
    t = np.arange(0.0, 30.0, 0.25)

    assert replay(t, 2 * t, Flushes()).buffered.max() <= 11

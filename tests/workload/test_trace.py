"""A trace as a thing: its gaps, windows, repeats, bins and copies."""

from __future__ import annotations

import pytest

from capsim.base.errors import TraceError
from capsim.workload import Trace, read_trace
from capsim.workload.convert import rebin, scaled
from capsim.workload.write import csv_text

MINUTE_US = 60_000_000


def counts(*values: int, at: tuple[int, ...] | None = None) -> Trace:
    """Counts per minute; ``at`` gives the minute of each, if some are absent."""
    place = range(len(values)) if at is None else at
    return Trace.from_counts("t", [MINUTE_US * i for i in place], values, MINUTE_US)


def test_a_trace_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        counts(1, 2).counts[0] = 5


@pytest.mark.parametrize(
    ("starts", "values"), [([], []), ([0, 30], [1, 1]), ([60, 0], [1, 1]), ([0, 60], [1, -1]), ([0, 60], [1])]
)
def test_impossible_counts_are_refused(starts, values):
    with pytest.raises(TraceError):
        Trace.from_counts("t", [s * 1_000_000 for s in starts], values, MINUTE_US)


def test_a_window_keeps_the_bins_that_start_in_it():
    trace = counts(1, 2, 3, 4)

    assert trace.window("1min", "3min").counts.tolist() == [2, 3]
    assert trace.window("1970-01-01T00:00:30Z", "1970-01-01T00:02:30Z").counts.tolist() == [2, 3]
    assert trace.window(from_=2 * MINUTE_US).start_us == 2 * MINUTE_US


def test_a_window_edge_inside_a_bin_leaves_no_gap():
    window = counts(1, 2, 3, 4).window("30s", "150s")

    assert (window.start_us, window.end_us, window.gaps) == (MINUTE_US, 3 * MINUTE_US, ())


def test_a_window_that_begins_in_a_gap_begins_without_data():
    window = counts(1, 2, at=(0, 10)).window("5min")

    assert window.gaps == ((5 * MINUTE_US, 10 * MINUTE_US),)
    assert window.span_us == 6 * MINUTE_US


@pytest.mark.parametrize(("from_", "to"), [("5h", None), ("2min", "1min"), ("yesterday", None)])
def test_a_window_without_data_or_sense_is_refused(from_, to):
    with pytest.raises(TraceError):
        counts(1, 2, 3).window(from_, to)


def test_a_repeated_trace_repeats_its_gaps_too():
    twice = counts(1, 2, at=(0, 2)).repeat(2)

    assert twice.counts.tolist() == [1, 2, 1, 2]
    assert twice.gaps == ((MINUTE_US, 2 * MINUTE_US), (4 * MINUTE_US, 5 * MINUTE_US))
    assert twice.covered_us == 4 * MINUTE_US


def test_wider_bins_keep_only_what_is_whole():
    trace = counts(1, 2, 3, 4, 5, at=(0, 1, 2, 4, 5))

    wide = rebin(trace, 2 * MINUTE_US)

    assert wide.counts.tolist() == [3, 9]
    assert "3 requests" in wide.notes[-1]


def test_bins_are_never_made_narrower():
    with pytest.raises(TraceError, match="whole multiple of its own 60 s"):
        rebin(counts(1, 2, 3), 30_000_000)


def test_events_in_bins_keep_their_number():
    trace = Trace.from_times("t", [5_000_000, 70_000_000, 71_000_000, 200_000_000], 1_000_000)

    assert rebin(trace, MINUTE_US).counts.tolist() == [1, 2, 0, 1]


def test_scaling_up_keeps_whole_copies_and_scaling_down_thins():
    trace = counts(*[100] * 200)

    assert scaled(trace, 3).counts.tolist() == [300] * 200
    assert scaled(trace, 0.5, seed=1).total == pytest.approx(10_000, rel=0.05)
    assert scaled(trace, 0.5, seed=1).counts.tolist() == scaled(trace, 0.5, seed=1).counts.tolist()


def test_copies_of_an_event_stay_in_its_minute():
    trace = Trace.from_times("t", [0, 119_000_000, 130_000_000], 1_000_000)

    copies = scaled(trace, 50, seed=3)

    assert rebin(copies, MINUTE_US).counts.tolist() == [50, 50, 50]
    assert len(set(copies.times_us.tolist())) > 50


@pytest.mark.parametrize(
    "trace",
    [
        counts(4, 0, 7, at=(0, 1, 5)),
        Trace.from_times("t", [86_400_000_000, 86_400_000_123, 90_000_000_000], 1),
        Trace.from_times("t", [86_400_000_000, 86_401_000_000], 1_000_000),
    ],
)
def test_what_is_written_is_read_back(tmp_path, trace):
    (tmp_path / "t.csv").write_text(csv_text(trace))

    again = read_trace(tmp_path / "t.csv")

    assert (again.kind, again.gaps, again.start_us, again.end_us) == (
        trace.kind, trace.gaps, trace.start_us, trace.end_us,
    )  # fmt: skip
    assert again.counts.tolist() == trace.counts.tolist()
    assert again.times_us.tolist() == trace.times_us.tolist()

"""Results side by side, and what counts as drift."""

from __future__ import annotations

import pytest

from capsim.base.errors import CapsimError
from capsim.results.comparison import Drift, changed_inputs, compare, drift, figures, unlike
from capsim.results.document import result_of
from capsim.show.console import WIDTH, drift_table, overview, ratio
from fake_run import SCENARIO, FakeRun

BEFORE = result_of([FakeRun(SCENARIO.replace("name", "before"), level=100.0)])
AFTER = result_of([FakeRun(SCENARIO.replace("name", "after"), level=50.0)])


def found(comparison, figure, window="trace"):
    return next(d for d in comparison.differences if d.figure == figure and d.window == window)


def test_differences_and_ratios_are_against_the_first():
    rss = found(compare([BEFORE, AFTER]), "server_rss_mean")

    assert (rss.values, rss.difference, rss.ratio, rss.unit) == ((100, 50), (0, -50), (1, 0.5), "MiB")


def test_a_ratio_to_nothing_is_no_number():
    nothing = BEFORE.model_copy(update={"accounting": (BEFORE.accounting[0].model_copy(update={"dropped_cap": 0}),)})
    dropped = found(compare([nothing, AFTER]), "events dropped_cap", None)

    assert (dropped.values, dropped.difference, dropped.ratio) == ((0, 2), (0, 2), (None, None))


def test_a_figure_that_one_side_lacks_is_told_and_not_differenced():
    short = AFTER.model_copy(update={"stress": ()})
    lost = found(compare([BEFORE, short]), "stall: items lost", None)

    assert (lost.values, lost.difference, lost.ratio) == ((1_200, None), (0, None), (1, None))


def test_every_line_of_the_bill_is_compared_and_none_is_absent():
    names = {d.figure for d in compare([BEFORE, AFTER]).differences if d.section == "bill"}

    assert {"server memory amount", "server memory upper", "server backups amount", "workspace total amount"} <= names


def test_sides_of_one_name_are_told_apart():
    assert [r.name for r in compare([AFTER, AFTER, AFTER]).results] == ["after", "after (2)", "after (3)"]
    assert [r.name for r in compare({"was": BEFORE, "is": FakeRun()}).results] == ["was", "is"]


def test_one_side_is_no_comparison():
    with pytest.raises(CapsimError, match="needs two sides"):
        compare([BEFORE])


def test_equal_documents_do_not_drift():
    assert drift(BEFORE, result_of([FakeRun(SCENARIO.replace("name", "before"), level=100.0)])) == []


def test_the_last_published_digit_is_drift():
    now = result_of([FakeRun(SCENARIO.replace("name", "before"), level=100.000001)])
    moved = {d.field: (d.saved, d.now) for d in drift(BEFORE, now)}

    assert moved["summary.trace: server_rss_mean [MiB]"] == (100, 100.000001)


def test_a_figure_that_appears_or_goes_is_drift():
    fewer = BEFORE.model_copy(update={"stress": BEFORE.stress[:1]})

    assert {d.field for d in drift(BEFORE, fewer)} == {
        "stress: outage: items lost [items]", "stress: stall: first drop after [s]",
    }  # fmt: skip
    assert drift(fewer, BEFORE)


def test_a_series_that_moved_is_one_row_with_its_worst_step():
    block = BEFORE.series["trace"]
    first = block.series[0].model_copy(update={"mean": (5.5, 7.5), "max": (5.0, 5.5)})
    moved = BEFORE.model_copy(
        update={"series": {"trace": block.model_copy(update={"series": (first, *block.series[1:])})}}
    )

    assert drift(BEFORE, moved) == [
        ("series.trace: requests_hz mean every 60 s [1/s], 2 of 2 steps, most in step 2", 5.0, 7.5),
        ("series.trace: requests_hz max every 60 s [1/s], 1 of 2 steps, most in step 2", 5.0, 5.5),
    ]


def test_texts_and_versions_are_no_drift():
    reworded = BEFORE.model_copy(update={"title": "other words", "warnings": (), "capsim_version": "9"})

    assert drift(BEFORE, reworded) == []


def test_a_run_and_a_comparison_cannot_drift_from_each_other():
    with pytest.raises(CapsimError, match=r"holds a run \(before\), this command makes a comparison"):
        drift(BEFORE, compare([BEFORE, AFTER]))


def test_changed_inputs_are_named():
    now = result_of([FakeRun(SCENARIO.replace("name", "before").replace("server.pool.limit", 20), seed=3)])

    assert changed_inputs(BEFORE, now) == [
        "before: scenario.server.pool.limit was 10, is 20", "before: seed was 0, is 3",
    ]  # fmt: skip


def test_sides_of_another_chance_are_named():
    other = result_of([FakeRun(SCENARIO.replace("name", "after"), seed=4)])

    assert unlike([BEFORE, AFTER]) == []
    assert unlike([BEFORE, AFTER, other]) == ["after: seed is 4, that of before 0"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("stress.load_factor", 5), ("stress.stall_s", 30), ("workload.queries_hz", 0.1), ("workload.rate_hz", 6),
        ("workload.scale", 2), ("workload.mix", {"events": 0.5, "revenue": 0.15, "heartbeats": 0.35}),
    ],
)  # fmt: skip
def test_sides_that_meet_another_load_mix_or_stress_are_refused(key, value):
    other = result_of([FakeRun(SCENARIO.replace("name", "mine").replace(key, value))])

    with pytest.raises(CapsimError, match=rf"mine: {key}.* is .*, that of before is ") as refused:
        compare([BEFORE, other])
    assert "--conditions" in refused.value.problems[-1]


def test_a_trace_is_what_is_in_it_and_not_its_name():
    def side(side_name, **load):
        return result_of([FakeRun(SCENARIO.replace("name", side_name), load=load)])

    compare([side("a", name="day", sha256="ab"), side("b", name="copy of day", sha256="ab")])
    with pytest.raises(CapsimError, match=r"workload.trace is .*sha256 cd"):
        compare([side("a", name="day", sha256="ab"), side("b", name="day", sha256="cd")])


def test_every_key_that_differs_is_listed_and_conditions_stand_apart():
    fault = [{"kind": "stall", "from_s": 5, "to_s": 9}]
    mine = SCENARIO.replace("name", "mine").replace("server.pool.limit", 20).replace("billing.plan", "pro")
    text = overview([BEFORE, result_of([FakeRun(mine.replace("database.faults", fault))])])
    met = text.index("What differs in what the sides meet")
    own = text.index("What differs in their configuration")

    assert met < text.index("database.faults") < own < text.index("server.pool.limit")
    assert "billing.plan" in text[own:] and "stress" not in text[own : text.index("Warnings")]
    assert "What differs" not in overview([BEFORE, AFTER])


def test_relative_change_of_nothing_is_no_number():
    assert Drift("a", 0.0, 5.0).relative is None
    assert Drift("a", 4.0, 5.0).relative == 0.25


@pytest.mark.parametrize("sides", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("replicates", [1, 3])
def test_tables_fit_the_screen(sides, replicates):
    results = [
        result_of(
            [FakeRun(SCENARIO.replace("name", f"after-as-deployed {i}"), 1_000.0 + 3 * r) for r in range(replicates)]
        )
        for i in range(sides)
    ]
    text = overview(results)

    assert max(map(len, text.splitlines())) <= WIDTH
    assert all(result.name in " ".join(text.split()) for result in results)


def test_three_sides_share_a_table_where_they_fit():
    text = overview([BEFORE, AFTER, BEFORE.model_copy(update={"name": "fixed"})])

    assert text.count("server rss mean") == 1 and "/ before" in text


def test_a_difference_below_what_is_shown_is_0_on_the_screen():
    close = result_of([FakeRun(SCENARIO.replace("name", "close"), level=100.00001)])
    line = next(line for line in overview([BEFORE, close]).splitlines() if line.startswith("server rss mean"))

    assert line.split() == ["server", "rss", "mean", "MiB", "100.0", "100.0", "0", "1.00"]


def test_an_interval_has_the_decimals_of_its_figure():
    close = result_of([FakeRun(level=level, replicate=i) for i, level in enumerate((100.0, 100.00001))])

    assert "100.0 ± 0.0" in overview([close])


def test_the_page_cache_bracket_stands_below_its_figure():
    lines = overview([BEFORE, AFTER]).splitlines()
    below = lines[next(i for i, line in enumerate(lines) if line.startswith("postgres billed mean")) + 1]

    assert below.split() == ["least..most", "page", "cache", "MiB", "90..110", "40..60"]


def test_the_screen_tells_memory_then_losses_then_stress_then_bill_then_warnings():
    text = overview([BEFORE, AFTER])
    places = [text.index(title) for title in ("Memory", "Losses", "Stress", "Bill", "Warnings")]

    assert places == sorted(places)


def test_a_long_drift_table_is_cut_and_says_so():
    text = drift_table([Drift(f"field {i}", 1.0, 2.0) for i in range(100)], most=40)

    assert "+100 %" in text and text.endswith("... and 60 more")


def test_a_range_never_runs_backwards():
    """A discount is smaller with less page cache, and negative."""
    line = BEFORE.bill["trace"][0].model_copy(update={"lower_usd": -3.0, "amount_usd": -4.0, "upper_usd": -5.0})
    side = BEFORE.model_copy(update={"bill": {"trace": (line,)}})

    for text in (overview([side]), overview([side, side.model_copy(update={"name": "b"})])):
        assert "-5.00..-3.00" in text


def test_nothing_over_nothing_is_no_ratio():
    assert ratio(0, 0) == "-"


def test_figures_have_one_address_each():
    names = [(f.section, f.window, f.name, f.unit) for f in figures(BEFORE)]

    assert len(set(names)) == len(names) > 30

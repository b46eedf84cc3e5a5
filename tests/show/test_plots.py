"""Plots hide nothing: peaks, gaps, caps, brackets; and a side looks the same everywhere."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt

from capsim.results.document import result_of
from capsim.results.run import simulate
from capsim.scenario.columns import LOSSES
from capsim.scenario.file import load
from capsim.scenario.scenario import Scenario
from capsim.show import plots
from capsim.show.console import overview
from capsim.workload import Trace
from fake_run import FakeRun, samples

matplotlib.use("Agg")

DAY = samples(minutes=1_440, level=100.0)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def bottom_and_top(ax):
    return ax.get_ylim()


def texts(ax):
    legend = [text.get_text() for text in ax.get_legend().get_texts()] if ax.get_legend() else []
    return [ax.get_title("left"), ax.get_title("right"), *(t.get_text() for t in ax.texts), *legend]


@pytest.mark.parametrize("draw", [plots.load, plots.memory, plots.services, plots.buffers, plots.losses])
def test_plots_over_time_take_axes_and_return_them(draw):
    ax = plt.figure().add_subplot()

    assert draw(plots.steps(DAY), ax=ax) is ax
    assert draw(plots.steps(DAY)) is not ax


@pytest.mark.parametrize("draw", [plots.load, plots.memory, plots.services, plots.buffers, plots.losses])
def test_both_axes_have_a_unit(draw):
    ax = draw(plots.steps(DAY))

    assert ax.get_xlabel().endswith("[h]") and ax.get_ylabel().endswith("]")


@pytest.mark.parametrize(("minutes", "unit"), [(2, "s"), (60, "min"), (1_440, "h"), (43_200, "days")])
def test_time_is_in_the_unit_that_people_would_use(minutes, unit):
    assert plots.load(plots.steps(samples(minutes, 1.0))).get_xlabel().endswith(f"[{unit}]")


def test_a_month_is_thinned_and_no_peak_is_lost():
    table = samples(minutes=43_200, level=100.0)
    table.loc[31_337, "server_rss_peak_mib"] = 900.0

    steps = plots.steps(table)

    assert len(steps) <= 750
    assert steps["server_rss_mib_max"].max() == 900.0
    assert bottom_and_top(plots.memory(steps))[1] > 900


def test_time_without_data_is_hatched_and_not_drawn_as_zero():
    steps = plots.steps(DAY)  # has load in its first two minutes only

    ax = plots.load(steps)

    assert steps["requests_hz"].isna().sum() == 719
    assert "no data" in texts(ax)


def test_a_cap_near_the_data_is_a_line_and_one_far_above_is_written():
    near = plots.memory(plots.steps(DAY), plots.Caps(heap_mib=150))
    far = plots.memory(plots.steps(DAY), plots.Caps(heap_mib=4_096))

    assert [line.get_ydata()[0] for line in near.get_lines()] == [150]
    assert not far.get_lines() and "far above this axis: heap cap 4,096 MiB" in texts(far)
    assert bottom_and_top(far)[1] < 200


def test_caps_come_from_the_scenario():
    before, after = plots.Caps.of(load("before")), plots.Caps.of(load("after"))

    assert (before.heap_mib, dict(before.buffer_rows)) == (None, {})
    assert after.heap_mib == 512 and set(after.buffer_rows.values()) == {1_000}


def test_no_loss_is_said_in_words():
    table = DAY.assign(**{c: 0 for c in DAY if c.endswith(LOSSES)})

    assert "no item is lost" in texts(plots.losses(plots.steps(table)))
    assert "no item is lost" not in texts(plots.losses(plots.steps(DAY)))


def test_the_bill_shows_amount_bracket_and_what_is_not_in_it():
    said = " ".join(texts(plots.bill(FakeRun().bill())))

    assert "10.00 USD\n(9.00 to 12.00)" in said
    assert "server backups (not modelled)" in said


def test_a_side_keeps_its_looks_in_every_company():
    alone, company = plots.looks(["after"]), plots.looks(["mine", "before", "after", "yours"])

    assert alone["after"] == company["after"]
    assert len(set(company.values())) == 4


def test_bills_beside_each_other_tell_what_each_pays():
    ax = plots.compare_bill({"before": FakeRun(level=100.0).bill(), "after": FakeRun(level=50.0).bill()})

    assert {"10.00 USD\n(9.00 to 12.00)", "5.00 USD\n(4.00 to 7.00)"} <= set(texts(ax))


def test_the_readers_own_style_is_left_alone():
    with matplotlib.rc_context({"axes.titlelocation": "center", "figure.figsize": (1, 1)}):
        ax = plots.load(plots.steps(DAY))

        assert matplotlib.rcParams["axes.titlelocation"] == "center"
        assert list(ax.figure.get_size_inches()) != [1, 1]


def test_the_rate_of_a_trace_keeps_its_busiest_minute():
    minute_us = 60_000_000
    counts = np.full(10_080, 60)
    counts[5_000] = 6_000
    trace = Trace.from_counts("week", np.arange(10_080) * minute_us, counts, minute_us)

    table = plots.rates(trace)

    assert len(table) <= 750
    assert table["requests_hz_max"].max() == 100
    assert (table["requests_hz"] * table["width_s"]).sum() == pytest.approx(trace.total)


def test_the_rate_of_a_trace_is_unknown_in_its_gaps():
    trace = Trace.from_counts("gap", [0, 60_000_000, 600_000_000], [60, 60, 60], 60_000_000)

    table = plots.rates(trace)

    assert table["requests_hz"].isna().sum() == 8
    assert table["requests_hz"].dropna().tolist() == [1, 1, 1]


def test_independent_minutes_have_a_local_dispersion_of_one_whatever_the_trend():
    minutes = np.arange(10_000)
    counts = np.random.Generator(np.random.Philox(1)).poisson(100 + minutes / 20)

    table = plots.dispersions(Trace.from_counts("ramp", minutes * 60_000_000, counts, 60_000_000)).iloc[0]

    assert table["dispersion_local"] == pytest.approx(1, abs=0.06)
    assert table["dispersion"] > 20


def several(replicas):
    spec = Scenario(name="x", workload={"rate_hz": 30, "duration_s": 240}, billing={"from": "2026-02-03"})
    return simulate(spec.replace("server.process.replicas", replicas), month=False)


def test_means_and_peaks_of_replicas_are_of_each_where_limits_are():
    """A mean over three processes is a sum, and their peak is of one: a band between them would run backwards."""
    run = several(3)
    thinned, caps = plots.steps(run.samples), plots.Caps.of(run.scenario)
    drawn = caps.each(thinned, ("server_rss_mib",))

    assert (thinned["server_rss_mib"] > thinned["server_rss_mib_max"]).any()
    assert (drawn["server_rss_mib"] <= drawn["server_rss_mib_max"] + 1e-9).all()
    for draw in (run.plot.memory, run.plot.buffers):
        assert draw().get_title("left").endswith(", each of 3 replicas")
    figures = run.summary().set_index("metric")
    assert figures.value["server_rss_mean_each"] == pytest.approx(figures.value["server_rss_mean"] / 3)
    assert figures.value["server_rss_mean_each"] <= figures.value["server_rss_peak"]
    bases = figures.basis[["server_rss_mean", "server_rss_peak"]].tolist()
    assert bases == ["modelled, all replicas", "modelled, each replica"]
    text = overview([result_of([run])])
    assert "(all replicas)" in " ".join(text.split()) and "(each replica)" in " ".join(text.split())
    assert "replica" not in overview([result_of([several(1)])])


def test_the_limit_of_the_server_is_not_drawn_for_postgres():
    table = plots.steps(samples(60, 100.0)).assign(postgres_billed_upper_mib=400.0)
    caps = plots.Caps(container_mib=256.0, postgres_mib=500.0)
    words = [text.get_text() for text in plots.services(table, caps).texts]

    assert "limit of server 256 MiB" in words and "limit of postgres 500 MiB" in words

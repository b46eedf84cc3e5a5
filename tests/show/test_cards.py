"""Objects show themselves: small, escaped, with units; and hand out tables and plots."""

from __future__ import annotations

import re
from types import SimpleNamespace

import matplotlib
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

import capsim as cs
from capsim.results.frames import Bill, Sweep
from capsim.scenario.scenario import Scenario
from capsim.show.findings_page import write
from capsim.show.html_repr import Line, card
from capsim.study.findings.document import Finding, Findings

matplotlib.use("Agg")

LOAD = {"rate_hz": 20, "duration_s": 120}
SPEC = Scenario(name="small", title="<b>bold</b>", workload=LOAD, billing={"from": "2026-02-03"})


@pytest.fixture(scope="module")
def run():
    return cs.simulate(SPEC, month=False)


@pytest.fixture(scope="module")
def things(run):
    finding = Finding(
        kind="wedge", part="events", disturbance="stall", happens="a writer <stops>", trigger=50.001,
        trigger_of="length", unit="s", precision=0.01, rate_hz=20, chances=(), lost=6667, heals_after_s=None,
        shows="nothing", alert="none", remedies=(), schedule="",
        series={"step_s": 1, "level_of": "largest buffer [rows]", "level": (0, 5), "lost_items": (0, 1),
                "disturbed_from_s": 0, "disturbed_to_s": 1},
    )  # fmt: skip
    found = Findings(
        capsim_version="0",
        name="small",
        title="",
        peak_hz=20,
        seed=0,
        findings=(finding,),
        targets=(),
        troubleshooting=(),
        provenance={},
    )
    trace = cs.Trace.from_counts("<load>", [0, 60_000_000], [3, 5], 60_000_000)
    result = cs.result_of([run])
    sweep = cs.sweep(SPEC, {"server.pool.limit": [2, 5]})
    return SimpleNamespace(
        scenario=SPEC, trace=trace, run=run, bill=run.bill("trace"), result=result, sweep=sweep,
        comparison=cs.compare({"one": result, "two": result}), finding=finding, findings=found,
    )  # fmt: skip


KINDS = ("scenario", "trace", "run", "bill", "result", "sweep", "comparison", "finding", "findings")
UNITS = {"sweep": "_mib", "trace": "1/s", "scenario": "rows", "findings": "items", "finding": "items"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_card_is_compact_and_has_units(things, kind):
    html = getattr(things, kind)._repr_html_()

    assert html.count("<tr>") <= 20 and len(html) < 8_000
    assert UNITS.get(kind, "USD") in html


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("bill", "sweep")])
def test_on_a_terminal_it_is_one_line(things, kind):
    assert len(repr(getattr(things, kind))) < 120 and "\n" not in repr(getattr(things, kind))


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_file_says_is_text_and_never_markup(things, kind):
    html = getattr(things, kind)._repr_html_()

    assert "<b>bold" not in html and "<load>" not in html and "<stops>" not in html


@pytest.mark.parametrize("kind", KINDS)
def test_every_object_gives_a_table(things, kind):
    frame = getattr(things, kind).to_frame()

    assert type(frame).__name__ == "DataFrame" and len(frame.columns) > 0


@pytest.mark.parametrize(
    ("kind", "plots"),
    [
        ("trace", ["rate", "dispersion"]),
        ("run", ["memory", "buffers"]),
        ("bill", ["lines"]),
        ("result", ["load", "memory", "services", "buffers", "losses", "bill"]),
        ("comparison", ["memory", "bill", "stress"]),
        ("finding", ["schedule"]),
    ],
)
def test_plots_hang_on_the_object_and_return_axes(things, kind, plots):
    for name in plots:
        ax = plt.figure().add_subplot()
        assert getattr(getattr(things, kind).plot, name)(ax=ax) is ax, name
        assert ax.has_data() and (ax.get_title("left") or ax.get_title())
    plt.close("all")


def test_a_sweep_plots_a_figure_against_its_key(things):
    ax = things.sweep.plot.means("server.pool.limit", "server_rss_mean_mib")

    assert isinstance(ax, Axes) and ax.get_xlabel() == "server.pool.limit"
    plt.close("all")


def test_what_is_cut_out_of_a_bill_or_a_sweep_is_a_plain_table(things):
    assert isinstance(things.bill, Bill) and not isinstance(things.bill[["line"]], Bill)
    assert isinstance(things.sweep, Sweep) and not isinstance(things.sweep.head(1), Sweep)


def test_the_card_of_a_run_says_what_its_tables_say(run):
    assert f"{run.to_frame().loc['server_rss_mean', 'value']:,.1f}" in run._repr_html_()


def test_completion_lists_the_keys_of_a_scenario_and_not_the_machinery():
    offered = [name for name in dir(SPEC.server.pool) if not name.startswith("_")]

    assert {"limit", "pool_timeout_s", "replace", "to_frame"} <= set(offered)
    assert not [name for name in offered if name.startswith(("model_", "parse_", "schema"))]
    assert {"server.pool.limit", "billing.from"} <= set(SPEC._ipython_key_completions_())


def test_a_key_is_read_by_its_dotted_name_and_a_wrong_one_names_the_nearest():
    assert SPEC["server.pool.limit"] == SPEC.server.pool.limit
    assert SPEC["server.pool"] is SPEC.server.pool
    with pytest.raises(KeyError, match=r"server\.pool\.limt: there is no such key; did you mean server\.pool\.limit"):
        SPEC["server.pool.limt"]


def test_the_table_of_a_scenario_has_units_and_meanings():
    table = cs.load("after").to_frame()

    assert table.loc["server.pool.pool_timeout_s", ["value", "unit"]].tolist() == [20.0, "seconds"]
    assert table["meaning"].str.len().gt(0).mean() > 0.9
    assert "server.lifecycle[0].kind" in table.index


def test_help_tells_what_each_key_means():
    assert "pool_timeout_s\n" in (type(SPEC.server.pool).__doc__ or "")


def test_a_card_without_figures_is_still_a_table():
    assert card("nothing", []).startswith("<table>")
    assert "<th scope" in card("one", [Line("a", ["1"], "s")])


def test_progress_true_makes_a_bar_and_changes_no_number(run, capsys):
    again = cs.simulate(SPEC, month=False, progress=True)

    assert again.samples.equals(run.samples)
    assert capsys.readouterr().out == ""


def test_the_index_of_a_findings_page_leads_to_each_finding(things, tmp_path):
    """By links, and the long parts are folded."""
    write(things.findings, tmp_path)
    page = (tmp_path / "findings.html").read_text(encoding="utf-8")

    targets = re.findall(r'<a href="#([^"]+)">', page)
    assert len(targets) == len(things.findings.findings)
    assert all(page.count(f'<h3 id="{target}">') == 1 for target in targets)
    assert page.count("<details>") == page.count("</details>") == 1

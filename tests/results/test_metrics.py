"""The registry of figures: what is declared is what every reader tells."""

from __future__ import annotations

from pathlib import Path

import pytest

import capsim as cs
from capsim.results.metrics import METRICS, SOME_RUNS, UNITS
from capsim.study.audit.figures import FIGURES
from capsim.study.slo import UNITS as OF_TARGETS
from capsim.study.sweeps.point import figures

HALF_AN_HOUR = {"rate_hz": 1, "duration_s": 1_800}
SPEC = cs.Scenario(name="x", workload=HALF_AN_HOUR, billing={"from": "2026-02-03"})
RUN = cs.simulate(SPEC, month=False)


def test_a_summary_has_every_figure_in_the_order_of_the_registry() -> None:
    table = RUN.summary()

    assert list(table["metric"]) == [name for name in METRICS if name not in SOME_RUNS]
    assert list(table["unit"]) == [METRICS[name].unit for name in table["metric"]]


def test_columns_of_a_sweep_targets_and_audit_follow() -> None:
    names = [name for name in METRICS if name not in SOME_RUNS]

    assert list(figures(RUN, "trace"))[: len(names)] == [METRICS[name].column for name in names]
    assert {name: OF_TARGETS[name] for name in names} == {name: METRICS[name].unit for name in names}
    assert set(names) <= set(FIGURES)


def test_figures_of_several_replicas_only_are_those_that_others_lack() -> None:
    two = cs.simulate(SPEC.replace("server.process", {"replicas": 2}), month=False)

    assert set(two.summary()["metric"]) - set(RUN.summary()["metric"]) == {
        "server_rss_mean_each", "server_heap_mean_each",
    }  # fmt: skip


@pytest.mark.parametrize("name", METRICS)
def test_every_figure_says_what_it_is(name: str) -> None:
    spec = METRICS[name]

    assert spec.meaning and spec.unit in UNITS and (spec.label or not spec.shown)


def test_the_site_lists_every_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Path(__file__).resolve().parents[2] / "docs/_site"
    if not site.is_dir():
        pytest.skip("the site's source is absent")
    monkeypatch.syspath_prepend(site)
    pages = pytest.importorskip("pages", reason="MkDocs is not installed", exc_type=ImportError)

    assert all(f"| `{name}` |" in pages.figures() for name in METRICS)

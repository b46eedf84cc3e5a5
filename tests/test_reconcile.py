"""Predicted beside billed: exports in the documented shapes, figures worked out on paper."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from capsim.billed import is_export, read_billed
from capsim.cli import main
from capsim.document import BillLine, Result, dumps
from capsim.errors import CapsimError
from capsim.reconcile import reconcile, schema_text

DATA = Path(__file__).parent / "data/billed"


def line(service: str, name: str, usd: float | None, quantity: float | None = 0.0, spread: float = 0.0) -> BillLine:
    return BillLine(
        service=service, line=name, quantity=quantity, unit="", price_usd=None, amount_usd=usd,
        lower_usd=None if usd is None else usd - spread, upper_usd=None if usd is None else usd + spread,
        basis="not modelled" if usd is None else "modelled", source="",
    )  # fmt: skip


@pytest.fixture
def result() -> Result:
    """A month: $8 of memory for the server, $3 for Postgres, a dollar of CPU, and backups that nobody models."""
    lines = (
        line("server", "memory", 8.0, 34_560.0, spread=2.5),
        line("server", "cpu", 1.0, 2_160.0),
        line("server", "egress", 0.1, 2.0),
        line("postgres", "memory", 3.0, 12_960.0),
        line("postgres", "backups", None, None),
        line("workspace", "total", 12.1),
    )
    return Result(
        capsim_version="0", name="x", title="", trace_span_s=60.0, replicates=1, summary={}, accounting=(), stress=(),
        warnings=(), series={}, bill={"month": lines}, provenance={"scenario": {"billing": {"from": "2026-02-03"}}},
    )  # fmt: skip


def test_quantities_are_priced_and_rows_of_one_line_added_up(result):
    lines = {(x.service, x.line): x for x in reconcile(result, [read_billed(str(DATA / "usage-graphql.json"))]).lines}

    memory = lines["server", "memory"]
    assert (memory.billed, memory.billed_usd, memory.ratio) == (43_200, 10.0, 0.8)  # 2 x 21,600 GB-minutes at $10
    assert memory.verdict == "inside"  # 5.5 to 10.5
    assert lines["postgres", "memory"].billed_usd == 2.0
    assert lines["postgres", "memory"].verdict == "above"
    assert lines["server", "egress"].verdict == "below"
    assert lines["postgres", "backups"].verdict == "not modelled"


def test_the_share_explained_counts_no_line_above_what_was_billed(result):
    found = reconcile(result, [read_billed(str(DATA / "usage-graphql.json"))])

    # 8 of 10, 2 of 2 (3 predicted), 1 of 1, 0.10 of 0.20, nothing of the backups' 0.15
    assert found.billed_usd == pytest.approx(13.35)
    assert found.explained == pytest.approx(11.1 / 13.35)
    assert found.beyond_usd == pytest.approx(1.0)


def test_dollars_of_the_whole_workspace_are_set_beside_the_sum_of_the_services(result):
    found = reconcile(result, [read_billed(str(DATA / "usage-cli.json"))])
    memory = next(x for x in found.lines if x.line == "memory")

    assert (memory.service, memory.predicted_usd, memory.billed_usd) == ("all services", 11.0, 12.0)
    assert memory.billed == pytest.approx(51_840)  # $12 at 10/43,200 a GB-minute
    assert "postgres backups" in " ".join(found.notes)


def test_projects_that_add_up_their_services_are_not_counted_twice():
    entries = read_billed(str(DATA / "usage-projects.json")).entries

    assert sum(e.usd for e in entries if e.meter == "memory") == 12.0
    assert {e.service for e in entries} == {"server", "postgres"}


def test_samples_are_held_until_the_next_and_a_gap_counts_nothing():
    billed = read_billed(f"server={DATA / 'metrics.json'}")

    # 0.5 and 1.0 for a minute each, 1.5 for two (of ten: the rest is a gap), the last for one
    assert [(e.service, e.meter, e.quantity) for e in billed.entries] == [("server", "memory", 5.5)]
    assert billed.minutes == 5
    assert any("gaps" in note for note in billed.notes)


def test_the_prediction_is_scaled_to_the_time_of_the_export(result):
    found = reconcile(result, [read_billed(f"server={DATA / 'metrics.json'}")])
    memory = next(x for x in found.lines if (x.service, x.line) == ("server", "memory"))

    assert memory.predicted == pytest.approx(34_560 * 5 / 43_200)
    assert any("scaled" in note for note in found.notes)


def test_a_line_in_two_exports_is_refused(result):
    once = read_billed(str(DATA / "usage-cli.json"))

    with pytest.raises(CapsimError, match="in another export already"):
        reconcile(result, [once, once])


@pytest.mark.parametrize("value", [-1, None, True, "7", float("nan")])
def test_impossible_values_are_refused(tmp_path, value):
    file = tmp_path / "u.json"
    file.write_text(json.dumps({"usage": [{"measurement": "CPU_USAGE", "value": value}]}))

    with pytest.raises(CapsimError, match=r"u\.json: CPU_USAGE is "):
        read_billed(str(file))


def test_compare_takes_an_export_as_a_side(tmp_path, result):
    (tmp_path / "result.json").write_text(dumps(result))
    sides = [str(tmp_path / "result.json"), str(DATA / "usage-graphql.json")]
    shown = CliRunner().invoke(main, ["compare", *sides])
    data = CliRunner().invoke(main, ["compare", *sides, "--json"])

    assert shown.exit_code == 0 and "83% of it explained" in shown.output
    assert json.loads(data.output)["kind"] == "reconciliation"
    assert not is_export(sides[0])


def test_two_scenarios_beside_an_export_are_refused():
    done = CliRunner().invoke(main, ["compare", "before", "after", str(DATA / "usage-cli.json")])

    assert done.exit_code == 2


def test_the_committed_schema_is_current():
    kept = Path(__file__).parents[1] / "data/schema/reconciliation.schema.json"

    assert kept.read_text(encoding="utf-8") == schema_text()

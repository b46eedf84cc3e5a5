"""Predicted beside billed: exports in the documented shapes, figures worked out on paper."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from capsim.base.document import dumps
from capsim.base.errors import CapsimError
from capsim.cli import main
from capsim.cost.billed import is_export, read_billed, read_series
from capsim.results.document import BillLine, Result
from capsim.telemetry.reconcile import reconcile, schema_text, screen

DATA = Path(__file__).parents[1] / "data/billed"
CASES = DATA / "cases"


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


def test_samples_are_held_until_the_next_and_the_share_they_tell_of_is_said(result):
    billed = read_billed(f"server={DATA / 'metrics.json'}")

    # 0.5 and 1.0 for a minute each, 1.5 for ten, the last for one; each sample tells of a minute
    assert [(e.service, e.meter, e.quantity) for e in billed.entries] == [("server", "memory", 17.5)]
    assert billed.minutes == 13 and billed.covered == pytest.approx((4 / 13, 4 / 13))
    assert "13 min, of which samples tell of 31%" in screen(reconcile(result, [billed])).replace("\n", " ")


def test_the_prediction_is_scaled_to_the_time_of_the_export(result):
    found = reconcile(result, [read_billed(f"server={DATA / 'metrics.json'}")])
    memory = next(x for x in found.lines if (x.service, x.line) == ("server", "memory"))

    assert memory.predicted == pytest.approx(34_560 * 13 / 43_200)
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
    kept = Path(__file__).parents[2] / "data/schema/reconciliation.schema.json"

    assert kept.read_text(encoding="utf-8") == schema_text()


# --- files that people really have: tests/data/billed/cases/README.md says what each is and what was made of it before

NOVEMBER = "2026-11-15T12:00Z"


@pytest.mark.parametrize(
    ("name", "options", "minutes", "billed_usd", "left_out_usd", "said"),
    [
        ("cli_metrics_raw", {}, 60, 0.010035, 0, "(service Postgres, production)"),
        ("cli_project_names", {}, 44_640, 13.2, 3.3, "worker, frontend = server added up; cache = redis"),
        ("cli_projects_deleted", {"until": NOVEMBER}, 20_880, 14.15, 11.2, "deleted service, none of the three"),
        ("cli_projects_project", {"until": NOVEMBER}, 20_880, 14.15, 0, "(project game)"),
        ("cli_usage_current", {"until": NOVEMBER}, 20_880, 7, 0, "up to 2026-11-15T12:00:00Z, as --until says"),
        ("cli_usage_previous", {}, 44_640, 13.35, 0, "the whole workspace Acme, all its projects"),
        ("gql_estimated", {}, 43_200, 7.87037, 0, "estimate of the end of the cycle"),
        ("gql_metrics", {}, 200, 0.01852, 0, "samples tell of 100%"),
        ("gql_metrics_one_empty", {}, 200, 0.00463, 0, "MEMORY_USAGE_GB has no samples"),
        ("gql_metrics_replicas", {}, 60, 0.00417, 0, "samples tell of 100%"),
        ("gql_metrics_two_services", {}, 200, 0.01852, 0, "a, b = all services added up"),
        ("gql_usage_ephemeral", {}, 43_200, 5, 0, "CPU_USAGE_2 is not known here"),
        ("gql_usage_two_projects", {}, 43_200, 7, 0, "2 projects: game, blog"),
        ("gql_usage_two_projects", {"project": "game"}, 43_200, 6, 0, "(project game)"),
        ("lineitems_newlabels", {}, 43_200, 20, 3, "Object Storage ($3.00) is not compared"),
    ],
)
def test_an_export_is_read_as_it_is_meant(result, name, options, minutes, billed_usd, left_out_usd, said):
    found = reconcile(result, [read_billed(str(CASES / f"{name}.json"), **options)])

    assert found.minutes == minutes
    assert found.billed_usd == pytest.approx(billed_usd, rel=1e-3)
    assert found.left_out_usd == pytest.approx(left_out_usd)
    assert said in " ".join(screen(found).split())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cli_metrics_summary", "has keys service, environment, window, cpu, memory; .*railway metrics .*--raw --json"),
        ("cli_usage_limit", "has keys action, workspace"),
        ("cli_usage_projects", "railway usage projects --project NAME --json"),
        ("gql_error", "has keys errors, data; it is an error of the API"),
        ("gql_metrics_empty", "its list is empty"),
        ("gql_usage_strings", "MEMORY_USAGE_GB is '21600.5'; it must be a number"),
        ("invoice", "is no export of use: has keys id, total"),
    ],
)
def test_what_is_no_export_of_use_is_named_by_its_keys(tmp_path, result, name, said):
    (tmp_path / "result.json").write_text(dumps(result))
    done = CliRunner().invoke(main, ["compare", str(tmp_path / "result.json"), str(CASES / f"{name}.json")])

    assert done.exit_code == 2 and done.output.count("\n") == 1
    assert re.search(said, done.output)


@pytest.mark.parametrize("name", ["cli_usage_current", "cli_projects_project"])
def test_a_running_period_ends_when_its_file_was_written(tmp_path, name):
    file = tmp_path / "usage.json"
    file.write_text((CASES / f"{name}.json").read_text())
    at = dt.datetime(2026, 11, 16, tzinfo=dt.UTC).timestamp()
    os.utime(file, (at, at))

    found = read_billed(str(file))
    assert found.minutes == 15 * 1_440 and any("the time of the file" in note for note in found.notes)


def test_a_running_period_whose_file_was_copied_later_is_asked_about(tmp_path):
    file = tmp_path / "usage.json"
    file.write_text((CASES / "cli_usage_current.json").read_text())
    at = dt.datetime(2026, 12, 3, tzinfo=dt.UTC).timestamp()
    os.utime(file, (at, at))

    with pytest.raises(CapsimError, match=r"still running .* say when it was exported: --until 2026-11-15T12:00Z"):
        read_billed(str(file))
    assert read_billed(str(file), "2026-11-15T12:00Z").minutes == 20_880  # what the message advises works


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("cli_usage_current", {"until": "2026-12-15T12:00Z"}, "give a time in it"),
        ("cli_usage_current", {"until": "soon"}, "--until is no time"),
        ("cli_usage_previous", {"until": NOVEMBER}, "leave --until out"),
        ("gql_usage_ephemeral", {"until": NOVEMBER}, "does not say when it begins"),
        ("cli_usage_previous", {"project": "game"}, "railway usage projects --project NAME --json"),
        ("cli_project_names", {"project": "blog"}, "is of project game, not of blog"),
        ("gql_usage_two_projects", {"project": "shop"}, "has no project shop; it has game, blog"),
    ],
)
def test_an_option_that_an_export_contradicts_is_refused(name, options, said):
    with pytest.raises(CapsimError, match=said):
        read_billed(str(CASES / f"{name}.json"), **options)


def test_the_command_lines_samples_serve_a_calibration():
    found = {(s.service, s.meter): s for s in read_series(str(CASES / "cli_metrics_raw.json"))}

    assert set(found) == {("postgres", "memory"), ("postgres", "cpu")}
    assert found["postgres", "memory"].at_s[0] == dt.datetime(2026, 11, 29, tzinfo=dt.UTC).timestamp()


def test_a_deployment_that_ended_is_not_held_to_the_end():
    billed = read_billed(str(CASES / "gql_metrics_replicas.json"))

    assert [e.quantity for e in billed.entries] == [pytest.approx(60 * 0.3)]  # half an hour each, one after the other


def test_dollars_of_a_service_beyond_its_lines_are_told(tmp_path):
    file = tmp_path / "p.json"
    file.write_text(json.dumps({"services": [{"name": "api", "memoryDollars": 2.0, "totalDollars": 5.0}]}))

    found = read_billed(str(file))
    assert found.left_out_usd == 3 and any("api was charged beyond its lines ($3.00)" in note for note in found.notes)

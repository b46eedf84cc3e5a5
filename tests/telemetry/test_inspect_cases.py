"""Every folder of cases: what was said of it on 30 November (da6f5a8), and what is right.

tests/data/cases/inspect.csv holds the table: server | SIGTERM reaches it | heap cap | replicas | draining | pool limit.
"?" is unknown, "-" a setting that does not apply, "refused" exit 2.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from capsim.cli import main

CASES = Path(__file__).parents[1] / "data/cases/inspect"
with CASES.with_suffix(".csv").open(encoding="utf-8", newline="") as table:
    ROWS = list(csv.DictReader(table))
SHOWN = (
    "server",
    "SIGTERM reaches the server",
    "heap cap [MiB]",
    "replicas",
    "draining [s]",
    "pool: connection_limit",
)


def inspected(name: str, *options: str) -> dict | None:
    """The document of a folder; None if it is refused."""
    done = CliRunner().invoke(main, ["inspect", str(CASES / name), "--json", *options])
    assert done.exit_code in (0, 2), done.output
    assert done.exit_code == 0 or done.output.startswith("capsim: "), done.output
    return json.loads(done.stdout) if done.exit_code == 0 else None


def settings(document: dict) -> dict:
    return {row["name"]: row["value"] for row in document["settings"]}


def facts(document: dict | None) -> str:
    """A row of the table."""
    if document is None:
        return "refused"
    found = settings(document)
    return " | ".join(_told(found[name]) if name in found else "-" for name in SHOWN)


def _told(value: object) -> str:
    if isinstance(value, bool):
        return ("no", "yes")[value]
    return "?" if value is None else str(value)


@pytest.mark.parametrize("row", ROWS, ids=[row["folder"] for row in ROWS])
def test_no_wrong_fact_is_stated_of_a_folder(row):
    assert facts(inspected(row["folder"])) == row["right"]


def test_every_folder_has_a_row():
    assert {path.name for path in CASES.iterdir()} == {row["folder"] for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=[row["folder"] for row in ROWS])
def test_an_outage_is_built_on_what_is_known_only(row):
    document = inspected(row["folder"]) or {"settings": [], "findings": []}
    unknown = {found["name"] for found in document["settings"] if found["value"] is None}
    harmful = {f["kind"] for f in document["findings"] if f["harm"] != "note"}

    assert not ("SIGTERM reaches the server" in unknown and "SIGTERM swallowed" in harmful)
    assert not ("heap cap [MiB]" in unknown and harmful & {"no heap cap", "heap cap misses the server"})
    assert not ("draining [s]" in unknown and "draining 0 s" in harmful)


def test_the_environment_is_chosen_by_its_name():
    found = settings(inspected("environments", "--environment", "production"))

    assert (found["replicas"], found["draining [s]"], found["memory limit [GB]"]) == (4, 60, 0.5)


@pytest.mark.parametrize(("name", "told"), [("environments", "has production"), ("cpu", "has none")])
def test_an_environment_without_a_block_is_told(name, told):
    document = inspected(name, "--environment", "prod")
    (finding,) = [f for f in document["findings"] if f["kind"] == "environments"]

    assert told in finding["what"] and settings(document)["replicas"] == 1


def test_a_job_is_no_server_and_no_scenario_is_made_of_it(tmp_path):
    document = inspected("cron")
    out = tmp_path / "job.toml"
    done = CliRunner().invoke(main, ["inspect", str(CASES / "cron"), "--write", str(out), "--on", "2026-02-03"])

    assert {"never restarted", "no health check"}.isdisjoint(f["kind"] for f in document["findings"])
    assert done.exit_code == 2 and "cronSchedule" in done.output and not out.exists()


def test_keys_that_railway_does_not_know_are_named_with_what_was_meant():
    (finding,) = [f for f in inspected("unknown_keys")["findings"] if f["kind"] == "key without effect"]

    for told in ("start", "env", "startCommand?", "healthcheckPath?", "numReplicas?", "restartPolicyType?"):
        assert told in finding["what"]


def test_one_service_of_several_is_asked_for_by_name():
    done = CliRunner().invoke(main, ["inspect", str(CASES / "fnpath")])

    assert done.exit_code == 2 and "web, api" in done.output and "--service" in done.output
    assert settings(inspected("fnpath", "--service", "api"))["server"] == "node dist/api.js"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"deploy": {"limitOverride": {"memory": 512}}}, "deploy.limitOverride.memory"),
        ({"deploy": {"limitOverride": {"containers": {"memory": 512}}}}, "(memoryBytes?)"),
        ({"deploy": {"multiRegionConfig": {"eu": {"replicas": 2}}}}, "(numReplicas?)"),
        ({"deploy": {"cron": "* * * * *"}}, "(cronSchedule?)"),
        ({"environments": {"pr": {"variables": {}}}}, "environments.pr.variables"),
        ({"envVars": {"A": "hunter2"}}, "envVars"),
    ],
)
def test_a_key_at_any_depth_without_effect_is_named_and_no_value_shown(tmp_path, data, told):
    (tmp_path / "railway.json").write_text(json.dumps(data))
    done = CliRunner().invoke(main, ["inspect", str(tmp_path), "--json"])
    (finding,) = [f for f in json.loads(done.stdout)["findings"] if f["kind"] == "key without effect"]

    assert told in finding["what"] and "hunter2" not in done.output


@pytest.mark.parametrize(("name", "data"), [("eas.json", {"build": {"production": {}}}), ("x.json", {"deploy": 1})])
def test_a_file_of_another_tool_is_of_no_known_kind(tmp_path, name, data):
    (tmp_path / name).write_text(json.dumps(data))
    done = CliRunner().invoke(main, ["inspect", str(tmp_path / name)])

    assert done.exit_code == 2 and "no known kind" in done.output


def test_an_unknown_server_in_a_large_container_gets_a_note_with_both_numbers(tmp_path):
    limit = {"limitOverride": {"containers": {"memoryBytes": 16_000_000_000}}}
    (tmp_path / "railway.json").write_text(json.dumps({"deploy": {"startCommand": "npm-run-all start:*", **limit}}))
    done = CliRunner().invoke(main, ["inspect", str(tmp_path), "--json"])
    (finding,) = [f for f in json.loads(done.stdout)["findings"] if "heap" in f["kind"]]

    assert finding["harm"] == "note" and "2,048 MiB" in finding["what"] and "15,259 MiB" in finding["what"]

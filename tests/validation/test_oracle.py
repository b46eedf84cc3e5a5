"""The recorded originals: the model reproduces every field of every case."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from capsim.base.errors import CapsimError
from capsim.cli import main
from capsim.validation.oracle import Case, differences, read_cases
from capsim.validation.oracle_model import play

KEPT = Path(__file__).parents[1] / "data" / "oracle" / "cases.json"
SHARED = Path(__file__).parents[3] / "shared" / "oracle" / "cases_open.json"


@pytest.mark.parametrize("case", read_cases(KEPT), ids=lambda case: case.id)
def test_model_does_what_the_original_did(case: Case) -> None:
    assert differences(case.expected, play(case)) == []


@pytest.mark.skipif(not SHARED.exists(), reason="the full set of recorded cases is not on this machine")
def test_model_does_what_the_original_did_in_every_open_case() -> None:
    result = CliRunner().invoke(main, ["validate", "oracle", str(SHARED), "--engine", "model"])

    assert result.output.splitlines()[-1] == "129 passed, 0 failed"
    assert result.exit_code == 0


def test_a_failure_names_case_field_expected_and_got(tmp_path: Path) -> None:
    case = json.loads(KEPT.read_text())[0]
    case["expected"]["final"]["flushed"] += 1
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps([case]))

    result = CliRunner().invoke(main, ["validate", "oracle", str(wrong), "--engine", "model"])

    got = case["expected"]["final"]["flushed"] - 1
    assert f"case {case['id']}" in result.output
    assert f"final.flushed: expected {got + 1}, got {got}" in result.output
    assert result.output.splitlines()[-1] == "0 passed, 1 failed"
    assert result.exit_code == 1


def test_a_field_too_many_or_too_few_is_a_difference() -> None:
    assert differences({"a": 1}, {"b": 1}) == ["a: expected 1, got nothing", "b: expected nothing, got 1"]
    assert differences([1], [1, 2], "rows") == ["rows: expected 1 entries, got 2"]
    assert differences(True, 1, "ok") == ["ok: expected true, got 1"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nonsense", "not JSON"),
        ("{}", "holds no list of cases"),
        ('[{"id": "x1"}]', "case x1: writer"),
    ],
)
def test_a_file_that_is_not_of_the_schema_is_refused_in_one_line(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "cases.json"
    path.write_text(text)

    with pytest.raises(CapsimError, match=problem) as refused:
        read_cases(path)
    assert len(refused.value.problems) == 1

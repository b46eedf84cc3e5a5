"""The recorded originals: the reference reproduces every field of every case, in virtual time."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from capsim.cli import main
from capsim.validation.oracle import Case, differences, read_cases
from capsim.validation.oracle_reference import play

KEPT = Path(__file__).parents[1] / "data" / "oracle" / "cases.json"
SHARED = Path(__file__).parents[3] / "shared" / "oracle" / "cases_open.json"


@pytest.mark.parametrize("case", read_cases(KEPT), ids=lambda case: case.id)
def test_reference_does_what_the_original_did(case: Case) -> None:
    assert differences(case.expected, play(case)) == []


def test_both_engines_are_counted_separately() -> None:
    result = CliRunner().invoke(main, ["validate", "oracle", str(KEPT)])

    assert result.output.splitlines()[-1] == f"{2 * len(read_cases(KEPT))} passed, 0 failed"
    assert result.exit_code == 0


@pytest.mark.skipif(not SHARED.exists(), reason="the full set of recorded cases is not on this machine")
def test_reference_does_what_the_original_did_in_every_open_case() -> None:
    result = CliRunner().invoke(main, ["validate", "oracle", str(SHARED), "--engine", "reference"])

    assert result.output.splitlines()[-1] == "129 passed, 0 failed"
    assert result.exit_code == 0

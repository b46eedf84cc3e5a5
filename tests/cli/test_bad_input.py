"""Bad input is answered in words; docs/bad-input.md says which, and is what is really said."""

from __future__ import annotations

from pathlib import Path

import pytest

import test_tool_faults
import test_workers
from bad_inputs import FAULTS, SECTIONS, Answer, Case, page, play

PAGE = Path(__file__).parents[2] / "docs" / "bad-input.md"
CASES = [case for cases in SECTIONS.values() for case in cases]
HANDLED = {"inspect"}  # commands that find something to say about what they are given


@pytest.fixture(scope="module")
def answers() -> dict[tuple[str, tuple[str, ...]], Answer]:
    pytest.importorskip("distributed", reason="the extra scale is not installed")
    return {(case.what, case.words): play(case) for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.words[0]}: {case.what}")
def test_it_is_one_line_or_a_few_and_nothing_is_left_behind(case: Case, answers) -> None:
    """A traceback would have been raised by `play`."""
    answer = answers[case.what, case.words]
    if answer.exit_code == 0:
        assert case.words[0] in HANDLED
    else:
        assert answer.exit_code == 2
        lines = answer.said.splitlines()
        assert 1 <= len(lines) <= 5 and all(line.startswith("capsim: ") for line in lines)
    assert answer.made == ()
    assert "secret" not in answer.said and "Traceback" not in answer.said


def test_the_page_is_what_is_said(answers) -> None:
    """Make it again with `python tests/helpers/bad_inputs.py > docs/bad-input.md`."""
    assert PAGE.read_text(encoding="utf-8") == page(answers)


def test_every_fault_on_the_page_is_played() -> None:
    played = vars(test_tool_faults) | vars(test_workers)
    assert all(callable(played[fault.test]) for fault in FAULTS)

"""The reference is a witness: it knows nothing of the model."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import capsim.validation.reference

PACKAGE = Path(capsim.validation.reference.__file__).parent
SHARED = {"specs", "parts", "plan", "tables", "errors", "units", "http_door", "workload", "trace", "reference"}


def imported(path: Path) -> set[str]:
    """Modules of capsim that a file names in an import, wherever in it, as their first part below capsim."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports would escape this test"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in found if name.startswith("capsim.")}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_the_reference_shares_only_what_both_sides_are_given(path: Path) -> None:
    assert imported(path) <= SHARED


def test_what_it_shares_does_not_lead_to_the_model_either() -> None:
    """Followed through every file of capsim, imports inside functions included."""
    root = PACKAGE.parent
    reached, to_see = set(), ["reference"]
    while to_see:
        part = to_see.pop()
        # specs words its errors by `scenario`, which reads files; `cards` shows whatever it is given. Neither plays.
        if part in reached or part in ("scenario", "cards"):
            continue
        reached.add(part)
        files = [root / f"{part}.py"] if (root / f"{part}.py").exists() else sorted((root / part).rglob("*.py"))
        for path in files:
            to_see += imported(path)

    assert not {"server", "memory", "run", "stress"} & reached

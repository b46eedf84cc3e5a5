"""The how-to pages do what they say: their files are written, their commands and programs run, in that order."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from capsim.cli import main

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "how-to").glob("*.md"))
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<kind>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<body>.*?)^ *```$", re.MULTILINE | re.DOTALL
)


def blocks(page: Path) -> list[tuple[str, str | None, str]]:
    """Language, title and text of each fenced block."""
    found = []
    for match in FENCE.finditer(page.read_text(encoding="utf-8")):
        lines = match["body"].splitlines()
        found.append((match["kind"], match["title"], "\n".join(line[len(match["indent"]) :] for line in lines) + "\n"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_shows_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = blocks(page)
    assert shown
    for kind, title, body in shown:
        if title is not None:
            Path(title).write_text(body, encoding="utf-8")
        elif kind == "sh":
            for line in body.splitlines():
                program, *words = shlex.split(line)
                assert program == "capsim"
                result = CliRunner().invoke(main, words, catch_exceptions=False)
                assert result.exit_code == 0, f"{line}\n{result.output}"
        else:
            assert kind == "python", f"{page.name}: a block of {kind} that nothing runs"
            exec(compile(body, str(page), "exec"), {"__name__": "page"})


def test_other_prices_are_really_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """The page about prices doubles that of memory."""
    monkeypatch.chdir(tmp_path)
    (program,) = [body for kind, _, body in blocks(ROOT / "docs/how-to/prices.md") if kind == "python"]
    space: dict[str, object] = {}
    exec(program, space)
    ours, mine = (space[name].set_index(["service", "line"]).amount_usd for name in ("ours", "mine"))

    assert mine["server", "memory"] == pytest.approx(2 * ours["server", "memory"], abs=0.02)
    assert mine["server", "cpu"] == ours["server", "cpu"]

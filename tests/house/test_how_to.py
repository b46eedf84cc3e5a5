"""The how-to pages and the first hour do what they say: their files are written, their commands and programs run.

In that order; a console shows what commands answer, with "..." for lines left out.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from capsim.cli import main

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs" / "how-to").glob("*.md")), ROOT / "docs" / "first-hour.md"]
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


def typed(command: str) -> tuple[int, str]:
    """Exit code and output of a command."""
    program, *words = shlex.split(command)
    assert program == "capsim"
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    return result.exit_code, result.output


def consoles(body: str) -> list[tuple[str, list[str]]]:
    """Commands of a console, each with the lines that it is said to answer."""
    return [
        (command, lines)
        for command, *lines in (part.splitlines() for part in re.split(r"^\$ ", body, flags=re.MULTILINE) if part)
    ]


def like(shown: list[str], output: list[str]) -> bool:
    """Whether the output is what is shown, where "..." stands for any number of lines."""
    if not shown:
        return not output
    if shown[0] == "...":
        return any(like(shown[1:], output[place:]) for place in range(len(output) + 1))
    return bool(output) and shown[0].split() == output[0].split() and like(shown[1:], output[1:])


def test_what_is_shown_is_compared() -> None:
    assert like(["a", "...", "d"], ["a", "b", "c", "d"]) and like(["..."], [])
    assert not like(["a", "...", "d"], ["a", "b", "d", "c"]) and not like(["a"], ["a", "b"])


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
                command, _, into = line.partition(" > ")
                code, output = typed(command)
                assert code == 0, f"{line}\n{output}"
                if into:
                    Path(into).write_text(output, encoding="utf-8")
        elif kind == "console":
            for command, shown_lines in consoles(body):
                code, output = typed(command)
                assert code == (2 if shown_lines[0].startswith("capsim: ") else 0), f"{command}\n{output}"
                assert like(shown_lines, output.splitlines()), f"{command}\n{output}"
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

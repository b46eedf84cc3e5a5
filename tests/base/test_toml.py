"""Files of tables: whatever is wrong with one is said in one line, and by every door alike."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from capsim.base.errors import CapsimError
from capsim.base.toml_text import DEEPEST, read_toml, toml_of
from capsim.scenario.file import load
from capsim.scenario.prices import read_prices
from capsim.scenario.providers import read_sizes
from capsim.study import slo
from capsim.study.audit import claims
from capsim.workload.companion import read_companion

DOORS = {
    "scenario": load,
    "prices": read_prices,
    "sizes": read_sizes,
    "targets": lambda path: slo.read(str(path)),
    "claims": claims.read,
    "companion": lambda path: read_companion(path.with_name("x")),
}
ABSURD = "{}: an absurdly long number or deep nesting; give plain tables"
WRONG = {
    "no TOML": (b"a = 1\nb =\n", '{}:2:4: "b =": not TOML: Invalid value'),
    "no text": (b"a = '\xff'", "{}: byte 5 is not UTF-8; save the file as UTF-8 text"),
    "a number of 5,000 digits": (b"a = " + b"9" * 5_000, ABSURD),
    "lists in lists": (b"a = " + b"[" * 3_000 + b"]" * 3_000, ABSURD),
    "a key that takes hours": (b"a" + b".a" * 500_000 + b" = 1", ABSURD),
    "a table that takes hours": (b"[a" + b" . 'b'" * 100_000 + b"]", ABSURD),
    "tables in tables": (b"".join(b"[a" + b".a" * depth + b"]\n" for depth in range(70)), ABSURD),
    "too much": (b"#" * (1 << 20) + b"#", "{}: larger than 1 MiB, so it is no "),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("wrong", WRONG)
def test_every_door_words_it_alike(tmp_path, door, wrong):
    content, expected = WRONG[wrong]
    path = tmp_path / "x.run.toml"
    path.write_bytes(content)

    with pytest.raises(CapsimError) as refused:
        DOORS[door](path)

    assert len(refused.value.problems) == 1
    assert refused.value.problems[0].startswith(expected.format(path))


@pytest.mark.parametrize("door", DOORS)
def test_a_mark_at_the_beginning_of_a_file_is_no_text(tmp_path, door):
    """Editors of Windows write one."""
    path = tmp_path / "x.run.toml"
    path.write_bytes(b"\xef\xbb\xbfwrong = 1\n")

    with pytest.raises(CapsimError, match=r"wrong|is missing|Field required"):
        DOORS[door](path)


def test_what_never_ends_is_refused_after_its_bound():
    if not os.path.exists("/dev/zero"):
        pytest.skip("no /dev/zero on this system")

    with pytest.raises(CapsimError, match="larger than 1 MiB, so it is no price file; give another"):
        read_toml(Path("/dev/zero"), "zero", what="price file", remedy="give another")


def test_a_file_as_large_as_the_bound_is_read(tmp_path):
    path = tmp_path / "x"
    path.write_text("a = 1\n".ljust(1 << 20, "#"))

    assert read_toml(path, "x", what="table", remedy="give it") == {"a": 1}


def test_a_file_that_is_missing_or_impossible_is_named(tmp_path):
    for path, missing, expected in (
        (tmp_path / "none", "", "x: cannot be read (No such file or directory); give it"),
        (tmp_path / "none", "there is none", "x: there is none"),
        (tmp_path, "there is none", "x: cannot be read (Is a directory); give it"),
        (Path("a\0b"), "there is none", "x: cannot be read (embedded null byte); give it"),
    ):
        with pytest.raises(CapsimError) as refused:
            read_toml(path, "x", what="table", remedy="give it", missing=missing)
        assert refused.value.problems == (expected,)


@pytest.mark.timeout(60)  # a search that starts at every letter takes hours
def test_a_large_text_without_keys_is_searched_at_once():
    for part in ("a", "a.", "a . ", '"', "'\"", "a" + ".a" * 60 + " ", " ", "\n", "a" * 1_000 + "."):
        text = part * ((1 << 20) // len(part))
        with pytest.raises(CapsimError):
            toml_of(f"{text}\n=", "x")


def test_tables_may_be_as_deep_as_any_of_ours():
    assert toml_of("a" + ".a" * (DEEPEST - 2) + " = 1", "x")
    assert toml_of("a = " + "[" * (DEEPEST - 1) + "]" * (DEEPEST - 1), "x")
    assert toml_of(f"a = '{'. ' * 9_000}'  # {'1.2 ' * 9_000}", "x")

    many = DEEPEST
    for text in ("a" + ".a" * many + " = 1", "a = " + "[" * many + "]" * many, "a" + " . 'a'" * many + "=1",
                 "a = " + "[" * 2 * many + "]" * 2 * many):  # fmt: skip
        with pytest.raises(CapsimError):
            toml_of(text, "x")

"""TOML: files are read with a bound and refused in one line with place and text, and values shown as one types them."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from capsim.base.errors import CapsimError

LARGEST_FILE_BYTES = 1 << 20  # tables are a few kilobytes: a larger file is something else, given by mistake
DEEPEST = 64  # tables within tables; none of ours goes beyond a handful
# tomllib takes a time that grows with the square of the parts of a key: 20 s for 20,000 of them.
_PART = r"(?:[\w-]++|\"[^\"\n]*+\"|'[^'\n]*+')"
_LONG_KEY = re.compile(rf"(?<![\w.-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{DEEPEST},}}")


def read_toml(
    path: Path, source: str, *, what: str, remedy: str, missing: str = "", error: type[CapsimError] = CapsimError
) -> dict[str, Any]:
    """The tables of a file.

    Parameters
    ----------
    path : Path
    source : str
        What to call it: begins every problem.
    what, remedy : str
        What the file should be, "scenario" say, and what to do if it cannot be read.
    missing : str, optional
        What to say if there is no such file.
    error : type of CapsimError
        What to raise.

    Examples
    --------
    >>> read_toml(Path("none.toml"), "none.toml", what="price file", remedy="give a price file")
    Traceback (most recent call last):
    ...
    capsim.base.errors.CapsimError: none.toml: cannot be read (No such file or directory); give a price file
    """
    return toml_of(text_of(path, source, what=what, remedy=remedy, missing=missing, error=error), source, error)


def text_of(
    path: Path, source: str, *, what: str, remedy: str, missing: str = "", error: type[CapsimError] = CapsimError
) -> str:
    """The text of a file; see `read_toml`."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
        if len(content) > LARGEST_FILE_BYTES:
            raise error(f"{source}: larger than 1 MiB, so it is no {what}; {remedy}")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"{source}: byte {problem.start} is not UTF-8; save the file as UTF-8 text") from None
    except (OSError, ValueError) as problem:  # a name with a zero byte is no value for a file
        if missing and isinstance(problem, FileNotFoundError):
            raise error(f"{source}: {missing}") from None
        raise error(f"{source}: cannot be read ({getattr(problem, 'strerror', problem)}); {remedy}") from None


def toml_of(text: str, source: str, error: type[CapsimError] = CapsimError) -> dict[str, Any]:
    """The tables of a text.

    Examples
    --------
    >>> toml_of("a = 1\\nb =", "x.toml")
    Traceback (most recent call last):
    ...
    capsim.base.errors.CapsimError: x.toml:2:4: "b =": not TOML: Invalid value
    """
    try:
        return tables(text)
    except tomllib.TOMLDecodeError as problem:
        raise error(_syntax_problem(str(problem), text, source)) from None
    except (ValueError, RecursionError):
        raise error(f"{source}: an absurdly long number or deep nesting; give plain tables") from None


def shown(value: Any) -> str:
    """A value as it would be typed into the file, cut where it is long.

    Examples
    --------
    >>> shown("hobby"), shown(True)
    ('"hobby"', 'true')
    """
    if isinstance(value, dict | list | tuple):
        return "a table" if isinstance(value, dict) else f"a list of {len(value)}" if value else "[]"
    if isinstance(value, str | bool):
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = f"{value:.10g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _depth(data: dict[str, Any]) -> int:
    """Tables within tables; `DEEPEST` and one where there are more."""
    level: list[Any] = [data]
    for depth in range(DEEPEST + 1):
        level = [
            inner
            for table in level
            for inner in (table.values() if isinstance(table, dict) else table)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return depth + 1
    return DEEPEST + 1


def tables(text: str) -> dict[str, Any]:
    """What `tomllib` says, of as many tables within tables as any reader can follow.

    Raises
    ------
    tomllib.TOMLDecodeError
        If it is not TOML.
    ValueError, RecursionError
        If a number is absurdly long, or tables, lists or the parts of a key are more than `DEEPEST`.
    """
    if _LONG_KEY.search(text):
        raise ValueError("a key of too many parts")
    data = tomllib.loads(text)
    if _depth(data) > DEEPEST:
        raise ValueError("tables nested too deep")
    return data


def _syntax_problem(message: str, text: str, source: str) -> str:
    what, _, where = message.rstrip(")").rpartition(" (at ")
    place = re.fullmatch(r"line (\d+), column (\d+)", where)
    lines = text.splitlines() or [""]
    line = int(place[1]) if place else len(lines)
    column = int(place[2]) if place else len(lines[-1]) + 1
    # tomllib points behind the statement, which after a line break is the line that follows it.
    written = lines[min(line, len(lines)) - 1].strip()
    twice = re.match(r"Cannot (overwrite|declare)", what)
    problem = "this key or table was already given; leave one of them out" if twice else f"not TOML: {what}"
    return f"{source}:{line}:{column}: {shown(written)}: {problem}"

"""JSON, TOML and .env as plain data: what cannot be taken is refused with file and line."""

from __future__ import annotations

import io
import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

from capsim.base.errors import CapsimError
from capsim.base.toml_text import tables
from capsim.telemetry.inspect.grammar import EXTRA


def json_of(text: str, source: str) -> Any:
    """Any JSON value, all of whose texts are Unicode.

    Raises
    ------
    CapsimError
        If it is no JSON, nested without sense, or holds half a surrogate pair, which no platform would take.
    """
    try:
        data = json.loads(text)
        json.dumps(data, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise CapsimError(f"{source}:{error.lineno}:{error.colno}: is not JSON ({error.msg}); correct it") from None
    except UnicodeEncodeError:
        raise CapsimError(f"{source}: half a surrogate pair (\\ud800 to \\udfff) is no text; correct it") from None
    except (ValueError, RecursionError):
        raise CapsimError(f"{source}: an absurdly long number or deep nesting; give plain tables") from None
    return data


def json_table(text: str, source: str) -> dict[str, Any]:
    """A JSON object."""
    data = json_of(text, source)
    if not isinstance(data, dict):
        raise CapsimError(f"{source}: holds no object; write {{ ... }}")
    return data


def toml_table(text: str, source: str) -> dict[str, Any]:
    """A TOML document."""
    try:
        return tables(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"line (\d+), column (\d+)", str(error))
        place = f":{where[1]}:{where[2]}" if where else ""
        raise CapsimError(f"{source}{place}: is not TOML; correct it") from None
    except (ValueError, RecursionError):
        raise CapsimError(f"{source}: an absurdly long number or deep nesting; give plain tables") from None


MOST_BLANKS = 200  # dotenv takes a time that grows with the square of a row of them: an hour for a mebibyte
_BLANKS = re.compile(rf"(?<![^\S\n])[^\S\n]{{{MOST_BLANKS}}}")


def variables_of(text: str, source: str) -> Iterator[tuple[str, str, int]]:
    try:
        from dotenv.parser import parse_stream
    except ModuleNotFoundError:
        raise CapsimError(EXTRA) from None

    if found := _BLANKS.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise CapsimError(f"{source}:{line}: {MOST_BLANKS} blanks in a row; take them out")
    # Line ends of Windows would otherwise stay at the end of values without quotes.
    for binding in parse_stream(io.StringIO(text.replace("\r\n", "\n"))):
        before = len(binding.original.string) - len(binding.original.string.lstrip("\n"))
        line = binding.original.line + before
        if binding.error:
            raise CapsimError(f"{source}:{line}: is no NAME=value; correct the line, or begin it with #")
        if binding.key is not None and binding.value is not None:
            yield binding.key, binding.value, line

"""JSON and TOML as plain data: what cannot be taken is refused with file and line."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

from capsim.base.errors import CapsimError
from capsim.base.toml_text import tables


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

""".env as the service's variables: quotes, comments, `export`, Windows line ends; nothing is interpolated."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

from capsim.base.errors import CapsimError
from capsim.telemetry.inspect.grammar import EXTRA

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

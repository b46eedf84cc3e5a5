"""The one way in which capsim refuses its input."""

from __future__ import annotations

import re

LONGEST_PROBLEM = 1_000  # characters; file, place and remedy stay, what is cut is a value from the middle


class CapsimError(Exception):
    """Bad input, told in one line a problem: file, place, value and remedy.

    The command line prints each of ``problems`` on stderr and exits with 2; it never shows a traceback. Whatever was
    quoted from the input, a problem can be printed, and is short enough to be read.

    Examples
    --------
    >>> str(CapsimError("a.toml: [server.pool] limit is 0; give 1 or more"))
    'a.toml: [server.pool] limit is 0; give 1 or more'
    """

    def __init__(self, *problems: str) -> None:
        self.problems = tuple(map(printable, problems))
        super().__init__("\n".join(self.problems))


_USER = re.compile(r"(?<![^\s/'\"(])(?!user:password@)[^\s/:@]+:(?!/)[^\s@]+@")
_QUERY = re.compile(r"(?i)\bhttps?:/{1,2}[^\s?]*\?\S+")
_VALUE = re.compile(r"=[^&\s]*?(?=[:;,.]?(?:&|$))")
# The search for addresses takes a time that grows with the square of a word: hours for one of a mebibyte.
_SEARCHED, _LONG_WORD = 10_000, re.compile(r"(?<!\S)\S{2000,}")
_PUNCTUATION = ";,.:)'\""
_SECRET_FROM = re.compile(r"[:@?=]")


def concealed(text: str) -> str:
    """A text in which no address shows its user, its password, or (of http) the values of its query.

    Whoever gives an address where a file is meant finds it in the message, and messages end up in logs.

    Examples
    --------
    >>> concealed("http://me:secret@host/api?token=abc: no such file")
    'http://...@host/api?token=...: no such file'
    """
    text = _searchable(text)
    return _QUERY.sub(lambda found: _VALUE.sub("=...", found[0]), _USER.sub("...@", text))


def _searchable(text: str) -> str:
    """A text without its middle and the ends of its words where they are long, so that no secret is cut in two."""
    text = _LONG_WORD.sub(_beginning, text)
    if len(text) <= 2 * _SEARCHED:
        return text
    head, tail = text[:_SEARCHED].rsplit(None, 1)[0], text[-_SEARCHED:].split(None, 1)[-1]
    return f"{head} [...] {tail}"


def _beginning(word: re.Match[str]) -> str:
    """A long word up to what may be a secret, and the punctuation at its end."""
    end = word[0][-3:]
    return f"{_SECRET_FROM.split(word[0][:100])[0]}[...]{end[len(end.rstrip(_PUNCTUATION)) :]}"


def printable(text: str) -> str:
    """A text that any UTF-8 output takes: half surrogates escaped, no password, and the middle left out if it is long.

    Examples
    --------
    >>> printable("a \\ud800")
    'a \\\\ud800'
    """
    text = concealed(text.encode("utf-8", "backslashreplace").decode())
    if len(text) <= LONGEST_PROBLEM:
        return text
    return f"{text[: LONGEST_PROBLEM * 2 // 3]} [...] {text[-LONGEST_PROBLEM // 3 :]}"


class ScenarioError(CapsimError):
    """A scenario that cannot be read, or that describes no possible server."""


class TraceError(CapsimError):
    """A recorded load that cannot be read or used."""


class PriceError(CapsimError):
    """A price, plan or date that the tables do not have."""

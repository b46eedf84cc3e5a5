"""The one way in which capsim refuses its input."""

from __future__ import annotations

import errno
import re

# What the system says when it is the machine that has no more to give.
RAN_OUT = frozenset({
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN,
})  # fmt: skip
LONGEST_PROBLEM = 1_000  # characters; file, place and remedy stay, what is cut is a value from the middle


class CapsimError(Exception):
    """Bad input, told in one line a problem: file, place, value and remedy.

    The command line prints each of ``problems`` on stderr and exits with ``exit_code``; it never shows a traceback.
    Whatever was quoted from the input, a problem can be printed, and is short enough to be read.

    Examples
    --------
    >>> str(CapsimError("a.toml: [server.pool] limit is 0; give 1 or more"))
    'a.toml: [server.pool] limit is 0; give 1 or more'
    """

    exit_code = 2

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


# All but tab and line end; and what turns the direction of writing round, by which a name can look like another one.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    r"""A text whose control characters are shown rather than obeyed, by a terminal or in a log.

    Examples
    --------
    >>> visible("a\x1b[31mred")
    'a\\x1b[31mred'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def printable(text: str) -> str:
    """A text for any output: no control characters, no half surrogates, no password; the middle left out if long.

    Examples
    --------
    >>> printable("a \\ud800")
    'a \\\\ud800'
    """
    text = visible(concealed(text.encode("utf-8", "backslashreplace").decode()))
    if len(text) <= LONGEST_PROBLEM:
        return text
    return f"{text[: LONGEST_PROBLEM * 2 // 3]} [...] {text[-LONGEST_PROBLEM // 3 :]}"


class MachineError(CapsimError):
    """The machine has failed, not the input: a worker died, memory, disk or files ran out."""

    exit_code = 3


def unwritten(place: object, error: OSError, remedy: str) -> CapsimError:
    """What could not be written: the machine's failure if something ran out, bad input if the place is unusable.

    Examples
    --------
    >>> unwritten("out", OSError(28, "No space left on device"), "free some space").exit_code
    3
    """
    kind = MachineError if error.errno in RAN_OUT else CapsimError
    return kind(f"{place}: cannot be written ({error.strerror}); {remedy}")


class ScenarioError(CapsimError):
    """A scenario that cannot be read, or that describes no possible server."""


class TraceError(CapsimError):
    """A recorded load that cannot be read or used."""


class PriceError(CapsimError):
    """A price, plan or date that the tables do not have."""

"""The one way in which capsim refuses its input."""

from __future__ import annotations


class CapsimError(Exception):
    """Bad input, told in one line a problem: file, place, value and remedy.

    The command line prints each of ``problems`` on stderr and exits with 2; it never shows a traceback.

    Examples
    --------
    >>> str(CapsimError("a.toml: [server.pool] limit is 0; give 1 or more"))
    'a.toml: [server.pool] limit is 0; give 1 or more'
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ScenarioError(CapsimError):
    """A scenario that cannot be read, or that describes no possible server."""


class TraceError(CapsimError):
    """A recorded load that cannot be read or used."""


class PriceError(CapsimError):
    """A price, plan or date that the tables do not have."""

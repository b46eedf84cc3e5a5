"""A value that was not read: never a default, and never stated as a fact."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Unknown:
    """What stands where a value would, if it was not read.

    Parameters
    ----------
    why : str
        What kept it from being read, as the end of "unknown: ...". Never the text of a file: it may hold a secret.
    place : str
        File, and line or key.

    Examples
    --------
    >>> str(Unknown("a reference to another variable", ".env:3"))
    'unknown: a reference to another variable'
    """

    why: str
    place: str

    def __str__(self) -> str:
        return f"unknown: {self.why}"

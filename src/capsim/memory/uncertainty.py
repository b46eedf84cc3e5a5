"""How far each constant of the memory model may be off, as a range of numbers.

`Constant.error` is written for people. Here it is read: a range, a plus-minus, a factor. Where nothing was measured
that could be read, a quarter either way is *assumed*, and the table says so.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from capsim.memory.constants import CONSTANTS, Constant

ASSUMED_SHARE = 0.25  # either way, where no error is known
SIGMAS = 2  # an rms residual is taken twice, about 95 % of normal errors
FIXED = ("exact", "in every run", "one segment", "reached, not passed", "8192 / 1365", "version")


class Residual(NamedTuple):
    """The range in which a constant may lie, in the constant's unit."""

    low: float
    high: float
    basis: Literal["measured", "assumed"]


def residual(constant: Constant) -> Residual | None:
    """The range of one constant; None for one that is known exactly.

    Examples
    --------
    >>> from capsim.memory.constants import CONSTANTS
    >>> byname = {c.name: c for c in CONSTANTS}
    >>> residual(byname["revenue_row"])
    Residual(low=1087.0, high=1151.0, basis='measured')
    >>> residual(byname["pg_wal_revenue"])
    Residual(low=547.5, high=912.5, basis='assumed')
    >>> residual(byname["growing_step"]) is None
    True
    """
    value, error = constant.value, constant.error
    if any(word in error for word in FIXED) or constant.error == f"{constant.value:.4f}":
        return None
    found = constant.bracket or _rms(value, error)
    if found is None:
        return Residual(value * (1 - ASSUMED_SHARE), value * (1 + ASSUMED_SHARE), "assumed")
    low, high = min(found[0], value), max(found[1], value)
    return Residual(low, high, "measured")


def _rms(value: float, error: str) -> tuple[float, float] | None:
    """A residual that is given as one number, in the constant's unit."""
    match = re.match(r"(?:rmse?|<=) (\d+(?:\.\d+)?)", error)
    if match is None:
        return None
    off = SIGMAS * float(match[1])
    return max(value - off, 0.0), value + off


def residuals() -> dict[str, Residual]:
    """The ranges of all constants that are not exact, by name.

    Examples
    --------
    >>> "pg_wal_event" in residuals(), "pg_wal_max" in residuals()
    (True, False)
    """
    found = {constant.name: residual(constant) for constant in CONSTANTS}
    return {name: span for name, span in found.items() if span is not None}

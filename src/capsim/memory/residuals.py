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
_NUMBER = r"(\d+(?:\.\d+)?)"


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
    found = _read(value, error)
    if found is None:
        return Residual(value * (1 - ASSUMED_SHARE), value * (1 + ASSUMED_SHARE), "assumed")
    low, high = min(found[0], value), max(found[1], value)
    return Residual(low, high, "measured")


def _read(value: float, error: str) -> tuple[float, float] | None:
    if match := re.match(rf"(?:\+-|<= ){_NUMBER}( %)?", error):
        off = float(match[1]) * (value / 100 if match[2] else 1)
        return value - off, value + off
    if match := re.match(rf"rmse? {_NUMBER}|rms {_NUMBER}", error):
        off = SIGMAS * float(match[1] or match[2])
        return max(value - off, 0.0), value + off
    if match := re.match(rf"factor {_NUMBER}", error):
        return value / float(match[1]), value * float(match[1])
    if match := re.match(rf"{_NUMBER}-{_NUMBER}( %)?( per 1000)?", error):
        unit = 0.01 if match[3] else 0.001 if match[4] else 1.0
        return float(match[1]) * unit, float(match[2]) * unit
    return None


def residuals() -> dict[str, Residual]:
    """The ranges of all constants that are not exact, by name.

    Examples
    --------
    >>> "pg_wal_event" in residuals(), "pg_wal_max" in residuals()
    (True, False)
    """
    found = {constant.name: residual(constant) for constant in CONSTANTS}
    return {name: span for name, span in found.items() if span is not None}

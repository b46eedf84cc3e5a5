"""How far each constant of the memory model may be off, as a range of numbers.

`Constant.error` is written for people. Here it is read: a range, a plus-minus, a factor. Where nothing was measured
that could be read, a quarter either way is *assumed*, and the table says so.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Literal, NamedTuple

from capsim.base.errors import CapsimError
from capsim.memory.constants import CONSTANTS, Constant, assuming, bracket

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
    found = bracket(constant) or _rms(value, error)
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


@contextmanager
def overridden(values: Mapping[str, float]) -> Iterator[None]:
    """Let several constants have other values for a while, in this process.

    How often a request of the HTTP loop waits for a collection is worked out once, when the loop is imported, and
    does not follow.

    Raises
    ------
    CapsimError
        If there is no constant of that name.

    Examples
    --------
    >>> from capsim.memory.constants import value
    >>> with overridden({"event_row": 2400.0}):
    ...     value("event_row")
    2400.0
    >>> value("event_row")
    2387
    """
    known = [constant.name for constant in CONSTANTS]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "cs.constants() lists them"
            raise CapsimError(f"constants.{name}: there is no such constant; {hint}")
    with ExitStack() as stack:
        for name, number in values.items():
            stack.enter_context(assuming(name, number))
        yield

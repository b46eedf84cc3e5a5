"""Machine code for loops that no array pass can do, kept between runs where there is a place to keep it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Any:
    """A function compiled by numba at its first call.

    numba keeps the code beside the module or in the user's cache folder, and raises where it can write to neither (a
    read-only installation, run by a user without a home). It is then compiled anew in every process, a few seconds.

    Examples
    --------
    >>> compiled(lambda x: x + 1)(1)
    2
    """
    try:
        return njit(cache=True)(function)
    except RuntimeError:
        return njit(function)

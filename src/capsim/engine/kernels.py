"""Loops over items as machine code, once a process has had so many items that loading it pays.

Every kernel has a form for the interpreter, array passes mostly, that says the same to the last bit. Machine code takes
a fraction of it, but numba has to be loaded first, for which a process must have enough to do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

# What loading numba and the kept machine code takes, measured (2026-11-27, AMD EPYC: 0.7 to 0.8 s). Who loads after
# having lost that much to the slower forms spends at most twice what the better way would have taken.
LOADING_NS = 750_000_000


class _Process:
    """What all kernels of a process share: whether machine code is there, and what its lack has cost so far."""

    def __init__(self) -> None:
        self.loaded = False
        self.left_ns: float = LOADING_NS  # until it is loaded

    def load(self) -> None:
        """Load numba, unless it is not installed or of no use here."""
        self.left_ns = float("inf")
        try:
            import capsim.base.compiled  # noqa: F401
        except ImportError:
            return
        self.loaded = True


PROCESS = _Process()


class Kernel(Generic[P, R]):
    """A loop for numba to compile.

    Parameters
    ----------
    loop : callable
        Of arrays and numbers; plain Python that numba understands.
    saves_ns : float
        What each item takes less than in the other form [ns].

    Examples
    --------
    >>> def total(values):
    ...     found = 0
    ...     for value in values:
    ...         found += value
    ...     return found
    >>> kernel = Kernel(total, saves_ns=10)
    >>> def sum_of(values):
    ...     if kernel.loaded:
    ...         return kernel(values)
    ...     kernel.missed(len(values))
    ...     return int(values.sum())
    """

    def __init__(self, loop: Callable[P, R], saves_ns: float) -> None:
        self.loop = loop
        self._saves_ns = saves_ns

    @property
    def loaded(self) -> bool:
        """Whether to call this: machine code is there."""
        return PROCESS.loaded

    def missed(self, items: int) -> None:
        """So many items were done in the other form; after enough of them, of all kernels, machine code is loaded."""
        PROCESS.left_ns -= items * self._saves_ns
        if PROCESS.left_ns <= 0:
            PROCESS.load()

    @cached_property
    def _machine(self) -> Callable[P, R]:
        from capsim.base.compiled import compiled

        made: Callable[P, R] = compiled(self.loop)
        return made

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._machine(*args, **kwargs)

"""Progress on stderr or in a notebook: a bar where one can be drawn, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, Self

from capsim.base.errors import visible

PLAIN_EVERY_S = 15.0  # without a terminal; runs that are shorter print nothing


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this process."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})


class Progress:
    """Called with the share that is done, it tells the person who waits.

    Parameters
    ----------
    name : str
        What is being done.

    Examples
    --------
    >>> with Progress("after") as progress:
    ...     progress(0.5)
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._bar: Any = None
        self._said_s = time.monotonic()
        self._first: tuple[float, float] | None = None  # instant and share: work that was done before does not count
        if sys.stderr.isatty() or in_notebook():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a notebook without ipywidgets gets a bar of text, which is enough
                from tqdm.auto import tqdm

            self._bar = tqdm(
                total=100, desc=visible(name), leave=False, delay=1,
                bar_format="{l_bar}{bar}| {elapsed}<{remaining}", file=getattr(sys.stderr, "unescaped", None),
            )  # fmt: skip

    def __call__(self, share: float) -> None:
        """Say that a share of the work is done [0..1]."""
        now_s = time.monotonic()
        if self._first is None:
            self._first = now_s, share
        if self._bar is not None:
            self._bar.update(100 * share - self._bar.n)
        elif now_s - self._said_s >= PLAIN_EVERY_S:
            self._said_s = now_s
            print(f"capsim: {self._name}: {share:.0%} done{self._left(now_s, share)}", file=sys.stderr, flush=True)

    def _left(self, now_s: float, share: float) -> str:
        """How long the rest will take if it goes on like this."""
        since_s, from_share = self._first or (now_s, share)
        if share <= from_share or share >= 1:
            return ""
        left_s = (now_s - since_s) * (1 - share) / (share - from_share)
        return f", about {left_s:.0f} s left" if left_s < 120 else f", about {left_s / 60:.0f} min left"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def told(
    progress: Callable[[float], None] | bool | None, name: str
) -> AbstractContextManager[Callable[[float], None] | None]:
    """Whom to tell: a bar of its own for True, nobody for False or None, or who was given.

    Examples
    --------
    >>> with told(None, "after") as tell:
    ...     tell is None
    True
    """
    if progress is True:
        return Progress(name)
    return nullcontext(progress if callable(progress) else None)

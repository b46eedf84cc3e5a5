"""Progress on stderr: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

import click

PLAIN_EVERY_S = 15.0  # without a terminal; runs that are shorter print nothing


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
        self._bar = None
        self._said_s = time.monotonic()
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=100, desc=name, leave=False, delay=1, bar_format="{l_bar}{bar}| {elapsed}<{remaining}"
            )

    def __call__(self, share: float) -> None:
        """Say that a share of the work is done [0..1]."""
        if self._bar is not None:
            self._bar.update(100 * share - self._bar.n)
        elif time.monotonic() - self._said_s >= PLAIN_EVERY_S:
            self._said_s = time.monotonic()
            click.echo(f"capsim: {self._name}: {share:.0%} done", err=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

"""The server's logger: lines by level, counted whether they are printed or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

Level = Literal["debug", "info", "warn", "error"]
LEVELS: tuple[Level, ...] = ("debug", "info", "warn", "error")
Sink = Callable[[Level, str], object]


class Log:
    """A logger that writes lines of a level or above, and counts all.

    Parameters
    ----------
    level : str
        Lowest level that is written.
    *sinks : callable
        Each takes the level and the text of a line; without any, nothing is written.

    Attributes
    ----------
    lines : dict of level to int
        Lines so far, those below the level included.

    Examples
    --------
    >>> log = Log("warn", lambda level, text: print(f"{level}: {text}"))
    >>> log.info("not shown")
    >>> log.error("shown")
    error: shown
    >>> log.lines["info"], log.lines["error"]
    (1, 1)
    """

    def __init__(self, level: Level = "warn", *sinks: Sink) -> None:
        self._from = LEVELS.index(level)
        self._sinks = sinks
        self.lines: dict[Level, int] = dict.fromkeys(LEVELS, 0)

    def _line(self, level: Level, text: str) -> None:
        self.lines[level] += 1
        if LEVELS.index(level) >= self._from:
            for sink in self._sinks:
                sink(level, " ".join(text.split()))

    def debug(self, text: str) -> None:
        """A line for developers."""
        self._line("debug", text)

    def info(self, text: str) -> None:
        """A line that says that something went well."""
        self._line("info", text)

    def warn(self, text: str) -> None:
        """A line that says that something was lost or odd."""
        self._line("warn", text)

    def error(self, text: str) -> None:
        """A line that says that something failed."""
        self._line("error", text)

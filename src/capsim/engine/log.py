"""Log lines of a process, second by second: how many, of which level, and how many the platform drops.

Counted from what has happened, on arrays. A full buffer logs a line for every item that it refuses; Railway keeps 500
lines a second of a replica and drops the rest (facts: railway §5).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from capsim.base.units import US_PER_S
from capsim.engine.jobs import CLASSES
from capsim.memory.constants import PUBLISHED, Values
from capsim.scenario.parts import LoggerSpec
from capsim.scenario.server import HttpSpec

Ints = NDArray[np.int64]

LINE_US = {False: "line_cpu_console", True: "line_cpu_files"}  # of one line, without and with file transports

KEPT_HZ = 500  # lines a second and replica that Railway keeps
LEVELS = ("debug", "info", "warn", "error")


def with_lines(http: HttpSpec, logger: LoggerSpec, value: Values = PUBLISHED) -> HttpSpec:
    """The loop of a server that also writes the lines of its requests.

    Examples
    --------
    >>> with_lines(HttpSpec(events_cpu_ms=0.25), LoggerSpec(level="info", files=5)).events_cpu_ms
    0.276
    """
    if not logger.lines_per_request or LEVELS.index(logger.level) > LEVELS.index("info"):
        return http
    line_ms = logger.lines_per_request * value(LINE_US[logger.files > 0]) / 1_000
    names = [f"{name}_cpu_ms" for name in CLASSES]
    return http.model_copy(update={name: getattr(http, name) + line_ms for name in names})


class Log:
    """What one process logs.

    Parameters
    ----------
    spec : LoggerSpec
        Of the scenario.
    """

    def __init__(self, spec: LoggerSpec) -> None:
        self._spec = spec
        self._behind = {"console": 0.0, "file": 0.0, "error file": 0.0}  # lines that have not been taken

    def logs(self, level: str) -> bool:
        """Whether lines of a level are logged."""
        return LEVELS.index(level) >= LEVELS.index(self._spec.level)

    def _waiting(
        self, where: str, lines: NDArray[np.float64], taken_hz: float | Literal["none"]
    ) -> NDArray[np.float64]:
        """Lines that wait at the end of each second: what came less what could be taken, never below nothing."""
        if taken_hz == "none":
            return np.zeros(len(lines))
        net = np.cumsum(lines - taken_hz) + self._behind[where]
        behind: NDArray[np.float64] = net - np.minimum(np.minimum.accumulate(net), 0)
        self._behind[where] = float(behind[-1])
        return behind

    def bins(
        self, edges_us: Ints, requests_us: Ints, lines: dict[str, list[tuple[Ints, Ints | int]]]
    ) -> dict[str, NDArray[np.generic]]:
        """The log's columns of `capsim.scenario.columns.SAMPLES`.

        Parameters
        ----------
        edges_us : int64 array
            Edges of the bins of one block [us].
        requests_us : int64 array
            Requests served, ascending [us].
        lines : dict of level to list of (times, weights)
            Everything else that is logged [us, lines].
        """
        spec = self._spec
        first_s, last_s = int(edges_us[0]) // US_PER_S, -(-int(edges_us[-1]) // US_PER_S)
        size = last_s - first_s

        def per_second(times_us: Ints, weights: Ints | float) -> NDArray[np.float64]:
            places = np.clip(times_us // US_PER_S - first_s, 0, size - 1)
            each = weights if isinstance(weights, np.ndarray) else np.full(len(places), weights)
            return np.bincount(places, each, size).astype(np.float64)

        levels = {level: np.zeros(size) for level in LEVELS}
        if spec.lines_per_request:
            bounds = requests_us.searchsorted(np.arange(first_s + 1, last_s) * US_PER_S)
            levels["info"] += spec.lines_per_request * np.diff(bounds, prepend=0, append=len(requests_us))
        for level, parts in lines.items():
            each = spec.lines_per_error if level == "error" else 1
            for times_us, weights in parts:
                levels[level] += each * per_second(times_us, weights)
        total = sum((levels[level] for level in LEVELS if self.logs(level)), np.zeros(size))
        errors = levels["error"] if self.logs("error") else np.zeros(size)
        dropped = np.maximum(np.floor(total) - KEPT_HZ, 0)
        behind = self._waiting("console", total, spec.consumer_hz)
        if spec.files:  # one transport for all lines, one for errors
            behind += self._waiting("file", total, spec.file_consumer_hz)
            behind += self._waiting("error file", errors, spec.file_consumer_hz)
        # A bin that ends within a second has that second's lines up to its share; bins are whole seconds as a rule.
        place = np.clip(edges_us / US_PER_S - first_s, 0, size)

        def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
            cumulative = np.interp(place, np.arange(size + 1), np.concatenate(([0], np.cumsum(values))))
            return np.diff(cumulative)

        bounds = np.clip(np.floor(place).astype(np.int64), 0, size - 1)
        return {
            "log_lines": summed(total),
            "log_error_lines": summed(errors),
            "log_lines_dropped": summed(dropped),
            "log_lines_max_hz": np.maximum.reduceat(total, bounds[:-1]),
            "log_behind_max_lines": np.maximum.reduceat(behind, bounds[:-1]),
        }

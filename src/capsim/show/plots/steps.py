"""What is drawn: the samples of a run thinned to steps, and the caps that nothing may pass."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from capsim.memory.limits import container_mib
from capsim.memory.postgres import memory_limit_mib
from capsim.results.series import series_of
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS

if TYPE_CHECKING:
    from capsim.results.document import SeriesWindow


@dataclass(frozen=True, kw_only=True)
class Caps:
    """The lines that nothing may pass.

    Parameters
    ----------
    heap_mib : float, optional
        ``--max-old-space-size`` as the server gets it [MiB].
    container_mib : float, optional
        Most memory of one replica on the plan [MiB].
    buffer_rows : mapping
        Cap of each writer that has one [rows].
    postgres_mib : float, optional
        Memory limit of Postgres [MiB].
    replicas : int
        Processes that share the load; the limits above are those of one of them.
    """

    heap_mib: float | None = None
    container_mib: float | None = None
    buffer_rows: Mapping[str, int] = field(default_factory=dict)
    postgres_mib: float | None = None
    replicas: int = 1

    def each(self, steps: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
        """The steps with columns that are sums over the replicas as their mean: what one limit may be drawn over."""
        if self.replicas == 1:
            return steps
        return steps.assign(**{name: steps[name] / self.replicas for name in columns})

    @property
    def of_each(self) -> str:
        """Said in a title, where the figures are of one of several."""
        return "" if self.replicas == 1 else f", each of {self.replicas} replicas"

    @classmethod
    def of(cls, scenario: Scenario) -> Caps:
        """The caps of a scenario, and the limit of its plan at its date.

        Examples
        --------
        >>> from capsim.scenario.file import load
        >>> caps = Caps.of(load("after"))
        >>> caps.heap_mib, caps.buffer_rows["events"]
        (512, 1000)
        """
        heap = scenario.server.node.heap_cap_mib
        writers = {name: getattr(scenario.server.writers, name) for name in STREAMS}
        return cls(
            heap_mib=None if heap == "none" else heap,
            container_mib=container_mib(scenario),
            postgres_mib=finite if math.isfinite(finite := memory_limit_mib(scenario)) else None,
            replicas=scenario.server.process.replicas,
            buffer_rows={n: w.cap for n, w in writers.items() if w.buffer_cap_rows != "none"},
        )


    @classmethod
    def of_document(cls, provenance: Mapping[str, Any]) -> Caps:
        """Those of a saved result; none if it was saved by a capsim whose scenarios were other ones."""
        try:
            return cls.of(Scenario.model_validate(provenance.get("scenario")))
        except ValidationError:
            return cls()


def steps(samples: pd.DataFrame, span_s: float | None = None) -> pd.DataFrame:
    """Thin the samples of a run for plotting.

    Parameters
    ----------
    samples : DataFrame
        Columns of `capsim.scenario.columns.SAMPLES` and `capsim.scenario.columns.MEMORY`.
    span_s : float, optional
        Only so much of the run [s].

    Returns
    -------
    DataFrame
        At most 750 rows: ``time_s``, ``width_s``, and for each of `capsim.results.series.QUANTITIES` its mean under
        its own name, its maximum under that name with ``_max``; NaN where the trace has no data to average.
    """
    end_s = float(samples["time_s"].iloc[-1] + samples["width_s"].iloc[-1])
    span_s = end_s if span_s is None else min(span_s, end_s)
    block = series_of(samples, span_s)
    return _stepped(block["step_s"], [(s["series"], s["mean"], s["max"]) for s in block["series"]], span_s)


def steps_of(window: SeriesWindow, span_s: float) -> pd.DataFrame:
    """The same table from one window of a result document.

    Parameters
    ----------
    window : SeriesWindow
        From `capsim.results.document.Result.series`.
    span_s : float
        Length of the window [s]; the last step may be shorter than the others.
    """
    return _stepped(window.step_s, [(s.series, s.mean, s.max) for s in window.series], span_s)


def _stepped(step_s: float, series: Iterable[tuple[str, Any, Any]], span_s: float) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for name, mean, top in series:
        columns[name] = np.asarray(mean, dtype=np.float64)
        columns[f"{name}_max"] = np.asarray(top, dtype=np.float64)
    time_s = step_s * np.arange(len(next(iter(columns.values()))))
    return pd.DataFrame({"time_s": time_s, "width_s": np.minimum(step_s, span_s - time_s), **columns})

"""One simulated run: a scenario, a load, a seed; and the tables that come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from capsim import tables
from capsim.accounting import accounting
from capsim.cost import bill, limit_notes
from capsim.memory import heap_exceeded_at, resident
from capsim.provenance import certificate
from capsim.scenario import warnings
from capsim.server.database import LatencyDatabase
from capsim.server.model import Server
from capsim.server.responses import Responses, Saturation, saturation
from capsim.server.sampler import Sampler
from capsim.specs import STREAMS, Scenario
from capsim.summary import Window, summary
from capsim.units import BILLED_MONTH_MINUTES, US_PER_MINUTE, US_PER_S
from capsim.workload import Block, Load, load_of

if TYPE_CHECKING:
    from capsim.plots import RunPlots
    from capsim.trace import Trace

MONTH_US = BILLED_MONTH_MINUTES * US_PER_MINUTE

Progress = Callable[[float], None]  # told the share that is done, 0 to 1


@dataclass(frozen=True)
class Run:
    """The tables of one run.

    Attributes
    ----------
    scenario : Scenario
        As simulated.
    samples : DataFrame
        Columns of `capsim.tables.SAMPLES` and `capsim.tables.MEMORY`, one row a bin.
    trace_span_s : float
        Length of the load before it is repeated [s].
    batches : DataFrame or None
        Columns of `capsim.tables.BATCHES`, if they were asked for.
    stuck : DataFrame
        Columns ``writer``, ``from_s``, ``to_s`` (NaN: to the end): when a writer held items, had nothing out, and
        no timer would ever make it write them.
    waits : DataFrame
        Columns ``part``, ``asked_s``, ``wait_s``, ``granted``: calls that no connection was free for when they asked;
        not granted means that the wait ran out.
    warnings : tuple of str
        What the reader of the figures should know.
    provenance : dict
        Everything needed to repeat the run.
    """

    scenario: Scenario
    samples: pd.DataFrame = field(repr=False)
    trace_span_s: float
    batches: pd.DataFrame | None = field(repr=False)
    stuck: pd.DataFrame = field(repr=False)
    waits: pd.DataFrame = field(repr=False)
    warnings: tuple[str, ...] = field(repr=False)
    provenance: dict[str, Any] = field(repr=False)
    _accounting: pd.DataFrame = field(repr=False)
    _responses: Responses = field(repr=False)
    _peak_hz: float = field(repr=False)

    def accounting(self) -> pd.DataFrame:
        """What became of every item of the whole run, one row a writer; see `capsim.accounting`."""
        return self._accounting.copy()

    def summary(self, window: Window = "trace") -> pd.DataFrame:
        """The figures of a window: metric, value, unit, and what each rests on."""
        return summary(self, window)

    def window(self, window: Window) -> pd.DataFrame:
        """The samples of the load as given (``trace``), or of the billed month of 43,200 minutes (``month``)."""
        return self.samples[self.samples["time_s"] < self._end_us(window) / US_PER_S]

    def _end_us(self, window: Window) -> int:
        return round(self.trace_span_s * US_PER_S) if window == "trace" else MONTH_US

    def responses(self, window: Window = "trace") -> pd.DataFrame:
        """Response times of the requests of a window by class [ms]; see `capsim.server.responses.Responses.table`."""
        return self._responses.table(self._end_us(window))

    def saturation(self, window: Window = "trace") -> Saturation:
        """How close the HTTP loop came to its limit."""
        return saturation(self.window(window))

    def bill(self, window: Window = "month") -> pd.DataFrame:
        """The bill of a window, columns of `capsim.tables.BILL`."""
        return bill(self.window(window), self.scenario)

    @cached_property
    def stress(self) -> pd.DataFrame:
        """What the scenario's stress envelope does to it: columns test, metric, value, unit."""
        from capsim.stress import stress

        address = self.provenance
        return stress(self.scenario, self._peak_hz, seed=address["seed"], replicate=address["replicate"])

    @property
    def plot(self) -> RunPlots:
        """Plots of this run, each taking and returning Axes: ``run.plot.memory(ax=None)``."""
        from capsim.plots import RunPlots

        return RunPlots(self)


def simulate(
    scenario: Scenario,
    trace: Trace | str | None = None,
    *,
    seed: int = 0,
    replicate: int = 0,
    month: bool = True,
    batches: bool = False,
    resolution_s: float = 60.0,
    progress: Progress | None = None,
) -> Run:
    """Simulate a scenario under its load.

    Parameters
    ----------
    scenario : Scenario
        The server, its load, its bill.
    trace : Trace or str, optional
        A recorded load, or the name of a bundled one or of a file; without it the scenario's own load.
    seed, replicate : int
        Address of all chance: the same address gives the same arrivals and the same database to every scenario.
    month : bool
        Go on for at least a billed month (43,200 minutes), repeating the load with fresh draws.
    batches : bool
        Keep one row for every attempt of every flush; grows with the load.
    resolution_s : float
        Width of the bins of `Run.samples` [s]; an hour must be a whole number of them.
    progress : callable, optional
        Told the share that is done, from 0 to 1.

    Returns
    -------
    Run

    Raises
    ------
    CapsimError
        If the load, the plan or the prices cannot be used; see `capsim.errors`.

    Examples
    --------
    >>> load = {"rate_hz": 5, "duration_s": 600}
    >>> spec = Scenario(name="x", workload=load, billing={"from": "2026-02-03"})
    >>> run = simulate(spec, month=False)
    >>> int(run.accounting().arrived.sum()) == int(run.samples.requests.sum())
    True
    """
    if isinstance(trace, str):
        from capsim.trace import find_trace, read_trace

        trace = read_trace(find_trace(trace))
    load = load_of(scenario, trace, seed, replicate)
    end_us = max(load.span_us, MONTH_US) if month else load.span_us
    if end_us != load.span_us:
        load = load_of(scenario, trace, seed, replicate, until_us=end_us)
    played = _Played(scenario, seed, replicate, resolution_s, batches, load.span_us)
    for block in load.blocks():
        played.add(block)
        if progress is not None:
            progress(block.to_us / end_us)
    samples = resident(played.sampler.table(), scenario)
    return Run(
        scenario=scenario,
        samples=samples,
        trace_span_s=load.span_us / US_PER_S,
        batches=played.batches() if batches else None,
        stuck=played.stuck(end_us),
        waits=played.waits(),
        warnings=tuple(_warnings(scenario, samples, load)),
        provenance=certificate(scenario, load.provenance(), seed=seed, replicate=replicate),
        _accounting=accounting(played.server),
        _responses=played.responses,
        _peak_hz=load.peak_hz,
    )


def _warnings(scenario: Scenario, samples: pd.DataFrame, load: Load) -> list[str]:
    found = [*warnings(scenario), *limit_notes(samples, scenario)]
    full = saturation(samples)
    if full.verdict != "stable":
        found.append(
            f"the HTTP loop is {full.verdict}: its busiest minute brings {full.offered:.3g} times what one thread can "
            f"do, and requests wait up to {samples['loop_wait_max_ms'].max() / 1_000:,.3g} s"
        )
    exceeded_s = heap_exceeded_at(samples, scenario)
    if exceeded_s is not None:
        found.append(
            f"the server runs out of heap {exceeded_s:,.0f} s after the start of the load and would be restarted; "
            "what the restart loses is not simulated, so later figures are of a server that lived on"
        )
    if load.span_us < MONTH_US:
        days = load.span_us / (24 * 60 * US_PER_MINUTE)
        found.append(
            f"the load covers {days:.3g} days; the month repeats it from the start with fresh draws, "
            "whatever day of the week it began on"
        )
    return found


class _Played:
    """A server being played, block by block, with what is kept of it."""

    def __init__(
        self, scenario: Scenario, seed: int, replicate: int, resolution_s: float, keep: bool, span_us: int
    ) -> None:
        spec = scenario.server
        writers = {stream: getattr(spec.writers, stream) for stream in STREAMS}
        database = LatencyDatabase(scenario.database, seed, replicate)
        self.server = Server(writers, spec.pool, spec.pool_limit, database, http=spec.http)
        self.sampler = Sampler(round(resolution_s * US_PER_S))
        self._kept: list[dict[str, NDArray[np.int64]]] | None = [] if keep else None
        self._waits: list[dict[str, NDArray[np.int64]]] = []
        self.responses = Responses([span_us, MONTH_US])

    def add(self, block: Block) -> None:
        happened = self.sampler.play(self.server, block)
        self._waits.append(happened.waits)
        assert happened.served is not None
        self.responses.add(happened.served)
        if self._kept is not None:
            self._kept.append(happened.attempts)

    def batches(self) -> pd.DataFrame:
        assert self._kept is not None
        columns = {name: np.concatenate([part[name] for part in self._kept]) for name in self._kept[0]}
        ended = pd.DataFrame(columns)
        out = pd.DataFrame(self._out(), columns=list(columns))
        table = pd.concat([ended, out], ignore_index=True).sort_values(["start_us", "part"], kind="stable")
        table["writer"] = np.asarray(STREAMS)[table["part"].to_numpy()]
        wanted = {c.name: c.dtype for c in tables.BATCHES}
        return table[list(wanted)].astype(wanted).reset_index(drop=True)

    def _out(self) -> list[tuple[int, ...]]:
        """Attempts that are out at the end."""
        rows = []
        for part, flusher in enumerate(self.server.flushers.values()):
            if flusher.out is not None:
                batch, attempt, start_us = flusher.out
                rows.append((part, batch.number, attempt, start_us, -1, 0, batch.rows, len(flusher.calls_started), 0, 0,
                             batch.first_item, batch.accepted_to, batch.next_item))  # fmt: skip
        return rows

    def waits(self) -> pd.DataFrame:
        parts = {name: np.concatenate([part[name] for part in self._waits]) for name in self._waits[0]}
        return pd.DataFrame({
            "part": np.asarray(STREAMS)[parts["part"]],
            "asked_s": parts["asked_us"] / US_PER_S,
            "wait_s": (parts["decided_us"] - parts["asked_us"]) / US_PER_S,
            "granted": parts["granted"].astype(bool),
        })  # fmt: skip

    def stuck(self, end_us: int) -> pd.DataFrame:
        rows: list[tuple[str, float, float]] = []
        for stream, writer in self.server.writers.items():
            rows += [(stream, a / US_PER_S, b / US_PER_S) for a, b in writer.stuck]
            since = writer.stuck_at(end_us)
            if since is not None:
                rows.append((stream, since / US_PER_S, np.nan))
        return pd.DataFrame(rows, columns=["writer", "from_s", "to_s"])

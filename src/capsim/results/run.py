"""One simulated run: a scenario, a load, a seed; and the tables that come of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from capsim.base.display import HasCard, HasPlots
from capsim.base.errors import CapsimError
from capsim.base.progress import told
from capsim.base.units import BILLED_MONTH_MINUTES, US_PER_MINUTE, US_PER_S
from capsim.cost.bill import bill, limit_notes
from capsim.cost.spending_limit import stop_notes
from capsim.engine.fidelity import NOTE, Fidelity, check_law, loop_law
from capsim.engine.responses import Responses
from capsim.engine.simulation import Death, play
from capsim.memory.fits import check_fits
from capsim.memory.limits import heap_notes
from capsim.memory.volume import lost_when_full, storage_notes, volume_full
from capsim.results.accounting import accounting
from capsim.results.continued import carries_a_month, how, without_a_month
from capsim.results.frames import Bill
from capsim.results.outcomes import outcomes
from capsim.results.provenance import certificate
from capsim.results.summary import summary
from capsim.results.verdict import Verdict, kept_up, verdict_of
from capsim.results.window_tables import Window, WindowTables
from capsim.scenario.changes import applied
from capsim.scenario.file import warnings
from capsim.scenario.scenario import Scenario
from capsim.workload import Load, load_of
from capsim.workload.recorded import as_recorded, read_load, unused_map

if TYPE_CHECKING:
    from capsim.workload.read import TraceLike

MOST_BINS = 100_000  # of `Run.samples`, some 3 kB each while a run is made: 69 days of minutes
MONTH_US = BILLED_MONTH_MINUTES * US_PER_MINUTE

Progress = Callable[[float], None]  # told the share that is done, 0 to 1


@dataclass(frozen=True, repr=False)
class Run(HasCard, HasPlots):
    """The tables of one run.

    Attributes
    ----------
    scenario : Scenario
        As simulated.
    samples : DataFrame
        Columns of `capsim.scenario.columns.SAMPLES` and `capsim.scenario.columns.MEMORY`, one row a bin.
    trace_span_s : float
        Length of the load before it is repeated [s].
    batches : DataFrame or None
        Columns of `capsim.scenario.columns.BATCHES`, if they were asked for.
    arrivals : DataFrame or None
        Columns of `capsim.results.outcomes.outcomes`, if they were asked for.
    stuck : DataFrame
        Columns ``writer``, ``from_s``, ``to_s`` (NaN: to the end): when a writer held items, had nothing out, and
        no timer would ever make it write them.
    waits : DataFrame
        Columns ``part``, ``asked_s``, ``wait_s``, ``granted``: calls that no connection was free for when they asked;
        not granted means that the wait ran out.
    lives : DataFrame
        One row a process of the server: when it was started, healthy and ended, how, and what it held then [items].
        After a deploy that is ``exited`` (its shutdown had resolved) or ``killed`` (at the end of draining).
    warnings : tuple of str
        What the reader of the figures should know.
    provenance : dict
        Everything needed to repeat the run.
    full_s : float or None
        Since when a full volume of Postgres has stopped the writes [s]; only with ``database.stops_when_full``.
    fidelity : {"exact", "law"}
        How it was played; see `capsim.engine.fidelity`.
    """

    scenario: Scenario
    samples: pd.DataFrame = field(repr=False)
    trace_span_s: float
    batches: pd.DataFrame | None = field(repr=False)
    arrivals: pd.DataFrame | None = field(repr=False)
    stuck: pd.DataFrame = field(repr=False)
    waits: pd.DataFrame = field(repr=False)
    lives: pd.DataFrame = field(repr=False)
    warnings: tuple[str, ...] = field(repr=False)
    provenance: dict[str, Any] = field(repr=False)
    _accounting: pd.DataFrame = field(repr=False)
    _responses: Responses = field(repr=False)
    _peak_hz: float = field(repr=False)
    full_s: float | None = field(default=None, repr=False)
    fidelity: Fidelity = "exact"

    def accounting(self) -> pd.DataFrame:
        """What became of every item of the whole run, one row a writer; see `capsim.results.accounting`."""
        return self._accounting.copy()

    def summary(self, window: Window = "trace") -> pd.DataFrame:
        """The figures of a window: metric, value, unit, and what each rests on."""
        return summary(self.tables(window))

    def tables(self, window: Window = "trace") -> WindowTables:
        """What the figures of a window are read from."""
        samples, law = self.window(window), self.fidelity == "law"
        full_s, unwritten = self._full(samples)
        return WindowTables(
            self.scenario, samples, self.stuck, self.waits, self.lives, self.responses(window),
            self.saturation(window), law=law, loop_wait_ms=loop_law(self.scenario).wait_ms if law else math.nan,
            full_s=full_s, unwritten=unwritten,
        )  # fmt: skip

    def _full(self, samples: pd.DataFrame) -> tuple[float | None, int]:
        """Since when the volume is full in a window [s], and the items lost that the run takes no notice of."""
        if self.full_s is not None:
            return (self.full_s if self.full_s < samples["time_s"].iloc[-1] + samples["width_s"].iloc[-1] else None), 0
        full = volume_full(samples, self.scenario)
        if full is None or not full.simulated:
            return None, 0
        # The losses are known all the same: every write fails.
        return full.at_s, round(lost_when_full(samples, full.at_s))

    def window(self, window: Window) -> pd.DataFrame:
        """The samples of the load as given (``trace``), or of the billed month of 43,200 minutes (``month``)."""
        return self.samples[self.samples["time_s"] < self._end_us(window) / US_PER_S]

    def _end_us(self, window: Window) -> int:
        return round(self.trace_span_s * US_PER_S) if window == "trace" else MONTH_US

    def responses(self, window: Window = "trace") -> pd.DataFrame:
        """Response times of the requests of a window by class [ms]; see `capsim.engine.responses.Responses.table`."""
        return self._responses.table(self._end_us(window))

    def saturation(self, window: Window = "trace") -> Verdict:
        """Whether the event loop and the connection pool kept up with the load."""
        return verdict_of(self.window(window), self.waits, _connections(self.scenario))

    @property
    def has_month(self) -> bool:
        """Whether a billed month was simulated, and not only the load once."""
        return bool((self.samples["time_s"] + self.samples["width_s"]).iloc[-1] >= MONTH_US / US_PER_S)

    def bill(self, window: Window | None = None) -> Bill:
        """The bill of a window, by default of the month if one was simulated; columns of
        `capsim.scenario.columns.BILL`.

        In a notebook it shows what is to be paid for what.
        """
        window = window or ("month" if self.has_month else "trace")
        return Bill(bill(self.window(window), self.scenario))

    def to_frame(self, window: Window = "trace") -> pd.DataFrame:
        """The figures of a window, indexed by ``metric``: ``value``, ``unit``, ``basis``; see
        `capsim.results.summary`."""
        return self.summary(window).set_index("metric")

    def __repr__(self) -> str:
        address = self.provenance
        return f"<Run of {self.scenario.name}: load of {self.trace_span_s:g} s, seed {address.get('seed')}>"

    @cached_property
    def stress(self) -> pd.DataFrame:
        """What the scenario's stress envelope does to it: columns test, metric, value, unit."""
        from capsim.results.stress_test import stress

        address = self.provenance
        return stress(self.scenario, self._peak_hz, seed=address["seed"], replicate=address["replicate"])


def simulate(
    scenario: Scenario,
    trace: TraceLike | None = None,
    *,
    seed: int = 0,
    replicate: int = 0,
    month: bool | None = None,
    batches: bool = False,
    arrivals: bool = False,
    resolution_s: float | None = None,
    fidelity: Fidelity = "exact",
    progress: Progress | bool | None = None,
) -> Run:
    """Simulate a scenario under its load.

    Parameters
    ----------
    scenario : Scenario
        The server, its load, its bill.
    trace : Trace, str, Path, DataFrame or Series, optional
        A recorded load, the name of a bundled one or of a file (or several), or a table of pandas as
        `Trace.from_frame` takes it; without it the scenario's own load.
    seed, replicate : int
        Address of all chance: the same address gives the same arrivals and the same database to every scenario.
    month : bool, optional
        Go on for at least a billed month (43,200 minutes), repeating the load with fresh draws. By default if the load
        carries one: a rate, which holds as long as one likes, or a trace of a day or more; see `carries_a_month`.
    batches : bool
        Keep one row for every attempt of every flush; grows with the load.
    arrivals : bool
        Keep one row for every arrival, with what became of it and how long it waited; grows with the load.
    resolution_s : float, optional
        Width of the bins of `Run.samples` [s]; an hour must be a whole number of them. By default a minute, and as much
        more as keeps a long load in `MOST_BINS` of them: six minutes for a year.
    fidelity : {"exact", "law"}
        ``law`` makes no arrivals and draws only what decides: writers, pool and database have the same distribution
        as behind a loop that takes no time. For Poisson loads of constant rate, many times faster; it refuses what it
        cannot tell.
    progress : bool or callable, optional
        True: a bar, in a notebook or on a terminal. A callable is told the share that is done, from 0 to 1.

    Returns
    -------
    Run

    Raises
    ------
    CapsimError
        If the load, the plan or the prices cannot be used; see `capsim.base.errors`.

    Examples
    --------
    >>> load = {"rate_hz": 5, "duration_s": 600}
    >>> spec = Scenario(name="x", workload=load, billing={"from": "2026-02-03"})
    >>> run = simulate(spec, month=False)
    >>> int(run.accounting().arrived.sum()) == int(run.samples.requests.sum())
    True
    """
    if arrivals and (scenario.server.lifecycle or scenario.server.process.replicas > 1):
        raise CapsimError(
            "arrivals=True: single arrivals are told for one process only; leave server.lifecycle and replicas out"
        )
    scenario = applied(scenario)
    check_fits(scenario)
    if trace is None and scenario.workload.requests is not None:
        trace = scenario.workload.trace
    if trace is not None:
        trace = read_load(trace, scenario.workload)
    if fidelity == "law":
        check_law(scenario, trace, arrivals=arrivals)
    scenario = as_recorded(scenario, trace)
    load = load_of(scenario, trace, seed, replicate)
    month = carries_a_month(scenario, trace, load.span_us) if month is None else month
    end_us = max(load.span_us, MONTH_US) if month else load.span_us
    if end_us != load.span_us:
        load = load_of(scenario, trace, seed, replicate, until_us=end_us)
    with told(progress, scenario.name) as tell:
        played, deaths = play(
            scenario,
            load,
            seed=seed,
            replicate=replicate,
            resolution_s=_resolution_s(load.until_us) if resolution_s is None else resolution_s,
            keep=batches or arrivals,
            windows_us=(load.span_us, MONTH_US),
            progress=tell,
            fidelity=fidelity,
        )
    samples, waits = played.samples(), played.waits()
    return Run(
        scenario=scenario,
        samples=samples,
        trace_span_s=load.span_us / US_PER_S,
        batches=played.batches() if batches else None,
        arrivals=outcomes([happened for _, happened in played.happened]) if arrivals else None,
        stuck=played.stuck(),
        waits=waits,
        lives=played.lives(),
        warnings=tuple(
            [NOTE] * (fidelity == "law") + _warnings(scenario, samples, waits, load, deaths, played.full_s, month)
        ),
        provenance=certificate(scenario, load.provenance(), seed=seed, replicate=replicate, fidelity=fidelity),
        _accounting=accounting(played.fleet),
        _responses=played.responses,
        _peak_hz=load.peak_hz,
        full_s=played.full_s,
        fidelity=fidelity,
    )


def _resolution_s(until_us: int) -> float:
    """Width of the bins of a load of this length [s]: memory is bounded whatever the length."""
    minutes = until_us / US_PER_MINUTE
    return 60.0 * next((w for w in range(1, 60) if 60 % w == 0 and minutes / w <= MOST_BINS), 60)


_FATAL = {
    "abort": "runs out of heap (V8 gives up, exit code 134)",
    "oom-kill": "is killed by the kernel at its container's limit (exit code 137)",
    "hang": "hangs at its container's limit (too little is left for its own files) and answers nothing",
}
_DIES = "; what it holds is lost, and so is what comes until the next process is healthy"
_LOST = {"abort": _DIES, "oom-kill": _DIES, "hang": "; nothing restarts it: all that comes is lost until a deploy"}


def _connections(scenario: Scenario) -> int:
    """Most connections of all replicas together."""
    return scenario.server.pool_limit * scenario.server.process.replicas


def _warnings(
    scenario: Scenario,
    samples: pd.DataFrame,
    waits: pd.DataFrame,
    load: Load,
    deaths: list[Death],
    full_s: float | None,
    month: bool,
) -> list[str]:
    found = [*unused_map(scenario, load.trace), *warnings(scenario), *heap_notes(scenario)]
    found += [*limit_notes(samples, scenario), *storage_notes(samples, scenario, full_s)]
    found += stop_notes(samples, scenario)
    found += kept_up(verdict_of(samples, waits, _connections(scenario)), samples, waits)
    if deaths:
        for end, said in _FATAL.items():
            at_us = [death.at_us for death in deaths if death.end == end]
            if at_us:
                times = f"{len(at_us)} times, first" if len(at_us) > 1 else "once,"
                when = f"{at_us[0] / US_PER_S:,.0f} s after the start of the load"
                found.append(f"the server {said} {times} {when}{_LOST[end]}")
    if load.span_us < MONTH_US:
        found.append(how(load.span_us) if month else without_a_month(load.span_us))
    return found

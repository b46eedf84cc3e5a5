"""Figures of a played server: one number each, with the bracket of the page cache where it has one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from capsim.base.units import BILLED_MONTH_MINUTES, KIB, MIB
from capsim.results import stress_test
from capsim.results.metrics import METRICS, SOME_RUNS, MetricSpec
from capsim.results.window_tables import items
from capsim.scenario.columns import LOSSES, SERVICES
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS

if TYPE_CHECKING:  # pandas takes longer to import than the command line may
    import pandas as pd

    from capsim.cost.bill import Line
    from capsim.results.run import Run
    from capsim.workload import Trace

MONTH_DAYS = 30.0
BINS_S = 300.0  # of what is continued to a month


class Value(NamedTuple):
    """A figure, and the same with the least and with the most page cache."""

    expected: float
    low: float
    high: float


class Figure(NamedTuple):
    """What is read off a played server."""

    unit: str
    meaning: str
    of: Callable[[Played], Value | float]


@dataclass(frozen=True)
class Played:
    """A server whose load is played, continued to a month, and put under stress as far as its figures are asked for.

    Parameters
    ----------
    scenario : Scenario
    trace : Trace, optional
        In place of the scenario's own load.
    peak_hz : float
        Requests in the busiest minute of the load that is audited [1/s].
    seed, replicate : int
        Address of the draws.
    resolution_s : float
        Width of the bins [s].
    days : float
        To how many days the load is continued [d].
    """

    scenario: Scenario
    trace: Trace | None
    peak_hz: float
    seed: int
    replicate: int = 0
    resolution_s: float = BINS_S
    days: float = MONTH_DAYS

    @cached_property
    def run(self) -> Run:
        """The load, once."""
        from capsim.results.run import simulate

        return simulate(
            self.scenario, self.trace, seed=self.seed, replicate=self.replicate, month=False,
            resolution_s=self.resolution_s,
        )  # fmt: skip

    @property
    def samples(self) -> pd.DataFrame:
        """Of the load, once."""
        return self.run.samples

    @cached_property
    def month(self) -> pd.DataFrame:
        """The load continued to a month: `capsim.results.continued`."""
        from capsim.results.continued import continued

        minutes = self.days / MONTH_DAYS * BILLED_MONTH_MINUTES
        return continued([self.samples], self.scenario, minutes=minutes)

    @cached_property
    def invoice(self) -> list[Line]:
        """Of the month."""
        from capsim.cost.bill import invoice
        from capsim.cost.usage import Window, service_usage
        from capsim.scenario.prices import plan_on, prices_on

        window, day = Window.of(self.month), self.scenario.billing.from_date
        usages = [service_usage(service, window, self.scenario) for service in SERVICES]
        return invoice(usages, prices_on(day), plan_on(self.scenario.billing.plan, day))

    @cached_property
    def stall(self) -> Played:
        """The stall of the stress envelope."""
        return self._stressed("stall")

    @cached_property
    def outage(self) -> Played:
        """The outage of the stress envelope."""
        return self._stressed("outage")

    def _stressed(self, test: str) -> Played:
        """A case of the envelope; without one of that kind its load alone."""
        cases = stress_test.cases(self.scenario, self.peak_hz)
        if test in cases:
            scenario = cases[test][1]
        else:
            rate_hz = self.peak_hz * self.scenario.stress.load_factor
            scenario = stress_test.steady(self.scenario, rate_hz, stress_test.CALM_S + stress_test.RECOVERY_S)
        return replace(self, scenario=scenario, trace=None, resolution_s=1.0)


def read(side: Played, name: str) -> Value:
    """One figure of a played server."""
    found = FIGURES[name].of(side)
    return found if isinstance(found, Value) else Value(float(found), float(found), float(found))


# --- how they are read ----------------------------------------------------------------------------------------


def _mean(table: pd.DataFrame, column: str) -> float:
    width = table["width_s"].where(table["has_load"], 0.0)
    return float((table[column] * width).sum() / width.sum())


def _billed(service: str, how: str, month: bool = False) -> Callable[[Played], Value]:
    def of(side: Played) -> Value:
        table = side.month if month else side.samples
        services = SERVICES if service == "project" else (service,)
        found = []
        for bracket in ("", "_lower", "_upper"):
            total = table.assign(total=sum(table[f"{s}_billed{bracket}_mib"] for s in services))
            if how == "mean":
                found.append(_mean(total, "total"))
            else:
                found.append(float(total["total"].max() if how == "peak" else total["total"].iloc[-1]))
        return Value(*found)

    return of


def _held(services: tuple[str, ...], how: str) -> Callable[[Played], float]:
    def of(side: Played) -> float:
        table = side.samples
        total = table.assign(total=sum(table[f"{s}_billed_lower_mib"] for s in services))
        return _mean(total, "total") if how == "mean" else float(total["total"].max())

    return of


def _largest(*columns: str) -> Callable[[Played], float]:
    return lambda side: max(float(side.samples[column].max()) for column in columns)


def _averaged(*columns: str) -> Callable[[Played], float]:
    return lambda side: max(_mean(side.samples, column) for column in columns)


def _lost(side: Played) -> float:
    return items(side.samples, LOSSES)


def _lost_share(side: Played) -> float:
    return _lost(side) / max(items(side.samples, ("arrived",)), 1.0)


def _stuck(side: Played) -> float:
    """Items in the buffers of writers that nothing will start again."""
    stuck = side.run.stuck
    writers = set(stuck.loc[stuck["to_s"].isna(), "writer"])
    table = side.run.accounting()
    return float(table.loc[table["writer"].isin(writers), "buffered"].sum())


def _paid(line: str) -> Callable[[Played], Value]:
    def of(side: Played) -> Value:
        found = [row.bracket for row in side.invoice if row.line == line]
        return Value(*(float(sum(bracket[which] for bracket in found)) for which in range(3)))

    return of


def _used(side: Played) -> Value:
    own = [row.bracket for row in side.invoice if row.service != "workspace"]
    return Value(*(float(sum(bracket[which] for bracket in own)) for which in range(3)))


def _volume_full(side: Played) -> float:
    from capsim.memory.volume import volume_full

    full = volume_full(side.month, side.scenario)
    return full.at_s / 86_400 if full else float("nan")


def _without_room(side: Played) -> float:
    full_day = _volume_full(side)
    return max(0.0, MONTH_DAYS - full_day) if full_day == full_day else 0.0


def _log_files(side: Played) -> float:
    from capsim.memory.component_memory import log_files_mib

    return float(log_files_mib(side.samples, side.scenario).max())


def _buffers_full(side: Played) -> float:
    from capsim.memory.live_set import row_bytes

    held = row_bytes(side.scenario)
    writers = side.scenario.server.writers
    return float(sum(held[s] * getattr(writers, s).cap for s in STREAMS)) / MIB


def _cleanup_held(side: Played) -> float:
    from capsim.memory.constants import PUBLISHED as value

    cleanup = side.scenario.server.cleanup
    due = float(side.samples["sessions_due_max"].max())
    if cleanup is not None and cleanup.limit_rows != "none":
        due = min(due, float(cleanup.limit_rows))
    return due * value("result_row") * KIB / MIB


def _cleanup_runs(side: Played) -> float:
    cleanup = side.scenario.server.cleanup
    return 0.0 if cleanup is None else 3_600.0 / cleanup.interval_s


def _heap_limit(side: Played) -> float:
    from capsim.memory.limits import heap_limit_mib

    return float(heap_limit_mib(side.scenario))


def _deaths(side: Played) -> float:
    from capsim.engine.lives import FATAL

    return float(side.run.lives["end"].isin(FATAL).sum())


def _timeouts(side: Played) -> float:
    return float((~side.run.waits["granted"]).sum())


def _of_run(spec: MetricSpec) -> Callable[[Played], float]:
    return lambda side: float(spec.of(side.run.tables()))


def _in(fault: str, of: Callable[[Played], Value | float]) -> Callable[[Played], Value | float]:
    return lambda side: of(getattr(side, fault))


BUFFERS = [f"{stream}_buffer_max_rows" for stream in STREAMS]
FIGURES: dict[str, Figure] = {
    # over the load, once: those of every run, then those of the audit alone
    **{
        spec.name: Figure(spec.unit, spec.meaning, _of_run(spec))
        for spec in METRICS.values() if spec.name not in SOME_RUNS
    },
    "server_billed_mean": Figure("MiB", "billed memory of the server, mean", _billed("server", "mean")),
    "server_billed_peak": Figure("MiB", "billed memory of the server, peak", _billed("server", "peak")),
    "held_mean": Figure("MiB", "memory of the three services without file cache, mean", _held(SERVICES, "mean")),
    "postgres_held_peak": Figure("MiB", "memory of Postgres without file cache, peak", _held(("postgres",), "peak")),
    "log_files_end": Figure("MiB", "log files on the server's disk", _log_files),
    "buffers_full": Figure("MiB", "all buffers at their caps", _buffers_full),
    "buffer_mean": Figure("rows", "fullest buffer, mean", _averaged(*(f"{s}_buffer_mean_rows" for s in STREAMS))),
    "buffer_peak": Figure("rows", "fullest buffer, peak", _largest(*BUFFERS)),
    "cleanup_held_peak": Figure("MiB", "sessions that a run of the cleanup loads, peak", _cleanup_held),
    "cleanup_runs": Figure("1/h", "runs of the cleanup", _cleanup_runs),
    "heap_limit": Figure("MiB", "limit of the heap as V8 sees it", _heap_limit),
    "deaths": Figure("deaths", "processes ended by their memory", _deaths),
    "items_lost": Figure("items", "items lost", _lost),
    "lost_share": Figure("1", "share of the items lost", _lost_share),
    # continued to a month
    "project_billed_mean": Figure("MiB", "billed memory of the three services, mean of a month",
                                  _billed("project", "mean", month=True)),
    "project_billed_end": Figure("MiB", "the same at its end", _billed("project", "end", month=True)),
    "usage": Figure("USD", "usage of a month", _used),
    "total": Figure("USD", "to pay for a month", _paid("total")),
    "egress": Figure("USD", "egress of a month", _paid("egress")),
    "volume_full": Figure("d", "day on which the volume is full", _volume_full),
    "days_without_room": Figure("d", "days of the month with a full volume", _without_room),
    # in the stress envelope
    "stall_rss_peak": Figure("MiB", "resident memory of the server, peak in the stall",
                             _in("stall", _largest("server_rss_peak_mib"))),
    "stall_held_peak": Figure("MiB", "memory of the three services without file cache, peak in the stall",
                              _in("stall", _held(SERVICES, "peak"))),
    "stall_buffer_peak": Figure("rows", "fullest buffer in the stall", _in("stall", _largest(*BUFFERS))),
    "stall_pool_open": Figure("connections", "open connections, peak in the stall",
                              _in("stall", _largest("pool_open_max"))),
    "stall_pool_timeouts": Figure("calls", "calls that waited in vain for a connection in the stall",
                                  _in("stall", _timeouts)),
    "stall_items_lost": Figure("items", "items lost in the stall", _in("stall", _lost)),
    "stall_items_stuck": Figure("items", "items stuck for good after the stall", _in("stall", _stuck)),
    "stall_lost_share": Figure("1", "share of the items lost in the stall", _in("stall", _lost_share)),
    "outage_lost_share": Figure("1", "share of the items lost in the outage", _in("outage", _lost_share)),
}  # fmt: skip

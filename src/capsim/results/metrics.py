"""Every figure of a run, declared once.

Summaries, columns of sweeps, targets, the audit, cards, reports, the explorer, documents and the site read `METRICS`:
a figure that is added here is in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from capsim.results.window_tables import WindowTables, items
from capsim.scenario.columns import SERVICES
from capsim.scenario.workload import STREAMS

DAY_S = 86_400
ALL, EACH = "all replicas", "each replica"
SIMULATED, MODELLED, LOAD = "simulated", "modelled", "load"
FORMULA, IN_LAW = "closed formula", "simulated in law"

Place = Literal["card", "report", "explorer"]
Group = Literal["memory", "losses", "load"]

# What a name in a table ends with, by unit.
SUFFIXES: Mapping[str, str] = {
    "MiB": "_mib", "d": "_d", "s": "_s", "ms": "_ms", "1/s": "_hz", "vCPU": "_vcpu", "rows": "_rows", "USD": "_usd",
}  # fmt: skip


@dataclass(frozen=True)
class MetricSpec:
    """A figure of one window of a run.

    Parameters
    ----------
    name : str
    unit : str
    basis : str or callable
        What it rests on: *simulated* (exact counts of the simulation), *modelled* (through fitted laws) or *load*.
    meaning : str
    of : callable
        Computes it.
    more_is_worse : bool or None
        None where neither is.
    in_law : str
        What it rests on under fidelity ``law``, if that is not told by ``basis``.
    scope : str
        Whether a figure of several replicas is of all of them together, or of each; empty where neither is meant.
    label : str
        What people call it where it is told beside few others.
    shown : tuple of str
        Where it is told beside few others; all tables have all figures.
    group : {"memory", "losses", "load"}
        The table of a terminal in which it stands.
    when : callable, optional
        Whether a run has it; without, every run has.
    """

    name: str
    unit: str
    basis: str | Callable[[WindowTables], str]
    meaning: str
    of: Callable[[WindowTables], Any]
    more_is_worse: bool | None = None
    in_law: str = ""
    scope: str = ""
    label: str = ""
    shown: tuple[Place, ...] = ()
    group: Group = "load"
    when: Callable[[WindowTables], bool] | None = None

    @property
    def column(self) -> str:
        """Its name in a table without a column of units."""
        suffix = SUFFIXES.get(self.unit, "")
        return self.name if self.name.endswith(suffix) else self.name + suffix

    def basis_of(self, seen: WindowTables) -> str:
        """What it rests on in a run."""
        basis = self.basis if isinstance(self.basis, str) else self.basis(seen)
        if seen.law:
            basis = self.in_law or (IN_LAW if basis == SIMULATED else basis)
        return f"{basis}, {self.scope}" if self.scope and seen.replicas > 1 else basis


# --- how they are computed ------------------------------------------------------------------------------------


def _sum(column: str) -> Callable[[WindowTables], Any]:
    return lambda seen: seen.samples[column].sum()


def _whole(column: str) -> Callable[[WindowTables], Any]:
    # A line is whole; what falls into a part of a second, and what the law expects, is not.
    return lambda seen: round(seen.samples[column].sum())


def _max(column: str) -> Callable[[WindowTables], Any]:
    return lambda seen: seen.samples[column].max()


def _last(column: str) -> Callable[[WindowTables], Any]:
    return lambda seen: seen.samples[column].iloc[-1]


def _mean(column: str) -> Callable[[WindowTables], Any]:
    return lambda seen: seen.mean(column)


def _mean_each(column: str) -> Callable[[WindowTables], Any]:
    return lambda seen: seen.mean(column) / seen.replicas


def _items(*fates: str) -> Callable[[WindowTables], Any]:
    return lambda seen: items(seen.samples, fates)


def _response(kind: str, column: str) -> Callable[[WindowTables], Any]:
    return lambda seen: seen.responses.loc[kind, column]


def _stuck(stream: str) -> Callable[[WindowTables], Any]:
    return lambda seen: seen.stuck_s(stream)


def _headroom(seen: WindowTables) -> float:
    offered = seen.verdict.offered
    return 1 / offered - 1 if offered and seen.verdict.part != "server" else math.nan


def _rate(seen: WindowTables) -> float:
    return seen.samples["requests"].sum() / seen.covered_s if seen.covered_s else math.nan


def _lost_share(seen: WindowTables) -> float:
    offered = items(seen.samples, ("arrived",))
    return seen.items_lost / offered if offered else 0.0


def _cached_share(seen: WindowTables) -> float:
    reads = seen.samples["queries"].sum()
    return seen.samples["queries_cached"].sum() / reads if reads else 0.0


def _full_days(seen: WindowTables) -> float:
    return math.nan if seen.full_s is None else seen.full_s / DAY_S


def _crashed(seen: WindowTables) -> int:
    return int(((seen.lived["end"] == "crash") & (seen.lived["end_s"] < seen.end_s)).sum())


def _until_full(seen: WindowTables) -> str:
    return f"simulated to day {_full_days(seen):.1f}, then all is lost" if seen.unwritten else SIMULATED


def _after_full(seen: WindowTables) -> str:
    return "not simulated: all that came" if seen.unwritten else SIMULATED


def _exact(seen: WindowTables) -> bool:
    return not seen.law


def _several(seen: WindowTables) -> bool:
    return seen.replicas > 1


# --- the figures, in the order in which a summary tells them --------------------------------------------------

_CARD: tuple[Place, ...] = ("card",)
_KEY: tuple[Place, ...] = ("card", "report", "explorer")
_WORSE: dict[str, Any] = {"more_is_worse": True}
_LOSS: dict[str, Any] = {"more_is_worse": True, "group": "losses"}
_MEMORY: dict[str, Any] = {"more_is_worse": True, "group": "memory"}
_LOOP: dict[str, Any] = {"in_law": FORMULA, "scope": EACH}
M = MetricSpec


def _of_load() -> Iterator[MetricSpec]:
    yield M("time_simulated", "s", LOAD, "time that was simulated", lambda seen: seen.end_s)
    yield M("time_without_data", "s", LOAD, "time for which the load has no data",
            lambda seen: seen.end_s - seen.covered_s)
    yield M("requests", "requests", LOAD, "requests that arrived", _sum("requests"), in_law=IN_LAW)
    yield M("request_rate_mean", "1/s", LOAD, "requests a second while the load has data", _rate, in_law=IN_LAW)
    yield M("request_rate_peak_minute", "1/s", LOAD, "requests a second in the busiest minute",
            lambda seen: (seen.samples["requests"] / seen.samples["width_s"]).max(), in_law=IN_LAW)


def _of_loop() -> Iterator[MetricSpec]:
    yield M("loop_utilisation_mean", "1", MODELLED, "share of the time in which the event loop was busy",
            _mean("loop_utilisation"), True, **_LOOP)
    yield M("loop_offered_peak_minute", "1", MODELLED, "work of the busiest minute over what the event loop can do",
            lambda seen: seen.verdict.offered, True, **_LOOP)
    yield M("loop_headroom", "1", MODELLED, "by how much the load may grow until the busiest minute fills the loop",
            _headroom, False, **_LOOP)
    yield M("loop_wait_max", "ms", MODELLED, "longest wait of a request for the event loop", _max("loop_wait_max_ms"),
            True, **_LOOP)
    yield M("loop_block_max", "ms", MODELLED, "longest single job of the event loop", _max("loop_block_max_ms"), True,
            **_LOOP)
    yield M("loop_backlog_end", "ms", MODELLED, "work that waits for the event loop at the end",
            _last("loop_backlog_ms"), True, **_LOOP)
    yield M("requests_late", "requests", MODELLED, "requests whose client stopped waiting before they were served",
            _sum("requests_late"), in_law=IN_LAW, **_WORSE)
    yield M("requests_given_up", "requests", MODELLED, "requests that were late on the client's last try",
            _sum("requests_given_up"), in_law=IN_LAW, **_WORSE)
    yield M("loop_wait_mean", "ms", FORMULA, "mean wait of a request for the event loop",
            lambda seen: seen.loop_wait_ms, True, **_LOOP, when=lambda seen: seen.law)
    for kind in (*STREAMS, "other"):
        for name in ("p50", "p95", "p99", "max"):
            what = "longest response time" if name == "max" else f"response time, percentile {name[1:]}"
            yield M(f"response_{kind}_{name}", "ms", MODELLED, f"{what} of requests of the kind {kind}",
                    _response(kind, f"{name}_ms"), when=_exact, **_WORSE)


def _of_memory() -> Iterator[MetricSpec]:
    yield M("server_rss_mean", "MiB", MODELLED, "resident memory of the server, mean", _mean("server_rss_mib"),
            scope=ALL, label="server memory, mean", shown=_KEY, **_MEMORY)
    yield M("server_rss_peak", "MiB", MODELLED, "resident memory of the server, peak", _max("server_rss_peak_mib"),
            scope=EACH, label="server memory, peak", shown=_KEY, **_MEMORY)
    yield M("server_heap_mean", "MiB", MODELLED, "heap of the server, mean", _mean("server_heap_mib"), scope=ALL,
            **_MEMORY)
    for name, what in (("rss", "resident memory"), ("heap", "heap")):  # beside the peak of one and the limit of one
        yield M(f"server_{name}_mean_each", "MiB", MODELLED, f"{what} of one replica, mean",
                _mean_each(f"server_{name}_mib"), scope=EACH, when=_several, **_MEMORY)
    brackets = {"_lower": ", with the least page cache", "": "", "_upper": ", with the most page cache"}
    for service in SERVICES:
        scope = ALL if service == "server" else ""
        name = "the server" if service == "server" else service.capitalize()
        for bracket, cache in brackets.items():
            card: dict[str, Any] = {}
            if (service, bracket) == ("postgres", ""):
                card = {"label": "billed memory of Postgres, mean", "shown": _CARD}
            yield M(f"{service}_billed{bracket}_mean", "MiB", MODELLED, f"billed memory of {name}, mean{cache}",
                    _mean(f"{service}_billed{bracket}_mib"), scope=scope, **_MEMORY, **card)
        yield M(f"{service}_cpu_mean", "vCPU", MODELLED, f"CPU of {name}, mean", _mean(f"{service}_cpu_vcpu"),
                scope=scope, **_WORSE)
    yield M("postgres_volume_end", "MiB", MODELLED, "bytes on the volume of Postgres at the end",
            _last("postgres_volume_mib"), **_MEMORY)
    yield M("volume_full_after", "d", MODELLED, "day on which the volume of Postgres is full", _full_days, False)


def _of_items() -> Iterator[MetricSpec]:
    yield M("items_offered", "items", SIMULATED, "items in requests that arrived", _items("arrived"),
            label="items offered", shown=("card", "explorer"))
    for name, fate, meaning in (
        ("dropped_at_cap", "dropped_cap", "items refused by a full buffer"),
        ("dropped_by_failure", "dropped_failed", "items in batches that were given up"),
        ("lost_uncounted", "uncounted", "items lost in no counter: updates that failed one by one"),
        ("lost_at_exit", "lost_exit", "items that a process held when it ended"),
        ("refused_while_down", "refused_down", "items that came while no process was healthy"),
    ):
        # What came to no process stands with the load: it is told with the losses as a part of their sum.
        group: Group = "load" if fate == "refused_down" else "losses"
        yield M(f"items_{name}", "items", SIMULATED, meaning, _items(fate), True, group=group)
    yield M("items_lost_volume_full", "items", _after_full, "items that came when the volume was full",
            lambda seen: seen.unwritten, **_LOSS)
    yield M("items_lost", "items", _until_full, "items lost", lambda seen: seen.items_lost, label="items lost",
            shown=_KEY, **_LOSS)
    yield M("items_lost_share", "1", _until_full, "share of the items lost", _lost_share, **_LOSS)
    for stream in STREAMS:
        yield M(f"{stream}_buffer_mean", "rows", SIMULATED, f"buffer of the {stream} writer, mean",
                _mean(f"{stream}_buffer_mean_rows"), scope=ALL, **_WORSE)
        yield M(f"{stream}_buffer_peak", "rows", SIMULATED, f"buffer of the {stream} writer, peak",
                _max(f"{stream}_buffer_max_rows"), scope=EACH, **_WORSE)
        yield M(f"{stream}_stuck_time", "s", SIMULATED, f"time in which nothing would make the {stream} writer write",
                _stuck(stream), **_LOSS)
    yield M("flushes", "flushes", SIMULATED, "flushes that began", _items("flushes"))


def _of_database() -> Iterator[MetricSpec]:
    yield M("pool_open_peak", "connections", SIMULATED, "open connections, peak", _max("pool_open_max"), scope=ALL,
            **_WORSE)
    yield M("pool_in_use_peak", "connections", SIMULATED, "connections in use, peak", _max("pool_in_use_max"),
            scope=ALL, label="connections in use, peak", shown=_CARD, **_WORSE)
    yield M("connections_refused", "connections", SIMULATED, "connections that Postgres refused",
            _sum("connections_refused"), **_WORSE)
    yield M("queries", "queries", SIMULATED, "analytics reads that ended", _sum("queries"))
    yield M("queries_failed", "queries", SIMULATED, "reads that failed", _sum("queries_failed"), **_WORSE)
    yield M("queries_cached_share", "1", SIMULATED, "share of the reads answered from the cache", _cached_share, False)
    yield M("result_rows_peak", "rows", SIMULATED, "result rows in the heap, peak", _max("result_max_rows"), **_WORSE)
    yield M("sessions_closed", "sessions", SIMULATED, "sessions that the cleanup closed", _sum("sessions_closed"))
    yield M("sessions_closed_alive", "sessions", SIMULATED, "sessions closed that were not gone",
            _sum("sessions_closed_alive"), **_WORSE)
    yield M("sessions_due_peak", "sessions", SIMULATED, "sessions that should be closed, peak",
            _max("sessions_due_max"), scope=EACH, **_WORSE)
    yield M("redis_queue_peak", "commands", SIMULATED, "commands that wait for Redis, peak", _max("redis_queued_max"),
            scope=EACH, **_WORSE)
    yield M("redis_rejected", "commands", SIMULATED, "commands rejected because too many waited",
            _sum("redis_rejected"), **_LOSS)


def _of_processes() -> Iterator[MetricSpec]:
    yield M("log_lines", "lines", MODELLED, "lines logged", _whole("log_lines"))
    yield M("log_lines_dropped", "lines", MODELLED, "lines beyond what the platform keeps in a second",
            _whole("log_lines_dropped"), **_LOSS)
    yield M("log_rate_peak", "1/s", MODELLED, "lines logged in one second, peak", _max("log_lines_max_hz"), scope=EACH,
            **_WORSE)
    yield M("processes", "processes", SIMULATED, "processes that were started", lambda seen: len(seen.lived))
    yield M("processes_crashed", "processes", SIMULATED, "processes that crashed", _crashed, **_WORSE)
    yield M("pool_waits", "calls", SIMULATED, "calls that waited for a connection", lambda seen: len(seen.called),
            **_WORSE)
    yield M("pool_wait_max", "s", SIMULATED, "longest wait of a call for a connection",
            lambda seen: seen.called["wait_s"].max() if len(seen.called) else 0, **_WORSE)
    yield M("pool_timeouts", "calls", SIMULATED, "calls that waited in vain for a connection",
            lambda seen: int((~seen.called["granted"]).sum()), **_LOSS)


METRICS: Mapping[str, MetricSpec] = {
    spec.name: spec
    for part in (_of_load, _of_loop, _of_memory, _of_items, _of_database, _of_processes)
    for spec in part()
}

# Figures that only several replicas, or only runs played by law, have.
SOME_RUNS = frozenset(spec.name for spec in METRICS.values() if spec.when not in (None, _exact))

# Of any number in a result: the figures above, series, stress tests, quantities of a bill. What is read back is in one
# of them, or nobody knows what it says.
UNITS = frozenset(spec.unit for spec in METRICS.values()) | {
    "", "GB", "USD", "GB-minute", "vCPU-minute", "month", "seat-month", "USD of usage", "writers",
}  # fmt: skip


def shown_in(place: Place) -> list[MetricSpec]:
    """The figures that are told beside few others, in their order.

    Examples
    --------
    >>> [spec.name for spec in shown_in("report")]
    ['server_rss_mean', 'server_rss_peak', 'items_lost']
    """
    return [spec for spec in METRICS.values() if place in spec.shown]

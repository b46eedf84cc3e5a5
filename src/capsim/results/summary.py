"""The figures of a run that people ask for first: one row each, with a unit and what it rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from capsim.engine.fidelity import loop_law
from capsim.memory.volume import lost_when_full, volume_full
from capsim.scenario.workload import STREAMS

if TYPE_CHECKING:
    from capsim.results.run import Run

Window = Literal["trace", "month"]
DAY_S = 86_400
ALL, EACH = "all replicas", "each replica"
_OF_EACH = ("_each", "server_rss_peak", "_buffer_peak", "redis_queue_peak", "sessions_due_peak", "log_rate_peak")
_OF_ALL = ("server_rss_mean", "server_heap_mean", "server_cpu_mean", "_buffer_mean", "pool_open_peak",
           "pool_in_use_peak")  # fmt: skip
SERVICES = ("server", "postgres", "redis")


def summary(run: Run, window: Window) -> pd.DataFrame:
    """Figures of one window of a run.

    Parameters
    ----------
    run : Run
    window : {"trace", "month"}
        The load as given, or the billed month.

    Returns
    -------
    DataFrame
        Columns ``metric``, ``value``, ``unit``, ``basis``. Averages are over the time for which the load has data;
        ``basis`` is *simulated* (exact counts of the simulation), *modelled* (through fitted laws) or *load*; under
        fidelity ``law`` also *simulated in law* and *closed formula*.
    """
    table = run.window(window)
    with_load = table[table["has_load"]]
    end_s = float(table["time_s"].iloc[-1] + table["width_s"].iloc[-1])
    rows: list[tuple[str, float, str, str]] = []

    law, replicas = run.fidelity == "law", run.scenario.server.process.replicas

    def add(metric: str, value: Any, unit: str, basis: str) -> None:
        if law and (basis == "simulated" or metric.startswith("request")):
            basis = "simulated in law"
        if law and metric.startswith("loop_"):
            basis = "closed formula"
        if replicas > 1 and (scope := scope_of(metric)):
            basis = f"{basis}, {scope}"
        rows.append((metric, float(value), unit, basis))

    covered_s = float(with_load["width_s"].sum())
    add("time_simulated", end_s, "s", "load")
    add("time_without_data", end_s - covered_s, "s", "load")
    add("requests", table["requests"].sum(), "requests", "load")
    add("request_rate_mean", table["requests"].sum() / covered_s if covered_s else np.nan, "1/s", "load")
    add("request_rate_peak_minute", (table["requests"] / table["width_s"]).max(), "1/s", "load")

    full = run.saturation(window)
    add("loop_utilisation_mean", _mean(with_load, "loop_utilisation"), "1", "modelled")
    add("loop_offered_peak_minute", full.offered, "1", "modelled")
    add("loop_headroom", 1 / full.offered - 1 if full.offered and full.part != "server" else np.nan, "1", "modelled")
    add("loop_wait_max", table["loop_wait_max_ms"].max(), "ms", "modelled")
    add("loop_block_max", table["loop_block_max_ms"].max(), "ms", "modelled")
    add("loop_backlog_end", table["loop_backlog_ms"].iloc[-1], "ms", "modelled")
    add("requests_late", table["requests_late"].sum(), "requests", "modelled")
    add("requests_given_up", table["requests_given_up"].sum(), "requests", "modelled")
    if law:
        add("loop_wait_mean", loop_law(run.scenario).wait_ms, "ms", "closed formula")
    for name, times in () if law else run.responses(window).iterrows():
        for figure in ("p50", "p95", "p99", "max"):
            add(f"response_{name}_{figure}", times[f"{figure}_ms"], "ms", "modelled")

    add("server_rss_mean", _mean(with_load, "server_rss_mib"), "MiB", "modelled")
    add("server_rss_peak", table["server_rss_peak_mib"].max(), "MiB", "modelled")
    add("server_heap_mean", _mean(with_load, "server_heap_mib"), "MiB", "modelled")
    if replicas > 1:  # a mean over the replicas, beside the peak of one and the limit of one
        add("server_rss_mean_each", _mean(with_load, "server_rss_mib") / replicas, "MiB", "modelled")
        add("server_heap_mean_each", _mean(with_load, "server_heap_mib") / replicas, "MiB", "modelled")
    for service in SERVICES:
        for bracket in ("_lower", "", "_upper"):
            name = f"{service}_billed{bracket}"
            add(f"{name}_mean", _mean(with_load, f"{name}_mib"), "MiB", "modelled")
        add(f"{service}_cpu_mean", _mean(with_load, f"{service}_cpu_vcpu"), "vCPU", "modelled")
    add("postgres_volume_end", table["postgres_volume_mib"].iloc[-1], "MiB", "modelled")

    full_s, stopped = _volume_full(run, table, end_s)
    add("volume_full_after", np.nan if full_s is None else full_s / DAY_S, "d", "modelled")

    offered = _total(table, "arrived")
    at_cap, failed = _total(table, "dropped_cap"), _total(table, "dropped_failed")
    uncounted = _total(table, "uncounted")
    add("items_offered", offered, "items", "simulated")
    add("items_dropped_at_cap", at_cap, "items", "simulated")
    add("items_dropped_by_failure", failed, "items", "simulated")
    at_exit, down = _total(table, "lost_exit"), _total(table, "refused_down")
    # Of a full volume that the run takes no notice of, the losses are known all the same: every write fails.
    unwritten = 0 if full_s is None or stopped else round(lost_when_full(table, full_s))
    until = f"simulated to day {(full_s or 0) / DAY_S:.1f}, then all is lost" if unwritten else "simulated"
    lost = at_cap + failed + uncounted + at_exit + down + unwritten
    add("items_lost_uncounted", uncounted, "items", "simulated")
    add("items_lost_at_exit", at_exit, "items", "simulated")
    add("items_refused_while_down", down, "items", "simulated")
    add("items_lost_volume_full", unwritten, "items", "simulated" if not unwritten else "not simulated: all that came")
    add("items_lost", lost, "items", until)
    add("items_lost_share", lost / offered if offered else 0, "1", until)
    for stream in STREAMS:
        add(f"{stream}_buffer_mean", _mean(with_load, f"{stream}_buffer_mean_rows"), "rows", "simulated")
        add(f"{stream}_buffer_peak", table[f"{stream}_buffer_max_rows"].max(), "rows", "simulated")
        add(f"{stream}_stuck_time", _stuck_s(run.stuck, stream, end_s), "s", "simulated")
    add("flushes", _total(table, "flushes"), "flushes", "simulated")
    add("pool_open_peak", table["pool_open_max"].max(), "connections", "simulated")
    add("pool_in_use_peak", table["pool_in_use_max"].max(), "connections", "simulated")
    add("connections_refused", table["connections_refused"].sum(), "connections", "simulated")
    reads = table["queries"].sum()
    add("queries", reads, "queries", "simulated")
    add("queries_failed", table["queries_failed"].sum(), "queries", "simulated")
    add("queries_cached_share", table["queries_cached"].sum() / reads if reads else 0, "1", "simulated")
    add("result_rows_peak", table["result_max_rows"].max(), "rows", "simulated")
    add("sessions_closed", table["sessions_closed"].sum(), "sessions", "simulated")
    add("sessions_closed_alive", table["sessions_closed_alive"].sum(), "sessions", "simulated")
    add("sessions_due_peak", table["sessions_due_max"].max(), "sessions", "simulated")
    add("redis_queue_peak", table["redis_queued_max"].max(), "commands", "simulated")
    add("redis_rejected", table["redis_rejected"].sum(), "commands", "simulated")
    # A line is whole; what falls into a part of a second, and what the law expects, is not.
    add("log_lines", round(table["log_lines"].sum()), "lines", "modelled")
    add("log_lines_dropped", round(table["log_lines_dropped"].sum()), "lines", "modelled")
    add("log_rate_peak", table["log_lines_max_hz"].max(), "1/s", "modelled")
    waits = run.waits[run.waits["asked_s"] < end_s]
    lived = run.lives[run.lives["start_s"] < end_s]
    add("processes", len(lived), "processes", "simulated")
    crashed = (lived["end"] == "crash") & (lived["end_s"] < end_s)
    add("processes_crashed", int(crashed.sum()), "processes", "simulated")
    add("pool_waits", len(waits), "calls", "simulated")
    add("pool_wait_max", waits["wait_s"].max() if len(waits) else 0, "s", "simulated")
    add("pool_timeouts", int((~waits["granted"]).sum()), "calls", "simulated")
    return pd.DataFrame(rows, columns=["metric", "value", "unit", "basis"])


def scope_of(metric: str) -> str:
    """Whether a figure of several replicas is of all of them together, or of each; empty where neither is meant.

    Examples
    --------
    >>> scope_of("server_rss_mean"), scope_of("server_rss_peak"), scope_of("items_lost")
    ('all replicas', 'each replica', '')
    """
    if metric.endswith(_OF_EACH) or metric.startswith("loop_"):
        return EACH
    return ALL if metric.endswith(_OF_ALL) or metric.startswith("server_billed") else ""


def _volume_full(run: Run, table: pd.DataFrame, end_s: float) -> tuple[float | None, bool]:
    """Since when the volume of Postgres is full in a window [s], and whether that stops the writes of the run."""
    if run.full_s is not None:
        return (run.full_s if run.full_s < end_s else None), True
    full = volume_full(table, run.scenario)
    return (full.at_s if full is not None and full.simulated else None), False


def _mean(table: pd.DataFrame, column: str) -> float:
    width = table["width_s"]
    return float((table[column] * width).sum() / width.sum()) if len(table) else np.nan


def _total(table: pd.DataFrame, what: str) -> int:
    return int(sum(table[f"{stream}_{what}"].sum() for stream in STREAMS))


def _stuck_s(stuck: pd.DataFrame, stream: str, end_s: float) -> float:
    own = stuck[stuck["writer"] == stream]
    until = own["to_s"].fillna(np.inf).clip(upper=end_s)
    return float((until - own["from_s"]).clip(lower=0).sum())

"""Whether a run kept up with its load: the event loop, the connection pool, and whether there was a server at all."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import pandas as pd

from capsim.scenario.workload import STREAMS

LONG_WAIT_S = 1.0  # chosen: from here on a player notices
FULL = 0.98  # of the connections: from here on a pool counts as full
LONG_JOB = 0.5  # of the longest wait: a job that long explains it alone

Word = Literal["stable", "blocked", "backlogged", "overloaded", "down"]


class Verdict(NamedTuple):
    """How close a run came to its limits.

    Attributes
    ----------
    verdict : {"stable", "blocked", "backlogged", "overloaded", "down"}
        *blocked*: requests waited more than a second behind a single long job. *backlogged*: they, or calls for a
        connection, waited more than a second in a queue. *overloaded*: the queue was still there at the end. *down*:
        no process was healthy at the end.
    part : {"loop", "pool", "server"}
        What the verdict is about.
    offered : float
        Work that arrived in the busiest minute, in what the loop can do in that time [1].
    headroom : float
        By how much the load may grow until the busiest minute fills the loop or the pool: 0.5 is half as much again
        [1]; negative when it is more than full; NaN where no work was done.
    """

    verdict: Word
    part: Literal["loop", "pool", "server"]
    offered: float
    headroom: float


def verdict_of(samples: pd.DataFrame, waits: pd.DataFrame | None = None, connections: int | None = None) -> Verdict:
    """Read the verdict off the facts of a run.

    Parameters
    ----------
    samples : DataFrame
        Columns of `capsim.scenario.columns.SAMPLES`, bins of about a minute.
    waits : DataFrame, optional
        Of `capsim.results.run.Run`: calls that no connection was free for when they asked.
    connections : int, optional
        Most connections of all replicas together.
    """
    widest = samples["width_s"].max()
    whole = samples[samples["width_s"] >= widest / 2]
    offered = float(whole["loop_offered"].max())
    headroom = 1 / offered - 1 if offered else math.nan
    if sum(int(samples[f"{stream}_refused_down"].iloc[-1]) for stream in STREAMS):
        return Verdict("down", "server", offered, math.nan)
    word = _of_the_loop(samples, offered)
    if waits is None or connections is None:
        return Verdict(word, "loop", offered, headroom)
    used = float(whole["pool_in_use_mean"].max()) / connections
    if used:
        headroom = min(1 / used - 1, headroom) if offered else 1 / used - 1
    of_pool = _of_the_pool(samples, waits, connections)
    order = ("stable", "blocked", "backlogged", "overloaded")
    if order.index(of_pool) > order.index(word):
        return Verdict(of_pool, "pool", offered, headroom)
    return Verdict(word, "loop", offered, headroom)


def _of_the_loop(samples: pd.DataFrame, offered: float) -> Word:
    longest_ms = samples["loop_wait_max_ms"].max()
    if samples["loop_backlog_ms"].iloc[-1] > LONG_WAIT_S * 1_000:
        return "overloaded"
    if longest_ms <= LONG_WAIT_S * 1_000:
        return "stable"
    one_job = offered < 1 and samples["loop_block_max_ms"].max() >= LONG_JOB * longest_ms
    return "blocked" if one_job else "backlogged"


def _of_the_pool(samples: pd.DataFrame, waits: pd.DataFrame, connections: int) -> Word:
    """Calls that wait for a connection; those that still wait at the end have no row of their own."""
    end_s = float(samples["time_s"].iloc[-1] + samples["width_s"].iloc[-1])
    inside = waits[waits["asked_s"] < end_s]
    if not len(inside) or inside["wait_s"].max() <= LONG_WAIT_S:
        return "stable"
    tail = samples[samples["time_s"] >= 0.9 * end_s]
    tail = tail if len(tail) else samples.iloc[-1:]
    full = float(tail["pool_in_use_mean"].min()) >= FULL * connections
    decided_s = inside["asked_s"] + inside["wait_s"]
    last = inside.loc[decided_s >= 0.9 * end_s, "wait_s"]
    return "overloaded" if full and (not len(last) or last.mean() > LONG_WAIT_S) else "backlogged"


def kept_up(verdict: Verdict, samples: pd.DataFrame, waits: pd.DataFrame) -> list[str]:
    """What a run should say of its verdict; empty if it is stable, or if there was no server."""
    block_s, wait_s = (samples[f"loop_{what}_max_ms"].max() / 1_000 for what in ("block", "wait"))
    needs = f"the busiest minute needs {100 * verdict.offered:.3g} % of what one thread can do"
    if verdict.part == "pool":
        longest_s = float(waits["wait_s"].max())
        grows = " and more of them wait at the end of the run" if verdict.verdict == "overloaded" else ""
        return [
            f"the connection pool is {verdict.verdict}: calls wait up to {longest_s:,.3g} s for a connection{grows}; "
            "make the reads shorter or rarer, or raise server.pool.limit"
        ]
    if verdict.verdict == "blocked":
        return [
            f"one long job blocked Node's event loop for {block_s:,.3g} s, and requests behind it waited up to "
            f"{wait_s:,.3g} s; this is no backlog: {needs}"
        ]
    if verdict.verdict in ("backlogged", "overloaded"):
        return [
            f"the HTTP loop is {verdict.verdict}: {needs}, its longest single job holds it for {block_s:,.3g} s, and "
            f"requests wait up to {wait_s:,.3g} s"
        ]
    return []

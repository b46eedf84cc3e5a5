"""Failure detectors: from the facts of a play to what went wrong in it, whoever or whatever caused it.

A detector reads facts only (flushes, waits, counters, samples) and knows neither the schedule nor the rules of the
writers. It says what happened, in which part, from when, and whether it was over before the play ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from capsim.base.units import US_PER_S
from capsim.engine.lives import WANTED
from capsim.engine.simulation import Death, Played
from capsim.results.accounting import accounting
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS

LOG_LINES_HZ = 500  # kept by Railway per replica; the rest is dropped (facts: railway)
WAIT_S = 1.0  # waiting longer than this for a connection counts as starvation; chosen: five times a usual flush
GROWTH = 1.25  # late flushes over early ones from which they count as ever longer; chosen
LEAST_FLUSHES = 8  # below this no trend is told from chance
BACKLOG_BATCHES = 5.0  # a level above so many batches that only grows is a backlog; chosen: half the plan's cap

KINDS = (
    "wedge",
    "stuck items",
    "longer flushes",
    "growing backlog",
    "pool starvation",
    "refused connections",
    "cap drops",
    "log lines lost",
    "batches given up",
    "uncounted loss",
    "shutdown loss",
    "heap exhausted",
    "container hang",
    "container kill",
    "restart loop",
)


@dataclass(frozen=True)
class Detection:
    """One failure in one part.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    part : str
        A writer, ``pool``, ``server``, ``database``, ``loop``, ``cleanup`` or ``log``.
    from_s, to_s : float
        When it began and was over, since the start of the load [s]; ``to_s`` is None if it never was.
    amount, unit
        How bad: items, seconds, lines ...
    """

    kind: str
    part: str
    from_s: float
    to_s: float | None
    amount: float
    unit: str


class Facts:
    """What the detectors read of a play; every table is made once, when asked for.

    Parameters
    ----------
    played : Played
        Kept with ``keep=True`` and bins of a second, or the trend of flushes and log lines cannot be told.
    deaths : list of Death
        Processes that ran out of heap.
    """

    def __init__(self, played: Played, deaths: list[Death]) -> None:
        self.played, self.deaths = played, deaths
        self.end_s = played.end_us / US_PER_S

    @property
    def scenario(self) -> Scenario:
        """What was played."""
        return self.played.scenario

    @cached_property
    def items(self) -> pd.DataFrame:
        """`capsim.results.accounting.accounting`, by writer."""
        return accounting(self.played.fleet).set_index("writer")

    @cached_property
    def samples(self) -> pd.DataFrame:
        """`capsim.scenario.columns.SAMPLES`."""
        return self.played.samples()

    @cached_property
    def stuck(self) -> pd.DataFrame:
        """Times without a timer, by writer."""
        return self.played.stuck()

    @cached_property
    def waits(self) -> pd.DataFrame:
        """Calls that waited for a connection."""
        return self.played.waits()

    @cached_property
    def flushes(self) -> pd.DataFrame:
        """One row a flush that ended, all attempts together: writer, start_s, seconds, rows."""
        if not self.played.happened:  # no process lived long enough
            return pd.DataFrame({"writer": [], "start_s": [], "seconds": [], "rows": []})
        table = self.played.batches()
        table = table[table["end_us"] >= 0]
        whole = table.groupby(["writer", "process", "batch"], sort=False, observed=True).agg(
            start_us=("start_us", "min"), end_us=("end_us", "max"), rows=("rows", "max")
        )
        whole = whole.reset_index().sort_values("start_us", kind="stable")
        whole["start_s"] = whole["start_us"] / US_PER_S
        whole["seconds"] = (whole["end_us"] - whole["start_us"]) / US_PER_S
        return whole[["writer", "start_s", "seconds", "rows"]]

    def when(self, column: str) -> tuple[float, float]:
        """Begin of the first and end of the last bin in which a count is not 0 [s]."""
        rows = self.samples[self.samples[column] > 0]
        return float(rows["time_s"].iloc[0]), float((rows["time_s"] + rows["width_s"]).iloc[-1])

    def over(self, to_s: float) -> float | None:
        """When something was over: None if it lasted to the end of the play."""
        last = self.samples.iloc[-1]
        return None if to_s >= float(last["time_s"]) else to_s

    def count(self, writer: str, fate: str) -> int:
        """Items of a writer with one of `capsim.results.accounting.FATES`."""
        return int(self.items[fate].to_dict()[writer])

    def held(self, writer: str) -> int:
        """Items in a writer's buffers at the end."""
        return sum(
            own.count
            for process in self.played.fleet.processes
            for stream, own in process.server.writers.items()
            if stream == writer
        )


def detect(facts: Facts) -> list[Detection]:
    """All failures of a play, in the order of `KINDS`.

    Examples
    --------
    >>> from capsim.engine.simulation import play
    >>> from capsim.workload import load_of
    >>> runs = [{"stream": "events", "at_ms": 0, "count": 1000, "rate_hz": 20}]
    >>> spec = Scenario(name="x", workload={"runs": runs, "duration_s": 60}, billing={"from": "2026-02-03"})
    >>> once = play(spec, load_of(spec), seed=0, replicate=0, resolution_s=1.0, keep=True, progress=None)
    >>> detect(Facts(*once))
    []
    """
    found = [detection for detector in _DETECTORS for detection in detector(facts)]
    return sorted(found, key=lambda d: KINDS.index(d.kind))


def _unwritten(facts: Facts) -> Iterator[Detection]:
    """A writer that holds items which no timer would write: for good (full, and refusing), or for too long."""
    for writer in STREAMS:
        spec = getattr(facts.scenario.server.writers, writer)
        times = facts.stuck[facts.stuck["writer"] == writer]
        last = times[times["to_s"].isna()]
        if len(last) and facts.held(writer) >= spec.cap and facts.count(writer, "dropped_cap") > 0:
            from_s = float(last["from_s"].iloc[-1])
            yield Detection("wedge", writer, from_s, None, float(facts.held(writer)), "items")
            continue
        spans = times["to_s"].fillna(facts.end_s) - times["from_s"]
        too_long = times[spans > spec.delay_ms / 1_000]
        if len(too_long):
            to_s = float(too_long["to_s"].iloc[-1])
            open_ = bool(np.isnan(to_s))
            amount = float(spans.max())
            yield Detection(
                "stuck items", writer, float(too_long["from_s"].iloc[0]), None if open_ else to_s, amount, "s"
            )


def _longer(facts: Facts) -> Iterator[Detection]:
    """Flushes of which each takes longer than the last: the trend of ranks is nearly perfect, and it is large."""
    for writer in STREAMS:
        mine = facts.flushes[facts.flushes["writer"] == writer]
        seconds = mine["seconds"].to_numpy()
        if seconds.size < LEAST_FLUSHES:
            continue
        recent = seconds[seconds.size // 4 :]  # the first ones find an empty buffer
        ranks = recent.argsort(kind="stable").argsort(kind="stable")
        trend = np.corrcoef(np.arange(recent.size), ranks)[0, 1]
        quarter = max(3, recent.size // 4)
        early, late = np.median(recent[:quarter]), np.median(recent[-quarter:])
        # A writer that is always busy and takes more rows each time, or it is only the law of the draws that varies.
        last = mine.iloc[-quarter:]
        span_s = float(last["start_s"].iloc[-1] + last["seconds"].iloc[-1] - last["start_s"].iloc[0])
        busy = float(last["seconds"].sum()) > 0.9 * span_s
        more = last["rows"].median() > mine["rows"].iloc[:quarter].median()
        if trend > 0.9 and late > GROWTH * early and busy and more:
            yield Detection(
                "longer flushes", writer, float(mine["start_s"].iloc[seconds.size // 4]), None, float(late), "s"
            )


def _backlog(facts: Facts) -> Iterator[Detection]:
    """A level that is higher in each third of the play's second half: buffers, or work that waits for the loop."""
    samples = facts.samples
    tail = samples.iloc[len(samples) // 2 :]
    if len(tail) < 9:
        return
    for writer in STREAMS:
        level = tail[f"{writer}_buffer_mean_rows"].to_numpy()
        floor = BACKLOG_BATCHES * getattr(facts.scenario.server.writers, writer).batch_rows
        if _grows(level, floor):
            yield Detection("growing backlog", writer, float(tail["time_s"].iloc[0]), None, float(level[-1]), "items")
    work_ms = tail["loop_backlog_ms"].to_numpy()
    if _grows(work_ms, 1_000.0):
        yield Detection("growing backlog", "loop", float(tail["time_s"].iloc[0]), None, float(work_ms[-1]) / 1_000, "s")


def _grows(level: np.ndarray, floor: float) -> bool:
    means = [float(part.mean()) for part in np.array_split(level, 3)]
    return means[2] > floor and means[0] * 1.1 < means[1] and means[1] * 1.1 < means[2]


def _pool(facts: Facts) -> Iterator[Detection]:
    """Calls that waited long for a connection, or in vain; and connections that Postgres does not let in."""
    waits = facts.waits
    slow = waits[(waits["wait_s"] > WAIT_S) | ~waits["granted"]]
    if len(slow):
        to_s = float((slow["asked_s"] + slow["wait_s"]).max())
        in_vain = int((~slow["granted"]).sum())
        amount, unit = (float(in_vain), "calls timed out") if in_vain else (float(slow["wait_s"].max()), "s")
        yield Detection("pool starvation", "pool", float(slow["asked_s"].min()), facts.over(to_s), amount, unit)
    refused = int(facts.samples["connections_refused"].sum())
    if refused:  # told in the last bin of an hour; it began when as many were open as ever
        most = facts.samples["pool_open_max"].max()
        from_s = float(facts.samples.loc[facts.samples["pool_open_max"] == most, "time_s"].iloc[0])
        yield Detection("refused connections", "database", from_s, None, float(refused), "connections")


def _cleanup(facts: Facts) -> Iterator[Detection]:
    """Sessions to be closed, of which every run finds more than it may close, and more each time."""
    cleanup = facts.scenario.server.cleanup
    if cleanup is None or cleanup.limit_rows == "none":
        return
    due = facts.samples["sessions_due_max"].to_numpy()
    every = max(1, round(cleanup.interval_s / float(facts.samples["width_s"].iloc[0])))
    runs = due[len(due) // 2 :: every]
    if len(runs) < 2 * LEAST_FLUSHES or runs.min() <= cleanup.limit_rows:
        return
    means = [float(part.mean()) for part in np.array_split(runs, 3)]
    if means[0] < means[1] < means[2]:
        from_s = float(facts.samples["time_s"].iloc[len(due) // 2])
        yield Detection("growing backlog", "cleanup", from_s, None, float(runs[-1]), "sessions")


def _losses(facts: Facts) -> Iterator[Detection]:
    """Items lost, by the counter that shows them or does not."""
    fates = (("cap drops", ("dropped_cap",)), ("batches given up", ("dropped_failed",)),
             ("uncounted loss", ("uncounted",)), ("shutdown loss", ("lost_exit", "refused_down")))  # fmt: skip
    for writer in STREAMS:
        for kind, columns in fates:
            lost = float(sum(facts.count(writer, column) for column in columns))
            if not lost:
                continue
            times = [facts.when(f"{writer}_{c}") for c in columns if facts.samples[f"{writer}_{c}"].any()]
            from_s, to_s = min(t[0] for t in times), max(t[1] for t in times)
            yield Detection(kind, writer, from_s, facts.over(to_s), lost, "items")


def _log(facts: Facts) -> Iterator[Detection]:
    """One error line for every dropped item, of which the platform keeps only so many a second."""
    samples = facts.samples
    lines = sum(samples[f"{writer}_dropped_cap"] for writer in STREAMS)
    beyond = (lines - LOG_LINES_HZ * samples["width_s"]).clip(lower=0)
    if (beyond > 0).any():
        at = samples[beyond > 0]
        to_s, lost = float((at["time_s"] + at["width_s"]).iloc[-1]), float(np.floor(beyond.sum()))
        yield Detection("log lines lost", "log", float(at["time_s"].iloc[0]), facts.over(to_s), lost, "lines")


def _process(facts: Facts) -> Iterator[Detection]:
    """A process that ran out of heap, out of its container, or out of restarts."""
    for kind, end in (("heap exhausted", "abort"), ("container hang", "hang"), ("container kill", "oom-kill")):
        times = [death.at_us / US_PER_S for death in facts.deaths if death.end == end]
        if times:
            yield Detection(kind, "server", min(times), facts.end_s, float(len(times)), "deaths")
    lives = facts.played.lives()
    failed = lives[~lives["end"].isin(WANTED)]
    gone = float(lives["end_s"].max()) < facts.end_s
    if len(failed) > facts.scenario.server.process.restarts_max or (gone and len(failed)):
        at_s = float(failed["end_s"].max())
        yield Detection("restart loop", "server", at_s, None, float(len(failed)), "exits")


_DETECTORS: tuple[Callable[[Facts], Iterator[Detection]], ...] = (
    _unwritten, _longer, _backlog, _cleanup, _pool, _losses, _log, _process,
)  # fmt: skip

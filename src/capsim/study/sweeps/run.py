"""`sweep`: a scenario, a design, an engine; one tidy table."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from capsim.base.errors import CapsimError
from capsim.base.files import write_text
from capsim.base.intervals import Target, paired
from capsim.base.progress import told
from capsim.base.workers import Workers
from capsim.results.frames import Sweep
from capsim.results.provenance import portable, versions
from capsim.results.replicates import combine
from capsim.scenario.file import load
from capsim.scenario.scenario import Scenario
from capsim.study.sweeps import cluster
from capsim.study.sweeps.design import KINDS, Axis, Design, Grid, Points, Product, Range, Sample, checked
from capsim.study.sweeps.journal import Journal
from capsim.study.sweeps.point import Job, Outcome, Row, Task, changed, key_of, place, run_task, split

if TYPE_CHECKING:
    from capsim.workload import Trace
    from capsim.workload.read import TraceLike

Progress = Callable[[float], None]

TABLE, ABOUT = "sweep.csv", "design.json"
MANY = 10_000  # runs that are begun without asking
CHECKED = 2_000  # points whose scenarios are made before the first is run; later ones are checked in their turn
LEAST_REPLICATES = 10  # before an interval's width is believed
TRIES = 3  # a run that was out each time a worker died is not tried again
GROWTH = 1.5  # of the number of replicates, from one look at the width to the next


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in a sweep; what was finished is in ``table``, and on disk if there is a folder."""

    def __init__(self, done: int, total: int, table: pd.DataFrame) -> None:
        super().__init__(f"{done} of {total} runs are done")
        self.done, self.total, self.table = done, total, table


def sweep(
    scenario: Scenario | str,
    vary: Mapping[str, Sequence[Any]] | None = None,
    *,
    points: Sequence[Mapping[str, Any]] | None = None,
    ranges: Mapping[str, tuple[Any, ...]] | Sequence[Range] | None = None,
    design: str = "grid",
    trace: TraceLike | None = None,
    seed: int = 0,
    replicates: int = 1,
    until: Target | None = None,
    month: bool = False,
    workers: int = 1,
    dask: str | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    yes: bool = False,
    progress: Progress | bool | None = None,
    announce: Callable[[str], None] | None = None,
) -> Sweep:
    """Run a scenario at many points; every point sees the same arrivals and the same database.

    Parameters
    ----------
    scenario : Scenario or str
        Or its name or file.
    vary : mapping
        Values of keys of the scenario, or of constants (``constants.NAME``): every combination of them is run.
    points : sequence of mapping, optional
        In place of all combinations: the points themselves.
    ranges : mapping or sequence of Range, optional
        Key to (low, high) or (low, high, "log"), for ``design``.
    design : str
        ``"grid"``: ``vary`` only; ``"list"``: the first value of every key, then the second ...; ``"lhs:N"``,
        ``"sobol:N"``: N points drawn from ``ranges``, each with every combination of ``vary``, if there is any.
    trace : Trace, str, Path, DataFrame or Series, optional
        In place of the scenario's load; as `simulate` takes it.
    seed, replicates : int
        Address of all chance, and how many runs of each point have fresh chance. Replicate r of all points shares it
        (common random numbers), so that differences between points are not luck.
    until : Target, optional
        Go on with each point until the 95 % interval of a figure is as narrow as that, or ``replicates`` are made.
    month : bool
        Simulate a billed month, and keep its figures instead of those of the load once.
    workers : int
        Processes on this machine; 1 runs all in this one.
    dask : str, optional
        Address of a Dask scheduler, or ``"local"``.
    out : path, optional
        Folder for the table and, as they are finished, the runs.
    resume : bool
        Go on from the runs that are finished there.
    yes : bool
        Begin even a design of more than 10,000 runs.
    progress : bool or callable, optional
        True: a bar, in a notebook or on a terminal. A callable is told the share that is done, 0 to 1.
    announce : callable, optional
        Told where the dashboard of a Dask cluster is.

    Returns
    -------
    Sweep
        A DataFrame: a row a point and replicate, in the order of the design: ``point``, ``replicate``, a column for
        each key, and the figures (see `capsim.study.sweeps.point.figures`). The same bytes on any engine, after any
        failure.

    Raises
    ------
    CapsimError
        Before the first run, if a key does not exist, a value is impossible, the design is very large, or the folder
        holds another one. While running, if a run fails; finished runs are kept then.
    Interrupted
        On Ctrl-C, or on a notebook's stop button; what is finished is in its ``table``: in a notebook
        ``sys.last_value.table``.

    Examples
    --------
    >>> load = {"rate_hz": 50, "duration_s": 60}
    >>> spec = Scenario(name="x", workload=load, billing={"from": "2026-02-03"})
    >>> table = sweep(spec, {"server.writers.events.batch_rows": [50, 100]})
    >>> list(table.columns[:3]), len(table)
    (['point', 'replicate', 'server.writers.events.batch_rows'], 2)
    """
    base = load(scenario) if isinstance(scenario, str) else scenario
    chosen = checked(design_of(design, vary or {}, points, ranges or {}, seed))
    if replicates < 1 or workers < 1:
        raise CapsimError(f"replicates = {replicates}, workers = {workers}: give 1 or more of each")
    _check_points(base, chosen)
    job = _job(base, chosen, trace, seed, month)
    about = _about(job, chosen)
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    runs = chosen.size * replicates
    folder = Path(out) if out is not None else None
    if runs > MANY and not yes:
        _refuse(job, chosen, runs, workers)

    def tasks(wanted: Iterable[tuple[int, int]]) -> Iterator[Task]:
        for point, replicate in wanted:
            yield Task(point, replicate, dict(zip(chosen.keys, chosen.point(point), strict=True)))

    def engine(todo: Iterator[Task]) -> Iterator[Outcome]:
        if dask is not None:
            yield from cluster.dask(job, todo, dask, workers, announce)
            return
        remedy = "use fewer --workers or a shorter load, and --resume"
        with Workers(workers, work=partial(run_task, job), tries=TRIES, name=place, remedy=remedy) as pool:
            yield from pool.each(todo)

    with Journal(folder, digest, resume=resume) as journal, told(progress, f"sweep of {base.name}") as tell:
        try:
            for wanted in _rounds(chosen.size, replicates, until, journal.rows):
                _make(journal, wanted, engine, tasks, runs if until is None else None, tell)
        except KeyboardInterrupt:
            raise Interrupted(len(journal.rows), runs, _table(chosen, journal.rows, replicates)) from None
        except CapsimError as error:
            kept = f"; {len(journal.rows)} finished runs are kept in {folder}" if folder and journal.rows else ""
            raise type(error)(*error.problems[:-1], error.problems[-1] + kept) from error
        rows = {k: v for k, v in journal.rows.items() if k[1] < replicates}
        table = _table(chosen, rows, replicates)
        table.attrs["about"] = about
        if folder is not None:
            write_text(folder / ABOUT, json.dumps({"design_sha256": digest, **about}, indent=1) + "\n")
            write_text(folder / TABLE, csv(table))
    return table


def design_of(
    name: str,
    vary: Mapping[str, Sequence[Any]],
    points: Sequence[Mapping[str, Any]] | None,
    ranges: Mapping[str, tuple[Any, ...]] | Sequence[Range],
    seed: int,
) -> Design:
    """The design that the arguments of `sweep` describe.

    Raises
    ------
    CapsimError
        If they describe none, or contradict each other.
    """
    kind, _, size = name.partition(":")
    if points is not None:
        if vary or ranges or name != "grid":
            raise CapsimError("points are given one by one; leave out vary, ranges and design")
        return Points.of(points)
    spans = tuple(_range(*item) for item in ranges.items()) if isinstance(ranges, Mapping) else tuple(ranges)
    axes = tuple(Axis(key, tuple(values)) for key, values in vary.items())
    for axis in axes:
        if not axis.values:
            raise CapsimError(f"{axis.key}: there are no values to try; give at least one")
    if kind in ("grid", "list"):
        if spans:
            raise CapsimError(f"a range needs a design that draws from it: lhs:N or sobol:N, not {name}")
        if size or not axes:
            raise CapsimError(f"design {name}: there is nothing to vary; give keys with their values")
        if kind == "grid":
            return Grid(axes)
        lengths = {len(axis.values) for axis in axes}
        if len(lengths) > 1:
            told = ", ".join(f"{axis.key} {len(axis.values)}" for axis in axes)
            raise CapsimError(f"a list takes the values of all keys side by side, and they differ in number: {told}")
        return Points(tuple(a.key for a in axes), tuple(zip(*(a.values for a in axes), strict=True)))
    if kind not in KINDS or not (size.isdecimal() and len(size) < 10):
        raise CapsimError(f"design {name} is not known; give grid, list, lhs:N or sobol:N, N being the points")
    sample = Sample("lhs" if kind == "lhs" else "sobol", int(size), spans, seed)
    return Product(sample, Grid(axes)) if axes else sample


def _range(key: str, ends: tuple[Any, ...]) -> Range:
    if len(ends) not in (2, 3) or (len(ends) == 3 and ends[2] != "log"):
        raise CapsimError(f'{key}: {ends} is no range; give (low, high) or (low, high, "log")')
    accepts = key_of(key).accepts
    whole = "a whole number" in accepts and "a number" not in accepts
    return Range(key, float(ends[0]), float(ends[1]), log=len(ends) == 3, whole=whole)


def _check_points(scenario: Scenario, design: Design) -> None:
    """Refuse what no run could begin with, before the first run."""
    for key in design.keys:
        key_of(key)
    step = max(design.size // CHECKED, 1)
    for number in range(0, design.size, step):
        task = Task(number, 0, dict(zip(design.keys, design.point(number), strict=True)))
        try:
            changed(scenario, split(task.changes)[0])
        except CapsimError as error:
            raise CapsimError(*(f"{place(task)}: {line}" for line in error.problems)) from None


def _job(scenario: Scenario, design: Design, trace: TraceLike | None, seed: int, month: bool) -> Job:
    """Read every trace once, here."""
    from capsim.workload.recorded import read_load

    trace = None if trace is None else read_load(trace, scenario.workload)
    names = {scenario.workload.trace}
    if "workload.trace" in design.keys:
        place_of_it = design.keys.index("workload.trace")
        names |= {design.point(number)[place_of_it] for number in range(design.size)}
    traces = {name: read_load(name, scenario.workload) for name in names if name and trace is None}
    return Job(scenario, trace, traces, seed, month)


def _about(job: Job, design: Design) -> dict[str, Any]:
    """All that makes a run of the sweep what it is; replicates are not in it, so more can be asked for later."""
    traces = {name: trace.sha256 or _content(trace) for name, trace in sorted(job.traces.items())}
    return {
        "scenario": portable(job.scenario.model_dump(mode="json", by_alias=True)),
        "design": portable(design.describe()),
        "trace": None if job.trace is None else job.trace.sha256 or _content(job.trace),
        "traces": sorted(traces.values()),
        "trace_span": None if job.trace is None else [job.trace.start_us, job.trace.end_us],
        "seed": job.seed,
        "window": "month" if job.month else "trace",
        "versions": versions(),
    }


def _content(trace: Trace) -> str:
    parts = (trace.bin_start_us, trace.counts, trace.times_us)
    return hashlib.sha256(b"".join(part.astype("<i8").tobytes() for part in parts)).hexdigest()


def _refuse(job: Job, design: Design, runs: int, workers: int) -> None:
    started_s = time.monotonic()
    job.run(dict(zip(design.keys, design.point(0), strict=True)), 0)
    each_s = time.monotonic() - started_s
    raise CapsimError(
        f"the design has {runs:,} runs; the first took {each_s:.2g} s, so all would take about "
        f"{duration(each_s * runs / workers)} with {workers} worker{'s' * (workers > 1)}; "
        "give --yes to begin, or ask for fewer points"
    )


def duration(seconds: float) -> str:
    """A time as people say it.

    Examples
    --------
    >>> duration(40), duration(5_400), duration(3e8)
    ('40 s', '1.5 h', '9.51 years')
    """
    for name, size in (("years", 365.25 * 86_400), ("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.3g} {name}" if seconds < 1e3 * size else f"{seconds / size:,.0f} {name}"
    return f"{seconds:.2g} s"


def _rounds(
    points: int, replicates: int, until: Target | None, rows: Mapping[tuple[int, int], Row]
) -> Iterator[tuple[Sequence[int], int]]:
    """Which points need how many replicates; a round is decided when the last one is done, whatever the engine."""
    if until is None:
        yield range(points), replicates
        return
    count = min(LEAST_REPLICATES, replicates)
    todo: Sequence[int] = range(points)
    while True:
        yield todo, count
        todo = [point for point in todo if not until.met(_values(rows, point, count, until.figure))]
        if not todo or count == replicates:
            return
        count = min(math.ceil(count * GROWTH), replicates)


def _values(rows: Mapping[tuple[int, int], Row], point: int, count: int, figure: str) -> list[float]:
    row = rows[point, 0]
    if figure not in row:
        raise CapsimError(f"{figure}: there is no such figure; figures: {', '.join(row)}")
    found = [rows[point, replicate][figure] for replicate in range(count)]
    return [math.nan if value is None else value for value in found]


def _make(
    journal: Journal,
    wanted: tuple[Sequence[int], int],
    engine: Callable[[Iterator[Task]], Iterator[Outcome]],
    tasks: Callable[[Iterable[tuple[int, int]]], Iterator[Task]],
    total: int | None,
    progress: Progress | None,
) -> None:
    points, count = wanted
    pairs = ((p, r) for p in points for r in range(count) if (p, r) not in journal.rows)
    first = next(pairs, None)
    if first is None:
        return  # no engine is started for nothing

    def rest() -> Iterator[tuple[int, int]]:
        yield first
        yield from pairs

    total = total or len(points) * count
    done = sum(1 for p, r in journal.rows if r < count) if total == len(points) * count else 0
    with closing(engine(tasks(rest()))) as outcomes:  # type: ignore[type-var]
        if progress is not None:
            progress(min(done / total, 1.0))
        for outcome in outcomes:
            journal.add(outcome)
            done += 1
            if progress is not None:
                progress(min(done / total, 1.0))


def _table(design: Design, rows: Mapping[tuple[int, int], Row], replicates: int) -> Sweep:
    """Rows in the order of the design; columns in the order in which they first appear there."""
    order = sorted(address for address in rows if address[1] < replicates)
    columns = list(dict.fromkeys(name for address in order for name in rows[address]))
    records = [
        (*address, *design.point(address[0]), *(rows[address].get(name) for name in columns)) for address in order
    ]
    table = Sweep(records, columns=["point", "replicate", *design.keys, *columns])
    table[columns] = table[columns].astype("float64")
    return table


def csv(table: pd.DataFrame) -> str:
    """The table as text, numbers with 9 significant digits.

    Examples
    --------
    >>> csv(pd.DataFrame({"point": [0], "x": [0.1 + 0.2]}))
    'point,x\\n0,0.3\\n'
    """
    return str(table.to_csv(index=False, float_format="%.9g", lineterminator="\n"))


def means(table: pd.DataFrame, figure: str) -> pd.DataFrame:
    """Mean of a figure at each point of a sweep, with its 95 % interval over the replicates.

    Returns
    -------
    DataFrame
        ``point``, the keys that were varied, the figure, ``half_width`` (NaN with one replicate) and ``replicates``.

    Examples
    --------
    >>> runs = pd.DataFrame({"point": [0, 0], "replicate": [0, 1], "redis.keys": [5, 5], "flushes": [1.0, 3.0]})
    >>> means(runs, "flushes").round(1).to_dict("records")
    [{'point': 0, 'redis.keys': 5, 'flushes': 2.0, 'half_width': 12.7, 'replicates': 2}]
    """
    keys = _keys(table, figure)
    parts = [part[["point", *keys, figure]] for _, part in table.groupby("replicate", sort=True)]
    found = combine(parts, ["point", *keys], figure)
    return found.assign(replicates=table.groupby("point")["replicate"].count().reindex(found["point"]).to_numpy())


def differences(table: pd.DataFrame, figure: str, against: int = 0) -> pd.DataFrame:
    """How much each point differs from one of them, with the 95 % interval of paired replicates.

    Returns
    -------
    DataFrame
        ``point``, the keys, ``difference`` (the point less ``against``) and ``half_width``, both in the figure's unit.

    Raises
    ------
    TooShort
        With fewer than two replicates in common.
    """
    wide = table.pivot(index="replicate", columns="point", values=figure)
    if against not in wide:
        raise CapsimError(f"against = {against}: the table has no such point; it has {wide.shape[1]}")
    keys = table.drop_duplicates("point").set_index("point")[_keys(table, figure)]
    rows: list[tuple[Any, ...]] = []
    for point in map(int, wide.columns):
        both = pd.DataFrame({"base": wide[against], "point": wide[point]}).dropna()
        found = paired(both["base"], both["point"])
        rows.append((point, *keys.loc[[point]].iloc[0], found.mean, found.half_width))
    return pd.DataFrame(rows, columns=["point", *keys.columns, "difference", "half_width"])


def _keys(table: pd.DataFrame, figure: str) -> list[str]:
    if figure not in table:
        raise CapsimError(f"{figure}: the table has no such column")
    return [name for name in table.columns[2:] if "." in name]  # a figure's name has no dot

"""One run of a sweep: which scenario it is, and which figures are kept of it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from capsim.base.document import rounded
from capsim.base.errors import CapsimError, MachineError, ScenarioError
from capsim.memory.constants import constant_of, with_constants
from capsim.results.metrics import METRICS
from capsim.results.page_cache import cache_share
from capsim.results.window_tables import Window
from capsim.scenario.constants import names_of
from capsim.scenario.file import keys
from capsim.scenario.parameters import Parameter
from capsim.scenario.scenario import Scenario
from capsim.scenario.validation import validated

if TYPE_CHECKING:
    from capsim.results.run import Run
    from capsim.workload import Trace

CONSTANTS = "constants."  # begins the key of a fitted constant
Row = dict[str, float | None]


class Task(NamedTuple):
    """A run to be made: its address in the table, and what is changed."""

    point: int
    replicate: int
    changes: dict[str, Any]


class Outcome(NamedTuple):
    """A run that was made."""

    point: int
    replicate: int
    row: Row


@dataclass(frozen=True)
class Job:
    """What all runs of a sweep share; it travels once to each worker.

    Parameters
    ----------
    scenario : Scenario
    trace : Trace or None
        In place of the scenario's own load.
    traces : mapping
        Traces that the points ask for, by the name that the scenario gives.
    seed : int
    month : bool
        Go on for a billed month, and keep its figures instead of those of the load once.
    """

    scenario: Scenario
    trace: Trace | None = None
    traces: Mapping[str, Trace] = field(default_factory=dict)
    seed: int = 0
    month: bool = False

    def run(self, changes: Mapping[str, Any], replicate: int) -> Row:
        """The figures of one run."""
        from capsim.results.run import simulate

        knobs, constants = split(changes)
        scenario = with_constants(_without_own(changed(self.scenario, knobs), constants), constants)
        trace = self.trace or self.traces.get(scenario.workload.trace or "")
        run = simulate(scenario, trace, seed=self.seed, replicate=replicate, month=self.month)
        return figures(run, "month" if self.month else "trace")


def run_task(job: Job, task: Task) -> Outcome:
    """Make one run; an error says at which point it happened.

    Raises
    ------
    CapsimError
    """
    try:
        return Outcome(task.point, task.replicate, job.run(task.changes, task.replicate))
    except CapsimError as error:
        raise type(error)(*(f"{place(task)}: {line}" for line in error.problems)) from None
    except MemoryError:
        raise MachineError(
            f"{place(task)}: out of memory; use fewer workers or a shorter load, and --resume"
        ) from None


def place(task: Task) -> str:
    """A point as an error names it.

    Examples
    --------
    >>> place(Task(3, 0, {"server.pool.limit": 5}))
    'point 3 (server.pool.limit = 5)'
    """
    told = ", ".join(f"{key} = {value}" for key, value in list(task.changes.items())[:6])
    return f"point {task.point}" + (f" ({told}{', ...' if len(task.changes) > 6 else ''})" if told else "")


def split(changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, float]]:
    """Keys of the scenario, and constants by their own names."""
    knobs = {key: value for key, value in changes.items() if not key.startswith(CONSTANTS)}
    return knobs, {k.removeprefix(CONSTANTS): float(v) for k, v in changes.items() if k.startswith(CONSTANTS)}


def _without_own(scenario: Scenario, constants: Mapping[str, float]) -> Scenario:
    """The scenario without those of its own constants that the point sets."""
    if scenario.constants is None or not constants:
        return scenario
    own = scenario.constants.model_dump()
    kept = {key: value for key, value in own.items() if constants.keys().isdisjoint(names_of(key))}
    return scenario.replace("constants", dict.fromkeys(own) | kept)


def changed(scenario: Scenario, knobs: Mapping[str, Any]) -> Scenario:
    """A scenario with several keys changed at once, validated as a whole.

    A table that the scenario leaves out is made when one of its keys is changed.

    Raises
    ------
    ScenarioError
        If a value is impossible, alone or beside the others.

    Examples
    --------
    >>> from capsim.scenario.file import load
    >>> shares = {"workload.mix.events": 0.5, "workload.mix.heartbeats": 0.45}
    >>> changed(load("after"), shares).workload.mix.events
    0.5
    """
    if not knobs:
        return scenario
    data = scenario.model_dump(mode="python", by_alias=True)
    for path, value in knobs.items():
        table: Any = data
        *parents, leaf = path.split(".")
        for name in parents:
            if table.get(name) is None:
                table[name] = {}
            table = table[name]
            if not isinstance(table, dict):
                raise ScenarioError(f"{path}: {name} is no table of this scenario, but {table}; leave it out")
        table[leaf] = value
    return validated(Scenario, data, scenario.name)


def key_of(name: str) -> Parameter:
    """A key that a sweep may vary.

    Raises
    ------
    CapsimError
        If there is no such key; the nearest one is named.

    Examples
    --------
    >>> key_of("server.pool.limt")
    Traceback (most recent call last):
    capsim.base.errors.CapsimError: server.pool.limt: there is no such key; did you mean server.pool.limit?
    """
    if name.startswith(CONSTANTS):
        constant = constant_of(name.removeprefix(CONSTANTS))
        return Parameter(name, "a number", f"{constant.value:g}", constant.unit, constant.source)
    known = {key.name: key for key in keys()}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1) or [
        other for other in known if other.rpartition(".")[2] == name.rpartition(".")[2]
    ]
    inside = any(other.startswith((name + ".", name + "[]")) for other in known)
    hint = (
        "it is a table: vary one of its keys" if inside
        else f"did you mean {near[0]}?" if near
        else "`capsim scenario keys` lists them"
    )  # fmt: skip
    raise CapsimError(f"{name}: there is no such key; {hint}")


def figures(run: Run, window: Window) -> Row:
    """The figures of one run: those of `Run.summary`, and what is paid and used; names carry units.

    ``usage_usd`` is the usage before the plan's fee, not rounded to cents line by line, so that small changes show;
    ``_lower`` and ``_upper`` are the brackets of the page cache.
    """
    row: Row = {}
    for metric, value in run.to_frame(window)["value"].items():
        row[METRICS[str(metric)].column] = _number(value)
    shares = cache_share(run, window)
    for column in ("usage_usd", "bill_usd"):
        for bracket, infix in (("expected", ""), ("lower", "_lower"), ("upper", "_upper")):
            row[column.replace("_usd", f"{infix}_usd")] = _number(shares.loc[bracket, column])
    row["page_cache_usd"] = _number(shares.loc["expected", "page_cache_usd"])
    return row


def _number(value: Any) -> float | None:
    number = float(value)
    return rounded(number) if abs(number) != float("inf") and number == number else None

"""What may be changed: knobs that an operator can turn without touching the code, and the values worth trying."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from capsim.study.sweeps.point import changed

AS_IT_IS = "as it is"
Choice = Mapping[str, int]  # of each knob, the number of its value


@dataclass(frozen=True)
class Knob:
    """One thing to turn.

    Parameters
    ----------
    name : str
        What the reader calls it, with its unit.
    keys : tuple of str
        Keys of the scenario that get the same value.
    values : tuple
        Worth trying, in order; `AS_IT_IS` leaves the keys alone.
    """

    name: str
    keys: tuple[str, ...]
    values: tuple[Any, ...]

    def changes(self, number: int) -> dict[str, Any]:
        """Keys and values of one choice."""
        value = self.values[number]
        return {} if value == AS_IT_IS else dict.fromkeys(self.keys, value)

    def told(self, number: int) -> str:
        """One choice in words."""
        value = self.values[number]
        return "on" if value == {} else "off" if value is None else str(value)


# Values: around the plan's own, by factors of about two; chosen.
_KNOBS = (
    Knob("batch [rows]", tuple(f"server.writers.{s}.batch_rows" for s in STREAMS), (25, 50, 100, 250, 500)),
    Knob("delay [ms]", tuple(f"server.writers.{s}.delay_ms" for s in STREAMS), (1_000, 2_000, 5_000, 10_000)),
    Knob("buffer cap [rows]", tuple(f"server.writers.{s}.buffer_cap_rows" for s in STREAMS),
         (500, 1_000, 2_000, 4_000, 8_000)),
    Knob("pool [connections]", ("server.pool.limit",), (3, 5, 10, 20, 40)),
    Knob("pool timeout [s]", ("server.pool.pool_timeout_s",), (5.0, 10.0, 20.0, 60.0)),
    Knob("connect timeout [s]", ("server.pool.connect_timeout_s",), (5.0, 10.0)),
    Knob("heap cap [MiB]", ("server.node.heap_cap_mib",), (128, 256, 384, 512, 1_024)),
    Knob("memory limit of the server [MiB]", ("server.container.memory_limit_mib",), (512, 1_024, "plan")),
    Knob("plan", ("billing.plan",), ("hobby", "pro")),
)  # fmt: skip
_CLEANUP = (
    Knob("cleanup interval [s]", ("server.cleanup.interval_s",), (30.0, 60.0, 120.0)),
    Knob("cleanup limit [sessions]", ("server.cleanup.limit_rows",), (100, 500, "none")),
)
_READS = (
    Knob("response cache", ("server.cache",), (None, {})),
    Knob("pages of reads [rows]", ("server.queries.take_rows",), (100, "none")),
)
# A day shows little of it: page cache grows for weeks. So its values are tried on whole months.
POSTGRES = Knob("memory limit of Postgres [MiB]", ("database.memory_limit_mib",), (1_024, 2_048, 4_096, "plan"))


def space(scenario: Scenario) -> tuple[Knob, ...]:
    """The knobs of a scenario; those of parts that it has no work for are left out.

    Examples
    --------
    >>> from capsim.scenario.file import load
    >>> [knob.name for knob in space(load("after")) if "cleanup" in knob.name]
    []
    """
    knobs = list(_KNOBS)
    if scenario.server.cleanup is not None and scenario.workload.sessions is not None:
        knobs += _CLEANUP
    if scenario.workload.queries_hz:
        knobs += _READS
    return tuple(knobs)


def with_own(knob: Knob, scenario: Scenario) -> tuple[Knob, int]:
    """The knob with the scenario's own value among its values, and which that is."""
    for number in range(len(knob.values)):
        if changed(scenario, knob.changes(number)) == scenario:
            return knob, number
    return Knob(knob.name, knob.keys, (AS_IT_IS, *knob.values)), 0


def made(scenario: Scenario, knobs: Sequence[Knob], choice: Choice) -> Scenario:
    """The scenario with a choice of every knob."""
    return changed(scenario, {k: v for knob in knobs for k, v in knob.changes(choice[knob.name]).items()})

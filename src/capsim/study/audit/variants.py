"""The servers that an audit compares: one change at a time, one left out at a time, in the plan's order, and further.

The tenth step is the smaller Railway plan, which is none of the plan's changes to the server but part of what it
promises; all ten steps together are scenario ``after``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from capsim.scenario.changes import applied
from capsim.scenario.file import load
from capsim.scenario.plan import CHANGES as CODE
from capsim.scenario.plan import FUTURE, MANUAL
from capsim.scenario.scenario import Scenario

HOBBY = "hobby"
PLAN, AS_DEPLOYED = "plan", "as deployed"  # all steps; and the same as the platform starts it
STEPS: tuple[str, ...] = (*CODE, *MANUAL, HOBBY)
ONE, OUT, CUMULATIVE, FURTHER = "one at a time", "one left out", "cumulative", "further"
FAMILIES = (ONE, OUT, CUMULATIVE, FURTHER)


class Side(NamedTuple):
    """One server: steps made on top of ``before``, then knobs; or a bundled scenario by name."""

    steps: tuple[str, ...] = ()
    knobs: tuple[tuple[str, Any], ...] = ()
    scenario: str = ""

    @classmethod
    def of(cls, steps: Iterable[str] = (), **knobs: Any) -> Side:
        """A side with its steps in the plan's order."""
        chosen = set(steps)
        return cls(tuple(step for step in (*STEPS, *FUTURE) if step in chosen), tuple(knobs.items()))


BEFORE, AFTER = Side(), Side.of(STEPS)


def scenario_of(side: Side, base: Scenario) -> Scenario:
    """The scenario of a side.

    Parameters
    ----------
    side : Side
    base : Scenario
        The server before the plan, with the load that is meant.

    Examples
    --------
    >>> made = scenario_of(AFTER, load("before"))
    >>> meant = load("after")
    >>> made.server == meant.server and made.billing == meant.billing
    True
    """
    if side.scenario:
        made = load(side.scenario).replace("workload", base.workload.model_dump(mode="python"))
    else:
        plan = {
            "changes": [step for step in side.steps if step in CODE],
            "manual": [step for step in side.steps if step in MANUAL],
            "future": [step for step in side.steps if step in FUTURE],
        }
        made = applied(base.replace("plan", plan))
        if HOBBY in side.steps:
            made = made.replace("billing.plan", HOBBY)
    for knob, value in side.knobs:
        made = made.replace(knob, value)
    return made


def pair(change: str | None, knobs: dict[str, Any]) -> tuple[Side, Side]:
    """The sides without and with a change, or with knobs of one's own on top of ``after``."""
    if change is None:
        return AFTER, AFTER._replace(knobs=tuple(knobs.items()))
    if change == PLAN:
        return BEFORE, AFTER
    if change == AS_DEPLOYED:
        return BEFORE, Side(scenario="after-as-deployed")
    if change in FUTURE:
        return AFTER, Side.of((*STEPS, change))
    return BEFORE, Side.of([change])


def family(name: str) -> list[tuple[str, Side, Side]]:
    """One family of comparisons: the change, the side that it is measured from, the side with or without it.

    Examples
    --------
    >>> [change for change, _, _ in family(CUMULATIVE)][:2], len(family(OUT))
    (['logger', 'event_cap'], 10)
    """
    if name == ONE:
        return [(step, BEFORE, Side.of([step])) for step in STEPS]
    if name == OUT:
        return [(step, Side.of(set(STEPS) - {step}), AFTER) for step in STEPS]
    if name == CUMULATIVE:
        return [(step, Side.of(STEPS[:n]), Side.of(STEPS[: n + 1])) for n, step in enumerate(STEPS)]
    return [(step, AFTER, Side.of((*STEPS, step))) for step in FUTURE]

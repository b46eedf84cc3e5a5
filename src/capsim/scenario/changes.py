"""Turns the knobs of a plan's switches, in a scenario."""

from __future__ import annotations

from capsim.base.errors import ScenarioError
from capsim.scenario.plan import KNOBS
from capsim.scenario.scenario import Scenario


def applied(scenario: Scenario) -> Scenario:
    """The scenario that a plan makes of another: its knobs turned, its ``[plan]`` empty.

    Parameters
    ----------
    scenario : Scenario
        The server before the changes, and in ``plan`` which of them are made.

    Returns
    -------
    Scenario
        The same object if no switch is on.

    Raises
    ------
    ScenarioError
        If a change concerns a part that the scenario does not have.

    Examples
    --------
    >>> import capsim as cs
    >>> applied(cs.load("before").replace("plan.changes", ["heap_cap"])).server.node.heap_cap_mib
    512
    """
    for switch in scenario.plan.switches:
        for knob, value in KNOBS[switch].items():
            if switch == "cleanup" and scenario.server.cleanup is None:
                raise ScenarioError(
                    f'{scenario.name}: [plan] changes = "cleanup" needs a cleanup to change; add [server.cleanup]'
                )
            scenario = scenario.replace(knob, value)
    return scenario.replace("plan", {}) if scenario.plan.switches else scenario

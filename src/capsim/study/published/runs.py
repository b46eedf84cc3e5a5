"""What the tables are made of: every simulation that more than one of them needs, made once.

The two scenarios of the title are simulated for the whole month, request by request. What has many rows (loads, knobs,
days, replicates) is half an hour or a day, simulated request by request and continued to a month
(`capsim.results.continued`); the table of intervals shows both ways for the same scenario, so that their difference
is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from capsim.results.run import Run, simulate
from capsim.scenario.file import load

if TYPE_CHECKING:
    import pandas as pd

    from capsim.scenario.scenario import Scenario

BEFORE, AFTER = BEFORE_AFTER = ("before", "after")
DAY, WEEK = "game-day", "web-week"
REPLICATES = 5
RATES_HZ = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
BINS_S = 300.0  # of what is continued: the memory stage is for bins of a second to a few minutes
DAY_S = 86_400.0
STRETCH_S = 1_800.0  # of a steady load


@dataclass(frozen=True)
class Runs:
    """The simulations behind the tables, each made when it is first asked for.

    Parameters
    ----------
    seed : int
        The address of all chance.
    """

    seed: int = 0

    @cached_property
    def months(self) -> dict[str, Run]:
        """The bundled scenarios before and after the plan, a whole month each, request by request."""
        return {name: simulate(load(name), DAY, seed=self.seed) for name in BEFORE_AFTER}

    @cached_property
    def days(self) -> dict[str, list[pd.DataFrame]]:
        """A day of the same scenarios; of the second, one in each replicate."""
        return {
            name: [
                simulate(load(name), DAY, seed=self.seed, replicate=number, month=False, resolution_s=BINS_S).samples
                for number in range(REPLICATES if name == AFTER else 1)
            ]
            for name in BEFORE_AFTER
        }

    @cached_property
    def week(self) -> list[pd.DataFrame]:
        """The seven days of the week-long trace under scenario after, Monday first."""
        samples = simulate(load(AFTER), WEEK, seed=self.seed, month=False, resolution_s=BINS_S).samples
        return [samples[samples["time_s"] // DAY_S == day] for day in range(7)]

    @cached_property
    def steady(self) -> dict[float, pd.DataFrame]:
        """Half an hour of scenario after under each of `RATES_HZ`."""
        return {rate_hz: self.under(load(AFTER), rate_hz) for rate_hz in RATES_HZ}

    def under(self, scenario: Scenario, rate_hz: float) -> pd.DataFrame:
        """Half an hour of a scenario under a steady load, without deploys; one rate is one set of arrivals."""
        workload = scenario.workload.model_dump(mode="python", exclude={"trace", "rate_hz", "duration_s"})
        steady = scenario.replace("workload", {**workload, "rate_hz": rate_hz, "duration_s": STRETCH_S})
        steady = steady.replace("server.lifecycle", ())
        return simulate(steady, seed=self.seed, month=False, resolution_s=BINS_S).samples

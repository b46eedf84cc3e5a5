"""When a service stops: the bill reaches the hard limit of the workspace, or a volume is full."""

from __future__ import annotations

import datetime as dt
import math
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from capsim.base.errors import CapsimError
from capsim.base.units import MIB
from capsim.cost.bill import LONGEST_CYCLE_MINUTES
from capsim.cost.usage import Window
from capsim.scenario.columns import SERVICES
from capsim.scenario.prices import Meter, plan_on, prices_on
from capsim.scenario.scenario import Scenario

if TYPE_CHECKING:  # pandas takes longer to import than the command line may
    import numpy as np
    import pandas as pd

BRACKETS = {"expected": "", "earliest": "_upper", "latest": "_lower"}  # by how much page cache is billed


class Stop(NamedTuple):
    """When the usage of a cycle reaches a sum: days since its start [d], and the date."""

    after_days: float
    date: dt.date


def usage_usd(samples: pd.DataFrame, scenario: Scenario, bracket: str = "expected") -> np.ndarray:
    """What has been used since the start of the samples, at the end of each bin with data [USD].

    Parameters
    ----------
    samples : DataFrame
        Columns `capsim.scenario.columns.SAMPLES` and `MEMORY`; of one billing cycle.
    scenario : Scenario
    bracket : {"expected", "earliest", "latest"}
        How much page cache is billed: expected, all, or least.

    Notes
    -----
    Not rounded to cents: an invoice does that, a limit looks at the meter. Page cache, CPU, egress and volume as in
    `capsim.cost.usage.service_usage`; what a bill does not model is not in it.
    """
    import numpy as np

    window = Window.of(samples)
    prices = prices_on(scenario.billing.from_date)
    gb_bytes = scenario.billing.gb_bytes

    def priced(meter: Meter, quantity: np.ndarray) -> np.ndarray:
        # Nothing used needs no price; anything used without one is an error, as on a bill.
        price = prices.unit_price(meter) if prices.has_price(meter) or quantity.any() else Fraction(0)
        return quantity * float(price)

    memory = sum(window.column(f"{service}_billed{BRACKETS[bracket]}_mib") for service in SERVICES)
    cpu = sum(window.column(f"{service}_cpu_vcpu") for service in SERVICES)
    used = priced("memory", memory * window.minutes * (MIB / gb_bytes))
    used = used + priced("cpu", cpu * window.minutes)
    used = used + priced("volume", window.column("postgres_volume_mib") * window.minutes * (MIB / gb_bytes))
    used = used + priced("egress", window.column("requests") * (scenario.billing.response_bytes / gb_bytes))
    return np.asarray(np.cumsum(used))



def hard_limit(samples: pd.DataFrame, scenario: Scenario, bracket: str = "expected") -> Stop | None:
    """When usage reaches the workspace's hard limit, or the credit of a plan that stops above it.

    Parameters
    ----------
    samples : DataFrame
        Columns `capsim.scenario.columns.SAMPLES` and `MEMORY`; only the first 31 days of them count: a new cycle
        begins at 0.
    scenario : Scenario
        Its ``billing.hard_limit_usd``, plan and date.
    bracket : {"expected", "earliest", "latest"}
        How much page cache is billed: expected, all, or least.

    Returns
    -------
    Stop or None
        None if the samples end before, or nothing limits the usage.

    Raises
    ------
    CapsimError
        If the bracket is unknown, or as for `capsim.cost.bill.bill`.
    """
    import numpy as np

    if bracket not in BRACKETS:
        raise CapsimError(f"hard_limit: there is no bracket {bracket!r}; give one of {', '.join(BRACKETS)}")
    limit = sum_that_stops(scenario)
    if limit is None:
        return None
    cycle = samples[samples["time_s"] < LONGEST_CYCLE_MINUTES * 60]
    if limit <= 0:
        return Stop(0.0, scenario.billing.from_date)
    used = usage_usd(cycle, scenario, bracket)
    over = int(np.searchsorted(used, limit))
    if over == len(used):
        return None
    bins = Window.of(cycle).bins.iloc[over]
    before = used[over - 1] if over else 0.0
    share = (limit - before) / (used[over] - before)
    after_days = (float(bins["time_s"]) + share * float(bins["width_s"])) / 86_400
    return Stop(after_days, scenario.billing.from_date + dt.timedelta(days=math.floor(after_days)))


def sum_that_stops(scenario: Scenario) -> float | None:
    """The usage at which the services stop [USD]: the hard limit, or the credit of a plan that stops above it."""
    billing = scenario.billing
    plan = plan_on(billing.plan, billing.from_date)
    sums = [] if billing.hard_limit_usd == "none" else [billing.hard_limit_usd]
    if plan.above_included == "stops":
        sums.append(float(plan.included_usage_usd))
    return min(sums) if sums else None


def stop_notes(samples: pd.DataFrame, scenario: Scenario) -> list[str]:
    """What a run should say about the sum at which its services stop; empty if the cycle stays below it."""
    stop, first = hard_limit(samples, scenario), hard_limit(samples, scenario, "earliest")
    if first is None:
        return []
    when = f"on {stop.date}" if stop else f"not at the expected page cache, on {first.date} with the most of it"
    earliest = f" (on {first.date} with the most page cache)" if stop and first.date != stop.date else ""
    return [
        f"usage reaches {sum_that_stops(scenario):g} USD, where the services stop, {when}{earliest}: "
        "from then on nothing is served, and that is not simulated; raise billing.hard_limit_usd or use less"
    ]

"""Memory and CPU of Redis at rest: an empty server with a few clients, no files written."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from capsim.memory.constants import value
from capsim.specs import Scenario

Floats = NDArray[np.float64]


def columns(samples: pd.DataFrame, scenario: Scenario) -> dict[str, Floats]:
    """Redis' part of `capsim.tables.MEMORY`: the same in every bin.

    Parameters
    ----------
    samples : DataFrame
        Any table of bins; only its length counts.
    scenario : Scenario

    Returns
    -------
    dict of str to array, shape (n,)
        By column name. *Upper* counts every page of program files that Redis touched, *lower* none of them.
    """
    held = value("redis_anon") + value("redis_kernel") + scenario.redis.clients * value("redis_client") / 1024
    cache = value("redis_cache")
    one = np.ones(len(samples))
    return {
        "redis_cpu_vcpu": value("redis_cpu_idle") * one,
        "redis_billed_lower_mib": held * one,
        "redis_billed_mib": (held + value("redis_mapped")) * one,
        "redis_billed_upper_mib": (held + cache + value("group_overhead")) * one,
    }

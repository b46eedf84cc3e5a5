"""What the services of a saved month have used by a day of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pydantic import ValidationError

from capsim.cost.spending_limit import usage_usd
from capsim.results.document import Result
from capsim.scenario.scenario import Scenario


def usage_until(result: Result, after_days: float) -> float | None:
    """What the services of a saved month use in its first days [USD]; None without a month, or of an unknown scenario.

    Parameters
    ----------
    result : Result
        Its series: means over steps of an hour, so a sum of days is exact to a fraction of one.
    after_days : float
        How many days count [d].
    """
    block = result.series.get("month")
    try:
        scenario = Scenario.model_validate(result.provenance.get("scenario"))
    except ValidationError:
        return None
    if block is None:
        return None
    means = {s.series: np.nan_to_num(np.array(s.mean, np.float64)) for s in block.series}
    steps = len(next(iter(means.values())))
    redis = next((m.value for m in result.summary["month"] if m.metric == "redis_cpu_mean"), None)
    columns = {name: values for name, values in means.items() if name.endswith(("_mib", "_vcpu"))}
    samples = pd.DataFrame(columns).assign(
        server_rss_peak_mib=columns["server_rss_mib"],  # a bill wants it, and does not price it
        time_s=block.step_s * np.arange(steps), width_s=block.step_s, has_load=True,
        requests=means["requests_hz"] * block.step_s, redis_cpu_vcpu=redis or 0.0,
    )  # fmt: skip
    used, days = usage_usd(samples, scenario), block.step_s / 86_400 * np.arange(1, steps + 1)
    return float(np.interp(after_days, np.append(0.0, days), np.append(0.0, used)))

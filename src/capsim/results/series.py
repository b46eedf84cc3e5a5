"""The samples of a run, thinned to what a plot or a saved document needs: a mean and a maximum per step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from capsim.scenario.columns import LOSSES, SERVICES
from capsim.scenario.workload import STREAMS

if TYPE_CHECKING:
    import pandas as pd

MAX_STEPS = 750  # in one window
STEPS_S = (60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 14_400, 21_600, 43_200, 86_400)


class Quantity(NamedTuple):
    """A series: columns of the samples whose sum is averaged, and those whose sum is maximised."""

    series: str
    unit: str
    mean: tuple[str, ...]
    max: tuple[str, ...]
    rate: bool = False  # the columns count what happened in a bin; the series is per second


QUANTITIES = (
    Quantity("requests_hz", "1/s", ("requests",), ("requests",), rate=True),
    Quantity("server_rss_mib", "MiB", ("server_rss_mib",), ("server_rss_peak_mib",)),
    Quantity("server_heap_mib", "MiB", ("server_heap_mib",), ("server_heap_mib",)),
    *(
        Quantity(f"{service}_billed{bracket}_mib", "MiB", (column,), (column,))
        for service in SERVICES
        for bracket in ("_lower", "", "_upper")
        for column in (f"{service}_billed{bracket}_mib",)
    ),
    Quantity("postgres_volume_mib", "MiB", ("postgres_volume_mib",), ("postgres_volume_mib",)),
    Quantity("server_cpu_vcpu", "vCPU", ("server_cpu_vcpu",), ("server_cpu_vcpu",)),
    Quantity("postgres_cpu_vcpu", "vCPU", ("postgres_cpu_vcpu",), ("postgres_cpu_vcpu",)),
    *(Quantity(f"{s}_buffer_rows", "items", (f"{s}_buffer_mean_rows",), (f"{s}_buffer_max_rows",)) for s in STREAMS),
    *(
        Quantity(f"{s}_lost_hz", "1/s", columns, columns, rate=True)
        for s in STREAMS
        for columns in (tuple(f"{s}_{how}" for how in LOSSES),)
    ),
    Quantity("pool_in_use_connections", "connections", ("pool_in_use_mean",), ("pool_in_use_max",)),
)


def step_s(span_s: float) -> int:
    """The finest step that divides a span into at most `MAX_STEPS`.

    Parameters
    ----------
    span_s : float
        Length of the window [s].

    Examples
    --------
    >>> step_s(86_400), step_s(30 * 86_400)
    (120, 3600)
    """
    for step in STEPS_S:
        if span_s <= step * MAX_STEPS:
            return step
    days = -(-span_s // (STEPS_S[-1] * MAX_STEPS))
    return int(days) * STEPS_S[-1]


def series_of(samples: pd.DataFrame, span_s: float) -> dict[str, Any]:
    """Means and maxima over equal steps of the first ``span_s`` seconds.

    Parameters
    ----------
    samples : DataFrame
        Columns of `capsim.scenario.columns.SAMPLES` and `MEMORY`.
    span_s : float
        Length of the window [s].

    Returns
    -------
    dict
        ``step_s`` and, for each of `QUANTITIES`, its name, unit, means (weighted by the width of the bins)
        and maxima (of bins). Rates are over bins that have load; a step without any is NaN.
    """
    import numpy as np
    import pandas as pd

    inside = samples[samples["time_s"] < span_s]
    step = step_s(span_s)
    number = (inside["time_s"] // step).astype("int64")
    steps = pd.RangeIndex(int(number.iloc[-1]) + 1)
    width = inside["width_s"]
    out = []
    for quantity in QUANTITIES:
        mean = inside[list(quantity.mean)].sum(axis=1)
        top = inside[list(quantity.max)].sum(axis=1)
        weight = width
        if quantity.rate:
            weight = width.where(inside["has_load"], 0.0)
            mean = (mean / width).where(inside["has_load"])
            top = mean
        mass = weight.groupby(number).sum().reindex(steps)
        means = (mean * weight).groupby(number).sum().reindex(steps) / mass.where(mass > 0, np.nan)
        tops = top.groupby(number).max().reindex(steps)
        names = {"series": quantity.series, "unit": quantity.unit}
        out.append({**names, "mean": means.to_numpy(), "max": tops.to_numpy()})
    return {"step_s": step, "series": out}

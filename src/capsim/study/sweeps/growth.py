"""Load growth: until what load a configuration holds, and what it loses and costs on the way from 0.1 to 100 times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from capsim.base.errors import CapsimError
from capsim.study.sweeps.run import sweep

if TYPE_CHECKING:
    from capsim.scenario.scenario import Scenario

FACTORS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
SHARE_LOST = 0.001  # more than one item in a thousand: it does not hold
SHARPNESS = 0.05  # the limit is found to within this share
KEPT = ("request_rate_mean_hz", "items_lost_share", "usage_usd", "bill_usd", "server_rss_peak_mib",
        "loop_wait_max_ms", "stuck_time_s")  # fmt: skip


class Growth(NamedTuple):
    """The answer of `growth`.

    Attributes
    ----------
    table : DataFrame
        A row a load: ``factor``, ``holds``, and the mean over the replicates of the rate [1/s], the share lost [1],
        usage and bill [USD], peak memory [MiB], the longest wait for the HTTP loop [ms], and how long writers were
        stuck [s].
    holds_to, fails_from : float
        Neighbouring factors of which the first holds and the second does not; 0 or inf where none was found.
    holds_to_hz, fails_from_hz : float
        The same as mean rates [1/s].
    knee : float or None
        Factor from which on a request costs more than it did, or less: where usage against load bends most on
        logarithmic axes; None without a bend.
    """

    table: pd.DataFrame
    holds_to: float
    fails_from: float
    holds_to_hz: float
    fails_from_hz: float
    knee: float | None


def growth(
    scenario: Scenario | str,
    factors: Sequence[float] = FACTORS,
    *,
    share_lost: float = SHARE_LOST,
    sharpness: float = SHARPNESS,
    **options: Any,
) -> Growth:
    """Until what load a configuration holds.

    Parameters
    ----------
    scenario : Scenario or str
    factors : sequence of float
        Multiples of its load to try; the limit is then found between two of them.
    share_lost : float
        The largest share of the items that may be lost [0..1]. A load at which a writer is stuck for more than a
        minute, or at which the HTTP loop falls behind, does not hold either.
    sharpness : float
        How close the two sides of the limit shall be, as a share.
    **options
        As for `sweep`: trace, seed, replicates, month, workers, dask, progress.

    Returns
    -------
    Growth

    Examples
    --------
    >>> from capsim.scenario.scenario import Scenario
    >>> load = {"rate_hz": 10, "duration_s": 120}
    >>> spec = Scenario(name="x", workload=load, billing={"from": "2026-02-03"})
    >>> growth(spec, (1, 2)).fails_from
    inf
    """
    tried = sorted(set(map(float, factors)))
    if not tried or tried[0] <= 0 or not np.isfinite(tried).all():
        raise CapsimError("load factors are positive numbers; give at least one")
    table = _tried(scenario, tried, share_lost, options)
    while True:
        below, above = _limit(table)
        if not (0 < below < above < np.inf) or above <= below * (1 + sharpness):
            break
        table = pd.concat([table, _tried(scenario, [float(f"{(below * above) ** 0.5:.4g}")], share_lost, options)])
        table = table.sort_values("factor", ignore_index=True)
    hz = dict(zip(table["factor"], table["request_rate_mean_hz"], strict=True))
    grid = table[table["factor"].isin(tried)]
    bend = knee(grid["factor"], grid["usage_usd"])
    return Growth(table, below, above, hz.get(below, 0.0), hz.get(above, np.inf), bend)


def _tried(
    scenario: Scenario | str, factors: Sequence[float], share_lost: float, options: dict[str, Any]
) -> pd.DataFrame:
    from capsim.scenario.file import load

    base = load(scenario) if isinstance(scenario, str) else scenario
    scales = [base.workload.scale * factor for factor in factors]
    runs = sweep(base, {"workload.scale": scales}, **options)
    runs["stuck_time_s"] = runs[[c for c in runs.columns if c.endswith("_stuck_time_s")]].sum(axis=1)
    falls_behind = runs["loop_offered_peak_minute"] >= 1
    runs["holds"] = (runs["items_lost_share"] <= share_lost) & (runs["stuck_time_s"] <= 60) & ~falls_behind
    points = runs.groupby("point")
    found = points[list(KEPT)].mean()
    found.insert(0, "factor", list(factors))
    found.insert(1, "holds", points["holds"].all())  # in every replicate
    return found.reset_index(drop=True)


def _limit(table: pd.DataFrame) -> tuple[float, float]:
    """The last factor before the first that does not hold, and that one."""
    failing = table.loc[~table["holds"], "factor"]
    above = float(failing.min()) if len(failing) else np.inf
    holding = table.loc[table["factor"] < above, "factor"]
    return (float(holding.max()) if len(holding) else 0.0), above


def knee(x: ArrayLike, y: ArrayLike, least: float = 0.05) -> float | None:
    """Where a rising curve bends most: the point farthest from the line between its ends, on logarithmic axes.

    Parameters
    ----------
    x, y : array
        Positive and rising.
    least : float
        Distance below which there is no bend, as a share of the height of the curve.

    Returns
    -------
    float or None
        One of ``x``.

    References
    ----------
    V. Satopää, J. Albrecht, D. Irwin, B. Raghavan, "Finding a 'kneedle' in a haystack", ICDCS Workshops 2011; here
    without smoothing, since the curves are.

    Examples
    --------
    >>> knee([1, 10, 100, 1000], [5, 5, 50, 500])
    10.0
    >>> knee([1, 10, 100], [1, 10, 100]) is None
    True
    """
    across, up = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(across) < 3 or (across <= 0).any() or (up <= 0).any() or up[0] == up[-1]:
        return None
    across, up = np.log(across), np.log(up)
    away = np.abs((up - up[0]) / (up[-1] - up[0]) - (across - across[0]) / (across[-1] - across[0]))
    place = int(np.argmax(away))
    return float(np.asarray(x, np.float64)[place]) if away[place] > least else None

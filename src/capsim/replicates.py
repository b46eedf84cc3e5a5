"""Several runs of one scenario into one table: the mean of each number, and how far it may be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE = 0.95
HALF_WIDTH = "half_width"


def t_quantile(degrees: int, confidence: float = CONFIDENCE) -> float:
    """Two-sided quantile of Student's t distribution.

    Parameters
    ----------
    degrees : int
        Degrees of freedom, 1 or more.
    confidence : float
        Probability between minus the quantile and plus the quantile.

    Returns
    -------
    float
        Exact to 1e-9 (bisection of the closed form for whole degrees of freedom).

    References
    ----------
    M. Abramowitz, I. A. Stegun, "Handbook of Mathematical Functions", 1964, 26.7.3 and 26.7.4.

    Examples
    --------
    >>> round(t_quantile(4), 3)
    2.776
    """
    low, high = 0.0, 1e6
    while high - low > 1e-10 * max(1.0, low):
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(middle, degrees) < confidence else (low, middle)
    return high


def _inside(t: float, degrees: int) -> float:
    """Probability that a t variable lies within plus or minus ``t``."""
    angle = math.atan(t / math.sqrt(degrees))
    cosine, odd = math.cos(angle), degrees % 2
    term = cosine if odd else 1.0
    total = term if degrees > 1 else 0.0
    for n in range(3 + odd, degrees + 1, 2):
        term *= cosine**2 * (n - 2) / (n - 1)
        total += term
    series = math.sin(angle) * total
    return 2 / math.pi * (angle + series) if odd else series


def combine(tables: Sequence[pd.DataFrame], keys: Sequence[str], interval_of: str) -> pd.DataFrame:
    """Mean of each number over replicates, with the 95 % interval of one of the columns.

    Parameters
    ----------
    tables : sequence of DataFrame
        The same table from each replicate.
    keys : sequence of str
        Columns that name a row.
    interval_of : str
        The column whose interval is wanted.

    Returns
    -------
    DataFrame
        Columns of the tables and ``half_width``, the half width of the interval in the column's own unit. It
        is Student's, so replicates are taken as independent and their mean as about normal; NaN with fewer
        than two values. A row that some replicates lack is averaged over those that have it.

    Examples
    --------
    >>> import pandas as pd
    >>> runs = [pd.DataFrame({"metric": ["rss"], "value": [v]}) for v in (100.0, 102.0)]
    >>> combine(runs, ["metric"], "value").round(1).to_dict("records")
    [{'metric': 'rss', 'value': 101.0, 'half_width': 12.7}]
    """
    import pandas as pd

    columns = list(tables[0].columns)
    if len(tables) == 1:
        return tables[0].assign(**{HALF_WIDTH: math.nan})
    groups = pd.concat(tables, ignore_index=True).groupby(list(keys), sort=False, dropna=False)
    numbers = [c for c in tables[0].select_dtypes("number").columns if c not in keys]
    other = [c for c in columns if c not in numbers and c not in keys]
    merged = pd.concat([groups[other].first(), groups[numbers].mean()], axis=1)
    n = groups[interval_of].count()
    factor = n.map({k: t_quantile(k - 1) / math.sqrt(k) for k in set(n) if k > 1})
    merged[HALF_WIDTH] = groups[interval_of].std() * factor
    return merged.reset_index()[[*columns, HALF_WIDTH]]

"""Several runs of one scenario into one table: the mean of each number, and how far it may be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from capsim.base.intervals import t_quantile

if TYPE_CHECKING:
    import pandas as pd

HALF_WIDTH = "half_width"


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

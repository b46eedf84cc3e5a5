"""The figures of a run that people ask for first: one row each, with a unit and what it rests on."""

from __future__ import annotations

import pandas as pd

from capsim.results.metrics import METRICS
from capsim.results.window_tables import WindowTables


def summary(seen: WindowTables) -> pd.DataFrame:
    """Figures of one window of a run.

    Parameters
    ----------
    seen : WindowTables

    Returns
    -------
    DataFrame
        Columns ``metric``, ``value``, ``unit``, ``basis``: those of `capsim.results.metrics.METRICS` that the run has.
        Averages are over the time for which the load has data; ``basis`` is *simulated* (exact counts of the
        simulation), *modelled* (through fitted laws) or *load*; under fidelity ``law`` also *simulated in law* and
        *closed formula*.
    """
    rows = [
        (spec.name, float(spec.of(seen)), spec.unit, spec.basis_of(seen))
        for spec in METRICS.values()
        if spec.when is None or spec.when(seen)
    ]
    return pd.DataFrame(rows, columns=["metric", "value", "unit", "basis"])

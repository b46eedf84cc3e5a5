"""Tables that show themselves: a bill and a sweep are DataFrames with a card in a notebook and plots of their own.

Whatever is cut out of them is a plain DataFrame again.
"""

from __future__ import annotations

import pandas as pd

from capsim.base.display import HasCard, HasPlots


class Bill(HasCard, HasPlots, pd.DataFrame):
    """Lines of a bill, columns of `capsim.scenario.columns.BILL`: quantity x unit price, one row a line [USD]."""

    def to_frame(self) -> pd.DataFrame:
        """All lines as a plain table."""
        return pd.DataFrame(self)


class Sweep(HasCard, HasPlots, pd.DataFrame):
    """A row a point and replicate: ``point``, ``replicate``, the keys that were varied, then the figures."""

    @property
    def keys_varied(self) -> list[str]:
        """The keys of the scenario (or constants) that differ between points."""
        return [name for name in self.columns[2:] if "." in name]  # a figure's name has no dot

    @property
    def figures(self) -> list[str]:
        """The figures of a run; units are in the names."""
        return [name for name in self.columns[2:] if "." not in name]

    def to_frame(self) -> pd.DataFrame:
        """All runs as a plain table."""
        return pd.DataFrame(self)

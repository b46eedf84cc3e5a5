"""Tables that show themselves: a bill and a sweep are DataFrames with a card in a notebook and plots of their own.

Whatever is cut out of them is a plain DataFrame again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from capsim.cards import bill_card, sweep_card

if TYPE_CHECKING:
    from capsim.plots.objects import BillPlots, SweepPlots


class Bill(pd.DataFrame):
    """Lines of a bill, columns of `capsim.tables.BILL`: quantity x unit price, one row a line [USD]."""

    @property
    def plot(self) -> BillPlots:  # type: ignore[override]
        """Plots of the bill, each taking and returning Axes: ``bill.plot.lines(ax=None)``."""
        from capsim.plots.objects import BillPlots

        return BillPlots(self)

    def to_frame(self) -> pd.DataFrame:
        """All lines as a plain table."""
        return pd.DataFrame(self)

    def _repr_html_(self) -> str:
        return bill_card(self)


class Sweep(pd.DataFrame):
    """A row a point and replicate: ``point``, ``replicate``, the keys that were varied, then the figures."""

    @property
    def keys_varied(self) -> list[str]:
        """The keys of the scenario (or constants) that differ between points."""
        return [name for name in self.columns[2:] if "." in name]  # a figure's name has no dot

    @property
    def figures(self) -> list[str]:
        """The figures of a run; units are in the names."""
        return [name for name in self.columns[2:] if "." not in name]

    @property
    def plot(self) -> SweepPlots:  # type: ignore[override]
        """Plots of the sweep, each taking and returning Axes: ``table.plot.means(key, figure, ax=None)``."""
        from capsim.plots.objects import SweepPlots

        return SweepPlots(self)

    def to_frame(self) -> pd.DataFrame:
        """All runs as a plain table."""
        return pd.DataFrame(self)

    def _repr_html_(self) -> str:
        return sweep_card(self, self.keys_varied, self.figures)

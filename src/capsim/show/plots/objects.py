"""Plots that hang on objects: ``trace.plot.rate()``, ``comparison.plot.bill()``; each takes an Axes and returns one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.axes import Axes

from capsim.base.units import BILLED_MONTH_MINUTES
from capsim.show.plots.run import WindowPlots, bill
from capsim.show.plots.sides import compare_bill, compare_memory, compare_stress
from capsim.show.plots.steps import Caps, steps_of
from capsim.show.plots.sweep import sweep_means
from capsim.show.plots.trace import dispersion, rate

if TYPE_CHECKING:
    import pandas as pd

    from capsim.results.document import Comparison, Result
    from capsim.results.window_tables import Window
    from capsim.study.findings.document import Finding
    from capsim.workload import Trace


class TracePlots:
    """Plots of a recorded load."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def rate(self, ax: Axes | None = None) -> Axes:
        """Requests per second against time; see `capsim.show.plots.rate`."""
        return rate(self._trace, ax=ax)

    def dispersion(self, ax: Axes | None = None) -> Axes:
        """Variance over mean against the width of the bins; see `capsim.show.plots.dispersion`."""
        return dispersion({self._trace.name: self._trace}, ax=ax)


class ResultPlots(WindowPlots):
    """Plots of a result document.

    Parameters
    ----------
    result : Result
    window : {"trace", "month"}
        The load as given, or the billed month.
    """

    def __init__(self, result: Result, window: Window = "trace") -> None:
        super().__init__(Caps.of_document(result.provenance))
        self._result = result
        self._window: Window = window

    @property
    def month(self) -> ResultPlots:
        """The same plots over the billed month."""
        return ResultPlots(self._result, "month")

    def steps(self) -> pd.DataFrame:
        """What is drawn over time; see `capsim.show.plots.steps_of`."""
        return _steps(self._result, self._window)

    def _bill(self) -> pd.DataFrame:
        return self._result.table("bill", self._window)


class ComparisonPlots:
    """Plots of results side by side; a bundled scenario has the same colour in all of them."""

    def __init__(self, comparison: Comparison) -> None:
        self._results = comparison.results

    def memory(self, ax: Axes | None = None) -> Axes:
        """Resident set of the server of each side; see `capsim.show.plots.compare_memory`."""
        return compare_memory({result.name: _steps(result, "trace") for result in self._results}, ax)

    def bill(self, ax: Axes | None = None) -> Axes:
        """Bills, over the month if every side has one; see `capsim.show.plots.compare_bill`."""
        from capsim.show.headline import bill_window

        window = bill_window(self._results)
        return compare_bill({result.name: result.table("bill", window) for result in self._results}, ax)

    def stress(self, ax: Axes | None = None) -> Axes:
        """What each side loses under stress; see `capsim.show.plots.compare_stress`."""
        return compare_stress({result.name: result.table("stress") for result in self._results}, ax)


class BillPlots:
    """Plots of a bill."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._table = table

    def lines(self, ax: Axes | None = None) -> Axes:
        """Usage of each service stacked by line, and what is to be paid; see `capsim.show.plots.bill`."""
        return bill(self._table, ax)


class SweepPlots:
    """Plots of a sweep."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._table = table

    def means(self, key: str, figure: str, ax: Axes | None = None) -> Axes:
        """A figure against a key, with 95 % intervals where there are replicates; see
        `capsim.show.plots.sweep_means`."""
        from capsim.study.sweeps.run import means

        return sweep_means(means(self._table, figure), key, figure, ax)


class FindingPlots:
    """Plots of a finding."""

    def __init__(self, finding: Finding) -> None:
        self._finding = finding

    def schedule(self, ax: Axes | None = None) -> Axes:
        """The largest buffer and the items lost while the schedule is played.

        Raises
        ------
        CapsimError
            If the finding has no schedule: the load itself does it.
        """
        from capsim.show.findings_page import schedule_plot

        return schedule_plot(self._finding, ax)


def _steps(result: Result, window: Window) -> pd.DataFrame:
    span_s = BILLED_MONTH_MINUTES * 60.0 if window == "month" else result.trace_span_s
    return steps_of(result.series[window], span_s)

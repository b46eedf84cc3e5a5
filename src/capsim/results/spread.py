"""How far the peak of memory spreads over chance, where reads that come at random decide it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from capsim.base.document import rounded
from capsim.results.document import Metric, Result

if TYPE_CHECKING:
    from capsim.results.document import RunLike
    from capsim.scenario.scenario import Scenario

RUNS = 8  # of the load, once: enough to see that one figure means little; their range holds 78 % of all runs (7 of 9)
LONGEST_S = 2 * 86_400.0  # a longer load is not run again unasked
DECIDES = 0.1  # of the figure: a smaller range is not worth a line
PEAK = "server_rss_peak"


def wanted(scenario: Scenario, span_s: float) -> bool:
    """Whether one run of a load may be one draw of many: reads come by chance, and what they load is held at once."""
    return scenario.workload.queries_hz > 0 and span_s <= LONGEST_S


def peak_of(run: RunLike) -> float:
    """The peak of memory over the load once [MiB]."""
    table = run.summary("trace").set_index("metric")["value"]
    return float(table[PEAK])


def with_spread(result: Result, peaks: Iterable[float]) -> Result:
    """The result with the lowest and the highest peak of several runs of its load, if they are far apart.

    Parameters
    ----------
    result : Result
    peaks : iterable of float
        Of runs with other draws, those of the result itself among them [MiB].

    Returns
    -------
    Result
        With ``server_rss_peak_lowest`` and ``_highest``, and a warning; the same one if the range is below a tenth.
    """
    found = sorted(peaks)
    rows = list(result.summary["trace"])
    place = next((n for n, row in enumerate(rows) if row.metric == PEAK), None)
    if place is None or len(found) < 2 or found[-1] - found[0] <= DECIDES * found[-1]:
        return result
    basis = f"of {len(found)} runs"
    ends = (("lowest", found[0]), ("highest", found[-1]))
    rows[place + 1 : place + 1] = [
        Metric(metric=f"{PEAK}_{name}", value=rounded(value), unit="MiB", basis=basis, half_width=None)
        for name, value in ends
    ]
    said = (
        f"the peak of memory depends on which reads meet by chance: {found[0]:,.0f} to {found[-1]:,.0f} MiB in "
        f"{len(found)} runs of the load; a difference of peaks within that range says nothing"
    )
    return result.model_copy(
        update={"summary": {**result.summary, "trace": tuple(rows)}, "warnings": (*result.warnings, said)}
    )

"""Which key, or which fitted constant, moves a figure: Morris screening and Sobol indices, by SALib (extra ``sweep``).

Morris costs (k + 1) x N runs for k factors, and ranks them; Sobol costs (k + 2) x N, and says which share of the
variance each is responsible for, alone (S1) and with all that it takes part in (ST).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from capsim.base.errors import CapsimError
from capsim.memory.uncertainty import residuals
from capsim.study.sweeps.design import Range
from capsim.study.sweeps.point import CONSTANTS
from capsim.study.sweeps.run import _range, sweep

if TYPE_CHECKING:
    from capsim.scenario.scenario import Scenario

Method = Literal["morris", "sobol"]
LEVELS = 4  # of Morris' grid
PAGE_CACHE = "page_cache"  # the bracket of a bill as a factor: 0 lower, 0.5 expected, 1 upper
FIGURES = ("server_rss_mean_mib", "items_lost_share", "usage_usd")


class Plan(NamedTuple):
    """Where a method wants to look: shares of the ranges, shape (runs, factors)."""

    method: Method
    names: tuple[str, ...]
    shares: NDArray[np.float64]
    seed: int

    @property
    def problem(self) -> dict[str, Any]:
        """As SALib wants it, on the unit cube."""
        return {"num_vars": len(self.names), "names": list(self.names), "bounds": [[0.0, 1.0]] * len(self.names)}


def plan(names: Sequence[str], method: Method, size: int, seed: int = 0) -> Plan:
    """The points that a method needs.

    Parameters
    ----------
    names : sequence of str
        The factors.
    method : {"morris", "sobol"}
    size : int
        Trajectories (Morris; 10 or more), or base points (Sobol; a power of two).
    seed : int

    Raises
    ------
    CapsimError
        If the extra is missing, or the size does not suit the method.

    Examples
    --------
    >>> plan(["a", "b"], "morris", 10).shares.shape, plan(["a", "b"], "sobol", 8).shares.shape
    ((30, 2), (32, 2))
    """
    _salib()
    if len(names) < 2:
        raise CapsimError(f"{len(names)} factors cannot be ranked; give two or more")
    made = Plan(method, tuple(names), np.empty((0, len(names))), seed)
    if method == "morris":
        from SALib.sample import morris

        if size < 2:
            raise CapsimError(f"morris with {size} trajectories has no spread; give 2 or more, better 10")
        return made._replace(shares=morris.sample(made.problem, size, num_levels=LEVELS, seed=seed))
    if method == "sobol":
        from SALib.sample import sobol

        if size < 2 or size & (size - 1):
            raise CapsimError(f"sobol with {size} base points is not balanced; give a power of two")
        shares = sobol.sample(made.problem, size, calc_second_order=False, seed=seed)
        return made._replace(shares=shares)
    raise CapsimError(f"method {method} is not known; give morris or sobol")


def indices(made: Plan, values: NDArray[np.float64]) -> pd.DataFrame:
    """What the figure's values at the points of a plan say about each factor, the most influential first.

    Returns
    -------
    DataFrame
        ``factor``; of Morris ``mu_star`` (mean size of the effect over the factor's whole range, in the figure's
        unit), ``mu_star_half_width``, ``sigma`` (not zero: it depends on the others, or is not linear); of Sobol
        ``S1``, ``ST`` and their half widths, shares of the variance. 95 % intervals by bootstrap. All zero where the
        figure never changes.

    References
    ----------
    M. D. Morris, Technometrics 33(2), 1991; F. Campolongo, J. Cariboni, A. Saltelli, Environmental Modelling &
    Software 22(10), 2007. A. Saltelli et al., Computer Physics Communications 181(2), 2010.
    """
    names = list(made.names)
    values = np.asarray(values, np.float64)
    if len(values) != len(made.shares) or not np.isfinite(values).all():
        raise CapsimError(f"indices need {len(made.shares)} finite values of the figure, one a point")
    flat = values.max() - values.min() <= 1e-9 * max(abs(values).max(), 1e-300)
    if made.method == "morris":
        from SALib.analyze import morris

        columns = {"mu_star": "mu_star", "mu_star_half_width": "mu_star_conf", "sigma": "sigma"}
        analysed = {} if flat else morris.analyze(
            made.problem, made.shares, values, num_levels=LEVELS, seed=made.seed
        )  # fmt: skip
        by = "mu_star"
    else:
        from SALib.analyze import sobol

        columns = {"S1": "S1", "S1_half_width": "S1_conf", "ST": "ST", "ST_half_width": "ST_conf"}
        analysed = {} if flat else sobol.analyze(
            made.problem, values, calc_second_order=False, seed=made.seed
        )  # fmt: skip
        by = "ST"
    table = pd.DataFrame({"factor": names})
    for column, theirs in columns.items():
        table[column] = np.asarray(analysed[theirs], np.float64) if analysed else 0.0
    return table.sort_values([by, "factor"], ascending=[False, True], kind="stable").reset_index(drop=True)


def sensitivity(
    scenario: Scenario | str,
    ranges: Mapping[str, tuple[Any, ...]] | None = None,
    *,
    constants: bool | Sequence[str] = True,
    method: Method = "morris",
    size: int = 10,
    figures: Sequence[str] = FIGURES,
    **options: Any,
) -> pd.DataFrame:
    """Which keys and which fitted constants move memory, losses and the bill most.

    Parameters
    ----------
    scenario : Scenario or str
    ranges : mapping, optional
        Keys of the scenario with (low, high) or (low, high, "log").
    constants : bool or sequence of str
        Vary all constants of the memory model that are not exact within their residuals, those named, or none.
    method, size
        As for `plan`.
    figures : sequence of str
        Columns of `sweep`. With ``usage_usd``, how much page cache is billed is a factor, too: `PAGE_CACHE`.
    **options
        As for `sweep`: trace, seed, month, workers, dask, out, resume, progress ...

    Returns
    -------
    DataFrame
        ``figure``, ``rank``, ``factor``, the columns of `indices`, and of each factor ``low``, ``high`` and
        ``basis``: *given*, *measured* residual, or *assumed*. All runs share one replicate, so chance moves nothing.

    Examples
    --------
    >>> from capsim.scenario.scenario import Scenario
    >>> load = {"rate_hz": 20, "duration_s": 60}
    >>> spec = Scenario(name="x", workload=load, billing={"from": "2026-02-03"})
    >>> keys = {"workload.rate_hz": (10, 40)}
    >>> table = sensitivity(spec, keys, constants=["server_file"], size=4, figures=["server_rss_mean_mib"])
    >>> table.factor[0], table.basis.tolist()
    ('workload.rate_hz', ['given', 'measured'])
    """
    known = residuals()
    names = list(known) if constants is True else list(constants or ())
    for name in names:
        if name not in known:
            raise CapsimError(f"{name}: is no constant with an error; cs.constants() lists them with theirs")
    spans = [_range(key, tuple(ends)) for key, ends in (ranges or {}).items()]
    basis = ["given"] * len(spans) + [known[name].basis for name in names]
    spans += [Range(CONSTANTS + name, known[name].low, known[name].high) for name in names]
    factors = [span.key for span in spans]
    bracketed = "usage_usd" in figures and constants is not False
    if bracketed:
        factors, basis = [*factors, PAGE_CACHE], [*basis, "assumed"]
    made = plan(factors, method, size, options.get("seed", 0))
    rows = made.shares[:, : len(spans)].tolist()
    points = [{span.key: span.at(share) for span, share in zip(spans, row, strict=True)} for row in rows]
    # Runs that differ in nothing but the bracket, which is no run's own, are made once.
    unique = list({tuple(point.values()): point for point in points}.values())
    number = {tuple(point.values()): place for place, point in enumerate(unique)}
    table = sweep(scenario, points=unique, **options)
    table = table.iloc[[number[tuple(point.values())] for point in points]].reset_index(drop=True)
    told = pd.DataFrame({
        "factor": factors,
        "low": [*(span.low for span in spans), *([0.0] if bracketed else [])],
        "high": [*(span.high for span in spans), *([1.0] if bracketed else [])],
        "basis": basis,
    })  # fmt: skip
    parts = []
    for figure in figures:
        if figure not in table:
            raise CapsimError(f"{figure}: there is no such figure; figures: {', '.join(table.columns[2:])}")
        values = table[figure].fillna(0.0).to_numpy(np.float64)
        if figure == "usage_usd" and bracketed:
            values = values + _bracket(table, made.shares[:, -1])
        found = indices(made, values)
        found.insert(0, "figure", figure)
        found.insert(1, "rank", np.arange(1, len(found) + 1))
        parts.append(found.merge(told, on="factor", how="left"))
    return pd.concat(parts, ignore_index=True)


def _bracket(table: pd.DataFrame, share: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the bracket adds to the usage: nothing at 0.5, the distance to its ends at 0 and 1 [USD]."""
    low = (table["usage_lower_usd"] - table["usage_usd"]).to_numpy(np.float64)
    high = (table["usage_upper_usd"] - table["usage_usd"]).to_numpy(np.float64)
    return np.where(share < 0.5, low * (1 - 2 * share), high * (2 * share - 1))


def _salib() -> None:
    try:
        import SALib  # noqa: F401
    except ImportError as error:
        raise CapsimError("sensitivity needs the extra 'sweep': pip install 'capsim[sweep]'") from error

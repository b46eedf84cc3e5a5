"""A straight line through samples whose errors hang together: least squares after the errors were made independent."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_RHO = 0.98  # of one error with the next; beyond it samples so close say nothing of a level
ROUNDS = 8
FEWEST_FREE = 3.0


@dataclass(frozen=True)
class FittedLine:
    """Coefficients, their covariance, and how the errors are.

    Attributes
    ----------
    values : array, shape (p,)
    covariance : array, shape (p, p)
    rho : float
        Correlation of an error with the one before.
    sd : float
        Of an error.
    free : float
        Degrees of freedom that are left, of as many independent samples as these are worth.
    strength : float
        F of the regression of the first column on its instrument; below ten the coefficients are not told apart
        (D. Staiger, J. H. Stock, Econometrica 65, 1997). Without an instrument it is infinite.
    """

    values: Floats
    covariance: Floats
    rho: float
    sd: float
    free: float
    strength: float = math.inf

    @property
    def t90(self) -> float:
        """Standard deviations from the middle to either end of a 90 % interval."""
        from scipy.stats import t

        return float(t.ppf(0.95, self.free))


def line(columns: Floats, told: Floats, instrument: Floats | None = None) -> FittedLine:
    """Fit by least squares with errors of first order (D. Cochrane, G. H. Orcutt, JASA 44(245), 1949).

    Parameters
    ----------
    columns : array, shape (n, p)
    told : array, shape (n,)
    instrument : array, shape (n,), optional
        Where the first column is itself uncertain: another that goes with what it should be and not with its errors.
        Without it the errors of the column pull its coefficient to nothing (A. Wald, Ann. Math. Stat. 11, 1940).

    Examples
    --------
    >>> x = np.arange(50.0)
    >>> found = line(np.column_stack([np.ones(50), x]), 3 + 2 * x + np.where(x % 2 > 0, 0.1, -0.1))
    >>> found.values.round(2).tolist()
    [3.0, 2.0]
    """
    n, p = columns.shape
    beside = columns if instrument is None else np.column_stack([instrument, columns[:, 1:]])
    rho = 0.0
    for _ in range(ROUNDS):
        left = told - columns @ _solved(columns, beside, told, rho)
        raw = float(left[1:] @ left[:-1] / max(float(left[:-1] @ left[:-1]), 1e-300))
        # The errors of a fit are less alike than those of the truth (M. G. Kendall, Biometrika 41, 1954).
        before, rho = rho, float(np.clip(raw + (1 + p + 2 * p * max(raw, 0.0)) / n, 0.0, MOST_RHO))
        if abs(rho - before) < 1e-4:
            break
    x, y, z = (_independent(values, rho) for values in (columns, told, beside))
    values = _solved(columns, beside, told, rho)
    free = max(n * (1 - rho) / (1 + rho) - p, FEWEST_FREE)
    variance = float(((y - x @ values) ** 2).sum() / max(n - 1 - p, 1)) + 1e-300
    shown = z @ _inverse(z.T @ z) @ (z.T @ x)  # of the columns, what the instrument shows
    sd = float(np.sqrt(variance / (1 - rho**2)))
    strength = math.inf if instrument is None else _strength(x, z)
    return FittedLine(values, variance * _inverse(shown.T @ shown), rho, sd, free, strength)


def _independent(values: Floats, rho: float) -> Floats:
    out: Floats = values[1:] - rho * values[:-1]
    return out


def _solved(columns: Floats, beside: Floats, told: Floats, rho: float) -> Floats:
    x, y, z = (_independent(values, rho) for values in (columns, told, beside))
    solved: Floats = np.linalg.lstsq(z.T @ x, z.T @ y, rcond=None)[0].astype(np.float64)
    return solved


def _inverse(square: Floats) -> Floats:
    """Of a symmetric matrix; what it does not tell is very uncertain, not certain as in a pseudo-inverse."""
    scale = np.sqrt(np.maximum(np.diag(square), 1e-300))
    values, directions = np.linalg.eigh(square / np.outer(scale, scale))
    out: Floats = (directions / np.maximum(values, 1e-12)) @ directions.T / np.outer(scale, scale)
    return out


def _strength(x: Floats, z: Floats) -> float:
    others = x[:, 1:]
    first, shows = (c - others @ np.linalg.lstsq(others, c, rcond=None)[0] for c in (x[:, 0], z[:, 0]))
    squared = float(first @ shows) ** 2 / max(float(first @ first) * float(shows @ shows), 1e-300)
    return float(squared / max(1 - squared, 1e-12) * (len(x) - x.shape[1]))

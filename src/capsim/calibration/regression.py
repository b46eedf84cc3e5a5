"""A straight line through samples whose errors hang together: least squares after the errors were made independent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_RHO = 0.98  # of one error with the next; beyond it samples so close say nothing of a level
ROUNDS = 8
FEWEST_FREE = 3.0


@dataclass(frozen=True)
class Line:
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
    slope : array, shape (n - 1, p)
        The columns with the errors made independent and of variance 1.
    """

    values: Floats
    covariance: Floats
    rho: float
    sd: float
    free: float
    slope: Floats

    @property
    def t90(self) -> float:
        """Standard deviations from the middle to either end of a 90 % interval."""
        from scipy.stats import t

        return float(t.ppf(0.95, self.free))


def line(columns: Floats, told: Floats) -> Line:
    """Fit by least squares with errors of first order (D. Cochrane, G. H. Orcutt, JASA 44(245), 1949).

    Parameters
    ----------
    columns : array, shape (n, p)
    told : array, shape (n,)

    Examples
    --------
    >>> x = np.arange(50.0)
    >>> found = line(np.column_stack([np.ones(50), x]), 3 + 2 * x + np.where(x % 2 > 0, 0.1, -0.1))
    >>> found.values.round(2).tolist()
    [3.0, 2.0]
    """
    n, p = columns.shape
    rho = 0.0
    for _ in range(ROUNDS):
        x, y = columns[1:] - rho * columns[:-1], told[1:] - rho * told[:-1]
        left = told - columns @ np.linalg.lstsq(x, y, rcond=None)[0]
        raw = float(left[1:] @ left[:-1] / max(float(left[:-1] @ left[:-1]), 1e-300))
        # The errors of a fit are less alike than those of the truth (M. G. Kendall, Biometrika 41, 1954).
        before, rho = rho, float(np.clip(raw + (1 + p + 2 * p * max(raw, 0.0)) / n, 0.0, MOST_RHO))
        if abs(rho - before) < 1e-4:
            break
    x, y = columns[1:] - rho * columns[:-1], told[1:] - rho * told[:-1]
    values: Floats = np.linalg.lstsq(x, y, rcond=None)[0].astype(np.float64)
    free = max(n * (1 - rho) / (1 + rho) - p, FEWEST_FREE)
    variance = float(((y - x @ values) ** 2).sum() / max(n - 1 - p, 1)) + 1e-300
    covariance: Floats = variance * np.linalg.pinv(x.T @ x)
    sd = float(np.sqrt(variance / (1 - rho**2)))
    return Line(values, covariance, rho, sd, free, x / np.sqrt(variance))

"""A response surface: how the statistics follow the constants, learnt from simulations at a design of points.

Quadratic in the logarithms of the constants, within a box. What it leaves over (chance of the collector, phase of the
saw-tooth, rounding, and where the surface is no parabola) is the covariance that a fit weighs with.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FLOOR = 0.02  # least standard deviation of a statistic: half of the rounding of a mean of a few hundred whole MiB
SHRINK = 0.05  # of the correlations towards none, as hundreds of points cannot tell dozens of statistics apart exactly


@dataclass(frozen=True)
class Surface:
    """Statistics as a function of the logarithms of the constants.

    Attributes
    ----------
    centre, half : array, shape (p,)
        Of the box, in logarithms.
    weights : array, shape (terms, s)
    covariance : array, shape (s, s)
        Of what the surface leaves over.
    root : array, shape (s, s)
        Turns a difference of statistics into one of covariance 1.
    """

    centre: Floats
    half: Floats
    weights: Floats
    covariance: Floats
    root: Floats

    def at(self, logs: Floats) -> Floats:
        """Statistics at one point."""
        out: Floats = _terms(((logs - self.centre) / self.half)[None])[0] @ self.weights
        return out

    def slope(self, logs: Floats) -> Floats:
        """Derivative of the whitened statistics by the logarithms, shape (s, p)."""
        u = (logs - self.centre) / self.half
        pairs = list(combinations_with_replacement(range(len(u)), 2))
        by = np.zeros((1 + len(u) + len(pairs), len(u)))
        by[1 : 1 + len(u)] = np.eye(len(u))
        for row, (i, j) in enumerate(pairs, 1 + len(u)):
            by[row, i] += u[j]
            by[row, j] += u[i]
        out: Floats = self.root @ (self.weights.T @ by / self.half)
        return out


def learn(logs: Floats, statistics: Floats, low: Floats, high: Floats) -> Surface:
    """Fit the surface to simulations.

    Parameters
    ----------
    logs : array, shape (n, p)
        Where they were made.
    statistics : array, shape (n, s)
    low, high : array, shape (p,)
        The box that they were drawn from.
    """
    centre, half = (low + high) / 2, (high - low) / 2
    terms = _terms((logs - centre) / half)
    weights: Floats = np.linalg.lstsq(terms, statistics, rcond=None)[0].astype(np.float64)
    left = statistics - terms @ weights
    freedom = max(len(logs) - terms.shape[1], 1)
    covariance = left.T @ left / freedom
    spread = np.sqrt(np.diag(covariance) + FLOOR**2)
    correlation = covariance / np.outer(spread, spread)
    correlation = (1 - SHRINK) * correlation
    np.fill_diagonal(correlation, 1.0)
    covariance = correlation * np.outer(spread, spread)
    root = np.linalg.inv(np.linalg.cholesky(covariance))
    return Surface(centre, half, weights, covariance, root)


def _terms(u: Floats) -> Floats:
    columns = [np.ones(len(u)), *u.T]
    columns += [u[:, i] * u[:, j] for i, j in combinations_with_replacement(range(u.shape[1]), 2)]
    return np.array(columns).T

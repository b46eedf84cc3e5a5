"""Whether a recording is like the model: one-step-ahead predictions beside those of recordings that the model made.

A likelihood is narrow because it takes the model at its word. Before each sample the filter's particles say where they
expect it; how far they are off is what the model really knows. Recordings that are simulated with the fitted constants
say how far they would be off if the server were the model. A posterior predictive p value compares both, each pair with
constants drawn from the fit (A. Gelman, X.-L. Meng, H. Stern, Statistica Sinica 6, 1996).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capsim.base import rng
from capsim.telemetry.calibration.likelihood import FINER, Likeliest, Likelihood
from capsim.telemetry.calibration.parameters import merged

Floats = NDArray[np.float64]

SIZES = ("heapUsed", "heapTotal", "memory beside the heap")
PAIRS = 60
LEAST_P = 0.02  # below it a recording is not like the model; so is one of fifty that are
MOST_MISS_MIB = 1.0  # of a size, sample by sample: beyond it no p value makes a server like the model


@dataclass(frozen=True)
class Likeness:
    """How far predictions of the next sample were off, and how far they would be if the server were the model.

    Attributes
    ----------
    p : float
        Share of simulated recordings that were further off than the one that was measured.
    off_mib, expected_mib : array, shape (3,)
        Root of the mean square of heapUsed, heapTotal and of what is beside the heap [MiB]; medians over the pairs.
    misses_mib : array, shape (3,)
        Standard deviations that the fit needed beyond rounding [MiB].
    """

    p: float
    off_mib: Floats
    expected_mib: Floats
    misses_mib: Floats

    @property
    def like(self) -> bool:
        """Whether the intervals of the likelihood can be believed."""
        return self.p >= LEAST_P and float(self.misses_mib.max()) <= MOST_MISS_MIB

    def sentence(self) -> str:
        """In words, without the full stop.

        Examples
        --------
        >>> Likeness(0.4, np.ones(3), np.ones(3), np.full(3, 0.3)).sentence()
        'These samples are like the model (p = 0.40): the next one is as well predicted as in simulated recordings'
        """
        if self.like:
            return (
                f"These samples are like the model (p {_told(self.p)}): the next one is as well predicted as in "
                "simulated recordings"
            )
        if float(self.misses_mib.max()) > MOST_MISS_MIB:  # plainer than p, and hardly another one on another processor
            most = int(np.argmax(self.misses_mib))
            return (
                f"These samples are unlike the model: {SIZES[most]} is {self.misses_mib[most]:.2g} MiB off it from "
                f"sample to sample (one standard deviation; at most {MOST_MISS_MIB:g})"
            )
        worst = int(np.argmax(self.off_mib / self.expected_mib))
        return (
            f"These samples are unlike the model (p {_told(self.p)}): {SIZES[worst]} of the next one is "
            f"{self.off_mib[worst]:.2g} MiB off its prediction, in simulated recordings {self.expected_mib[worst]:.2g}"
        )


def _told(p: float) -> str:
    return f"= {p:.2f}" if p > 1 / (PAIRS + 1) else f"< {1 / PAIRS:.2g}"


def likeness(likelihood: Likelihood, found: Likeliest, seed: int) -> Likeness:
    """Compare a recording with such as the model makes.

    Parameters
    ----------
    likelihood : Likelihood
        Of the recording.
    found : Likeliest
        Constants and what the model misses, by `capsim.telemetry.calibration.likelihood.likeliest`.
    seed : int
        Address of the draws.
    """
    draw = rng.generator(seed, 0, "calibrate/likeness")
    simulator = likelihood.simulator
    size = len(found.centre)
    root = np.linalg.cholesky(found.covariance + 1e-12 * np.eye(size))
    measured, simulated = [], []
    for i in range(PAIRS):
        logs = found.centre + root @ draw.standard_normal(size)
        constants = merged(likelihood.base, likelihood.parameters, logs)
        samples = simulator.samples(constants, 60_000_000 + i + 1_000_003 * seed)
        address = int(draw.integers(1 << 31))
        measured.append(_off(likelihood.ahead(logs, found.misses_mib, FINER, address)))
        simulated.append(_off(likelihood.ahead(logs, found.misses_mib, FINER, address, samples)))
    theirs, own = np.array(simulated), np.array(measured)
    usual = np.median(theirs, axis=0)
    further = ((theirs / usual).max(axis=1) >= (own / usual).max(axis=1)).sum()
    return Likeness((1 + int(further)) / (1 + PAIRS), np.median(own, axis=0), usual, found.misses_mib)


def _off(residuals: Floats) -> Floats:
    """Root of the mean square of each size, never nothing."""
    out: Floats = np.sqrt((residuals**2).mean(axis=0)) + 1e-3
    return out

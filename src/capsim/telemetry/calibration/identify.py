"""What samples can tell: the Fisher information of the statistics, and the directions of which it says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capsim.telemetry.calibration.parameters import FitParameter

Floats = NDArray[np.float64]

TOLD = 0.35  # of the range's own spread: a constant whose interval is not narrower than so is not told
TAKES_PART = 0.3  # of a direction: constants that make it up
UNIFORM_SD = 1 / np.sqrt(12.0)


@dataclass(frozen=True)
class Identified:
    """What a fit can tell of each constant.

    Attributes
    ----------
    keys : tuple of str
    covariance : array, shape (p, p)
        Of the logarithms.
    sd : array, shape (p,)
        Standard deviation of the logarithm of each.
    told : tuple of str
        Keys that the samples tell.
    together : tuple of (keys, sd)
        Directions that they do not tell: the constants that can be exchanged for each other.
    said : tuple of str
        What else the method has to say, a sentence each without its full stop.
    like : bool
        Whether the samples are like the model, where the method can tell.
    """

    keys: tuple[str, ...]
    covariance: Floats
    sd: Floats
    told: tuple[str, ...]
    together: tuple[tuple[str, ...], ...]
    said: tuple[str, ...] = ()
    like: bool = True

    def sentences(self) -> list[str]:
        """What cannot be told, in words."""
        out = list(self.said)
        for group in self.together:
            if len(group) > 1:
                out.append(f"{' and '.join(group)} cannot be told apart: these samples tell only what they do together")
            else:
                out.append(f"{group[0]} is not told by these samples")
        return out


def identified(slope: Floats, parameters: Sequence[FitParameter], widest: Floats) -> Identified:
    """Judge the constants by the singular values of the slope.

    Parameters
    ----------
    slope : array, shape (s, p)
        Of the whitened statistics by the logarithms of the constants.
    parameters : sequence of FitParameter
    widest : array, shape (p,)
        Logarithm of the range of each before any sample was seen. Its spread bounds what can be unknown.

    Examples
    --------
    >>> from capsim.telemetry.calibration.parameters import chosen
    >>> two = chosen(["server_off_heap_mib", "server_file_mib"])
    >>> found = identified(np.array([[5.0, 5.0]]), two, np.array([3.0, 3.0]))
    >>> found.told, found.together
    ((), (('server_off_heap_mib', 'server_file_mib'),))
    """
    keys = tuple(parameter.key for parameter in parameters)
    prior = widest * UNIFORM_SD
    scaled = slope * prior  # by how many standard deviations the statistics move over one of the range
    _, values, directions = np.linalg.svd(scaled, full_matrices=True)
    values = np.append(values, np.zeros(len(keys) - len(values)))
    information = scaled.T @ scaled + np.eye(len(keys))  # the range is what is known without samples
    covariance = np.linalg.inv(information) * np.outer(prior, prior)
    sd = np.sqrt(np.diag(covariance))
    told = tuple(key for key, s, p in zip(keys, sd, prior, strict=True) if s < TOLD * p)
    together = []
    for singular, direction in zip(values, directions, strict=True):
        if 1 / np.hypot(singular, 1.0) < TOLD:
            continue
        group = tuple(k for k, part in zip(keys, direction, strict=True) if abs(part) > TAKES_PART and k not in told)
        if group and group not in together:
            together.append(group)
    return Identified(keys, covariance, sd, told, tuple(together))

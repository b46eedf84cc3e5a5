"""Constants by likelihood: a population of guesses that closes in on those under which a recording is likeliest.

`capsim.telemetry.calibration.filter` gives a noisy likelihood of any set of constants. Guesses are drawn, weighed by
a power of
their likelihood that leaves a share of them alive, and drawn again from what the weights say, until the power is a good
part of one (adaptive importance sampling: O. Cappe et al., J. Comput. Graph. Stat. 13(4), 2004). What the model misses
of each size is found on the way, so a server that is unlike the model gets wide intervals. A parabola through the noisy
logarithms near the top averages the noise out; its curvature is the information, and what the noise leaves open is
added (E. L. Ionides et al., "Monte Carlo profile confidence intervals", J. R. Soc. Interface 14, 2017).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from capsim.base import rng
from capsim.base.units import MIB
from capsim.telemetry.calibration.filter import log_likelihood
from capsim.telemetry.calibration.heaps import numbers_of
from capsim.telemetry.calibration.parameters import FitParameter, bounds, merged
from capsim.telemetry.calibration.simulator import ROW_KEYS, Simulator, process_with, retained_mib

Floats = NDArray[np.float64]
Progress = Callable[[float], None]

GUESSES, PARTICLES, ROUNDS = 160, 48, 12  # of a round that closes in
ALIVE = 0.15  # share of the guesses that a round leaves
FREEDOM = 6  # of the t distribution that guesses are drawn from
NEAR, FINER, CLOUDS = 240, 96, 3  # guesses and particles of a cloud around the top; most of them
GROWTH = (0.05, 6.0)  # of the variance of a cloud from one to the next
POWER = 0.15  # of the likelihood: from here on the guesses lie around its top
MISSES_MIB = (2.0, 1.5, 1.0)  # of heapUsed, heapTotal, beside the heap, to begin with
LEAST_MISS_MIB, MOST_MISS_MIB = 0.3, 8.0  # least: as much as the rounding; a sharper filter only has more noise
TRIED = (0.55, 0.75, 1.0, 1.33)  # times what was missed before
JITTER_ROWS = 60.0  # between samples a buffer moves within a batch: a hundred rows, mostly less
FLOOR = 0.15  # least curvature along any direction, in units of the cloud
NONE = np.empty((0, 3))  # no predictions are asked for
SCALE = 15.0  # of logarithms of the likelihood: how far below the top a guess still counts


class Likeliest(NamedTuple):
    """Logarithms of the constants, their covariance, and what the model misses of each size [MiB]."""

    centre: Floats
    covariance: Floats
    misses_mib: Floats


class Likelihood:
    """Of constants, given the samples of a `Simulator`'s stretches.

    Parameters
    ----------
    simulator : Simulator
    parameters : sequence of FitParameter
        Those that vary.
    base : mapping
        All constants, for those that do not.
    """

    def __init__(self, simulator: Simulator, parameters: Sequence[FitParameter], base: Mapping[str, float]) -> None:
        self.simulator, self.parameters, self.base = simulator, parameters, base
        self._told = [np.ascontiguousarray(part.measured.T) for part in simulator.parts]

    def at(self, logs: Floats, misses_mib: Floats, particles: int, seed: int) -> float:
        """Its logarithm, with the noise of so many particles."""
        found = sum(self._part(i, logs, misses_mib, particles, seed, told, NONE) for i, told in enumerate(self._told))
        return max(found, -1e5)

    def ahead(
        self, logs: Floats, misses_mib: Floats, particles: int, seed: int, samples: Floats | None = None
    ) -> Floats:
        """By what each sample is off the prediction of it: heapUsed, heapTotal, beside the heap [MiB], shape (n, 3).

        Of the recording, or of others at the same instants, as `Simulator.samples` makes them.
        """
        seen = self._told
        if samples is not None:
            ends = np.cumsum([len(told) for told in seen])[:-1]
            seen = [np.ascontiguousarray(part) for part in np.split(samples.T, ends)]
        out = [np.empty((len(told), 3)) for told in seen]
        for i, (told, row) in enumerate(zip(seen, out, strict=True)):
            self._part(i, logs, misses_mib, particles, seed, told, row)
        return np.concatenate(out)

    def _part(
        self, number: int, logs: Floats, misses_mib: Floats, particles: int, seed: int, told: Floats, ahead: Floats
    ) -> float:
        constants = merged(self.base, self.parameters, logs)
        jitter = JITTER_ROWS * max(constants[key] for key in ROW_KEYS.values()) / MIB
        part, rate = self.simulator.parts[number], self.simulator.rates_hz[number]
        row = numbers_of(process_with(self.simulator.scenario, constants, rate))
        kept = retained_mib(part, constants)
        found: float = log_likelihood(
            part.time_s, part.requests, kept, part.seen, told, row, misses_mib,
            self.simulator.step_mib, part.young, jitter, particles, seed % (1 << 32), ahead,
        )  # fmt: skip
        return found

    def all(self, logs: Floats, misses_mib: Floats, particles: int, seed: int) -> Floats:
        """Of many guesses, each with its own noise."""
        return np.array([self.at(guess, misses_mib, particles, seed + i) for i, guess in enumerate(logs)])


def likeliest(likelihood: Likelihood, start: Floats, seed: int, progress: Progress = lambda share: None) -> Likeliest:
    """The constants under which the samples are likeliest.

    Parameters
    ----------
    likelihood : Likelihood
    start : array, shape (n, p)
        Guesses to begin with (logarithms): their mean and spread.
    seed : int
        Address of the draws.
    progress : callable
    """
    draw = rng.generator(seed, 0, "calibrate/population")
    low, high = bounds(likelihood.parameters)
    total = ROUNDS + 2 * CLOUDS
    centre: Floats = start.mean(axis=0)
    covariance: Floats = 1.3 * np.atleast_2d(np.cov(start.T))
    misses: Floats = np.array(MISSES_MIB)
    for number in range(ROUNDS):
        guesses, log_drawn = _drawn(draw, centre, covariance, low, high)
        logs = likelihood.all(guesses, misses, PARTICLES, _address(seed, number))
        power = _power(logs - log_drawn)
        weights = _weights(power * (logs - log_drawn))
        centre = weights @ guesses
        apart = guesses - centre
        # Few guesses see too little of a spread: a little is added.
        covariance = 1.15 * (apart * weights[:, None]).T @ apart / (1 - (weights**2).sum())
        covariance += 1e-6 * np.eye(len(centre))
        best = guesses[np.argsort(-logs, kind="stable")[:5]]
        before, misses = misses, _missed(likelihood, best, misses, _address(seed, 100 + number))
        progress((number + 1) / total)
        if power >= POWER and np.abs(np.log(misses / before)).max() < 0.35:
            break
    return _top(
        likelihood, centre, covariance, misses, seed, lambda share: progress((ROUNDS + share * 2 * CLOUDS) / total)
    )


def _address(seed: int, number: int) -> int:
    return int(rng.generator(seed, number, "calibrate/filter").integers(1 << 31))


def _drawn(
    draw: np.random.Generator, centre: Floats, covariance: Floats, low: Floats, high: Floats
) -> tuple[Floats, Floats]:
    """Guesses from a t distribution within the bounds, and the logarithm of its density but for a constant."""
    size = len(centre)
    root = np.linalg.cholesky(covariance + 1e-9 * np.eye(size))
    kept: list[Floats] = []
    while sum(map(len, kept)) < GUESSES:
        normal = draw.standard_normal((GUESSES, size))
        guesses = centre + normal * np.sqrt(FREEDOM / draw.chisquare(FREEDOM, GUESSES))[:, None] @ root.T
        kept.append(guesses[((guesses >= low) & (guesses <= high)).all(axis=1)])
    out = np.concatenate(kept)[:GUESSES]
    squares = (np.linalg.solve(root, (out - centre).T) ** 2).sum(axis=0)
    return out, -0.5 * (FREEDOM + size) * np.log1p(squares / FREEDOM)


def _weights(logs: Floats) -> Floats:
    weights: Floats = np.exp(logs - logs.max())
    out: Floats = weights / weights.sum()
    return out


def _power(logs: Floats) -> float:
    """The largest power, at most 1, that leaves `ALIVE` of the guesses (by the sum of squares of the weights)."""

    def alive(power: float) -> bool:
        return bool(1 / (_weights(power * logs) ** 2).sum() >= ALIVE * len(logs))

    low, high = 0.0, 1.0
    if alive(high):
        return high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if alive(middle) else (low, middle)
    return low


def _missed(likelihood: Likelihood, guesses: Floats, misses: Floats, seed: int) -> Floats:
    """What the model misses of each size [MiB]: where good guesses are likeliest, one size after the other."""
    out = misses.copy()
    for size in range(len(out)):
        tries = []
        for times in TRIED:
            tried = out.copy()
            tried[size] = np.clip(times * out[size], LEAST_MISS_MIB, MOST_MISS_MIB)
            tries.append((float(np.median(likelihood.all(guesses, tried, PARTICLES, seed))), tried))
        out = max(tries, key=lambda one: one[0])[1]
    return out


def _top(
    likelihood: Likelihood, centre: Floats, covariance: Floats, misses: Floats, seed: int, progress: Progress
) -> Likeliest:
    """A parabola through noisy likelihoods around their top, in clouds that follow it."""
    from scipy.stats import norm, qmc

    draw = np.random.default_rng(_address(seed, 300))  # Latin hypercubes need a generator that spawns
    low, high = bounds(likelihood.parameters)
    seen, told = np.empty((0, len(centre))), np.empty(0)
    for number in range(CLOUDS):
        root = np.linalg.cholesky(covariance)
        normal = 1.1 * norm.ppf(0.005 + 0.99 * qmc.LatinHypercube(len(centre), rng=draw).random(NEAR))
        guesses = np.clip(centre + normal @ root.T, low, high)
        seen = np.concatenate([seen, guesses])
        told = np.concatenate([told, likelihood.all(guesses, misses, FINER, _address(seed, 200 + number))])
        move, spread, noise = _parabola(np.linalg.solve(root, (seen - centre).T).T, told)
        far = float(np.linalg.norm(move))
        centre = np.clip(centre + root @ move * min(1.0, 2.5 / max(far, 1e-9)), low, high)
        found = root @ _within(spread + noise, 0.0, np.inf) @ root.T + 1e-10 * np.eye(len(centre))
        # A cloud that did not hold the top tells little of its width: the next one is not far larger or smaller.
        covariance = root @ _within(spread + noise, *GROWTH) @ root.T + 1e-10 * np.eye(len(centre))
        progress((number + 1) / CLOUDS)
        if number > 0 and far < 1.0:
            break
    return Likeliest(centre, found, misses)


def _within(covariance: Floats, least: float, most: float) -> Floats:
    """The covariance with its principal values between two."""
    values, directions = np.linalg.eigh((covariance + covariance.T) / 2)
    out: Floats = (directions * np.clip(values, least, most)) @ directions.T
    return out


def _parabola(places: Floats, logs: Floats) -> tuple[Floats, Floats, Floats]:
    """Where the top of the parabola lies, its inverse curvature, and the variance of the place that noise leaves.

    Guesses far below the top weigh little, and so do those that a filter lost (its noise has a long tail downwards).
    """
    size = places.shape[1]
    pairs = list(combinations_with_replacement(range(size), 2))
    terms = np.column_stack([np.ones(len(places)), places, *(places[:, i] * places[:, j] for i, j in pairs)])
    weights: Floats = np.exp(np.minimum((logs - np.quantile(logs, 0.97)) / SCALE, 0.0))
    for _ in range(15):
        root = np.sqrt(weights)
        found = np.linalg.lstsq(terms * root[:, None], logs * root, rcond=None)[0]
        fitted = terms @ found
        left = logs - fitted
        usual = max(1.48 * float(np.median(np.abs(left[fitted >= np.median(fitted)]))), 0.5)
        lost = np.maximum(1.0, np.abs(left) / (1.5 * usual)) ** np.where(left < 0, 2, 1)
        weights = np.exp(np.minimum((fitted - np.quantile(fitted, 0.97)) / SCALE, 0.0)) / lost
    curved = np.zeros((size, size))
    for value, (i, j) in zip(found[1 + size :], pairs, strict=True):
        curved[i, j] -= value
        curved[j, i] -= value
    values, directions = np.linalg.eigh(curved)
    inverse = (directions / np.maximum(values, FLOOR)) @ directions.T
    weighed = terms * weights[:, None]
    bread = np.linalg.pinv(terms.T @ weighed)
    errors = (bread @ (weighed.T * left**2) @ weighed @ bread)[1 : 1 + size, 1 : 1 + size]
    return inverse @ found[1 : 1 + size], inverse, inverse @ errors @ inverse

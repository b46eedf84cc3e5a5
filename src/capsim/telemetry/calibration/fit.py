"""Constants from a recording: by likelihood, or by least squares on a response surface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from capsim.base import rng
from capsim.base.errors import CapsimError
from capsim.scenario.scenario import Scenario
from capsim.telemetry.calibration.identify import Identified, identified
from capsim.telemetry.calibration.parameters import DEFAULT, FitParameter, bounds, chosen, merged, published
from capsim.telemetry.calibration.response_surface import Surface, learn
from capsim.telemetry.calibration.result import Calibration, ConstantEstimate
from capsim.telemetry.calibration.segments import measured, stretches
from capsim.telemetry.calibration.simulator import Simulator
from capsim.telemetry.calibration.usage import fit_usage
from capsim.workload.recordings.model import Recording

Floats = NDArray[np.float64]
Method = Literal["auto", "likelihood", "least-squares"]
Progress = Callable[[float], None]

HELD_OUT = 0.3  # of the time, at its end
BUDGET = 4_000.0  # events of one simulation of all stretches: about 25 ms
FIRST, LATER, ROUNDS, AGAIN = 1_024, 160, 5, 64  # simulations: first, of a round, most rounds, at the solution
CLOSEST = 80  # of the first
# Half a box in standard deviations; share of it next to its sides where a solution is not inside.
REACH, EDGE = 5.0, 0.15
AT_END = 1.05
WIDER = 1.1  # times the standard deviations of the likelihood: thirty twins that are not counted asked for it
Z90 = 1.6448536269514722


def calibrate(
    scenario: Scenario,
    recording: Recording,
    fit: Sequence[str] = DEFAULT,
    *,
    method: Method = "auto",
    usage: Sequence[str] = (),
    seed: int = 0,
    progress: Progress = lambda share: None,
) -> Calibration:
    """Fit constants of the memory model to a recording.

    Parameters
    ----------
    scenario : Scenario
        What is known of the server: heap cap, container, version of Node. Its load is not used.
    recording : Recording
        From `capsim.workload.recordings.read_recording`. Its last 30 % (by time) are held out.
    fit : sequence of str
        Keys of ``[constants]``.
    method : {"auto", "likelihood", "least-squares"}
        The likelihood of every sample, by a particle filter (`capsim.telemetry.calibration.likelihood`; needs numba).
        Least squares of the statistics against a response surface. Or the likelihood where the samples are like the
        model (`capsim.telemetry.calibration.predictive_check`), else least squares; a note says which, and why.
    usage : sequence of str
        Exports of Railway's metrics of the same time, ``FILE`` or ``SERVICE=FILE``: CPU of a request, page cache and
        the bytes of a stored row are fitted to them (`capsim.telemetry.calibration.usage`).
    seed : int
        Random seed of the simulations.
    progress : callable
        Called with the share that is done.

    Returns
    -------
    Calibration
        Estimates with 90 % intervals, what the samples cannot tell, and the fitted scenario.

    Raises
    ------
    CapsimError
        If the recording is too short, tells no memory, or a key cannot be fitted.
    """
    parameters = chosen(fit)
    cut_s = (1 - HELD_OUT) * recording.span_s
    parts = stretches(recording, BUDGET, scenario, 0.0, cut_s)
    simulator = Simulator(scenario, parts, recording.step_mib)
    target = simulator.statistics.of(measured(parts))
    task = FitTask(simulator, parameters, published(scenario), target, seed)
    shown = fit_usage(scenario, recording, usage, cut_s) if usage else ()
    found, posterior, used = _posterior(task, method, progress)
    estimates = _estimates(task, found, posterior)
    return Calibration.of(
        scenario, recording, cut_s, simulator, estimates, found, method=used, seed=seed, base=task.base, usage=shown
    )


class FitTask:
    """What all methods need.

    Parameters
    ----------
    simulator : Simulator
    parameters : sequence of FitParameter
    base : dict
        Constants that are not fitted.
    target : array, shape (s,)
        Statistics of what was measured.
    seed : int
    """

    def __init__(
        self,
        simulator: Simulator,
        parameters: Sequence[FitParameter],
        base: dict[str, float],
        target: Floats,
        seed: int,
    ) -> None:
        self.simulator, self.parameters, self.base = simulator, parameters, base
        self.target, self.seed = target, seed

    def draw(self, low: Floats, high: Floats, count: int, round_: int, progress: Progress) -> tuple[Floats, Floats]:
        """Simulate at points that fill a box evenly: their logarithms, and the statistics."""
        from scipy.stats import qmc

        address = int(rng.generator(self.seed, round_, "calibrate/design").integers(1 << 62))
        design = qmc.LatinHypercube(len(low), rng=np.random.default_rng(address))
        logs = low + (high - low) * design.random(count)
        rows = []
        for i, point in enumerate(logs):
            constants = merged(self.base, self.parameters, point)
            rows.append(self.simulator.numbers(constants, 100_000 * round_ + i + 1 + 1_000_003 * self.seed))
            progress((i + 1) / count)
        return logs, np.array(rows)


Posterior = list[tuple[float, float, float]]


def _posterior(task: FitTask, method: Method, progress: Progress) -> tuple[Identified, Posterior, Method]:
    """Estimates by a method, and which one it was."""
    if method == "auto":
        return _automatic(task, progress)
    if method == "likelihood":
        return *by_likelihood(task, progress=progress), method
    if method == "least-squares":
        return *least_squares(task, progress=progress), method
    raise CapsimError(f"method {method!r} is unknown; give auto, likelihood or least-squares")


def _estimates(task: FitTask, found: Identified, posterior: Posterior) -> list[ConstantEstimate]:
    estimates = []
    for parameter, (low, middle, high) in zip(task.parameters, posterior, strict=True):
        # An estimate that lies at the end of its range says that the range, or the model, is wrong.
        told = parameter.key in found.told and parameter.low * AT_END < middle < parameter.high / AT_END
        value = middle if told else task.base[parameter.key]
        estimates.append(ConstantEstimate(key=parameter.key, value=value, low=low, high=high, identified=told))
    return estimates


def _automatic(task: FitTask, progress: Progress) -> tuple[Identified, Posterior, Method]:
    """The likelihood where the samples are like the model, else least squares."""
    low, high = bounds(task.parameters)
    first = task.draw(low, high, FIRST, 0, lambda share: progress(0.1 * share))
    try:
        from capsim.telemetry.calibration import likelihood  # noqa: F401
    except ModuleNotFoundError:
        why = "The likelihood needs numba (capsim[calibrate])"
    else:
        found, posterior = by_likelihood(task, first=first, progress=lambda share: progress(0.1 + 0.7 * share))
        if found.like:
            return found, posterior, "likelihood"
        why = found.said[0]
    found, posterior = least_squares(task, first=first, progress=lambda share: progress(0.8 + 0.2 * share))
    said = (why, "So least squares were taken, whose intervals are wider", *found.said)
    return replace(found, said=said), posterior, "least-squares"


def by_likelihood(
    task: FitTask,
    *,
    first: tuple[Floats, Floats] | None = None,
    progress: Progress = lambda share: None,
) -> tuple[Identified, Posterior]:
    """Estimates by the likelihood of every sample; parameters and answer as `least_squares`.

    Notes
    -----
    The closest of simulations over the whole range are where the search begins. Intervals are those of the likelihood's
    curvature, `WIDER` times: the load between samples is not known, and the filter takes it for a straight line. They
    are those of a server like the model; whether this one is, is looked at, and said.
    """
    try:
        from capsim.telemetry.calibration.likelihood import Likelihood, likeliest
        from capsim.telemetry.calibration.predictive_check import likeness
    except ModuleNotFoundError:
        raise CapsimError(
            "the method likelihood needs numba; install capsim[calibrate], or give least-squares"
        ) from None
    low, high = bounds(task.parameters)
    if first is None:
        first = task.draw(low, high, FIRST, 0, lambda share: progress(0.1 * share))
    near = nearest(*first, task.target, CLOSEST)
    likelihood = Likelihood(task.simulator, task.parameters, task.base)
    top = likeliest(likelihood, first[0][near], task.seed, lambda share: progress(0.1 + 0.8 * share))
    seen = likeness(likelihood, top, task.seed)
    progress(1.0)
    found = identified(_root_of(WIDER**2 * top.covariance), task.parameters, high - low)
    found = replace(found, said=(seen.sentence(),), like=seen.like)
    ends = np.clip([top.centre - Z90 * found.sd, top.centre, top.centre + Z90 * found.sd], low, high)
    return found, [(float(a), float(b), float(c)) for a, b, c in np.exp(ends).T]


def least_squares(
    task: FitTask,
    *,
    first: tuple[Floats, Floats] | None = None,
    progress: Progress = lambda share: None,
) -> tuple[Identified, Posterior]:
    """Estimates by least squares.

    Parameters
    ----------
    task : FitTask
    first : tuple of array, optional
        Simulations of the first round, where they have been made already for the same load.

    Returns
    -------
    Identified
        What the samples can tell.
    list of (low, value, high)
        Of each constant: 90 % interval and estimate.

    Notes
    -----
    The whole range is looked at first; the box around the closest simulations is then moved and narrowed until the
    solution lies inside of it and it is a few standard deviations wide. Intervals come from fits to simulations at the
    solution (parametric bootstrap): they hold what the surface misses, and their mean error is taken off the estimate.
    """
    low, high = bounds(task.parameters)
    total = (FIRST if first is None else 0) + ROUNDS * LATER + AGAIN
    done = [0]

    def told(share: float, count: int) -> None:
        progress(min((done[0] + share * count) / total, 1.0))

    if first is None:
        first = task.draw(low, high, FIRST, 0, lambda share: told(share, FIRST))
        done[0] += FIRST
    near = nearest(*first, task.target, CLOSEST)
    box: Floats = np.quantile(first[0][near], [0.0, 1.0], axis=0)
    for number in range(1, ROUNDS + 1):
        logs, numbers = task.draw(box[0], box[1], LATER, number, lambda share: told(share, LATER))
        done[0] += LATER
        surface = learn(logs, numbers, box[0], box[1])
        centre, misfit = _solve(surface, task.target, np.clip(_wider(box, 0.5), low, high))
        found = identified(surface.slope(centre), task.parameters, high - low)
        moved = _next_box(box, centre, found.sd, low, high)
        if number == ROUNDS or moved is None:
            break
        box = moved
    centre = np.clip(centre, low, high)
    limits = np.clip(_wider(box, 0.5), low, high)
    errors, usual = _errors(task, surface, centre, found, limits, lambda share: told(share, AGAIN))
    progress(1.0)
    # A fit that is worse than fits to simulations are says less than they do (the Birge ratio of measurements).
    spread: Floats = np.atleast_2d(np.cov(errors.T)) * max(1.0, misfit / usual)
    found = identified(_root_of(spread), task.parameters, high - low)
    centre = np.clip(centre - errors.mean(axis=0), low, high)
    width = Z90 * np.sqrt(np.diag(spread) * (1 + 1 / AGAIN))
    ends = np.clip([centre - width, centre, centre + width], low, high)
    return found, [(float(a), float(b), float(c)) for a, b, c in np.exp(ends).T]


def _next_box(box: Floats, centre: Floats, sd: Floats, low: Floats, high: Floats) -> Floats | None:
    """The box moved to the solution and narrowed; None where the solution lies inside and it is narrow enough."""
    half = (box[1] - box[0]) / 2
    below, above = centre < box[0] + EDGE * half, centre > box[1] - EDGE * half
    outside = below & (box[0] > low) | above & (box[1] < high)
    wanted = np.where(outside, half, np.clip(REACH * sd, 0.04, half))
    if not (outside.any() or (wanted < 0.7 * half).any()):
        return None
    out: Floats = np.array([np.maximum(centre - wanted, low), np.minimum(centre + wanted, high)])
    out[0], out[1] = np.minimum(out[0], high - 0.04), np.maximum(out[1], low + 0.04)
    return out


def _wider(box: Floats, share: float) -> Floats:
    pad = share * (box[1] - box[0])
    out: Floats = np.array([box[0] - pad, box[1] + pad])
    return out


def _errors(
    task: FitTask, surface: Surface, centre: Floats, found: Identified, box: Floats, progress: Progress
) -> tuple[Floats, float]:
    """By how much fits to simulations near the solution miss their constants, shape (AGAIN, p), and their mean misfit.

    Near it, and not at it: where the surface is wrong differs from place to place, and that is part of the error.
    """
    normal = rng.generator(task.seed, 0, "calibrate/again").standard_normal((AGAIN, len(centre)))
    points = np.clip(centre + normal * found.sd, *box)
    errors, misfits = [], []
    for i, point in enumerate(points):
        constants = merged(task.base, task.parameters, point)
        numbers = task.simulator.numbers(constants, 90_000_000 + i + 1_000_003 * task.seed)
        solved, misfit = _solve(surface, numbers, box)
        errors.append(solved - point)
        misfits.append(misfit)
        progress((i + 1) / AGAIN)
    return np.array(errors), float(np.mean(misfits))


def _root_of(covariance: Floats) -> Floats:
    """A slope whose information is the inverse of this covariance."""
    inverse = np.linalg.inv(covariance + 1e-10 * np.eye(len(covariance)))
    out: Floats = np.linalg.cholesky((inverse + inverse.T) / 2).T.astype(np.float64)
    return out


def nearest(logs: Floats, numbers: Floats, target: Floats, count: int) -> NDArray[np.intp]:
    """The simulations that come closest, by what regression makes of their statistics.

    Distance is not taken between statistics, of which some say nothing, but between the constants that a regression
    reads off them.
    """
    spread = numbers.std(axis=0) + 1e-9
    squashed = np.arctan((numbers - target) / spread)  # a far simulation says no more than that it is far
    design = np.column_stack([np.ones(len(logs)), squashed])
    weights = np.linalg.lstsq(design, logs, rcond=1e-8)[0]
    read = design @ weights
    at_target = weights[0]  # all differences 0
    apart = (((read - at_target) / (logs - read).std(axis=0)) ** 2).sum(axis=1)
    return np.argsort(apart, kind="stable")[:count]


def _solve(surface: Surface, target: Floats, box: Floats) -> tuple[Floats, float]:
    """Constants (logarithms) at which the surface comes closest to the statistics, and the squares that are left."""
    from scipy.optimize import least_squares as solve

    def residual(logs: Floats) -> Floats:
        out: Floats = surface.root @ (surface.at(logs) - target)
        return out

    width = box[1] - box[0]
    limits = (box[0] - 1e-9, box[1] + 1e-9)
    starts = [box[0] + share * width for share in (0.35, 0.65)]
    answers = [
        solve(residual, s, jac=surface.slope, bounds=limits, x_scale=width, xtol=1e-5, ftol=1e-5) for s in starts
    ]
    best = min(answers, key=lambda answer: float(answer.cost))
    solved: Floats = best.x
    return solved, float(best.cost)

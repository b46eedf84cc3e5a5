"""How likely a recording is, given the constants: a particle filter over the heap's state, sample by sample.

The phase of the saw-tooth is not known, but it is not arbitrary either: a sample tells where it is, and the next one
lies where the constants and the requests since then have carried it. Many heaps are carried along side by side, each
with its own chance (requests differ in what they allocate, collections in their speed, buffers in what they hold
between two samples); those that are where a sample says live on. The share that does, multiplied over all samples, is
the likelihood, without bias (N. J. Gordon, D. J. Salmond, A. F. M. Smith, IEE Proceedings F 140(2), 1993). A size that
was rounded says that the true one lay in an interval, and is used as that.
"""

from __future__ import annotations

import math

import numpy as np

from capsim.base.compiled import compiled
from capsim.telemetry.calibration.heaps import (  # fmt: skip
    COMMITTED,
    DEAD,
    HELD,
    IDLE,
    LIMIT,
    LIVE,
    OLD,
    RETAINED,
    SEMI,
    STATE,
    STEP,
    T,
    advance,
    begin,
    sizes,
)

REQUEST_CV = 0.6  # of the allocation of single requests, as in `capsim.telemetry.calibration.simulator`
RARE = 0.02  # share of samples that are off for reasons of their own: a collection that came a moment earlier
RARE_MIB = 16.0  # within which they may lie
AGAIN = 0.1  # weight of heapTotal and rss that are told once more: pages that did not move are rounded as before
ROOT2 = math.sqrt(2.0)
LOG_ROOT_2PI = 0.9189385332046727
LOG_RARE = math.log(RARE) - 3 * math.log(RARE_MIB)
LOG_DEAD = -1e6
NONE = np.empty(0)


@compiled
def log_between(low, high):
    """Logarithm of the probability that a standard normal variable lies between two numbers."""
    if low < 0 < high:
        return math.log(max(0.5 * (math.erf(high / ROOT2) - math.erf(low / ROOT2)), 1e-300))
    near, far = (low, high) if low >= 0 else (-high, -low)
    if near > 8.0:  # erfc is about to underflow: its asymptotic series, beside which the far end is nothing
        return -near * near / 2 - math.log(near) - LOG_ROOT_2PI
    return math.log(max(0.5 * (math.erfc(near / ROOT2) - math.erfc(far / ROOT2)), 1e-300))


@compiled
def _log_seen(told, true, sd, step):
    if step > 0:
        return log_between((told - step / 2 - true) / sd, (told + step / 2 - true) / sd)
    z = (told - true) / sd
    return -z * z / 2 - math.log(sd) - LOG_ROOT_2PI


@compiled
def _given(told, true, sd, step):
    """What a size was off by, given what was told of it: mean and variance of a normal variable cut to an interval.

    Resident memory holds heapTotal, so it is off by the same; without this, one error would be counted twice.
    """
    if step == 0:
        return told - true, 0.0
    low, high = (told - step / 2 - true) / sd, (told + step / 2 - true) / sd
    if low > 6.0 or high < -6.0 or high - low < 0.05:
        return told - true, step * step / 12
    at_low = math.exp(-low * low / 2 - LOG_ROOT_2PI)
    at_high = math.exp(-high * high / 2 - LOG_ROOT_2PI)
    mass = max(0.5 * (math.erf(high / ROOT2) - math.erf(low / ROOT2)), 1e-12)
    mean = (at_low - at_high) / mass
    variance = max(1 + (low * at_low - high * at_high) / mass - mean * mean, 0.0)
    return sd * mean, min(sd * sd * variance, step * step / 12)


@compiled
def _log_sample(state, c, told, sd, step, again):
    if state[DEAD] > 0:
        return LOG_DEAD
    rss, total, used = sizes(state, c)
    log = _log_seen(told[2], used, sd[0], step)
    beside = _log_seen(told[1], total, sd[1], step)
    off, variance = _given(told[1], total, sd[1], step)
    beside += _log_seen(told[0], rss + off, math.sqrt(sd[2] * sd[2] + variance), step)
    log += AGAIN * beside if again else beside
    top = max(log, LOG_RARE)
    return top + math.log(math.exp(log - top) + math.exp(LOG_RARE - top))


@compiled
def _off(row, state, c, logs, told):
    """By what a sample is off the mean of the particles that live."""
    best, mass = logs.max(), 0.0
    row[:] = 0.0
    for k in range(len(logs)):
        if state[k, DEAD] == 0:
            weight = math.exp(logs[k] - best)
            rss, total, used = sizes(state[k], c)
            mass += weight
            row[0] += weight * (told[2] - used)
            row[1] += weight * (told[1] - total)
            row[2] += weight * (told[0] - told[1] - rss + total)
    row /= max(mass, 1e-300)


@compiled
def _begin_all(state, c, at_s, kept_mib, young):
    """Every particle's first state, at any phase between two collections unless the process has just begun."""
    for k in range(len(state)):
        begin(state[k], c)
        state[k, T] = at_s
        state[k, RETAINED] = state[k, HELD] = kept_mib
        if not young:
            state[k, OLD] = c[LIVE] + kept_mib + np.random.random() * c[STEP]
            state[k, COMMITTED] = state[k, OLD] + c[IDLE]
            state[k, LIMIT] = c[LIVE] + kept_mib + c[STEP] + state[k, SEMI]


@compiled
def _resample(state, other, weights, mass):
    """Systematic: as many of each particle as its weight says, to one."""
    count = len(state)
    start, j, reached = np.random.random(), 0, weights[0]
    for k in range(count):
        while reached < (start + k) / count * mass and j < count - 1:
            j += 1
            reached += weights[j]
        other[k, :] = state[j, :]


@compiled
def log_likelihood(time_s, requests, kept_mib, seen, told, c, sd, step, young, jitter_mib, count, seed, ahead):
    """Logarithm of the likelihood of one stretch, by so many particles.

    Parameters
    ----------
    time_s, requests, kept_mib : array, shape (n,)
        Of `capsim.telemetry.calibration.segments.Segment`; what the rows keep alive [MiB].
    seen : bool array, shape (n,)
    told : array, shape (m, 3)
        Rss, heapTotal, heapUsed at the instants seen [MiB].
    c : array
        `capsim.telemetry.calibration.heaps.numbers_of`.
    sd : array, shape (3,)
        Of what the model misses of heapUsed, heapTotal, and of what is beside the heap [MiB].
    step : float
        What sizes were rounded to [MiB]; 0 for not at all.
    young : bool
        Whether the stretch begins with the process; else it begins anywhere between two collections.
    jitter_mib : float
        Range of what buffers hold between samples beside what they held at them [MiB].
    count, seed : int
    ahead : array, shape (m, 3), or empty
        Takes by what each sample is off its prediction: heapUsed, heapTotal, beside the heap [MiB].
    """
    np.random.seed(seed)
    state, other = np.empty((count, STATE)), np.empty((count, STATE))
    logs, weights = np.zeros(count), np.empty(count)
    _begin_all(state, c, time_s[0], kept_mib[0], young)
    found, m = 0.0, 0
    for i in range(1, len(time_s)):
        came = max(requests[i] - requests[i - 1], 0.0)
        for k in range(count):
            if state[k, DEAD] == 0:
                after = max(kept_mib[i] + (np.random.random() - 0.5) * jitter_mib, 0.0)
                weighed = max(came + REQUEST_CV * math.sqrt(came) * np.random.standard_normal(), 0.0)
                advance(state[k], c, time_s[i], weighed, state[k, HELD], after, NONE, NONE)
                state[k, HELD] = after
        if not seen[i]:
            continue
        if len(ahead) > 0:
            _off(ahead[m], state, c, logs, told[m])
        again = m > 0 and told[m, 0] == told[m - 1, 0] and told[m, 1] == told[m - 1, 1]
        for k in range(count):
            logs[k] += _log_sample(state[k], c, told[m], sd, step, again)
        m += 1
        best = logs.max()
        weights[:] = np.exp(logs - best)
        mass = weights.sum()
        if mass * mass < 0.5 * count * (weights * weights).sum() or m == len(told):
            found += best + math.log(mass / count)
            _resample(state, other, weights, mass)
            state, other = other, state
            logs[:] = 0.0
    return found

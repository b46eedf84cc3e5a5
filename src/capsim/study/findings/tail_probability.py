"""How likely a wedge is in a month, by what is not known of a database: the tail of its latency.

A scenario says the median of a call and, by its distribution, how much slower one call in twenty is. Who has measured
that has not measured what one call in a million does, and that decides. So three tails are tried which agree in the
median and in the 95th percentile.

A wedge a month or a year is not waited for. A call must last so long that enough items arrive meanwhile; calls well
below that never wedge. That a call is longer has a known probability; of calls drawn from beyond it so many are played,
each with arrivals of its own: importance sampling with one stratum. Calls are independent, so wedges come as rare
events do, as a Poisson process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import NamedTuple

from capsim.base import rng
from capsim.base.units import BILLED_MONTH_MINUTES
from capsim.scenario.database import LatencySpec
from capsim.scenario.workload import Stream
from capsim.study.findings.chances import chance
from capsim.study.findings.document import Tail
from capsim.study.findings.schedule import CALM_S, LEAD_S, RECOVERY_S, Bench, Outcome, at_random, played

DRAWS = 60  # of each tail, each played
SIGMAS = 4.0  # by which arrivals exceed their mean, for calls that are not even drawn to wedge: 3 in 100,000 of them
NEVER = 1e-13  # calls a month: fewer are not worth a play

_NORMAL = NormalDist()
_P95 = _NORMAL.inv_cdf(0.95)


class Law(NamedTuple):
    """A distribution of a latency over its median.

    Attributes
    ----------
    name : str
        With its parameter.
    beyond : callable
        Probability of more than so many medians.
    where : callable
        Beyond how many medians a probability lies.
    """

    name: str
    beyond: Callable[[float], float]
    where: Callable[[float], float]


def spread(spec: LatencySpec) -> float:
    """The 95th percentile of a latency over its median.

    Examples
    --------
    >>> round(spread(LatencySpec(call_ms=20, distribution="lognormal", sigma=0.5)), 3)
    2.276
    """
    if spec.distribution == "constant":
        return 1.0
    if spec.distribution == "exponential":
        return math.log(20) / math.log(2)
    return math.exp(_P95 * spec.sigma)


def laws(ratio: float) -> tuple[Law, ...]:
    """Three distributions with the same median and the same 95th percentile, from the lightest tail to the heaviest.

    Parameters
    ----------
    ratio : float
        95th percentile over median, above 1.

    Examples
    --------
    >>> [round(law.beyond(2.276), 3) for law in laws(2.276)]
    [0.05, 0.05, 0.05]
    >>> [f"{law.beyond(20):.0e}" for law in laws(2.276)]
    ['6e-63', '1e-09', '2e-05']
    """
    shape = math.log(math.log(20) / math.log(2)) / math.log(ratio)
    sigma = math.log(ratio) / _P95
    power = math.log(19) / math.log(ratio)
    return (
        Law(
            f"Weibull, shape {shape:.3g}",
            lambda x: math.exp(-math.log(2) * x**shape) if shape * math.log(x) < 700 else 0.0,
            lambda p: (-math.log(p) / math.log(2)) ** (1 / shape),
        ),
        Law(
            f"lognormal, sigma {sigma:.3g}",
            lambda x: 0.5 * math.erfc(math.log(x) / sigma / math.sqrt(2)),
            lambda p: math.exp(-sigma * _NORMAL.inv_cdf(p)),
        ),
        Law(
            f"log-logistic, power {power:.3g}",
            lambda x: 1 / (1 + x**power),
            lambda p: (1 / p - 1) ** (1 / power),
        ),
    )


def tails(
    bench: Bench, writer: Stream, trigger_s: float, minutes_hz: Sequence[float], draws: int = DRAWS
) -> tuple[Tail, ...]:
    """The chance of a wedge in a month under each of `laws`.

    Parameters
    ----------
    bench : Bench
        The scenario's server at its usual rates.
    trigger_s : float
        Duration of one call that wedges the writer at those rates [s].
    minutes_hz : sequence of float
        Rates of minutes drawn from the load, all writers together [1/s].
    draws : int
        Calls that are played for each tail.

    Returns
    -------
    tuple of Tail
        Empty if the latency does not vary.
    """
    database = bench.scenario.database
    spec = database.update if writer == "heartbeats" else database.insert
    ratio = spread(spec)
    if ratio == 1:
        return ()
    minutes = [_Minute(bench, writer, rate_hz, number) for number, rate_hz in enumerate(minutes_hz) if rate_hz > 0]
    minutes = [minute for minute in minutes if minute.calls_hz > 0]
    part = max(0.2, 1 - SIGMAS / math.sqrt(trigger_s * bench.rates[writer]))
    found = []
    for place, law in enumerate(laws(ratio)):
        # One call in a minute like that lasts so long with this probability; what is shorter never wedges.
        safe = [part * trigger_s * bench.rates[writer] / minute.rate_hz for minute in minutes]
        longer = [law.beyond(s * 1_000 / minute.median_ms) for s, minute in zip(safe, minutes, strict=True)]
        weights = [minute.calls_hz * p for minute, p in zip(minutes, longer, strict=True)]
        expected = sum(weights) / len(minutes_hz) * BILLED_MONTH_MINUTES * 60  # calls a month that are longer than safe
        seen = 0
        worth = expected > NEVER
        if worth:
            chosen = rng.generator(bench.seed, 0, f"rare {writer} {place}")
            shares = [weight / sum(weights) for weight in weights]
            for number in range(draws):
                which = int(chosen.choice(len(minutes), p=shares))
                minute = minutes[which]
                duration_ms = minute.median_ms * law.where(longer[which] * (1 - float(chosen.random())))
                seen += minute.wedges(duration_ms, number)
        # Where nothing was played, no such call may come and each that comes may wedge.
        share = chance(seen, draws, "") if worth else None
        ends = (share.probability, share.lower, share.upper) if share else (0.0, 0.0, 1.0)
        month = [-math.expm1(-expected * (end or 0.0)) for end in ends]
        found.append(
            Tail(
                tail=law.name,
                expected=expected,
                seen=seen,
                runs=draws if worth else 0,
                probability=month[0],
                lower=month[1],
                upper=month[2],
            )
        )
    return tuple(found)


class _Minute:
    """The writer at the rate of one minute of the load."""

    def __init__(self, bench: Bench, writer: Stream, rate_hz: float, number: int) -> None:
        total = sum(bench.rates.values())
        rates = {stream: rate * rate_hz / total for stream, rate in bench.rates.items()}
        self._bench, self._writer, self._number = Bench(bench.scenario, rates, seed=bench.seed), writer, number
        self.rate_hz = rates[writer]
        calm = self._played({}, CALM_S + RECOVERY_S, 0)
        flushes = calm.facts.flushes[calm.facts.flushes["writer"] == writer]
        database = bench.scenario.database
        rows = float(flushes["rows"].mean()) if len(flushes) else 1.0
        single = writer == "heartbeats"
        self.calls_hz = (rows if single else 1.0) * len(flushes) / (CALM_S + RECOVERY_S)
        spec = database.update if single else database.insert
        self.median_ms = spec.call_ms + spec.row_ms * (1.0 if single else rows)

    def wedges(self, duration_ms: float, number: int) -> bool:
        """Whether one call of that duration wedges the writer, with arrivals of its own."""
        # The same draws without it say when the call begins.
        length_s = CALM_S + RECOVERY_S
        flushes = self._played({}, length_s, number).facts.flushes
        starts = flushes.loc[(flushes["writer"] == self._writer) & (flushes["start_s"] >= CALM_S), "start_s"]
        if not len(starts):
            return False
        at_s = float(starts.iloc[0])
        fault = {"kind": "slow", "from_s": at_s - LEAD_S, "to_s": at_s + LEAD_S, "duration_ms": duration_ms}
        ends_s = math.ceil(at_s + duration_ms / 1_000 + RECOVERY_S)
        outcome = self._played({"database.faults": [fault]}, float(ends_s), number)
        return outcome.has("wedge", self._writer) is not None

    def _played(self, changes: dict[str, object], length_s: float, number: int) -> Outcome:
        scenario = at_random(self._bench.scenario, {self._writer: self.rate_hz}, length_s)
        for knob, value in changes.items():
            scenario = scenario.replace(knob, value)
        return played(scenario, CALM_S, 0.0, seed=self._bench.seed, replicate=1_000 * (self._number + 1) + number)

"""The smallest trigger of every failure: sizes in growing steps, then bisection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from capsim.scenario.workload import Stream
from capsim.study.findings.schedule import PRECISION, Bench, Disturbance, Outcome

MOST_ARRIVALS = 150_000  # of a play: at a high rate, long disturbances are not tried (some seconds each)


@dataclass(frozen=True)
class Trigger:
    """The smallest size found at which a failure happens.

    Parameters
    ----------
    size : float
        In the unit of the disturbance; the failure does not happen at ``absent`` (None if it happens at the least
        size that is tried).
    """

    kind: str
    part: str
    disturbance: Disturbance
    size: float
    absent: float | None
    outcome: Outcome

    @property
    def precision(self) -> float:
        """Width of the bracket over the size [1]; 0 where there was nothing to search."""
        return 0.0 if self.absent is None else abs(self.size - self.absent) / self.size


def bisect(
    absent: float, present: float, happens: Callable[[float], bool], precision: float = PRECISION, whole: bool = False
) -> tuple[float, float]:
    """Narrow a bracket, in which a failure begins, to a relative precision, or to neighbouring whole sizes.

    Examples
    --------
    >>> low, high = bisect(1.0, 4.0, lambda size: size >= 2.001)
    >>> low < 2.001 <= high, (high - low) / high <= 0.01
    (True, True)
    """
    while abs(present - absent) > (1 if whole else precision * present):
        middle = (absent + present) / 2
        middle = round(middle) if whole else middle
        if happens(middle):
            present = middle
        else:
            absent = middle
    return absent, present


def sizes(disturbance: Disturbance) -> list[float]:
    """The sizes that are tried first."""
    found = [disturbance.least]
    while found[-1] != disturbance.most:
        worse = disturbance.beyond(found[-1], max(disturbance.step, 1 / disturbance.step))
        found.append(disturbance.most if worse is None else worse)
    return found


def triggers(bench: Bench, disturbance: Disturbance, writer: Stream) -> list[Trigger]:
    """The smallest triggers of all that a disturbance does, at its worst for one writer.

    Failures are taken to stay once they have begun: of one that comes, goes and comes again with growing
    size, the first coming is found, if it spans a step.
    """
    tries = [
        size
        for size in sizes(disturbance)
        if sum(bench.at_size(disturbance, size, writer).values()) * disturbance.lasts_s(size) <= MOST_ARRIVALS
    ]
    found: dict[tuple[str, str], Trigger] = {}
    before: float | None = None
    for size in tries:
        if disturbance.only and {kind for kind, _ in found} == set(disturbance.only):
            break  # nothing else is looked for
        outcome = bench.play(disturbance, size, writer)
        for detection in outcome.detections:
            key = (detection.kind, detection.part)
            if key in found or (detection.part in bench.rates and detection.part != writer):
                continue  # another writer's worst instant is another search
            if disturbance.only and detection.kind not in disturbance.only:
                continue
            low, high = before, size
            if before is not None:
                happens = partial(_happens, bench, disturbance, writer, key)
                low, high = bisect(before, size, happens, disturbance.precision, disturbance.whole)
            found[key] = Trigger(*key, disturbance, high, low, bench.play(disturbance, high, writer))
        before = size
    return list(found.values())


def _happens(bench: Bench, disturbance: Disturbance, writer: Stream, key: tuple[str, str], size: float) -> bool:
    return bench.play(disturbance, size, writer).has(*key) is not None

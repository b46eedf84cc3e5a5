"""Samples over time of one line of an export: read, and held until the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from capsim.base.errors import CapsimError
from capsim.cost.railway_export import REMEDY, Row, number
from capsim.workload.instants import Stamps

GAP_STEPS = 2.0  # a sample says how much was used for so many usual steps; beyond them its value is only held


def held(
    points: Sequence[tuple[float, float]], start_s: float, end_s: float, usual_s: float, ends: bool
) -> tuple[float, list[tuple[float, float]]]:
    """Quantity [unit x min] when each value is held until the next, and the stretches that samples tell of [s]."""
    near_s = GAP_STEPS * usual_s
    inside = [(max(at, start_s), value) for at, value in points if start_s - near_s <= at < end_s]
    if not inside:
        return 0.0, []
    if inside[0][0] - start_s <= near_s:  # the first sample comes up to a step after the beginning
        inside[0] = (start_s, inside[0][1])
    last_s = min(end_s, inside[-1][0] + usual_s) if ends else end_s
    stretches = [(at, until) for (at, _), until in zip(inside, [*(at for at, _ in inside[1:]), last_s], strict=True)]
    quantity = math.fsum(value * (to - at) / 60 for (_, value), (at, to) in zip(inside, stretches, strict=True))
    # Nearer than two steps nothing is missing: clocks and sampling are not even.
    return quantity, [(at, to if to - at <= near_s else at + usual_s) for at, to in stretches]


def length_s(stretches: list[tuple[float, float]]) -> float:
    """Time that stretches cover together [s]; they may overlap."""
    total = reached = 0.0
    for at, to in sorted(stretches):
        total += max(0.0, to - max(at, reached))
        reached = max(reached, to)
    return total


def points_of(row: Row, file: str, name: str) -> list[tuple[float, float]]:
    """Instant and value of each sample, in order of time; instants as seconds since 1970 or as text."""
    samples = row.get("values") or []
    if not isinstance(samples, list) or not all(isinstance(sample, dict) for sample in samples):
        raise CapsimError(f"{file}: the values of {name} are no list of samples; {REMEDY}")
    stamps = Stamps()

    def instant(value: Any) -> float:
        try:
            return stamps(value) / 1e6
        except (ValueError, OverflowError):
            raise CapsimError(f"{file}: {name} ts is {repr(value)[:40]}, which is no time; {REMEDY}") from None

    return sorted((instant(s.get("ts")), number(s.get("value"), file, name)) for s in samples)

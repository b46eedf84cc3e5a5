"""A trace from what was found in files: how wide its bins are, or how exact its stamps."""

from __future__ import annotations

from array import array
from dataclasses import replace

import numpy as np

from capsim.base.errors import TraceError
from capsim.base.units import US_PER_DAY, US_PER_HOUR, US_PER_MS, US_PER_S
from capsim.workload.model import Ints, Trace
from capsim.workload.source import Found

_QUANTISED_DISTINCT = 20  # with fewer distinct stamps, a common step above 1 s may be chance


def as_ints(values: array[int]) -> Ints:
    return np.frombuffer(values, np.int64)


def counted(source: str, name: str, found: Found, digest: str, broken: int, notes: list[str]) -> Trace:
    assert found.counts is not None
    starts = as_ints(found.times_us)
    if starts.size < 2 and not found.width_us:
        raise TraceError(f"{source}: a single bin does not tell how wide it is; give at least two rows")
    width_us = found.width_us or usual_step(starts)
    if width_us > US_PER_DAY:
        days = width_us / US_PER_DAY
        raise TraceError(f"{source}: bins of {days:.3g} days hide the load; give bins of a day or less")
    # from_counts() speaks of `name`; a reader of files speaks of the file.
    trace = Trace.from_counts(
        source,
        starts,
        as_ints(found.counts),
        width_us,
        sha256=digest,
        source=source,
        broken_lines=broken,
    )
    if trace.gaps:
        missing_s = (trace.span_us - trace.covered_us) / US_PER_S
        notes.append(
            f"{len(trace.gaps)} gap{'s' * (len(trace.gaps) > 1)} without rows, {missing_s:.0f} s together: "
            "no data, not zero load."
        )
    return replace(trace, name=name, notes=tuple(notes))


def usual_step(starts: Ints) -> int:
    """The smallest step, if all others are whole multiples of it (absent bins); otherwise the usual one."""
    steps, often = np.unique(np.diff(starts), return_counts=True)
    whole = steps[0] > 0 and not (steps % steps[0]).any()
    return int(steps[0]) if whole else int(steps[np.argmax(often)])


def single(source: str, name: str, found: Found, digest: str, broken: int, notes: list[str]) -> Trace:
    times = as_ints(found.times_us)
    steps_back = np.diff(times)
    out_of_order = int((steps_back < 0).sum())
    if out_of_order:
        back_s = -int(steps_back.min()) / US_PER_S
        who = "1 line went" if out_of_order == 1 else f"{out_of_order} lines went"
        was = "was" if out_of_order == 1 else "were"
        notes.append(f"{who} back in time (by up to {back_s:.6g} s) and {was} sorted.")
    resolution_us = resolution_of(times)
    if resolution_us > US_PER_S:
        every_s = resolution_us / US_PER_S
        notes.append(f"The stamps are quantised to {every_s:.6g} s; arrivals are spread over that time.")
    elif resolution_us == US_PER_S:
        notes.append("The stamps are whole seconds; arrivals are spread inside the second by a seeded rule.")
    return Trace.from_times(
        name,
        times,
        resolution_us,
        source=source,
        sha256=digest,
        out_of_order=out_of_order,
        broken_lines=broken,
        notes=tuple(notes),
    )


def resolution_of(times: Ints) -> int:
    """What the stamps are multiples of: a power of ten up to 1 s, or more where many stamps agree on it."""
    ordered = np.sort(times)  # `unique` hashes, which takes several times as long
    distinct = ordered[np.append(True, ordered[1:] > ordered[:-1])]
    common = int(np.gcd.reduce(np.diff(distinct))) if distinct.size > 1 else 0
    if distinct.size >= _QUANTISED_DISTINCT and US_PER_S < common <= US_PER_HOUR and common % US_PER_S == 0:
        return common
    whole = int(np.gcd.reduce(distinct))
    return next((unit for unit in (US_PER_S, 100 * US_PER_MS, 10 * US_PER_MS, US_PER_MS) if whole % unit == 0), 1)

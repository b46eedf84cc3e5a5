"""A load from a table in memory: a DataFrame or a Series of pandas, as notebooks have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from capsim.base.errors import TraceError
from capsim.base.units import US_PER_S
from capsim.workload import series
from capsim.workload.found import resolution_of, usual_step
from capsim.workload.instants import Stamps, zone_of
from capsim.workload.layout import COUNT_NAMES
from capsim.workload.lines import Broken
from capsim.workload.model import LARGEST_COUNT, Ints, Trace
from capsim.workload.records import TIME_NAMES
from capsim.workload.source import AS, Asked, Found, Source, some


def trace_of(
    frame: pd.DataFrame | pd.Series[Any] | pd.DatetimeIndex,
    time: str | None,
    count: str | None,
    as_: str | None,
    zone: str | None,
    name: str | None,
) -> Trace:
    """What `Trace.from_frame` gives."""
    if as_ not in (None, *AS):
        raise TraceError(f"as_ is {as_!r}; give one of {', '.join(AS)}")
    stamps, values, width_us = _columns(frame, time, count)
    called = name or _name(frame) or "frame"
    notes: list[str] = []
    times_us = _instants(called, stamps, zone, notes)
    if values is None:
        if as_ is not None:
            raise TraceError(f"{called}: as_={as_!r} needs a column of numbers; name it (count=...)")
        return Trace.from_times(called, times_us, resolution_of(times_us), notes=tuple(notes))
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
    there = ~np.isnan(numbers)
    if not there.all():
        notes.append(f"{int((~there).sum())} rows without a number were left out: no data, not zero load.")
    order = np.argsort(times_us[there], kind="stable")
    times_us, numbers = times_us[there][order], numbers[there][order]
    return _counted(called, times_us, numbers, as_, width_us, notes)


def _name(frame: Any) -> str:
    own = getattr(frame, "name", None)
    return own if isinstance(own, str) else ""


def _columns(frame: Any, time: str | None, count: str | None) -> tuple[Any, Any, int | None]:
    """The stamps, the numbers if there are some, and the width of the bins if the table tells it."""
    if isinstance(frame, pd.DatetimeIndex):
        return pd.Series(frame), None, None
    if isinstance(frame, pd.Series):
        if isinstance(frame.index, pd.DatetimeIndex) and not pd.api.types.is_datetime64_any_dtype(frame):
            return pd.Series(frame.index), frame, None
        return frame, None, None
    if not isinstance(frame, pd.DataFrame):
        raise TraceError(f"a {type(frame).__name__} is no table of a load; give a DataFrame or a Series of pandas")
    names = list(map(str, frame.columns))
    for asked in (time, count):
        if asked is not None and asked not in frame.columns:
            raise TraceError(f"the table has no column {asked!r}; it has {some(names) or 'none'}")
    at = time or _time(frame, names)
    stamps = pd.Series(frame.index) if at is None else frame[at]
    others = [one for one in frame.columns if one != at]
    width = {round(float(one) * US_PER_S) for one in frame["width_s"].unique()} if "width_s" in names else set()
    numbers = [one for one in others if pd.api.types.is_numeric_dtype(frame[one]) and one != "width_s"]
    named = [one for known in COUNT_NAMES for one in others if str(one).lower() == known]
    if count is None and named:
        count = named[0]
    if count is None and len(numbers) == 1 and len(others) == 1:
        count = numbers[0]
    if count is None and numbers and at is None:
        raise TraceError(f"the table has the columns {some(names)}; name the one that holds the requests (count=...)")
    return stamps, None if count is None else frame[count], width.pop() if len(width) == 1 else None


def _time(frame: pd.DataFrame, names: list[str]) -> str | None:
    """The column of times; None for the index."""
    if isinstance(frame.index, pd.DatetimeIndex):
        return None
    typed = [one for one in frame.columns if pd.api.types.is_datetime64_any_dtype(frame[one])]
    known = [own for one in TIME_NAMES for own in names if own.lower() == one.lower()]
    for one in (*known, *typed):
        if one in typed or one in known:
            return str(one)
    raise TraceError(f"the table has no index of times, and none among its columns {some(names)}; name it (time=...)")


def _instants(name: str, stamps: pd.Series[Any], zone: str | None, notes: list[str]) -> Ints:
    """Stamps as instants [us]."""
    if stamps.isna().any():
        raise TraceError(f"{name}: {int(stamps.isna().sum())} rows have no time; drop them (dropna)")
    if not pd.api.types.is_datetime64_any_dtype(stamps):
        read = Stamps(zone)
        try:
            times = np.array([read(one.isoformat() if hasattr(one, "isoformat") else one) for one in stamps.tolist()])
        except (ValueError, OverflowError) as error:
            raise TraceError(f"{name}: {error}; give times, or name their column (time=...)") from None
        notes.extend(read.notes())
        return times.astype(np.int64)
    if stamps.dt.tz is None:
        if zone is None:
            notes.append("The stamps name no zone and were taken as UTC (assumed; a zone can be given).")
        try:
            stamps = stamps.dt.tz_localize(zone_of(zone or "UTC"), ambiguous="infer")
        except ValueError as error:
            raise TraceError(
                f"{name}: the clocks of {zone} changed at a time in it ({error}); give times with their zone "
                "(tz_localize)"
            ) from None
    utc = stamps.dt.tz_convert("UTC").dt.tz_localize(None)
    return np.asarray(utc.to_numpy("datetime64[us]"), "datetime64[us]").astype(np.int64)


def _counted(
    name: str, times_us: Ints, numbers: Any, as_: str | None, width_us: int | None, notes: list[str]
) -> Trace:
    if not times_us.size:
        raise TraceError(f"{name}: the trace is empty; it needs at least one row")
    steps = np.diff(times_us)
    if (steps == 0).any():
        raise TraceError(f"{name}: two rows are of the same time; add them up first (groupby(...).sum())")
    whole = bool(((numbers == np.floor(numbers)) & (numbers >= 0) & (numbers <= LARGEST_COUNT)).all())
    if as_ is None and not whole:
        raise TraceError(
            f"{name}: the numbers are no whole counts; say what they are (as_='rate' for requests a second, 'counter' "
            "for a running total)"
        )
    if not steps.size and not width_us:
        raise TraceError(f"{name}: a single row does not tell how wide its bin is; give at least two")
    step_us = width_us or usual_step(times_us)
    source = Source(Path(name), name, Broken(Path(name), 0.0), Stamps(), Asked())
    found = Found()
    points = list(zip(times_us.tolist(), numbers.tolist(), strict=True))
    if as_ == "counter":
        series.into(source, found, series.from_counter(points, step_us))
    elif as_ == "rate":
        series.into(source, found, series.from_rates(points, step_us))
    else:
        if not whole:
            raise TraceError(f"{name}: counts are whole numbers, 0 or more; correct them, or give as_='rate'")
        return Trace.from_counts(name, times_us, numbers.astype(np.int64), step_us, notes=tuple(notes))
    assert found.counts is not None
    return Trace.from_counts(name, found.times_us, found.counts, step_us, notes=tuple(notes))


Trace._of_frame = staticmethod(trace_of)

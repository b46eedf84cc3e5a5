"""A recorded load: counts in bins, or one instant per request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from capsim.base.display import HasCard, HasPlots
from capsim.base.errors import TraceError
from capsim.base.units import US_PER_DAY, US_PER_S
from capsim.workload.instants import instant_us, iso

if TYPE_CHECKING:
    import pandas as pd


Ints = NDArray[np.int64]

MOST_ITEMS = 200_000_000  # bins or events in memory, 8 to 16 bytes each
LARGEST_RATE_HZ = 10_000_000  # a count above this, per second of its bin, is taken for a mistake
LARGEST_COUNT = LARGEST_RATE_HZ * (US_PER_DAY // US_PER_S)  # in the widest bin, of a day


def _none() -> Ints:
    return np.empty(0, np.int64)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Trace(HasCard, HasPlots):
    """A recorded load; make one with `read_trace`, `Trace.from_counts` or `Trace.from_times`.

    Instants are integer microseconds since 1970-01-01 UTC. Absent bins are *no data*, which is not zero load: they
    are listed in ``gaps``, and nothing is averaged or simulated over them.

    Attributes
    ----------
    name : str
        Short name, for titles and file names.
    kind : {"counts", "events"}
        Requests per bin, or one instant per request.
    source : str
        The file as it was given.
    sha256 : str
        Hash of that file's bytes; empty for a trace made in memory.
    start_us, end_us : int
        The span is [start, end) [us].
    bin_start_us, counts : int64[n]
        Start of each bin [us] and its requests (kind "counts"). Bins need not be aligned to anything.
    width_us : int
        Width of every bin [us] (kind "counts").
    times_us : int64[n]
        Sorted stamps [us] (kind "events").
    resolution_us : int
        What the stamps are multiples of [us] (kind "events"): a stamp stands for [t, t + resolution).
    kinds : int8[n] or None
        What each request is, as a place in `capsim.scenario.request_kinds.KINDS` (kind "events"); None where nothing
        says so.
        Made by `capsim.workload.request_map.mapped`.
    out_of_order : int
        Lines of the file that went back in time, and were sorted.
    broken_lines : int
        Lines of the file that could not be read.
    gaps : tuple of (from_us, to_us)
        Stretches without data.
    notes : tuple of str
        What was found or assumed while reading, one sentence each.
    """

    name: str
    kind: Literal["counts", "events"]
    source: str = ""
    sha256: str = ""
    start_us: int
    end_us: int
    bin_start_us: Ints = field(default_factory=_none)
    width_us: int = 0
    counts: Ints = field(default_factory=_none)
    times_us: Ints = field(default_factory=_none)
    resolution_us: int = 0
    kinds: NDArray[np.int8] | None = None
    out_of_order: int = 0
    broken_lines: int = 0
    gaps: tuple[tuple[int, int], ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for values in (self.bin_start_us, self.counts, self.times_us):
            values.setflags(write=False)

    @classmethod
    def from_counts(
        cls,
        name: str,
        bin_start_us: Iterable[int] | Ints,
        counts: Iterable[int] | Ints,
        width_us: int,
        *,
        start_us: int | None = None,
        end_us: int | None = None,
        source: str = "",
        sha256: str = "",
        broken_lines: int = 0,
        notes: tuple[str, ...] = (),
    ) -> Trace:
        """A trace of counts per bin; what the bins do not cover becomes its gaps.

        Parameters
        ----------
        bin_start_us, counts : array-like of int, shape (n,)
            Increasing starts [us since 1970] and requests of each bin.
        width_us : int
            Width of every bin [us].
        start_us, end_us : int, optional
            The span, if it reaches beyond the first and last bin.

        Raises
        ------
        TraceError
            If it is empty, if bins overlap or go backwards, or if a count is negative or absurd.

        Examples
        --------
        >>> Trace.from_counts("two minutes", [0, 120_000_000], [3, 5], 60_000_000).gaps
        ((60000000, 120000000),)
        """
        starts, values = _ints(bin_start_us), _ints(counts)
        if not starts.size:
            raise TraceError(f"{name}: the trace is empty; it needs at least one bin")
        if starts.size != values.size:
            raise TraceError(f"{name}: {starts.size} bins but {values.size} counts; give one count a bin")
        if width_us < 1:
            raise TraceError(f"{name}: a bin width of {width_us} us is impossible; give 1 or more")
        steps = np.diff(starts)
        if (steps < width_us).any():
            at = int(np.argmax(steps < width_us))
            raise TraceError(
                f"{name}: the bin at {iso(int(starts[at + 1]))} begins before the one at {iso(int(starts[at]))} ends; "
                "sort the bins, and make them equally wide"
            )
        most = LARGEST_RATE_HZ * max(1.0, width_us / US_PER_S)
        if (values < 0).any() or (values > most).any():
            at = int(np.argmax((values < 0) | (values > most)))
            raise TraceError(
                f"{name}: the count at {iso(int(starts[at]))} is {values[at]}; give 0 to {most:.0f} requests a bin"
            )
        first, last = int(starts[0]), int(starts[-1]) + width_us
        first, last = min(first, first if start_us is None else start_us), max(last, end_us or last)
        gap_from = np.concatenate(([first], starts + width_us))
        gap_to = np.concatenate((starts, [last]))
        is_gap = gap_to > gap_from
        return cls(
            name=name,
            kind="counts",
            source=source,
            sha256=sha256,
            start_us=first,
            end_us=last,
            bin_start_us=starts,
            width_us=width_us,
            counts=values,
            broken_lines=broken_lines,
            gaps=tuple(zip(gap_from[is_gap].tolist(), gap_to[is_gap].tolist(), strict=True)),
            notes=notes,
        )

    @classmethod
    def from_times(
        cls,
        name: str,
        times_us: Iterable[int] | Ints,
        resolution_us: int,
        *,
        start_us: int | None = None,
        end_us: int | None = None,
        source: str = "",
        sha256: str = "",
        out_of_order: int = 0,
        broken_lines: int = 0,
        notes: tuple[str, ...] = (),
    ) -> Trace:
        """A trace with one instant per request, sorted here if need be.

        Examples
        --------
        >>> Trace.from_times("three", [2_000_000, 0, 5_000_000], 1_000_000).end_us
        6000000
        """
        times = np.sort(_ints(times_us))
        if not times.size:
            raise TraceError(f"{name}: the trace is empty; it needs at least one request")
        first, last = int(times[0]), int(times[-1]) + resolution_us
        return cls(
            name=name,
            kind="events",
            source=source,
            sha256=sha256,
            start_us=first if start_us is None else min(first, start_us),
            end_us=last if end_us is None else max(last, end_us),
            times_us=times,
            resolution_us=resolution_us,
            out_of_order=out_of_order,
            broken_lines=broken_lines,
            notes=notes,
        )

    _of_frame: ClassVar[Callable[..., Trace]]
    """Filled by `capsim.workload.frames`, which knows the readers, as they know this class."""

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame | pd.Series[Any] | pd.DatetimeIndex,
        *,
        time: str | None = None,
        count: str | None = None,
        as_: str | None = None,
        zone: str | None = None,
        name: str | None = None,
    ) -> Trace:
        """A trace from a table in memory; the way back from `to_frame`.

        Parameters
        ----------
        frame : DataFrame, Series or DatetimeIndex
            A Series of numbers over a DatetimeIndex, or a DataFrame with one, are requests in bins; times alone are
            one request each.
        time, count : str, optional
            Columns of a DataFrame: the times (by default the index, or a column called so or of times) and the
            numbers (by default ``requests``, ``count`` and the like, or the only column).
        as_ : {"count", "rate", "counter"}, optional
            What the numbers are: requests in each bin, requests a second, or a running total.
        zone : str, optional
            Zone of times that name none; UTC by default, with a note.
        name : str, optional
            For titles and file names.

        Raises
        ------
        TraceError
            If it does not say what is meant, or holds what no load can be.

        Examples
        --------
        >>> import pandas as pd
        >>> minutes = pd.date_range("2026-03-02T17:30Z", periods=3, freq="min")
        >>> Trace.from_frame(pd.Series([5, 7, 0], minutes)).counts.tolist()
        [5, 7, 0]
        """
        return cls._of_frame(frame, time, count, as_, zone, name)

    def __repr__(self) -> str:
        return f"<Trace {self.name}: {self.total} requests, {iso(self.start_us)} to {iso(self.end_us)}, {self.kind}>"

    def to_frame(self) -> pd.DataFrame:
        """The load as a table.

        Returns
        -------
        DataFrame
            Kind "counts": a row a bin, ``start`` (UTC), ``width_s`` [s] and ``requests``; kind "events": a row a
            request, ``start`` (UTC). Absent bins are no rows: they are unknown, not zero.

        Examples
        --------
        >>> Trace.from_counts("x", [0, 60_000_000], [3, 5], 60_000_000).to_frame()["requests"].tolist()
        [3, 5]
        """
        import pandas as pd

        if self.kind == "events":
            return pd.DataFrame({"start": pd.to_datetime(self.times_us, unit="us", utc=True)})
        start = pd.to_datetime(self.bin_start_us, unit="us", utc=True)
        return pd.DataFrame({"start": start, "width_s": self.width_us / US_PER_S, "requests": self.counts})

    @property
    def span_us(self) -> int:
        """Length from start to end, gaps included [us]."""
        return self.end_us - self.start_us

    @property
    def covered_us(self) -> int:
        """Length that has data [us]."""
        return self.span_us - sum(to - from_ for from_, to in self.gaps)

    @property
    def total(self) -> int:
        """Requests in the trace."""
        return int(self.counts.sum()) if self.kind == "counts" else int(self.times_us.size)

    def window(self, from_: str | int | None = None, to: str | int | None = None) -> Trace:
        """The part in [from, to).

        Parameters
        ----------
        from_, to : str or int, optional
            ISO instants (UTC unless they say otherwise), offsets from the start such as ``36h``, or instants
            [us since 1970]. A bin belongs to the window in which it starts, and is kept whole.

        Raises
        ------
        TraceError
            If the window holds no data.

        Examples
        --------
        >>> trace = Trace.from_counts("x", [0, 60_000_000, 120_000_000], [1, 2, 3], 60_000_000)
        >>> trace.window("60s").counts.tolist()
        [2, 3]
        """
        low = self.start_us if from_ is None else max(self.start_us, instant_us(from_, self.start_us))
        high = self.end_us if to is None else min(self.end_us, instant_us(to, self.start_us))
        at = self.bin_start_us if self.kind == "counts" else self.times_us
        first, last = at.searchsorted([low, high])
        if first >= last:
            raise TraceError(
                f"{self.name}: no data from {iso(low)} to {iso(high)}; the trace runs from {iso(self.start_us)} "
                f"to {iso(self.end_us)}"
            )
        notes = (*self.notes, f"Cut to {iso(low)} - {iso(high)}.")
        if self.kind == "events":
            kinds = None if self.kinds is None else self.kinds[first:last]
            return replace(self, start_us=low, end_us=high, times_us=at[first:last], kinds=kinds, notes=notes)
        # An edge inside a bin moves to the end of that bin; an edge inside a gap stays, and the gap remains.
        if first and at[first - 1] + self.width_us > low:
            low = int(at[first - 1]) + self.width_us
        return Trace.from_counts(
            self.name,
            at[first:last],
            self.counts[first:last],
            self.width_us,
            start_us=low,
            end_us=high,
            source=self.source,
            sha256=self.sha256,
            broken_lines=self.broken_lines,
            notes=notes,
        )

    def repeat(self, times: int) -> Trace:
        """The trace played ``times`` times, end to end, the same requests each time.

        (A run that is longer than its trace repeats it too, with fresh draws inside the bins.)

        Examples
        --------
        >>> Trace.from_counts("x", [0], [4], 60_000_000).repeat(3).counts.tolist()
        [4, 4, 4]
        """
        size = self.bin_start_us.size + self.times_us.size
        if times < 1 or times * size > MOST_ITEMS:
            raise TraceError(f"{self.name}: cannot be repeated {times} times; give 1 to {MOST_ITEMS // size}")
        shifts = np.repeat(np.arange(times, dtype=np.int64) * self.span_us, size)
        return replace(
            self,
            end_us=self.start_us + times * self.span_us,
            bin_start_us=np.tile(self.bin_start_us, times) + shifts if self.kind == "counts" else self.bin_start_us,
            counts=np.tile(self.counts, times),
            times_us=np.tile(self.times_us, times) + shifts if self.kind == "events" else self.times_us,
            kinds=None if self.kinds is None else np.tile(self.kinds, times),
            gaps=tuple((a + i * self.span_us, b + i * self.span_us) for i in range(times) for a, b in self.gaps),
            notes=(*self.notes, f"Repeated {times} times."),
        )


def _ints(values: Iterable[int] | Ints) -> Ints:
    return np.array(values if isinstance(values, np.ndarray) else list(values), np.int64)

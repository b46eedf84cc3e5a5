"""V8's heap, collection by collection, driven by recorded or simulated requests.

Where `sawtooth` sums whole bins, this follows every scavenge (`followed` says where a run needs it): new space fills,
survivors move to the old generation, new space doubles while much survives and shrinks while little is allocated,
marking starts at a limit and ends some time later, pages go back in part, an idle process gives back by chance, and
under a cap the limits close in until collections follow each other without a pause and the process ends. Rules are
those of V8 11.3 (Node 20) as far as the measurements confirm them; what they leave open is a constant below, with the
runs that it was fitted on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from capsim.base import rng
from capsim.memory.constants import PUBLISHED, Values

Floats = NDArray[np.float64]

HEAP = ("heap_used", "heap_total", "new_size", "old_used", "old_size", "rss", "scavenges", "collections")
"""Columns that `simulate` returns beside ``t_s``; memory in MiB, counts since the start."""


Ending = Literal["abort", "kill", "hang"]
"""V8 gives up (exit 134), the kernel kills (137), or it lives on and answers nothing."""


@dataclass
class Stretch:
    """What a stretch of time was like: seconds, MiB x seconds of heap and resident memory, largest resident [MiB]."""

    seconds: float = 0.0
    heap_mib_s: float = 0.0
    rss_mib_s: float = 0.0
    peak_mib: float = 0.0

    def add(self, heap: Heap, seconds: float) -> None:
        """So long, the heap is as it is now."""
        rss = heap.rss
        self.seconds += seconds
        self.heap_mib_s += heap.total * seconds
        self.rss_mib_s += rss * seconds
        self.peak_mib = max(self.peak_mib, rss)


@dataclass(frozen=True)
class Resumed:
    """Where a heap is taken up: time [s]; half of new space, rows held, committed old space [MiB]; collections."""

    t_s: float
    semi_mib: float
    retained_mib: float
    committed_mib: float
    collections: int
    growth_mib_s: float
    seed: int = 7


@dataclass(frozen=True)
class Process:
    """What the program does to its heap, and what bounds it.

    Parameters
    ----------
    cap_mib : float
        Limit of the old generation [MiB].
    semi_space_mib : float
        Largest half of new space [MiB]; 16 in Node 20, less in containers below 8 GiB.
    live_mib : float
        Live bytes of the idle program, a loaded data set included [MiB].
    allocated_kib, promoted_kib : float
        Allocated by a request, and of it moved to the old generation though it dies later [KiB].
    file_mib, off_heap_mib : float
        Mapped program files; memory of V8 and the libraries beside the heap [MiB].
    off_heap_share : float
        More of the latter per committed heap [1].
    cpu_share : float
        CPU that the collector gets of what it asks for [1]; below 1 on a crowded machine.
    keeps_new_pages : bool
        As V8 13.6 (Node 24), and not 11.3 (Node 20): new space grows in full collections too, also near the cap, and
        what it has once touched stays resident, as after a live set that was loaded at the start.
    container_mib : float
        Memory limit of the container [MiB]; none by default.
    own_files : bool
        Whether the pages of the program's files are charged to that container, as where it runs alone. If so the
        process hangs before it fills the container; if not, the kernel kills it at the limit.
    speed_sigma : float
        Spread of the logarithm of the collector's speed [1]; 0 for the middle of what may happen.
    value : Values
        The constants of the memory model.
    """

    cap_mib: float = 4096.0
    semi_space_mib: float = 16.0
    live_mib: float = PUBLISHED("live_base")
    allocated_kib: float = PUBLISHED("allocated_request")
    promoted_kib: float = PUBLISHED("promoted_request")
    file_mib: float = PUBLISHED("server_file")
    off_heap_mib: float = PUBLISHED("server_off_heap")
    off_heap_share: float = 0.0
    cpu_share: float = 1.0
    keeps_new_pages: bool = False
    container_mib: float = math.inf
    own_files: bool = True
    speed_sigma: float = PUBLISHED("speed_sigma")
    value: Values = PUBLISHED

    @property
    def room_mib(self) -> float:
        """What may be held: the container, less the pages of its own files without which a program does not get on."""
        return self.container_mib - (self.value("files_in_use") if self.own_files else 0.0)


class Heap:
    """The state between two events, and what each event does to it."""

    def __init__(self, process: Process, seed: int) -> None:
        self.p = process
        self.draw = rng.Table(seed, 0, "heap", "normal")
        self.chance = rng.Table(seed, 0, "heap reducer", "uniform")
        self.ticks = 0
        self.looks = 0  # left to the memory reducer since the last full collection
        self.t = 0.0
        self.semi = min(2.0, process.semi_space_mib)
        self.new = 0.5
        self.active = self.resting = self.semi  # resident pages of the half that is filled, and of the other
        if process.keeps_new_pages:
            loaded = max(process.live_mib - self.p.value("live_base"), 0.0) * self.p.value("loading_touches") / 2
            self.active = self.resting = min(max(self.semi, loaded), process.semi_space_mib)
        self.since_kib = 0.0  # allocated since the last scavenge
        self.survived = 0.0  # since new space grew
        self.retained = 0.0  # rows held, as far as they have reached the old generation
        self.old = process.live_mib
        self.committed = process.live_mib + self.p.value("pages_idle")
        self.pressed = False
        self.limit = self.old + self.p.value("first_step") + self.semi
        self.marked_at = math.inf
        self.reduce_at = math.inf
        self.reduced_to = 0.0
        self.scavenges = self.collections = 0
        self.ended: Ending | None = None
        self.stretch = Stretch()

    @classmethod
    def resumed(cls, process: Process, at: Resumed) -> Heap:
        """A heap amid its life, between two collections."""
        heap = cls(process, at.seed)
        heap.t = at.t_s
        heap.semi = min(max(at.semi_mib, process.value("new_space_low") / 2), process.semi_space_mib)
        heap.active = heap.resting = heap.semi
        heap.retained = at.retained_mib
        heap.old = process.live_mib + at.retained_mib
        heap.committed = max(at.committed_mib, heap.old + process.value("pages_idle"))
        heap.collections = at.collections
        if at.collections:
            heap._bound(_factor(at.growth_mib_s, process.cap_mib, heap._speed(), process.value))
        return heap

    @property
    def dead(self) -> bool:
        return self.ended is not None

    @property
    def held_mib(self) -> float:
        """What the kernel cannot take back from the container: anonymous memory, and its own for it."""
        anon = self.rss - self.p.file_mib
        value = self.p.value
        return anon * (1 + value("node_kernel_share")) + value("node_kernel_base") + value("group_overhead")

    def pass_to(self, t_s: float, rate_kib_s: float) -> None:
        """Nothing but allocation happens until then."""
        step = max(t_s - self.t, 0.0)
        self.fill(rate_kib_s * step / 1024)
        self.t = max(self.t, t_s)
        self.stretch.add(self, step)
        if self.held_mib >= self.p.room_mib:
            self.ended = "hang" if self.p.own_files else "kill"

    @property
    def total(self) -> float:
        return self.committed + 2 * self.semi + self.p.value("heap_overhead")

    @property
    def rss(self) -> float:
        untouched = 2 * self.semi - self.active - self.resting
        return self.p.file_mib + self.p.off_heap_mib + self.total * (1 + self.p.off_heap_share) - untouched

    def trigger(self) -> float:
        return self.p.value("scavenge_at") * self.semi

    def _bound(self, factor: float) -> None:
        """Set how far the old generation may grow before the next collection."""
        limit = max(factor * self.old, self.old + self.p.value("growing_step")) + self.semi
        halfway = (self.old + self.p.cap_mib) / 2
        self.pressed = halfway < limit
        self.limit = min(limit, halfway)

    @property
    def start(self) -> float:
        """Old generation at which marking begins: the limit, less what a full new space may add."""
        return self.limit - (self.p.semi_space_mib if self.pressed else self.semi)

    def fill(self, mib: float) -> None:
        """Allocate; pages of a half become resident as they are first reached."""
        self.new += mib
        self.since_kib += mib * 1024
        if self.p.keeps_new_pages:
            self.active = max(self.active, self.new)

    def mark_if_due(self) -> None:
        """Begin to mark at the limit; at the cap the program waits, and nothing is allocated until marking is over."""
        if self.old >= self.p.cap_mib:
            self.marked_at = self.t
        elif self.marked_at == math.inf and self.old >= self.start:
            marking = self.p.value("marking_share") * self.old * (1 + self.old / self.p.value("marking_doubles"))
            # Near the cap V8 marks at once; otherwise it waits for a task, and marks beside the program.
            wait = 0.0 if self.pressed else self.p.value("marking_base")
            self.marked_at = self.t + (wait + marking) / self.p.cpu_share

    def empty(self, retained_mib: float) -> None:
        """Move on what new space holds: garbage that has survived once, and the rows that have been kept since."""
        kept = max(retained_mib - self.retained, 0.0)
        self.retained = max(retained_mib, self.retained)
        stays = self.p.value("scavenge_stays") * self.since_kib / 1024
        self.old += self.since_kib / self.p.allocated_kib * self.p.promoted_kib / 1024 + kept
        self.committed = max(self.committed, self.old + self.p.value("pages_idle"))
        share = self.p.value("survived_13" if self.p.keeps_new_pages else "survived")
        self.survived += share * self.since_kib / 1024 + kept
        self.new = min(stays, 0.5 * self.semi)
        self.since_kib = 0.0

    def scavenge(self, retained_mib: float, rate_kib_s: float) -> None:
        """Collect a new space that is full, and see whether it should have another size."""
        self.empty(retained_mib)
        self._flip()
        self.scavenges += 1
        if rate_kib_s * 1024 < self.p.value("shrinks_below"):
            self._shrink()
        else:
            self._grow()
        self.mark_if_due()

    def _flip(self) -> None:
        """The other half is filled from now on: after two scavenges all of new space is resident."""
        if self.p.keeps_new_pages:
            self.active, self.resting = max(self.resting, self.new), self.active
        else:
            self.active, self.resting = self.semi, (self.active + self.resting) / 2

    def _grow(self) -> None:
        if self.survived > self.semi < self.p.semi_space_mib:
            self.semi = min(2 * self.semi, self.p.semi_space_mib)
            self.survived = 0.0

    def _shrink(self) -> None:
        self.semi = min(self.semi, self.p.value("new_space_low") / 2)
        self.new = min(self.new, 0.5 * self.semi)
        if not self.p.keeps_new_pages:
            self.active, self.resting = min(self.active, self.semi), min(self.resting, self.semi)
        self.survived = 0.0

    def collect(self, retained_mib: float, growth_mib_s: float, *, reduce: bool = False) -> None:
        """A full collection ends: garbage is gone, pages in part, and the next limit is set."""
        self.old = self.p.live_mib + retained_mib
        self.retained = retained_mib
        slack = self.committed - self.old
        keep = self.p.value("slack_kept") - self.p.value("slack_kept_less") * max(slack - 40, 0)
        left = max(min(slack, self.p.value("slack_always")), max(keep, self.p.value("slack_kept_min")) * slack)
        if reduce:
            self._shrink()
            left = 0.0
        self.committed = self.old + max(left, self.p.value("pages_idle"))
        self.collections += 1
        self.marked_at = math.inf
        if self.old >= self.p.cap_mib - self.p.value("death_margin"):
            # V8 gives up now, if the pages of its own code are there to do so.
            self.ended = "hang" if self.held_mib > self.p.room_mib else "abort"
            return
        if self.old >= self.p.value("shrinks_near_cap") * self.p.cap_mib:
            self._shrink()
        elif self.p.keeps_new_pages and not reduce:
            self._grow()
        self._bound(_factor(growth_mib_s, self.p.cap_mib, self._speed(), self.p.value))
        if not reduce and self.total >= max(1.1 * self.reduced_to, self.reduced_to + 10):
            self.looks = int(self.p.value("reducer_looks"))
            self.reduce_at = self.t + self.p.value("reducer_tick")

    def _speed(self) -> float:
        """Speed of full collections as V8 knows it [MiB/s]: nothing at first, then an average of ever more of them."""
        if self.collections == 1:
            return 0.0
        young = self.p.value("speed_missing") * math.exp((2 - self.collections) / self.p.value("speed_learned"))
        noise = math.exp(self.p.speed_sigma * self.draw[self.collections])
        return self.p.cpu_share * self.p.value("speed_median") * (1 - young) * noise

    def tick(self, retained_mib: float, rate_kib_s: float) -> None:
        """V8's memory reducer looks at the program a while after a full collection.

        It acts when little is allocated. Of a program that allocates nothing it knows no rate, and mostly waits.
        """
        self.ticks += 1
        self.looks -= 1
        self.reduce_at = self.t + self.p.value("reducer_tick") if self.looks else math.inf
        idle = rate_kib_s == 0 and self.chance[self.ticks] < self.p.value("reducer_chance")
        if idle or 0 < rate_kib_s * 1024 < self.p.value("shrinks_below"):
            self.collect(retained_mib, 0.0, reduce=True)
            self.reduced_to = self.total
            self.reduce_at = math.inf


def _factor(growth_mib_s: float, cap_mib: float, speed_mib_s: float, value: Values) -> float:
    largest = 4.0 if cap_mib >= 2048 else 1.3 + 0.7 * max(0.0, cap_mib - 256) / 1792
    ratio = 0.03 * speed_mib_s / max(growth_mib_s, 1e-9)
    return max(1.1, ratio / (ratio - 0.97)) if ratio * (largest - 1) > 0.97 * largest else largest


def simulate(t_s: Floats, requests: Floats, retained_mib: Floats, process: Process, seed: int = 7) -> pd.DataFrame:
    """Run the heap through a recorded load.

    Parameters
    ----------
    t_s : array, shape (n,)
        Times of the samples [s], rising.
    requests : array, shape (n,)
        Requests served up to each sample.
    retained_mib : array, shape (n,)
        Bytes that the program keeps alive at each sample beyond ``process.live_mib`` [MiB]; straight in between.
    process : Process
    seed : int
        Of the collector's speed and of the moments at which an idle process gives back.

    Returns
    -------
    DataFrame
        One row per sample, columns ``t_s`` and `HEAP`; it ends with the process, and ``attrs["died_at_s"]`` says when
        that was (None if it lived), ``attrs["ended"]`` how: "abort", "kill", "hang" or None.

    Examples
    --------
    >>> minute = np.arange(61.0)
    >>> run = simulate(minute, 500 * minute, 0 * minute, Process())
    >>> bool(95 < run.rss[30:].mean() < 112)
    True
    """
    heap = Heap(process, seed)
    heap.t = float(t_s[0])
    rows = [_row(heap)]
    times, counts, kept = t_s.tolist(), requests.tolist(), retained_mib.tolist()
    heap.retained = kept[0]
    for i in range(1, len(times)):
        advance(heap, times[i], counts[i] - counts[i - 1], kept[i - 1], kept[i])
        rows.append(_row(heap))
        if heap.dead:
            break
    out = pd.DataFrame(rows, columns=["t_s", *HEAP])
    out.attrs["died_at_s"] = heap.t if heap.dead else None
    out.attrs["ended"] = heap.ended
    return out


def _row(heap: Heap) -> tuple[float, ...]:
    used = heap.old + heap.new
    sizes = (used, heap.total, 2 * heap.semi, heap.old, heap.committed, heap.rss)
    return (heap.t, *sizes, heap.scavenges, heap.collections)


def advance(heap: Heap, to_s: float, count: float, kept_before: float, kept_after: float) -> None:
    """From one sample to the next: the events in between, in order of time.

    Parameters
    ----------
    heap : Heap
        Changed in place; left where it ends, if it does.
    to_s : float
        Time of the next sample [s].
    count : float
        Requests until then.
    kept_before, kept_after : float
        Rows that the program keeps alive at both ends [MiB]; straight in between.
    """
    from_s = heap.t
    width = to_s - from_s
    left_kib = count * heap.p.allocated_kib
    rate = left_kib / width
    climb = (kept_after - kept_before) / width
    growth = count / width * heap.p.promoted_kib / 1024 + max(climb, 0.0)

    def retained() -> float:
        return kept_before + climb * (heap.t - from_s)

    if rate:
        heap.mark_if_due()
    while not heap.dead:
        full_s = heap.t + (heap.trigger() - heap.new) * 1024 / rate if rate else math.inf
        next_s = min(full_s, heap.marked_at, heap.reduce_at, to_s)
        heap.pass_to(next_s, rate)
        if next_s == heap.marked_at:
            heap.empty(retained())
            heap.collect(retained(), growth)
            if rate:
                heap.mark_if_due()
        elif next_s == full_s:
            heap.scavenge(retained(), rate)
        elif next_s == heap.reduce_at:
            heap.tick(retained(), rate)
        else:
            break


def compare(recorded: pd.DataFrame, simulated: pd.DataFrame, from_s: float, to_s: float) -> dict[str, float]:
    """A recorded run beside a simulated one, over the same stretch of time.

    Parameters
    ----------
    recorded : DataFrame
        Columns ``t_s``, ``rss`` [MiB] and ``gcMajor``.
    simulated : DataFrame
        As `simulate` returns it.
    from_s, to_s : float
        Stretch to compare, usually the load [s].

    Returns
    -------
    dict of str to float
        ``mean``, ``median``, ``p95``, ``peak`` of resident memory [MiB] and full collections per minute, each as
        ``measured_...`` and ``model_...``.
    """
    out: dict[str, float] = {}
    for name, run, count in (("measured", recorded, "gcMajor"), ("model", simulated, "collections")):
        part = run[(run["t_s"] >= from_s) & (run["t_s"] <= to_s)]
        out |= {f"{name}_{k}": v for k, v in _statistics(part["rss"]).items()}
        minutes = (part["t_s"].iloc[-1] - part["t_s"].iloc[0]) / 60
        out[f"{name}_collections"] = float(part[count].iloc[-1] - part[count].iloc[0]) / minutes
    return out


def _statistics(rss: Iterable[float]) -> dict[str, float]:
    values = np.asarray(list(rss))
    low, high = np.percentile(values, [50, 95])
    return {"mean": float(values.mean()), "median": float(low), "p95": float(high), "peak": float(values.max())}

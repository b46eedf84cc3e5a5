"""Memory and CPU of the Node server: heap, resident set and what its container is billed for.

Live bytes (`live`) drive the saw-tooth of the old generation (`sawtooth`); new space, mapped program files
and V8's own memory come on top; the container adds page tables and the program files that were read at the
start.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from capsim.base.units import MIB
from capsim.memory import component_memory as parts
from capsim.memory import live_set as live_rows
from capsim.memory.constants import PUBLISHED, Values
from capsim.memory.heap import Process
from capsim.memory.heap_stepping import Bins, End, follow
from capsim.memory.limits import container_mib, cpu_quota, heap_limit_mib, semi_space_mib
from capsim.memory.live_set import Live
from capsim.memory.pauses import collector_share, extra_cpu_vcpu
from capsim.memory.sawtooth import OldSpace, scan
from capsim.scenario.scenario import Scenario

Floats = NDArray[np.float64]

# CPU of one request of a warm process by rate; measured, see docs/memory.md
_CPU_RATE_HZ = (0.0, 5.0, 20.0, 35.0, 200.0, 500.0, 1000.0)
_CPU_MS = (0.78, 0.78, 0.78, 0.73, 0.56, 0.35, 0.32)


def columns(samples: pd.DataFrame, scenario: Scenario, value: Values) -> tuple[dict[str, Floats], End | None]:
    """The server's part of `capsim.scenario.columns.MEMORY`, and whether and how its memory ends the process.

    Parameters
    ----------
    samples : DataFrame
        Columns of `capsim.scenario.columns.SAMPLES`; bins of a second to a few minutes.
    scenario : Scenario

    Returns
    -------
    dict of str to array, shape (n,)
        By column name; after the end, as if there were none.
    End or None
        When V8 gives up, the kernel kills, or the process hangs.
    """
    width = samples["width_s"].to_numpy(np.float64)
    requests = samples["requests"].to_numpy(np.float64)
    rate = requests / width
    mean, peak, new, rows = _old_spaces(samples, scenario, width, rate, value)
    # Near the cap V8 shrinks new space, so that both together keep below it.
    process = process_of(scenario, float(rate.max(initial=0.0)), value)
    new = np.clip(process.cap_mib - mean.mean_mib, np.minimum(new, value("new_space_low")), new)
    above = process.off_heap_mib + process.file_mib
    heap = mean.mean_mib + new + value("heap_overhead")
    rss = heap + above
    tooth = np.where(rate > 0, value("promoted_request") / value("allocated_request") * _scavenge_mib(new, value), 0.0)
    rss_peak = np.maximum(peak.peak_mib + new + value("heap_overhead") + above + tooth, rss)
    stepped = follow(
        Bins(
            time_s=samples["time_s"].to_numpy(np.float64),
            width_s=width,
            requests=requests,
            start_mib=rows.start_mib,
            max_mib=rows.max_mib,
            lasting_mib=rows.lasting_mib,
            end_mib=rows.end_mib,
            committed_mib=mean.mean_mib,
            new_mib=new,
            collections=mean.collections,
            rss_mib=rss,
        ),
        process,
    )
    heap = np.where(np.isnan(stepped.heap_mib), heap, stepped.heap_mib)
    rss_peak = np.where(np.isnan(stepped.peak_mib), rss_peak, stepped.peak_mib)
    rss = np.where(np.isnan(stepped.rss_mib), rss, stepped.rss_mib)
    anon = rss - process.file_mib
    logs = parts.log_files_mib(samples, scenario) + np.cumsum(requests) * value("server_cache_request") / MIB
    held = anon + value("node_kernel_base") + value("node_kernel_share") * anon + value("group_overhead")
    held = held + value("kernel_written") * logs
    room = np.maximum(process.container_mib - held, 0.0)  # file pages give way to what cannot
    lower = held + np.minimum(value("server_mapped"), room)
    upper = held + np.minimum(value("server_files_read") + logs, room)
    # Of the logs all, of the program half of what is not mapped.
    billed = held + np.minimum((value("server_mapped") + value("server_files_read")) / 2 + logs, room)
    cpu = cpu_vcpu(requests, width, value) + parts.cpu_vcpu(samples, scenario, value)
    cpu = cpu + extra_cpu_vcpu(scenario, rate, new, value)
    columns = {
        "server_heap_mib": heap,
        "server_rss_mib": rss,
        "server_rss_peak_mib": rss_peak,
        "server_cpu_vcpu": np.minimum(cpu, cpu_quota(scenario) or np.inf),
        "server_billed_lower_mib": lower,
        "server_billed_mib": billed,
        "server_billed_upper_mib": upper,
    }
    return columns, stepped.end


def process_of(scenario: Scenario, rate_hz: float = 0.0, value: Values = PUBLISHED) -> Process:
    """The server's process as the stepped heap takes it, while it serves so many requests a second.

    Examples
    --------
    >>> s = Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing={"from": "2026-02-03"})
    >>> process_of(s.replace("server.container.memory_limit_mib", 512)).semi_space_mib
    1.0
    """
    later = scenario.server.node.version == 24
    used = float(cpu_vcpu(np.array([rate_hz * 3600]), np.array([3600.0]), value)[0])
    container = container_mib(scenario)
    return Process(
        cap_mib=heap_limit_mib(scenario),
        semi_space_mib=semi_space_mib(scenario),
        live_mib=live_rows.base_mib(scenario, value),
        allocated_kib=value("allocated_request"),
        promoted_kib=value("promoted_request"),
        file_mib=value("server_file") + later * value("node24_file"),
        off_heap_mib=value("server_off_heap") + later * value("node24_off_heap"),
        off_heap_share=value("off_heap_share"),
        cpu_share=collector_share(scenario, used),
        keeps_new_pages=later,
        container_mib=np.inf if container is None else container,
        speed_sigma=0.0,
        value=value,
    )


def cpu_vcpu(requests: Floats, width_s: Floats, value: Values = PUBLISHED) -> Floats:
    """CPU of the process, average over each bin [vCPU]: user and system time, collector threads included.

    A request costs less at a higher rate, and more until the code is warm (some 3,000 requests after a
    start).

    Parameters
    ----------
    requests, width_s : array, shape (n,)
        Requests in each bin from the start of the process, length of the bins [s].

    Examples
    --------
    >>> cpu_vcpu(np.array([30_000.0]), np.array([60.0])).round(3).tolist()  # measured: 0.195
    [0.196]
    """
    rate = requests / width_s
    warm = np.interp(rate, _CPU_RATE_HZ, _CPU_MS) / 1e3
    served = np.cumsum(requests)
    cold = np.minimum(served, value("warm_after")) - np.minimum(served - requests, value("warm_after"))
    seconds = value("request_cpu") * (requests * warm + cold * value("cold_request") / 1e3)
    return seconds / width_s + value("server_idle_cpu")


def _scavenge_mib(new_mib: Floats, value: Values) -> Floats:
    return value("scavenge_every") * new_mib / value("new_space_max")


def _old_spaces(
    samples: pd.DataFrame, scenario: Scenario, width: Floats, rate: Floats,
    value: Values,
) -> tuple[OldSpace, OldSpace, Floats, Live]:
    """The old space as expected and at its highest, new space, and the rows held.

    A bin with an excursion of live bytes inside becomes two half bins, up and down.
    """
    rows = live_rows.retained(samples, scenario, value)
    base, cap = live_rows.base_mib(scenario, value), heap_limit_mib(scenario)
    inside = rows.max_mib > np.maximum(rows.start_mib, rows.end_mib) + 1.0
    halves = np.where(inside, 2, 1)
    first = np.cumsum(halves) - halves
    size = int(halves.sum())
    owner = np.repeat(np.arange(len(samples)), halves)
    start, end = rows.start_mib[owner].copy(), rows.end_mib[owner].copy()
    end[first[inside]] = rows.max_mib[inside]
    start[first[inside] + 1] = rows.max_mib[inside]
    part = (width / halves)[owner]
    climb = np.maximum(end - start, 0.0) / part
    growth = np.maximum(rate[owner] * value("promoted_request") / 1024 + climb, 1e-6)
    kept = _kept(rate, width, value)
    arguments = (part, base + np.minimum(start, cap), base + np.minimum(end, cap), growth, kept[owner], cap)
    used = cpu_vcpu(np.array([rate.mean() * 3600]), np.array([3600.0]), value)[0] if len(rate) else 0.0
    share = collector_share(scenario, float(used))
    mean = scan(*arguments, share * value("collector_speed"), value)
    peak = scan(*arguments, share * value("collector_speed_slow"), value)
    if size > len(samples):
        mean, peak = (_joined(o, first, part, width) for o in (mean, peak))
    largest = 2 * semi_space_mib(scenario)
    return mean, peak, _new_space(samples["requests"].to_numpy(np.float64), rate, kept, largest, value), rows


def _kept(rate: Floats, width: Floats, value: Values) -> Floats:
    """Share of what an idle process could give back that it still holds after each bin, on average.

    V8 looks three times after a full collection, every 8 s. Those looks are in time only if the last collection
    was shortly before the load ended, that is after enough load; in six own runs at 0.5 to 35 requests a second
    nothing came back in two minutes.
    """
    before = np.append(0.0, rate[:-1])
    tooth_s = value("growing_step") * 1024 / value("promoted_request") / np.maximum(before, 1e-9)
    looks = np.floor(np.minimum(width / value("reducer_tick"), value("reducer_looks")))
    ends = (rate == 0) & (before > 0) & (tooth_s < value("reducer_looks") * value("reducer_tick"))
    return np.where(ends, (1 - value("reducer_chance")) ** looks, 1.0)


def _joined(old: OldSpace, first: NDArray[np.intp], part: Floats, width: Floats) -> OldSpace:
    return OldSpace(
        np.add.reduceat(old.mean_mib * part, first) / width,
        np.maximum.reduceat(old.peak_mib, first),
        np.add.reduceat(old.collections, first),
    )


def _new_space(requests: Floats, rate: Floats, kept: Floats, largest: float, value: Values) -> Floats:
    """New space [MiB]: small while little is allocated, else at its largest; given back by chance when idle.

    V8 shrinks new space in a full collection when less than 1 MB/s was allocated; measured for 15 minutes
    each, it stood at 1-2 MiB at 0.5 to 20 requests a second and at 32 MiB at 35 (docs/memory.md). It grows
    with what survives, so with the requests served: to its largest after some 3,000 of them.
    """
    small, large = value("new_space_low"), largest
    per_request = (value("new_space_max") - small) / value("new_space_grown_after")
    busy = rate * value("allocated_request") * 1024 > value("shrinks_below")
    out = []
    level = small
    for count, grows, hold in zip(requests.tolist(), busy.tolist(), kept.tolist(), strict=True):
        before = level
        if grows:
            level = min(level + count * per_request, large)
            # the time until it is full weighs less, the more requests the bin has
            climb = (level - before) / per_request / count
            out.append(level - (level - before) * climb / 2)
        else:
            level = small if count else small + max(level - small, 0.0) * hold
            out.append(level)
    return np.array(out)

"""The whole server, a loop and three writers on one pool: CPU time against making the arrivals, and peak memory.

With ``--plot FILE`` the CPU time over the number of flushes, from an hour to a month. Every job is a fresh process, so
that its peak memory is its own; loading Python and its libraries is not counted.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

from capsim import load
from capsim.results.run import simulate
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from capsim.workload import load_of

DAYS = {"hour": 1 / 24, "six hours": 1 / 4, "day": 1, "week": 7, "month": 30}
SEED = 1
READS = "simulated, 5 reads a second"
JOBS = ("arrivals", "simulated", READS, "simulated, no look-ahead")


def scenario_of(rate_hz: float, days: float) -> Scenario:
    """The bundled ``after`` under Poisson arrivals."""
    return load("after").replace("workload", {"rate_hz": rate_hz, "duration_s": days * 86_400})


def run_job(rate_hz: float, days: float, job: str) -> dict[str, float]:
    """CPU seconds, peak memory [MiB], items and flushes of one job."""
    scenario = scenario_of(rate_hz, days)
    started_s, flushes = time.process_time(), 0
    if job == "arrivals":
        items = sum(block.requests for block in load_of(scenario, seed=SEED).blocks())
    else:
        if job == READS:
            scenario = scenario.replace("workload.queries_hz", 5)
        if job.endswith("no look-ahead"):
            _without_look_ahead()
        samples = simulate(scenario, seed=SEED, month=False).samples
        items = int(samples["requests"].sum())
        flushes = int(samples[[f"{stream}_flushes" for stream in STREAMS]].sum().sum())
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"cpu_s": time.process_time() - started_s, "peak_mib": peak_mib, "items": items, "flushes": flushes}


def _without_look_ahead() -> None:
    from capsim.engine import fleet
    from capsim.engine.model import Server

    class EventByEvent(Server):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **(options | {"look_ahead": False}))  # type: ignore[arg-type]

    fleet.Server = EventByEvent  # type: ignore[misc]


def plot(found: dict[float, list[dict[str, Any]]], path: str) -> None:
    """CPU time over flushes, one line a rate; dashed: as much for each flush as over the longest span."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    from capsim.show.plots.canvas import style

    with style():
        figure, axes = plt.subplots(figsize=(7, 4.2))
        for rate_hz, jobs in found.items():
            flushes, cpu_s = ([job[key] for job in jobs] for key in ("flushes", "cpu_s"))
            (line,) = axes.loglog(flushes, cpu_s, "o-", label=f"{rate_hz:g} requests/s")
            each_s = cpu_s[-1] / flushes[-1]
            axes.loglog(flushes, [each_s * count for count in flushes], "--", lw=1, color=line.get_color(),
                        label=f"{each_s * 1e6:.0f} µs a flush")  # fmt: skip
            shift = {"xytext": (5, -11)} if rate_hz == min(found) else {"xytext": (-5, 6), "ha": "right"}
            for job in jobs:
                axes.annotate(job["span"], (job["flushes"], job["cpu_s"]), textcoords="offset points", fontsize=8,
                              color=line.get_color(), **shift)  # fmt: skip
        axes.margins(x=0.1)  # for the names of the shortest spans
        axes.set_xlabel("flushes")
        axes.set_ylabel("CPU time of the run [s]")
        axes.set_title("The whole server, from an hour to a month")
        axes.legend()
        figure.savefig(path, dpi=120)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rates", type=float, nargs="*", default=[20, 30, 100], help="requests a second (20 30 100)")
    parser.add_argument("--spans", nargs="*", choices=DAYS, default=list(DAYS), help="how long (all)")
    parser.add_argument("--jobs", nargs="*", choices=JOBS, default=JOBS[:-1], help="all but the one without look-ahead")
    parser.add_argument("--plot", metavar="FILE", help="draw the CPU time over the number of flushes")
    parser.add_argument("--one", nargs=3, metavar=("RATE_HZ", "DAYS", "JOB"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        rate_hz, days, job = options.one
        print(json.dumps(run_job(float(rate_hz), float(days), job)))
        return 0
    found: dict[float, list[dict[str, Any]]] = {}
    print(f"{'load':20} {'job':28} {'items':>13} {'CPU s':>8} {'/ arrivals':>11} {'peak MiB':>9}")
    for span in options.spans:
        for rate_hz in options.rates:
            arrivals_s = None
            for job in options.jobs:
                command = [sys.executable, __file__, "--one", str(rate_hz), str(DAYS[span]), job]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                got = json.loads(done.stdout)
                arrivals_s = got["cpu_s"] if job == "arrivals" else arrivals_s
                ratio = f"{got['cpu_s'] / arrivals_s:10.2f}x" if arrivals_s else ""
                if job == "simulated":
                    found.setdefault(rate_hz, []).append(got | {"span": span})
                print(
                    f"{f'{span} at {rate_hz:g}/s':20} {job:28} {got['items']:13,} {got['cpu_s']:8.2f} "
                    f"{ratio:>11} {got['peak_mib']:9.0f}",
                    flush=True,
                )
    if options.plot:
        plot(found, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())

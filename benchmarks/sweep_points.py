"""Points of one simulated hour at 100/s: throughput of one worker and of two in turn, and peak memory.

Other work on the machine moves every figure; medians of the turns are printed, with the ratio of two workers to one.
The start of the workers is left out: each turn is timed from its first finished run to its last.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time

import capsim as cs

SPEC = cs.load("after").replace("workload", {"rate_hz": 100, "duration_s": 3_600})


def turn(points: int, workers: int) -> float:
    """Runs a second, from the first that is finished to the last."""
    told: list[tuple[float, float]] = []
    waits = {"database.insert.call_ms": [5.0 + n for n in range(points)]}
    with tempfile.TemporaryDirectory() as out:
        cs.sweep(SPEC, waits, workers=workers, out=out, progress=lambda s: told.append((time.monotonic(), s * points)))
    (begun_s, first), (ended_s, last) = told[1], told[-1]
    return (last - first) / (ended_s - begun_s)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=int, default=40, help="of each turn (40)")
    parser.add_argument("--turns", type=int, default=5, help="of each kind (5)")
    options = parser.parse_args()
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(options.turns):
        for workers, found in rates.items():
            found.append(turn(options.points, workers))
            print(f"{workers} worker(s): {found[-1]:.2f} runs/s", flush=True)
    ratio = statistics.median(two / one for one, two in zip(rates[1], rates[2], strict=True))
    for workers, found in rates.items():
        each = statistics.median(found)
        print(f"{workers} worker(s): median {each:.2f} runs/s, 1,000 runs in {1_000 / each:.0f} s")
    print(f"speed-up: {ratio:.2f} (median of the ratios of neighbouring turns)")
    own, child = (resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(f"peak memory: {own:.0f} MiB, largest worker {child:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What every engine's script does: read the input, do the job, say what it took.

    python ENGINE.py JOB INPUT.npz

Prints one line of JSON: CPU and wall seconds of the job alone, memory that it added, and what came out, which has to be
the same for every engine. A short job is done several times, and the middle one counts: the first time, much of a
millisecond goes to pages that have never been touched. What the first one took is told too.

This file imports nothing but NumPy, so that it runs in every engine's environment.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

# The batch writer (semantics seed).
BATCH_ROWS, DELAY_US, CAP_ROWS = 100, 5_000_000, 1_000

REPEATED_S = 0.1  # a job is done again until it has taken so long

Job = Callable[[Mapping[str, np.ndarray]], list[float]]


def main(jobs: Mapping[str, Job]) -> None:
    """Run the job that the command line names; a little of it first, so that compiling and first calls do not count."""
    name, path = sys.argv[1:]
    if name not in jobs:
        print(json.dumps(None))
        return
    with np.load(path) as file:
        given = {key: file[key] for key in file.files}
    jobs[name]({key: values[:1_000] if values.ndim else values for key, values in given.items()})
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall_s: list[float] = []
    cpu_s: list[float] = []
    while sum(cpu_s) < REPEATED_S:
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        result: list[Any] = jobs[name](given)
        cpu_s.append(time.process_time() - began_cpu_s)
        wall_s.append(time.perf_counter() - began_s)
        if len(cpu_s) == 1:
            added_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
    took = {"cpu_s": statistics.median(cpu_s), "wall_s": statistics.median(wall_s), "first_cpu_s": cpu_s[0]}
    print(json.dumps(took | {"added_mib": added_mib, "result": result}))

"""What NumPy alone can do, written for the one job: a floor, not an engine."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from job import BATCH_ROWS, CAP_ROWS, DELAY_US, main


def queue(given: Mapping[str, np.ndarray]) -> list[float]:
    """One server by Lindley's recursion on arrays, several by the work that each has left; mean wait [us]."""
    at_us, service_us, servers = given["at_us"], given["service_us"], int(given["servers"])
    if servers == 1:
        total_us = np.cumsum(service_us)
        done_us = total_us + np.maximum.accumulate(at_us - (total_us - service_us))
        return [round(float((done_us - service_us - at_us).mean()), 3)]
    free_us, waited_us = np.zeros(servers, np.int64), 0
    for at, service in zip(at_us.tolist(), service_us.tolist(), strict=True):
        place = int(free_us.argmin())
        start = max(at, int(free_us[place]))
        waited_us += start - at
        free_us[place] = start + service
    return [round(waited_us / len(at_us), 3)]


def writer(given: Mapping[str, np.ndarray]) -> list[float]:
    """The batch writer, flush by flush; where a batch fills is found by its index, where a timer goes off by search."""
    at_us, durations_us = given["at_us"], given["duration_us"]
    head = flushes = taken = dropped = free_us = 0
    items, never_us = len(at_us), 1 << 62
    while head < items:
        full = head + BATCH_ROWS - 1
        full_us = int(at_us[full]) if full < items else never_us
        due_us = int(at_us[head]) + DELAY_US
        if full_us < free_us:  # filled while a flush was out: the next arrival after its end asks again
            asks = int(at_us.searchsorted(free_us))
            if asks - head >= CAP_ROWS:  # and is dropped, as are all that follow: nothing is ever written again
                dropped += items - head - CAP_ROWS
                break
            full_us, due_us = int(at_us[asks]) if asks < items else never_us, never_us
        elif due_us < free_us:  # a timer that goes off during a flush is spent
            due_us = never_us
        when_us = min(full_us, due_us)
        if when_us == never_us:
            break
        upto = int(at_us.searchsorted(when_us, "right"))
        rows = min(upto - head, CAP_ROWS)
        flushes, taken, dropped = flushes + 1, taken + rows, dropped + upto - head - rows
        free_us = when_us + int(durations_us[head])
        head = upto
    return [flushes, taken, dropped]


if __name__ == "__main__":
    main({"queue": queue, "writer": writer})

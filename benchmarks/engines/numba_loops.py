"""A compiled loop over every arrival, written for the one job: a floor, not an engine. Compiling is not counted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from job import BATCH_ROWS, CAP_ROWS, DELAY_US, main
from numba import njit


@njit(cache=False)
def _waits(at_us, service_us, servers):
    free_us, waited_us = np.zeros(servers, np.int64), 0
    for i in range(len(at_us)):
        place = free_us.argmin()
        start = max(at_us[i], free_us[place])
        waited_us += start - at_us[i]
        free_us[place] = start + service_us[i]
    return waited_us


def queue(given: Mapping[str, np.ndarray]) -> list[float]:
    """M/M/c: mean wait [us]."""
    at_us = given["at_us"]
    return [round(_waits(at_us, given["service_us"], int(given["servers"])) / len(at_us), 3)]


@njit(cache=False)
def _written(at_us, durations_us, end_us, batch_rows, delay_us, cap_rows):
    buffer = first = flushes = written = dropped = out = 0
    never = 1 << 62
    free_us, due_us, asked_us = 0, never, never  # end of the flush that is out; timer; a full batch to be written
    spent = False  # a timer that went off during a flush sets no other until the next flush
    for i in range(len(at_us) + 1):
        now_us = at_us[i] if i < len(at_us) else end_us
        if asked_us < now_us:  # it is written after the other arrivals of its instant
            if asked_us >= free_us:
                written += out
                out, flushes, free_us = buffer, flushes + 1, asked_us + durations_us[first]
                first, buffer = i, 0
            asked_us = never
        if due_us < now_us:
            if due_us < free_us:
                spent = True
            else:
                written += out
                out, flushes, free_us = buffer, flushes + 1, due_us + durations_us[first]
                first, buffer = i, 0
            due_us = never
        if i == len(at_us):
            break
        if buffer >= cap_rows:
            dropped += 1
            continue
        buffer += 1
        if buffer == 1 and not spent:
            due_us = now_us + delay_us
        if buffer >= batch_rows:
            due_us, spent, asked_us = never, False, now_us
    return flushes, written + out, dropped


def writer(given: Mapping[str, np.ndarray]) -> list[float]:
    """The batch writer: flushes, rows written, rows dropped."""
    end_us = int(given["end_us"])
    found = _written(given["at_us"], given["duration_us"], end_us, BATCH_ROWS, DELAY_US, CAP_ROWS)
    return [int(number) for number in found]


if __name__ == "__main__":
    main({"queue": queue, "writer": writer})

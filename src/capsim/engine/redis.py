"""The server's connection to Redis: when there is none, and what becomes of the commands that are sent meanwhile.

While disconnected a command waits in the client until the connection is back; when as many wait as the client holds,
the next is rejected at once. All of it follows from the schedule of faults and the arrivals, so no event is needed.
(The reconnect rule, min(n x step, most), and the rejection are the owners' plan; memory facts §8 for what one costs.)
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from capsim.base.units import us_from_ms, us_from_s
from capsim.scenario.parts import RedisClientSpec
from capsim.scenario.redis import RedisFaultSpec

Ints = NDArray[np.int64]

PROBES_US = 9 * 75_000_000  # Linux' default: nine probes, 75 s apart, until a silent connection is given up


def disconnected(spec: RedisClientSpec, faults: Sequence[RedisFaultSpec]) -> list[tuple[int, int]]:
    """When no command is answered: ``[from, to)`` of each fault, until the client is connected again [us].

    Parameters
    ----------
    spec, faults
        Of the scenario. ``down``: the client notices at once, and each try to connect is refused at once.
        ``unreachable``: it notices after ``keep_alive_s`` and nine probes; each try takes ``connect_timeout_s``, and
        one that is under way when Redis is back succeeds then.

    Examples
    --------
    >>> disconnected(RedisClientSpec(), [RedisFaultSpec(kind="down", from_s=10, to_s=10.1)])
    [(10000000, 10150000)]
    """
    step_us, most_us = us_from_ms(spec.reconnect_step_ms), us_from_ms(spec.reconnect_max_ms)
    windows = []
    for fault in sorted(faults, key=lambda fault: fault.from_s):
        from_us, to_us = us_from_s(fault.from_s), us_from_s(fault.to_s)
        silent = fault.kind == "unreachable"
        now_us = from_us + (us_from_s(spec.keep_alive_s) + PROBES_US if silent else 0)
        takes_us = us_from_s(spec.connect_timeout_s) if silent else 0
        tries = 0
        while now_us < to_us:
            if tries * step_us >= most_us:  # from here on all tries are alike
                now_us += (to_us - now_us - 1) // (most_us + takes_us) * (most_us + takes_us)
            tries += 1
            now_us += min(tries * step_us, most_us)
            if now_us < to_us:
                now_us += takes_us
                now_us = to_us if silent and now_us >= to_us else now_us
        # A silence that ends before it is noticed was no disconnect: what was sent is answered when it ends.
        windows.append((from_us, to_us if silent and from_us + us_from_s(spec.keep_alive_s) + PROBES_US >= to_us
                        else now_us))  # fmt: skip
    return windows


class RedisClient:
    """Commands of one process while Redis is away.

    Parameters
    ----------
    spec, faults
        Of the scenario.
    """

    def __init__(self, spec: RedisClientSpec, faults: Sequence[RedisFaultSpec]) -> None:
        self._limit = 1 << 62 if spec.queue_limit == "none" else spec.queue_limit
        self._each = spec.commands_per_request
        self._windows = disconnected(spec, faults)
        self._starts = [from_us for from_us, _ in self._windows]
        self._requests_us = np.empty(0, np.int64)  # of the block
        self._reads_us = np.empty(0, np.int64)
        self._from_us = 0
        self._before = (0, 0)  # requests and reads since the window that covers the block's start began

    def come(self, from_us: int, requests_us: Sequence[Ints], reads_us: Ints) -> None:
        """The requests and reads of the next block, each ascending [us]."""
        window = self._window(from_us)
        carried = (0, 0)
        if window is not None and window[0] < from_us:  # what the block before sent into it waits on
            carried = self._counts(window, from_us)
        self._before, self._from_us = carried, from_us
        self._requests_us, self._reads_us = np.sort(np.concatenate(requests_us)), reads_us

    def _window(self, now_us: int) -> tuple[int, int] | None:
        place = bisect_right(self._starts, now_us) - 1
        return self._windows[place] if place >= 0 and now_us < self._windows[place][1] else None

    def _counts(self, window: tuple[int, int], upto_us: int) -> tuple[int, int]:
        """Requests and reads since a window began, before an instant of the block or at its end."""
        counts = [
            int(times_us.searchsorted(upto_us) - times_us.searchsorted(window[0]))
            for times_us in (self._requests_us, self._reads_us)
        ]
        if window[0] < self._from_us:
            counts = [count + before for count, before in zip(counts, self._before, strict=True)]
        return counts[0], counts[1]

    def answered_us(self, now_us: int, before: int = 0) -> int | None:
        """When the command of a read that comes now is answered: now, or when the connection is back; None: rejected.

        The commands of the requests of an instant are sent before those of its reads, of which ``before`` came earlier.
        """
        window = self._window(now_us)
        if window is None:
            return now_us
        requests, _ = self._counts(window, now_us + 1)
        _, reads = self._counts(window, now_us)
        return window[1] if int(requests * self._each) + reads + before < self._limit else None

    def queued(self, now_us: int) -> int:
        """Commands that wait at an instant of the block, before those of that instant."""
        window = self._window(now_us)
        if window is None:
            return 0
        return min(self._limit, self._sent(window, now_us))

    def _sent(self, window: tuple[int, int], upto_us: int) -> int:
        requests, reads = self._counts(window, upto_us)
        return int(requests * self._each) + reads

    def bins(self, edges_us: Ints) -> tuple[Ints, Ints]:
        """Most commands that wait in each bin of the block, and how many were rejected."""
        most, rejected = np.zeros(len(edges_us) - 1, np.int64), np.zeros(len(edges_us) - 1, np.int64)
        for window in self._windows:
            for place in range(int(edges_us.searchsorted(window[0], "right")) - 1, len(edges_us) - 1):
                begin, end = int(edges_us[max(place, 0)]), int(edges_us[max(place, 0) + 1])
                if begin >= window[1] or end <= window[0] or place < 0:
                    continue
                sent = self._sent(window, min(end, window[1]))
                before = self._sent(window, begin) if begin > window[0] else 0
                most[place] = max(most[place], min(sent, self._limit))
                rejected[place] += max(sent - self._limit, 0) - max(before - self._limit, 0)
        return most, rejected

"""Clients that wait for an answer, and send again when it takes too long.

A request that was given up is done all the same, and its item reaches the writer: the server does not notice. So a
loop that is slow for a moment gets more to do, which is how a retry storm begins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capsim.base.units import us_from_s
from capsim.engine.jobs import JOB, Jobs, merged, no_jobs
from capsim.scenario.server import ClientsSpec

Ints = NDArray[np.int64]


class Clients:
    """Who comes back, and when: ``timeout + backoff x 2^(tries so far)`` after the last try was sent."""

    def __init__(self, spec: ClientsSpec) -> None:
        self.timeout_us = us_from_s(spec.timeout_s)
        self._backoff_us, self._retries = us_from_s(spec.backoff_s), spec.retries
        self._back = no_jobs()  # to be sent again, in order

    @property
    def soonest_us(self) -> int:
        """No request comes back earlier than this after it was sent [us]."""
        return self.timeout_us + self._backoff_us

    def expected(self, to_us: int) -> Jobs:
        """Requests that are sent again before ``to_us``."""
        return self._back.before(to_us)

    def returning(self, to_us: int) -> Jobs:
        """The same, and they are sent now."""
        found = self.expected(to_us)
        self._back = self._back.where(slice(len(found.at_us), None))
        return found

    def lose_patience(self, jobs: Jobs, done_us: Ints) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Requests that their clients stop waiting for, and those of them that are not sent again."""
        late = (done_us - jobs.at_us > self.timeout_us) & (jobs.kind != JOB)
        given_up = late & (jobs.tries >= self._retries)
        again = jobs.where(late & ~given_up)
        after_us = self.timeout_us + self._backoff_us * (1 << again.tries)
        self._back = merged(self._back, again._replace(at_us=again.at_us + after_us, tries=again.tries + 1))
        return late, given_up

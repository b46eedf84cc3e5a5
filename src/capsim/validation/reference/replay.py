"""Plays a load against a server in open loop: at its own instants, whatever the server does, noting how late it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from capsim.validation.reference.clock import Clock, Phase


class Replay:
    """Calls ``offer(i)`` at the i-th of the given instants.

    Parameters
    ----------
    clock : Clock
        Real or virtual time; in virtual time nothing is ever late.
    times_us : sequence of int
        Ascending instants [us].
    offer : callable
        Takes the number of the arrival.

    Attributes
    ----------
    done, total : int
        Arrivals so far, and in all.
    late_us : ndarray, int64[n]
        How late each of the arrivals so far was [us].
    """

    def __init__(self, clock: Clock, times_us: Sequence[int], offer: Callable[[int], object]) -> None:
        self._clock, self._times_us, self._offer = clock, times_us, offer
        self._late_us = np.zeros(len(times_us), np.int64)
        self.done, self.total = 0, len(times_us)
        if len(times_us):
            clock.at(int(times_us[0]), Phase.ARRIVALS, self._play)

    @property
    def late_us(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """How late each of the arrivals so far was [us]."""
        return self._late_us[: self.done]

    def _play(self) -> None:
        times_us = self._times_us
        now_us = self._clock.now_us()
        while self.done < self.total and times_us[self.done] <= now_us:
            self._late_us[self.done] = now_us - times_us[self.done]
            self._offer(self.done)
            self.done += 1
        if self.done < self.total:
            self._clock.at(int(times_us[self.done]), Phase.ARRIVALS, self._play)

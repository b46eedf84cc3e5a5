"""Sessions: a start makes heartbeats at regular intervals until the player leaves, with or without saying so."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from capsim.base.units import US_PER_DAY, US_PER_S, us_from_s
from capsim.scenario.workload import SessionsSpec
from capsim.workload.block import BLOCK_US, Block, Ints, Sessions
from capsim.workload.sources import Chance

_LONGEST_US = 366 * US_PER_DAY  # a wide lognormal has absurd draws


def _no_sessions() -> Sessions:
    none = np.empty(0, np.int64)
    return Sessions(none, none, none, np.empty(0, np.bool_))


@dataclass
class Players:
    """The live sessions of one pass over a load; memory grows with them and with nothing else."""

    spec: SessionsSpec
    chance: Chance
    live: Sessions = field(default_factory=_no_sessions)
    next_id: int = 0

    def play(self, block: Block) -> Block:
        """Turn the block's heartbeats, which stand for session starts, into sessions and their heartbeats."""
        started = self._begin(block.times["heartbeats"], block.from_us)
        live = Sessions(
            *(
                np.concatenate([getattr(self.live, name), getattr(started, name)])
                for name in ("ids", "start_us", "end_us", "abandoned")
            )
        )
        heartbeats, sessions = self._heartbeats(live, block)
        over = live.end_us < block.to_us
        ended = live.where(over)
        self.live = live.where(~over)
        said_so = ended.end_us[~ended.abandoned]
        return Block(
            from_us=block.from_us,
            to_us=block.to_us,
            times={**block.times, "heartbeats": heartbeats},
            heartbeat_sessions=sessions,
            other_us=np.sort(np.concatenate([started.start_us, said_so])),
            covered_us=block.covered_us,
            started=started,
            ended=ended,
            queries_us=block.queries_us,
        )

    def _begin(self, start_us: Ints, block_us: int) -> Sessions:
        block, spec, count = block_us // BLOCK_US, self.spec, start_us.size
        # Generator.lognormal works number by number: the same on every processor, unlike numpy's exp().
        lengths = self.chance.at("session_lengths", block)
        length_s = lengths.lognormal(math.log(spec.length_median_s), spec.length_sigma, count)
        length_us = np.rint(np.clip(length_s * US_PER_S, 1, _LONGEST_US)).astype(np.int64)
        abandoned: NDArray[np.bool_] = self.chance.at("session_ends", block).random(count) < spec.abandoned
        every_us = max(1, us_from_s(spec.heartbeat_every_s))
        end_us = start_us + np.where(abandoned, (length_us - 1) // every_us * every_us, length_us)
        ids = self.next_id + np.arange(count, dtype=np.int64)
        self.next_id += count
        return Sessions(ids, start_us, end_us, abandoned)

    def _heartbeats(self, live: Sessions, block: Block) -> tuple[Ints, Ints]:
        """Heartbeats i x every after the start, i = 1, 2, ...: before the end, or up to the last one if abandoned."""
        every_us = max(1, us_from_s(self.spec.heartbeat_every_s))
        stop_us = np.minimum(live.end_us + live.abandoned, block.to_us)
        first = np.maximum(1, -(-(block.from_us - live.start_us) // every_us))
        count = np.maximum(0, -(-(stop_us - live.start_us) // every_us) - first)
        whose = np.repeat(np.arange(live.ids.size), count)
        number = np.arange(whose.size) - np.repeat(np.cumsum(count) - count, count) + first[whose]
        times = live.start_us[whose] + number * every_us
        order = np.argsort(times, kind="stable")  # at equal times the older session first
        return times[order], live.ids[whose[order]]

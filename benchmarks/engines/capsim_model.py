"""capsim's own parts: its thread for one server, its pool for several, its batch writer looking ahead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from job import BATCH_ROWS, CAP_ROWS, DELAY_US, main

from capsim.engine.database import Outcome, Statement
from capsim.engine.jobs import finished
from capsim.engine.model import Server
from capsim.scenario.server import PoolSpec, WriterSpec
from capsim.validation.queueing import pool_waits_us


def queue(given: Mapping[str, np.ndarray]) -> list[float]:
    """M/M/c: mean wait [us]."""
    at_us, service_us, servers = given["at_us"], given["service_us"], int(given["servers"])
    if servers == 1:
        waits = finished(at_us, service_us) - service_us - at_us
    else:
        waits = pool_waits_us(servers, at_us, service_us)
    return [round(float(waits.mean()), 3)]


class DatabaseByItem:
    """Answers with the duration that belongs to the first item of a batch."""

    connect_us = 0
    refused_us = 1_000
    downs_us = ()
    by_address = True

    def __init__(self, durations_us: np.ndarray) -> None:
        self._durations_us = durations_us

    def is_down(self, when_us: int) -> bool:
        return False

    def run(self, stream: str, attempt: int, statement: Statement, start_us: int, crowding: float = 1.0) -> Outcome:
        return Outcome(int(self._durations_us[statement.item]), "ok")

    def durations(
        self, stream: str, kind: str, items: np.ndarray, rows: np.ndarray, starts_us: np.ndarray
    ) -> np.ndarray:
        return self._durations_us[items]

    def steady(self, from_us: np.ndarray, to_us: np.ndarray) -> np.ndarray:
        return np.ones(len(from_us), bool)


class OneBlock(NamedTuple):
    """The whole load at once."""

    from_us: int
    to_us: int
    times: dict[str, np.ndarray]
    heartbeat_sessions: None


def writer(given: Mapping[str, np.ndarray], look_ahead: bool = True) -> list[float]:
    """The batch writer: flushes, rows written, rows dropped."""
    spec = WriterSpec(batch_rows=BATCH_ROWS, delay_ms=DELAY_US // 1_000, buffer_cap_rows=CAP_ROWS)
    server = Server({"events": spec}, PoolSpec(), 1, DatabaseByItem(given["duration_us"]), look_ahead=look_ahead)
    server.advance(OneBlock(0, int(given["end_us"]), {"events": given["at_us"]}, None))
    one = server.writers["events"]
    return [one.batches, one.flushed, one.dropped_cap + one.dropped_failed]


if __name__ == "__main__":
    main({"queue": queue, "writer": writer})

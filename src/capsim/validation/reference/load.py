"""Drives a load against a server over HTTP in open loop: requests leave on time, whatever became of earlier ones."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp
import numpy as np

from capsim.scenario.workload import STREAMS, Stream
from capsim.validation.reference.clock import RealClock
from capsim.validation.reference.replay import Replay

PATHS: dict[Stream, str] = {
    "events": "/api/analytics/events",
    "revenue": "/api/revenue",
    "heartbeats": "/api/sessions/heartbeat",
}


def body_of(stream: Stream, number: int, session: int) -> dict[str, object]:
    """A request of one stream."""
    if stream == "heartbeats":
        return {"sessionId": f"session-{session}"}
    who: dict[str, object] = {"gameId": "game", "userId": f"user-{session}", "sessionId": f"session-{session}"}
    if stream == "revenue":
        return who | {"amount": 0.99, "currency": "USD"}
    return who | {"eventName": "level_complete", "properties": {"level": number % 100, "score": number}}


@dataclass
class Driven:
    """What became of the requests.

    Attributes
    ----------
    statuses : Counter
        Answers by HTTP status; ``0`` for requests that got none.
    latencies_us : list of int
        From the instant at which a request was due to its answer [us].
    late_us : ndarray, int64[n]
        How late each request left [us].
    """

    statuses: Counter[int] = field(default_factory=Counter)
    latencies_us: list[int] = field(default_factory=list)
    late_us: np.ndarray[tuple[int], np.dtype[np.int64]] = field(default_factory=lambda: np.empty(0, np.int64))


async def drive(
    url: str, times_us: Mapping[Stream, Sequence[int]], *, connections: int = 50, timeout_s: float = 30.0
) -> Driven:
    """Send each stream's requests at their instants; returns when all are answered or have failed.

    Parameters
    ----------
    url : str
        Of the server, for example ``http://127.0.0.1:8000``.
    times_us : dict of stream to sequence of int
        Ascending instants from now [us].
    connections : int
        Most connections to the server at once; further requests wait here, which counts as latency.
    timeout_s : float
        For one request [s].
    """
    due = sorted((int(t), stream, i) for stream in STREAMS for i, t in enumerate(times_us.get(stream, ())))
    driven = Driven()
    tasks: set[asyncio.Task[None]] = set()
    clock = RealClock()
    async with aiohttp.ClientSession(
        url,
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=timeout_s),
    ) as session:

        async def send(place: int) -> None:
            due_us, stream, number = due[place]
            try:
                async with session.post(PATHS[stream], json=body_of(stream, number, number % 500)) as answer:
                    await answer.read()
                    driven.statuses[answer.status] += 1
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                driven.statuses[0] += 1
            driven.latencies_us.append(clock.now_us() - due_us)

        def leave(place: int) -> None:
            task = asyncio.ensure_future(send(place))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        replay = Replay(clock, [at_us for at_us, _, _ in due], leave)
        while replay.done < len(due):
            await asyncio.sleep(0.05)
        while tasks:
            await asyncio.wait(tasks)
    driven.late_us = replay.late_us
    return driven

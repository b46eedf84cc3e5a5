"""The three writers on one pool: what every form of the reference has in common."""

from __future__ import annotations

import asyncio
from typing import Any

from capsim.base.units import us_from_s
from capsim.scenario.server import ServerSpec
from capsim.scenario.workload import STREAMS, Stream
from capsim.validation.reference.clock import Clock
from capsim.validation.reference.database import Database
from capsim.validation.reference.log import Log
from capsim.validation.reference.observer import Watch
from capsim.validation.reference.pool import Pool
from capsim.validation.reference.writer import BatchWriter, Offered, Rules


def _session(heartbeat: Any) -> Any:
    return heartbeat.session_id


class Ingestion:
    """The writers of a scenario's server, and the connections they share.

    Parameters
    ----------
    spec : ServerSpec
        Writers and pool of a scenario.
    clock : Clock
        Real or virtual time.
    database : Database
        Where the pool's connections lead.
    log : Log
        Where lines go.
    watch : Watch, optional
        Told what happens.

    Examples
    --------
    >>> from capsim.validation.reference.timed import TimedDatabase
    >>> from capsim.validation.reference.virtual import VirtualLoop
    >>> loop = VirtualLoop()
    >>> server = Ingestion(ServerSpec(), loop, TimedDatabase(loop, lambda statement, start_us: (20_000, "ok")), Log())
    >>> server.offer("events", "an event")
    'stored'
    >>> loop.run_to(5_020_000)  # the timer's 5 s, and the 20 ms that the insert takes
    >>> server.writers["events"].flushed
    1
    >>> loop.close()
    """

    def __init__(
        self, spec: ServerSpec, clock: Clock, database: Database, log: Log, watch: Watch | None = None
    ) -> None:
        self.pool = Pool(
            clock,
            database,
            spec.pool_limit,
            us_from_s(spec.pool.pool_timeout_s),
            us_from_s(spec.pool.connect_timeout_s),
            watch,
        )
        self.writers: dict[Stream, BatchWriter[Any]] = {}
        for stream in STREAMS:
            rules = Rules.of(getattr(spec.writers, stream))
            keyed = stream == "heartbeats" and rules.semantics in ("fixed", "recommended")
            self.writers[stream] = BatchWriter(
                stream, rules, clock, self.pool.call, log, key=_session if keyed else None, watch=watch
            )

    def offer(self, stream: Stream, item: Any) -> Offered:
        """Hand an item to its writer."""
        return self.writers[stream].offer(item)

    async def shutdown(self) -> None:
        """Let all writers take no more and write what they hold."""
        await asyncio.gather(*(writer.shutdown() for writer in self.writers.values()))

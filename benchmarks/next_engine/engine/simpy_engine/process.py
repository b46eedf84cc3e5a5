"""One process of the server: its parts put together, its birth, its shutdown and its end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import simpy

from capsim.base.units import us_from_ms, us_from_s
from capsim.engine.kernel.fields import bin as B
from capsim.engine.lives import Life
from capsim.engine.log import with_lines
from capsim.engine.simpy_engine.bins import QUEUED, Bins, BlockOfBins
from capsim.engine.simpy_engine.cache import Cache
from capsim.engine.simpy_engine.cleanup import Cleanup
from capsim.engine.simpy_engine.clients import Clients
from capsim.engine.simpy_engine.clock import SHUTDOWN, TIMER, Story, Time
from capsim.engine.simpy_engine.database import Database
from capsim.engine.simpy_engine.loop import Loop, Request
from capsim.engine.simpy_engine.metrics import Metrics
from capsim.engine.simpy_engine.pool import Pool, PoolLimits
from capsim.engine.simpy_engine.reads import Reads, Responses
from capsim.engine.simpy_engine.redis import RedisClient
from capsim.engine.simpy_engine.visits import Visits
from capsim.engine.simpy_engine.writer import BatchWriter, Facts
from capsim.memory.pauses import pauses
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS

if TYPE_CHECKING:
    from capsim.engine.simpy_engine.engine import SimpyEngine


def limits_of(scenario: Scenario) -> PoolLimits:
    """The settings of a scenario's pools."""
    pool, server = scenario.server.pool, scenario.server
    timeouts_us = us_from_s(pool.pool_timeout_s), us_from_s(pool.connect_timeout_s)
    return PoolLimits(server.pool_limit, *timeouts_us, us_from_ms(scenario.database.connect_ms))


class Process:
    """One process of a run; it is there from when it is healthy."""

    def __init__(self, engine: SimpyEngine, life: Life, replica: int, number: int, first_items: list[int]) -> None:
        self.engine, self.life, self.replica, self.number = engine, life, replica, number
        self.time, self.blocks, self.counts = Time(engine.env, number), list[BlockOfBins](), dict[str, dict[str, int]]()
        self.out: list[dict[str, int]] = []  # attempts that were out when it ended
        self.counted = Bins()
        self._build_thread_and_pool(engine.scenario)
        facts = Facts(engine.note_take(number), engine.note_attempt(number), engine.note_stuck(number),
                      engine.sessions.beat)  # fmt: skip
        self.writers = [
            BatchWriter(self.time, self.pool, self.counted, stream, getattr(engine.scenario.server.writers, name),
                        build=self.loop.build, facts=facts, first=first_items[stream])
            for stream, name in enumerate(STREAMS)
        ]  # fmt: skip
        self._build_visitors(engine.scenario)

    def _build_thread_and_pool(self, scenario: Scenario) -> None:
        engine, server = self.engine, scenario.server
        self.database = Database(scenario.database, *engine.address, replica=self.replica)
        self.pool = Pool(self.time, limits_of(scenario), self.database, engine.connections, self.counted,
                         engine.note_wait(self.number))  # fmt: skip
        http, faults = with_lines(server.http, server.logger), scenario.redis.faults
        self.loop = Loop(self.time, http, pauses(scenario), self.counted, self._arrive)
        self.redis = RedisClient(self.time, self.counted, server.redis_client, list(faults)) if faults else None
        self.clients = Clients(self.loop, http.clients, self.redis)
        self.loop.timed = self._timed

    def _build_visitors(self, scenario: Scenario) -> None:
        engine, server = self.engine, scenario.server
        visits = Visits(self.time, self.pool, self.loop, self.counted, self.time.now, self.life.end_us,
                        engine.note_visit(self.number))  # fmt: skip
        responses = Responses(server.queries, *engine.address, self.replica)
        self.reads = Reads(visits, responses, Cache(server.cache) if server.cache else None, self.redis)
        self._cleanup = Cleanup(visits, server.cleanup, engine.sessions) if server.cleanup else None
        self._metrics = Metrics(visits, server.metrics) if server.metrics else None

    def _arrive(self, kind: int, session: int, came_us: int) -> None:
        self.writers[kind].arrive(session, came_us)

    def _timed(self, request: Request, took_us: int) -> None:
        self.engine.count_time(request.kind, took_us)
        self.clients.timed(request, took_us)

    # --- its life ---

    def begin(self) -> None:
        """It is healthy."""
        if self._cleanup:
            self.time.tell(self._cleanup.turns())
        if self._metrics:
            self.time.tell(self._metrics.calls())
        for down_us, _ in self.database.downs:
            if down_us >= self.time.now:
                self.time.tell(self.pool.break_all(self.time.at(down_us, TIMER)))
        if self.life.sigterm_us is not None:
            self.time.tell(self._shut_down(self.life.sigterm_us))

    def _shut_down(self, sigterm_us: int) -> Story:
        """SIGTERM: the writers' ``shutdown()``; when all have resolved the process exits, in that instant."""
        yield self.time.at(sigterm_us, SHUTDOWN)
        yield simpy.AllOf(self.time.env, [self.time.tell(writer.shut_down()) for writer in self.writers])
        end_us = self.time.now + 1  # it holds what it holds to the end of the instant
        self.life = replace(self.life, end_us=end_us, end="exited")
        self.end(end_us)

    def end(self, end_us: int) -> None:
        """It is over; what it holds is lost."""
        self.time.stop()
        self.close_bin(end_us)
        self.take_bins()
        self.count()
        self.engine.ended(self)

    def count(self) -> None:
        """What has become of its items."""
        for stream, writer in enumerate(self.writers):
            self.counts[STREAMS[stream]] = writer.counts(self.loop.waiting[stream])
            if writer.batch is not None and writer.trying is not None:
                batch, attempt = writer.batch, writer.trying
                self.out.append({
                    "part": stream, "batch": batch.number, "attempt": attempt.number, "start_us": attempt.start_us,
                    "end_us": -1, "ok": 0, "rows": batch.rows, "calls": attempt.calls, "counted": 0,
                    "first_item": batch.first, "accepted_to": batch.to, "next_item": batch.next,
                    "process": self.number,
                })  # fmt: skip

    # --- its bins ---

    _backlog_us = 0

    def open_bin(self, from_us: int, to_us: int) -> None:
        """A bin begins."""
        if self.redis is not None and self.redis.back_us is None:
            self.counted.marks[QUEUED] = 0
        self.counted.open(from_us, to_us)
        self.counted.row[B.BACKLOG_FROM_US] = self._backlog_us

    def close_bin(self, at_us: int) -> None:
        """A bin ends."""
        self._backlog_us = self.counted.row[B.BACKLOG_US] = max(self.loop.free_us - at_us, 0)
        self.counted.close(at_us)

    def take_bins(self) -> None:
        """The block is over, for this process."""
        bins = self.counted.take()
        if bins is not None:
            self.blocks.append(bins)

    @property
    def timeouts(self) -> int:
        """Calls that have waited too long."""
        return self.pool.timeouts

    @property
    def refusals(self) -> int:
        """Connections that Postgres has refused."""
        return self.pool.refusals

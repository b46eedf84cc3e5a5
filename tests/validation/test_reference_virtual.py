"""Virtual time: exact, in order, and the rules of the reference that no recording or scenario covers."""

from __future__ import annotations

import asyncio

import pytest

from capsim.base.units import US_PER_S
from capsim.scenario.server import ServerSpec
from capsim.validation.reference.clock import Phase, RealClock, sleep_until
from capsim.validation.reference.database import Answer, CallFailed, Statement
from capsim.validation.reference.log import Log
from capsim.validation.reference.observer import Watch
from capsim.validation.reference.pool import Pool
from capsim.validation.reference.recorder import Recorder
from capsim.validation.reference.replay import Replay
from capsim.validation.reference.server import Ingestion
from capsim.validation.reference.timed import TimedDatabase
from capsim.validation.reference.virtual import VirtualLoop
from capsim.validation.reference.writer import BatchWriter, Rules

HOUR_US = 3_600 * US_PER_S


@pytest.fixture
def loop():
    with_time = VirtualLoop()
    yield with_time
    with_time.close()


def test_phases_order_an_instant_whatever_the_order_of_asking(loop: VirtualLoop) -> None:
    seen: list[Phase] = []
    for phase in reversed(Phase):
        loop.at(7, phase, lambda phase=phase: seen.append(phase))  # type: ignore[misc]

    loop.run_to(7)

    assert seen == list(Phase)


def test_what_a_callback_makes_ready_runs_before_the_next_callback(loop: VirtualLoop) -> None:
    seen = []
    loop.at(1, Phase.TIMERS, lambda: (seen.append("first"), loop.call_soon(seen.append, "its consequence")))
    loop.at(1, Phase.TIMERS, lambda: seen.append("second"))

    loop.run_to(1)

    assert seen == ["first", "its consequence", "second"]


def test_asyncio_itself_runs_on_the_virtual_clock(loop: VirtualLoop) -> None:
    async def story() -> str:
        try:
            async with asyncio.timeout(10):
                await asyncio.sleep(3_600)
        except TimeoutError:
            return f"timed out at {asyncio.get_running_loop().time():g} s"
        return "slept"

    task = loop.create_task(story())
    loop.run_to(HOUR_US)

    assert task.result() == "timed out at 10 s"


def test_an_error_in_a_callback_is_not_hidden(loop: VirtualLoop) -> None:
    loop.at(1, Phase.TIMERS, lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        loop.run_to(2)


def test_closing_cancels_what_is_going_on(loop: VirtualLoop) -> None:
    task = loop.create_task(asyncio.sleep(5))
    loop.run_to(1)

    loop.close()

    assert task.cancelled()


def test_an_hour_is_repeated_exactly() -> None:
    def hour() -> list[object]:
        recorder, loop = Recorder(), VirtualLoop()
        database = TimedDatabase(loop, lambda s, start_us: (1_000 * (1 + start_us % 97), "ok"))
        server = Ingestion(ServerSpec(), loop, database, Log(), recorder)
        Replay(loop, range(0, HOUR_US, 50_000), lambda i: server.offer("events", i))
        loop.run_to(HOUR_US)
        loop.close()
        return [*recorder.tries, *recorder.waits]

    first = hour()

    assert len(first) > 1_000
    assert hour() == first


def test_the_same_writer_runs_in_real_time() -> None:
    async def story() -> list[int]:
        clock = RealClock()
        database = TimedDatabase(clock, lambda s, start_us: (1_000, "ok"))
        server = Ingestion(ServerSpec(), clock, database, Log())
        replay = Replay(clock, range(0, 100_000, 500), lambda i: server.offer("events", i))
        await asyncio.sleep(0.2)
        await server.shutdown()
        assert replay.done == 200 and replay.late_us.min() >= 0
        return [server.writers["events"].flushed, server.writers["events"].count]

    assert asyncio.run(story()) == [200, 0]


# --- the stand-in that the memory figures were measured on ------------------------------------------------------


def kit_writer(loop: VirtualLoop, batch_rows: int = 100) -> tuple[BatchWriter[int], list[tuple[int, int]]]:
    written = []

    async def run(statement: Statement) -> Answer:
        written.append((loop.now_us() // 1_000, len(statement.values)))
        await sleep_until(loop, loop.now_us() + 20_000, Phase.COMPLETIONS)
        return Answer(len(statement.values))

    return BatchWriter("events", Rules("kit", batch_rows, 5_000_000, 1_000), loop, run, Log()), written


def test_the_stand_in_drains_a_hundred_at_a_time(loop: VirtualLoop) -> None:
    writer, written = kit_writer(loop)
    Replay(loop, [0] * 350, writer.offer)

    loop.run_to(10 * US_PER_S)

    assert written == [(0, 100), (20, 100), (40, 100), (5_060, 50)]


def test_the_stand_in_never_wedges_where_the_earlier_writer_does(loop: VirtualLoop) -> None:
    writer, _ = kit_writer(loop)
    Replay(loop, [0] * 1_500, writer.offer)

    loop.run_to(60 * US_PER_S)

    assert (writer.flushed, writer.dropped_cap, writer.count) == (1_000, 500, 0)


# --- the pool ---------------------------------------------------------------------------------------------------


def called(loop: VirtualLoop, pool: Pool, at_us: int, part: str, seen: list[tuple[str, str, int]]) -> None:
    async def call() -> None:
        try:
            await pool.call(Statement("analytics", part))  # type: ignore[arg-type]
            seen.append((part, "ok", loop.now_us()))
        except CallFailed as error:
            seen.append((part, str(error), loop.now_us()))

    loop.at(at_us, Phase.ARRIVALS, lambda: loop.create_task(call()))


def test_those_who_ask_at_once_are_served_by_part_and_the_late_one_is_told(loop: VirtualLoop) -> None:
    pool = Pool(loop, TimedDatabase(loop, lambda s, start_us: (10, "ok")), 1, 25, 1_000)
    seen: list[tuple[str, str, int]] = []
    for part in ("queries", "cleanup", "heartbeats", "events"):
        called(loop, pool, 0, part, seen)

    loop.run_to(100)

    gave_up = [("queries", "no connection came free within 2.5e-05 s", 25)]
    assert seen == [("events", "ok", 10), ("heartbeats", "ok", 20), *gave_up, ("cleanup", "ok", 30)]
    assert (pool.timeouts, pool.open, pool.held) == (1, 1, 0)


def test_a_connection_that_opens_too_slowly_fails_the_call_and_gives_its_place_back(loop: VirtualLoop) -> None:
    pool = Pool(loop, TimedDatabase(loop, lambda s, start_us: (10, "ok"), connect_us=50), 1, 1_000, 40)
    seen: list[tuple[str, str, int]] = []
    called(loop, pool, 0, "events", seen)
    called(loop, pool, 0, "revenue", seen)

    loop.run_to(200)

    late = "no connection opened within 4e-05 s"
    assert seen == [("events", late, 40), ("revenue", late, 80)]
    assert (pool.open, pool.held) == (0, 0)


def test_a_driver_that_throws_anything_fails_the_call_and_leaks_no_connection(loop: VirtualLoop) -> None:
    class Broken:
        is_open = False
        server_pid = None

        async def run(self, statement: Statement) -> Answer:
            raise ValueError("out of cheese")

        async def close(self) -> None: ...

    class Database:
        async def connect(self) -> Broken:
            return Broken()

    pool = Pool(loop, Database(), 1, 1_000, 1_000)
    seen: list[tuple[str, str, int]] = []
    called(loop, pool, 0, "events", seen)
    called(loop, pool, 5, "events", seen)

    loop.run_to(100)

    assert [text for _, text, _ in seen] == ["ValueError: out of cheese"] * 2
    assert (pool.open, pool.held) == (0, 0)


def test_who_is_cancelled_while_waiting_is_forgotten(loop: VirtualLoop) -> None:
    pool = Pool(loop, TimedDatabase(loop, lambda s, start_us: (100, "ok")), 1, 1_000, 1_000)
    seen: list[tuple[str, str, int]] = []
    called(loop, pool, 0, "events", seen)
    called(loop, pool, 60, "queries", seen)
    loop.at(20, Phase.ARRIVALS, lambda: waiting.append(loop.create_task(pool.call(Statement("analytics", "queries")))))
    loop.at(50, Phase.ARRIVALS, lambda: waiting[0].cancel())
    waiting: list[asyncio.Task[Answer]] = []

    loop.run_to(50)
    assert pool.waiting == 0
    loop.run_to(500)

    assert seen == [("events", "ok", 100), ("queries", "ok", 200)]
    assert (pool.held, pool.waiting) == (0, 0)


@pytest.mark.parametrize("when", ["just before its turn", "just after its turn"])
def test_cancelling_around_a_turn_neither_breaks_the_pool_nor_keeps_the_place(when: str) -> None:
    """On a real loop, where a cancellation can fall between a release and what follows from it."""

    class Meddling(Watch):
        def called(self, statement: Statement, *times: object) -> None:
            if statement.part == "events":
                if when == "just before its turn":
                    second.cancel()
                else:
                    asyncio.get_running_loop().call_soon(second.cancel)

    async def story() -> None:
        nonlocal second
        clock = RealClock()
        database = TimedDatabase(clock, lambda s, start_us: (10_000, "ok"))
        pool = Pool(clock, database, 1, 1_000_000, 1_000_000, Meddling())
        first = asyncio.ensure_future(pool.call(Statement("analytics", "events")))
        second = asyncio.ensure_future(pool.call(Statement("analytics", "queries")))
        await first
        with pytest.raises(asyncio.CancelledError):
            await second
        await asyncio.wait_for(pool.call(Statement("analytics", "queries")), 1)
        await asyncio.sleep(0)
        assert (pool.held, pool.waiting, pool.open) == (0, 0, 1)

    second: asyncio.Future[Answer]
    errors: list[object] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
        await story()

    asyncio.run(watched())
    assert errors == []

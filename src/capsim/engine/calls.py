"""One database call in time: ask for a connection, wait, open it if need be, run the statement, give it back."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

from capsim.engine import clock
from capsim.engine.clock import Clock, at
from capsim.engine.database import Database, Outcome, Statement
from capsim.engine.pool import FAILED, WAITING, Call, Pool

Played = Generator[simpy.Event, Any, Outcome]


def call(
    env: Clock, pool: Pool, database: Database, part: int, name: str, attempt: int, statement: Statement
) -> Generator[simpy.Event, Any, tuple[Call, Outcome]]:
    """Play one call of a part; the call as the pool saw it, and what became of it.

    An `Outcome` of a call that got no connection lasts as long as it waited, or as long as opening one took.
    """
    asked = pool.ask(part)
    if asked.state == WAITING:
        yield asked.decided
    if asked.state == FAILED:
        return asked, Outcome(env.now - asked.asked_us, "fail")
    granted_us = env.now
    if asked.opens and not (yield from opened(env, pool, database, asked)):
        return asked, Outcome(env.now - granted_us, "fail")
    outcome = database.run(name, attempt, statement, env.now, pool.crowding)
    yield at(env, env.now + outcome.duration_us, clock.DATABASE)
    pool.release()
    return asked, outcome


def opened(env: Clock, pool: Pool, database: Database, asked: Call) -> Generator[simpy.Event, Any, bool]:
    """Open the connection that was granted; False if Postgres refuses it, or if that takes longer than it may.

    The time to wait for a connection goes on while it is opened: whichever limit comes first ends the call.
    """
    most_us = min(pool.connect_timeout_us, asked.asked_us + pool.timeout_us - env.now)
    if asked.refused or database.is_down(env.now):
        pool.turn_away(asked)
        pool.refusals += 1
        yield at(env, env.now + min(database.refused_us, most_us), clock.DATABASE)
        pool.discard(asked)
        return False
    if pool.connect_us > most_us:
        yield at(env, env.now + most_us, clock.DATABASE)
        pool.discard(asked)
        if most_us < pool.connect_timeout_us:
            pool.time_out(asked)
        return False
    if pool.connect_us:
        yield at(env, env.now + pool.connect_us, clock.DATABASE)
    return True

"""What follows for the database pool: its size, its timeouts, and where it connects."""

from __future__ import annotations

from collections.abc import Iterator

from capsim.scenario.database import DatabaseSpec
from capsim.telemetry.inspect.effective import Effective
from capsim.telemetry.inspect.finding import ConfigFinding
from capsim.telemetry.inspect.pool import CPUS_VISIBLE, NEWEST_WITH_ENGINE, DatabasePool
from capsim.telemetry.inspect.unknown import Unknown
from capsim.telemetry.inspect.url import OWN_ADDRESS

FREE_CONNECTIONS = DatabaseSpec().clients_max  # as Postgres comes; a platform that changed it would say so


def pool_findings(e: Effective) -> Iterator[ConfigFinding]:
    """Findings about the pool; of Prisma only where Prisma is, and none where no Postgres is seen."""
    pool = e.pool
    address = pool.address
    if not pool.postgres:
        what = f"the database is {address.what}, not Postgres" if address else pool.unseen
        yield ConfigFinding(
            "no Postgres",
            "note",
            pool.place,
            f"{what}: the pool is not judged",
            "give package.json and DATABASE_URL if it does use Postgres",
        )
        return
    if address is None:
        yield ConfigFinding(
            "DATABASE_URL unknown",
            "note",
            pool.place,
            "no DATABASE_URL was given, so what it says of the pool is not known",
            "give the .env, or the address itself",
        )
    else:
        yield from _address(pool)
    if address is not None and address.kind == "elsewhere":
        return
    if isinstance(pool.driver, Unknown):
        yield ConfigFinding(
            "pool not known",
            "note",
            pool.place,
            f"{pool.driver.why}: Prisma up to {NEWEST_WITH_ENGINE} opens up to {2 * CPUS_VISIBLE + 1} connections "
            "without connection_limit, pg.Pool and postgres.js 10, Sequelize 5",
            "give package.json as well, or look where the program makes its pool",
        )
    yield from _size(pool)
    if not (address and address.pooler):
        yield from _connections(e)
    yield from _timeouts(pool)


def _address(pool: DatabasePool) -> Iterator[ConfigFinding]:
    address, place = pool.address, pool.place
    assert address is not None  # for the type checker: asked before
    if address.kind == "broken":
        yield ConfigFinding("not a valid address", "outage", place, f"DATABASE_URL: {address.problem}", address.remedy)
    elif address.kind == "unread":
        yield ConfigFinding(
            "DATABASE_URL not read",
            "note",
            place,
            f"{address.what}: what it says of the pool is not known",
            "give the address itself as well, as an argument",
        )
    elif address.kind == "elsewhere":
        yield ConfigFinding(
            "pool elsewhere",
            "note",
            place,
            f"the address is of {address.what}: connections to Postgres are opened and limited there",
            "look at the limits of that service's plan",
        )
    if address.pooler:
        yield ConfigFinding(
            "behind a pooler",
            "note",
            place,
            f"the address is {address.pooler} pooler, whose limits apply: how many connections Postgres lets in is not "
            "what the server meets",
            "compare replicas x pool size with the pooler's limit on clients",
        )
    if address.public:
        yield ConfigFinding(
            "database over the public proxy",
            "bill",
            place,
            "all that is written and read leaves over the public network and is charged as egress",
            "use the address on the private network (DATABASE_URL in place of DATABASE_PUBLIC_URL)",
        )
    for name, value in (("size", pool.limit), ("timeout", pool.acquire), ("timeout of connecting", pool.connect)):
        if isinstance(value.number, Unknown) and address.kind == "postgres":
            why = value.number.why
            if "reference" in why or "whole number" in why:
                yield ConfigFinding(f"pool {name} not read", "note", place, why, "write the number itself")


def _size(pool: DatabasePool) -> Iterator[ConfigFinding]:
    if pool.ignored:
        yield ConfigFinding(
            "address does not set the pool",
            "note",
            pool.place,
            f"{', '.join(pool.ignored)} in DATABASE_URL: nothing of {pool.driver} reads it",
            f"set it in the program: {pool.remedy}",
        )
    given = dict(pool.address.parameters) if pool.address else {}
    whole = pool.address is not None and pool.address.kind == "postgres" and pool.address.complete
    if not (whole and "connection_limit" not in given) or pool.engine is False or pool.prisma == 0:
        return
    opens = (
        f"without connection_limit Prisma up to {NEWEST_WITH_ENGINE} opens up to 2 x CPUs + 1 connections, and the "
        f"container shows its host's CPUs: {2 * CPUS_VISIBLE + 1} with {CPUS_VISIBLE} (32 to 64 were seen)"
    )
    if pool.address and pool.address.what == OWN_ADDRESS:
        opens = f"DATABASE_URL refers to {OWN_ADDRESS}; {opens}"
    pooler = bool(pool.address and pool.address.pooler)
    if pool.engine:
        yield ConfigFinding("pool limit missing", "note" if pooler else "outage", pool.place, opens, pool.remedy)
    else:
        yield ConfigFinding(
            "pool limit missing",
            "note",
            pool.place,
            f"{opens}. Prisma 7 takes nothing from the address: its driver opens 10. Which one it is, is not known",
            "give package.json as well; up to Prisma 6 add connection_limit=10 to DATABASE_URL",
        )


def _connections(e: Effective) -> Iterator[ConfigFinding]:
    limit, replicas = e.pool.limit.number, e.replicas
    if not isinstance(limit, int) or not isinstance(replicas, int):
        return
    opened = replicas * limit
    engine = e.pool.engine is not False and e.pool.prisma != 0
    size = "replicas x connection_limit" if engine else "replicas x pool size"
    if opened > FREE_CONNECTIONS:
        yield ConfigFinding(
            "more connections than Postgres lets in",
            "outage",
            e.pool.place,
            f"{replicas} replicas x {limit} = {opened} connections; Postgres lets {FREE_CONNECTIONS} in "
            "(max_connections 100, 3 kept for superusers), fewer while a deploy overlaps",
            f"keep {size} at {FREE_CONNECTIONS // 2} or less",
        )
    elif 2 * opened > FREE_CONNECTIONS:
        yield ConfigFinding(
            "connections during a deploy",
            "outage",
            e.pool.place,
            f"{opened} connections, and as many again while the new deployment runs beside the old one; Postgres "
            f"lets {FREE_CONNECTIONS} in",
            f"keep {size} at {FREE_CONNECTIONS // 2} or less",
        )


def _timeouts(pool: DatabasePool) -> Iterator[ConfigFinding]:
    given = dict(pool.address.parameters) if pool.address else {}
    engine = pool.engine is not False and pool.prisma != 0
    for name, value, default in (("pool_timeout", pool.acquire, 10), ("connect_timeout", pool.connect, 5)):
        if engine and pool.address is not None and pool.address.kind == "postgres" and pool.address.complete:
            if name not in given:
                yield ConfigFinding(
                    f"{name} missing",
                    "note",
                    pool.place,
                    f"the default of Prisma up to {NEWEST_WITH_ENGINE} applies, {default} s"
                    + ("; of Prisma 7 it is the driver's, none" if pool.prisma is None else ""),
                    f"say {name}=... in DATABASE_URL, knowing that longer waits let a writer's buffer fill up",
                )
            elif value.number is None:
                yield ConfigFinding(
                    f"{name} is 0",
                    "outage",
                    pool.place,
                    "0 switches the timeout off: a call waits until a restart",
                    f"set {name} to some seconds",
                )
    if not engine and pool.acquire.number is None:
        yield ConfigFinding(
            "no timeout of the pool",
            "outage",
            pool.place,
            f"{pool.driver}: a call that finds all connections busy waits without an end, and the request behind it "
            f"with it ({pool.acquire.origin})",
            f"set it in the program: {pool.remedy}",
        )

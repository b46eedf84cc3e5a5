"""What follows for the database pool: its size, its timeouts, and where it connects."""

from __future__ import annotations

from collections.abc import Iterator

from capsim.inspect.effective import CPUS_VISIBLE, Effective
from capsim.inspect.finding import Finding
from capsim.inspect.unknown import Unknown
from capsim.specs import DatabaseSpec

FREE_CONNECTIONS = DatabaseSpec().clients_max  # as Postgres comes; a platform that changed it would say so


def pool_findings(e: Effective) -> Iterator[Finding]:
    place = e.declared.variable_places.get("DATABASE_URL", "DATABASE_URL")
    if e.url is None:
        yield Finding(
            "DATABASE_URL unknown",
            "note",
            place,
            "no DATABASE_URL was given; Prisma's defaults are assumed",
            "give the .env, or the address itself",
        )
    url = e.url
    if url is None or url.connection_limit is None:
        yield Finding(
            "pool limit missing",
            "outage",
            place,
            f"without connection_limit Prisma opens up to 2 x CPUs + 1 connections, and the container shows its "
            f"host's CPUs: {2 * CPUS_VISIBLE + 1} with {CPUS_VISIBLE} (32 to 64 were seen)",
            "add connection_limit=10 to DATABASE_URL",
        )
    replicas = e.replicas
    opened = 0 if isinstance(replicas, Unknown) else e.pool_limit * replicas
    if opened > FREE_CONNECTIONS:
        yield Finding(
            "more connections than Postgres lets in",
            "outage",
            place,
            f"{replicas} replicas x {e.pool_limit} = {opened} connections; Postgres lets {FREE_CONNECTIONS} in "
            "(max_connections 100, 3 kept for superusers), fewer while a deploy overlaps",
            f"keep replicas x connection_limit at {FREE_CONNECTIONS // 2} or less",
        )
    elif 2 * opened > FREE_CONNECTIONS:
        yield Finding(
            "connections during a deploy",
            "outage",
            place,
            f"{opened} connections, and as many again while the new deployment runs beside the old one; Postgres "
            f"lets {FREE_CONNECTIONS} in",
            f"keep replicas x connection_limit at {FREE_CONNECTIONS // 2} or less",
        )
    for name, value, default in (
        ("pool_timeout", url.pool_timeout_s if url else None, 10),
        ("connect_timeout", url.connect_timeout_s if url else None, 5),
    ):
        if value is None:
            yield Finding(
                f"{name} missing",
                "note",
                place,
                f"Prisma's default of {default} s applies",
                f"say {name}=... in DATABASE_URL, knowing that longer waits let a writer's buffer fill up",
            )
        elif value == 0:
            yield Finding(
                f"{name} is 0",
                "outage",
                place,
                "0 switches the timeout off: a call waits for ever",
                f"set {name} to some seconds",
            )
    if url is not None and url.public:
        yield Finding(
            "database over the public proxy",
            "bill",
            place,
            "all that is written and read leaves over the public network and is charged as egress",
            "use the address on the private network",
        )

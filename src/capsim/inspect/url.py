"""What a DATABASE_URL tells Prisma about its pool; user, password and host stay in it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from capsim.errors import CapsimError


@dataclass(frozen=True)
class PoolUrl:
    """The parameters of a pool; None where the address does not say."""

    connection_limit: int | None = None
    pool_timeout_s: int | None = None  # 0: waits for ever
    connect_timeout_s: int | None = None  # 0: waits for ever
    public: bool = False  # through the platform's public proxy
    pooler: bool = False  # behind PgBouncer


def pool_url(url: str, source: str) -> PoolUrl:
    """Read the parameters of an address; a reference such as ``${{Postgres.DATABASE_URL}}?...`` keeps its own.

    Raises
    ------
    CapsimError
        If it is no Postgres address, or a parameter is no whole number.

    Examples
    --------
    >>> pool_url("postgresql://user:secret@host:5432/db?connection_limit=10&pool_timeout=20", ".env")
    PoolUrl(connection_limit=10, pool_timeout_s=20, connect_timeout_s=None, public=False, pooler=False)
    """
    reference = url.startswith("$")
    try:
        parts = urlsplit(url if not reference else "postgresql://reference/" + url[url.rfind("}") + 1 :])
        host = parts.netloc.rpartition("@")[2]
        query = dict(parse_qsl(parts.query))
    except ValueError:
        raise CapsimError(f"{source}: DATABASE_URL is no address; write postgresql://...") from None
    if parts.scheme not in ("postgres", "postgresql"):
        raise CapsimError(f"{source}: DATABASE_URL is no Postgres address; write postgresql://...")

    def number(name: str, least: int) -> int | None:
        text = query.get(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 8 and int(text) >= least):
            raise CapsimError(f"{source}: {name} of DATABASE_URL is no whole number from {least}; correct it")
        return int(text)

    return PoolUrl(
        connection_limit=number("connection_limit", 1),
        pool_timeout_s=number("pool_timeout", 0),
        connect_timeout_s=number("connect_timeout", 0),
        public=".proxy.rlwy.net" in host,
        pooler=query.get("pgbouncer") == "true",
    )

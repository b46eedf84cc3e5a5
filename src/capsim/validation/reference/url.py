"""The addresses of the environment: `DATABASE_URL` as the seed's server reads it, and `REDIS_URL`.

Prisma's pool settings ride in the query of the first; libpq knows none of them.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from capsim.base.errors import CapsimError
from capsim.base.units import LONGEST_S
from capsim.scenario.server import PoolSpec

SETTINGS = {"connection_limit": "limit", "pool_timeout": "pool_timeout_s", "connect_timeout": "connect_timeout_s"}
PRISMA_ONLY = frozenset({"schema", "pgbouncer", "statement_cache_size", "socket_timeout"})


class DatabaseUrl(NamedTuple):
    """Where a database is and how its pool is set."""

    conninfo: str
    pool: PoolSpec


def read_database_url(url: str, pool: PoolSpec) -> DatabaseUrl:
    """Split an URL into what libpq wants and what the pool wants.

    Parameters
    ----------
    url : str
        ``postgresql://user:password@host:port/name?connection_limit=10&pool_timeout=20&connect_timeout=10``; the
        timeouts in seconds.
    pool : PoolSpec
        The scenario's; settings in the URL go before it.

    Raises
    ------
    CapsimError
        If this is no PostgreSQL URL, or a setting is no number that can be; the password is never shown.

    Examples
    --------
    >>> found = read_database_url("postgresql://me@db:5432/game?connection_limit=7&sslmode=require", PoolSpec())
    >>> found.conninfo
    'postgresql://me@db:5432/game?sslmode=require'
    >>> found.pool.limit, found.pool.pool_timeout_s
    (7, 20.0)
    """
    try:
        parts = urlsplit(url)
        if parts.port == 0:
            raise ValueError("nothing listens there")
    except ValueError:  # its text would show what stands after the colon, which may be a password with a / in it
        raise CapsimError(
            "DATABASE_URL: is no address, or its port no number from 1 to 65535; give "
            "postgresql://user:password@host:port/name, with / ? # @ : of a password percent-encoded"
        ) from None
    if parts.scheme not in ("postgresql", "postgres"):
        scheme = parts.scheme or "no scheme"
        raise CapsimError(f"DATABASE_URL: begins with {scheme!r}; give postgresql://user:password@host:port/name")
    rest = []
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key in SETTINGS:
            pool = pool.replace(SETTINGS[key], _number(key, value))
        elif key not in PRISMA_ONLY:
            rest.append((key, value))
    conninfo = urlunsplit(parts._replace(query=urlencode(rest)))
    _check(conninfo)
    return DatabaseUrl(conninfo, pool)


def check_redis_url(url: str) -> None:
    """Refuse now what redis-py would refuse each time that it connects, which looks as if Redis were away.

    Raises
    ------
    CapsimError
        If this is no Redis URL, or its port can be none; the password is never shown.

    Examples
    --------
    >>> check_redis_url("redis://:password@host:6379/0")
    """
    from redis.asyncio.connection import parse_url

    try:
        parse_url(url)
        if urlsplit(url).port == 0:
            raise ValueError("nothing listens there")
    except ValueError:
        raise CapsimError(
            "REDIS_URL: is no address of a Redis; give redis://user:password@host:port/0, with a port from 1 to 65535 "
            "and / ? # @ : of a password percent-encoded"
        ) from None


def _number(key: str, text: str) -> float | int:
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or (key == "connection_limit" and int(text) == 0):
        least = 1 if key == "connection_limit" else 0
        raise CapsimError(f"DATABASE_URL: {key} is {text!r}; give a whole number from {least} on")
    if key == "connection_limit":
        return int(text)
    return float(min(int(text) or LONGEST_S, LONGEST_S))  # Prisma: a timeout of 0 waits for ever


def _check(conninfo: str) -> None:
    """Let libpq parse it now, so that a spelling mistake is found at the start and not at the first flush."""
    try:
        from psycopg import ProgrammingError
        from psycopg import conninfo as libpq
    except ImportError:
        raise CapsimError(
            "DATABASE_URL: PostgreSQL needs the extra packages of capsim[postgres]; install them, or leave it unset"
        ) from None
    try:
        libpq.conninfo_to_dict(conninfo)
    except ProgrammingError as error:
        raise CapsimError(f"DATABASE_URL: {_without_secrets(str(error))}; mend that part") from None


def _without_secrets(said: str) -> str:
    """What libpq says is wrong; of what it quotes, which may be the whole address, only the name of a setting."""
    setting = re.match(r'[^"]* query parameter: "\w+"', said)
    return setting[0] if setting else said.partition('"')[0].strip(" :\n")

"""What a DATABASE_URL says: which database, through what, and the parameters of a pool; never user, password or host.

Nothing is refused: an address that is none, of another database, or written wrongly says so, and the rest of the
configuration is read all the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlsplit

from capsim.telemetry.inspect.unknown import Unknown

_DATABASES = {
    "mysql": "MySQL", "mariadb": "MariaDB", "mongodb": "MongoDB", "mongo": "MongoDB", "sqlserver": "SQL Server",
    "mssql": "SQL Server", "file": "SQLite", "sqlite": "SQLite", "sqlite3": "SQLite", "libsql": "SQLite (libSQL)",
    "turso": "SQLite (libSQL)", "redis": "Redis", "rediss": "Redis", "oracle": "Oracle", "clickhouse": "ClickHouse",
}  # fmt: skip
_REFERENCE = re.compile(r"\$\{\{\s*([\w.\- ]{1,100}?)\s*\}\}")
_NAMED = re.compile(r"\$\{?\w{1,100}(?::?-[^}]{0,100})?\}?")
_POSTGRES_SERVICE = re.compile(r"postgres|postgis|timescale|(?<![a-z0-9])(?:pg|db|database)(?![a-z0-9])")
_OWN = ("DATABASE_URL", "DATABASE_PRIVATE_URL", "DATABASE_PUBLIC_URL", "POSTGRES_URL")
OWN_ADDRESS = "Railway's own address, which has no parameters"
_LONGEST = 10_000  # characters; no address has a hundredth of them


@dataclass(frozen=True)
class DatabaseUrl:
    """A DATABASE_URL, as far as it says anything of a pool.

    Attributes
    ----------
    kind : str
        ``postgres``; ``other``: another database; ``elsewhere``: the pool is Prisma's service; ``unread``: its text
        is not known here (a reference, a placeholder); ``broken``: it cannot be read as an address, see ``problem``.
    what : str
        In words: the database, the pool's place, or what stands there in place of an address.
    parameters : tuple of (str, str)
        Of the query, in order; the last of a name counts.
    complete : bool
        Whether all parameters are known: not, where a reference to another variable stands in it.
    public, pooler : bool, str
        Through Railway's public proxy; whose pooler it goes through, or nothing.
    driver : str
        Written into the scheme (``postgresql+asyncpg``), or nothing.
    problem, remedy : str
        What is wrong with how it is written.
    """

    kind: str
    what: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    complete: bool = True
    public: bool = False
    pooler: str = ""
    driver: str = ""
    problem: str = ""
    remedy: str = ""

    def number(self, name: str, least: int, place: str) -> int | Unknown | None:
        """A parameter that is a whole number; None where the address does not have it."""
        found = dict(self.parameters).get(name)
        if found is None:
            if self.complete and self.kind == "postgres":
                return None
            what = f"the database is {self.what}" if self.kind == "other" else self.what or self.problem
            return Unknown(what or "the address is not known", place)
        if "$" in found:
            return Unknown(f"{name} is a reference, which only a deployment resolves", place)
        if not (found.isascii() and found.isdigit() and len(found) < 8 and int(found) >= least):
            return Unknown(f"{name} is no whole number from {least}", place)
        return int(found)


def address_of(text: str) -> DatabaseUrl:
    """Read an address; a reference such as ``${{Postgres.DATABASE_URL}}?...`` keeps its own parameters.

    Examples
    --------
    >>> address_of("postgresql://user:secret@host:5432/db?connection_limit=10").number("connection_limit", 1, ".env")
    10
    >>> address_of("mysql://user:secret@host/db").what
    'MySQL'
    >>> address_of("postgresql://user:pa#ss@host/db").problem
    'a raw # stands in its user or password'
    """
    text = text.strip().strip("\"'").strip()[:_LONGEST]
    scheme, separator, rest = text.partition(":")
    scheme = scheme.lower()
    if reference := _REFERENCE.match(text) or (_NAMED.match(text) if text.startswith("$") else None):
        return _of_reference(text, reference)
    base, _, driver = scheme.removeprefix("jdbc:").partition("+")
    if scheme == "jdbc":
        base, driver = rest.partition(":")[0].lower(), "JDBC"
    if scheme in ("prisma", "prisma+postgres"):
        return DatabaseUrl("elsewhere", "Prisma's own service (Accelerate or Prisma Postgres)", public=False)
    if base in _DATABASES and separator:
        return DatabaseUrl("other", _DATABASES[base])
    if base not in ("postgres", "postgresql", "cockroachdb") or not rest.startswith(("//", "postgresql:")):
        what = "it is empty" if not text else "a placeholder, or no address"
        return DatabaseUrl("unread", what, complete=False)
    return _of_postgres(text.partition("://")[2], driver)


def _of_reference(text: str, reference: re.Match[str]) -> DatabaseUrl:
    rest = text[reference.end() :]
    name = reference[1] if reference.re is _REFERENCE else ""
    service, _, variable = name.rpartition(".")
    for other in ("mysql", "mongo", "redis", "mariadb"):
        if other in name.lower():
            return DatabaseUrl("other", _DATABASES[other])
    # Railway's own address has no parameters; that of another service or of shared variables may have some.
    own = bool(_POSTGRES_SERVICE.search(service.lower())) and variable in _OWN
    what = OWN_ADDRESS if own else "a reference to a variable that is not given"
    found = DatabaseUrl(
        "postgres" if own else "unread",
        what,
        complete=own,
        public="PUBLIC" in variable,
        pooler=_pooler(service.lower(), ""),
    )
    if rest.startswith("&"):
        return replace(
            found, kind="broken", problem="& stands behind the reference, where its first parameter needs a ?",
            remedy="write ? in place of the first &",
        )  # fmt: skip
    if not rest:
        return found
    query, problem = _query(rest.removeprefix("?"))
    if problem:
        return replace(found, kind="broken", problem=problem[0], remedy=problem[1])
    pooler = found.pooler or ("PgBouncer's" if ("pgbouncer", "true") in query else "")
    return replace(found, parameters=query, pooler=pooler)


def _of_postgres(rest: str, driver: str) -> DatabaseUrl:
    """The part behind ``postgresql://``."""
    if problem := _problem(rest):
        return DatabaseUrl("broken", driver=driver, problem=problem[0], remedy=problem[1])
    try:
        parts = urlsplit("postgresql://" + _REFERENCE.sub("reference", rest))
        host = parts.netloc.rpartition("@")[2].lower()
        host, _, port = host.rpartition(":") if re.search(r":\d+$", host) else (host, "", "")
    except ValueError:
        return DatabaseUrl(
            "broken", driver=driver, problem="its host cannot be read", remedy="write an IPv6 address in [ ] and "
            "encode special characters of the password"
        )  # fmt: skip
    query, problem = _query(parts.query)
    if problem:
        return DatabaseUrl("broken", driver=driver, problem=problem[0], remedy=problem[1])
    before = rest.partition("?")[0]
    public = ".proxy.rlwy.net" in host or "TCP_PROXY_DOMAIN" in before or "PUBLIC" in before
    pooler = "PgBouncer's" if ("pgbouncer", "true") in query else _pooler(host, port)
    return DatabaseUrl("postgres", parameters=query, public=public, pooler=pooler, driver=driver)


def _problem(rest: str) -> tuple[str, str] | None:
    """What keeps it from being an address: characters that a user or password must not have as they are."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    sign = rest[len(authority) : len(authority) + 1]
    behind = rest[len(authority) :].partition("?")[0] if sign == "/" else rest[len(authority) :]
    # user:password without an @ behind it, which comes later: not host:5432?user=me@example
    if "@" not in authority and "@" in behind and not re.fullmatch(r"[^:]*(:\d+)?", authority):
        return f"a raw {sign} stands in its user or password", f"encode {sign} as %{ord(sign):02X}"
    user = authority.rpartition("@")[0]
    if re.search(r"%(?![0-9A-Fa-f]{2})", _REFERENCE.sub("", user)):
        return "a raw % stands in its user or password", "encode % as %25"
    if re.search(r"\s", _REFERENCE.sub("", rest)):
        return "it has a blank in it", "encode a blank as %20, or take it out"
    return None


def _query(text: str) -> tuple[tuple[tuple[str, str], ...], tuple[str, str] | None]:
    text = text.partition("#")[0]
    for wrong, what in (("&amp;", "&amp; stands"), ("?", "a second ? stands"), (";", "a ; stands")):
        if wrong in text:
            remedy = f"write & in place of {'the second ?' if wrong == '?' else wrong}"
            return (), (f"{what} among its parameters, where & is meant", remedy)
    return tuple(parse_qsl(text, keep_blank_values=True)), None


def _pooler(host: str, port: str) -> str:
    """Whose pooler a host is, by how providers name theirs."""
    if "-pooler." in host and "neon" in host:
        return "Neon's"
    if "pooler.supabase" in host:
        return "Supabase's"
    if "pooled.db.prisma.io" in host:
        return "Prisma Postgres'"
    if any(word in host for word in ("pgbouncer", "pgcat", "supavisor", "pgdog", "odyssey")) or port == "6543":
        return "a pooler's"
    return ""

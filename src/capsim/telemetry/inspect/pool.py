"""The database pool as its driver makes it: which driver and version, its size and timeouts, and where each comes from.

Sources: Prisma's pages on its connection pool, v6 and v7 (2 x CPUs + 1, 10 s, 5 s; with a driver adapter those of the
driver); node-postgres (10, no timeout, idle connections close after 10 s), postgres.js (10, 30 s to connect), Knex (10,
60 s), Sequelize (5, 60 s). Read in December 2026, not run here. What the program's own code sets is not read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from capsim.telemetry.inspect.declared import Declared
from capsim.telemetry.inspect.unknown import Unknown
from capsim.telemetry.inspect.url import DatabaseUrl, address_of

CPUS_VISIBLE = 48  # seen in containers, 32 to 64 (facts: railway §6)
NEWEST_WITH_ENGINE = 6  # of Prisma: the last major version whose own engine makes the pool
_CODE = "unless the program's code sets it"

Number = int | float | None | Unknown


@dataclass(frozen=True)
class Driver:
    """How a library makes its pool; None: no timeout, a call waits for ever."""

    name: str
    limit: int | None
    acquire_s: float | None
    connect_s: float | None
    remedy: str  # how its size and timeout are set
    from_address: Mapping[str, str]  # what of the pool is taken from which parameter of the address
    idle_s: float | None = None  # a connection that is not used for so long is closed


_PG = "new Pool({ connectionString, max: 10, connectionTimeoutMillis: 10_000 })"
_DRIVERS: dict[str, Driver] = {  # by the package that brings them, the one nearest to the program first
    "sequelize": Driver(
        "Sequelize", 5, 60.0, None, "new Sequelize(url, { pool: { max: 5, acquire: 10_000 } })", {}, 10.0
    ),
    "knex": Driver("Knex", 10, 60.0, None, "knex({ pool: { max: 10 }, acquireConnectionTimeout: 10_000 })", {}),
    "typeorm": Driver(
        "TypeORM on pg", 10, None, None, "new DataSource({ poolSize: 10, connectTimeoutMS: 10_000 })", {}
    ),
    "postgres": Driver(
        "postgres.js", 10, None, 30.0, "postgres(url, { max: 10 })", {"limit": "max", "connect": "connect_timeout"}
    ),
    "pg": Driver("pg.Pool", 10, None, None, _PG, {}, 10.0),
    "@neondatabase/serverless": Driver("Neon's Pool (as pg.Pool)", 10, None, None, _PG, {}),
    "@vercel/postgres": Driver("Vercel's Pool (as pg.Pool)", 10, None, None, _PG, {}),
}
_ADAPTERS = {
    "@prisma/adapter-pg": "pg.Pool", "@prisma/adapter-neon": "Neon's Pool (as pg.Pool)",
    "@prisma/adapter-ppg": None, "@prisma/adapter-planetscale": None, "@prisma/adapter-mariadb": None,
    "@prisma/adapter-libsql": None, "@prisma/adapter-better-sqlite3": None, "@prisma/adapter-d1": None,
    "@prisma/adapter-mssql": None,
}  # fmt: skip


@dataclass(frozen=True)
class PoolNumber:
    """One number of the pool, and where it comes from; None: no timeout."""

    number: Number
    origin: str


@dataclass(frozen=True)
class DatabasePool:
    """The pool as it is made.

    Attributes
    ----------
    driver : str or Unknown
        Library and version in words.
    prisma : int or None
        0: Prisma is not there; its major version; None: it is there, and its version is not known.
    engine : bool or None
        Prisma's own engine makes the pool, by parameters of the address; None: that depends on the version.
    address : DatabaseUrl or None
        None: no DATABASE_URL was given.
    place : str
        Where the address stands.
    limit, acquire, connect : PoolNumber
        Connections; longest wait for one, and for opening one [s].
    remedy : str
        How size and timeouts are set with this driver.
    ignored : tuple of str
        Parameters of the address that do nothing with this driver.
    idle_s : float or None
        A connection that is not used for so long is closed [s]; None: not, or not known.
    known_by : str
        What says which driver it is.
    """

    driver: str | Unknown
    prisma: int | None
    engine: bool | None
    address: DatabaseUrl | None
    place: str
    limit: PoolNumber
    acquire: PoolNumber
    connect: PoolNumber
    remedy: str
    ignored: tuple[str, ...] = ()
    idle_s: float | None = None
    known_by: str = "package.json"

    @property
    def postgres(self) -> bool:
        """Whether anything says that Postgres is used."""
        if self.address is not None and self.address.kind == "other":
            return False
        return self.address is not None or self.prisma != 0 or isinstance(self.driver, str)

    @property
    def unseen(self) -> str:
        """Why nothing says that Postgres is used."""
        why = self.driver.why if isinstance(self.driver, Unknown) else f"the driver is {self.driver}"
        return f"{why}, and no DATABASE_URL was given"

    def settings(self) -> list[tuple[str, str | int | float | Unknown, str]]:
        """Name, value and origin of what is printed of it."""
        if not self.postgres:
            if self.address:
                return [("pool: driver", f"no Postgres ({self.address.what})", self.place)]
            return [("pool: driver", "no Postgres seen", self.unseen)]
        rows: list[tuple[str, str | int | float | Unknown, str]] = [("pool: driver", self.driver, self.known_by)]
        for name, value in (
            ("pool: connection_limit", self.limit),
            ("pool: pool_timeout [s]", self.acquire),
            ("pool: connect_timeout [s]", self.connect),
        ):
            rows.append((name, "none" if value.number is None else value.number, value.origin))
        if self.idle_s is not None:
            rows.append(("pool: idle connections close after [s]", self.idle_s, self.limit.origin))
        return rows


def major(version: str | None) -> int | None:
    """The one major version that a range of package.json allows, or None.

    Examples
    --------
    >>> [major(v) for v in ("^7.3.0", "6.x", "npm:@prisma/client@5.22.0", ">=5", "latest", "5 || 6")]
    [7, 6, 5, None, None, None]
    """
    if version is None:
        return None
    text = version.strip()[:60].rpartition("@")[2] if version.startswith("npm:") else version.strip()[:60]
    text = text.removeprefix("workspace:")
    found = re.fullmatch(r"[\^~=v]{0,2}\s*(\d{1,3})(?:\.[\dx*]+)*(?:-[\w.]+)?", text)
    return int(found[1]) if found else None


def pool_of(
    packages: Mapping[str, str] | None, address: DatabaseUrl | None, place: str, runs_prisma: bool = False
) -> DatabasePool:
    """The pool of a configuration.

    Parameters
    ----------
    packages : mapping or None
        Packages that package.json depends on, with their versions; None: package.json was not given.
    address : DatabaseUrl or None
        DATABASE_URL.
    place : str
        Where that stands.
    runs_prisma : bool
        A step of the start command is Prisma's.

    Examples
    --------
    >>> pool_of({"@prisma/client": "^7.3.0", "@prisma/adapter-pg": "^7.3.0"}, None, ".env").limit.number
    10
    """
    known = packages or {}
    prisma = runs_prisma or "@prisma/client" in known or "prisma" in known
    # connection_limit is a name that only Prisma's engine reads: without package.json it is what there is to go by.
    named = address is not None and any(name in ("connection_limit", "pool_timeout") for name, _ in address.parameters)
    if prisma or (packages is None and named):
        by = "package.json" if known.keys() & {"@prisma/client", "prisma"} else "a step of the start command"
        return replace(_of_prisma(known, address, place), known_by=by if prisma else f"{place}: its parameters' names")
    found = next((_DRIVERS[name] for name in _DRIVERS if name in known), None)
    if found is not None:
        return _of_driver(found, found.name, 0, address, place)
    if address is not None and address.driver:
        driver: str | Unknown = f"another language's driver ({address.driver[:20]})"
    elif packages is None:
        driver = Unknown("package.json was not given", place)
    else:
        driver = Unknown("package.json depends on none of the Postgres drivers that are known here", place)
    unknown = PoolNumber(Unknown("the driver decides it, and is not known", place), place)
    return DatabasePool(
        driver, 0, None, address, place, unknown, unknown, unknown, "set them where the program makes its pool"
    )


def _of_prisma(packages: Mapping[str, str], address: DatabaseUrl | None, place: str) -> DatabasePool:
    version = major(packages.get("@prisma/client")) or major(packages.get("prisma"))
    adapters = [name for name in _ADAPTERS if name in packages]
    if adapters:
        beneath = _ADAPTERS[adapters[0]]
        name = f"Prisma {version or ''}".strip() + f" with {adapters[0]}"
        made = next((driver for driver in _DRIVERS.values() if driver.name == beneath), None)
        if made is None:
            unknown = PoolNumber(Unknown(f"{adapters[0]} decides it", place), adapters[0])
            return DatabasePool(
                name, version, False, address, place, unknown, unknown, unknown, "set it on the adapter"
            )
        remedy = "new PrismaPg({ connectionString, max: 10, connectionTimeoutMillis: 10_000 })"
        if "neon" in adapters[0]:
            remedy = remedy.replace("PrismaPg", "PrismaNeon")
        return _of_driver(made, name, version, address, place, remedy)
    if version is not None and version > NEWEST_WITH_ENGINE:
        unknown = PoolNumber(Unknown("its driver adapter decides it, and package.json names none", place), place)
        remedy = "set them on the driver adapter: new PrismaPg({ max, connectionTimeoutMillis })"
        return DatabasePool(f"Prisma {version}", version, False, address, place, unknown, unknown, unknown, remedy)
    return _of_engine(version, address, place)


def _of_engine(version: int | None, address: DatabaseUrl | None, place: str) -> DatabasePool:
    """Prisma's own engine, up to version 6; where the version is not known, its values are only those of such a one."""
    name = f"Prisma {version}" if version is not None else "Prisma of an unknown version"
    values = []
    for parameter, least, default, said in (
        ("connection_limit", 1, 2 * CPUS_VISIBLE + 1, f"2 x {CPUS_VISIBLE} CPUs + 1"),
        ("pool_timeout", 0, 10, "10 s"),
        ("connect_timeout", 0, 5, "5 s"),
    ):
        given = Unknown("it was not given", place) if address is None else address.number(parameter, least, place)
        if isinstance(given, int):
            number: Number = None if given == 0 and least == 0 else given  # 0 switches a timeout off
            doubt = "" if version is not None else ", if it is Prisma up to 6"
            values.append(PoolNumber(number, f"{place}{doubt}"))
        elif given is None and version is None:
            none = "10" if parameter == "connection_limit" else "no timeout"
            values.append(PoolNumber(Unknown(f"{said} with Prisma up to 6, {none} with 7 on pg.Pool", place), place))
        else:
            values.append(PoolNumber(default if given is None else given, f"default of Prisma up to 6 ({said})"))
    limit, acquire, connect = values
    remedy = "add connection_limit=10 to DATABASE_URL"
    return DatabasePool(
        name, version, True if version is not None else None, address, place, limit, acquire, connect, remedy
    )


def _of_driver(
    made: Driver, name: str, prisma: int | None, address: DatabaseUrl | None, place: str, remedy: str = ""
) -> DatabasePool:
    """A pool that a driver makes: of the address it takes next to nothing."""
    given = {key: address.number(parameter, 0, place) if address and address.kind != "unread" else None
             for key, parameter in made.from_address.items()}  # fmt: skip
    origin = f"default of {made.name}, {_CODE}"

    def value(key: str, default: float | None) -> PoolNumber:
        found = given.get(key)
        return PoolNumber(default, origin) if found is None else PoolNumber(found, place)

    ignored: tuple[str, ...] = ()
    if address is not None:
        names = ("connection_limit", "pool_timeout", "connect_timeout")
        ignored = tuple(n for n, _ in address.parameters if n in names and n not in made.from_address.values())
    return DatabasePool(
        driver=name,
        prisma=prisma,
        engine=False,
        address=address,
        place=place,
        limit=value("limit", made.limit),
        acquire=value("acquire", made.acquire_s),
        connect=value("connect", made.connect_s),
        remedy=remedy or made.remedy,
        ignored=ignored,
        idle_s=made.idle_s,
    )


def declared_pool(declared: Declared, runs_prisma: bool) -> DatabasePool:
    """The pool of what the files declare; ``runs_prisma`` as in `pool_of`."""
    text = declared.variables.get("DATABASE_URL")
    place = declared.variable_places.get("DATABASE_URL", "DATABASE_URL")
    if isinstance(text, Unknown):
        address: DatabaseUrl | None = DatabaseUrl("unread", text.why, complete=False)
    else:
        address = address_of(text) if isinstance(text, str) else None
    packages: dict[str, str] | None = None
    if declared.package_file is not None:
        tables = (declared.package.get(name) for name in ("devDependencies", "optionalDependencies", "dependencies"))
        packages = {k: v for table in tables if isinstance(table, dict) for k, v in table.items() if isinstance(v, str)}
    return pool_of(packages, address, place, runs_prisma)

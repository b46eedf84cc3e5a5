"""The configuration as the platform applies it: declared values, its defaults, and what reaches the process."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from capsim.errors import CapsimError
from capsim.inspect.declared import Declared
from capsim.inspect.shell import MANAGERS, Started, server_of
from capsim.inspect.start import start_of
from capsim.inspect.unknown import Unknown
from capsim.inspect.url import PoolUrl, pool_url
from capsim.units import GB, MIB

OLD_FORMAT_ENDS = dt.date(2026, 12, 1)  # railway.json and .toml are not read from here on (facts: railway §4)
CPUS_VISIBLE = 48  # seen in containers, 32 to 64 (facts: railway §6)


@dataclass(frozen=True)
class Setting:
    """One value that applies, and where it comes from."""

    name: str
    value: str | int | float | bool | Unknown
    origin: str


@dataclass(frozen=True)
class Effective:
    """All that is in effect for one service."""

    declared: Declared
    on: dt.date | None
    deploy: Mapping[str, Any]
    origin: str  # the file of ``deploy``, or what stands in for it
    shell: bool  # the start command goes through a shell
    command: str | None
    started: tuple[Started, ...]
    server: Started | None
    url: PoolUrl | None

    def number(self, key: str, default: int) -> int:
        """A whole number of ``deploy``; Railway's own examples write some as text."""
        value = self.deploy.get(key, default)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**6:
            raise CapsimError(f"{self.origin}: deploy.{key} is no whole number of 0 or more; correct it")
        return value

    @property
    def heap_cap_mib(self) -> int | Unknown | None:
        """--max-old-space-size that the server gets [MiB]; None where it gets none."""
        if self.server is None:
            return Unknown("the server is not known", self.origin)
        return self.server.heap_cap_mib

    @property
    def limit_mib(self) -> float | None:
        """Memory limit of the container that is declared [MiB]."""
        limits = self.deploy.get("limitOverride")
        containers = limits.get("containers") if isinstance(limits, dict) else None
        value = containers.get("memoryBytes") if isinstance(containers, dict) else None
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 10**15:
            raise CapsimError(f"{self.origin}: limitOverride memoryBytes is no number of bytes; correct it")
        return value / MIB

    @property
    def pool_limit(self) -> int:
        """Connections that the pool may open; Prisma's default is 2 x CPUs + 1."""
        given = self.url.connection_limit if self.url else None
        return 2 * CPUS_VISIBLE + 1 if given is None else given

    @property
    def replicas(self) -> int:
        """Processes that share the load."""
        regions = self.deploy.get("multiRegionConfig")
        if isinstance(regions, dict):
            counts = [r.get("numReplicas", 1) for r in regions.values() if isinstance(r, dict)]
            if counts and all(isinstance(c, int) for c in counts):
                return sum(counts)
        return max(1, self.number("numReplicas", 1))

    @property
    def swallows_sigterm(self) -> str | Unknown | None:
        """The process above the server that keeps SIGTERM to itself; None where the server gets it."""
        if self.server is None:
            return Unknown("the server is not known", self.origin)
        above = self.server.above
        first = next((name for name in above if name in (*MANAGERS, "npx", "cross-env", "sh")), None)
        return first

    @property
    def draining_s(self) -> int:
        """From SIGTERM to SIGKILL [s]; the file wins over the variable."""
        return self._seconds("drainingSeconds", "RAILWAY_DEPLOYMENT_DRAINING_SECONDS")

    @property
    def overlap_s(self) -> int:
        """From the new deployment being active to SIGTERM of the old one [s]."""
        return self._seconds("overlapSeconds", "RAILWAY_DEPLOYMENT_OVERLAP_SECONDS")

    def _seconds(self, key: str, variable: str) -> int:
        if key in self.deploy:
            return self.number(key, 0)
        text = self.declared.variables.get(variable, "0")
        if not re.fullmatch(r"[0-9]{1,6}", text):
            raise CapsimError(f"{self.declared.variable_places[variable]}: {variable} is no whole number of seconds")
        return int(text)

    @property
    def restarts(self) -> tuple[str, int]:
        """Policy and most restarts."""
        policy = str(self.deploy.get("restartPolicyType", "ON_FAILURE")).upper()
        if policy not in ("ON_FAILURE", "ALWAYS", "NEVER"):
            raise CapsimError(f"{self.origin}: deploy.restartPolicyType is none of ON_FAILURE, ALWAYS, NEVER")
        most = {"NEVER": 0, "ALWAYS": 1_000}.get(policy)  # ALWAYS: the most that a scenario can say
        return policy, self.number("restartPolicyMaxRetries", 10) if most is None else most

    def settings(self) -> list[Setting]:
        """What is in effect, in the order in which it is printed; nothing of it is a secret."""
        d, url = self.declared, self.url
        server, swallows = self.server, self.swallows_sigterm
        unread = Unknown("not read", self.origin)
        database = d.variable_places.get("DATABASE_URL", "no DATABASE_URL was given")

        def of(key: str) -> str:
            return f"{self.origin}: deploy.{key}" if key in self.deploy else "Railway's default"

        def url_setting(name: str, value: int | None, default: int, unit: str) -> Setting:
            given = value is not None
            return Setting(
                f"{name}{unit}",
                value if value is not None else default,
                database if given else f"Prisma's default ({database})",
            )

        return [
            Setting("start: read by", "a shell" if self.shell else "no shell (exec form)", self.origin),
            Setting("start: steps", " · ".join(step.told for step in self.started) or unread, self.origin),
            Setting("server", server.told if server else unread, self.origin),
            Setting("process 1", (*server.above, server.program)[0] if server else unread, self.origin),
            Setting(
                "SIGTERM reaches the server",
                swallows if isinstance(swallows, Unknown) else swallows is None,
                self.origin,
            ),
            Setting("heap cap [MiB]", self.heap_cap_mib or "none", "what the server's process gets"),
            Setting(
                "memory limit [GB]",
                round(self.limit_mib * MIB / GB, 3) if self.limit_mib else "of the plan",
                of("limitOverride"),
            ),
            Setting("replicas", self.replicas, of("numReplicas")),
            url_setting("pool: connection_limit", url.connection_limit if url else None, 2 * CPUS_VISIBLE + 1, ""),
            url_setting("pool: pool_timeout", url.pool_timeout_s if url else None, 10, " [s]"),
            url_setting("pool: connect_timeout", url.connect_timeout_s if url else None, 5, " [s]"),
            Setting(
                "health check",
                "at deploy only" if self.deploy.get("healthcheckPath") else "none",
                of("healthcheckPath"),
            ),
            Setting("restart", self.restarts[0], of("restartPolicyType")),
            Setting(
                "restarts at most",
                self.restarts[1] if self.restarts[0] != "ALWAYS" else "no end",
                of("restartPolicyMaxRetries"),
            ),
            Setting("draining [s]", self.draining_s, of("drainingSeconds")),
            Setting("overlap [s]", self.overlap_s, of("overlapSeconds")),
        ]


def effective(declared: Declared, on: dt.date | None = None) -> Effective:
    """Apply the platform's rules: railway.ts over railway.json, which ends on 2026-12-01; variables under both.

    Raises
    ------
    CapsimError
        If a value is impossible, or a start command can only be understood by running it.
    """
    deploy: dict[str, Any] = {}
    origin = "Railway's default"
    if declared.old_file and not (on and on >= OLD_FORMAT_ENDS):
        deploy, origin = dict(declared.old["deploy"]), declared.old_file
    builder = str(declared.old.get("build", {}).get("builder", "")).upper() if deploy else ""
    if declared.new_file:
        deploy, origin = {**deploy, **declared.new["deploy"]}, declared.new_file
        builder = str(declared.new["build"].get("builder", builder)).upper()
        for name, value in declared.new["env"].items():
            declared.variables.setdefault(name, value)
            declared.variable_places.setdefault(name, declared.new_file)

    start = start_of(declared, deploy, origin, builder)
    if origin == "Railway's default" and start.command is not None:
        origin = start.source
    url = declared.variables.get("DATABASE_URL")
    return Effective(
        declared=declared,
        on=on,
        deploy=deploy,
        origin=origin,
        shell=start.shell,
        command=start.command,
        started=start.steps,
        server=server_of(list(start.steps)),
        url=pool_url(url, declared.variable_places["DATABASE_URL"]) if url else None,
    )

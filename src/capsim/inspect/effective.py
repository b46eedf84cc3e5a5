"""The configuration as the platform applies it: declared values, its defaults, and what reaches the process."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from capsim.inspect.applied import RAILWAY, Applied, Setting, applied
from capsim.inspect.declared import Declared
from capsim.inspect.pool import Pool, declared_pool
from capsim.inspect.shell import MANAGERS, Started, server_of
from capsim.inspect.start import start_of
from capsim.inspect.unknown import Unknown


@dataclass(frozen=True)
class Effective:
    """All that is in effect for one service."""

    declared: Declared
    on: dt.date | None
    applied: Applied
    origin: str  # the file that applies, or what stands in for it
    shell: bool  # the start command goes through a shell
    command: str | None
    started: tuple[Started, ...]
    server: Started | None
    pool: Pool

    @property
    def deploy(self) -> Mapping[str, Any]:
        """The ``deploy`` table that applies; a value that was not read is Unknown."""
        return self.applied.deploy

    @property
    def limit_mib(self) -> float | Unknown | None:
        """Memory limit of the container that is declared [MiB]."""
        return self.applied.limit_mib

    @property
    def replicas(self) -> int | Unknown:
        """Processes that share the load."""
        return self.applied.replicas

    @property
    def draining_s(self) -> int | Unknown:
        """From SIGTERM to SIGKILL [s]."""
        return self.applied.draining_s

    @property
    def overlap_s(self) -> int | Unknown:
        """From the new deployment being active to SIGTERM of the old one [s]."""
        return self.applied.overlap_s

    @property
    def restarts(self) -> tuple[str, int] | Unknown:
        """Policy, and most restarts of a replica."""
        return self.applied.restarts

    @property
    def heap_cap_mib(self) -> int | Unknown | None:
        """--max-old-space-size that the server gets [MiB]; None where it gets none."""
        if self.server is None:
            return Unknown("the server is not known", self.origin)
        return self.server.heap_cap_mib

    @property
    def swallows_sigterm(self) -> str | Unknown | None:
        """The process above the server that keeps SIGTERM to itself; None where the server gets it."""
        if self.server is None:
            return Unknown("the server is not known", self.origin)
        above = self.server.above
        first = next((name for name in above if name in (*MANAGERS, "npx", "cross-env", "sh")), None)
        return first

    def settings(self) -> list[Setting]:
        """What is in effect, in the order in which it is printed; nothing of it is a secret."""
        server, swallows = self.server, self.swallows_sigterm
        unread = Unknown("not read", self.origin)

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
            *(Setting(*row) for row in self.pool.settings()),
            *self.applied.settings(),
        ]


def effective(declared: Declared, on: dt.date | None = None) -> Effective:
    """Apply the platform's rules.

    Parameters
    ----------
    declared : Declared
        From `capsim.inspect.sources.read`.
    on : date, optional
        From 2026-12-01 on railway.json and railway.toml are not read by the platform, and so not applied.
    """
    found = applied(declared, on)
    start = start_of(declared, found.deploy, found.origin, str(found.build.get("builder", "")).upper())
    origin = start.source if found.origin == RAILWAY and start.command is not None else found.origin
    return Effective(
        declared=declared,
        on=on,
        applied=found,
        origin=origin,
        shell=start.shell,
        command=start.command,
        started=start.steps,
        server=server_of(list(start.steps)),
        pool=declared_pool(declared, any("prisma" in step.told for step in start.steps)),
    )

"""The configuration as the platform applies it: declared values, its defaults, and what reaches the process."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from capsim.telemetry.inspect.applied import RAILWAY, Applied, AppliedSetting, applied
from capsim.telemetry.inspect.declared import Declared
from capsim.telemetry.inspect.pool import DatabasePool, declared_pool
from capsim.telemetry.inspect.start_command import Start, start_of
from capsim.telemetry.inspect.started import Started
from capsim.telemetry.inspect.unknown import Unknown


@dataclass(frozen=True)
class Effective:
    """All that is in effect for one service."""

    declared: Declared
    on: dt.date | None
    applied: Applied
    origin: str  # the file that applies, or what stands in for it
    start: Start
    pool: DatabasePool

    @property
    def server(self) -> Started | None:
        """The command that is the server, where it is known to be a Node program."""
        return self.start.server

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
            return Unknown("the server is not known", self.start.place)
        cap, limit_mib = self.server.heap_cap, self.limit_mib
        if not cap.known:
            return Unknown("an option of the server was not read", self.start.place)
        if cap.percent is None:
            return cap.mib
        if limit_mib is None or isinstance(limit_mib, Unknown):
            why = f"{cap.percent:g} % of the container's memory, whose limit is not known"
            return Unknown(why, self.start.place)
        return int(limit_mib * cap.percent / 100)

    @property
    def sigterm(self) -> bool | Unknown:
        """Whether SIGTERM to process 1 reaches the server."""
        if self.server is None:
            return Unknown("the server is not known", self.start.place)
        if self.server.sigterm is None:
            keeper = self.server.keeps_sigterm or self.server.program
            return Unknown(f"whether {keeper} passes it on is not known", self.start.place)
        return self.server.sigterm

    def settings(self) -> list[AppliedSetting]:
        """What is in effect, in the order in which it is printed; nothing of it is a secret."""
        start, server = self.start, self.server
        unread = Unknown(start.problem or "not read", start.place)
        unclear = Unknown(start.problem or "no Node server that is known", start.place)
        read_by = f"a shell ({start.read_by})" if start.read_by else "no shell (exec form)"
        return [
            AppliedSetting("start: read by", read_by if start.found else unread, start.place),
            AppliedSetting("start: steps", " · ".join(step.told for step in start.started) or unread, start.place),
            AppliedSetting("server", server.told if server else unclear, start.place),
            AppliedSetting("process 1", start.process_1 or unread, start.place),
            AppliedSetting("SIGTERM reaches the server", self.sigterm, "the processes above it"),
            AppliedSetting("heap cap [MiB]", self.heap_cap_mib or "none", "what the server's process gets"),
            *(AppliedSetting(*row) for row in self.pool.settings()),
            *self.applied.settings(),
        ]


def effective(declared: Declared, on: dt.date | None = None) -> Effective:
    """Apply the platform's rules.

    Parameters
    ----------
    declared : Declared
        From `capsim.telemetry.inspect.sources.read`.
    on : date, optional
        From 2026-12-01 on railway.json and railway.toml are not read by the platform, and so not applied.
    """
    found = applied(declared, on)
    start = start_of(declared, found)
    return Effective(
        declared=declared,
        on=on,
        applied=found,
        origin=start.place if found.origin == RAILWAY and start.found else found.origin,
        start=start,
        pool=declared_pool(declared, any(step.program == "prisma" for step in start.started)),
    )

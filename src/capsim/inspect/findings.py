"""What follows from an effective configuration: each with its place and its remedy, most harmful first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from capsim.inspect.effective import CPUS_VISIBLE, OLD_FORMAT_ENDS, Effective
from capsim.inspect.shell import MANAGERS
from capsim.pricing import limits_on
from capsim.specs import DatabaseSpec
from capsim.units import GB, MIB

Harm = Literal["loss", "outage", "bill", "note"]
HARMS: tuple[Harm, ...] = ("loss", "outage", "bill", "note")
FREE_CONNECTIONS = DatabaseSpec().clients_max  # as Postgres comes; a platform that changed it would say so
HANG_MIB = 64.0  # a cap less than this below the limit hangs instead of aborting (capsim.memory.limits)
# What `railway config migrate` (CLI 5.43.1) keeps; everything else of deploy is lost (facts: railway §4)
_MIGRATED = ("startCommand", "healthcheckPath", "healthcheckTimeout", "numReplicas", "multiRegionConfig", "region")


@dataclass(frozen=True)
class Finding:
    """Something that an owner should know before a deploy."""

    kind: str
    harm: Harm
    place: str
    what: str
    remedy: str


def findings(effective: Effective, plan: str = "hobby") -> list[Finding]:
    """All findings of a configuration.

    Parameters
    ----------
    effective : Effective
        From `capsim.inspect.effective.effective`.
    plan : str
        Railway plan whose limit stands in where none is declared; needs ``effective.on``.
    """
    found = [*_process(effective), *_pool(effective), *_memory(effective, plan), *_platform(effective)]
    return sorted(found, key=lambda finding: HARMS.index(finding.harm))


def _process(e: Effective) -> Iterator[Finding]:
    server = e.server
    start = f"{e.origin}: start command"
    if e.command is None:
        yield Finding(
            "start command unknown",
            "note",
            e.origin,
            "no file says how the server is started",
            "give railway.json, railway.ts, a Dockerfile or package.json as well",
        )
    elif server is None:
        yield Finding(
            "server unknown",
            "note",
            start,
            "none of the commands is known to be a Node server",
            "give package.json as well, so that its scripts can be followed",
        )
    if e.command and not e.shell and re.search(r"&&|\|\||;|\$\w|\$\{|^\s*\w+=", e.command):
        yield Finding(
            "no shell reads it",
            "outage",
            start,
            "a Dockerfile deployment runs the command without a shell: operators and variables in it are "
            "plain words to the first program",
            'wrap it: /bin/sh -c "exec ..."',
        )
    caps = [step for step in e.started if step is not server and step.heap_cap_mib]
    if server is not None and server.heap_cap_mib is None and caps:
        yield Finding(
            "heap cap misses the server",
            "outage",
            start,
            f"NODE_OPTIONS caps the heap of {caps[0].told} at {caps[0].heap_cap_mib} MiB; a variable set before "
            f"one command belongs to that command only, so {server.told} starts without a cap",
            "make NODE_OPTIONS a variable of the service, or write it before the server's own command",
        )
    elif server is not None and server.heap_cap_mib is None:
        yield Finding(
            "no heap cap",
            "note",
            start,
            "the server's heap has no cap but Node's own, half of the memory it is told of",
            "set NODE_OPTIONS=--max-old-space-size=... as a variable of the service",
        )
    place = e.declared.variable_places.get("NODE_OPTIONS", "")
    if ".env" in place and "max" in e.declared.variables.get("NODE_OPTIONS", ""):
        yield Finding(
            "NODE_OPTIONS from a file",
            "note",
            place,
            "taken as a variable of the service; a .env that the program itself loads comes too late, since "
            "Node reads NODE_OPTIONS when it starts",
            "set it among the service's variables",
        )
    if server is not None and server.if_failed:
        yield Finding(
            "server starts on failure only",
            "outage",
            start,
            "it stands after ||, so it runs only if the command before it fails",
            "write && instead of ||",
        )
    if e.swallows_sigterm and server is not None:
        managers = [name for name in server.above if name in (*MANAGERS, "npx")]
        what = f"a package manager ({managers[0]})" if managers else f"a shell or wrapper ({e.swallows_sigterm})"
        yield Finding(
            "SIGTERM swallowed",
            "loss",
            start,
            f"{what} stands above {server.told} and keeps SIGTERM to itself: the writers' shutdown "
            "never runs, and every deploy loses what is buffered and in flight",
            f"end the start command with: exec {server.told}",
        )
    if e.draining_s == 0:
        yield Finding(
            "draining 0 s",
            "loss",
            e.origin,
            "SIGKILL follows SIGTERM at once (Railway's default), so no shutdown has time to write what is buffered",
            "set drainingSeconds to 3 or more, longer than the longest flush",
        )


def _pool(e: Effective) -> Iterator[Finding]:
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
    opened = e.pool_limit * e.replicas
    if opened > FREE_CONNECTIONS:
        yield Finding(
            "more connections than Postgres lets in",
            "outage",
            place,
            f"{e.replicas} replicas x {e.pool_limit} = {opened} connections; Postgres lets {FREE_CONNECTIONS} in "
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


def _memory(e: Effective, plan: str) -> Iterator[Finding]:
    limit_mib, of = e.limit_mib, "limitOverride"
    if limit_mib is None and e.on is not None and (limits := limits_on(plan, e.on)):
        limit_mib, of = float(limits.ram_gb) * GB / MIB, f"plan {plan}"
    cap = e.heap_cap_mib
    if cap is None or limit_mib is None:
        return
    if cap >= limit_mib:
        yield Finding(
            "heap cap at or above the limit",
            "outage",
            e.origin,
            f"a heap of {cap} MiB does not fit into the container's {limit_mib:.0f} MiB ({of}): the platform kills "
            "it (137) before V8 collects in earnest",
            f"cap the heap at {int(limit_mib - HANG_MIB)} MiB or less",
        )
    elif limit_mib - cap < HANG_MIB:
        yield Finding(
            "heap cap just below the limit",
            "outage",
            e.origin,
            f"{cap} MiB leave {limit_mib - cap:.0f} MiB of the container's {limit_mib:.0f} ({of}): a leak hangs the "
            "server instead of ending it",
            f"cap the heap at {int(limit_mib - HANG_MIB)} MiB or less",
        )


def _platform(e: Effective) -> Iterator[Finding]:
    d = e.declared
    if d.old_file:
        lost = sorted(key for key in d.old["deploy"] if key not in _MIGRATED)
        ended = e.on is not None and e.on >= OLD_FORMAT_ENDS
        yield Finding(
            "format ends on 2026-12-01",
            "outage",
            d.old_file,
            (
                "is no longer read on the date given, so nothing of it applies"
                if ended
                else "is not read by Railway from 2026-12-01 on"
            )
            + (f"; `railway config migrate` loses {', '.join(lost)}" if lost else ""),
            "declare the service in .railway/railway.ts, and compare field by field",
        )
    if e.deploy.get("healthcheckPath"):
        yield Finding(
            "health check at deploy only",
            "note",
            e.origin,
            "Railway asks for it until a deployment is active "
            "and never afterwards: a server that hangs is not restarted",
            "watch it from outside",
        )
    elif e.origin != "Railway's default":
        yield Finding(
            "no health check",
            "loss",
            e.origin,
            "a new deployment takes the traffic as soon as its container starts, migrations included",
            "set healthcheckPath to a path that answers when the server can write",
        )
    policy, most = e.restarts
    if policy == "NEVER":
        yield Finding(
            "never restarted",
            "outage",
            e.origin,
            "one crash and the server stays down",
            "set restartPolicyType to ON_FAILURE",
        )
    elif policy == "ON_FAILURE":
        yield Finding(
            "restarts run out",
            "note",
            e.origin,
            f"after {most} restarts the deployment stays down",
            "alert on restarts; a crash that comes back uses them up",
        )
    if e.deploy.get("sleepApplication"):
        yield Finding(
            "will not sleep",
            "bill",
            e.origin,
            "a service with a database pool or a Redis connection keeps "
            "sending, so it never sleeps and is charged all the time",
            "do not count on serverless savings",
        )
    for note in d.notes:
        place, _, what = note.rpartition(": ")
        yield Finding("not read", "note", place, what, "write a plain value, or set the knob in the scenario")

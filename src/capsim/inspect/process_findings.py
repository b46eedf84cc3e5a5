"""What follows for the server's process: how it is started, what it gets, and whether SIGTERM reaches it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from capsim.inspect.effective import Effective
from capsim.inspect.finding import Finding
from capsim.inspect.shell import MANAGERS


def process_findings(e: Effective) -> Iterator[Finding]:
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
    place = e.declared.variable_places.get("NODE_OPTIONS", "")
    if ".env" in place and "max" in (e.declared.variable("NODE_OPTIONS") or ""):
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
    if server is not None and isinstance(e.swallows_sigterm, str):
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

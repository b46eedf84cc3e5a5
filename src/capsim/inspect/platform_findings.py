"""What follows from the platform's own rules: formats, health checks, restarts, and what was not read."""

from __future__ import annotations

from collections.abc import Iterator

from capsim.inspect.effective import OLD_FORMAT_ENDS, Effective
from capsim.inspect.finding import Finding

# What `railway config migrate` (CLI 5.43.1) keeps; everything else of deploy is lost (facts: railway §4)
_MIGRATED = ("startCommand", "healthcheckPath", "healthcheckTimeout", "numReplicas", "multiRegionConfig", "region")


def platform_findings(e: Effective) -> Iterator[Finding]:
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

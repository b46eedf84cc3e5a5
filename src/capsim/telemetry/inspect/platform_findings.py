"""What follows from the platform's own rules: formats, health checks, restarts, schedules."""

from __future__ import annotations

from collections.abc import Iterator

from capsim.telemetry.inspect.applied import OLD_FORMAT_ENDS, RAILWAY
from capsim.telemetry.inspect.effective import Effective
from capsim.telemetry.inspect.finding import ConfigFinding
from capsim.telemetry.inspect.unknown import Unknown

# What `railway config migrate` (CLI 5.43.1) keeps; everything else of deploy is lost (facts: railway §4)
_MIGRATED = ("startCommand", "healthcheckPath", "healthcheckTimeout", "numReplicas", "multiRegionConfig", "region")


def platform_findings(e: Effective) -> Iterator[ConfigFinding]:
    """All of them; a job has no health check, and is not started again."""
    yield from _format(e)
    yield from _environments(e)
    if e.applied.job:
        yield ConfigFinding(
            "a job, not a server",
            "note",
            e.applied.place("cronSchedule"),
            "it runs by its schedule and ends: health check, restarts and draining are not judged",
            "--write makes no scenario of it",
        )
        return
    yield from _health(e)
    yield from _restarts(e)
    if e.applied.deploy.get("sleepApplication") is True:
        yield ConfigFinding(
            "will not sleep",
            "bill",
            e.origin,
            "a service with a database pool or a Redis connection keeps "
            "sending, so it never sleeps and is charged all the time",
            "do not count on serverless savings",
        )


def _format(e: Effective) -> Iterator[ConfigFinding]:
    d = e.declared
    if d.old is None or d.old_file is None:
        return
    if d.new_file:
        yield ConfigFinding(
            "rest of a former time",
            "note",
            d.old_file,
            f"nothing of it is taken here, since {d.new_file} declares the service; Railway reads it no longer from "
            "2026-12-01 on, and `railway config plan` stops as long as it manages the service",
            "compare field by field, then delete it",
        )
        return
    lost = sorted(key for key in d.old.deploy if key not in _MIGRATED)
    ended = e.on is not None and e.on >= OLD_FORMAT_ENDS
    yield ConfigFinding(
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


def _environments(e: Effective) -> Iterator[ConfigFinding]:
    d = e.declared
    blocks = d.old.environments if d.old is not None and e.applied.origin == d.old_file else ()
    asked = d.environment is not None and d.old is not None and e.applied.origin == d.old_file
    if not (blocks or asked) or d.environment in blocks:
        return
    told = ", ".join(blocks) or "none"
    what = (
        f"{told}: what these blocks set is not known without the name of an environment"
        if d.environment is None
        else f"has no block for {d.environment} (has {told}), so the file's own tables apply"
    )
    yield ConfigFinding("environments", "note", f"{d.old_file}: environments", what, "choose one by --environment NAME")


def _health(e: Effective) -> Iterator[ConfigFinding]:
    path = e.applied.deploy.get("healthcheckPath")
    if isinstance(path, Unknown):
        return
    if path:
        yield ConfigFinding(
            "health check at deploy only",
            "note",
            e.origin,
            "Railway asks for it until a deployment is active "
            "and never afterwards: a server that hangs is not restarted",
            "watch it from outside",
        )
    elif e.applied.origin != RAILWAY:
        yield ConfigFinding(
            "no health check",
            "loss",
            e.origin,
            "a new deployment takes the traffic as soon as its container starts, migrations included",
            "set healthcheckPath to a path that answers when the server can write",
        )


def _restarts(e: Effective) -> Iterator[ConfigFinding]:
    restarts = e.applied.restarts
    if isinstance(restarts, Unknown):
        return
    policy, most = restarts
    if policy == "NEVER":
        yield ConfigFinding(
            "never restarted",
            "outage",
            e.origin,
            "one crash and the server stays down",
            "set restartPolicyType to ON_FAILURE",
        )
    elif policy == "ON_FAILURE":
        yield ConfigFinding(
            "restarts run out",
            "note",
            e.origin,
            f"after {most} restarts the deployment stays down",
            "alert on restarts; a crash that comes back uses them up",
        )
    if e.applied.draining_s == 0:
        yield ConfigFinding(
            "draining 0 s",
            "loss",
            e.origin,
            "SIGKILL follows SIGTERM at once (Railway's default), so no shutdown has time to write what is buffered",
            "set drainingSeconds to 3 and the longest flush; more saves nothing: the writers wait 3 s for a batch that "
            "is out, then the process exits",
        )

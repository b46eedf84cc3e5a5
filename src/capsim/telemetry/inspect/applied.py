"""Which file's tables apply, with each value as the platform would take it, or Unknown."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from capsim.base.units import GB, MIB
from capsim.telemetry.inspect.declared import Declared
from capsim.telemetry.inspect.unknown import Unknown

OLD_FORMAT_ENDS = dt.date(2026, 12, 1)  # railway.json and .toml are not read from here on (facts: railway §4)
_WHOLE = ("numReplicas", "restartPolicyMaxRetries", "drainingSeconds", "overlapSeconds", "healthcheckTimeout")
_LARGEST_WHOLE = 10**6
_POLICIES = ("ON_FAILURE", "ALWAYS", "NEVER")
_TEXTS = ("healthcheckPath", "cronSchedule")
RAILWAY = "Railway's default"
MOST_RESTARTS = 1_000  # the most that a scenario can say


@dataclass(frozen=True)
class AppliedSetting:
    """One value that applies, and where it comes from."""

    name: str
    value: str | int | float | bool | Unknown
    origin: str


@dataclass(frozen=True)
class Applied:
    """The tables ``build`` and ``deploy`` that apply; ``null`` counts as not set."""

    build: Mapping[str, Any]
    deploy: Mapping[str, Any]
    origin: str  # the file, or what stands in for it
    variables: Mapping[str, str | Unknown]
    places: Mapping[str, str]  # of the variables

    def place(self, key: str) -> str:
        """Where a value of ``deploy`` comes from."""
        return f"{self.origin}: deploy.{key}" if key in self.deploy else RAILWAY

    @property
    def job(self) -> bool:
        """Whether the service runs by a schedule and ends, rather than serving."""
        return isinstance(self.deploy.get("cronSchedule"), str)

    @property
    def limit_mib(self) -> float | Unknown | None:
        """Memory limit of the container that is declared [MiB]."""
        value = self._limit("memoryBytes")
        return value / MIB if isinstance(value, int | float) else value

    @property
    def cpu(self) -> float | Unknown | None:
        """CPU limit of the container that is declared [vCPU]."""
        return self._limit("cpu")

    def _limit(self, key: str) -> float | Unknown | None:
        limits = self.deploy.get("limitOverride", {})
        return limits if isinstance(limits, Unknown) else limits.get(key)

    @property
    def replicas(self) -> int | Unknown:
        """Processes that share the load."""
        regions = self.deploy.get("multiRegionConfig")
        if isinstance(regions, Unknown):
            return regions
        if regions:
            counts = list(regions.values())
            unread = next((count for count in counts if isinstance(count, Unknown)), None)
            return unread or max(1, sum(counts))
        value = self.deploy.get("numReplicas", 1)
        return value if isinstance(value, Unknown) else max(1, value)

    @property
    def draining_s(self) -> int | Unknown:
        """From SIGTERM to SIGKILL [s]; the file wins over the variable."""
        return self._seconds("drainingSeconds", "RAILWAY_DEPLOYMENT_DRAINING_SECONDS")[0]

    @property
    def overlap_s(self) -> int | Unknown:
        """From the new deployment being active to SIGTERM of the old one [s]."""
        return self._seconds("overlapSeconds", "RAILWAY_DEPLOYMENT_OVERLAP_SECONDS")[0]

    def _seconds(self, key: str, variable: str) -> tuple[int | Unknown, str]:
        if key in self.deploy or variable not in self.variables:
            return self.deploy.get(key, 0), self.place(key)
        value, place = self.variables[variable], self.places[variable]
        return (value if isinstance(value, Unknown) else whole(value, place)), place

    @property
    def restarts(self) -> tuple[str, int] | Unknown:
        """Policy, and most restarts of a replica."""
        policy = self.deploy.get("restartPolicyType", "ON_FAILURE")
        most = {"NEVER": 0, "ALWAYS": MOST_RESTARTS}.get(policy, self.deploy.get("restartPolicyMaxRetries", 10))
        if isinstance(policy, Unknown) or isinstance(most, Unknown):
            return policy if isinstance(policy, Unknown) else most
        return policy, most

    def settings(self) -> list[AppliedSetting]:
        """What applies besides the start and the pool."""
        limit, restarts, path = self.limit_mib, self.restarts, self.deploy.get("healthcheckPath")
        regions = "multiRegionConfig" if self.deploy.get("multiRegionConfig") else "numReplicas"
        policy, most = (restarts, restarts) if isinstance(restarts, Unknown) else restarts
        found = [
            AppliedSetting(
                "memory limit [GB]",
                limit if isinstance(limit, Unknown) else round(limit * MIB / GB, 3) if limit else "of the plan",
                self.place("limitOverride"),
            ),
            AppliedSetting("CPU limit [vCPU]", self.cpu or "of the plan", self.place("limitOverride")),
            AppliedSetting("replicas", self.replicas, self.place(regions)),
            AppliedSetting(
                "health check",
                path if isinstance(path, Unknown) else "at deploy only" if path else "none",
                self.place("healthcheckPath"),
            ),
            AppliedSetting("restart", policy, self.place("restartPolicyType")),
            AppliedSetting(
                "restarts at most", "no end" if policy == "ALWAYS" else most, self.place("restartPolicyMaxRetries")
            ),
            AppliedSetting("draining [s]", *self._seconds("drainingSeconds", "RAILWAY_DEPLOYMENT_DRAINING_SECONDS")),
            AppliedSetting("overlap [s]", *self._seconds("overlapSeconds", "RAILWAY_DEPLOYMENT_OVERLAP_SECONDS")),
        ]
        return (
            [AppliedSetting("runs", "as a job, by its schedule", self.place("cronSchedule")), *found]
            if self.job
            else found
        )


def applied(declared: Declared, on: dt.date | None) -> Applied:
    """railway.ts alone where there is one; else railway.json or .toml, up to the day on which that format ends."""
    if declared.new_file:
        build, deploy, origin = declared.new["build"], declared.new["deploy"], declared.new_file
        if declared.new["image"]:
            build = {**build, "builder": "IMAGE"}
    elif declared.old is not None and declared.old_file is not None and not (on and on >= OLD_FORMAT_ENDS):
        build, deploy, origin = declared.old.build, declared.old.deploy, declared.old_file
    else:
        build, deploy, origin = {}, {}, RAILWAY
    return Applied(
        {key: value for key, value in build.items() if value is not None},
        {key: _taken(key, value, f"{origin}: deploy.{key}") for key, value in deploy.items() if value is not None},
        origin,
        declared.variables,
        declared.variable_places,
    )


def _taken(key: str, value: Any, place: str) -> Any:
    if isinstance(value, Unknown):
        return value
    if key in _WHOLE:
        return whole(value, place)
    if key == "restartPolicyType":
        policy = str(value).upper()
        return policy if policy in _POLICIES else Unknown(f"it is none of {', '.join(_POLICIES)}", place)
    if key == "limitOverride":
        return _limits(value, place)
    if key == "multiRegionConfig":
        return _replicas(value, place)
    if key in _TEXTS and not isinstance(value, str):
        return Unknown("it is no text", place)
    return value


def whole(value: Any, place: str) -> int | Unknown:
    """A whole number; Railway's own examples write some as text.

    Examples
    --------
    >>> whole("30", "railway.json: deploy.drainingSeconds"), str(whole("${{shared.DRAIN}}", ".env:1"))
    (30, 'unknown: a reference to another variable is not followed')
    """
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and "${{" in value:
        return Unknown("a reference to another variable is not followed", place)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST_WHOLE:
        return Unknown("it is no whole number of 0 or more", place)
    return value


def _limits(value: Any, place: str) -> Any:
    """{"cpu", "memoryBytes"} of limitOverride, each where it is set."""
    containers = value.get("containers") if isinstance(value, Mapping) else value
    if containers is None:
        return {}
    if isinstance(containers, Unknown):
        return {"cpu": containers, "memoryBytes": containers}
    if not isinstance(containers, Mapping):
        return Unknown("it holds no containers: { memoryBytes, cpu }", place)
    found: dict[str, Any] = {}
    for key, most in (("cpu", 1e4), ("memoryBytes", 1e15)):
        limit = containers.get(key)
        if limit is None:
            continue
        number = isinstance(limit, int | float) and not isinstance(limit, bool) and math.isfinite(limit)
        if not isinstance(limit, Unknown) and not (number and 0 < limit < most):
            limit = Unknown("it is no number above 0", f"{place}.containers.{key}")
        found[key] = limit
    return found


def _replicas(value: Any, place: str) -> Any:
    """Replicas by region; null takes a region away, and one that says no number has one."""
    if not isinstance(value, Mapping):
        return Unknown("it is no table of regions", place)
    found: dict[str, int | Unknown] = {}
    for region, settings in value.items():
        if settings is None:
            continue
        if isinstance(settings, Unknown):
            found[region] = settings
            continue
        count = settings.get("numReplicas") if isinstance(settings, Mapping) else settings
        found[region] = 1 if count is None else count if isinstance(count, Unknown) else whole(count, place)
    return found

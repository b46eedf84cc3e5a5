"""The scenario of a configuration, as `capsim inspect --write` writes it: each value with where it comes from.

What no file says (load, mix, reads, writers, database) stays that of the example `BASE`, and is marked as such. What
was not read is never written as if it had been: the comment says so, and which bad case stands in for it.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any

from capsim.base.units import LONGEST_S, MIB
from capsim.scenario.file import dumps, load
from capsim.scenario.scenario import Scenario
from capsim.telemetry.inspect.effective import Effective
from capsim.telemetry.inspect.node_version import MODELLED, node_version
from capsim.telemetry.inspect.pool import CPUS_VISIBLE, PoolNumber
from capsim.telemetry.inspect.unknown import Unknown

BASE = "after-as-deployed"  # what no such file says (load, writers, database, prices) is this scenario's
_LEVELS = {"trace": "debug", "debug": "debug", "verbose": "debug", "http": "info", "info": "info", "warn": "warn",
           "warning": "warn", "error": "error", "fatal": "error"}  # fmt: skip
_MOST_SEMI_SPACE_MIB = 1_024  # capsim.scenario.server.NodeSpec
_EXAMPLE = f'of the example "{BASE}"'
_SECTIONS = {  # what of a section no configuration says
    "workload": "load and reads (queries_hz): {}; give your own with --trace, or from a log",
    "workload.mix": "{}",
    "server.http": "CPU of a request: {}, assumed",
    "server.writers.events": "{}; your program's code decides it",
    "server.cleanup": "{}; your program's code decides it",
    "server.queries": "{}; your program's code decides it",
    "database": "{}; as Railway's template starts it",
    "redis": "{}",
    "stress": "what a stress test does: {}",
}


@dataclass(frozen=True)
class Written:
    """One key of the scenario: its value, and in words where it comes from."""

    key: str
    value: Any
    why: str


def written(effective: Effective, on: dt.date, plan: str, name: str) -> tuple[Scenario, str]:
    """The scenario of a configuration, and its file with comments.

    Raises
    ------
    ScenarioError
        If a value is one that no server can have.
    """
    base = load(BASE)
    keys = [*_node(effective, base), *_container(effective), *_pool(effective), *_process(effective, base)]
    keys += _logger(effective)
    keys += [
        Written("billing.plan", plan, "as --plan says"),
        Written("billing.from", on, "as --on says"),
    ]
    scenario = base.replace("name", name).replace("title", "As the platform applies the configuration that was read")
    for key in keys:
        scenario = scenario.replace(key.key, key.value)
    return scenario, _commented(dumps(scenario), {key.key: key.why for key in keys})


def _bad(value: Unknown, case: str) -> str:
    return f"unknown ({value.place}: {value.why}); the bad case is taken: {case}"


def _node(e: Effective, base: Scenario) -> list[Written]:
    cap, place = e.heap_cap_mib, "what the server's process gets"
    if isinstance(cap, Unknown):
        keys = [Written("server.node.heap_cap_mib", "none", _bad(cap, "no cap"))]
    else:
        keys = [Written("server.node.heap_cap_mib", cap or "none", place if cap else f"{place}: none")]
    semi = e.server.semi_space_mib if e.server else None
    if semi is not None and 1 <= semi <= _MOST_SEMI_SPACE_MIB:
        keys.append(Written("server.node.semi_space_mib", semi, f"{place}: --max-semi-space-size"))
    version, where = node_version(e.declared, e.start)
    if isinstance(version, Unknown):
        own = base.server.node.version
        keys.append(Written("server.node.version", own, f"unknown ({version.place}: {version.why}); {_EXAMPLE}"))
    else:
        near = version if version in MODELLED else MODELLED[version > MODELLED[0]]
        why = where if near == version else f"{where} says {version}; only {MODELLED[0]} and {MODELLED[1]} are modelled"
        keys.append(Written("server.node.version", near, why))
    return keys


def _container(e: Effective) -> list[Written]:
    keys = []
    for key, name, value in (
        ("memory_limit_mib", "memoryBytes", e.limit_mib),
        ("cpu", "cpu", e.applied.cpu),
    ):
        if isinstance(value, Unknown):
            keys.append(Written(f"server.container.{key}", "plan", _bad(value, "what the plan allows")))
        elif value is None:
            keys.append(Written(f"server.container.{key}", "plan", "no limitOverride of it: what the plan allows"))
        else:
            said = f" = {round(value * MIB):,}" if key == "memory_limit_mib" else ""
            number = int(value) if key == "memory_limit_mib" else float(value)
            why = f"{e.applied.place('limitOverride')}.{name}{said}"
            keys.append(Written(f"server.container.{key}", number, why))
    return keys


def _pool(e: Effective) -> list[Written]:
    pool = e.pool

    def seconds(key: str, value: PoolNumber, bad_s: float, bad: str) -> Written:
        if isinstance(value.number, Unknown):
            return Written(key, bad_s, _bad(value.number, bad))
        if value.number is None:
            why = f"none, a call waits without an end ({value.origin}); a year stands for it"
            return Written(key, float(LONGEST_S), why)
        return Written(key, float(min(value.number, LONGEST_S)), value.origin)

    if not pool.postgres:
        why = f"no Postgres was seen; {_EXAMPLE}"
        own = load(BASE).server.pool
        names = ("limit", "pool_timeout_s", "connect_timeout_s")
        return [Written(f"server.pool.{name}", getattr(own, name), why) for name in names]
    limit = pool.limit.number
    if isinstance(limit, Unknown):
        case = f"Prisma's own default up to 6, {2 * CPUS_VISIBLE + 1}"
        keys = [Written("server.pool.limit", "default", _bad(limit, case))]
    elif limit == 2 * CPUS_VISIBLE + 1 and "default" in pool.limit.origin:
        keys = [Written("server.pool.limit", "default", pool.limit.origin)]
    else:
        keys = [Written("server.pool.limit", limit, pool.limit.origin)]
    keys.append(seconds("server.pool.pool_timeout_s", pool.acquire, 10.0, "Prisma's own default up to 6, 10 s"))
    keys.append(seconds("server.pool.connect_timeout_s", pool.connect, 5.0, "Prisma's own default up to 6, 5 s"))
    return keys


def _process(e: Effective, base: Scenario) -> list[Written]:
    migrates = any("prisma migrate" in step.told or "prisma db push" in step.told for step in e.start.started)
    sigterm = e.sigterm
    why = f"the start command migrates; how long is {_EXAMPLE}" if migrates else "the start command migrates nothing"
    if not e.start.started:
        why = _bad(Unknown("the start command was not read", e.start.place), f"it migrates, as long as that {_EXAMPLE}")
    own_s = base.server.process.migration_s if migrates or not e.start.started else 0.0
    keys = [Written("server.process.migration_s", own_s, why)]
    if isinstance(sigterm, Unknown):
        keys.append(Written("server.process.handles_sigterm", False, _bad(sigterm, "SIGTERM does not reach it")))
    else:
        keeper = e.server.keeps_sigterm if e.server else None
        why = "SIGTERM reaches the server" if sigterm else f"{keeper} stands above the server"
        why += "; what it does then is not read"
        keys.append(Written("server.process.handles_sigterm", sigterm, why))

    restarts = e.restarts
    origins = {setting.name: setting.origin for setting in e.applied.settings()}
    numbers: tuple[tuple[str, int | Unknown, int, str], ...] = (
        ("draining_s", e.draining_s, 0, "draining [s]"),
        ("overlap_s", e.overlap_s, 0, "overlap [s]"),
        ("restarts_max", restarts if isinstance(restarts, Unknown) else restarts[1], 0, "restarts at most"),
        ("replicas", e.replicas, 1, "replicas"),
    )
    for key, value, bad, name in numbers:
        if isinstance(value, Unknown):
            keys.append(Written(f"server.process.{key}", bad, _bad(value, str(bad))))
        else:
            keys.append(Written(f"server.process.{key}", value, origins[name]))
    return keys


def _logger(e: Effective) -> list[Written]:
    text: object = e.declared.variables.get("LOG_LEVEL")
    place = e.declared.variable_places.get("LOG_LEVEL", "LOG_LEVEL")
    if text is None and e.start.stage is not None:
        text, place = e.start.stage.env.get("LOG_LEVEL"), "the image's ENV"
    if isinstance(text, str) and (level := _LEVELS.get(text.strip().lower())):
        return [Written("server.logger.level", level, place)]
    if text is not None:
        why = f"unknown ({place} is none of the levels); the bad case is taken"
        return [Written("server.logger.level", "debug", why)]
    return []


def _commented(text: str, whys: dict[str, str]) -> str:
    """The file with a comment behind each key that was read, and above each section that was not."""
    lines = [
        "# Written by `capsim inspect --write`. A comment behind a key says where its value comes from.",
        f"# Keys without one are those {_EXAMPLE}: no configuration says them. Check the load first.",
        "",
    ]
    section = ""
    for line in text.splitlines():
        if found := re.fullmatch(r"\[\[?([\w.]+)\]\]?", line):
            section = found[1]
            if section in _SECTIONS:
                lines.append("# " + _SECTIONS[section].format(_EXAMPLE))
        key = re.match(r"(\w+) = ", line)
        why = whys.get(f"{section}.{key[1]}") if key else None
        lines.append(f"{line}  # {_one_line(why)}" if why else line)
    return "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)[:300]

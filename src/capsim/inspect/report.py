"""What `capsim inspect` hands over: one versioned document, the same on the screen, and a scenario."""

from __future__ import annotations

import datetime as dt
import json
import textwrap
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from capsim.inspect.effective import Effective
from capsim.inspect.findings import Harm, findings
from capsim.scenario import load
from capsim.specs import Scenario
from capsim.units import LONGEST_S

BASE = "after-as-deployed"  # what no such file says (load, writers, database, prices) is this scenario's


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SettingRow(_Part):
    """A value in effect."""

    name: str
    value: str | int | float | bool
    origin: str = Field(description="file and key, or whose default it is")


class FindingRow(_Part):
    """A finding."""

    kind: str
    harm: Harm = Field(description="loss: items are lost; outage: the server fails; bill: it costs more; note")
    place: str
    what: str
    remedy: str


class Inspection(_Part):
    """The configuration as the platform applies it, and what follows from it; without any secret."""

    schema_version: Literal[1] = 1
    kind: Literal["inspection"] = "inspection"
    on: dt.date | None = Field(description="the date whose rules were applied; null: none that begins later")
    settings: tuple[SettingRow, ...]
    findings: tuple[FindingRow, ...]


def inspection(effective: Effective, plan: str = "hobby") -> Inspection:
    """The document of a configuration."""
    return Inspection(
        on=effective.on,
        settings=tuple(SettingRow(**vars(setting)) for setting in effective.settings()),
        findings=tuple(FindingRow(**vars(finding)) for finding in findings(effective, plan)),
    )


def schema_text() -> str:
    """The JSON Schema of the document, as data/schema/inspection.schema.json keeps it."""
    return json.dumps(Inspection.model_json_schema(mode="serialization"), indent=2, ensure_ascii=False) + "\n"


def screen(document: Inspection, width: int = 100) -> str:
    """The document for people."""
    from tabulate import tabulate

    def shown(value: object) -> object:
        return ("no", "yes")[value] if isinstance(value, bool) else value

    rows = [(s.name, shown(s.value), s.origin) for s in document.settings]
    table = tabulate(rows, headers=("setting", "in effect", "from"), disable_numparse=True)
    lines = ["As the platform applies it", "", table, "", f"{len(document.findings)} findings", ""]
    for finding in document.findings:
        lines += textwrap.wrap(f"[{finding.harm}] {finding.kind} ({finding.place})", width)
        lines += textwrap.wrap(f"{finding.what}.", width, initial_indent="    ", subsequent_indent="    ")
        lines += textwrap.wrap(f"Remedy: {finding.remedy}.", width, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines) + "\n"


def scenario_of(effective: Effective, on: dt.date, plan: str, name: str) -> Scenario:
    """The scenario of a configuration: the knobs that it sets, and `BASE` for all else.

    Raises
    ------
    ScenarioError
        If a value is one that no server can have.
    """
    url = effective.url
    migrates = any("prisma migrate" in step.told for step in effective.started)
    base = load(BASE)
    knobs = {
        "name": name,
        "title": "As the platform applies the configuration that was read",
        "server.node.heap_cap_mib": effective.heap_cap_mib or "none",
        "server.pool.limit": (url.connection_limit if url else None) or "default",
        "server.pool.pool_timeout_s": _timeout_s(url.pool_timeout_s if url else None, 10),
        "server.pool.connect_timeout_s": _timeout_s(url.connect_timeout_s if url else None, 5),
        "server.process.migration_s": base.server.process.migration_s if migrates else 0.0,
        "server.process.handles_sigterm": effective.server is not None and effective.swallows_sigterm is None,
        "server.process.draining_s": effective.draining_s,
        "server.process.overlap_s": effective.overlap_s,
        "server.process.restarts_max": min(effective.restarts[1], 1_000),
        "server.process.replicas": effective.replicas,
        "billing.plan": plan,
        "billing.from": on,
    }
    for knob, value in knobs.items():
        base = base.replace(knob, value)
    return base


def _timeout_s(given: int | None, default: int) -> float:
    return float(default) if given is None else float(min(given or LONGEST_S, LONGEST_S))  # 0 waits for ever

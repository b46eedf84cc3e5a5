"""What `capsim inspect` shows: the findings in one order, one versioned document, and the same on the screen."""

from __future__ import annotations

import datetime as dt
import textwrap
from typing import Literal

from pydantic import Field

from capsim.base.document import DocumentModel, Row
from capsim.telemetry.inspect.applied import AppliedSetting
from capsim.telemetry.inspect.effective import Effective
from capsim.telemetry.inspect.finding import HARMS, ConfigFinding, Harm
from capsim.telemetry.inspect.memory_findings import memory_findings
from capsim.telemetry.inspect.platform_findings import platform_findings
from capsim.telemetry.inspect.pool_findings import pool_findings
from capsim.telemetry.inspect.process_findings import process_findings
from capsim.telemetry.inspect.unknown import Unknown
from capsim.telemetry.inspect.unread_findings import unread_findings


def findings(effective: Effective, plan: str = "hobby") -> list[ConfigFinding]:
    """All findings of a configuration.

    Parameters
    ----------
    effective : Effective
        From `capsim.telemetry.inspect.effective.effective`.
    plan : str
        Railway plan whose limit stands in where none is declared; needs ``effective.on``.
    """
    found = [
        *process_findings(effective),
        *pool_findings(effective),
        *memory_findings(effective, plan),
        *platform_findings(effective),
        *unread_findings(effective),
    ]
    return sorted(found, key=lambda finding: HARMS.index(finding.harm))


class SettingRow(Row):
    """A value that applies."""

    name: str
    value: str | int | float | bool | None = Field(description="null: unknown, since it was not read")
    unknown: str | None = Field(description="why it is unknown; null: it is known")
    origin: str = Field(description="file and key, or whose default it is")


class FindingRow(Row):
    """A finding."""

    kind: str
    harm: Harm = Field(description="loss: items are lost; outage: the server fails; bill: it costs more; note")
    place: str
    what: str
    remedy: str


class Inspection(DocumentModel):
    """The configuration as the platform applies it, and what follows from it; without any secret."""

    schema_version: Literal[2] = 2
    kind: Literal["inspection"] = "inspection"
    on: dt.date | None = Field(description="the date whose rules were applied; null: none that begins later")
    takes_effect: Literal["deploy", "apply"] = Field(
        description="deploy: with the next deployment; apply: when `railway config apply` is run (railway.ts)"
    )
    settings: tuple[SettingRow, ...]
    findings: tuple[FindingRow, ...]


def _row(setting: AppliedSetting) -> SettingRow:
    value = setting.value
    if isinstance(value, Unknown):
        return SettingRow(name=setting.name, value=None, unknown=value.why, origin=value.place)
    return SettingRow(name=setting.name, value=value, unknown=None, origin=setting.origin)


def inspection(effective: Effective, plan: str = "hobby") -> Inspection:
    """The document of a configuration."""
    return Inspection(
        on=effective.on,
        takes_effect="apply" if effective.declared.new_file else "deploy",
        settings=tuple(_row(setting) for setting in effective.settings()),
        findings=tuple(FindingRow(**vars(finding)) for finding in findings(effective, plan)),
    )


schema_text = Inspection.schema_text


def screen(document: Inspection, width: int = 100) -> str:
    """The document for people."""
    from tabulate import tabulate

    def shown(row: SettingRow) -> object:
        if row.value is None:
            return "unknown"
        return ("no", "yes")[row.value] if isinstance(row.value, bool) else row.value

    rows = [(s.name, shown(s), f"{s.origin}: {s.unknown}" if s.unknown else s.origin) for s in document.settings]
    applies = document.takes_effect == "apply"
    first = "As Railway takes it when `railway config apply` is run" if applies else "As the platform applies it"
    table = tabulate(rows, headers=("setting", "declared" if applies else "in effect", "from"), disable_numparse=True)
    lines = [first, "", table, "", f"{len(document.findings)} findings", ""]
    for finding in document.findings:
        lines += textwrap.wrap(f"[{finding.harm}] {finding.kind} ({finding.place})", width)
        lines += textwrap.wrap(f"{finding.what}.", width, initial_indent="    ", subsequent_indent="    ")
        lines += textwrap.wrap(f"Remedy: {finding.remedy}.", width, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines) + "\n"

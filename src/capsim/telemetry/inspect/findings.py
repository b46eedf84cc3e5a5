"""What follows from an effective configuration, most harmful first."""

from __future__ import annotations

from capsim.telemetry.inspect.effective import Effective
from capsim.telemetry.inspect.finding import HARMS, ConfigFinding
from capsim.telemetry.inspect.memory_findings import memory_findings
from capsim.telemetry.inspect.platform_findings import platform_findings
from capsim.telemetry.inspect.pool_findings import pool_findings
from capsim.telemetry.inspect.process_findings import process_findings
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

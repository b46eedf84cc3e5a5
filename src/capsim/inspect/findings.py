"""What follows from an effective configuration, most harmful first."""

from __future__ import annotations

from capsim.inspect.effective import Effective
from capsim.inspect.finding import HARMS, Finding
from capsim.inspect.memory_findings import memory_findings
from capsim.inspect.platform_findings import platform_findings
from capsim.inspect.pool_findings import pool_findings
from capsim.inspect.process_findings import process_findings
from capsim.inspect.unread_findings import unread_findings


def findings(effective: Effective, plan: str = "hobby") -> list[Finding]:
    """All findings of a configuration.

    Parameters
    ----------
    effective : Effective
        From `capsim.inspect.effective.effective`.
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

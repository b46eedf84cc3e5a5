"""Reads the configuration of a service as its platform applies it, and says what follows from it."""

from __future__ import annotations

from capsim.telemetry.inspect.declared import Declared
from capsim.telemetry.inspect.effective import Effective, effective
from capsim.telemetry.inspect.finding import ConfigFinding
from capsim.telemetry.inspect.report import findings
from capsim.telemetry.inspect.sources import read
from capsim.telemetry.inspect.unknown import Unknown

__all__ = ["ConfigFinding", "Declared", "Effective", "Unknown", "effective", "findings", "read"]

"""Reads the configuration of a service as its platform applies it, and says what follows from it."""

from __future__ import annotations

from capsim.inspect.effective import Effective, effective
from capsim.inspect.findings import Finding, findings
from capsim.inspect.sources import Declared, read

__all__ = ["Declared", "Effective", "Finding", "effective", "findings", "read"]

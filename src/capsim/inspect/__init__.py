"""Reads the configuration of a service as its platform applies it, and says what follows from it."""

from __future__ import annotations

from capsim.inspect.declared import Declared
from capsim.inspect.effective import Effective, effective
from capsim.inspect.finding import Finding
from capsim.inspect.findings import findings
from capsim.inspect.sources import read
from capsim.inspect.unknown import Unknown

__all__ = ["Declared", "Effective", "Finding", "Unknown", "effective", "findings", "read"]

"""What could break: disturbances played against a scenario's own server, with the smallest trigger of each failure."""

from capsim.base.document import dumps
from capsim.study.findings.document import Finding, Findings, schema_text
from capsim.study.findings.find import find

__all__ = ["Finding", "Findings", "dumps", "find", "schema_text"]

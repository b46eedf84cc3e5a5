"""What could break: disturbances played against a scenario's own server, with the smallest trigger of each failure."""

from capsim.study.findings.document import Finding, Findings, dumps, schema_text
from capsim.study.findings.find import find

__all__ = ["Finding", "Findings", "dumps", "find", "schema_text"]

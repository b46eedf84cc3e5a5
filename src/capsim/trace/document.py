"""What `capsim trace describe --json` prints, and its JSON Schema."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from capsim.trace.describe import describe
from capsim.trace.model import Trace


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TraceMetric(_Part):
    """One figure of a trace."""

    metric: str = Field(description="the name carries the unit; hours and weekdays are UTC")
    value: int | float | str
    unit: str


class TraceDocument(_Part):
    """The figures of one trace, over the time that has data."""

    schema_version: Literal[1] = 1
    kind: Literal["trace"] = "trace"
    name: str
    sha256: str = Field(description="of the file; empty for a trace made in memory")
    metrics: tuple[TraceMetric, ...]
    notes: tuple[str, ...] = Field(description="what was found or assumed while reading")


def document_text(trace: Trace) -> str:
    """The document as JSON text, floats to 9 significant digits.

    Examples
    --------
    >>> trace = Trace.from_counts("x", [0, 60_000_000], [60, 180], 60_000_000)
    >>> json.loads(document_text(trace))["metrics"][6]
    {'metric': 'requests', 'value': 240, 'unit': 'requests'}
    """
    metrics = tuple(
        TraceMetric(metric=metric, value=float(f"{value:.9g}") if isinstance(value, float) else value, unit=unit)
        for metric, value, unit in describe(trace).to_numpy().tolist()
    )
    document = TraceDocument(name=trace.name, sha256=trace.sha256, metrics=metrics, notes=trace.notes)
    return json.dumps(document.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def schema_text() -> str:
    """JSON Schema of the document, as data/schema/trace.schema.json keeps it."""
    return json.dumps(TraceDocument.model_json_schema(), indent=2, ensure_ascii=False) + "\n"

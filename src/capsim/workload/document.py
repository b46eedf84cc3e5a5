"""What `capsim trace describe --json` prints, and its JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from capsim.base.document import DocumentModel, Row
from capsim.workload.asked import asked
from capsim.workload.description import describe
from capsim.workload.model import Trace
from capsim.workload.request_map import notes
from capsim.workload.request_map import rows as rows_of
from capsim.workload.requests import Requests


class TraceMetric(Row):
    """One figure of a trace."""

    metric: str = Field(description="the name carries the unit; hours and weekdays are UTC")
    value: int | float | str
    unit: str


class AskedRow(Row):
    """The requests to one path."""

    method: str
    path: str = Field(description="without query; parameters in place of numbers, identifiers, names and tokens")
    requests: int
    share: float = Field(description="of all requests")
    refused: int = Field(description="answered with 3xx or 4xx; they bring nothing")
    taken_for: str = Field(description="event, revenue, heartbeat, read or other")
    why: str
    response_median_bytes: float | None
    duration_median_ms: float | None


class TraceDocument(DocumentModel):
    """The figures of one trace, over the time that has data."""

    schema_mode: ClassVar[Literal["validation", "serialization"]] = "validation"
    schema_version: Literal[1] = 1
    kind: Literal["trace"] = "trace"
    name: str
    sha256: str = Field(description="of the file; empty for a trace made in memory")
    metrics: tuple[TraceMetric, ...]
    asked: tuple[AskedRow, ...] = Field(default=(), description="the paths of a log, the most asked first")
    notes: tuple[str, ...] = Field(description="what was found or assumed while reading")


def document_text(trace: Trace, requests: Requests | None = None, table: Mapping[str, str] | None = None) -> str:
    """The document as JSON text, floats to 9 significant digits; of a log, what was asked and what it is taken for.

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
    paths, told = _asked(requests, table) if requests is not None else ((), ())
    document = TraceDocument(
        name=trace.name, sha256=trace.sha256, metrics=metrics, asked=paths, notes=(*trace.notes, *told)
    )
    return json.dumps(document.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def _asked(
    requests: Requests, table: Mapping[str, str] | None
) -> tuple[tuple[AskedRow, ...], tuple[str, ...]]:
    rows = asked(requests, table).to_dict("records")
    paths = tuple(
        AskedRow.model_validate({k: _figure(v) if isinstance(v, float) else v for k, v in row.items()}) for row in rows
    )
    return paths, tuple(notes(rows_of(requests, table), len(requests.route)))


def _figure(value: float) -> float | None:
    return None if value != value else float(f"{value:.9g}")


schema_text = TraceDocument.schema_text

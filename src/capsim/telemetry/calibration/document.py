"""What `capsim calibrate --json` prints."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import Field

from capsim.base.document import DocumentModel, Number, Row
from capsim.telemetry.calibration.result import Calibration


class CalibratedKey(Row):
    """One value, and what it rests on."""

    key: str
    value: float
    low: Number = Field(description="lower end of the 90 % interval; null where the value was not fitted")
    high: Number = Field(description="upper end")
    standing: Literal["measured", "fitted", "not identified", "as before"]
    before: Number = Field(description="published value; null for what is measured only")


class CalibrationCheck(Row):
    """One figure of the part that was fitted, or held out [MiB]."""

    part: str = Field(description="fitted, or held out")
    figure: str
    measured_mib: float
    predicted_mib: float
    low_mib: float
    high_mib: float


class UsageMean(Row):
    """Mean of one of Railway's metrics over the part that was fitted, or held out."""

    part: str = Field(description="fitted, or held out")
    figure: str
    unit: str
    measured: float
    predicted: float
    low: float
    high: float


class CalibrationDocument(DocumentModel):
    """A calibration."""

    schema_version: Literal[1] = 1
    kind: Literal["calibration"] = "calibration"
    recording: str
    source: str
    sha256: str
    samples: int
    span_s: float
    fitted_s: float = Field(description="length of the part that was fitted; the rest is held out")
    method: str
    keys: tuple[CalibratedKey, ...]
    checks: tuple[CalibrationCheck, ...]
    usage: tuple[UsageMean, ...] = Field(default=(), description="what Railway's metrics say, where they were given")
    untold: dict[str, str] = Field(description="what no fit to such samples can tell, and why")
    notes: tuple[str, ...]


def document_text(found: Calibration) -> str:
    """The document as JSON text, floats to 6 significant digits."""

    def short(value: float) -> float | None:
        return None if value != value else float(f"{value:.6g}")

    document = CalibrationDocument(
        recording=found.recording.name,
        source=found.recording.source,
        sha256=found.recording.sha256,
        samples=len(found.recording.samples),
        span_s=found.recording.span_s,
        fitted_s=found.cut_s,
        method=found.method,
        keys=tuple(
            CalibratedKey(
                key=row["key"],
                value=short(row["value"]) or 0.0,
                low=short(row["low"]),
                high=short(row["high"]),
                standing=row["status"],
                before=short(row["before"]),
            )
            for row in found.table().to_dict("records")
        ),
        checks=tuple(
            CalibrationCheck(part=c.part, figure=c.figure, measured_mib=c.measured, predicted_mib=c.predicted,
                             low_mib=c.low, high_mib=c.high)
            for c in found.checks
        ),
        usage=tuple(
            UsageMean(part=c.part, figure=c.figure, unit=c.unit, measured=c.measured, predicted=c.predicted, low=c.low,
                      high=c.high)
            for fit in found.usage for c in fit.checks
        ),
        untold=found.untold,
        notes=found.notes,
    )  # fmt: skip
    return json.dumps(document.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


schema_text = CalibrationDocument.schema_text

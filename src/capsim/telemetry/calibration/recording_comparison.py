"""A recording beside a scenario's prediction for the same load: figures, drift, and where the error comes from."""

from __future__ import annotations

from textwrap import wrap

from pydantic import Field

from capsim.base.document import DocumentModel, Row
from capsim.scenario.scenario import Scenario
from capsim.telemetry.calibration.drift import PARTS, drift
from capsim.telemetry.calibration.variance_decomposition import budget
from capsim.workload.instants import iso
from capsim.workload.recordings.journal import is_session
from capsim.workload.recordings.load import rates
from capsim.workload.recordings.metrics_response import is_answer
from capsim.workload.recordings.model import Recording
from capsim.workload.recordings.read import find_recording


class RecordingFigure(Row):
    """One part of the memory, mean over all blocks [MiB]."""

    part: str
    measured_mib: float
    predicted_mib: float
    blocks: int
    outside: int = Field(description="blocks outside of their 99 % band")


class BesideDrift(Row):
    """A part that left its band."""

    part: str
    since: str
    side: str
    measured: float
    low: float
    high: float
    unit: str
    to_the_end: bool


class BesideError(Row):
    """A source of the error of a predicted figure."""

    figure: str
    part: str = Field(description="workload, constants, chance or model")
    sd_mib: float
    share: float = Field(description="of the variance")


class RecordingComparison(DocumentModel):
    """A recording beside a prediction."""

    schema_version: int = 1
    kind: str = "recording-comparison"
    name: str
    recording: str
    source: str
    sha256: str
    start: str
    hours: float
    samples: int
    missed: int
    rates_hz: dict[str, tuple[float, float, float]] = Field(description="mean, and 90 % interval, of each stream [1/s]")
    figures: tuple[RecordingFigure, ...]
    drift: tuple[BesideDrift, ...]
    errors: tuple[BesideError, ...]
    notes: tuple[str, ...]


def is_recording(side: str) -> bool:
    """Whether a side of `capsim compare` is a recording: by what its first line holds, or a folder of answers.

    Examples
    --------
    >>> is_recording("after")
    False
    """
    path = find_recording(side)
    try:
        if path.is_dir():
            return any(path.glob("*.json"))
        if path.suffix == ".parquet":
            return path.is_file()
        if path.suffix not in (".jsonl", ".csv"):
            return False
        with path.open(encoding="utf-8", errors="replace") as file:
            first = file.readline(1 << 16)
    except OSError:
        return False
    return is_session(first) or "heap_used_mib" in first or is_answer(first)


def beside(scenario: Scenario, recording: Recording, seed: int = 0) -> RecordingComparison:
    """Predict for the recorded load, and compare."""
    found = drift(scenario, recording, seed)
    errors = budget(scenario, recording, seed)
    figures = []
    for part in PARTS:
        table = found.blocks[found.blocks["part"] == part]
        figures.append(
            RecordingFigure(
                part=part,
                measured_mib=_short(table["measured"].mean()),
                predicted_mib=_short(table["predicted"].mean()),
                blocks=len(table),
                outside=int((table["outside"] != 0).sum()),
            )
        )
    return RecordingComparison(
        name=scenario.name,
        recording=recording.name,
        source=recording.source,
        sha256=recording.sha256,
        start=iso(recording.start_us),
        hours=_short(recording.span_s / 3_600),
        samples=len(recording.samples),
        missed=int(recording.missed["count"].sum()) if len(recording.missed) else 0,
        rates_hz={r.stream: (_short(r.mean_hz), _short(r.low_hz), _short(r.high_hz)) for r in rates(recording)},
        figures=tuple(figures),
        drift=tuple(
            BesideDrift(
                part=one.part,
                since=iso(one.since_us),
                side=one.side,
                measured=_short(one.measured),
                low=_short(one.low),
                high=_short(one.high),
                unit=one.unit,
                to_the_end=one.to_the_end,
            )
            for one in found.left
        ),
        errors=tuple(
            BesideError(
                figure=row["figure"], part=row["part"], sd_mib=_short(row["sd_mib"]), share=_short(row["share"])
            )
            for row in errors.to_dict("records")
        ),
        notes=recording.notes,
    )


def screen(document: RecordingComparison) -> str:
    """The document for people, at most 100 columns wide."""
    from tabulate import tabulate

    total = sum(rate[0] for rate in document.rates_hz.values())
    head = (
        f"{document.name} beside {document.recording}: {document.samples} samples ({document.missed} missed) over "
        f"{document.hours * 60:,.3g} min from {document.start}, {total:.3g} requests a second"
    )
    figures = tabulate(
        [
            (f.part, f"{f.measured_mib:.1f}", f"{f.predicted_mib:.1f}",
             f"{100 * (f.predicted_mib / f.measured_mib - 1):+.1f} %", f"{f.outside} of {f.blocks}")
            for f in document.figures
        ],
        ("memory [MiB]", "measured", "predicted", "error", "blocks outside"), disable_numparse=True,
        colalign=("left", *["right"] * 4),
    )  # fmt: skip
    errors = tabulate(
        [(e.figure, e.part, f"{e.sd_mib:.2f}", f"{100 * e.share:.0f} %") for e in document.errors],
        ("error of", "comes from", "sd [MiB]", "share"), disable_numparse=True,
        colalign=("left", "left", "right", "right"),
    )  # fmt: skip
    if document.drift:
        said = [_sentence(one) for one in document.drift]
    else:
        said = ["No drift: no part left its band for three blocks in a row."]
    notes = [f"Note: {note}" for note in document.notes]
    lines = [line for text in [*said, *notes] for line in wrap(text, 100, subsequent_indent="  ")]
    return "\n".join([*wrap(head, 100), "", figures, "", errors, "", *lines]) + "\n"


def _sentence(one: BesideDrift) -> str:
    until = "and has not come back" if one.to_the_end else "for a while"
    band = f"{one.low:,.4g} to {one.high:,.4g}"
    return (
        f"Drift: {one.part} left its band at {one.since}, {until}: {one.measured:,.4g} {one.unit}, {one.side} {band}."
    )


schema_text = RecordingComparison.schema_text


def _short(number: float) -> float:
    return float(f"{float(number):.6g}")

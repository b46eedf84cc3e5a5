"""The matrix of model and reference on the screen, as JSON, as a table and as a page with plots."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from capsim.base.units import US_PER_S
from capsim.scenario.workload import STREAMS
from capsim.validation.matrix_cells import ReferenceCell, ReferenceCheck
from capsim.validation.matrix_sides import GRID_US

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Model and reference</title><style>
body {{ margin: 0 auto; max-width: 60rem; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif; }}
table {{ border-collapse: collapse; font-size: .85rem; }} img {{ max-width: 100%; }}
th, td {{ padding: .1rem .6rem; border-bottom: 1px solid #ddd; text-align: left; }} .failed {{ font-weight: bold; }}
</style></head><body>
<h1>Model and running reference, side by side</h1>
<p>{answer}</p>
<p>In virtual time both play the same arrivals against the same call durations: every figure must be the same. In real
time the reference runs on a real database, and the model is given the durations that were measured. The interval is
that of what was seen (95 %, from the order of the sample); a prediction passes if it lies within the tolerance of it.
The memory is that of the Python process of the reference, calibrated by the size of one row in it; it says nothing of
Node.</p>
{cells}
</body></html>
"""


def counted(cells: Sequence[ReferenceCell]) -> tuple[int, int]:
    """How many checks passed, and how many did not."""
    failed = sum(len(cell.failed) for cell in cells)
    return sum(len(cell.checks) for cell in cells) - failed, failed


def line(cell: ReferenceCell) -> str:
    """A cell in one line, and a line for each check that does not hold."""
    flushes = sum(counts["flushes"] for counts in cell.reference.counts.values())
    dropped = sum(counts["dropped_cap"] + counts["dropped_failed"] for counts in cell.reference.counts.values())
    late = "" if cell.late_ms is None else f"; driver late by {cell.late_ms[2]:.3g} ms at p99"
    verdict = f"{len(cell.checks) - len(cell.failed)} of {len(cell.checks)} checks hold"
    head = f"{cell.clock}: {cell.name}: {cell.arrivals:,} arrivals, {flushes:,} flushes, {dropped:,} dropped{late}: "
    return "\n".join([head + verdict, *(f"  {_sentence(check)}" for check in cell.failed)])


def _sentence(check: ReferenceCheck) -> str:
    return (
        f"{check.quantity}: model {check.model:.6g} {check.unit}, reference {check.reference:.6g} "
        f"(interval {check.lower:.6g} to {check.upper:.6g}, tolerance {check.tolerance:.6g})"
    )


def document(cells: Sequence[ReferenceCell], seed: int) -> str:
    """All cells as one JSON document."""
    passed, failed = counted(cells)
    data: dict[str, Any] = {
        "schema_version": 1,
        "kind": "validation.reference",
        "capsim_version": version("capsim"),
        "seed": seed,
        "passed": passed,
        "failed": failed,
        "cells": [cell.document() for cell in cells],
    }
    return json.dumps(data, indent=2, allow_nan=False) + "\n"


def write(cells: Sequence[ReferenceCell], seed: int, folder: Path) -> None:
    """result.json, checks.csv, processes.csv (of real runs) and report.html in a folder."""
    import pandas as pd

    (folder / "result.json").write_text(document(cells, seed), encoding="utf-8")
    rows = [{"cell": cell.name, "clock": cell.clock, **check._asdict()} for cell in cells for check in cell.checks]
    pd.DataFrame(rows).to_csv(folder / "checks.csv", index=False)
    sampled = [cell.processes.assign(cell=cell.name) for cell in cells if cell.processes is not None]
    if sampled:
        pd.concat(sampled).to_csv(folder / "processes.csv", index=False)
    passed, failed = counted(cells)
    answer = f"{passed:,} of {passed + failed:,} checks in {len(cells)} runs hold."
    page = PAGE.format(answer=answer, cells="\n".join(map(_section, cells)))
    (folder / "report.html").write_text(page, encoding="utf-8")


def _section(cell: ReferenceCell) -> str:
    columns = ("quantity", "unit", "model", "reference", "error", "lower", "upper", "tolerance")
    head = "".join(f"<th>{name}</th>" for name in (*columns, "verdict"))
    body = "".join(
        f"<tr{'' if check.passed else ' class=failed'}>"
        + "".join(f"<td>{_cell(getattr(check, name))}</td>" for name in columns)
        + f"<td>{'holds' if check.passed else 'FAILS'}</td></tr>"
        for check in cell.checks
    )
    title = html.escape(f"{cell.clock} time: {cell.name}")
    return (
        f"<h2>{title}</h2><p>{html.escape(line(cell))}</p>"
        f'<img alt="Buffers over time: {title}" src="data:image/png;base64,{_picture(cell)}">'
        f"<details><summary>{len(cell.checks)} figures</summary><table><tr>{head}</tr>{body}</table></details>"
    )


def _cell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else html.escape(str(value))


def plot_buffers(cell: ReferenceCell, axes: Sequence[Axes]) -> None:
    """Every writer's buffer over time, the reference as a line and the model as dots on it."""
    for ax, stream in zip(axes, STREAMS, strict=True):
        for side, name, style in ((cell.reference, "reference", "-"), (cell.model, "model", ".")):
            rows = side.buffers[stream]
            step = max(1, len(rows) // 400)
            time_s = np.arange(len(rows))[::step] * GRID_US / US_PER_S
            ax.plot(time_s, rows[::step], style, label=name, markersize=2, linewidth=0.8)
        ax.set(title=stream, xlabel="time [s]")
    axes[0].set_ylabel("buffer [rows]")
    axes[0].legend()


def _picture(cell: ReferenceCell) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.6), layout="constrained")
    plot_buffers(cell, figure.subplots(1, len(STREAMS)))
    made = io.BytesIO()
    figure.savefig(made, format="png", dpi=80, metadata={"Software": None})
    return base64.b64encode(made.getvalue()).decode()

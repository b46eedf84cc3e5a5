"""The two files of a measurement: the series and its companion."""

from __future__ import annotations

import os
import platform
from datetime import date
from pathlib import Path

import psutil

from capsim.base.errors import CapsimError
from capsim.base.files import write_text
from capsim.base.units import GIB
from capsim.telemetry.measure.program import kit_program
from capsim.telemetry.measure.session import RECORD_BYTES, MeasureSettings, NodeRecording
from capsim.workload.companion import Companion, RowBytes, Run, Stall, Writer, companion_path, dumps

COLUMNS = {
    "t_s": 2, "rss": 2, "rssAnon": 2, "rssFile": 2, "rssPeak": 2, "usage": 2, "heapTotal": 2, "heapUsed": 2,
    "external": 2, "arrayBuffers": 2, "newSize": 2, "oldSize": 2, "oldUsed": 2, "loUsed": 2, "cpu_s": 2,
    "gcMinor": 0, "gcMajor": 0, "gcMinorMs": 1, "gcMajorMs": 1,
    "reqs_or_count": 0, "drop": 0, "buf": 0, "inflight": 0,
}  # fmt: skip
"""Columns of the series and the decimals that they are written with."""

_SEMI_SPACES_MIB = (64.0, 32.0, 16.0, 8.0, 4.0, 1.0)  # that Node 20 and 24 choose by themselves


def check_out(out: Path) -> None:
    """Refuse a place that cannot be written, before any time is spent."""
    if out.suffix != ".csv":
        raise CapsimError(f"{out}: the series is a CSV file; give --out a name that ends in .csv")
    if not out.parent.is_dir():
        raise CapsimError(f"{out.parent}: no such folder; make it, or choose another --out")
    if out.is_dir() or not os.access(out.parent, os.W_OK):
        raise CapsimError(f"{out}: cannot be written; choose another --out")


def write(recording: NodeRecording, settings: MeasureSettings, out: Path) -> None:
    """Write series and companion, each whole.

    Parameters
    ----------
    recording : NodeRecording
    settings : MeasureSettings
        As given to `capsim.telemetry.measure.session.measure`.
    out : Path
        The series; the companion goes beside it (``<name>.run.toml``).
    """
    lines = [",".join(COLUMNS)]
    for row in recording.rows:
        lines.append(",".join(f"{row[c]:.{d}f}" if c in row else "" for c, d in COLUMNS.items()))
    companion = Companion(
        format=1,
        recorded=date.today().isoformat(),
        machine=_machine(),
        runs=(_run(recording, settings, out.stem),),
    )
    # The companion first: a series without one cannot be used.
    write_text(companion_path(out), dumps(companion))
    write_text(out, "\n".join(lines) + "\n")


def _run(recording: NodeRecording, settings: MeasureSettings, name: str) -> Run:
    semi = _semi_space_mib(recording, settings)
    shift = recording.loaded_s or 0.0
    weights = recording.row_bytes
    return Run(
        name=name,
        node=recording.node.version,
        flags=recording.flags,
        heap_cap_mib="none" if settings.heap_cap_mib is None else settings.heap_cap_mib,
        heap_limit_mib=recording.hello["heap_size_limit_mib"] - 3 * semi,
        semi_space_mib=semi,
        container_limit_mib=settings.memory_limit_mib if recording.limited and settings.memory_limit_mib else "none",
        live_set_mib=settings.live_mib,
        rate_hz=settings.rate_hz,
        writer=Writer.model_validate(
            {
                "rules": settings.rules,
                "buffer_cap_rows": settings.buffer_cap_rows or "none",
                "flush_ms": settings.flush_ms,
            }
        ),
        record_bytes=RECORD_BYTES,
        row_bytes=RowBytes(events=weights["event"], revenue=weights["revenue"], heartbeats=weights["heartbeat"]),
        stalls=tuple(
            Stall(from_s=round(shift + start, 2), length_s=length, flush_s=length) for start, length in settings.stalls
        ),
        program=kit_program(recording.node.version),
        ended=recording.ended,  # type: ignore[arg-type]  # one of the three, see session
    )


def _semi_space_mib(recording: NodeRecording, settings: MeasureSettings) -> float:
    """Largest half of new space [MiB]: V8's limit is the old generation's and three halves of new space."""
    limit: float = recording.hello["heap_size_limit_mib"]
    if settings.heap_cap_mib is not None:
        return (limit - settings.heap_cap_mib) / 3
    if settings.semi_space_mib is not None:
        return float(settings.semi_space_mib)
    # Without a cap the old generation's limit is a round number.
    return next((semi for semi in _SEMI_SPACES_MIB if (limit - 3 * semi) % 256 == 0), 16.0)


def _machine() -> str:
    memory = psutil.virtual_memory().total / GIB
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}, {platform.machine()}"

"""`capsim record`: samples of a running server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from capsim.telemetry.record.recorder import RecordSettings, Tally

SAY_EVERY_S = 60.0
SHORTEST_S, LONGEST_S = 0.1, 3_600.0


@click.command()
@click.argument("source", metavar="URL")
@click.option("--every", default="5s", show_default=True, metavar="LENGTH", help="Cadence, for example 5s or 1min.")
@click.option("--for", "for_", metavar="LENGTH", help="How long, for example 10m or 2w.  [default: until Ctrl-C]")
@click.option("--health", metavar="URL", help="Ask this address too, and keep whether it answers.")
@click.option(
    "--rotate",
    "rotate_mib",
    type=click.IntRange(1, 4_096),
    default=32,
    show_default=True,
    metavar="MIB",
    help="Begin a new file at this size; a week at 5s takes about 50.",
)
@click.option(
    "--unit",
    type=click.Choice(["bytes", "KiB", "kB", "MiB", "MB", "GiB"]),
    help="Of sizes that are numbers without a unit.  [default: bytes]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help=".jsonl grows sample by sample; .csv or .parquet is made of FILE.jsonl at the end.",
)
def record(
    source: str, every: str, for_: str | None, health: str | None, rotate_mib: int, unit: str | None, out: Path
) -> None:
    """Sample the metrics of a running server at a steady cadence, and keep every sample.

    URL is the address of /api/metrics (JSON, or Prometheus text of prom-client); user, password and values of its
    query are used and never written down. Or it is a recording (a file, or a folder of saved answers), which is then
    only written as a table.

    Restarts, outages, slow or wrong answers of the server are marked as missed; the same command goes on after an end
    of the recorder. A crash loses one sample at most.

    \b
    Examples:
      capsim record https://server.example/api/metrics --every 5s --for 1w --out week.jsonl
      capsim record week.jsonl --out week.parquet
    """
    from capsim.base.errors import CapsimError
    from capsim.workload.recordings.write import KINDS, write_recording

    if out.suffix not in (".jsonl", *KINDS):
        raise CapsimError(f"{out}: give --out a name that ends in .jsonl, .csv or .parquet")
    if not out.parent.is_dir():
        raise CapsimError(f"{out.parent}: no such folder; make it, or choose another --out")
    if "://" not in source:
        from capsim.workload.recordings import read_recording

        if not Path(source).exists():
            raise CapsimError(f"{source}: no such recording; the address of a server begins with http:// or https://")
        if out.suffix not in KINDS:
            raise CapsimError(f"{out}: a recording is written as .csv or .parquet; choose one of these names")
        recording = read_recording(source, unit)
        write_recording(recording, out)
        _notes(recording.notes)
        click.echo(f"wrote {out}: {len(recording.samples)} samples, {int(recording.missed['count'].sum())} missed")
        return
    from capsim.telemetry.record.recorder import RecordSettings
    from capsim.workload.recordings.address import address_of

    settings = RecordSettings(
        address=address_of(source),
        health=None if health is None else address_of(health),
        every_s=_length(every, "--every", SHORTEST_S, LONGEST_S),
        for_s=None if for_ is None else _length(for_, "--for", 0.0, 10 * 366 * 86_400.0),
        unit=unit,
        rotate_bytes=rotate_mib << 20,
    )
    journal = out if out.suffix == ".jsonl" else out.with_name(out.name + ".jsonl")
    _record(settings, journal, out)


def _record(settings: RecordSettings, journal: Path, out: Path) -> None:
    from capsim.cli import INTERRUPTED
    from capsim.telemetry.record.recorder import record as run

    tally: list[Tally] = []
    interrupted = False
    try:
        tally.append(run(settings, journal, _Teller()))
    except KeyboardInterrupt:
        interrupted = True
    if journal.exists():
        from capsim.base.errors import CapsimError
        from capsim.workload.recordings import read_recording
        from capsim.workload.recordings.write import write_recording

        try:
            recording = read_recording(journal)
        except CapsimError as error:
            if not interrupted:
                raise
            click.echo(f"capsim: {error}", err=True)
        else:
            if out != journal:
                write_recording(recording, out)
            _notes(recording.notes)
            missed = int(recording.missed["count"].sum())
            click.echo(f"wrote {out}: {len(recording.samples)} samples, {missed} missed")
    if interrupted:
        click.get_current_context().exit(INTERRUPTED)


class _Teller:
    """Tells now and then how it goes, and at once when the server stops or starts to answer."""

    def __init__(self) -> None:
        self._said_s, self._why = time.monotonic(), ""
        self._named: set[str] = set()

    def __call__(self, tally: Tally) -> None:
        now_s = time.monotonic()
        lacking = [f"{name} is in the answer and is not taken" for name in tally.unread]
        if not tally.totals:
            lacking.append("the answers have no totals of writers (batchWriters): memory is recorded, but no load")
        for what in lacking:
            if what not in self._named:
                click.echo(f"capsim: {what}", err=True)
                self._named.add(what)
        if tally.why != self._why:
            click.echo(f"capsim: {'missed: ' + tally.why if tally.why else 'answers again'}", err=True)
            self._why = tally.why
        elif now_s - self._said_s < SAY_EVERY_S:
            return
        else:
            click.echo(f"capsim: {tally.samples} samples, {tally.missed} missed", err=True)
        self._said_s = now_s


def _length(text: str, option: str, low_s: float, high_s: float) -> float:
    from capsim.base.errors import CapsimError
    from capsim.workload.instants import duration_us

    try:
        length_s = duration_us(text) / 1e6
    except CapsimError as error:
        raise CapsimError(f"{option}: {error}") from None
    if not low_s <= length_s <= high_s or not length_s:
        raise CapsimError(f"{option}: {text} is not between {low_s:g} s and {high_s:g} s; choose another")
    return length_s


def _notes(notes: tuple[str, ...]) -> None:
    for note in notes:
        click.echo(f"capsim: {note}", err=True)

"""`capsim measure`: a Node server with our writers, loaded and sampled."""

from __future__ import annotations

from pathlib import Path

import click

from capsim.cli.options import FiniteRange

MOST_S = 3600.0


class _Stall(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    name = "FROM:LENGTH"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """Two numbers of seconds."""
        if isinstance(value, tuple):
            return value
        start, _, length = str(value).partition(":")
        try:
            stall = float(start), float(length)
        except ValueError:
            self.fail(f"{value!r} is not FROM:LENGTH in seconds, as in 10:20", param, ctx)
        if not (0 <= stall[0] <= MOST_S and 0 < stall[1] <= MOST_S):
            self.fail(f"{value!r} begins before the load or has no length; write FROM:LENGTH, as in 10:20", param, ctx)
        return stall


@click.command()
@click.option(
    "--rate",
    "rate_hz",
    type=FiniteRange(0.1, 20_000),
    required=True,
    metavar="R",
    help="Requests per second, sent whatever the server does.",
)
@click.option(
    "--heap-cap",
    "heap_cap_mib",
    type=click.IntRange(16, 65_536),
    metavar="MIB",
    help="--max-old-space-size; without it Node chooses.",
)
@click.option(
    "--semi-space", "semi_space_mib", type=click.IntRange(1, 1_024), metavar="MIB", help="--max-semi-space-size."
)
@click.option(
    "--live",
    "live_mib",
    type=FiniteRange(0, 16_384),
    default=0,
    metavar="MIB",
    help="Records kept alive throughout.",
)
@click.option(
    "--stall",
    "stalls",
    type=_Stall(),
    multiple=True,
    help="From FROM s of the load on, for LENGTH s, a flush takes LENGTH s.",
)
@click.option(
    "--rules",
    type=click.Choice(["kit", "seed", "fixed"]),
    default="kit",
    show_default=True,
    help="Rules of the batch writers.",
)
@click.option(
    "--buffer-cap",
    "buffer_cap_rows",
    type=click.IntRange(1, 10_000_000),
    metavar="ROWS",
    help="Largest buffer of a writer.",
)
@click.option(
    "--seconds",
    type=FiniteRange(1, MOST_S),
    default=60,
    show_default=True,
    metavar="N",
    help="Length of the load.",
)
@click.option(
    "--memory-limit",
    "memory_limit_mib",
    type=FiniteRange(16, 65_536),
    metavar="MIB",
    help="Limit of a memory cgroup of its own, where the machine allows one.",
)
@click.option(
    "--node",
    "node_path",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Node to use.  [default: the wheel of capsim[node], else the one on PATH]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE.csv",
    help="The series; its companion FILE.run.toml goes beside it.",
)
def measure(node_path: Path | None, out: Path, **given: object) -> None:
    """Measure the memory of a small Node server under a given load, cap and stall.

    Starts a server with our batch writers and a pretended database, loads it over HTTP on loopback from a second
    process, and samples memory and collections twice a second. Ctrl-C keeps what was measured so far.

    \b
    Example:
      capsim measure --rate 350 --stall 10:20 --seconds 50 --out night.csv
      capsim validate memory night.csv
    """
    from capsim.base.progress import Progress
    from capsim.cli import INTERRUPTED
    from capsim.telemetry.measure.node import find_node
    from capsim.telemetry.measure.session import MeasureSettings
    from capsim.telemetry.measure.session import measure as run
    from capsim.telemetry.measure.write import check_out, write

    check_out(out)
    node = find_node(node_path)
    click.echo(f"Node {node.version} ({node.origin})")
    settings = MeasureSettings(**given)  # type: ignore[arg-type]  # the options bear the names of the fields
    with Progress(f"{settings.rate_hz:g} requests a second") as progress:
        recording = run(settings, node, progress)
    for note in recording.notes:
        click.echo(f"capsim: {note}", err=True)
    if not recording.rows:
        click.echo("capsim: interrupted before the first sample; nothing written", err=True)
        click.get_current_context().exit(INTERRUPTED)
    write(recording, settings, out)
    last = recording.rows[-1]
    click.echo(
        f"{len(recording.rows)} samples, {last['reqs_or_count']:.0f} requests served, {last['drop']:.0f} rows dropped"
    )
    click.echo(
        f"peak resident {max(row['rssPeak'] for row in recording.rows):.1f} MiB; the process ended: {recording.ended}"
    )
    if recording.load.get("mean_ms") is not None:
        click.echo(f"answers: mean {recording.load['mean_ms']:.1f} ms, slowest {recording.load['slowest_ms']:.0f} ms")
    if recording.allocation is not None:
        cost = recording.allocation
        click.echo(f"a request allocated {cost.allocated_kib:.1f} KiB, of which {cost.promoted_kib:.1f} KiB grew old")
        if cost.least_left_mib is not None:
            click.echo(f"a full collection left {cost.least_left_mib:.1f} MiB at the least")
    click.echo(f"wrote {out} and its companion")
    if recording.interrupted:
        click.get_current_context().exit(INTERRUPTED)

"""`capsim calibrate`: constants fitted to a recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from capsim.telemetry.calibration import Calibration

WIDTH = 100


@click.command()
@click.argument("scenario", metavar="SCENARIO")
@click.argument("metrics", metavar="METRICS")
@click.option("--fit", metavar="KEY,...", help="Keys of [constants] to fit.  [default: five that samples can show]")
@click.option(
    "--method",
    type=click.Choice(["auto", "likelihood", "least-squares"]),
    default="auto",
    show_default=True,
    help="likelihood: of every sample, for servers like the model; auto: likelihood where the samples are like the "
    "model, else least-squares.",
)
@click.option("--usage", multiple=True, metavar="FILE",
              help="Railway's metrics of the same time, or postgres=FILE: CPU and page cache too.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 1_000_000), default=0, show_default=True, metavar="N",
              help="Random seed.")  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.toml", help="Write the fitted scenario."
)
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.png",
              help="Draw measured and predicted memory and their difference.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of tables.")
def calibrate(
    scenario: str,
    metrics: str,
    fit: str | None,
    method: str,
    usage: tuple[str, ...],
    seed: int,
    out: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Fit constants of the memory model of SCENARIO to METRICS, a recording of `capsim record`.

    The last 30 % of the recording are held out and predicted. Measured, fitted and assumed values are told apart, with
    90 % intervals; constants that the samples cannot tell are named, and stay as they were.

    \b
    Examples:
      capsim calibrate my.toml week.jsonl --out fitted.toml
      capsim run fitted.toml --scale 3
    """
    from capsim.base.errors import CapsimError
    from capsim.base.files import write_text
    from capsim.base.progress import Progress
    from capsim.scenario.file import dumps, load
    from capsim.telemetry.calibration import calibrate as run
    from capsim.telemetry.calibration.parameters import DEFAULT
    from capsim.workload.recordings import read_recording

    for place, suffix in ((out, ".toml"), (plot, ".png")):
        if place is not None and (place.suffix != suffix or not place.parent.is_dir()):
            raise CapsimError(f"{place}: give a name that ends in {suffix}, in a folder that exists")
    try:
        import scipy  # noqa: F401
    except ModuleNotFoundError:
        raise CapsimError("calibrate needs scipy; install capsim[calibrate]") from None
    base = load(scenario)
    keys = DEFAULT if fit is None else tuple(key.strip() for key in fit.split(",") if key.strip())
    with Progress(f"fitting {scenario}") as progress:
        found = run(base, read_recording(metrics), keys, method=method, usage=usage, seed=seed, progress=progress)  # type: ignore[arg-type]
    if plot is not None:
        _draw(found, plot)
    if out is not None:
        write_text(out, dumps(found.scenario))
        click.echo(f"capsim: wrote {out}", err=True)
    if as_json:
        from capsim.telemetry.calibration.document import document_text

        click.echo(document_text(found), nl=False)
    else:
        click.echo(screen(found), nl=False)


def screen(found: Calibration) -> str:
    """The calibration for people, at most 100 columns wide."""
    import textwrap

    from tabulate import tabulate

    def length(seconds: float) -> str:
        return f"{seconds / 3_600:.3g} h" if seconds >= 3 * 3_600 else f"{seconds / 60:.3g} min"

    def number(value: float) -> str:
        return "" if value != value else f"{value:,.4g}"

    rows = [
        (
            row["key"],
            number(row["value"]),
            "" if row["low"] != row["low"] else f"{number(row['low'])} to {number(row['high'])}",
            row["status"],
            number(row["before"]),
        )
        for row in found.table().to_dict("records")
    ]
    table = tabulate(
        rows, ("", "value", "90 % interval", "standing", "before"), disable_numparse=True,
        colalign=("left", "right", "right", "left", "right"),
    )  # fmt: skip
    checks = tabulate(
        [
            (c.part, c.figure, number(c.measured), number(c.predicted), f"{number(c.low)} to {number(c.high)}",
             f"{100 * c.error:+.1f} %")
            for c in found.checks
        ],
        ("part", "MiB", "measured", "predicted", "90 % band", "error"), disable_numparse=True,
        colalign=("left", "left", "right", "right", "right", "right"),
    )  # fmt: skip
    billed = tabulate(
        [
            (c.part, f"{c.figure} [{c.unit}]", number(c.measured), number(c.predicted),
             f"{number(c.low)} to {number(c.high)}", f"{100 * c.error:+.1f} %")
            for fit in found.usage for c in fit.checks
        ],
        ("part", "mean", "measured", "predicted", "90 % band", "error"), disable_numparse=True,
        colalign=("left", "left", "right", "right", "right", "right"),
    ) if found.usage else ""  # fmt: skip
    said = [*found.notes, *(f"Not told by such samples: {name} ({why})." for name, why in found.untold.items())]
    notes = [line for note in said for line in textwrap.wrap(note, WIDTH, subsequent_indent="  ")]
    head = (
        f"{found.recording.name}: {len(found.recording.samples)} samples of {found.recording.source}, "
        f"{length(found.recording.span_s)}, of which the first {length(found.cut_s)} were fitted "
        f"({found.method})"
    )
    return (
        "\n".join([*textwrap.wrap(head, WIDTH), "", table, "", checks, "", *([billed, ""] if billed else []), *notes])
        + "\n"
    )


def _draw(found: Calibration, place: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    from capsim.show.plots.calibration import calibration_residuals, calibration_series, calibration_usage
    from capsim.show.plots.canvas import style

    temporary = place.with_name(f".{place.name}.part")
    try:
        with style():
            more = len(found.usage)
            figure, (top, bottom, *others) = plt.subplots(
                2 + more, figsize=(8, 6 + 2.5 * more), layout="constrained", height_ratios=(3, 2, *(2,) * more)
            )
            calibration_series(found, ax=top)
            calibration_residuals(found, ax=bottom)
            for number, ax in enumerate(others):
                calibration_usage(found, number, ax=ax)
            figure.savefig(temporary, format="png", dpi=120)
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)
    click.echo(f"capsim: wrote {place}", err=True)

"""`capsim trace`: look at a recorded load, bring it into one format, change it, or make one up."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from capsim.workload import Trace
    from capsim.workload.requests import Requests

_FORMATS = (  # capsim.workload.read.FORMATS, not imported for --help
    "access-log", "counts", "events", "jsonl", "parquet", "azure-2019", "azure-2021", "artillery", "cloudwatch",
    "grafana", "har", "json-array", "k6-csv", "k6-json", "locust", "otlp", "prometheus", "vegeta-csv", "vegeta-json",
    "w3c", "alb", "elb", "envoy", "haproxy", "heroku", "access-ms", "s3", "gatling", "text", "recording",
)  # fmt: skip
_SHOWN = 25  # paths
_OUT = click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, metavar="FILE.csv", help="Write here."
)
_HOW = ("format", "column", "field", "zone", "as_", "value", "where", "dates")  # of capsim.workload.read_trace
_SEED = click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="The address of all chance."
)


def _reading(command: Callable[..., None], *, asked: bool = False) -> Callable[..., None]:
    """Give a command FILE and the options that say how to read it; it receives the trace, and what was asked."""

    @functools.wraps(command)
    def wrapper(files: tuple[str, ...], from_: str | None, to: str | None, **given: Any) -> None:
        from capsim.workload import read_requests, read_trace
        from capsim.workload.read import find_traces
        from capsim.workload.requests import NoPaths

        how = {name: given.pop(name) for name in _HOW}
        paths = [path for file in files for path in find_traces(file)]
        cut = from_ is not None or to is not None
        if asked:
            try:
                requests = read_requests(paths, **how)
                given["requests"] = requests.window(from_, to) if cut else requests
                given["paths"] = None if cut else paths
                trace = given["requests"].trace
            except NoPaths as none:
                trace = none.trace.window(from_, to) if cut else none.trace
        else:
            trace = read_trace(paths, **how)
            trace = trace.window(from_, to) if cut else trace
        command(trace=trace, **given)

    for decorator in (
        click.option("--to", metavar="T", help="Use the trace up to this instant."),
        click.option("--from", "from_", metavar="T", help="Use it from this instant on (ISO 8601, or 2h, 1d)."),
        click.option(
            "--dates", type=click.Choice(("dmy", "mdy")), help="Order of day and month in dates such as 3/2/2026."
        ),
        click.option("--zone", metavar="ZONE", help="Zone of stamps that name none, e.g. +02:00.  [default: UTC]"),
        click.option(
            "--where",
            metavar="FIELD=VALUE",
            help="Count only JSON lines or CSV rows with this; * fits anything, FIELD alone any value.",
        ),
        click.option(
            "--as",
            "as_",
            type=click.Choice(("count", "rate", "counter")),
            help="What numbers beside stamps are: requests in each step, requests a second, or a running total.",
        ),
        click.option("--value", metavar="NAME", help="CSV column of those numbers: a name, or a number from 1."),
        click.option("--field", metavar="NAME", help="Time field of JSON lines; a.b is b inside a."),
        click.option("--column", metavar="NAME", help="Time column of CSV or Parquet: a name, or a number from 1."),
        click.option("--format", type=click.Choice(_FORMATS), help="Where the content does not settle it."),
        click.argument("files", metavar="FILE...", nargs=-1, required=True),
    ):
        wrapper = decorator(wrapper)
    return wrapper


@click.group()
def trace() -> None:
    """Describe, import, convert or make a recorded load.

    FILE is an access log (nginx, Apache, HAProxy, Heroku, ALB, ELB, S3, IIS, CloudFront, Envoy), JSON lines or a list
    of them, CSV, Parquet, an export (k6, Locust, vegeta, Gatling, Artillery, HAR, Prometheus, Grafana, CloudWatch,
    OTLP, Azure Functions), plain, gzip or zstd; a recording; the name of a bundled trace; or - for standard input.
    Several files, such as rotated logs, are one load, in any order.

    Example: capsim trace describe access.log.gz
    """


@trace.command("describe", short_help="Print span, rates, peaks and gaps of FILE.")
@functools.partial(_reading, asked=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="SCENARIO.toml",
    help="Put the load into this scenario: trace, map of the paths, mix, reads with their size and duration.",
)
def describe_command(
    trace: Trace, as_json: bool, into: Path | None, requests: Requests | None = None, paths: list[Path] | None = None
) -> None:
    """Print span, resolution, rates, peaks, dispersion, busiest hour and gaps of FILE; of a log also what was asked.

    Means are over the time that has data. Hours and weekdays are UTC. Paths are shown without query, and with
    parameters in place of numbers, identifiers, names and tokens. What each path is taken for is a proposal: --into
    writes it into the scenario, as [workload.requests], where it can be changed. A map that is there is kept.

    \b
    Examples:
      capsim trace describe access.log.gz --from 1d --to 2d
      capsim trace describe access.log* --into mine.toml
    """
    table = None
    if into is not None:
        from capsim.base.toml_text import shown
        from capsim.workload.fill import fill_file

        table, changes = fill_file(into, requests, paths)
        for change in changes:
            click.echo(f"capsim: {into}: {change.key} = {shown(change.value)}: {change.remark}", err=True)
        click.echo(f"capsim: wrote {into}", err=True)
    if as_json:
        from capsim.workload.document import document_text

        click.echo(document_text(trace, requests, table), nl=False)
        return
    from tabulate import tabulate

    from capsim.workload import describe

    rows = [
        (row.metric, f"{row.value:.6g}" if isinstance(row.value, float) else row.value, row.unit)
        for row in describe(trace).itertuples(index=False)
    ]
    click.echo(trace.name)
    click.echo(tabulate(rows, ("metric", "value", "unit"), disable_numparse=True, colalign=("left", "right", "left")))
    told = list(trace.notes)
    if requests is not None:
        click.echo()
        told += _tell_asked(requests, table)
    for note in told:
        click.echo(f"Note: {note}")


def _tell_asked(requests: Requests, table: Mapping[str, str] | None) -> list[str]:
    """Print what was asked; what of it should be known in words."""
    from tabulate import tabulate

    from capsim.workload.asked import asked
    from capsim.workload.request_map import notes
    from capsim.workload.request_map import rows as rows_of

    found = asked(requests, table)
    rows = [
        (f"{row['share']:.1%}", row["taken_for"], row["method"], row["path"], row["why"],
         _figure(row["response_median_bytes"]), _figure(row["duration_median_ms"]))
        for row in found.head(_SHOWN).to_dict("records")
    ]  # fmt: skip
    heads = ("share", "taken for", "method", "path", "because", "median bytes", "median ms")
    sides = ("right", *["left"] * 4, "right", "right")
    click.echo(tabulate(rows, heads, disable_numparse=True, colalign=sides))
    if (more := len(found) - _SHOWN) > 0:
        click.echo(f"and {more} more paths, {found['share'][_SHOWN:].sum():.1%} of the requests (all of them: --json)")
    return notes(rows_of(requests, table), len(requests.route))


def _figure(value: float) -> str:
    return "" if value != value else f"{value:,.4g}"


@trace.command("import", short_help="Write FILE, in whatever format, as CSV.")
@_reading
@_OUT
def import_command(trace: Trace, out: Path) -> None:
    """Write FILE, in whatever format, as CSV: timestamp,count, or one timestamp per request.

    Only times are kept; addresses, paths and users are not.

    Example: capsim trace import access.log.gz --out access.csv
    """
    _deliver(trace, out)


@trace.command(short_help="Cut, scale, repeat or rebin FILE.")
@_reading
@_OUT
@click.option("--width", metavar="LENGTH", help="Count in bins of this width, for example 60s or 5min.")
@click.option("--scale", type=float, metavar="X", help="Multiply the load: below 1 thins it, above 1 adds copies.")
@click.option("--repeat", type=int, metavar="N", help="Play it N times, end to end.")
@_SEED
def convert(trace: Trace, out: Path, width: str | None, scale: float | None, repeat: int | None, seed: int) -> None:
    """Cut a window out of FILE, scale it, repeat it, and count it in other bins, in this order.

    Example: capsim trace convert access.log.gz --width 60s --scale 100 --out busy.csv
    """
    from capsim.workload.convert import rebin, scaled
    from capsim.workload.instants import duration_us

    if scale is not None:
        trace = scaled(trace, scale, seed)
    if repeat is not None:
        trace = trace.repeat(repeat)
    if width is not None:
        trace = rebin(trace, duration_us(width))
    _deliver(trace, out)


@trace.command(short_help="Make up a load of KIND.")
@click.argument("kind", type=click.Choice(("diurnal", "bursty", "flash-crowd")))
@_OUT
@_SEED
@click.option("--start", metavar="DATE", help="First day, UTC.  [default: 2026-01-05, a Monday]")
@click.option("--days", type=int, help="Length [d].  [default: 1]")
@click.option("--mean-hz", type=float, help="Mean rate; flash-crowd: without the event [1/s].  [default: 5]")
@click.option("--shape", help="diurnal, flash-crowd: hours of the day, game, office or flat.")
@click.option("--weekend", type=float, help="diurnal: rate on weekends / on other days.  [default: 1]")
@click.option("--factor", type=float, help="bursty: rate in a burst / in a calm period.  [default: 10]")
@click.option("--calm-s", type=float, help="bursty: mean length of calm periods [s].  [default: 3600]")
@click.option("--burst-s", type=float, help="bursty: mean length of bursts [s].  [default: 120]")
@click.option("--peak", type=float, help="flash-crowd: rate at the peak / ordinary rate then.  [default: 20]")
@click.option("--at-h", type=float, help="flash-crowd: when the climb begins [h].  [default: 18]")
@click.option("--rise-min", type=float, help="flash-crowd: length of the climb [min].  [default: 30]")
@click.option("--decay-min", type=float, help="flash-crowd: time constant of the decay [min].  [default: 45]")
def synth(kind: str, out: Path, seed: int, **parameters: Any) -> None:
    """Make up a load of KIND: counts per minute from these parameters, the same for the same seed.

    Example: capsim trace synth diurnal --days 7 --shape office --weekend 0.57 --seed 2 --out week.csv
    """
    from capsim.base.errors import TraceError
    from capsim.workload.synth import KINDS

    make = KINDS[kind]
    known = inspect.signature(make).parameters
    given = {name: value for name, value in parameters.items() if value is not None}
    if strange := [name for name in given if name not in known]:
        option = strange[0].replace("_", "-")
        raise TraceError(f"--{option} is not for {kind} loads; leave it out (see capsim trace synth --help)")
    _deliver(make(out.name.split(".")[0], seed=seed, **given), out)


def _deliver(trace: Trace, out: Path) -> None:
    from capsim.base.files import write_text
    from capsim.workload.write import csv_text

    write_text(out, csv_text(trace))
    click.echo(f"capsim: wrote {out}: {trace.total} requests, {trace.kind}", err=True)
    for note in trace.notes:
        click.echo(f"capsim: {out}: {note}", err=True)

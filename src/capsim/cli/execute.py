"""Read the inputs, simulate, deliver: what `run` and `compare` have in common."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple

import click

from capsim.base.document import dumps
from capsim.base.errors import CapsimError
from capsim.base.files import folder, write_text
from capsim.base.progress import Progress
from capsim.base.units import US_PER_S
from capsim.cli import FAILED
from capsim.cli.options import Options
from capsim.results.comparison import changed_inputs, check_alike, drift, unlike
from capsim.results.conditions import Side, check_equal
from capsim.results.document import Document, Result, RunLike, load_document, load_results, result_of, results_of
from capsim.scenario.file import load
from capsim.scenario.prices import plan_on, prices_on
from capsim.scenario.scenario import Scenario
from capsim.show.console import WIDTH, drift_table, overview
from capsim.show.headline import answer
from capsim.workload.recorded import as_recorded, read_load

if TYPE_CHECKING:
    from capsim.workload import Trace

Cache = dict[tuple[str, str], "Trace"]  # by name and map


class Job(NamedTuple):
    """A side whose inputs have been read."""

    names: Sequence[str]
    conditions: Sequence[Side]
    results: Callable[[], Sequence[Result]]


def perform(
    sides: Sequence[str],
    options: Options,
    make: Callable[[Sequence[Result]], Document],
    conditions: str | None = None,
) -> None:
    """Make one document of all sides; deliver it to the screen, as JSON, into a folder, against a saved one.

    Parameters
    ----------
    sides : sequence of str
        Scenario names or files, or saved results (``.json``).
    options : Options
        From the command line.
    make : callable
        Turns the results into the document.
    conditions : str, optional
        A scenario whose load and stress test all sides meet, in place of their own.
    """
    # Whatever is wrong with an input is found before any of them is simulated.
    saved = load_document(options.against) if options.against else None
    cache: Cache = {}
    given = with_load(conditions, options, cache) if conditions else None
    jobs = [_job(side, options, cache, given) for side in sides]
    check_equal([side for job in jobs for side in job.conditions])
    if saved:
        check_alike(saved, [name for job in jobs for name in job.names], str(options.against))
    with folder(options.out) if options.out else nullcontext() as staging:
        document = make([result for job in jobs for result in job.results()])
        if staging:
            from capsim.show.report import write

            write_text(staging / "result.json", dumps(document))
            write(list(results_of(document)), staging)
    for line in unlike(results_of(document)):
        click.echo(f"capsim: not the same chance: {line}", err=True)
    if options.out:
        click.echo(f"capsim: wrote {options.out}", err=True)
    if options.as_json:
        click.echo(dumps(document), nl=False)
    if saved:
        drifts = drift(saved, document)
        verdict = f"{options.against}: every number is as saved"
        if drifts:
            why = "".join(f"  {line}\n" for line in changed_inputs(saved, document))
            verdict = f"{options.against}: {len(drifts)} figures differ\n{why}\n{drift_table(drifts)}"
        click.echo(verdict, err=options.as_json)  # with --json the document has stdout to itself
        click.get_current_context().exit(FAILED if drifts else 0)
    if not options.as_json:
        results = results_of(document)
        click.echo("\n".join(textwrap.wrap(" ".join(answer(results)), WIDTH)) + "\n\n" + overview(results), nl=False)


def reconcile(
    sides: Sequence[str], exports: Sequence[str], options: Options, until: str | None, project: str | None
) -> None:
    """Tell one side's prediction beside what was billed; on the screen or as JSON, and into a folder."""
    from capsim.cost.billed import read_billed
    from capsim.telemetry.reconcile import reconcile as beside
    from capsim.telemetry.reconcile import screen

    billed = [read_billed(export, until, project) for export in exports]
    if len(sides) != 1:
        raise CapsimError(f"exports of what was billed go beside one scenario or result, not {len(sides)}; name one")
    if options.against:
        raise CapsimError("--against compares with a saved result, not with an export; leave it out")
    job = _job(sides[0], options, {})
    if len(job.names) != 1:
        raise CapsimError(f"{sides[0]}: holds {len(job.names)} results; give one of them")
    with folder(options.out) if options.out else nullcontext() as staging:
        document = beside(job.results()[0], billed)
        text = document.model_dump_json(indent=2) + "\n"
        if staging:
            write_text(staging / "reconciliation.json", text)
    deliver(options, text, screen(document))


def recorded(sides: Sequence[str], recordings: Sequence[str], options: Options) -> None:
    """Tell one scenario's prediction beside a recording; on the screen or as JSON, and into a folder."""
    from capsim.telemetry.calibration.recording_comparison import beside
    from capsim.telemetry.calibration.recording_comparison import screen as shown
    from capsim.workload.recordings import read_recording

    if len(sides) != 1 or len(recordings) != 1 or sides[0].endswith(".json"):
        raise CapsimError(
            f"a recording goes beside one scenario, not {len(recordings)} recordings beside {len(sides)} sides; "
            "name one of each"
        )
    given = {"--against": options.against, "--trace": options.trace, "--scale": options.scale, "--from": options.from_,
             "--to": options.to}  # fmt: skip
    if unused := [name for name, value in given.items() if value is not None]:
        raise CapsimError(f"{unused[0]} has no meaning beside a recording, whose load is as it was; leave it out")
    scenario, recording = load(sides[0]), read_recording(recordings[0])
    with folder(options.out) if options.out else nullcontext() as staging:
        document = beside(scenario, recording, options.seed)
        text = document.model_dump_json(indent=2) + "\n"
        if staging:
            write_text(staging / "recording.json", text)
    deliver(options, text, shown(document))


def deliver(options: Options, text: str, shown: str) -> None:
    """Say where the files are, and print the document as JSON or as it is read on a screen."""
    if options.out:
        click.echo(f"capsim: wrote {options.out}", err=True)
    click.echo(text if options.as_json else shown, nl=False)


def _job(
    side: str, options: Options, cache: Cache, conditions: tuple[Scenario, Trace | None] | None = None
) -> Job:
    """Read and check one side now; the returned function simulates it."""
    if side.endswith(".json"):
        results = load_results(side)
        return Job([result.name for result in results], [Side.of_result(result) for result in results], lambda: results)
    if conditions is None:
        scenario, trace = with_load(side, options, cache)
    else:
        given, trace = conditions
        scenario = billable(load(side)).replace("workload", given.workload).replace("stress", given.stress)
    if options.fidelity == "law":
        from capsim.engine.fidelity import check_law
        from capsim.scenario.changes import applied

        check_law(applied(scenario), trace)
    facts = (trace.sha256, trace.span_us / US_PER_S) if trace else (None, scenario.workload.duration_s)
    met = Side.of_scenario(side, scenario, *facts)
    return Job([scenario.name], [met], lambda: [_result(scenario, trace, options)])


def _result(scenario: Scenario, trace: Trace | None, options: Options) -> Result:
    """The document of one side, with the spread of its peak where reads that come by chance decide it."""
    from capsim.results.run import simulate
    from capsim.results.spread import RUNS, peak_of, wanted, with_spread

    peaks: list[float] = []

    def seen() -> Iterator[RunLike]:
        for run in _replicates(scenario, trace, options):
            peaks.append(peak_of(run))
            yield run

    result = result_of(seen())
    if not wanted(scenario, result.trace_span_s) or options.fidelity == "law":
        return result
    for replicate in range(options.replicates, RUNS):
        peaks.append(peak_of(simulate(scenario, trace, seed=options.seed, replicate=replicate, month=False)))
    return with_spread(result, peaks)


def _replicates(scenario: Scenario, trace: Trace | None, options: Options) -> Iterable[RunLike]:
    from capsim.results.run import simulate

    for replicate in range(options.replicates):
        name = scenario.name
        if options.replicates > 1:
            name += f", replicate {replicate + 1} of {options.replicates}"
        with Progress(name) as progress:
            run = simulate(
                scenario,
                trace,
                seed=options.seed,
                replicate=replicate,
                fidelity=options.fidelity,
                month=options.month,
                progress=progress,
            )
        yield run


def with_load(side: str, options: Options, cache: Cache | None = None) -> tuple[Scenario, Trace | None]:
    """A scenario that can be billed, under the load that the options ask for, and the trace if there is one.

    Parameters
    ----------
    side : str
        Its name or file.
    cache : dict, optional
        Traces that have been read.
    """
    scenario, cache = billable(load(side)), {} if cache is None else cache
    if options.scale is not None:
        scenario = scenario.replace("workload.scale", options.scale)
    name = options.trace or scenario.workload.trace
    if name is None:
        if options.from_ or options.to:
            raise CapsimError(
                f"--from, --to: the load of scenario {scenario.name} is made from rates, not from a trace; "
                "leave them out or give --trace"
            )
        return scenario, None
    key = name, repr(scenario.workload.requests)  # what the requests are is the scenario's to say
    if key not in cache:
        cache[key] = _read(name, scenario, options)
    trace = cache[key]
    scenario = as_recorded(scenario, trace)
    if options.trace:
        # Another source of load must be gone, or the scenario would say two things.
        load_free = scenario.workload.model_dump() | {"rate_hz": None, "runs": (), "duration_s": None}
        scenario = scenario.replace("workload", load_free | {"trace": trace.name})
    return scenario, trace


def billable(scenario: Scenario) -> Scenario:
    """The same scenario, if its plan and its prices are known, and its data fits."""
    from capsim.memory.fits import check_fits

    plan_on(scenario.billing.plan, scenario.billing.from_date)
    prices_on(scenario.billing.from_date)
    check_fits(scenario)
    return scenario


def _read(name: str, scenario: Scenario, options: Options) -> Trace:
    trace = read_load(name, scenario.workload)
    for note in trace.notes:
        click.echo(f"capsim: {name}: {note}", err=True)
    if options.from_ or options.to:
        trace = trace.window(options.from_, options.to)
    return trace

"""`capsim compare`: scenarios and saved results side by side."""

from __future__ import annotations

import click

from capsim.cli.options import Options, common


@click.command()
@click.argument("sides", nargs=-1, required=True, metavar="A B [...]")
@click.option(
    "--conditions", metavar="SIDE", help="Simulate every side under [workload] and [stress] of this scenario."
)
@click.option("--until", metavar="T", help="When an export of a running billing period was made; else its file's time.")
@click.option("--project", metavar="NAME", help="The project that is meant, where an export has several.")
@common
def compare(
    sides: tuple[str, ...], conditions: str | None, until: str | None, project: str | None, options: Options
) -> None:
    """Predict for every side and show them beside the first: A before, B after.

    A side is a scenario (a TOML file or a bundled name) or a saved result (.json), which is taken as it is.
    All sides meet one load, one mix of requests, one rate of reads and one stress test, with one random seed: what then
    differs is the configuration, and the keys that differ are listed. Sides that meet different conditions are refused;
    --conditions takes those of one scenario for all.

    Behind one scenario or result, exports of what Railway billed (usage or metrics as JSON) are sides too: then
    every line is told predicted and billed. An export of one service is written SERVICE=FILE. `railway usage --json` is
    of a whole workspace; of one project is: railway usage projects --project NAME --json.

    A recording of `capsim record` is a side beside one scenario: then memory is predicted for the recorded load, and
    what left its band is told, with the time since when, and where the error comes from. Exit 0, drift or not.

    \b
    Examples:
      capsim compare before after
      capsim compare before after fixed --trace access.log.gz --scale 2 --out out
      capsim compare out/result.json my.toml
      capsim compare before my.toml --conditions my.toml
      capsim compare after usage.json --until 2026-02-14T10:00Z
      capsim compare after server=metrics.json postgres=metrics-db.json
      capsim compare fitted.toml this-week.jsonl
    """
    from capsim.base.errors import CapsimError
    from capsim.cli.execute import perform, reconcile, recorded
    from capsim.cost.billed import is_export
    from capsim.results.comparison import compare as side_by_side
    from capsim.telemetry.calibration.recording_comparison import is_recording

    if conditions and conditions.endswith(".json"):
        raise CapsimError(f"--conditions {conditions}: is a saved result; name a scenario")
    exports = [side for side in sides if is_export(side)]
    for name, value in (("--until", until), ("--project", project)):
        if value is not None and not exports:
            raise CapsimError(f"{name} is of exports of what was billed, and none is given; leave it out")
    recordings = [side for side in sides if is_recording(side)]
    if conditions and (recordings or exports):
        raise CapsimError("--conditions is for sides that are simulated; beside a recording or an export leave it out")
    if recordings:
        recorded([side for side in sides if side not in recordings], recordings, options)
        return
    if exports:
        reconcile([side for side in sides if side not in exports], exports, options, until, project)
        return
    if len(sides) < 2 and not sides[0].endswith(".json"):
        raise CapsimError(f"compare has one side, {sides[0]}; name another, or use capsim run")
    perform(sides, options, side_by_side, conditions)

"""Service-level targets as data, and whether a scenario meets them: alone, and in every case of its stress envelope."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Self

from pydantic import Field, ValidationError, model_validator

from capsim.base import paths
from capsim.base.errors import CapsimError
from capsim.base.toml_text import read_toml
from capsim.results.metrics import METRICS, SOME_RUNS
from capsim.results.run import Run
from capsim.scenario.base import Share, Spec
from capsim.scenario.file import load
from capsim.scenario.scenario import Scenario
from capsim.study.target import Target

SAVING = "bill_saving"


class TargetSpec(Spec):
    """One limit on one metric."""

    target: str = Field(description="what people call it")
    metric: str = Field(description="a metric of a run's summary, or bill_saving")
    window: Literal["trace", "month"] = Field(default="month", description="the load once, or a billed month")
    most: float | None = Field(default=None, description="largest value that is healthy")
    least: float | None = Field(default=None, description="smallest value that is healthy")
    unit: str = Field(description="of the limits; must be that of the metric")
    action: str = Field(default="", description="what its authors would do when it is missed")

    @model_validator(mode="after")
    def _limited(self) -> Self:
        if self.most is None and self.least is None:
            raise ValueError(f"target {self.target!r} has no limit; give most or least")
        return self


class SloSpec(Spec):
    """A set of targets."""

    schema_version: Literal[1] = 1
    name: str = Field(description="short name")
    title: str = Field(default="", description="one line for people")
    baseline: str | None = Field(default=None, description="scenario that savings are measured against")
    loss_share_most: Share | None = Field(
        default=None, description="share of the items that may be lost in each case of the stress envelope"
    )
    target: tuple[TargetSpec, ...] = Field(description="the limits")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        least: dict[tuple[str, str], TargetSpec] = {}
        for spec in self.target:
            key = (spec.metric, spec.window)
            if spec.least is not None and (key not in least or spec.least > (least[key].least or 0)):
                least[key] = spec
        for spec in self.target:
            other = least.get((spec.metric, spec.window))
            if spec.most is not None and other is not None and other.least is not None and spec.most < other.least:
                raise ValueError(
                    f"targets contradict each other: {spec.metric} at most {spec.most:g} ({spec.target!r}) and at "
                    f"least {other.least:g} ({other.target!r}); change one of them"
                )
        if self.baseline is None and any(spec.metric == SAVING for spec in self.target):
            raise ValueError(f"{SAVING} needs a baseline; name a scenario")
        return self


def read(name: str) -> SloSpec:
    """Read targets from a TOML file, or bundled ones by their name.

    Raises
    ------
    CapsimError
        If the file cannot be read or says something impossible.

    Examples
    --------
    >>> read("seed").baseline
    'before'
    """
    path = Path(name)
    bundled = paths.data_dir() / "slo" / f"{name}.toml"
    if not path.is_file() and bundled.is_file():
        path = bundled
    data = read_toml(path, name, what="file of targets", remedy="give a TOML file, or: seed")
    try:
        return SloSpec.model_validate(data)
    except ValidationError as error:
        raise CapsimError(*(_line(name, problem["loc"], problem["msg"]) for problem in error.errors())) from error


def _line(name: str, place: Sequence[int | str], text: str) -> str:
    where = ".".join(str(part) for part in place)
    return f"{name}: {where + ': ' if where else ''}{text.removeprefix('Value error, ')}"


class Measured(NamedTuple):
    """What one replicate showed.

    Parameters
    ----------
    values : mapping of metric and window to value
        Of every target but the saving.
    paid_usd : float
        The bill of the month [USD].
    lost_shares : mapping of test to share
        Items lost or stuck in each case of the stress envelope, over the items offered [1].
    """

    values: dict[tuple[str, str], float]
    paid_usd: float
    lost_shares: dict[str, float]


# What a target may limit, and its unit: figures of runs that are played arrival by arrival.
UNITS = {spec.name: spec.unit for spec in METRICS.values() if spec.name not in SOME_RUNS} | {SAVING: "1"}


def usable(slo: SloSpec, source: str | None = None) -> SloSpec:
    """The same targets, if each names a metric that there is, in its unit.

    Parameters
    ----------
    slo : SloSpec
    source : str, optional
        What an error names: the file that they were read from.

    Raises
    ------
    CapsimError
        One line for every target that does not.
    """
    problems = []
    place = source or slo.name
    for spec in slo.target:
        if spec.metric not in UNITS:
            near = difflib.get_close_matches(spec.metric, UNITS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"one of: {', '.join(UNITS)}"
            problems.append(f"{place}: target {spec.target!r}: unknown metric {spec.metric!r}; {hint}")
        elif UNITS[spec.metric] != spec.unit:
            problems.append(
                f"{place}: target {spec.target!r}: {spec.metric} is in {UNITS[spec.metric]}, not in {spec.unit}"
            )
    if problems:
        raise CapsimError(*problems)
    return slo


def baseline_of(slo: SloSpec, scenario: Scenario) -> Scenario | None:
    """The scenario that savings are measured against, under the load of another; None where nothing needs it."""
    if slo.baseline is None or all(spec.metric != SAVING for spec in slo.target):
        return None
    return load(slo.baseline).replace("workload", scenario.workload.model_dump())


def paid_usd(run: Run, window: Literal["trace", "month"] = "month") -> float:
    """The bill of a run [USD]."""
    bill = run.bill(window)
    return float(bill.loc[bill["line"] == "total", "amount_usd"].iloc[-1])


def measured(slo: SloSpec, run: Run, *, stressed: bool = True) -> Measured:
    """The metrics of one run that targets limit."""
    values: dict[tuple[str, str], float] = {}
    for window in ("trace", "month"):
        wanted = [spec.metric for spec in slo.target if spec.window == window and spec.metric != SAVING]
        if wanted:
            table = run.summary("month" if window == "month" else "trace").set_index("metric")["value"]
            values |= {(metric, window): float(table[metric]) for metric in wanted}
    shares = {}
    if slo.loss_share_most is not None and stressed:
        for test, rows in run.stress.groupby("test", sort=False):
            figures = dict(zip(rows["metric"], rows["value"], strict=True))
            without_end = figures["loss_rate_until_restart"] * figures["time_after"]
            lost = figures["items_lost"] + figures["items_stuck"] + without_end
            shares[str(test)] = lost / max(figures["items_offered"], 1.0)
    return Measured(values, paid_usd(run), shares)


def held(slo: SloSpec, replicates: Sequence[Measured], baselines_usd: Sequence[float] = ()) -> list[Target]:
    """What was measured in every replicate, held against the targets.

    Returns
    -------
    list of Target
        In the order of the file, then one for each case of the stress envelope. Values are means over the replicates.
    """
    found = []
    for spec in slo.target:
        if spec.metric == SAVING:
            values = [1 - one.paid_usd / usd for one, usd in zip(replicates, baselines_usd, strict=True)]
        else:
            values = [one.values[spec.metric, spec.window] for one in replicates]
        found.append(_target(spec, values))
    for test in replicates[0].lost_shares:
        spec = TargetSpec(
            target=f"survives the {test} of its envelope", metric="items_lost_share", most=slo.loss_share_most,
            unit="1", action="see what capsim findings says of it",
        )  # fmt: skip
        found.append(_target(spec, [one.lost_shares[test] for one in replicates], window="stress"))
    return found


def _target(spec: TargetSpec, values: list[float], *, window: str = "") -> Target:
    value = sum(values) / len(values)
    limits = [text for text, limit in (("at most", spec.most), ("at least", spec.least)) if limit is not None]
    numbers = [limit for limit in (spec.most, spec.least) if limit is not None]

    def inside(v: float) -> bool:
        return (spec.most is None or v <= spec.most) and (spec.least is None or v >= spec.least)

    margins = [(spec.most - value) / (spec.most or 1)] if spec.most is not None else []
    margins += [(value - spec.least) / (spec.least or 1)] if spec.least is not None else []
    return Target(
        target=spec.target,
        metric=spec.metric,
        window=window or spec.window,
        limit=", ".join(f"{text} {number:g}" for text, number in zip(limits, numbers, strict=True)),
        value=value,
        unit=spec.unit,
        margin=min(margins),
        probability=sum(map(inside, values)) / len(values),
        met=all(map(inside, values)),
        action=spec.action,
    )

"""Service-level targets as data, and whether a scenario meets them: alone, and in every case of its stress envelope."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, ValidationError, model_validator

from capsim import paths
from capsim.errors import CapsimError
from capsim.findings.document import Target
from capsim.run import Run, simulate
from capsim.scenario import load
from capsim.spec import Share, Spec
from capsim.specs import Scenario

if TYPE_CHECKING:
    from capsim.trace import Trace

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
    try:
        return SloSpec.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise CapsimError(f"{name}: cannot be read ({error.strerror}); give a TOML file, or: seed") from error
    except ValidationError as error:
        raise CapsimError(*(_line(name, problem["loc"], problem["msg"]) for problem in error.errors())) from error
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, a number or tables beyond what is read
        raise CapsimError(f"{name}: is not TOML ({error}); correct it") from error


def _line(name: str, place: Sequence[int | str], text: str) -> str:
    where = ".".join(str(part) for part in place)
    return f"{name}: {where + ': ' if where else ''}{text.removeprefix('Value error, ')}"


def check(
    slo: SloSpec, scenario: Scenario, trace: Trace | None = None, *, seed: int = 0, replicates: int = 1
) -> tuple[list[Target], Run]:
    """Simulate a month in every replicate, and hold it against the targets.

    Returns
    -------
    list of Target
        In the order of the file, then one for each case of the stress envelope. Values are means over the replicates.
    Run
        The month of the first replicate.

    Raises
    ------
    CapsimError
        For a metric that no run has, or another unit than the metric's.
    """
    baseline = load(slo.baseline) if slo.baseline and any(t.metric == SAVING for t in slo.target) else None
    if baseline is not None:  # the same load for both
        baseline = baseline.replace("workload", scenario.workload.model_dump())
    values: dict[TargetSpec, list[float]] = {spec: [] for spec in slo.target}
    stressed: dict[str, list[float]] = {}
    runs: list[Run] = []
    for replicate in range(replicates):
        run = simulate(scenario, trace, seed=seed, replicate=replicate)
        runs = runs or [run]
        other = simulate(baseline, trace, seed=seed, replicate=replicate) if baseline is not None else None
        for spec in slo.target:
            values[spec].append(_value(spec, run, other, slo.name))
        if slo.loss_share_most is not None:
            for test, rows in run.stress.groupby("test", sort=False):
                figures = dict(zip(rows["metric"], rows["value"], strict=True))
                lost = figures["items_lost"] + figures["items_stuck"]
                stressed.setdefault(str(test), []).append(lost / max(figures["items_offered"], 1.0))
    found = [_target(spec, values[spec]) for spec in slo.target]
    for test, shares in stressed.items():
        found.append(_target(
            TargetSpec(target=f"survives the {test} of its envelope", metric="items_lost_share",
                       most=slo.loss_share_most, unit="1", action="see the findings below"), shares, window="stress",
        ))  # fmt: skip
    return found, runs[0]


def _value(spec: TargetSpec, run: Run, baseline: Run | None, name: str) -> float:
    if spec.metric == SAVING:
        assert baseline is not None
        return 1 - _paid(run) / _paid(baseline)
    table = run.summary(spec.window)
    row = table[table["metric"] == spec.metric]
    if row.empty:
        raise CapsimError(
            f"{name}: target {spec.target!r}: unknown metric {spec.metric!r}; one of: {', '.join(table['metric'])}"
        )
    unit = str(row["unit"].iloc[0])
    if unit != spec.unit:
        raise CapsimError(f"{name}: target {spec.target!r}: {spec.metric} is in {unit}, not in {spec.unit}")
    return float(row["value"].iloc[0])


def _paid(run: Run) -> float:
    bill = run.bill("month")
    return float(bill.loc[bill["line"] == "total", "amount_usd"].iloc[-1])


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

"""Examine the claims of the plan: play every side, search for what each claim needs, judge."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

from capsim.base.document import published
from capsim.base.intervals import interval
from capsim.base.workers import WORKERS, Workers
from capsim.results.provenance import certificate
from capsim.scenario.file import load
from capsim.scenario.scenario import Scenario
from capsim.study.audit import claims as told
from capsim.study.audit.break_even import Loads, Solved, solve
from capsim.study.audit.claims import ClaimSpec, ClaimsSpec, Measure
from capsim.study.audit.document import Audit, Beside, Change, Claim, Estimate, Need
from capsim.study.audit.figures import FIGURES, Played, Value, read
from capsim.study.audit.variants import BEFORE, FAMILIES, HOBBY, ONE, PLAN, STEPS, Side, family, pair, scenario_of
from capsim.study.audit.verdict import Range, judge, measured
from capsim.workload import load_of

if TYPE_CHECKING:
    from capsim.workload import Trace

REPLICATES = 3
# Of every comparison of the families.
CHANGE_FIGURES = (
    "server_rss_mean", "server_billed_mean", "held_mean", "project_billed_mean", "usage", "total", "server_cpu_mean",
    "stall_rss_peak", "stall_items_lost",
)  # fmt: skip

Values = dict[tuple[Side, str], list[Value]]  # one value a replicate


class Task(NamedTuple):
    """Something to be played by itself: a side in one replicate, or the search for what a claim needs."""

    side: Side | None = None
    replicate: int = 0
    figures: tuple[str, ...] = ()
    claim: int = 0
    need: int = 0


def examine(
    base: Scenario | None = None,
    trace: Trace | None = None,
    *,
    seed: int = 0,
    replicates: int = REPLICATES,
    claims: ClaimsSpec | None = None,
    families: Sequence[str] = FAMILIES,
    workers: int = WORKERS,
    progress: Callable[[float], None] | None = None,
) -> Audit:
    """Put a prediction beside every claim of the plan.

    Parameters
    ----------
    base : Scenario, optional
        The server before the plan, under the load that is meant; by default the bundled one.
    trace : Trace, optional
        In place of its own load.
    seed : int
        Address of the draws; every side sees the same ones.
    replicates : int
        Plays of the sides whose effects are claimed; the families beyond single changes are played once.
    claims : ClaimsSpec, optional
        Others than the bundled ones.
    families : sequence of str
        Comparisons that are made beside the claims.
    workers : int
        Processes that work side by side; the answer is the same for any number.
    progress : callable, optional
        Told the share that is done.

    Returns
    -------
    Audit

    Examples
    --------
    >>> audit = examine()  # doctest: +SKIP
    """
    base = load("before") if base is None else base
    spec = told.read() if claims is None else claims
    given = load_of(base, trace, seed)
    loads = Loads(given.mean_hz, given.peak_hz, base.stress.load_factor)
    tasks = _tasks(spec, replicates, families)
    work = partial(_work, spec, base, trace, loads, seed)
    with Workers(workers, work=work) as pool:
        answers = pool.all(tasks, progress)
    values: Values = {}
    solved: dict[tuple[int, int], Solved] = {}
    for task, answer in zip(tasks, answers, strict=True):
        if isinstance(answer, Solved):
            solved[task.claim, task.need] = answer
        elif task.side is not None:
            for name, value in zip(task.figures, answer, strict=True):
                values.setdefault((task.side, name), []).append(value)
    born = certificate(base, given.provenance(), seed=seed, replicate=0, fidelity="exact")
    born.pop("replicate", None)
    return Audit.model_validate(published({
        "capsim_version": version("capsim"),
        "source": spec.source,
        "load": given.name,
        "mean_hz": loads.mean_hz,
        "peak_hz": loads.peak_hz,
        "seed": seed,
        "replicates": replicates,
        "claims": [
            _claim(claim, values, [solved[place, n] for n in range(len(claim.needs))]).model_dump()
            for place, claim in enumerate(spec.claim)
        ],
        "changes": [row.model_dump() for name in families for row in _changes(name, values)],
        "provenance": born,
    }))  # fmt: skip


# --- what is played -----------------------------------------------------------------------------------------


def _tasks(spec: ClaimsSpec, replicates: int, families: Sequence[str]) -> list[Task]:
    """Everything to be played, each side with all figures that are asked of it; the longest first."""
    wanted: dict[tuple[Side, int], dict[str, None]] = {}

    def want(side: Side, figures: Iterable[str], times: int) -> None:
        for replicate in range(times):
            wanted.setdefault((side, replicate), {}).update(dict.fromkeys(figures))

    for claim in spec.claim:
        if not claim.untestable:
            figures = (claim.figure, *claim.stressed, *claim.beside)
            once = claim.change is None or claim.change not in (*STEPS, PLAN)
            for side in pair(claim.change, claim.knobs):
                want(side, figures, 1 if once else replicates)
            if claim.measure == "rank":
                for _, _, side in family(ONE):
                    want(side, (claim.figure,), replicates)
    for name in families:
        for _, without, with_ in family(name):
            for side in (without, with_):
                want(side, CHANGE_FIGURES, replicates if name == ONE else 1)
    searches = [Task(claim=c, need=n) for c, claim in enumerate(spec.claim) for n in range(len(claim.needs))]
    sides = [Task(side, replicate, tuple(figures)) for (side, replicate), figures in wanted.items()]
    return [*searches, *sides]


def _work(
    spec: ClaimsSpec, base: Scenario, trace: Trace | None, loads: Loads, seed: int, task: Task
) -> Solved | list[Value]:
    if task.side is None:
        claim = spec.claim[task.claim]
        return solve(claim, claim.needs[task.need], base, loads, seed)
    side = Played(scenario_of(task.side, base), trace, loads.peak_hz, seed, task.replicate)
    return [read(side, name) for name in task.figures]


# --- what follows -------------------------------------------------------------------------------------------


def _estimate(values: Sequence[Value], figure: str) -> Estimate:
    """Mean over replicates, its interval, and the hull of that and of the page cache's bracket.

    A peak is of no symmetric law: in place of an interval it has the smallest and the largest one seen.

    Examples
    --------
    >>> seen = [Value(10.0, 8.0, 11.0), Value(12.0, 10.0, 13.0)]
    >>> _estimate(seen, "usage").low < 8, _estimate(seen, "server_rss_peak").low
    (True, 9.0)
    """
    expected, low, high = ([value[which] for value in values] for which in range(3))
    mean = math.fsum(expected) / len(expected)
    half = interval(expected).half_width if len(expected) > 1 and not figure.endswith("_peak") else None
    ends = [mean - half, mean + half] if half is not None else [min(expected), max(expected)]
    ends += [math.fsum(v) / len(v) for v in (low, high)]
    return Estimate(value=mean, half_width=half, low=min(ends), high=max(ends))


def _effects(measure: Measure, without: Sequence[Value], with_: Sequence[Value]) -> list[Value]:
    """What is held against the claimed range, replicate by replicate, at each of the three brackets."""
    pairs = zip(without, with_, strict=True)
    return [Value(*(measured(measure, a[which], b[which]) for which in range(3))) for a, b in pairs]


def _claim(claim: ClaimSpec, values: Values, solved: Sequence[Solved]) -> Claim:
    head: dict[str, Any] = {
        "claim": claim.id, "place": claim.place, "says": claim.says, "note": claim.note, "measure": claim.measure,
        "change": claim.change or ", ".join(f"{knob} = {value}" for knob, value in claim.knobs.items()),
        "least": claim.least, "most": claim.most, "unit": claim.unit, "figure": claim.figure,
    }  # fmt: skip
    if claim.untestable:
        return Claim(
            **head, meaning="", without=None, with_change=None, predicted=None, stressed=(), beside=(), needs=(),
            verdict="not testable", rule=claim.untestable,
        )  # fmt: skip
    sides = pair(claim.change, claim.knobs)
    without, with_ = (values[side, claim.figure] for side in sides)
    times = min(len(without), len(with_))
    without, with_ = without[:times], with_[:times]
    effects = _effects(claim.measure, without, with_)
    if claim.measure == "rank":
        effects = _ranked(claim.figure, effects, sides[1], values)
    predicted = _estimate(effects, claim.figure)
    claimed = Range(claim.least, claim.most)
    in_stress = [_beside(name, sides, values) for name in claim.stressed]
    assert predicted.value is not None and predicted.low is not None and predicted.high is not None
    verdict, rule = judge(
        claim.measure, claimed, (predicted.value, predicted.low, predicted.high),
        stressed=[measured(claim.measure, b.without or 0.0, b.with_change or 0.0) for b in in_stress],
        without=[without[0].expected, *(b.without or 0.0 for b in in_stress)],
    )  # fmt: skip
    return Claim(
        **head,
        meaning=FIGURES[claim.figure].meaning,
        without=_estimate(without, claim.figure),
        with_change=_estimate(with_, claim.figure),
        predicted=predicted,
        stressed=tuple(in_stress),
        verdict=verdict,
        rule=rule,
        beside=tuple(_beside(name, sides, values) for name in claim.beside),
        needs=tuple(_need(claim, n, found) for n, found in enumerate(solved)),
    )


def _ranked(figure: str, own: Sequence[Value], side: Side, values: Values) -> list[Value]:
    """Savings less the largest one of any other single change of the server."""
    others = [
        _effects("saving", values[BEFORE, figure], values[other, figure])
        for change, _, other in family(ONE)
        if other != side and change != HOBBY
    ]
    return [
        Value(*(value[which] - max(other[place][which] for other in others) for which in range(3)))
        for place, value in enumerate(own)
    ]


def _beside(name: str, sides: tuple[Side, Side], values: Values) -> Beside:
    figure = FIGURES[name]
    without, with_ = (_estimate(values[side, name], name).value for side in sides)
    return Beside(
        figure=name, meaning=figure.meaning, unit=figure.unit, without=_known(without), with_change=_known(with_)
    )


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _need(claim: ClaimSpec, number: int, found: Solved) -> Need:
    need = claim.needs[number]
    name = need.figure or claim.figure
    own = need.measure is None
    return Need(
        what=need.what, unit=need.unit, size=found.size, fails_at=found.fails_at,
        searched_from=need.from_, searched_to=need.to,
        figure=FIGURES[name].meaning, figure_unit=FIGURES[name].unit, measure=need.measure or claim.measure,
        least=claim.least if own else need.least, most=claim.most if own else need.most,
        without=_known(found.figure[0]), with_change=_known(found.figure[1]),
        deaths_without=_known(found.deaths[0]), deaths_with=_known(found.deaths[1]),
        lost_without=_known(found.lost[0]), lost_with=_known(found.lost[1]), tries=found.tries,
    )  # fmt: skip


def _changes(name: str, values: Values) -> list[Change]:
    rows = []
    for step, (change, without, with_) in enumerate(family(name), 1):
        for figure in CHANGE_FIGURES:
            first, second = values[without, figure], values[with_, figure]
            times = min(len(first), len(second)) if name == ONE else 1
            saving = _estimate(_effects("saving", first[:times], second[:times]), figure)
            rows.append(Change(
                family=name, step=step, change=change, figure=figure, meaning=FIGURES[figure].meaning,
                unit=FIGURES[figure].unit, without=_estimate(first[:times], figure).value,
                with_change=_estimate(second[:times], figure).value, saving=saving.value, half_width=saving.half_width,
            ))  # fmt: skip
    return rows

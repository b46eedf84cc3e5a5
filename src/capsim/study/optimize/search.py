"""Search the space: candidates in rounds under the load, then the best of them over whole months.

Every candidate meets the same arrivals and the same database (chance has an address), so a difference between two of
them is one of configuration. Optuna's tree-structured Parzen estimator proposes; it is told the cost, the loss and the
latency, and how far each target is missed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from capsim.base.document import published
from capsim.base.errors import CapsimError
from capsim.base.workers import WORKERS, Workers
from capsim.results.run import simulate
from capsim.scenario.file import dumps
from capsim.scenario.scenario import Scenario
from capsim.study.findings.chances import chance
from capsim.study.optimize.candidate import Figures, at_this_rate_usd, in_a_month, on_the_load
from capsim.study.optimize.document import InTheWay, Optimum, Point
from capsim.study.optimize.space import POSTGRES, Choice, Knob, made, space, with_own
from capsim.study.slo import SloSpec, baseline_of, paid_usd

if TYPE_CHECKING:
    import optuna

    from capsim.workload import Trace

ROUNDS, A_ROUND = 10, 8  # candidates: proposals of a round do not know of each other, whatever the number of workers
CENT_USD = 0.005  # costs that differ by less are the same
FINALISTS = 2  # candidates that are simulated for a month


def optimize(
    scenario: Scenario,
    slo: SloSpec,
    trace: Trace | None = None,
    *,
    knobs: Sequence[Knob] | None = None,
    seed: int = 0,
    replicates: int = 1,
    rounds: int = ROUNDS,
    workers: int = WORKERS,
    progress: Callable[[float], None] | None = None,
) -> Optimum:
    """The cheapest configuration that meets the targets, over a month, in every replicate.

    Parameters
    ----------
    scenario : Scenario
        Where the search begins; what the knobs do not say stays.
    slo : SloSpec
        Targets; with ``loss_share_most`` also every case of the stress envelope.
    trace : Trace, optional
        In place of the scenario's own load.
    knobs : sequence of Knob, optional
        What may be changed; by default `capsim.study.optimize.space.space`, and the memory limit of Postgres.
    seed : int
        Address of the draws, of the simulation and of the search.
    replicates : int
        Months in which the finalists must meet the targets.
    rounds : int
        Of eight candidates each.
    workers : int
        Processes; the answer is the same for any number.
    progress : callable, optional
        Told the share that is done, from 0 to 1.

    Returns
    -------
    Optimum

    Raises
    ------
    CapsimError
        If the extra ``optimize`` is not installed, or the load or the prices cannot be used.
    """
    found = Search(scenario, slo, trace, knobs, seed, replicates, progress)
    with Workers(workers) as found.workers:
        found.propose(rounds)
        found.tidy()
        return found.answer()


class Search:
    """One search on its way; the parameters are those of `optimize`."""

    def __init__(
        self,
        scenario: Scenario,
        slo: SloSpec,
        trace: Trace | None,
        knobs: Sequence[Knob] | None,
        seed: int,
        replicates: int,
        progress: Callable[[float], None] | None,
    ) -> None:
        self.scenario, self.slo, self.trace, self.seed, self.replicates = scenario, slo, trace, seed, replicates
        self.progress = progress or (lambda _: None)
        self.own: dict[str, int] = {}
        self.knobs: list[Knob] = []
        for knob in space(scenario) if knobs is None else knobs:
            whole, number = with_own(knob, scenario)
            self.knobs.append(whole)
            self.own[knob.name] = number
        self.late = [POSTGRES] if knobs is None else []
        self.baseline = baseline_of(slo, scenario)
        self.baseline_usd: float | None = None
        self.seen: dict[tuple[int, ...], Figures] = {}
        self.workers: Workers

    # --- under the load -------------------------------------------------------------------------------------

    def propose(self, rounds: int) -> None:
        """Let the sampler propose, round after round, beginning with the scenario as it is."""
        if self.baseline is not None:
            self.baseline_usd = at_this_rate_usd(simulate(self.baseline, self.trace, seed=self.seed, month=False))
        study = _study(self.seed)
        study.enqueue_trial(self.own)
        for turn in range(rounds):
            trials = [study.ask() for _ in range(A_ROUND)]
            choices = [{k.name: t.suggest_int(k.name, 0, len(k.values) - 1) for k in self.knobs} for t in trials]
            figures = self._tried(choices)
            for trial, one in zip(trials, figures, strict=True):
                for place, excess in enumerate(one.excess):
                    trial.set_constraint(f"target {place}", excess)
                study.tell(trial, [one.cost_usd, one.lost_share, one.latency_s])
            self.progress(0.7 * (turn + 1) / rounds)

    def tidy(self) -> None:
        """Take back every change of the best that the targets and the cost do not need."""
        best = self.best()
        if not best:
            return
        choice = dict(best[0])
        cost_usd = self.seen[self._key(choice)].cost_usd
        changes = [name for name in choice if choice[name] != self.own[name]]
        alone = self._tried([choice | {name: self.own[name]} for name in changes])
        harmless = [n for n, f in zip(changes, alone, strict=True) if not f.missed and f.cost_usd < cost_usd + CENT_USD]
        # Two changes may each do without the other; so they are taken back one after the other.
        for name in harmless:
            without = choice | {name: self.own[name]}
            figures = self._tried([without])[0]
            if not figures.missed and figures.cost_usd < cost_usd + CENT_USD:
                choice = without
        self.progress(0.75)

    def _key(self, choice: Choice) -> tuple[int, ...]:
        return tuple(choice[knob.name] for knob in self.knobs)

    def _tried(self, choices: Sequence[Choice]) -> list[Figures]:
        """Figures of some choices under the load; each is simulated once."""
        new = {self._key(choice): choice for choice in choices if self._key(choice) not in self.seen}
        jobs = [
            partial(on_the_load, made(self.scenario, self.knobs, choice), self.slo, self.baseline_usd, self.trace,
                    self.seed)
            for choice in new.values()
        ]  # fmt: skip
        self.seen |= zip(new, self.workers.all(jobs), strict=True)
        return [self.seen[self._key(choice)] for choice in choices]

    def _choice(self, key: tuple[int, ...]) -> dict[str, int]:
        return dict(zip([knob.name for knob in self.knobs], key, strict=True))

    def best(self) -> list[dict[str, int]]:
        """Choices that meet every target, the cheapest first; of the same cost, the one with the fewest changes."""

        def rank(key: tuple[int, ...]) -> tuple[float, ...]:
            figures, changes = self.seen[key], sum(a != b for a, b in zip(key, self._key(self.own), strict=True))
            return round(figures.cost_usd / CENT_USD / 2), changes, figures.lost_share, figures.latency_s

        return [self._choice(key) for key in sorted((k for k, f in self.seen.items() if not f.missed), key=rank)]

    # --- over months ----------------------------------------------------------------------------------------

    def answer(self) -> Optimum:
        """Simulate months of the finalists, and say which is best."""
        finalists: list[tuple[dict[str, str], Scenario]] = [({}, self.scenario)]
        best = self.best()[:FINALISTS]
        for place, choice in enumerate(best):
            if place and choice == self.own:
                continue
            variant, told = made(self.scenario, self.knobs, choice), self._told(self._key(choice))
            if told:
                finalists.append((told, variant))
            for knob in self.late if place == 0 else ():
                whole, own = with_own(knob, variant)
                finalists += [
                    (told | {knob.name: whole.told(number)}, made(variant, [whole], {knob.name: number}))
                    for number in range(len(whole.values))
                    if number != own
                ]
        baselines = [self.baseline] * self.replicates if self.baseline is not None else []
        paid = self.workers.all([
            partial(_paid, base, self.trace, self.seed, replicate) for replicate, base in enumerate(baselines)
        ]) or [None] * self.replicates  # fmt: skip
        jobs = [
            partial(in_a_month, variant, self.slo, paid[replicate], self.trace, self.seed, replicate)
            for _, variant in finalists
            for replicate in range(self.replicates)
        ]
        figures = self.workers.all(jobs, lambda share: self.progress(0.75 + 0.25 * share))
        months = [figures[n * self.replicates : (n + 1) * self.replicates] for n in range(len(finalists))]
        meets = [n for n in range(len(finalists)) if not any(figures.missed for figures in months[n])]
        winner = min(meets, key=lambda n: (round(_mean_usd(months[n]), 2), len(finalists[n][0]), n), default=None)
        return self._document(finalists, months, winner)

    def _document(
        self, finalists: Sequence[tuple[dict[str, str], Scenario]], months: Sequence[Sequence[Figures]],
        winner: int | None,
    ) -> Optimum:  # fmt: skip
        own_usd = max(self.seen[self._key(self.own)].cost_usd, CENT_USD)
        points = {key: _point(self._told(key), [figures], own_usd) for key, figures in self.seen.items()}
        allowed = [key for key, figures in self.seen.items() if not figures.missed] or list(self.seen)
        seen = months[winner or 0]
        met = sum(not figures.missed for figures in seen)
        late = math.prod(len(knob.values) for knob in self.late)
        return Optimum.model_validate(published({
            "capsim_version": version("capsim"),
            "name": self.scenario.name,
            "title": self.scenario.title,
            "slo": self.slo.name,
            "seed": self.seed,
            "tried": len({str(c) for c in [*(p.changes for p in points.values()), *(told for told, _ in finalists)]}),
            "possible": math.prod(len(knob.values) for knob in self.knobs) * late,
            "own": _point({}, months[0]).model_dump(),
            "best": None if winner is None else _point(finalists[winner][0], seen).model_dump(),
            "targets": [target.model_dump() for target in seen[0].targets],
            "chance": None if winner is None else chance(
                met, self.replicates, "a month of the load and its envelope, every target met"
            ).model_dump(),
            "in_the_way": [] if winner is not None else [t.model_dump() for t in self._in_the_way(months)],
            "front": [points[key].model_dump() for key in self._front(allowed)],
            "cloud": [point.model_dump() for point in points.values()],
            "scenario": "" if winner is None else dumps(finalists[winner][1]),
            "provenance": {
                "scenario": self.scenario.model_dump(mode="json", by_alias=True),
                "slo": self.slo.model_dump(mode="json"),
                "space": {knob.name: [knob.told(n) for n in range(len(knob.values))] for knob in
                          [*self.knobs, *self.late]},
                "optuna": version("optuna"),
            },
        }))  # fmt: skip

    def _told(self, key: tuple[int, ...]) -> dict[str, str]:
        return {
            knob.name: knob.told(number)
            for knob, number in zip(self.knobs, key, strict=True)
            if number != self.own[knob.name]
        }

    def _front(self, keys: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """Choices that no other one beats: cheapest first."""

        def worth(key: tuple[int, ...]) -> tuple[float, float, float]:
            figures = self.seen[key]
            return round(figures.cost_usd, 2), round(figures.lost_share, 6), round(figures.latency_s, 3)

        kept: dict[tuple[float, float, float], tuple[int, ...]] = {}
        own = self._key(self.own)
        for key in sorted(keys, key=lambda key: sum(a != b for a, b in zip(key, own, strict=True))):
            kept.setdefault(worth(key), key)  # of equal ones, that with the fewest changes
        return [
            kept[mine]
            for mine in sorted(kept)
            if not any(other != mine and all(a <= b for a, b in zip(other, mine, strict=True)) for other in kept)
        ]

    def _in_the_way(self, months: Sequence[Sequence[Figures]]) -> list[InTheWay]:
        """The targets that fewest candidates met; if some met all, those that their months missed."""
        every = list(self.seen.values())
        if any(not figures.missed for figures in every):
            every = [figures for month in months[1:] for figures in month]
        found = []
        for place, target in enumerate(every[0].targets):
            same = [figures.targets[place] for figures in every]
            best = max(same, key=lambda t: t.margin if t.margin is not None else -math.inf)
            found.append(InTheWay(
                target=target.target, limit=target.limit, best=best.value, unit=target.unit,
                met_by=sum(bool(t.met) for t in same),
            ))  # fmt: skip
        least = min(row.met_by for row in found)
        hard = [row for row in found if row.met_by == 0]
        return hard or [row for row in found if row.met_by == least]


def _study(seed: int) -> optuna.Study:
    try:
        import optuna
    except ImportError as error:
        raise CapsimError("capsim optimize needs the extra 'optimize': pip install 'capsim[optimize]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=2 * A_ROUND, multivariate=True, constant_liar=True
        )
    return optuna.create_study(directions=["minimize"] * 3, sampler=sampler)


def _point(changes: dict[str, str], figures: Sequence[Figures], own_usd: float | None = None) -> Point:
    """A configuration over months, or under the load, where only the ratio to ``own_usd`` means something."""
    count = len(figures)
    return Point(
        changes=changes,
        cost_usd=_mean_usd(figures) if own_usd is None else None,
        cost_index=None if own_usd is None else 100 * _mean_usd(figures) / own_usd,
        lost_share=max(one.lost_share for one in figures),
        latency_s=sum(one.latency_s for one in figures) / count,
        missed=tuple(dict.fromkeys(name for one in figures for name in one.missed)),
    )


def _mean_usd(figures: Sequence[Figures]) -> float:
    return sum(one.cost_usd for one in figures) / len(figures)


def _paid(scenario: Scenario, trace: Trace | None, seed: int, replicate: int) -> Any:
    return paid_usd(simulate(scenario, trace, seed=seed, replicate=replicate, month=True))

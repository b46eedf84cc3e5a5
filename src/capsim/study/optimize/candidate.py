"""One candidate: what it costs, loses and delays under the load and in its stress envelope, against the targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from capsim.base.units import US_PER_S
from capsim.results.page_cache import cache_share
from capsim.results.run import MONTH_US, Run, simulate
from capsim.scenario.columns import LOSSES
from capsim.scenario.prices import plan_on
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from capsim.study.slo import SAVING, Measured, SloSpec, held, measured
from capsim.study.target import Target

if TYPE_CHECKING:
    from capsim.workload import Trace


class Figures(NamedTuple):
    """What a candidate showed.

    Parameters
    ----------
    cost_usd : float
        Of a month [USD]: simulated, or at the rate of the load.
    lost_share : float
        The largest share of the items lost or stuck, of the load and of each case of the envelope [1].
    latency_s : float
        Mean time from an item's arrival until it is written, by Little's law [s].
    targets : tuple of Target
        Held against them.
    """

    cost_usd: float
    lost_share: float
    latency_s: float
    targets: tuple[Target, ...]

    @property
    def missed(self) -> list[str]:
        """Targets that are missed."""
        return [target.target for target in self.targets if not target.met]

    @property
    def excess(self) -> list[float]:
        """How far each target is missed, relative to its limit; 0 or below where it is met."""
        return [0.0 if target.met else max(-(target.margin or 0.0), 1e-9) for target in self.targets]


def on_the_load(
    scenario: Scenario, slo: SloSpec, baseline_usd: float | None, trace: Trace | None, seed: int
) -> Figures:
    """A candidate under the load, once, and in its envelope; a month's targets are held against the load's figures."""
    run = simulate(scenario, trace, seed=seed, month=False)
    table = run.summary("trace").set_index("metric")["value"]
    values: dict[tuple[str, str], float] = {
        (t.metric, t.window): float(table[t.metric]) for t in slo.target if t.metric != SAVING
    }
    stress = measured(SloSpec(name=slo.name, loss_share_most=slo.loss_share_most, target=()), run)
    return _figures(slo, run, Measured(values, at_this_rate_usd(run), stress.lost_shares), baseline_usd)


def in_a_month(
    scenario: Scenario, slo: SloSpec, baseline_usd: float | None, trace: Trace | None, seed: int, replicate: int
) -> Figures:
    """A candidate over a billed month, and in its envelope."""
    run = simulate(scenario, trace, seed=seed, replicate=replicate, month=True)
    return _figures(slo, run, measured(slo, run), baseline_usd)


def at_this_rate_usd(run: Run) -> float:
    """What a month would cost if all of it were as the load is [USD]: for ranking only, for page cache grows."""
    used = float(cache_share(run, "trace")["usage_usd"]["expected"]) * MONTH_US / (run.trace_span_s * US_PER_S)
    plan = plan_on(run.scenario.billing.plan, run.scenario.billing.from_date)
    return float(plan.fee_usd) + max(0.0, used - float(plan.included_usage_usd))


def _figures(slo: SloSpec, run: Run, seen: Measured, baseline_usd: float | None) -> Figures:
    # Without a baseline no target asks for a saving.
    targets = held(slo, [seen], [] if baseline_usd is None else [baseline_usd])
    samples = run.window("trace")
    arrived = sum(float(samples[f"{stream}_arrived"].sum()) for stream in STREAMS)
    waiting = sum(
        float((samples[f"{stream}_{what}_mean_rows"] * samples["width_s"]).sum())
        for stream in STREAMS
        for what in ("buffer", "in_flight")
    )
    items = run.accounting()
    lost = float(items[list(LOSSES)].to_numpy().sum())
    share = max([lost / max(float(items["arrived"].sum()), 1.0), *seen.lost_shares.values()])
    return Figures(seen.paid_usd, share, waiting / arrived if arrived else 0.0, tuple(targets))

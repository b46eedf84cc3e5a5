"""What the load does by itself, undisturbed, and what is true of the configuration for a month of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsim.detectors import Facts, detect
from capsim.findings.document import Chance, Finding
from capsim.findings.words import WORDS, filled
from capsim.memory.limits import container_mib, ending_of_a_leak, node_defaults
from capsim.memory.volume import volume_full
from capsim.play import play
from capsim.run import Run, simulate
from capsim.specs import Scenario
from capsim.workload import load_of

if TYPE_CHECKING:
    from capsim.trace import Trace

GROWTH_MIB_A_DAY = 1.0  # of the least billed memory of a day, from which it counts as growing; chosen


def standing(
    scenario: Scenario, trace: Trace | None, *, seed: int, replicates: int, month: Run | None = None
) -> list[Finding]:
    """Failures without a disturbance: of the load once, in each replicate, and of a month of it.

    Parameters
    ----------
    replicates : int
        Runs of the load.
    month : Run, optional
        Of this load, if there is one already.
    """
    month = month or simulate(scenario, trace, seed=seed)
    return [*_own(scenario, trace, seed, replicates), *_month(month), *_leak(scenario)]


def _own(scenario: Scenario, trace: Trace | None, seed: int, replicates: int) -> list[Finding]:
    seen: dict[tuple[str, str], list[tuple[float, float | None]]] = {}
    for replicate in range(replicates):
        load = load_of(scenario, trace, seed, replicate)
        facts = Facts(
            *play(scenario, load, seed=seed, replicate=replicate, resolution_s=60.0, keep=True, progress=None)
        )
        for found in detect(facts):
            lost = found.amount if found.unit == "items" and found.kind != "wedge" else 0.0
            heals_s = None if found.to_s is None else found.to_s - found.from_s
            seen.setdefault((found.kind, found.part), []).append((lost, heals_s))
    findings = []
    for (kind, part), cases in seen.items():
        healed_s = [heals_s for _, heals_s in cases if heals_s is not None]
        chance = Chance(
            seen=len(cases), runs=replicates, probability=len(cases) / replicates, upper=1.0, what="the load, once",
        )  # fmt: skip
        findings.append(_found(
            kind, part, "the load itself", None, "", "", chances=(chance,), lost=max(case[0] for case in cases),
            heals_after_s=max(healed_s) if len(healed_s) == len(cases) else None,
        ))  # fmt: skip
    return findings


def _month(run: Run) -> list[Finding]:
    samples = run.window("month")
    found = []
    daily = samples.groupby(samples["time_s"] // 86_400)["postgres_billed_mib"].min()
    growth = (float(daily.iloc[-1]) - float(daily.iloc[1])) / (len(daily) - 2) if len(daily) > 2 else 0.0
    if growth > GROWTH_MIB_A_DAY and (daily.diff().iloc[2:] >= 0).mean() > 0.9:
        found.append(_found(
            "billed memory grows", "database", "a month of the load", growth, "growth, least of each day",
            "MiB/day",
        ))  # fmt: skip
    full = volume_full(samples, run.scenario)
    if full is not None:
        found.append(_found(
            "volume full", "database", "the load, repeated", full.at_s / 86_400, f"time until {full.date.isoformat()}",
            "days",
        ))  # fmt: skip
    return found


def _leak(scenario: Scenario) -> list[Finding]:
    cap = scenario.server.node.heap_cap_mib
    container = container_mib(scenario)
    if cap == "none":
        limit = node_defaults(container).heap_cap_mib
        end = ending_of_a_leak(None, container)
        return [_found("no heap cap", "server", "leak", limit, f"heap at which V8 gives up (then: {end})", "MiB")]
    return []


def _found(
    kind: str, part: str, disturbance: str, trigger: float | None, trigger_of: str, unit: str,
    *, chances: tuple[Chance, ...] = (), lost: float | None = None, heals_after_s: float | None = None,
) -> Finding:  # fmt: skip
    words = WORDS[kind]
    return Finding(
        kind=kind, part=part, disturbance=disturbance, happens=filled(words.happens, part), trigger=trigger,
        trigger_of=trigger_of, unit=unit, precision=None, rate_hz=None, chances=chances, lost=lost,
        heals_after_s=heals_after_s, shows=words.shows, alert=filled(words.alert, part), remedies=(), schedule="",
        series=None,
    )  # fmt: skip

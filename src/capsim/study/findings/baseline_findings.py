"""What the load does by itself, undisturbed, and what is true of the configuration for a month of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from capsim.engine.simulation import play
from capsim.memory.limits import container_mib, ending_of_a_leak, node_defaults
from capsim.memory.volume import volume_full
from capsim.results.run import Run
from capsim.scenario.scenario import Scenario
from capsim.study.findings.chances import chance
from capsim.study.findings.descriptions import WORDS, filled
from capsim.study.findings.detectors import Facts, detect
from capsim.study.findings.document import Chance, Finding
from capsim.workload import load_of

if TYPE_CHECKING:
    from capsim.workload import Trace

AT_REST = "the load itself"
GROWTH_MIB_A_DAY = 1.0  # of the least billed memory of a day, from which it counts as growing; chosen


Seen = dict[tuple[str, str], tuple[float, float | None]]  # by kind and part: items lost, and when it was over [s]


def of_the_load(scenario: Scenario, trace: Trace | None, seed: int, replicate: int) -> Seen:
    """What goes wrong in one run of the load, undisturbed."""
    load = load_of(scenario, trace, seed, replicate)
    facts = Facts(*play(scenario, load, seed=seed, replicate=replicate, resolution_s=60.0, keep=True, progress=None))
    seen: Seen = {}
    for found in detect(facts):
        lost = found.amount if found.unit == "items" and found.kind != "wedge" else 0.0
        seen[found.kind, found.part] = lost, None if found.to_s is None else found.to_s - found.from_s
    return seen


def standing(scenario: Scenario, runs: Sequence[Seen]) -> list[Finding]:
    """Failures without a disturbance: of the load, in each of its runs, and of the configuration."""
    cases: dict[tuple[str, str], list[tuple[float, float | None]]] = {}
    for seen in runs:
        for key, case in seen.items():
            cases.setdefault(key, []).append(case)
    found = []
    for (kind, part), every in cases.items():
        healed_s = [heals_s for _, heals_s in every if heals_s is not None]
        found.append(_found(
            kind, part, AT_REST, None, "", "", chances=(chance(len(every), len(runs), "the load, once"),),
            lost=max(case[0] for case in every), heals_after_s=max(healed_s) if len(healed_s) == len(every) else None,
        ))  # fmt: skip
    return [*found, *_leak(scenario)]


def of_the_month(run: Run) -> list[Finding]:
    """What grows in a month, and what is full before its end."""
    samples = run.window("month")
    full = volume_full(samples, run.scenario)
    found = []
    if full is not None:
        found.append(_found(
            "volume full", "database", "the load, repeated", full.at_s / 86_400, f"time until {full.date.isoformat()}",
            "days",
        ))  # fmt: skip
        samples = samples[samples["time_s"] < full.at_s]  # afterwards nothing grows
    daily = samples.groupby(samples["time_s"] // 86_400)["postgres_billed_mib"].min()
    growth = (float(daily.iloc[-1]) - float(daily.iloc[1])) / (len(daily) - 2) if len(daily) > 2 else 0.0
    if growth > GROWTH_MIB_A_DAY and (daily.diff().iloc[2:] >= 0).mean() > 0.9:
        found.append(_found(
            "billed memory grows", "database", "a month of the load", growth, "growth, least of each day",
            "MiB/day",
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

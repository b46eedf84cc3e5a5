"""Plays the day of some settings, and tells it as plain data: nothing is precomputed, every answer is simulated.

A first answer is played by the law of the arrivals (`capsim.engine.fidelity`), which draws only what decides and is
several
times faster; an exact one, arrival by arrival, follows when the knobs rest. The arrivals of a load are drawn once and
kept, so that all settings see the same ones.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import pandas as pd

from capsim.base.errors import CapsimError
from capsim.cost.bill import bill
from capsim.engine.fidelity import Fidelity, check_law
from capsim.engine.simulation import Played, play
from capsim.memory.limits import container_mib
from capsim.results.metrics import shown_in
from capsim.results.verdict import verdict_of
from capsim.results.window_tables import WindowTables
from capsim.scenario.columns import SERVICES
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from capsim.show.explorer.settings import Settings
from capsim.show.plots import steps
from capsim.workload import Load, load_of
from capsim.workload.block import Block

RESOLUTION_S = 60.0
KEPT_LOADS = 2  # a day at 100 requests/s takes 70 MB
LINES = ("memory", "cpu", "egress", "volume")
DIGITS = 4  # significant, of what is drawn


class Superseded(Exception):
    """Somebody turned a knob, or went away, before the answer was there."""


@dataclass(frozen=True, kw_only=True)
class KeptLoad(Load):
    """A load whose arrivals have been drawn."""

    kept: tuple[Block, ...]

    def blocks(self) -> Iterator[Block]:
        """The same blocks each time."""
        return iter(self.kept)


@lru_cache(KEPT_LOADS)
def _load(rate_hz: float, seed: int) -> KeptLoad:
    made = load_of(Settings(load=rate_hz).scenario(), seed=seed)
    return KeptLoad(**{f.name: getattr(made, f.name) for f in fields(Load)}, kept=tuple(made.blocks()))


def explored(
    settings: Settings,
    *,
    fidelity: Fidelity = "law",
    seed: int = 0,
    superseded: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """The day of some settings.

    Parameters
    ----------
    settings : Settings
    fidelity : {"law", "exact"}
        What is wanted; where the law cannot tell (a loop that is too busy, a process that its memory ends) the answer
        is exact all the same.
    seed : int
        Address of all chance.
    superseded : callable
        Asked before the run and after every simulated hour, whether nobody wants the answer any more.

    Returns
    -------
    dict
        Plain data: ``fidelity``; ``took_ms`` [ms]; ``series``: memory [MiB], buffered [items] and lost [items/s] at
        most every two minutes; ``figures``: name, value, unit; ``bill``: usage of the day by service and line [USD].

    Raises
    ------
    Superseded
        If nobody wants the answer any more.

    Examples
    --------
    >>> answer = explored(Settings(load=1))
    >>> answer["fidelity"], len(answer["series"]["time_h"])
    ('law', 720)
    """
    if superseded():  # while it waited for its turn
        raise Superseded
    began_s = time.perf_counter()
    scenario = settings.scenario()
    played = None
    if fidelity == "law":
        try:
            check_law(scenario)
            played = _played(scenario, load_of(scenario, seed=seed), "law", seed, superseded)
        except CapsimError:
            fidelity = "exact"
    if played is None:
        assert scenario.workload.rate_hz is not None
        played = _played(scenario, _load(scenario.workload.rate_hz, seed), "exact", seed, superseded)
    samples = played.samples()
    answer = {
        "fidelity": fidelity,
        "settings": {f.name: getattr(settings, f.name) for f in fields(settings)},
        "series": _series(steps(samples), scenario),
        "figures": _figures(scenario, samples, played),
        "bill": _bill(samples, scenario),
    }
    return answer | {"took_ms": round(1e3 * (time.perf_counter() - began_s))}


def _played(
    scenario: Scenario, load: Load, fidelity: Fidelity, seed: int, superseded: Callable[[], bool]
) -> Played:
    def hour(share: float) -> None:
        if superseded():
            raise Superseded

    played, _ = play(
        scenario, load, seed=seed, replicate=0, resolution_s=RESOLUTION_S, keep=False, progress=hour, fidelity=fidelity
    )
    return played


def _series(thinned: pd.DataFrame, scenario: Scenario) -> dict[str, Any]:
    heap, cap = scenario.server.node.heap_cap_mib, scenario.server.writers.events.buffer_cap_rows
    found: dict[str, Any] = {"time_h": _rounded(thinned["time_s"] / 3_600)}
    for name, column in (
        ("rss_mib", "server_rss_mib"), ("rss_peak_mib", "server_rss_mib_max"), ("heap_mib", "server_heap_mib"),
        ("billed_lower_mib", "server_billed_lower_mib"), ("billed_upper_mib", "server_billed_upper_mib"),
    ):  # fmt: skip
        found[name] = _rounded(thinned[column])
    for stream in STREAMS:
        found[f"{stream}_buffer"] = _rounded(thinned[f"{stream}_buffer_rows_max"])
        found[f"{stream}_lost_hz"] = _rounded(thinned[f"{stream}_lost_hz_max"])
    found["heap_cap_mib"] = None if heap == "none" else heap
    found["container_mib"] = _number(container_mib(scenario))
    found["buffer_cap"] = None if cap == "none" else cap
    return found


def _figures(scenario: Scenario, samples: pd.DataFrame, played: Played) -> list[dict[str, Any]]:
    tables = WindowTables(
        scenario, samples, played.stuck(), played.waits(), played.lives(), pd.DataFrame(), verdict_of(samples)
    )
    last = samples.iloc[-1]
    rows = [(spec.label, spec.of(tables), spec.unit) for spec in shown_in("explorer")]
    rows += [
        ("largest buffer", max(samples[f"{s}_buffer_max_rows"].max() for s in STREAMS), "items"),
        ("still buffered at midnight", sum(last[f"{s}_buffer_mean_rows"] for s in STREAMS), "items"),
    ]
    return [
        {"name": name, "value": round(float(value)) if unit == "items" else _number(float(value)), "unit": unit}
        for name, value, unit in rows
    ]


def _bill(samples: pd.DataFrame, scenario: Scenario) -> dict[str, Any]:
    """Usage of the day, without the subscription, which is for a month."""
    table = bill(samples, scenario)
    usage = table[table["service"].isin(SERVICES) & table["line"].isin(LINES)].fillna({"amount_usd": 0.0})
    amounts = {
        service: {line: float(rows["amount_usd"].sum()) for line, rows in mine.groupby("line", sort=False)}
        for service, mine in usage.groupby("service", sort=False)
    }
    bracket = {edge: round(float(usage[f"{edge}_usd"].fillna(0).sum()), 2) for edge in ("lower", "amount", "upper")}
    return {"services": amounts, **bracket}


def _rounded(values: pd.Series[Any]) -> list[float | None]:
    return [_number(value) for value in values.tolist()]


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.{DIGITS}g}")

"""A run made of round numbers, for tests of what is done with runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from capsim.results.accounting import FATES
from capsim.results.provenance import certificate
from capsim.scenario.columns import BILL, MEMORY, SAMPLES
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS

SCENARIO = Scenario(
    name="small",
    title="five requests a second",
    workload={"rate_hz": 5, "duration_s": 120},
    billing={"from": "2026-02-03"},
)


def samples(minutes: int, level: float) -> pd.DataFrame:
    """Minutes in which every integer column is 1 and every other one ``level``; the load is on in the first two."""
    table = pd.DataFrame({
        c.name: np.full(minutes, level if c.dtype == "float64" else 1, dtype=c.dtype) for c in SAMPLES + MEMORY
    })  # fmt: skip
    table["time_s"] = 60.0 * np.arange(minutes)
    table["width_s"] = 60.0
    table["requests"] = 300
    table["has_load"] = table["time_s"] < 120
    return table


@dataclass(frozen=True)
class FakeRun:
    """Stands in for `capsim.results.run.Run`; ``level`` is its memory in MiB."""

    scenario: Scenario = SCENARIO
    level: float = 100.0
    minutes: int = 2
    trace_span_s: float = 120.0
    seed: int = 0
    replicate: int = 0
    load: dict[str, Any] = field(default_factory=lambda: {"name": "made from rates"})
    warnings: tuple[str, ...] = ("the pool may open 97 of the 100 connections that Postgres allows",)

    @property
    def samples(self) -> pd.DataFrame:
        return samples(self.minutes, self.level)

    @property
    def provenance(self) -> dict[str, Any]:
        address = {"seed": self.seed, "replicate": self.replicate}
        return certificate(self.scenario, self.load | address, **address)

    @property
    def stress(self) -> pd.DataFrame:
        rows = [
            ("stall", "items lost", 1_200.0, "items"),
            ("stall", "first drop after", math.nan, "s"),
            ("outage", "items lost", 6_000.0, "items"),
        ]
        return pd.DataFrame(rows, columns=["test", "metric", "value", "unit"])

    def accounting(self) -> pd.DataFrame:
        fates = dict.fromkeys(FATES, 0) | {"written": 190, "buffered": 5, "in_flight": 3, "dropped_cap": 2}
        return pd.DataFrame([{"writer": s, "arrived": 200, **fates} for s in STREAMS])

    def summary(self, window: str = "trace") -> pd.DataFrame:
        rows = [
            ("server_rss_mean", self.level, "MiB", "modelled"),
            ("server_rss_peak", self.level / 3, "MiB", "modelled"),
            ("postgres_billed_lower_mean", self.level - 10, "MiB", "modelled"),
            ("postgres_billed_mean", self.level, "MiB", "modelled"),
            ("postgres_billed_upper_mean", self.level + 10, "MiB", "modelled"),
            ("items_lost", 9, "items", "modelled"),
            ("server_cpu_mean", 0.0123456789012, "vCPU", "modelled"),
        ]
        return pd.DataFrame(rows, columns=["metric", "value", "unit", "basis"])

    def bill(self, window: str = "trace") -> pd.DataFrame:
        usd = round(self.level / 10, 2)
        rows = [
            ("server", "memory", 30_240.0, "GB-minute", 10 / 43_200, usd, usd - 1, usd + 2, "modelled", "railway"),
            ("server", "backups", math.nan, "GB-minute", *[math.nan] * 4, "not modelled", "not in the total"),
            ("workspace", "total", math.nan, "USD", math.nan, usd, usd - 1, usd + 2, "modelled", "hobby"),
        ]
        return pd.DataFrame(rows, columns=[c.name for c in BILL])


def fake_simulate(level: Callable[[Scenario, int, int], float] = lambda scenario, seed, replicate: 100.0) -> Any:
    """A stand-in for `capsim.results.run.simulate` whose memory is ``level(scenario, seed, replicate)``."""

    def simulate(scenario: Scenario, trace: Any = None, *, seed: int = 0, replicate: int = 0, **_: Any) -> FakeRun:
        load = {"name": trace.name, "sha256": trace.sha256} if trace is not None else {"name": "made from rates"}
        return FakeRun(
            scenario, level(scenario, seed, replicate), seed=seed, replicate=replicate, load=load, warnings=()
        )

    return simulate

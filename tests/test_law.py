"""Fidelity ``law``: the same distributions as the exact engine, and nothing told that it does not know."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from capsim.cli import main
from capsim.errors import CapsimError
from capsim.fidelity import check_law, loop_law
from capsim.run import Run, simulate
from capsim.server.poisson import PoissonArrivals
from capsim.specs import STREAMS, Scenario

LEVEL = 0.01  # of all tests of a case together: a true equality fails so rarely

NO_LOOP = {f"{name}_cpu_ms": 0 for name in ("events", "revenue", "heartbeats", "other", "row")} | {"gc_pause_ms": 0}


def scenario_of(rate_hz: float = 40.0, duration_s: float = 60.0, **changes: Any) -> Scenario:
    """Three writers with batches of 20 behind a loop that takes no time; ``changes`` by dotted knob."""
    writer = {"batch_rows": 20, "delay_ms": 1_000, "buffer_cap_rows": 60}
    scenario = Scenario.model_validate({
        "name": "law",
        "workload": {"rate_hz": rate_hz, "duration_s": duration_s},
        "server": {"http": NO_LOOP, "writers": dict.fromkeys(STREAMS, writer)},
        "billing": {"from": "2026-02-03"},
    })  # fmt: skip
    for knob, value in changes.items():
        scenario = scenario.replace(knob.replace("__", "."), value)
    return scenario


CASES: dict[str, Scenario] = {
    "timers and full batches": scenario_of(),
    "repaired and fixed": scenario_of(
        server__writers__events__semantics="recommended",
        server__writers__revenue__semantics="fixed",
        server__writers__heartbeats__semantics="fixed",
        database__insert={"call_ms": 150, "sigma": 1.0},
    ),
    "full buffers": scenario_of(database__insert={"call_ms": 2_000, "distribution": "exponential"}),
    "faults and slow periods": scenario_of(
        database__faults=[
            {"kind": "fail", "from_s": 10, "to_s": 13},
            {"kind": "stall", "from_s": 30, "to_s": 34},
        ],
        database__bursts={"calm_s": 8, "slow_s": 3, "factor": 20},
    ),
    "one connection for three": scenario_of(server__pool__limit=1, database__insert={"call_ms": 100}),
}  # fmt: skip


def figures(run: Run) -> dict[str, float]:
    """What is compared: flushes and their sizes, buffers, losses, stuck time, waits, bill."""
    assert run.batches is not None
    samples, accounts, found = run.samples, run.accounting().set_index("writer"), dict[str, float]()
    first = run.batches[run.batches["attempt"] == 1]
    for stream in STREAMS:
        rows = first.loc[first["writer"] == stream, "rows"]
        found |= {
            f"{stream} flushes": len(rows),
            f"{stream} mean flush": rows.mean() if len(rows) else 0.0,
            f"{stream} fourth flush": rows.iloc[3] if len(rows) > 3 else 0.0,
            f"{stream} largest flush": rows.max() if len(rows) else 0.0,
            f"{stream} mean buffer": samples[f"{stream}_buffer_mean_rows"].mean(),
            f"{stream} mean buffer of a bin": samples[f"{stream}_buffer_mean_rows"].iloc[3],
            f"{stream} largest buffer": samples[f"{stream}_buffer_max_rows"].max(),
            f"{stream} last buffer": accounts.loc[stream, "buffered"],
            f"{stream} in flight": samples[f"{stream}_in_flight_mean_rows"].mean(),
            f"{stream} arrived in a bin": samples[f"{stream}_arrived"].iloc[3],
            f"{stream} arrived": accounts.loc[stream, "arrived"],
            f"{stream} written": accounts.loc[stream, "written"],
            f"{stream} dropped at the cap": accounts.loc[stream, "dropped_cap"],
            f"{stream} dropped in a bin": samples[f"{stream}_dropped_cap"].iloc[3],
            f"{stream} dropped by failure": accounts.loc[stream, "dropped_failed"],
            f"{stream} uncounted": accounts.loc[stream, "uncounted"],
        }
    found["stuck time"] = float((run.stuck["to_s"].fillna(60.0) - run.stuck["from_s"]).sum())
    found["pool waits"] = float(len(run.waits))
    found["connections"] = float(samples["pool_in_use_mean"].mean())
    found["calls"] = float(samples["db_calls"].sum())
    bill = run.bill("trace")
    found["bill"] = float(bill["amount_usd"].astype(float).sum())
    usage = bill[bill["line"].isin(["memory", "cpu", "egress", "volume"])]
    found["quantities billed"] = float(usage["quantity"].astype(float).sum())
    return found


def _figures(case: str, fidelity: str, seed: int) -> dict[str, float]:
    run = simulate(CASES[case], seed=seed, month=False, batches=True, resolution_s=10.0, fidelity=fidelity)  # type: ignore[arg-type]
    return figures(run)


def smirnov(one: np.ndarray, other: np.ndarray) -> float:
    """p-value of the two-sample Kolmogorov-Smirnov test (asymptotic; ties make it larger, never smaller)."""
    one, other = np.sort(one), np.sort(other)
    values = np.concatenate((one, other))
    gap = one.searchsorted(values, "right") / len(one) - other.searchsorted(values, "right") / len(other)
    scaled = np.abs(gap).max() * np.sqrt(len(one) * len(other) / (len(one) + len(other)))
    if scaled < 0.2:
        return 1.0
    terms = np.arange(1, 101)
    return float(np.clip(2 * ((-1.0) ** (terms - 1) * np.exp(-2 * (terms * scaled) ** 2)).sum(), 0, 1))


def compare(case: str, runs: int, map_: Callable[..., Any] = map) -> tuple[int, str, float]:
    """Number of figures that vary, and the one that differs most with its p-value."""
    sides = []
    for fidelity, first in (("exact", 0), ("law", 10**6)):
        found = list(map_(_figures, [case] * runs, [fidelity] * runs, range(first, first + runs)))
        sides.append({name: np.array([row[name] for row in found]) for name in found[0]})
    values = {n: smirnov(sides[0][n], sides[1][n]) for n in sides[0] if len({*sides[0][n], *sides[1][n]}) > 1}
    worst = min(values, key=values.__getitem__)
    return len(values), worst, values[worst]


@pytest.mark.parametrize("case", CASES)
def test_the_same_distributions_as_the_exact_engine(case: str) -> None:
    tests, worst, value = compare(case, runs=60)
    assert value > LEVEL / tests, f"{worst}: p = {value:.2g} in one of {tests} tests"


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_same_distributions_over_ten_thousand_runs(case: str) -> None:
    """Prints the table of docs/look-ahead.md (``pytest -s``)."""
    with ProcessPoolExecutor(2) as pool:
        tests, worst, value = compare(case, 10_000, lambda *columns: pool.map(*columns, chunksize=100))
    print(f"{case:28} {tests} figures, least p {value:.2g} ({worst}), allowed {LEVEL / tests:.2g}")
    assert value > LEVEL / tests

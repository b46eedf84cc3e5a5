"""The same bytes on a processor with fewer instructions, and with any number of workers: whole results.

NumPy chooses among several forms of its loops by what the processor can do; all but the plainest are switched off.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import capsim as cs
from capsim.scenario.file import load
from capsim.study.audit.examine import examine
from capsim.study.findings.find import find
from capsim.study.optimize import optimize
from capsim.study.slo import SloSpec

FEATURES = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])  # beyond what NumPy was built for
TOML = """\
schema_version = 1
name = "bytes"
[workload]
rate_hz = 0.2
duration_s = 3600
queries_hz = {queries_hz}
[billing]
plan = "hobby"
from = "2026-02-03"
"""


def answer(folder: Path, words: list[str], **environment: str) -> str:
    clean = {name: text for name, text in os.environ.items() if name != "NPY_DISABLE_CPU_FEATURES"}
    done = subprocess.run(
        [sys.executable, "-m", "capsim", "run", "bytes.toml", "--json", *words],
        cwd=folder, env=clean | environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.skipif(not FEATURES, reason="NumPy uses no newer instructions of this processor")
@pytest.mark.parametrize("words", [[], ["--fidelity", "law"]], ids=["exact", "law"])
def test_a_result_does_not_hang_on_what_the_processor_can_do(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_text(TOML.format(queries_hz=0 if words else 1), encoding="utf-8")

    with_all, with_none = (answer(tmp_path, words, NPY_DISABLE_CPU_FEATURES=off) for off in ("", " ".join(FEATURES)))

    assert len(with_all) > 10_000
    assert with_all == with_none


# --- any number of workers

HOUR = {"rate_hz": 0.2, "duration_s": 3_600.0}
SMALL_SLO = SloSpec.model_validate({
    "name": "small", "loss_share_most": 0.01,
    "target": [{"target": "memory, peak", "metric": "server_rss_peak", "most": 2_000.0, "unit": "MiB"}],
})  # fmt: skip


def swept(workers: int) -> str:
    scenario = load("after").replace("workload", {"rate_hz": 20, "duration_s": 300})
    table = cs.sweep(scenario, {"server.pool.limit": [2, 5, 10]}, replicates=2, workers=workers)
    return str(table.to_json(double_precision=15))


def found(workers: int) -> str:
    return find(load("after").replace("workload", HOUR), workers=workers).model_dump_json()


def cheapest(workers: int) -> str:
    scenario = load("recommended").replace("workload", HOUR).replace("server.lifecycle", ())
    return optimize(scenario, SMALL_SLO, rounds=1, workers=workers).model_dump_json()


def audited(workers: int) -> str:
    base = load("before").replace("workload", {"rate_hz": 2, "duration_s": 600})
    return examine(base, replicates=2, families=(), workers=workers).model_dump_json()


def same_with_any(answer: Callable[[int], str]) -> None:
    one, two, four = (answer(workers) for workers in (1, 2, 4))

    assert len(one) > 500
    assert one == two == four


def test_a_sweep_does_not_hang_on_the_number_of_workers() -> None:
    same_with_any(swept)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("answer", [found, cheapest, audited])
def test_an_answer_does_not_hang_on_the_number_of_workers(answer: Callable[[int], str]) -> None:
    same_with_any(answer)

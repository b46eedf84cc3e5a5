"""The same bytes on a processor with fewer instructions: whole results, exact and in law.

NumPy chooses among several forms of its loops by what the processor can do; all but the plainest are switched off.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

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
    (tmp_path / "bytes.toml").write_text(TOML.format(queries_hz=0.0 if words else 0.01), encoding="utf-8")

    with_all, with_none = (answer(tmp_path, words, NPY_DISABLE_CPU_FEATURES=off) for off in ("", " ".join(FEATURES)))

    assert len(with_all) > 10_000
    assert with_all == with_none

"""Memory before and after the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsim.scenario.columns import SERVICES
from capsim.study.published.table import Published

if TYPE_CHECKING:
    from capsim.study.published.runs import Runs

BRACKETS = {"lower": "_lower_mib", "expected": "_mib", "upper": "_upper_mib"}


def before_after(runs: Runs) -> Published:
    """Memory of each service over a simulated month, as it is resident and as it is billed."""
    import pandas as pd

    rows = []
    for name, run in runs.months.items():
        month = run.window("month")
        rows.append({
            "scenario": name, "service": "server", "memory": "resident",
            "mean_mib": month["server_rss_mib"].mean(), "peak_mib": month["server_rss_peak_mib"].max(),
            "end_mib": month["server_rss_mib"].iloc[-1],
        })  # fmt: skip
        for service in SERVICES:
            for bracket, suffix in BRACKETS.items():
                billed = month[f"{service}_billed{suffix}"]
                rows.append({
                    "scenario": name, "service": service, "memory": f"billed, {bracket}",
                    "mean_mib": billed.mean(), "peak_mib": billed.max(), "end_mib": billed.iloc[-1],
                })  # fmt: skip
    return Published(
        "memory_before_after",
        "How much memory, before and after the plan?",
        "A month simulated request by request. Resident is what the process holds; billed is what its container holds, "
        "page cache included: lower without files but mapped programs, expected with all that was written or read "
        "since "
        "the start, upper with every file there is. MiB = 2^20 bytes.",
        ("scenario", "service", "memory"),
        pd.DataFrame(rows),
    )

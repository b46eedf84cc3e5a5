"""The same server elsewhere: sizes that are reserved and must cover the peak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from capsim.base.units import GB, MIB
from capsim.scenario.columns import SERVICES
from capsim.scenario.providers import bundled_sizes, smallest
from capsim.study.published.table import Published

if TYPE_CHECKING:
    from capsim.study.published.runs import Runs


def providers(runs: Runs) -> Published:
    """Each service in the cheapest size that covers its peak, beside Railway's bill."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    names = list(dict.fromkeys(size.provider for size in bundled_sizes().sizes))
    for scenario, run in runs.months.items():
        month = run.window("month")
        bill = run.bill("month")
        for service in SERVICES:
            column = "server_rss_peak_mib" if service == "server" else f"{service}_billed_lower_mib"
            needed_gb = float(month[column].max()) * MIB / GB
            own = bill[bill["service"] == service]
            rows.append({
                "scenario": scenario, "service": service, "provider": "Railway", "needed_gb": needed_gb,
                "size": "as used", "month_usd": own["amount_usd"].sum(), "lower_usd": own["lower_usd"].sum(),
                "upper_usd": own["upper_usd"].sum(), "mark": "modelled", "seen": "", "note": "usage, before plan's fee",
            })  # fmt: skip
            for name in names:
                size = smallest(name, needed_gb)
                rows.append({
                    "scenario": scenario, "service": service, "provider": name, "needed_gb": needed_gb,
                    "size": size.size if size else "none that is listed",
                    **dict.fromkeys(("month_usd", "lower_usd", "upper_usd"), float(size.month_usd) if size else None),
                    "mark": size.mark if size else "", "seen": str(size.seen) if size else "",
                    "note": size.note if size else "",
                })  # fmt: skip
    return Published(
        "provider_comparison",
        "What would a reserved size cost elsewhere?",
        "The others charge the size that is reserved, which must cover the peak: of memory that cannot be given back; "
        "page cache shrinks to what is left. Railway charges what is used, page cache included. Only the size's price: "
        "without volumes, egress, workspace fees and managed databases, which differ too. The marks say what a price "
        "rests on: none was read on the provider's own page.",
        ("scenario", "service", "provider"),
        pd.DataFrame(rows).astype({"month_usd": "float64", "lower_usd": "float64", "upper_usd": "float64"}),
    )

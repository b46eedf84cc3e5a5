"""Plots of several runs beside each other: every side keeps its colour and its line in all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from capsim.show.plots.canvas import band, band_key, bars, canvas, line, over_time, styled
from capsim.show.plots.palette import BLACK, BLUE, GREEN, ORANGE, PINK, VERMILLION
from capsim.show.plots.run import SERVICES, price_tag, usage_usd

# A bundled scenario keeps its looks in every figure, wherever it stands.
SIDES = {
    "before": (VERMILLION, "-"),
    "after": (BLUE, "--"),
    "fixed": (GREEN, "-."),
    "after-as-deployed": (PINK, ":"),
    "recommended": (BLACK, "-"),
    "later": (ORANGE, "--"),
}


def looks(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and line style of each side: a bundled scenario always has its own, others take what is left.

    Examples
    --------
    >>> looks(["mine", "after"])["after"] == looks(["before", "after"])["after"]
    True
    """
    names = list(names)
    free = [look for name, look in SIDES.items() if name not in names] or list(SIDES.values())
    own = [name for name in names if name not in SIDES]
    return {name: SIDES[name] if name in SIDES else free[own.index(name) % len(free)] for name in names}


@styled
def compare_memory(sides: Mapping[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """Resident set of the server of each side: mean as a line, up to the peak as a band.

    Parameters
    ----------
    sides : mapping of str to DataFrame
        From `capsim.show.plots.steps`.
    """
    ax = canvas(ax)
    for i, (name, (colour, style)) in enumerate(looks(sides).items()):
        band(ax, sides[name], "server_rss_mib", "server_rss_mib_max", colour, alpha=0.2)
        # The first is the widest, so that lines which coincide are all seen.
        line(ax, sides[name], "server_rss_mib", colour, style, label=name, width=1.4 + 2.2 * (len(sides) - 1 - i))
    band_key(ax, "mean to peak")
    longest = max(sides.values(), key=lambda steps: float(steps["time_s"].iloc[-1]))
    return over_time(ax, longest, "Resident set of the server", "memory [MiB]")


@styled
def compare_bill(sides: Mapping[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """Bills of the sides: usage stacked by service, and a diamond with the bracket at what is to be paid.

    Parameters
    ----------
    sides : mapping of str to DataFrame
        Columns of `capsim.scenario.columns.BILL`.
    """
    ax = canvas(ax)
    names = list(sides)
    left = np.zeros(len(names))
    for service, (colour, hatch) in SERVICES.items():
        width = np.array([usage_usd(sides[name], service) for name in names])
        ax.barh(names, width, 0.6, left=left, color=colour, hatch=hatch, edgecolor="white", label=f"usage of {service}")
        left += width
    for row, name in enumerate(names):
        total = sides[name][sides[name]["line"] == "total"].iloc[0]
        lower, amount, upper = (float(total[c]) for c in ("lower_usd", "amount_usd", "upper_usd"))
        label = "to pay (least to most page cache)" if row == 0 else ""
        price_tag(ax, row, lower, amount, upper, reach=max(upper, float(left[row])), label=label)
    return bars(ax, "Bill", "usage, and what is to be paid [USD]")


@styled
def compare_stress(sides: Mapping[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """What each side loses, or keeps until a restart, in its stress test.

    Parameters
    ----------
    sides : mapping of str to DataFrame
        Columns ``test``, ``metric``, ``value``, as from `capsim.results.stress_test.stress`.
    """
    ax = canvas(ax)
    tests = list(dict.fromkeys(test for table in sides.values() for test in table["test"]))
    height = 0.8 / len(sides)
    for i, (name, (colour, _)) in enumerate(looks(sides).items()):
        for row, test in enumerate(tests):
            at = row + (i - (len(sides) - 1) / 2) * height
            lost, stuck = _figure(sides[name], test, "items_lost"), _figure(sides[name], test, "items_stuck")
            ax.barh(at, lost, 0.9 * height, color=colour, label=name if row == 0 else "")
            ax.barh(at, stuck, 0.9 * height, left=lost, color=colour, alpha=0.5, hatch="////", edgecolor="white")
            rate = _figure(sides[name], test, "loss_rate_until_restart")
            text = f"{lost:,.0f} lost" + (f", {stuck:,.0f} stuck" if stuck else "")
            text += f", then {rate:,.3g}/s until a restart" if rate else ""
            ax.annotate(text, (lost + stuck, at), (4, 0), textcoords="offset points", va="center", fontsize=8)
    ax.set_yticks(range(len(tests)), tests)
    rates = {f"{_figure(sides[name], test, 'request_rate'):.3g}" for name in sides for test in tests}
    factors = {f"{_figure(sides[name], test, 'load_factor'):g}" for name in sides for test in tests}
    times = f" ({factor} times the busiest minute)" if len(factors) == 1 and (factor := factors.pop()) != "0" else ""
    at_rate = f", at {rates.pop()} requests/s{times}" if len(rates) == 1 else ""
    return bars(ax, f"Under stress{at_rate}", "lost, and stuck in a buffer (hatched) [items]")


def _figure(table: pd.DataFrame, test: str, metric: str) -> float:
    """A figure of a test; 0 if the test was not made."""
    return float(table.loc[(table["test"] == test) & (table["metric"] == metric), "value"].fillna(0).sum())

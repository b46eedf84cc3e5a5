"""The checks of measured memory as text, as a table and as a plot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from capsim.validation.memory import ENDS, Checked, MemoryCheck

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

TITLES = {True: "Runs that the model was fitted on", False: "Runs held out"}


def passed(checked: Sequence[Checked]) -> tuple[int, int]:
    """How many checks passed, and how many did not."""
    verdicts = [check.passed for one in checked for check in one.checks]
    return sum(verdicts), len(verdicts) - sum(verdicts)


def text(checked: Sequence[Checked]) -> str:
    """A table for each run, the fitted ones first, each group with its sum."""
    parts = []
    for fitted, title in TITLES.items():
        group = [one for one in checked if one.fitted == fitted]
        if not group:
            continue
        parts += [f"{title}\n{'=' * len(title)}", *map(_run, group)]
        good, bad = passed(group)
        whole = sum(all(check.passed for check in one.checks) for one in group)
        parts.append(f"{title}: {good} of {good + bad} checks passed; {whole} of {len(group)} runs in everything")
    return "\n\n".join(parts)


def _run(one: Checked) -> str:
    from tabulate import tabulate

    run = one.series.run
    settings = [
        run.kind,
        f"Node {run.node}",
        "no cap" if run.heap_cap_mib == "none" else f"cap {run.heap_cap_mib:g} MiB",
        f"writers {run.writer.rules}" if run.kind == "server" else "",
        f"{run.live_set_mib:g} MiB live" if run.live_set_mib else "",
        *(f"stalled from {stall.from_s:g} s for {stall.length_s:g} s" for stall in run.stalls),
        f"limit {run.container_limit_mib:g} MiB" if run.container_limit_mib != "none" else "",
    ]
    head = f"{one.series.name}: {', '.join(part for part in settings if part)}"
    rows = [_row(check) for check in one.checks]
    columns = ["", "unit", "measured", "predicted", "error", "tolerance", "verdict"]
    align = ("left", "left", "right", "right", "right", "right", "left")
    table = tabulate(rows, columns, disable_numparse=True, colalign=align)
    return "\n".join([head, *(f"  note: {note}" for note in one.series.notes), table])


def _row(check: MemoryCheck) -> list[str]:
    name, unit, kind, _ = check.quantity
    verdict = "passed" if check.passed else "FAILED"
    if kind == "exact":
        measured, predicted = (ENDS[int(number)] for number in (check.measured, check.predicted))
        return [name, unit, measured, predicted, "", "", verdict]
    digits = "{:,.0f}" if unit == "items" else "{:,.1f}"
    numbers = [digits.format(check.measured), digits.format(check.predicted)]
    if kind == "factor":
        if check.excused and not 1 / check.tolerance <= check.error <= check.tolerance:
            verdict += " (two collections at most)"
        return [name, unit, *numbers, f"x {check.error:.2f}", f"x {check.tolerance:.2f}", verdict]
    return [name, unit, *numbers, f"{100 * check.error:+.1f} %", f"{100 * check.tolerance:.1f} %", verdict]


def table(checked: Sequence[Checked]) -> pd.DataFrame:
    """A row per check: run, fitted, quantity, unit, measured, predicted, error, tolerance, passed."""
    import pandas as pd

    return pd.DataFrame(_rows(checked))


def _rows(checked: Sequence[Checked]) -> Iterator[dict[str, object]]:
    for one in checked:
        for check in one.checks:
            yield {
                "run": one.series.name,
                "fitted": one.fitted,
                "quantity": check.quantity.name,
                "unit": check.quantity.unit,
                "measured": check.measured,
                "predicted": check.predicted,
                "error": check.error,
                "error_kind": check.quantity.kind,
                "tolerance": check.tolerance,
                "passed": check.passed,
            }


def plot(one: Checked, ax: Axes | None = None) -> Axes:
    """Resident memory against time: measured, and one simulated process (the first seed).

    Parameters
    ----------
    one : Checked
    ax : Axes, optional
        A new one by default.
    """
    import matplotlib.pyplot as plt

    ax = plt.subplots(figsize=(8, 4), layout="constrained")[1] if ax is None else ax
    measured, model = one.series.table, one.simulated
    ax.plot(measured["time"], measured["rss"], color="black", label="measured")
    ax.plot(model["t_s"], model["rss"], color="#D55E00", linestyle="--", label="predicted (one of eight seeds)")
    cap = one.series.run.heap_cap_mib
    if cap != "none":
        ax.axhline(float(cap), color="0.5", linestyle=":", label=f"heap cap {cap:g} MiB")
    for stall in one.series.run.stalls:
        ax.axvspan(stall.from_s, stall.from_s + stall.length_s, color="0.9", label="stall")
    ax.set(xlabel="time [s]", ylabel="resident memory [MiB]", title=one.series.name)
    ax.set_xlim(0, float(measured["time"].iloc[-1]) * 1.02)
    ax.set_ylim(bottom=0)
    ax.legend(loc="lower right", fontsize="small")
    return ax


def write(checked: Sequence[Checked], folder: Path) -> None:
    """All checks as CSV and a plot for each run (PNG), into an existing folder."""
    import matplotlib.pyplot as plt

    (folder / "checks.csv").write_text(table(checked).to_csv(index=False, float_format="%.9g"), encoding="utf-8")
    for one in checked:
        figure = plot(one).get_figure(root=True)
        assert figure is not None
        figure.savefig(folder / f"{_file_name(one.series.name)}.png", dpi=120, metadata={"Software": None})
        plt.close(figure)


def _file_name(run: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in run)

"""Objects as small tables: what a notebook shows in place of a scenario, a load, a run, a comparison, a finding.

A card has a title and one line a figure, each with its unit. It has no style sheet of its own beyond a rule here and
there, so that it takes the colours of the notebook, light or dark; and every word of it is escaped: names come from
files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from capsim.base.amounts import number, span
from capsim.results.metrics import METRICS, shown_in
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from capsim.show.headline import metric, total

if TYPE_CHECKING:
    import pandas as pd

    from capsim.results.document import Result
    from capsim.results.run import Run
    from capsim.results.window_tables import Window
    from capsim.study.findings.document import Finding, Findings
    from capsim.workload import Trace

LEFT, RIGHT = "text-align:left", "text-align:right;font-variant-numeric:tabular-nums"
MOST_LINES = 12  # of a card; longer tables are for to_frame()


class Line(NamedTuple):
    """A figure of a card: what it is, one value a column, and its unit."""

    name: str
    values: Sequence[str]
    unit: str = ""


def card(title: str, lines: Iterable[Line], *, head: Sequence[str] = (), note: str = "") -> str:
    """An HTML table.

    Parameters
    ----------
    title : str
        What the object is.
    lines : iterable of Line
        In the order in which they are read.
    head : sequence of str
        Names of the columns of values, if there is more than one.
    note : str
        A sentence below.

    Examples
    --------
    >>> "&lt;x&gt;" in card("run of <x>", [Line("memory, mean", ["80.9"], "MiB")])
    True
    """
    rows = []
    if head:
        cells = "".join(f'<th scope="col" style="{RIGHT}">{escape(name)}</th>' for name in head)
        rows.append(f'<tr><th scope="col" style="{LEFT}"></th>{cells}<th scope="col" style="{LEFT}">unit</th></tr>')
    for line in lines:
        values = "".join(f'<td style="{RIGHT}">{escape(value)}</td>' for value in line.values)
        name = f'<th scope="row" style="{LEFT};font-weight:normal">{escape(line.name)}</th>'
        rows.append(f'<tr>{name}{values}<td style="{LEFT}">{escape(line.unit)}</td></tr>')
    caption = f'<caption style="{LEFT};caption-side:top"><b>{escape(title)}</b></caption>'
    below = f'<p style="margin:0.2em 0 0;opacity:0.8">{escape(note)}</p>' if note else ""
    return f"<table>{caption}{''.join(rows)}</table>{below}"


def scenario_card(scenario: Scenario) -> str:
    """The knobs of a scenario that decide most; all of them are in ``scenario.to_frame()``."""
    server, load, billing = scenario.server, scenario.workload, scenario.billing
    writers = [getattr(server.writers, stream) for stream in STREAMS]
    if load.trace:
        what = Line("load", [f"trace {load.trace} x {load.scale:g}"])
    elif load.rate_hz:
        what = Line("load", [f"Poisson, {number(load.rate_hz * load.scale, '1/s')}"], "1/s")
    else:
        what = Line("load", [f"{len(load.runs)} scripted runs"])
    lines = [
        what,
        Line("writers (events, revenue, heartbeats)", [_each(w.semantics for w in writers)]),
        Line("batch", [_each(w.batch_rows for w in writers)], "rows"),
        Line("delay", [_each(w.delay_ms for w in writers)], "ms"),
        Line("buffer cap", [_each(w.buffer_cap_rows for w in writers)], "rows"),
        Line("pool", [f"{server.pool_limit}"], "connections"),
        Line("heap cap", [f"{server.node.heap_cap_mib}"], "MiB"),
        Line("replicas", [f"{server.process.replicas}"]),
        Line("database faults", [f"{len(scenario.database.faults)}"]),
        Line("plan", [f"{billing.plan}, prices of {billing.from_date}"]),
    ]
    title = f"scenario {scenario.name}" + (f": {scenario.title}" if scenario.title else "")
    return card(title, lines, note="All keys, with units and meaning: .to_frame()")


def trace_card(trace: Trace) -> str:
    """How much, how long and how it was recorded."""
    from capsim.workload.instants import iso

    covered_s = trace.covered_us / 1e6
    per = f"counts every {trace.width_us / 1e6:g} s" if trace.kind == "counts" else "one instant a request"
    lines = [
        Line("requests", [f"{trace.total:,}"]),
        Line("mean rate", [number(trace.total / covered_s if covered_s else None, "1/s")], "1/s"),
        Line("from", [iso(trace.start_us)], "UTC"),
        Line("length", [span(trace.span_us / 1e6)]),
        Line("without data", [span((trace.span_us - trace.covered_us) / 1e6)]),
        Line("recorded as", [per]),
        Line("broken lines", [f"{trace.broken_lines:,}"]),
    ]
    return card(f"load {trace.name}", lines, note=" ".join(trace.notes[:2]))


_BILLS: tuple[tuple[Window, str], ...] = (("month", "bill of a month"), ("trace", "bill of the load"))


def run_card(run: Run) -> str:
    """Memory, losses and the bill of a run."""
    values = run.summary().set_index("metric")["value"]
    lines = [Line(spec.label, [number(float(values[spec.name]), spec.unit)], spec.unit) for spec in shown_in("card")]
    window: Window = "month" if run.has_month else "trace"
    bill = run.bill(window)
    total_line = bill.loc[bill["line"] == "total", ["lower_usd", "amount_usd", "upper_usd"]]
    lower, amount, upper = (float(usd) for usd in total_line.to_numpy()[0])
    what = "bill of a month" if window == "month" else "bill of the load"
    lines.append(Line(what, [_money(lower, amount, upper)], "USD"))
    address = run.provenance
    title = f"run of {run.scenario.name}: load of {span(run.trace_span_s)}, seed {address.get('seed')}"
    count = len(run.warnings)
    note = f"{count} remark{'s' * (count != 1)} on these figures: .warnings" if count else ""
    return card(title, lines, note=note)


def results_card(results: Sequence[Result]) -> str:
    """One result, or several side by side: the figures that all readers ask for first."""
    lines = []
    for spec in shown_in("card"):
        found = [metric(result, spec.name) for result in results]
        if any(value is not None for value in found):
            lines.append(Line(spec.label, [number(value, spec.unit) for value in found], spec.unit))
    for window, what in _BILLS:
        paid = [total(result, window) for result in results]
        if all(paid):
            lines.append(Line(what, [_money(p[1], p[0], p[2]) for p in paid if p], "USD"))
            break
    names = [result.name for result in results]
    if len(results) == 1:
        return card(f"result of {names[0]}", lines)
    return card(f"comparison with {names[0]}", lines, head=names, note="Every figure: .to_frame()")


def bill_card(table: pd.DataFrame) -> str:
    """What is to be paid, and the lines that make it, the dearest first."""
    known = table[table["amount_usd"].notna() & (table["service"] != "workspace")]
    known = known[known["amount_usd"] > 0].sort_values("amount_usd", ascending=False, kind="stable")
    rest = table[(table["service"] == "workspace") & table["amount_usd"].notna()]
    lines = []
    for _, row in [*known.iterrows(), *rest.iterrows()]:
        name = f"{row['line']} of {row['service']}" if row["service"] != "workspace" else str(row["line"])
        usd = (float(row["lower_usd"]), float(row["amount_usd"]), float(row["upper_usd"]))
        lines.append(Line(name, [_money(*usd)], "USD"))
    missing = table.loc[table["basis"] == "not modelled", ["service", "line"]].agg(" ".join, axis=1)
    note = f"Not modelled, so not in it: {', '.join(missing)}." if len(missing) else ""
    return card("bill (in brackets: with the least and the most page cache)", lines, note=note)


def sweep_card(table: pd.DataFrame, keys: Sequence[str], figures: Sequence[str]) -> str:
    """What was varied, how often each point was run, and which figures there are."""
    lines = []
    for key in keys:
        values = list(dict.fromkeys(table[key]))
        shown = ", ".join(map(str, values[:6])) + (f", … ({len(values)} values)" if len(values) > 6 else "")
        lines.append(Line(key, [shown]))
    for figure in (METRICS["server_rss_mean"].column, METRICS["items_lost"].column, "bill_usd"):
        if figure in figures:
            lines.append(Line(f"{figure}, least to most", [f"{table[figure].min():.4g} to {table[figure].max():.4g}"]))
    points = table["point"].nunique()
    title = f"sweep: {points} points, {len(table)} runs"
    return card(title, lines, note=f"{len(figures)} figures a run: .to_frame(), or .plot.means(key, figure)")


def findings_card(found: Findings) -> str:
    """The failures that were found, with their triggers."""
    head = ("by", "trigger", "lost [items]")
    lines = [
        Line(f"{f.kind}: {f.part}", [f.disturbance, _trigger(f), number(f.lost, "items")])
        for f in found.findings[:MOST_LINES]
    ]
    more = len(found.findings) - len(lines)
    note = f"… and {more} more: .to_frame()" if more > 0 else ""
    return card(f"what could break in {found.name}: {len(found.findings)} findings", lines, head=head, note=note)


def finding_card(finding: Finding) -> str:
    """One failure: what happens, from when, what is lost, what helps."""
    best = next((r.remedy for r in finding.remedies if r.holds_to), "none of those tried")
    heals = "not by itself" if finding.heals_after_s is None else f"after {number(finding.heals_after_s, 's')} s"
    lines = [
        Line(f"trigger: {finding.trigger_of}", [number(finding.trigger, finding.unit)], finding.unit),
        Line("at a rate of", [number(finding.rate_hz, "1/s")], "1/s"),
        Line("lost in the schedule", [number(finding.lost, "items")], "items"),
        Line("heals", [heals]),
        Line("best remedy", [best if finding.remedies else "none tried"]),
    ]
    title = f"{finding.kind} in {finding.part}, by {finding.disturbance}"
    return card(title, lines, note=f"{finding.happens[0].upper()}{finding.happens[1:]}.")


def _trigger(finding: Finding) -> str:
    return f"{number(finding.trigger, finding.unit)} {finding.unit}".strip()


def _each(values: Iterable[Any]) -> str:
    """Three values, or one if they are equal."""
    found = [f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
             for value in values]  # fmt: skip
    return found[0] if len(set(found)) == 1 else ", ".join(found)


def _money(lower: float, amount: float, upper: float) -> str:
    lower, upper = sorted((lower, upper))  # a discount is smaller with less page cache, and negative
    bracket = "" if lower == upper else f" ({lower:,.2f} to {upper:,.2f})"
    return f"{amount:,.2f}{bracket}"

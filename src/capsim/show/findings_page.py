"""Findings for people: text for a terminal, and one HTML page with a plot and a schedule for every finding."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capsim.base.amounts import number
from capsim.base.errors import CapsimError
from capsim.base.files import write_text
from capsim.show.console import WIDTH
from capsim.show.pages import render
from capsim.show.plots.findings import finding as plot
from capsim.show.report import Cell, Table
from capsim.show.report_plots import Figure, drawn, file_name
from capsim.study.findings.baseline_findings import AT_REST
from capsim.study.findings.document import Chance, Finding, Findings, Option, Remedy, Symptom, Tail
from capsim.study.target import Target

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_REMEDIES = 3  # that are told on the terminal


def overview(found: Findings) -> str:
    """Everything a person wants to see first, in lines of at most 100 columns."""
    lines = [answer(found), ""]
    for target in found.targets:
        lines.append(f"  {_mark(target):7} {target.target}: {_told(target)}")
        if target.met is False and target.action:
            lines.append(f"          the targets say: {target.action}")
    for symptom in found.troubleshooting:
        lines += ["", *textwrap.wrap(f"If {told_symptom(symptom)}", WIDTH, subsequent_indent="  ")]
        for option in symptom.options[:MOST_REMEDIES]:
            lines += textwrap.wrap(f"- {told_option(option, symptom)}", WIDTH, initial_indent="  ",
                                   subsequent_indent="    ")  # fmt: skip
    for finding in found.findings:
        lines += ["", f"{finding.kind}: {finding.part}, by {finding.disturbance}"]
        for text in sentences(finding):
            lines += textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")
        for remedy in finding.remedies[:MOST_REMEDIES]:
            text = f"- {remedied(remedy, finding)}"
            lines += textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ")
    return "\n".join(lines) + "\n"


def answer(found: Findings) -> str:
    """The page in one sentence, and first of all whether the scenario fails at rest."""
    at_rest = sorted({f.kind for f in found.findings if f.disturbance == AT_REST})
    missed = sum(target.met is False for target in found.targets)
    kinds = len({(f.kind, f.part) for f in found.findings})
    first = f"{found.name} already fails at rest: {', '.join(at_rest)}. " if at_rest else ""
    return (
        f"{first}{found.name}: {kinds} ways to fail, {missed} of {len(found.targets)} targets missed "
        f"(busiest minute {number(found.peak_hz, '1/s')}/s)."
    )


def quantity(value: float | None, unit: str) -> str:
    """A value with its unit, which a share has none of.

    Examples
    --------
    >>> quantity(0.151, "1"), quantity(12.5, "USD")
    ('0.151', '12.50 USD')
    """
    return number(value, unit) if unit == "1" else f"{number(value, unit)} {unit}"


def _mark(target: Target) -> str:
    return "-" if target.met is None else "met" if target.met else "MISSED"


def _told(target: Target) -> str:
    margin = "" if target.margin is None else f", margin {target.margin:+.0%}"
    return f"{quantity(target.value, target.unit)} ({target.limit}, {target.window}{margin})"


def sentences(finding: Finding) -> list[str]:
    """What a finding says, one sentence an aspect."""
    said = [finding.happens[0].upper() + finding.happens[1:] + "."]
    if finding.trigger is not None:
        said.append(f"Trigger: {triggered(finding)}.")
    if finding.least_rate_hz is not None:
        said.append(f"At the usual size of the disturbance, {number(finding.least_rate_hz, '1/s')}/s are enough.")
    said += [f"Chance: {chanced(chance)}." for chance in finding.chances]
    if finding.tails:
        said.append(
            "Chance in a month, by the tail of the latency beyond its 95th percentile: "
            f"{'; '.join(tailed(tail) for tail in finding.tails)}."
        )
    if finding.lost is not None:
        heals = "does not heal by itself" if finding.heals_after_s is None else (
            f"is over after {number(round(finding.heals_after_s, 3), 's')} s"
        )  # fmt: skip
        said.append(f"Lost in the schedule: {number(finding.lost, 'items')} items; it {heals}.")
    return [*said, f"Seen by the operator: {finding.shows}.", f"Alert: {finding.alert}."]


def triggered(finding: Finding) -> str:
    """The smallest trigger, in words."""
    size = number(finding.trigger, finding.unit)
    if finding.trigger_of == "number":  # of deploys or crashes: it happens, or it does not
        return f"one {finding.disturbance} at {number(finding.rate_hz, '1/s')}/s"
    if finding.trigger_of.endswith(finding.unit):  # live sessions, replicas: counted
        return f"{size} {finding.trigger_of}"
    rate = f" at {number(finding.rate_hz, '1/s')}/s" if finding.rate_hz else ""
    within = f", within {100 * finding.precision:.1f} %" if finding.precision else ", the least that is tried"
    if not finding.schedule:  # nothing was searched: the load does it
        return f"{finding.trigger_of}: {size} {finding.unit}{rate}"
    return f"{finding.trigger_of} {size} {finding.unit}{rate}{within}"


def chanced(chance: Chance) -> str:
    """How often it was met, in words.

    Examples
    --------
    >>> chanced(Chance(seen=0, runs=12, probability=0.0, lower=0.0, upper=0.25, what="a stall"))
    'a stall: in 0 of 12, so in less than 25 % (3/n)'
    """
    lower, upper = (f"{100 * (end or 0):.0f}" for end in (chance.lower, chance.upper))
    bound = (
        f", so in less than {upper} % (3/n)" if not chance.seen
        else f" ({lower} to {upper} %)" if chance.runs > 1 else ""
    )  # fmt: skip
    return f"{chance.what}: in {chance.seen} of {chance.runs}{bound}"


def tailed(tail: Tail) -> str:
    """The chance under one tail, in words.

    Examples
    --------
    >>> tailed(Tail(tail="lognormal", expected=2e-4, seen=30, runs=60, probability=1e-4, lower=7e-5, upper=1.3e-4))
    'lognormal: 0.01 % (0.007 to 0.013 %)'
    >>> tailed(Tail(tail="Weibull", expected=0.0, seen=0, runs=60, probability=0.0, lower=0.0, upper=0.0))
    'Weibull: below 1e-10 %'
    """
    ends = [100 * end for end in (tail.probability, tail.lower, tail.upper)]
    if ends[2] < 1e-10:
        return f"{tail.tail}: below 1e-10 %"
    value, lower, upper = (f"{end:.3g}" for end in ends)
    return f"{tail.tail}: {value} % ({lower} to {upper} %)" if tail.seen else f"{tail.tail}: below {upper} % (3/n)"


def remedied(remedy: Remedy, finding: Finding) -> str:
    """What a remedy did, in words."""
    if not remedy.holds_to:
        effect = "does not help"
    else:
        effect = f"holds at {remedy.holds_to:g} x the trigger" if finding.precision else "removes it"
    if remedy.holds_to and remedy.lost_before and (remedy.lost_after or 0) >= remedy.lost_before:
        effect += ", but the items are lost in another way"
    price = remedy.price_usd or 0.0
    lost = f"lost {number(remedy.lost_after, 'items')} instead of {number(remedy.lost_before, 'items')}"
    return f"{remedy.remedy}: {effect}; {lost}; {_price(price)} USD a month of memory"


def _price(usd: float | None) -> str:
    """A difference in USD; less than half a cent is none.

    Examples
    --------
    >>> _price(-0.001), _price(-0.011), _price(1.5)
    ('0.00', '-0.01', '+1.50')
    """
    told = f"{usd or 0:+.2f}"
    return "0.00" if float(told) == 0 else told


def told_symptom(symptom: Symptom) -> str:
    """A symptom, and how far it shows in the stress envelope, in words."""
    shows = "shows" if (symptom.value or 0) > (symptom.limit or 0) else "does not show"
    already = f"; already so or without effect: {', '.join(symptom.already)}" if symptom.already else ""
    return (
        f"{symptom.symptom}: {shows} in the stress envelope ({symptom.figure} {number(symptom.value, symptom.unit)} "
        f"{symptom.unit}, {number(symptom.lost, 'items')} items lost or stuck){already}."
    )


def told_option(option: Option, symptom: Symptom) -> str:
    """What a proposal did, in words."""
    return (
        f"{' + '.join(option.options)}: {number(option.value, symptom.unit)} {symptom.unit}, "
        f"{number(option.lost, 'items')} items lost or stuck; {_price(option.price_usd)} USD a month of memory"
    )


def write(found: Findings, out: Path) -> None:
    """Write ``findings.html``, ``plots/`` and ``schedules/`` into an existing folder."""
    (out / "plots").mkdir()
    (out / "schedules").mkdir()
    entries: list[dict[str, Any]] = []
    for finding in found.findings:
        name = file_name(finding.kind, finding.part, finding.disturbance)
        figure = _figure(finding, name) if finding.series else None
        if figure:
            for ending, content in figure.images.items():
                (out / "plots" / f"{figure.name}.{ending}").write_bytes(content)
        if finding.schedule:
            write_text(out / "schedules" / f"{name}.toml", finding.schedule)
        entries.append({
            "id": name, "head": f"{finding.kind}: {finding.part}, by {finding.disturbance}",
            "sentences": sentences(finding), "figure": figure, "remedies": _remedies(finding),
            "schedule": f"schedules/{name}.toml" if finding.schedule else "",
        })  # fmt: skip
    page = render(
        "findings.html",
        title=f"What could break in {found.name}", answer=answer(found), entries=entries,
        targets=targets_table(found.targets), index=_index(found),
        symptoms=[_symptom(symptom) for symptom in found.troubleshooting], version=found.capsim_version,
        seed=found.seed,
    )  # fmt: skip
    write_text(out / "findings.html", page)


def _figure(finding: Finding, name: str) -> Figure:
    assert finding.series is not None
    level_of = finding.series.level_of.partition(" [")[0]
    alt = (
        f"Line plot of the {level_of} and of the items lost, over the schedule of "
        f"{finding.kind} in {finding.part} by {finding.disturbance}; lost: {number(finding.lost, 'items')} items."
    )
    return drawn(name, "", "findings", alt, schedule_plot, finding)


def schedule_plot(finding: Finding, ax: Axes | None = None) -> Axes:
    """The schedule of a finding: its largest buffer, what is lost, and the disturbance.

    Raises
    ------
    CapsimError
        If it has none, because the load itself does it.
    """
    series = finding.series
    if series is None:
        raise CapsimError(f"{finding.kind}: the load itself does it, so there is no schedule to draw; plot the run")
    return plot(
        series.step_s, series.level, series.lost_items, (series.disturbed_from_s, series.disturbed_to_s),
        title=f"{finding.part}: {finding.kind}", disturbance=finding.disturbance, level_of=series.level_of, ax=ax,
    )  # fmt: skip


def _index(found: Findings) -> Table:
    head = [Cell("failure"), Cell("part"), Cell("by"), Cell("trigger", "number"), Cell("unit"),
            Cell("lost [items]", "number"), Cell("heals"), Cell("best remedy")]  # fmt: skip
    rows = []
    for f in found.findings:
        healed = "no" if f.heals_after_s is None else f"after {number(round(f.heals_after_s, 1), 's')} s"
        heals = "" if f.lost is None else healed
        best = next((r.remedy for r in f.remedies if r.holds_to), "none of those tried" if f.remedies else "")
        trigger, lost = number(f.trigger, f.unit), number(f.lost, "items")
        name = file_name(f.kind, f.part, f.disturbance)
        rows.append([Cell(f.kind, to=name), Cell(f.part), Cell(f.disturbance), Cell(trigger, "number"), Cell(f.unit),
                     Cell(lost, "number"), Cell(heals), Cell(best)])  # fmt: skip
    return Table("All findings", head, rows)


def targets_table(targets: Sequence[Target], of: str = "") -> Table:
    """Targets as a checklist."""
    head = [Cell("target"), Cell("met?"), Cell("value", "number"), Cell("unit"), Cell("limit", "number"),
            Cell("margin", "number"), Cell("met in", "number"), Cell("over"), Cell("if missed")]  # fmt: skip
    rows = [
        [Cell(t.target), Cell(_mark(t)), Cell(number(t.value, t.unit), "number"),
         Cell("share" if t.unit == "1" else t.unit), Cell(t.limit, "number"),
         Cell("-" if t.margin is None else f"{t.margin:+.0%}", "number"), Cell(f"{t.probability or 0:.0%}", "number"),
         Cell(t.window), Cell(t.action)]
        for t in targets
    ]  # fmt: skip
    note = "Margin: how far on the right side of the limit, relative to it. Met in: share of the replicates."
    return Table(f"Service-level targets{', ' if of else ''}{of}", head, rows, note)


def _symptom(symptom: Symptom) -> tuple[str, Table]:
    head = [Cell("change"), Cell(f"{symptom.figure} [{symptom.unit}]", "number"),
            Cell("lost or stuck [items]", "number"), Cell("price [USD/month]", "number")]  # fmt: skip
    rows = [[Cell("none"), Cell(number(symptom.value, symptom.unit), "number"),
             Cell(number(symptom.lost, "items"), "number"), Cell("", "number")]]  # fmt: skip
    rows += [
        [Cell(" + ".join(o.options)), Cell(number(o.value, symptom.unit), "number"),
         Cell(number(o.lost, "items"), "number"), Cell(_price(o.price_usd), "number")]
        for o in symptom.options
    ]  # fmt: skip
    note = "Played in every case of the stress envelope; the best first. Price: the memory that it adds there."
    return told_symptom(symptom), Table(symptom.symptom[0].upper() + symptom.symptom[1:], head, rows, note)


def _remedies(finding: Finding) -> Table | None:
    if not finding.remedies:
        return None
    head = [Cell("remedy"), Cell("holds up to [x trigger]", "number"), Cell("lost without [items]", "number"),
            Cell("lost with [items]", "number"), Cell("price [USD/month]", "number")]  # fmt: skip
    rows = [
        [Cell(r.remedy), Cell(f"{r.holds_to:g}" if r.holds_to else "no help", "number"),
         Cell(number(r.lost_before, "items"), "number"), Cell(number(r.lost_after, "items"), "number"),
         Cell(_price(r.price_usd), "number")]
        for r in finding.remedies
    ]  # fmt: skip
    note = "Tried at 1, 2, 4 and 16 times the trigger; losses are those at twice the trigger. Price: memory only."
    return Table("Remedies, the best first", head, rows, note)

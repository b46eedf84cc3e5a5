"""Predicted beside billed: each line of a result against an export of what Railway says was used."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from textwrap import wrap
from typing import Literal

from pydantic import Field

from capsim.base.document import DocumentModel, Number, Row, rounded
from capsim.base.errors import CapsimError
from capsim.base.units import BILLED_MONTH_MINUTES
from capsim.cost.billed import Billed
from capsim.cost.railway_export import ALL
from capsim.results.document import BillLine, Result
from capsim.results.window_tables import Window
from capsim.scenario.columns import SERVICES
from capsim.scenario.prices import METERS, Meter, prices_on


class ReconciledLine(Row):
    """One line of the bill, predicted and billed, over the same time."""

    service: str
    line: str
    unit: str
    predicted: Number
    billed: Number
    predicted_usd: Number
    lower_usd: Number = Field(description="prediction with the lower bracket of the page cache")
    upper_usd: Number = Field(description="prediction with the upper bracket")
    billed_usd: Number
    ratio: Number = Field(description="predicted over billed; null where either is missing or nothing was billed")
    verdict: Literal["inside", "above", "below", "not modelled", "not in the export"] = Field(
        description="where the prediction's bracket lies, seen from what was billed"
    )


class Reconciliation(DocumentModel):
    """A prediction beside what was billed."""

    schema_version: Literal[1] = 1
    kind: Literal["reconciliation"] = "reconciliation"
    name: str
    sources: tuple[str, ...]
    scopes: tuple[str, ...] = Field(description="project, workspace or service of each source; empty: it does not say")
    minutes: float = Field(description="time that both sides are told for")
    covered: tuple[float, float] | None = Field(
        description="share of that time that samples tell of, of the line with least and with most; null: no samples"
    )
    lines: tuple[ReconciledLine, ...]
    predicted_usd: float = Field(description="of the lines that both sides have")
    billed_usd: float = Field(description="of all lines of the export that are compared")
    left_out_usd: float = Field(description="of the export, in no line that is compared; the notes name them")
    explained: Number = Field(description="share of the billed amount that predicted lines cover, each at most fully")
    beyond_usd: float = Field(description="predicted beyond what was billed, over the lines predicted too high")
    notes: tuple[str, ...]


def reconcile(result: Result, exports: Sequence[Billed]) -> Reconciliation:
    """Put a prediction beside exports of use.

    Parameters
    ----------
    result : Result
        Whose bill of a month (or, without one, of the load) is scaled to the time of the exports.
    exports : sequence of Billed
        Of one time; a line may be in one of them only.

    Returns
    -------
    Reconciliation
        Usage lines only: subscription and discounts follow from them. Dollars and quantities are turned into
        each other by the exact prices of the scenario's date. ``explained`` says nothing of lines predicted too
        high; ``beyond_usd`` and the ratios do.

    Raises
    ------
    CapsimError
        If a line is in two exports, their times differ, or the result has no bill.
    """
    window: Window = "month" if "month" in result.bill else "trace"
    if not result.bill.get(window):
        raise CapsimError(f"{result.name}: has no bill to set beside what was billed; run the scenario again")
    notes = [note for export in exports for note in export.notes]
    minutes = _minutes(exports, notes)
    span_minutes = BILLED_MONTH_MINUTES if window == "month" else result.trace_span_s / 60
    scale = minutes / span_minutes
    if scale != 1:
        notes.append(f"the predicted {span_minutes:,.6g} min are scaled to {minutes:,.6g} min, as if use were even")

    billed = _billed(exports, _prices(result))
    predicted = _predicted(result.bill[window], {service for service, _ in billed}, notes)
    lines = tuple(
        _line(place, predicted.get(place, []), billed.get(place), scale)
        for place in dict.fromkeys([*predicted, *billed])
    )
    known = [line for line in lines if line.billed_usd is not None]
    total = sum(line.billed_usd or 0.0 for line in known)
    covered = sum(min(line.predicted_usd or 0.0, line.billed_usd or 0.0) for line in known)
    return Reconciliation(
        name=result.name,
        sources=tuple(export.source for export in exports),
        scopes=tuple(export.scope for export in exports),
        minutes=rounded(minutes),
        covered=_covered(exports),
        lines=lines,
        predicted_usd=rounded(sum(line.predicted_usd or 0.0 for line in known)),
        billed_usd=rounded(total),
        left_out_usd=rounded(sum(export.left_out_usd for export in exports)),
        explained=rounded(covered / total) if total else None,
        beyond_usd=rounded(sum(max(0.0, (line.predicted_usd or 0.0) - (line.billed_usd or 0.0)) for line in known)),
        notes=tuple(dict.fromkeys(notes)),
    )


def _predicted(
    bill: Sequence[BillLine], billed: Collection[str], notes: list[str]
) -> dict[tuple[str, str], list[BillLine]]:
    """The usage lines of a bill by service and meter, or by meter where the exports do not tell services apart."""
    usage = [line for line in bill if line.line in METERS]
    if unknown := [f"{line.service} {line.line}" for line in usage if line.basis == "not modelled"]:
        notes.append(f"not modelled, so in no prediction: {', '.join(unknown)}")
    if ALL in billed:
        return {(ALL, meter): [line for line in usage if line.line == meter] for meter in METERS}
    if absent := [service for service in SERVICES if service not in billed]:
        notes.append(f"no export of {', '.join(absent)}: predicted, and not compared")
    return {(line.service, line.line): [line] for line in usage}


def _billed(exports: Sequence[Billed], prices: Mapping[Meter, float]) -> dict[tuple[str, str], tuple[float, float]]:
    """Quantity and dollars of each line, by service and meter."""
    billed: dict[tuple[str, str], tuple[float, float]] = {}
    for export in exports:
        for entry in export.entries:
            place = (entry.service, entry.meter)
            if place in billed:
                raise CapsimError(f"{export.source}: {' '.join(place)} is in another export already; leave one out")
            price = prices[entry.meter]
            if entry.usd is None:
                quantity = entry.quantity or 0.0
                billed[place] = (quantity, quantity * price)
            else:
                billed[place] = (entry.usd / price if price else 0.0, entry.usd)
    if len({service == ALL for service, _ in billed}) > 1:
        raise CapsimError(
            "some exports name their service and some do not; write SERVICE=FILE for those of one service"
        )
    return billed


def _minutes(exports: Sequence[Billed], notes: list[str]) -> float:
    told = sorted({export.minutes for export in exports if export.minutes is not None})
    if not told:
        notes.append(f"the export does not say what time it covers: a month of {BILLED_MONTH_MINUTES:,} min is assumed")
        return float(BILLED_MONTH_MINUTES)
    if told[-1] > told[0] * 1.02:  # sampling steps may cut a little off each
        raise CapsimError(f"the exports cover {told[0]:,.6g} and {told[-1]:,.6g} min; export the same time for each")
    return told[-1]


def _covered(exports: Sequence[Billed]) -> tuple[float, float] | None:
    shares = [share for export in exports if export.covered for share in export.covered]
    return (rounded(min(shares)), rounded(max(shares))) if shares else None


def _prices(result: Result) -> dict[Meter, float]:
    try:
        day = dt.date.fromisoformat(str(result.provenance["scenario"]["billing"]["from"]))
    except (KeyError, TypeError, ValueError):
        raise CapsimError(f"{result.name}: does not say from when it is billed; run the scenario again") from None
    prices = prices_on(day)
    return {meter: float(prices.unit_price(meter)) if prices.has_price(meter) else 0.0 for meter in METERS}


def _line(
    place: tuple[str, str], lines: Sequence[BillLine], billed: tuple[float, float] | None, scale: float
) -> ReconciledLine:
    modelled = [line for line in lines if line.basis != "not modelled" and line.amount_usd is not None]

    def total(column: str) -> float | None:
        return rounded(scale * sum(getattr(line, column) or 0.0 for line in modelled)) if modelled else None

    amount, lower, upper = total("amount_usd"), total("lower_usd"), total("upper_usd")
    verdict: Literal["inside", "above", "below", "not modelled", "not in the export"]
    if billed is None:
        verdict = "not in the export"
    elif amount is None or lower is None or upper is None:
        verdict = "not modelled"
    else:
        usd = billed[1]
        slack = 0.005 * max(1, len(modelled))  # each predicted line is rounded to cents
        verdict = "above" if lower > usd + slack else "below" if upper < usd - slack else "inside"
    service, meter = place
    return ReconciledLine(
        service=service,
        line=meter,
        unit=next(unit for name, (unit, _, _) in METERS.items() if name == meter),
        predicted=total("quantity"),
        billed=None if billed is None else rounded(billed[0]),
        predicted_usd=amount,
        lower_usd=lower,
        upper_usd=upper,
        billed_usd=None if billed is None else rounded(billed[1]),
        ratio=None if billed is None or not billed[1] or amount is None else rounded(amount / billed[1]),
        verdict=verdict,
    )


schema_text = Reconciliation.schema_text


def screen(document: Reconciliation) -> str:
    """The document for people, at most 100 columns wide."""
    from tabulate import tabulate

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:,.4g}"

    def usd(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    rows = [
        (
            line.service,
            line.line,
            number(line.predicted),
            number(line.billed),
            usd(line.predicted_usd)
            + ("" if line.lower_usd == line.upper_usd else f" ({usd(line.lower_usd)}-{usd(line.upper_usd)})"),
            usd(line.billed_usd),
            "" if line.ratio is None else f"{line.ratio:.2f}",
            line.verdict,
        )
        for line in document.lines
        if line.billed or line.predicted
    ]
    headers = ("service", "line", "predicted", "billed", "predicted $", "billed $", "ratio", "prediction is")
    table = tabulate(rows, headers, disable_numparse=True, colalign=("left", "left", *["right"] * 5, "left"))
    share = "nothing was billed" if document.explained is None else f"{document.explained:.0%} of it explained"
    beyond = f", ${document.beyond_usd:.2f} predicted beyond it" if document.beyond_usd >= 0.005 else ""
    sides = [f"{s} ({scope})" if scope else s for s, scope in zip(document.sources, document.scopes, strict=True)]
    covered = ""
    if document.covered:
        least, most = (f"{share:.0%}" for share in document.covered)
        covered = f", of which samples tell of {least if least == most else f'{least} to {most}'}"
    left = f". ${document.left_out_usd:,.2f} of the export is not compared" if document.left_out_usd >= 0.005 else ""
    head = (
        f"{document.name} beside {', '.join(sides)}, {document.minutes:,.6g} min{covered}: predicted "
        f"${document.predicted_usd:.2f}, billed ${document.billed_usd:.2f}; {share}{beyond}{left}"
    )
    units = "Quantities: GB-minutes, of CPU vCPU-minutes, of egress GB. Brackets: page cache at its least and most."
    return (
        "\n".join(
            [
                *wrap(head, 100),
                "",
                table,
                "",
                units,
                *(line for note in document.notes for line in wrap(f"Note: {note}.", 100)),
            ]
        )
        + "\n"
    )

"""An audit for people: text for a terminal, Markdown, one HTML page with plots, and tables as CSV."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capsim.base.document import dumps
from capsim.base.files import write_text
from capsim.show import audit_words as words
from capsim.show.console import WIDTH
from capsim.show.pages import render
from capsim.show.report import Cell, Table
from capsim.show.report_plots import Figure, drawn
from capsim.study.audit.document import Audit, Change, Claim
from capsim.study.audit.variants import CUMULATIVE, FAMILIES, FURTHER, ONE, OUT

if TYPE_CHECKING:
    import pandas as pd

JSON, PAGE, README = "audit.json", "audit.html", "README.md"
BEGIN, END = "<!-- audit: made by capsim audit, do not edit -->", "<!-- end of audit -->"
# Of the changes: figure, head of its column.
SHOWN = (
    ("server_billed_mean", "server, billed mean [MiB]"),
    ("held_mean", "all three without file cache [MiB]"),
    ("project_billed_mean", "all three, billed in a month [MiB]"),
    ("total", "to pay for a month [USD]"),
    ("stall_items_lost", "lost in the stall [items]"),
)
UNITS = {"stall_items_lost": "items", "total": "USD"}
TITLES = {
    ONE: "One change at a time: what each saves by itself",
    OUT: "One change left out at a time: what each saves when all others are made",
    CUMULATIVE: "In the plan's order: what each adds to those before it",
    FURTHER: "The plan's further steps, each on top of all of it",
}
SAVES = (
    "Savings: the figure without the change less that with it; below 0 where it grows. The last step, hobby, is the "
    "smaller Railway plan: its volume of 5 GB is full before the month is over, writes stop, and so does the bill's "
    "growth."
)


def tables(audit: Audit) -> dict[str, pd.DataFrame]:
    """The document as tidy tables: claims, needs, changes."""
    import pandas as pd

    claims, needs = [], []
    for claim in audit.claims:
        row = claim.model_dump(exclude={"needs", "beside", "stressed", "without", "with_change", "predicted"})
        for side in ("without", "with_change", "predicted"):
            found = getattr(claim, side)
            for end in ("value", "half_width", "low", "high"):
                row[side if end == "value" else f"{side}_{end}"] = getattr(found, end) if found else None
        claims.append(row)
        needs += [{"claim": claim.claim, **need.model_dump()} for need in claim.needs]
    return {
        "claims": pd.DataFrame(claims),
        "needs": pd.DataFrame(needs),
        "changes": pd.DataFrame([change.model_dump() for change in audit.changes]),
    }


def texts(audit: Audit) -> dict[str, str]:
    """Every file of the audit but the page and its plots, by name: all follow from the document."""
    made = {f"{name}.csv": table.to_csv(index=False, lineterminator="\n") for name, table in tables(audit).items()}
    return {JSON: dumps(audit), README: markdown(audit), **made}


def write(audit: Audit, out: Path) -> None:
    """Write the document, its tables, the page and ``plots/`` into an existing folder."""
    for name, text in texts(audit).items():
        write_text(out / name, text)
    (out / "plots").mkdir()
    figures = _figures(audit)
    for figure in figures:
        for ending, content in figure.images.items():
            (out / "plots" / f"{figure.name}.{ending}").write_bytes(content)
    page = render(
        "audit.html",
        title="Does the plan deliver what it promises?", answer=words.answer(audit), load=words.load(audit),
        index=_index(audit), claims=[_entry(claim) for claim in audit.claims], figures=figures,
        changes=[_of_family(audit, name) for name in FAMILIES], saves=SAVES, version=audit.capsim_version,
    )  # fmt: skip
    write_text(out / PAGE, page)


# --- the terminal ---------------------------------------------------------------------------------------------


def overview(audit: Audit) -> str:
    """Everything a person wants to see first, in lines of at most 100 columns."""
    lines = [*textwrap.wrap(words.answer(audit), WIDTH), *textwrap.wrap(words.load(audit), WIDTH), ""]
    rows = [
        [claim.claim, words.promised(claim), words.predicted(claim), words.SIGNS[claim.verdict]]
        for claim in audit.claims
    ]
    lines += _plain(rows, ["claim", "promised", "predicted", "so?"]).splitlines()
    lines += ["", "What would have to be true", ""]
    for claim in audit.claims:
        for need in claim.needs:
            text = f"{claim.claim}: {words.needed(need)}"
            lines += textwrap.wrap(text, WIDTH, initial_indent="- ", subsequent_indent="  ")
    for name in FAMILIES:
        lines += ["", *textwrap.wrap(TITLES[name], WIDTH), ""]
        rows = [[change, *values] for change, *values in _savings(audit, name)]
        lines += _plain(rows, ["change", *(textwrap.fill(head, 13) for _, head in SHOWN)]).splitlines()
    lines += ["", *textwrap.wrap(SAVES, WIDTH)]
    return "\n".join(lines) + "\n"


def _plain(rows: Sequence[Sequence[str]], head: Sequence[str]) -> str:
    from tabulate import tabulate

    wrapped = [[textwrap.fill(cell, 30) or cell for cell in row] for row in rows]
    words_ = 4 if len(head) == 4 else 1  # claims are words, changes are numbers
    align = ["left"] * words_ + ["right"] * (len(head) - words_)
    return str(tabulate(wrapped, head, disable_numparse=True, colalign=align))


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _savings(audit: Audit, family: str) -> list[list[str]]:
    """A row a change: its name, and what it saves of each of `SHOWN`."""
    rows: dict[tuple[int, str], dict[str, Change]] = {}
    for change in audit.changes:
        if change.family == family:
            rows.setdefault((change.step, change.change), {})[change.figure] = change
    return [[name, *(_saved(found[figure]) for figure, _ in SHOWN)] for (_, name), found in rows.items()]


def _saved(change: Change) -> str:
    unit = UNITS.get(change.figure, "MiB")
    text = words.plain(change.saving or 0.0, unit)
    half = words.plain(change.half_width or 0.0, unit)
    return text if float(half.replace(",", "")) == 0 else f"{text} ± {half}"


# --- Markdown ---------------------------------------------------------------------------------------------------


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table_of_claims(audit: Audit) -> str:
    """All claims as one Markdown table: what was promised, what is predicted, the verdict, what it would take."""
    lines = [_row(["claim", "promised", "predicted", "verdict", "what would have to be true"]), "|---|---|---|---|---|"]
    for claim in audit.claims:
        needs = "; ".join(words.needed(need) for need in claim.needs)
        cells = [claim.says, words.promised(claim), words.predicted(claim), claim.verdict, needs or claim.note]
        lines.append(_row(cells))
    return "\n".join(lines) + "\n"


def block(audit: Audit) -> str:
    """The part of the repository's README that is made of the audit, between its marks."""
    told = "\n".join(textwrap.wrap(f"{words.answer(audit)} ({words.load(audit)}.)", 120))
    return f"{BEGIN}\n{told}\n\n{table_of_claims(audit)}{END}\n"


def markdown(audit: Audit) -> str:
    """The audit as a page of Markdown: the claims, why each verdict, and the changes by themselves."""
    lines = [
        "# Audit of the plan", "",
        f"Made by `capsim audit --out data/audit` (capsim {audit.capsim_version}); do not edit. `capsim audit --check` "
        "compares. The same with plots: `audit.html`; numbers to nine digits: the CSV files and `audit.json`, whose "
        "fields `../schema/audit.schema.json` describes. The claims: `../claims.toml`.", "",
        words.answer(audit), "", _sentence(words.load(audit)), "", table_of_claims(audit),
        "## Why", "",
    ]  # fmt: skip
    for claim in audit.claims:
        lines += [f"* **{claim.claim}** ({claim.place}): {claim.verdict}, {'; '.join(_why(claim))}."]
    for name in FAMILIES:
        lines += ["", f"## {TITLES[name]}", "", _row(["change", *(head for _, head in SHOWN)])]
        lines += ["|---|" + "---:|" * len(SHOWN), *(_row(row) for row in _savings(audit, name))]
    return "\n".join([*lines, "", SAVES]) + "\n"


def _why(claim: Claim) -> list[str]:
    told = [claim.rule]
    if claim.without is not None and claim.with_change is not None and claim.measure != "rank":
        told.append(
            f"{claim.meaning}: {words.amount(claim.without.value, _unit(claim))} without, "
            f"{words.amount(claim.with_change.value, _unit(claim))} with"
        )
    return [*told, *words.stressed(claim), *words.beside(claim), *([claim.note] if claim.note else [])]


def _unit(claim: Claim) -> str:
    from capsim.study.audit.figures import FIGURES

    return FIGURES[claim.figure].unit


# --- the page -----------------------------------------------------------------------------------------------------


def _index(audit: Audit) -> Table:
    head = [Cell("claim"), Cell("in words"), Cell("promised"), Cell("predicted"), Cell("verdict")]
    rows = [
        [Cell(c.claim), Cell(c.says), Cell(words.promised(c)), Cell(words.predicted(c)),
         Cell(c.verdict, c.verdict.replace(" ", "-"))]
        for c in audit.claims
    ]  # fmt: skip
    return Table("Every claim beside its prediction", head, rows, _sentence(words.load(audit)))


def _entry(claim: Claim) -> dict[str, Any]:
    return {
        "id": claim.claim.replace(" ", "-").replace(",", "").replace(":", ""),
        "head": claim.claim, "says": claim.says, "place": claim.place, "verdict": claim.verdict,
        "promised": words.promised(claim), "predicted": words.predicted(claim), "why": _why(claim),
        "needs": [words.needed(need) for need in claim.needs],
    }  # fmt: skip


def _of_family(audit: Audit, name: str) -> Table:
    head = [Cell("change"), *(Cell(text, "number") for _, text in SHOWN)]
    rows = [[Cell(row[0]), *(Cell(text, "number") for text in row[1:])] for row in _savings(audit, name)]
    return Table(TITLES[name], head, rows)


def _figures(audit: Audit) -> list[Figure]:
    from capsim.show.plots import audit as plots

    claims, changes = tables(audit)["claims"], tables(audit)["changes"]
    savings = claims[(claims["measure"] == "saving") & (claims["unit"] == "MiB") & claims["most"].notna()]
    told = "; ".join(f"{c.claim} {words.predicted(c)}" for c in audit.claims if c.claim in set(savings["claim"]))
    levels = claims[claims["claim"].isin(["baseline before", "baseline after", "peak before", "peak after"])]
    return [
        drawn("savings", "", "claims", f"Promised and predicted savings of memory. Predicted: {told}.",
              plots.ranges, savings, "Savings of memory: promised and predicted", "saving [MiB]"),
        drawn("levels", "", "claims", "Promised and predicted memory of the server, at rest and at the peak, on a "
              "logarithmic axis.", lambda: plots.ranges(levels, "The server's memory: promised and predicted",
                                                        "memory [MiB]", log=True)),
        drawn("changes", "", "changes", "Bars of what each change saves of the server's billed memory, by itself and "
              "when all others are made.", plots.effects, changes, "server_billed_mean",
              "What each change saves of the server's billed memory", "saving [MiB]"),
        drawn("losses", "", "changes", "Bars of how many more items are lost in the stall of the stress envelope with "
              "each change, by itself and when all others are made.", lambda: plots.effects(
                  changes, "stall_items_lost", "What each change adds to the losses in a stall of a minute at the peak",
                  "more items lost", sign=-1)),
        drawn("bill", "", "changes", "Steps of the bill of a month as the plan's changes are made in its order.",
              plots.in_order, changes, "total", "The bill of a month, change after change", "to pay [USD]"),
    ]  # fmt: skip

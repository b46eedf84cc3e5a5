"""An audit in words: what was claimed, what is predicted, what would have to be true."""

from __future__ import annotations

from capsim.base.amounts import number
from capsim.study.audit.document import Audit, Beside, Claim, Estimate, Need
from capsim.study.audit.verdict import VERDICTS

SIGNS = {"supported": "yes", "partly": "partly", "not supported": "NO", "not testable": "-"}  # on the terminal


def amount(value: float | None, unit: str, *, share: bool = False) -> str:
    """A number with its unit, as people read it.

    Examples
    --------
    >>> amount(0.2959, "1", share=True), amount(42.47, "MiB"), amount(None, "d"), amount(20.0, "USD")
    ('30 %', '42.5 MiB', 'none', '20.00 USD')
    """
    if value is None:
        return "none"
    if share or unit == "1":
        percent = round(100 * value, 2) + 0.0
        return f"{percent:.1f} %" if 0 < abs(percent) < 9.95 else f"{percent:.0f} %"
    return f"{plain(value, unit)} {unit}".rstrip()


def plain(value: float, unit: str) -> str:
    """A number with as many digits as its unit deserves.

    Examples
    --------
    >>> plain(20_000.0, "rows"), plain(0.071386, "1/s"), plain(1e-8, "MiB"), plain(2139.6, "s")
    ('20,000', '0.0714', '0.0', '2,140')
    """
    if unit in ("MiB", "USD"):
        value = round(value, 2)
        return number(value, unit) if abs(value) < 1_000 or unit == "USD" else f"{value:,.0f}"
    if unit in ("rows", "items", "connections", "commands", "deaths", "calls", "CPUs") or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def promised(claim: Claim) -> str:
    """The claimed range.

    Examples
    --------
    >>> promised(_example(measure="saving", least=50.0, most=100.0))
    '50.0 to 100.0 MiB less'
    """
    if claim.verdict == "not testable" and claim.predicted is None:
        return "no figure"
    if claim.measure == "rank":
        return "the largest saving"
    least, most = claim.least, claim.most
    if least is not None and most is not None:
        text = f"{_bare(least, claim.unit)} to {amount(most, claim.unit)}"
    elif most is not None:
        text = f"at most {amount(most, claim.unit)}" if most else amount(most, claim.unit)
    else:
        text = f"at least {amount(least, claim.unit)}"
    return text + (" less" if claim.measure in ("saving", "share") else "")


def _bare(value: float | None, unit: str) -> str:
    """A number without its unit."""
    return amount(value, unit).removesuffix(unit).removesuffix("%").strip()


def predicted(claim: Claim) -> str:
    """What is predicted, with both ends of its interval."""
    found = claim.predicted
    if found is None:
        return "-"
    return _estimate(found, claim.unit)


def _estimate(found: Estimate, unit: str) -> str:
    text = amount(found.value, unit)
    ends = [amount(end, unit) for end in (found.low, found.high)]
    if ends[0] == ends[1] == text:
        return text
    return f"{text} ({_bare(found.low, unit)} to {_bare(found.high, unit)})"


def stressed(claim: Claim) -> list[str]:
    """The same figure in the stress envelope, without and with the change."""
    return [_pair(b) for b in claim.stressed]


def beside(claim: Claim) -> list[str]:
    """Figures that belong to it, without and with the change."""
    return [_pair(b) for b in claim.beside]


def _pair(figure: Beside) -> str:
    values = (amount(value, figure.unit) for value in (figure.without, figure.with_change))
    return "{}: {} without, {} with".format(figure.meaning, *values)


def needed(need: Need) -> str:
    """What would have to be true, in one sentence.

    Examples
    --------
    >>> need = Need(what="a file size", unit="MiB", size=5.5, fails_at=5.4, searched_from=1, searched_to=100,
    ...     figure="x", figure_unit="MiB", measure="saving", least=50, most=100, without=134.0, with_change=84.0,
    ...     deaths_without=0, deaths_with=0, lost_without=0, lost_with=0, tries=9)
    >>> needed(need)
    'a file size: 5.5 MiB'
    >>> needed(need.model_copy(update={"size": None, "deaths_with": 2}))
    'a file size: none from 1.0 to 100.0 MiB (there, it dies 2 times with the change, not without)'
    """
    if need.size is None:
        ends = sorted((need.searched_from, need.searched_to))
        told = f"none from {plain(ends[0], need.unit)} to {plain(ends[1], need.unit)} {need.unit}"
    elif need.fails_at is None:
        told = f"so from {amount(need.size, need.unit)} on, where the search begins"
    else:
        told = amount(need.size, need.unit)
    there = [
        _harm(verb, noun, without, with_)
        for verb, noun, without, with_ in (
            ("dies", "time", need.deaths_without, need.deaths_with),
            ("loses", "item", need.lost_without, need.lost_with),
        )
        if with_ and with_ > (without or 0)
    ]
    return f"{need.what}: {told}" + (f" (there, it {' and '.join(there).rstrip(',')})" if there else "")


def _harm(verb: str, noun: str, without: float | None, with_: float) -> str:
    counted = f"{verb} {with_:,.0f} {noun}{'s' * (with_ != 1)} with the change"
    return counted + ("" if without is None else ", not without," if without == 0 else f", {without:,.0f} without,")


def answer(audit: Audit) -> str:
    """The audit in one sentence."""
    counts = {verdict: sum(c.verdict == verdict for c in audit.claims) for verdict in VERDICTS}
    of_bill = next((c for c in audit.claims if c.claim == "bill after"), None)
    paid = "" if of_bill is None or of_bill.with_change is None or of_bill.without is None else (
        f" A month costs {_estimate(of_bill.with_change, 'USD')} instead of {_estimate(of_bill.without, 'USD')}, by how"
        " much page cache is billed."
    )  # fmt: skip
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return f"Of {len(audit.claims)} claims of {audit.source}: {told}.{paid}"


def load(audit: Audit) -> str:
    """Under what it was examined."""
    times = f"{audit.replicates} replicates" if audit.replicates > 1 else "one run"
    return (
        f"load {audit.load}, {audit.mean_hz:.3g} requests a second, {audit.peak_hz:.3g} in the busiest minute; "
        f"seed {audit.seed}; {times}; in brackets both ends over chance (95 %; of a peak the smallest and the largest "
        "one seen) and over page cache"
    )


def _example(**changes: object) -> Claim:
    """A claim for examples."""
    plainest: dict[str, object] = {
        "claim": "x", "place": "", "says": "", "change": "logger", "measure": "saving", "figure": "f", "meaning": "m",
        "unit": "MiB", "least": None, "most": None, "without": None, "with_change": None,
        "predicted": Estimate(value=1.0, low=1.0, high=1.0), "stressed": (), "verdict": "partly", "rule": "",
        "note": "", "beside": (), "needs": (),
    }  # fmt: skip
    return Claim.model_validate(plainest | changes)

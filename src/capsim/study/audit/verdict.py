"""The verdict on a claim, by rules that do not know which claim it is.

* *supported*: what is predicted lies in the claimed range, both ends of its interval too, and so it does in the stress
  envelope where the claim is of one; a saving above the range counts as in it.
* *partly*: the interval only touches the range; or a saving is at least a quarter of what was claimed, or is so in the
  envelope only; or a promise is kept at rest and not in the envelope; or it was kept without the change too.
* *not supported*: anything else. *not testable*: nothing in the model can say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from capsim.study.audit.claims import Measure

Verdict = Literal["supported", "partly", "not supported", "not testable"]
VERDICTS: tuple[Verdict, ...] = ("supported", "partly", "not supported", "not testable")
PARTLY = 0.25  # of the least that was claimed
SLACK = 1e-9  # relative, for what ought to be equal
EFFECTS = ("saving", "share", "rank", "harm")


class Range(NamedTuple):
    """What was claimed; an end that was not given is open."""

    least: float | None
    most: float | None

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends as numbers."""
        return -math.inf if self.least is None else self.least, math.inf if self.most is None else self.most


def measured(measure: Measure, without: float, with_: float) -> float:
    """What of the two sides is held against the claimed range; of a rank the saving, which others are taken from.

    Examples
    --------
    >>> measured("saving", 100.0, 60.0), measured("share", 100.0, 60.0), measured("after", 100.0, 60.0)
    (40.0, 0.4, 60.0)
    """
    if measure in ("saving", "rank"):
        return without - with_
    if measure == "harm":
        return with_ - without
    if measure == "share":
        return 0.0 if without == with_ else (without - with_) / without if without else -math.inf
    return without if measure == "before" else with_


def holds(measure: Measure, value: float, claimed: Range) -> bool:
    """Whether one value is as claimed.

    Of an effect more is as good as what was claimed, of what is reached afterwards less is.
    """
    least, most = claimed.ends
    slack = SLACK * max(abs(value), 1e-3)
    if measure in EFFECTS or measure == "exceeds":
        return value >= least - slack
    if measure in ("after", "target"):
        return value <= most + slack
    return least - slack <= value <= most + slack


def judge(
    measure: Measure,
    claimed: Range,
    interval: tuple[float, float, float],
    *,
    stressed: Sequence[float] = (),
    without: Sequence[float] = (),
) -> tuple[Verdict, str]:
    """The verdict on a claim, and the rule that decided.

    Parameters
    ----------
    measure : Measure
    claimed : Range
    interval : (float, float, float)
        Expected value and both ends, over chance and page cache.
    stressed : sequence of float
        The same in the stress envelope.
    without : sequence of float
        Of a level afterwards: the levels without the change, at rest and in the envelope.

    Examples
    --------
    >>> judge("saving", Range(50, 100), (42.5, 0.0, 42.5))
    ('partly', 'at least a quarter of it')
    >>> judge("target", Range(None, 512), (102.0, 80.0, 120.0), stressed=[900.0])
    ('partly', 'kept at rest, and not in the stress envelope')
    """
    expected, low, high = interval
    inside = [holds(measure, value, claimed) for value in (expected, low, high)]
    in_stress = [holds(measure, value, claimed) for value in stressed]
    least = claimed.ends[0]
    if measure in EFFECTS:
        if all(inside):
            return "supported", "all of the interval is as claimed"
        if any(inside):
            return "partly", "the interval touches what was claimed"
        if least > 0 and expected >= PARTLY * least:
            return "partly", "at least a quarter of it"
        if any(in_stress):
            return "partly", "in the stress envelope only"
        if least > 0 and any(value >= PARTLY * least for value in stressed):
            return "partly", "at least a quarter of it, in the stress envelope only"
        return "not supported", "no saving" if abs(expected) <= SLACK else "not as claimed"
    if measure == "before":
        if all(inside):
            return "supported", "all of the interval is as claimed"
        overlaps = low <= claimed.ends[1] and high >= least
        return ("partly", "the interval touches what was claimed") if overlaps else ("not supported", "not as claimed")
    if not any(inside):
        return "not supported", "not as claimed"
    if not all(inside):
        return "partly", "the interval touches what was claimed"
    if not all(in_stress):
        return "partly", "kept at rest, and not in the stress envelope"
    if measure == "after" and without and all(holds(measure, value, claimed) for value in without):
        return "partly", "kept, and without the change too"
    return "supported", "kept"

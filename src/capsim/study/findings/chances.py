"""What may be said of a probability from so many runs in which something was seen or not."""

from __future__ import annotations

import math

from capsim.study.findings.document import Chance

Z = 1.959964  # of a 95 % interval


def chance(seen: int, runs: int, what: str) -> Chance:
    """A share with its 95 % interval: Wilson's, or up to 3/n where none was seen.

    Parameters
    ----------
    seen, runs : int
        In how many of the runs it was met.
    what : str
        What a run was.

    Examples
    --------
    >>> chance(0, 12, "a minute").upper
    0.25
    >>> round(chance(6, 12, "a minute").lower, 3)
    0.254

    References
    ----------
    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.
    J. A. Hanley and A. Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 249, 1983 (3/n).
    """
    share = seen / runs
    if not seen:
        return Chance(seen=0, runs=runs, probability=0.0, lower=0.0, upper=min(1.0, 3 / runs), what=what)
    middle = (share + Z * Z / (2 * runs)) / (1 + Z * Z / runs)
    half = Z * math.sqrt(share * (1 - share) / runs + Z * Z / (4 * runs * runs)) / (1 + Z * Z / runs)
    return Chance(
        seen=seen, runs=runs, probability=share, lower=middle - half, upper=min(1.0, middle + half), what=what
    )

"""Numbers and lengths of time as people read them."""

from __future__ import annotations

ABSENT = "-"
DECIMALS = {"MiB": 1, "USD": 2, "items": 0, "requests": 0, "lines": 0}


def number(value: float | None, unit: str) -> str:
    """Write a number with as many digits as its unit deserves.

    Examples
    --------
    >>> number(1234.56, "MiB"), number(0.00123456, "vCPU"), number(None, "USD")
    ('1,234.6', '0.001235', '-')
    """
    if value is None:
        return ABSENT
    value += 0.0  # no negative zero
    if unit in DECIMALS and (abs(value) >= 0.1 or value == 0 or DECIMALS[unit] == 2):
        return f"{value:,.{DECIMALS[unit]}f}"
    if float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 1_000 else f"{value:.4g}"


def span(span_s: float) -> str:
    """A length of time in the unit that people would use.

    Examples
    --------
    >>> span(86_400), span(5_400), span(120)
    ('24.0 h', '1.5 h', '120 s')
    """
    if span_s >= 2 * 86_400:
        return f"{span_s / 86_400:.1f} days"
    return f"{span_s / 3_600:.1f} h" if span_s >= 3_600 else f"{span_s:g} s"

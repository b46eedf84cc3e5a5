"""Conversions, in one place: there is one place to be wrong about 2^20 or about a month.

The clock counts integer microseconds; measured memory is in MiB (2^20 bytes, as V8 and Postgres count); prices and
platform limits are in decimal GB (10^9 bytes, facts of Railway's invoices).
"""

from __future__ import annotations

US_PER_MS = 1_000
US_PER_S = 1_000_000
US_PER_MINUTE = 60 * US_PER_S
US_PER_HOUR = 3_600 * US_PER_S
US_PER_DAY = 86_400 * US_PER_S
LONGEST_S = 366 * 86_400  # a leap year; nothing that is simulated lasts longer

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
GB = 10**9  # decimal

BILLED_MONTH_MINUTES = 43_200  # Railway: 30 days, whatever the calendar says


def us_from_ms(value_ms: float) -> int:
    """Milliseconds to whole microseconds.

    Examples
    --------
    >>> us_from_ms(0.25)
    250
    """
    return round(value_ms * US_PER_MS)


def us_from_s(value_s: float) -> int:
    """Seconds to whole microseconds.

    Examples
    --------
    >>> us_from_s(5)
    5000000
    """
    return round(value_s * US_PER_S)

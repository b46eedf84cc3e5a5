"""Times as spreadsheets, mail and log tools write them, where ISO 8601 does not fit."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

from capsim.base.errors import TraceError

_LONGEST = 60  # characters
_CLOCK = r"(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(?:\s*([AaPp])\.?[Mm]\.?)?"
_ZONE = r"\s*(Z|UTC|GMT|[+-]\d\d:?\d\d)?"
_FIGURES = re.compile(rf"(\d{{1,2}})([./-])(\d{{1,2}})\2(\d{{4}}|\d\d)(?:[,T]?\s*{_CLOCK})?{_ZONE}$")
_YEAR_FIRST = re.compile(rf"(\d{{4}})[/.-](\d{{1,2}})[/.-](\d{{1,2}})(?:[T ,]\s*{_CLOCK}{_ZONE})?$")
_NAMES = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAY_NAME = re.compile(r"^(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*[,.]?\s+", re.IGNORECASE)
_MONTH_FIRST = re.compile(rf"([A-Za-z]{{3}})[a-z]*\.?\s+(\d{{1,2}}),?\s+(\d{{4}})(?:,?\s+(?:at\s+)?{_CLOCK})?{_ZONE}$")
_DAY_FIRST = re.compile(rf"(\d{{1,2}})[. -]\s*([A-Za-z]{{3}})[a-z]*\.?[ -](\d{{4}})(?:[,:]?\s*{_CLOCK})?{_ZONE}$")
_YEAR_LAST = re.compile(rf"([A-Za-z]{{3}})\s+(\d{{1,2}})\s+{_CLOCK}{_ZONE}\s+(\d{{4}})$")  # Mon Mar  2 17:30:00 2026


class AmbiguousDate(TraceError):
    """A date such as 3/2/2026, which may be of March or of February."""


def written(text: str, day_first: Callable[[int, int, bool], bool]) -> dt.datetime | None:
    """The time that a text says, with or without a zone; None if it says none.

    Parameters
    ----------
    day_first : callable
        Asked with the two numbers of a date such as 3/2/2026, and whether AM or PM follows.

    Raises
    ------
    ValueError
        If there is no such day.

    Examples
    --------
    >>> written("02.03.2026 17:30", lambda *_: True).isoformat()
    '2026-03-02T17:30:00'
    >>> written("Mon, 02 Mar 2026 17:30:00 GMT", lambda *_: True).isoformat()
    '2026-03-02T17:30:00+00:00'
    """
    if len(text) > _LONGEST:
        return None
    if hit := _FIGURES.match(text):
        first, mark, second, year = int(hit[1]), hit[2], int(hit[3]), int(hit[4])
        first_is_day = mark == "." or day_first(first, second, hit[9] is not None)
        day, month = (first, second) if first_is_day else (second, first)
        return _when(year + 2_000 * (year < 100), month, day, *hit.groups()[4:])
    if hit := _YEAR_FIRST.match(text):
        return _when(int(hit[1]), int(hit[2]), int(hit[3]), *hit.groups()[3:])
    text = _DAY_NAME.sub("", text)
    if hit := _MONTH_FIRST.match(text):
        return _when(int(hit[3]), _month(hit[1]), int(hit[2]), *hit.groups()[3:])
    if hit := _DAY_FIRST.match(text):
        return _when(int(hit[3]), _month(hit[2]), int(hit[1]), *hit.groups()[3:])
    if hit := _YEAR_LAST.match(text):
        return _when(int(hit[9]), _month(hit[1]), int(hit[2]), *hit.groups()[2:8])
    return None


def _month(name: str) -> int:
    return _NAMES.index(name.lower()) + 1


def _when(
    year: int,
    month: int,
    day: int,
    hour: str | None,
    minute: str | None,
    second: str | None,
    fraction: str | None,
    half: str | None,
    zone: str | None,
) -> dt.datetime:
    at = int(hour or 0)
    if half:
        if not 1 <= at <= 12:
            raise ValueError(f"hour {at} with AM or PM is impossible")
        at = at % 12 + 12 * (half in "Pp")
    leap = second == "60"
    micro = int((fraction or "0")[:6].ljust(6, "0"))
    when = dt.datetime(year, month, day, at, int(minute or 0), 59 if leap else int(second or 0), micro)
    if leap:
        when += dt.timedelta(seconds=1)
    if zone is None:
        return when
    if zone[0] not in "+-":
        return when.replace(tzinfo=dt.UTC)
    offset = dt.timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return when.replace(tzinfo=dt.timezone(-offset if zone[0] == "-" else offset))

"""Text and numbers to instants: integer microseconds since 1970-01-01 UTC."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo

from capsim.base.errors import TraceError
from capsim.base.units import US_PER_DAY, US_PER_HOUR, US_PER_MINUTE, US_PER_MS, US_PER_S
from capsim.workload.clocks import LocalTime
from capsim.workload.written import AmbiguousDate, written

NO_TIME = "no ISO 8601 or epoch time"
LONGEST_ZONE = 100  # characters; no zone's name has half as many
LATEST_US = 7_258_118_400 * US_PER_S  # 2200-01-01; later stamps, and those before 1970, are taken for mistakes

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_US = dt.timedelta(microseconds=1)
_LEAP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:60(?!\d)")
_MONTHS = {"JanFebMarAprMayJunJulAugSepOctNovDec"[3 * i : 3 * i + 3]: i + 1 for i in range(12)}
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?$")
_CLF = re.compile(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}$")
_CLF_BARE = re.compile(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d:\d\d:\d\d)(\.\d{1,9})?(?: ([+-]\d{4}))?$")
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)$")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|min|[smhdw])")
_LONGEST_DURATION = 40  # characters; more are no length of time that anybody meant
_DURATION_US = {
    "us": 1,
    "ms": US_PER_MS,
    "s": US_PER_S,
    "m": US_PER_MINUTE,
    "min": US_PER_MINUTE,
    "h": US_PER_HOUR,
    "d": US_PER_DAY,
    "w": 7 * US_PER_DAY,
}
# An epoch number of today has 10 digits in seconds, 13 in ms, 16 in us, 19 in ns: (below this, its unit, us in one).
_EPOCH_UNITS = ((1e11, "s", 1e6), (1e14, "ms", 1e3), (1e17, "us", 1.0), (1e20, "ns", 1e-3))


def iso(instant_us: int) -> str:
    """An instant as ISO 8601 text, UTC, with a fraction only if it has one.

    Examples
    --------
    >>> iso(804_556_800_000_000)
    '1995-07-01T00:00:00Z'
    """
    return (_EPOCH + instant_us * _US).replace(tzinfo=None).isoformat() + "Z"


def zone_of(name: str) -> dt.tzinfo:
    """The zone called ``name``: ``UTC``, an offset such as ``+02:00``, or an IANA name such as ``Europe/Rome``.

    Examples
    --------
    >>> zone_of("+02:00")
    datetime.timezone(datetime.timedelta(seconds=7200))
    """
    if name.upper() in ("UTC", "Z"):
        return dt.UTC
    if match := _OFFSET.match(name):
        sign = -1 if match[1] == "-" else 1
        if int(match[2]) < 24 and int(match[3]) < 60:
            return dt.timezone(sign * dt.timedelta(hours=int(match[2]), minutes=int(match[3])))
    try:
        if len(name) > LONGEST_ZONE:
            raise zoneinfo.ZoneInfoNotFoundError(name)
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise TraceError(
            f"zone {name!r} is not known here; give UTC, an offset such as +02:00, or a name such as Europe/Rome"
        ) from None


def duration_us(text: str) -> int:
    """A length of time such as ``90s``, ``15min``, ``1d12h``.

    Examples
    --------
    >>> duration_us("1h30m") == 90 * 60_000_000
    True
    """
    compact = text.strip().replace(" ", "")
    parts = _DURATION.findall(compact) if len(compact) < _LONGEST_DURATION else []
    if not parts or "".join(n + u for n, u in parts) != compact:
        raise TraceError(f"{text!r} is no length of time; give for example 90s, 15min, 36h or 1d12h")
    return sum(round(float(number) * _DURATION_US[unit]) for number, unit in parts)


def instant_us(text: str | int, start_us: int) -> int:
    """An ISO instant, or an offset from ``start_us`` such as ``36h``; an integer is an instant already.

    Examples
    --------
    >>> instant_us("1970-01-02", 0) == instant_us("1d", 0)
    True
    """
    if isinstance(text, int):
        return text
    try:
        return duration_us(text) + start_us
    except TraceError:
        pass
    try:
        return Stamps()(text)
    except ValueError:
        raise TraceError(
            f"{text!r} is neither an instant such as 2026-02-03T10:00Z nor an offset such as 36h; give one of the two"
        ) from None


def clf_us(text: str, minutes: dict[str, int]) -> int:
    """The instant of an access log's ``17/May/2015:10:05:03 +0000``; ``minutes`` caches the part before the seconds."""
    minute = text[:17] + text[20:]
    base_us = minutes.get(minute)
    if base_us is None:
        if len(minutes) > 10_000:
            minutes.clear()
        month = _MONTHS.get(text[3:6])
        if month is None:
            raise ValueError(f"{text[3:6]!r} is no month")
        offset = dt.timedelta(hours=int(text[22:24]), minutes=int(text[24:26])) * (-1 if text[21] == "-" else 1)
        when = dt.datetime(int(text[7:11]), month, int(text[:2]), int(text[12:14]), int(text[15:17]), tzinfo=dt.UTC)
        base_us = minutes[minute] = (when - offset - _EPOCH) // _US
    second = int(text[18:20])
    if second > 60:  # 60: a leap second
        raise ValueError(f"second {second} is impossible")
    return base_us + second * US_PER_S


class Stamps:
    """Reads the stamps of one file: ISO 8601, what servers and spreadsheets write, or epoch numbers.

    The first epoch number decides the unit of all. What had to be assumed is in `notes`.

    Parameters
    ----------
    zone : str, optional
        Zone of stamps that name none. Without it they are taken as UTC.
    dates : {"dmy", "mdy"}, optional
        Order of day and month in stamps such as 3/2/2026.

    Examples
    --------
    >>> Stamps()("2023-11-16 18:15:46.6805900") == Stamps()("1700158546.68059") == Stamps()(1700158546680.59)
    True
    """

    def __init__(self, zone: str | None = None, dates: str | None = None) -> None:
        self._zone = zone_of(zone) if zone else None
        self._local = LocalTime(self._zone, zone or "") if isinstance(self._zone, zoneinfo.ZoneInfo) else None
        self._dates = dates
        self._factor: float | None = None
        self._minutes: dict[str, int] = {}
        self.unit: str | None = None  # of epoch numbers, once one was seen
        self.assumed_utc = False
        self.guessed_mdy = False  # from AM and PM
        self.order_used = False

    def __call__(self, stamp: object) -> int:
        """The instant [us]; ValueError, with the reason, if there is none."""
        if isinstance(stamp, str):
            text = stamp.strip()
            iso_like = text[4:5] == "-" or not _NUMBER.match(text)
            instant = self._text(text) if iso_like else self._number(text)
        elif isinstance(stamp, int | float) and not isinstance(stamp, bool):
            instant = self._number(stamp)
        else:
            raise ValueError(f"{str(stamp)[:40]!r} is no time")
        if not 0 <= instant < LATEST_US:
            raise ValueError(f"{str(stamp)[:40]!r} is before 1970 or after 2199")
        return instant

    def expect_forward(self, yes: bool = True) -> None:
        """Take a stamp that is not after the one before as of the second pass, in an hour that comes twice."""
        if self._local:
            self._local.forward = yes

    def notes(self) -> list[str]:
        """What was assumed, a sentence each."""
        notes = []
        if self.assumed_utc:
            notes.append("The stamps name no zone and were taken as UTC (assumed; a zone can be given).")
        if self.unit:
            notes.append(f"The stamps are epoch numbers in {self.unit}.")
        if self.guessed_mdy:
            notes.append("Dates were read as month/day/year, usual with AM and PM; --dates dmy reads day/month/year.")
        elif self._dates and self.order_used:
            order = "day before month" if self._dates == "dmy" else "month before day"
            notes.append(f"Dates were read with the {order}.")
        return notes + (self._local.notes() if self._local else [])

    def _text(self, text: str) -> int:
        try:
            when = dt.datetime.fromisoformat(text)
        except ValueError:
            return self._other(text)
        if when.tzinfo is None:
            return self._placed(when)
        return (when - _EPOCH) // _US

    def _placed(self, when: dt.datetime) -> int:
        """The instant of a time without a zone."""
        if self._local is not None:
            when = self._local(when)
        else:
            self.assumed_utc = self.assumed_utc or self._zone is None
            when = when.replace(tzinfo=self._zone or dt.UTC)
        return (when - _EPOCH) // _US

    def _other(self, text: str) -> int:
        if _CLF.match(text):
            return clf_us(text, self._minutes)
        if (bare := _CLF_BARE.match(text)) and bare[2] in _MONTHS:
            return self._text(f"{bare[3]}-{_MONTHS[bare[2]]:02d}-{bare[1]}T{bare[4]}{bare[5] or ''}{bare[6] or ''}")
        if _LEAP.match(text):  # the 60th second is a time, which only `datetime` lacks
            return self._text(text[:17] + "59" + text[19:]) + US_PER_S
        try:
            when = written(text, self._order)
        except (ValueError, OverflowError):
            when = None
        if when is None:
            raise ValueError(f"{text[:40]!r} is {NO_TIME}")
        return self._placed(when) if when.tzinfo is None else (when - _EPOCH) // _US

    def _order(self, first: int, second: int, half_day: bool) -> bool:
        """Whether the day stands before the month in 3/2/2026."""
        self.order_used = True
        if self._dates is None:
            if half_day and first <= 12:
                self._dates, self.guessed_mdy = "mdy", True
            elif max(first, second) > 12:
                self._dates = "dmy" if first > 12 else "mdy"
            else:
                raise AmbiguousDate(
                    f"{first}/{second}/... may be of month {first} or of month {second}; give the order (dates=..., "
                    "--dates dmy for day/month/year, or mdy)"
                )
        return self._dates == "dmy"

    def _number(self, number: str | int | float) -> int:
        value = float(number)
        if not abs(value) < 1e20:
            raise ValueError(f"{str(number)[:40]} is no time")
        if self._factor is None:
            if value < 1e8:
                raise ValueError(f"{str(number)[:40]} is too small for an epoch time (a time since some start?)")
            _, self.unit, self._factor = next(row for row in _EPOCH_UNITS if value < row[0])
        if self.unit == "us" or (self.unit == "ns" and not isinstance(number, float)):
            # A float has no room for 19 digits.
            whole = int(number) if not isinstance(number, str) or number.isdigit() else int(value)
            return whole if self.unit == "us" else whole // 1_000
        return round(value * self._factor)

"""Local times where the clocks change: an hour that comes twice, and one that never was."""

from __future__ import annotations

import datetime as dt
import zoneinfo

_SURELY_BACK = dt.timedelta(minutes=20)  # further than lines of a log lie out of order


class LocalTime:
    """Puts times of a named zone on the time line, and remembers what the clocks made of them.

    Parameters
    ----------
    zone, name : ZoneInfo, str
        Where the clocks hang, as the user called it.

    Examples
    --------
    >>> local = LocalTime(zoneinfo.ZoneInfo("Europe/Rome"), "Europe/Rome")
    >>> local.forward = True
    >>> [local(dt.datetime(2026, 10, 25, 2, 30)).utcoffset().seconds // 3600 for _ in range(2)]
    [2, 1]
    """

    def __init__(self, zone: zoneinfo.ZoneInfo, name: str) -> None:
        self._zone, self._name = zone, name
        self.forward = False  # times only rise, so that any that does not is of the second pass
        self._plain: dict[tuple[int, int, int, int], bool] = {}  # hours in which no clock changes
        self._latest: dt.datetime | None = None  # of the hour that comes twice
        self._second = False
        self._twice: dict[dt.date, int] = {}
        self._never: dict[dt.date, int] = {}

    def __call__(self, when: dt.datetime) -> dt.datetime:
        """The same time, with its zone."""
        hour = (when.year, when.month, when.day, when.hour)
        plain = self._plain.get(hour)
        if plain is None:
            ends = [dt.datetime(*hour, minute, tzinfo=self._zone, fold=fold) for minute in (0, 59) for fold in (0, 1)]
            plain = len({end.utcoffset() for end in ends}) == 1
            if len(self._plain) > 10_000:
                self._plain.clear()
            self._plain[hour] = plain
        placed = when.replace(tzinfo=self._zone)
        if plain:
            return placed
        first, second = placed.utcoffset(), placed.replace(fold=1).utcoffset()
        assert first is not None and second is not None
        if first == second:
            return placed
        if first < second:
            self._never[when.date()] = self._never.get(when.date(), 0) + 1
            return placed
        self._twice[when.date()] = self._twice.get(when.date(), 0) + 1
        if self._latest is None or self._latest.date() != when.date():
            self._latest, self._second = when, False
        elif when < self._latest - _SURELY_BACK or (self.forward and when <= self._latest):
            self._latest, self._second = when, True
        else:
            self._latest = max(self._latest, when)
        return placed.replace(fold=int(self._second))

    def notes(self) -> list[str]:
        """A sentence for each change that touched a stamp."""
        notes = []
        for day, count in sorted(self._twice.items())[:3]:
            notes.append(
                f"The clocks of {self._name} went back on {day}: {count} stamps are of the hour that comes twice; "
                "those after a step back were taken as its second pass, all others as its first."
            )
        for day, count in sorted(self._never.items())[:3]:
            notes.append(
                f"The clocks of {self._name} went forward on {day}: {count} stamps name times that never were and were "
                "taken an hour later; check --zone."
            )
        return notes

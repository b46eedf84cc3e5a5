"""Access logs, block by block: the usual line by its columns on arrays, any other by the pattern.

A line is usual if it is plain ASCII without a backslash and everything that `formats.ACCESS_LINE` asks for is found
where the first bracket, the first two quotes and the first two spaces say. Then its instant comes out of the digits of
all such lines at once; whatever is not usual is read by the pattern, line by line, and both ways say the same of every
line (``tests/workload/test_access_log.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from capsim.base.units import US_PER_MS, US_PER_S
from capsim.workload.instants import clf_us
from capsim.workload.lines import LONGEST_LINE_BYTES
from capsim.workload.model import MOST_ITEMS
from capsim.workload.requests import Columns
from capsim.workload.source import Found, Source

# Quoted fields may hold \"; the possessive repeats keep a hostile line linear. Only what a request needs is asked
# for: time, request, status, size. What follows (referrer, agent, anything appended) may be cut short. What stands in
# front (a virtual host, a syslog's "Mar  2 17:30:00 web1 nginx:") is two words or more.
ACCESS_LINE = re.compile(
    r'\S+ {1,2}\S+ [^"]*?\[(\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] '
    r'"([^"\\]*+(?:\\.[^"\\]*+)*+)" (\d{3}|-) (\d+|-)(.*)',
    re.DOTALL,
)

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_MONTHS = np.array([int.from_bytes(name.encode(), "big") for name in
                    ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")])  # fmt: skip
_MONTHS_ORDER = np.argsort(_MONTHS)
_DIGITS = [1, 2, 8, 9, 10, 11, 13, 14, 16, 17, 19, 20, 23, 24, 25, 26]  # of "[17/May/2015:10:05:03 +0000] \""
_MARKS = {3: b"/", 7: b"/", 12: b":", 15: b":", 18: b":", 21: b" ", 27: b"]", 28: b" ", 29: b'"'}
_STAMP = 30  # characters from the bracket to the quote
# How long a request took, where a log ends with it: nginx's $request_time [s, always three decimals] or 818ms.
_TOOK = re.compile(rb'[ \t]"?(?:[a-z_]{1,20}=)?(?:(\d{1,9}\.\d{3})|(\d{1,9}(?:\.\d{1,6})?)ms)"?\r?\n?$')


def read_access_log(source: Source, blocks: Iterable[tuple[int, bytes]]) -> Found:
    """Common and Combined log format, with or without a virtual host in front.

    Parameters
    ----------
    blocks : iterable of (int, bytes)
        Whole lines, as `capsim.workload.lines.blocks_of` gives them.
    """
    columns = source.columns
    source.no_where()
    found, cut = Found(columns=columns), list[int]()
    minutes: dict[str, int] = {}
    for first, block in blocks:
        lines = _Lines(block)
        times_us, usual = lines.instants()
        odd = np.flatnonzero(~usual).tolist()
        begin = 0
        for place in [*odd, len(usual)]:
            run = slice(begin, place)
            begin = place + 1
            room = MOST_ITEMS + 1 - len(found.times_us)
            found.times_us.frombytes(times_us[run][:room].tobytes())
            if columns is not None:
                lines.columns(range(*run.indices(min(run.stop, run.start + room))), columns)
            found.lines += run.stop - run.start
            cut += (first + run.start + np.flatnonzero(lines.quotes[run] % 2)).tolist()
            if run.stop > run.start:
                source.bounded(found, first + min(run.stop, run.start + room) - 1)
            if place < len(usual):
                _by_pattern(source, first + place, lines.text(place), found, cut, minutes)
    if cut:
        found.notes.append(
            f"{len(cut)} line{'s' * (len(cut) > 1)} cut short after the status still counted (first: line {cut[0]})."
        )
    return found


def _by_pattern(
    source: Source, number: int, line: str, found: Found, cut: list[int], minutes: dict[str, int]
) -> None:
    """Read one line, whatever it looks like."""
    hit = ACCESS_LINE.match(line)
    if hit is None:
        if not line or line.isspace():
            return
        source.broken.add(number, line, "no access-log line")
    else:
        try:
            found.times_us.append(clf_us(hit[1], minutes))
        except ValueError as error:
            source.broken.add(number, line, str(error))
        else:
            if found.columns is not None:
                request = found.columns.place_of_line(hit[2].encode("latin-1"))
                found.columns.add_placed(request, hit[3], hit[4], took_us(line.encode("latin-1")))
            if hit[5].replace('\\"', "").count('"') % 2:
                cut.append(number)
    found.lines += 1
    source.bounded(found, number)


class _Lines:
    """The lines of a block, and where their marks are."""

    def __init__(self, block: bytes) -> None:
        self._block = block
        buffer = self._buffer = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(buffer == ord("\n"))
        if not len(ends) or ends[-1] != len(buffer) - 1:
            ends = np.append(ends, len(buffer))
        self.ends: Ints = ends
        self.starts: Ints = np.concatenate(([0], ends[:-1] + 1))
        self._quotes = np.flatnonzero(buffer == ord('"'))
        self._first_quote = self._quotes.searchsorted(self.starts)
        self.quotes: Ints = self._quotes.searchsorted(ends) - self._first_quote  # in each line

    def text(self, place: int) -> str:
        """One line; latin-1 never fails, and nothing beyond ASCII is looked at."""
        start = int(self.starts[place])
        return self._block[start : min(int(self.ends[place]) + 1, start + LONGEST_LINE_BYTES)].decode("latin-1")

    def _nth(self, places: Ints, first: Ints, n: int = 0) -> Ints:
        """Where the n-th of the marks after ``first`` is; at the end of the block if there is none."""
        padded: Ints = np.append(places, [len(self._buffer)] * (n + 1))
        return padded[first + n]

    def instants(self) -> tuple[Ints, Bools]:
        """The instant of every line [us], and whether it is usual; the others' mean nothing."""
        buffer, starts, ends = self._buffer, self.starts, self.ends
        spaces = np.flatnonzero(buffer == ord(" "))
        brackets = np.flatnonzero(buffer == ord("["))
        strange = (buffer < ord(" ")) | (buffer > ord("~")) | (buffer == ord("\\"))
        strange[ends[ends < len(buffer)]] = False
        returns = ends[(ends > 0)] - 1
        strange[returns[buffer[returns] == ord("\r")]] = False
        odd = np.flatnonzero(strange)
        usual = odd.searchsorted(starts) == odd.searchsorted(ends)

        bracket = self._nth(brackets, brackets.searchsorted(starts))
        space = spaces.searchsorted(starts)
        first_space, second_space = self._nth(spaces, space), self._nth(spaces, space, 1)
        twice = second_space == first_space + 1  # as in "Mar  2"
        if twice.any():
            third_space = self._nth(spaces, space, 2)
            usual &= ~twice | (third_space > second_space + 1)
            second_space = np.where(twice, third_space, second_space)
        usual &= (first_space > starts) & (second_space > first_space + 1) & (second_space < bracket)
        opens, closes = self._nth(self._quotes, self._first_quote), self._nth(self._quotes, self._first_quote, 1)
        usual &= (opens == bracket + _STAMP - 1) & (closes + 6 < ends) & (ends - starts <= LONGEST_LINE_BYTES)

        self._opens, self._closes = opens, closes
        times_us = np.zeros(len(starts), np.int64)
        which = np.flatnonzero(usual)
        status = buffer[closes[which, None] + np.arange(1, 7)]
        figures = (status >= ord("0")) & (status <= ord("9"))
        fits = (status[:, 0] == ord(" ")) & figures[:, 1:4].all(1) & (status[:, 4] == ord(" "))
        fits &= figures[:, 5] | (status[:, 5] == ord("-"))
        stamps = buffer[bracket[which, None] + np.arange(_STAMP)]
        found_us, right = _instants(stamps)
        fits &= right
        times_us[which] = found_us
        usual[which] = fits
        return times_us, usual


    def columns(self, which: range, into: Columns) -> None:
        """What usual lines say beside the instant: request, status, bytes, and how long it took if they end with it."""
        if not which:
            return
        part = slice(which.start, which.stop)
        opens, closes, ends = self._opens[part], self._closes[part], self.ends[part]
        block, place = self._block, into.place_of_line
        pairs = zip(opens.tolist(), closes.tolist(), strict=True)
        into.route.extend([place(block[opened + 1 : closed]) for opened, closed in pairs])
        digits = self._buffer[closes[:, None] + np.arange(2, 5)].astype(np.int64) - ord("0")
        into.status.extend((digits @ np.array([100, 10, 1])).tolist())
        into.response_bytes.frombytes(self._numbers(closes + 6, ends).tobytes())
        if took_us(block[closes[0] : ends[0]]) < 0:
            into.duration_us.frombytes(np.full(len(which), -1).tobytes())
        else:
            tails = zip(np.maximum(closes, ends - 40).tolist(), ends.tolist(), strict=True)
            into.duration_us.extend([took_us(block[begin:end]) for begin, end in tails])

    def _numbers(self, starts: Ints, ends: Ints) -> Ints:
        """The numbers whose digits begin at ``starts``; -1 where there is none."""
        numbers, going = np.full(len(starts), -1), np.ones(len(starts), bool)
        for place in range(15):
            at = np.minimum(starts + place, len(self._buffer) - 1)
            digit = self._buffer[at].astype(np.int64) - ord("0")
            going &= (starts + place < ends) & (digit >= 0) & (digit <= 9)
            if not going.any():
                break
            numbers = np.where(going, np.maximum(numbers, 0) * 10 + digit, numbers)
        return numbers


def took_us(line: bytes) -> int:
    """How long the request took by the end of its line [us]; -1 if that does not say."""
    hit = _TOOK.search(line[-40:])
    if not hit:
        return -1
    return round(float(hit[1]) * US_PER_S) if hit[1] else round(float(hit[2]) * US_PER_MS)


def _instants(stamps: NDArray[np.uint8]) -> tuple[Ints, Bools]:
    """Instants [us] of stamps, a row each, and whether they are right; a wrong one is for the pattern to explain."""
    digits = stamps[:, _DIGITS].astype(np.int64) - ord("0")
    right = ((digits >= 0) & (digits <= 9)).all(1)
    for place, mark in _MARKS.items():
        right &= stamps[:, place] == ord(mark)
    sign = stamps[:, 22]
    right &= (sign == ord("+")) | (sign == ord("-"))
    name = stamps[:, 4:7].astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    near = np.minimum(_MONTHS.searchsorted(name, sorter=_MONTHS_ORDER), 11)
    month = _MONTHS_ORDER[near]
    right &= _MONTHS[month] == name
    pairs = digits.reshape(-1, 8, 2) @ np.array([10, 1])
    day, century, year, hour, minute, second, off_hours, off_minutes = pairs.T
    year = 100 * century + year
    right &= (year >= 1970) & (year < 2200) & (hour < 24) & (minute < 60) & (second <= 60)  # 60: a leap second
    months = np.where(right, (year - 1970) * 12 + month, 0)
    begins = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    following = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    right &= (day >= 1) & (day <= following - begins)
    offset_s = (off_hours * 60 + off_minutes) * 60 * np.where(sign == ord("-"), -1, 1)
    seconds = (begins + day - 1) * 86_400 + hour * 3_600 + minute * 60 + second - offset_s
    return seconds * US_PER_S, right

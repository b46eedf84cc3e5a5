"""Text logs of proxies and platforms, a pattern each: when a request was, what it asked for, how it went."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from capsim.base.units import US_PER_MS, US_PER_S
from capsim.workload.lines import lines_of
from capsim.workload.model import MOST_ITEMS
from capsim.workload.requests import Columns
from capsim.workload.source import Found, Source

_QUOTED = r'[^"\\]*+(?:\\.[^"\\]*+)*+'
_TOOK = r"-?\d{1,9}(?:\.\d{1,9})?"
_COLOURS = re.compile(r"\x1b?\[[0-9;]{0,8}m")
_CELL = re.compile(r"\d{4}[-/]\d\d[-/]\d\d[T ][\d:.]+(?: ?[A-Z]{1,5}|[+-][\d:]+)?[,;\t]")
_LONGEST = 20_000  # bytes of a line that are looked at
_SHARE = 0.5  # of the first lines that must be of a pattern for the file to be


@dataclass(frozen=True)
class Line:
    """A log whose lines are all alike.

    The groups of ``pattern`` that are used: ``at`` (when it came), or ``end`` less ``took``; ``request`` as in
    ``GET / HTTP/1.1``, or ``method`` and ``target``; ``status``, ``size`` [bytes], ``ms`` or ``s`` that it took.
    """

    name: str
    pattern: re.Pattern[str]
    others: re.Pattern[str] | None = None  # lines that belong to such a file and are no requests


LINES = (
    Line(
        "alb",
        re.compile(
            rf'(?:https?|h2|grpcs|wss?) (?P<end>\d{{4}}-\S+) \S+ \S+:\d+ \S+ (?P<took>{_TOOK} {_TOOK} {_TOOK}) '
            rf'(?P<status>\d{{3}}|-) \S+ -?\d+ (?P<size>\d+|-)(?: "(?P<request>{_QUOTED})" "{_QUOTED}" \S+ \S+ \S+ '
            rf'"{_QUOTED}" "{_QUOTED}" "{_QUOTED}" \S+ (?P<at>\d{{4}}-\S+)| "(?P<old>{_QUOTED})"|)'
        ),
    ),
    Line(
        "elb",
        re.compile(
            rf'(?P<at>\d{{4}}-\d\d-\d\dT\S+) \S+ \S+:\d+ \S+ (?P<took>{_TOOK} {_TOOK} {_TOOK}) (?P<status>\d{{3}}|-) '
            rf'\S+ \d+ (?P<size>\d+) "(?P<request>{_QUOTED})"'
        ),
    ),
    Line(
        "envoy",
        re.compile(
            rf'\[(?P<at>\d{{4}}-\d\d-\d\dT[\d:.]+Z)\] "(?P<request>[A-Z-]+ {_QUOTED})" (?P<status>\d+) '
            r'\S+ (?:[^\s\d"]\S* ){0,2}(?:"[^"]*+" )?\d+ (?P<size>\d+) (?P<ms>\d+) '
        ),
    ),
    Line(
        "haproxy",
        re.compile(
            r".{0,200}?\S{1,255}:\d{1,5} \[(?P<at>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d\.\d{3})\] \S+ \S+ "
            r"[-\d]+/[-\d]+/[-\d]+/[-\d]+/\+?(?P<ms>\d+) (?P<status>-?\d+) \+?(?P<size>\d+) "
            rf'[^"]*"(?P<request>{_QUOTED})'
        ),
        re.compile(r".*\b(?:haproxy\[|Proxy |Server |Connect from )"),
    ),
    Line(
        "heroku",
        re.compile(
            r"(?:<\d+>\d? ?)?(?P<at>\d{4}-\d\d-\d\dT\S+) (?:\S+ )?heroku(?:\[router\]:| router - -) (?=.*\bmethod=)"
            r'(?:.*?\bmethod=(?P<method>[A-Z]+))(?:.*?\bpath="(?P<target>[^"]*)")?(?:.*?\bservice=(?P<ms>\d+)ms)?'
            r"(?:.*?\bstatus=(?P<status>\d{3}))?(?:.*?\bbytes=(?P<size>\d+))?"
        ),
        re.compile(r"(?:<\d+>\d? ?)?\d{4}-\d\d-\d\dT\S+ (?:\S+ )?(?:heroku|app)(?:\[| )"),
    ),
    Line(
        "access-ms",  # an access log whose times have fractions
        re.compile(
            r"\S+ {1,2}\S+ [^\"\[]{0,500}\[(?P<at>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d\.\d{1,9}(?: [+-]\d{4})?)\] "
            rf'"(?P<request>{_QUOTED})" (?P<status>\d{{3}}|-) (?P<size>\d+|-)'
        ),
    ),
    Line(
        "s3",
        re.compile(
            r"\S+ \S+ \[(?P<at>[^\]]{26})\] \S+ \S+ \S+ (?:REST|SOAP|WEBSITE|BATCH|S3)\.\S+ \S+ "
            rf'(?:"(?P<request>{_QUOTED})"|-) (?P<status>\d{{3}}|-) \S+ (?P<size>\d+|-) \S+ (?P<ms>\d+|-) '
        ),
    ),
    Line(
        "gatling",
        re.compile(r"REQUEST\t(?:[^\t]*\t){1,4}?(?P<at>\d{13})\t\d{13}\t"),
        re.compile(r"(?:RUN|USER|GROUP|ERROR|ASSERTION)\t"),
    ),
    Line(
        "text",  # whatever begins with a time and then says a method and a path
        re.compile(
            r"(?:<\d{1,3}>(?:1 )?)?\[?(?P<at>\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?"
            r"(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?)"
            r"(?=[\]\s|,]).*?\b(?P<method>GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS) "
            r"(?P<target>(?:https?://|/)\S*)(?: HTTP/[\d.]+)?\W{0,3}(?: ?(?P<status>\d{3})\b(?!\.))?"
            r"(?:.{0,20}? (?P<ms>\d{1,9}(?:\.\d{1,6})?) ?ms\b)?"
        ),
        re.compile(r""),  # stack traces and all else
    ),
)  # fmt: skip


def line_format(lines: list[str]) -> str | None:
    """Which of the patterns the first lines of a file are of."""
    if any(line.startswith("#Fields:") for line in lines):
        return "w3c"
    for line in LINES:
        hits = sum(line.pattern.match(_COLOURS.sub("", text[:_LONGEST])) is not None for text in lines)
        sure = hits >= _SHARE * len(lines) or line.others or line.pattern.match(lines[0])
        if hits and sure and (line.name != "text" or not _is_table(lines)):
            return line.name
    return None


def _is_table(lines: list[str]) -> bool:
    """Whether lines are the rows of a table: what follows their time is a cell's end."""
    return sum(_CELL.match(line) is not None for line in lines) * 2 > len(lines)


def reader(line: Line) -> Callable[[Source], Found]:
    """The reader of a log whose lines are alike."""
    return lambda source: _read(source, line)


def _read(source: Source, line: Line) -> Found:
    source.no_where()
    found = Found(columns=source.columns)
    groups = line.pattern.groupindex
    match, stamps, times, columns = line.pattern.match, source.stamps, found.times_us, found.columns
    has_end = "end" in groups
    others = 0
    for number, raw in lines_of(source.path):
        text = raw[:_LONGEST].decode("utf-8", "replace").strip()
        if not text:
            continue
        if "m" in text and "[" in text:
            text = _COLOURS.sub("", text)
        found.lines += 1
        hit = match(text)
        if hit is None:
            if line.others is not None and line.others.match(text):
                others += 1
            else:
                source.broken.add(number, text, f"no line of {line.name}")
            continue
        try:
            if has_end and hit["at"] is None:
                times.append(stamps(hit["end"]) - _took_us(hit["took"]))
            else:
                times.append(stamps(hit["at"]))
        except (ValueError, OverflowError) as error:
            source.broken.add(number, "", str(error))
            continue
        if columns is not None:
            _say(columns, hit)
        if len(times) > MOST_ITEMS:
            source.bounded(found, number)
    if others:
        found.notes.append(
            f"{others} of {found.lines} lines are no requests and were left out; grep the lines first to count others."
        )
    if columns is not None and "request" not in groups and "method" not in groups:
        found.columns = None
    return found


def _took_us(parts: str) -> int:
    """The three times of a load balancer's line together [us]; -1 in it is none."""
    return round(sum(float(part) for part in parts.split() if not part.startswith("-")) * US_PER_S)


def _say(columns: Columns, hit: re.Match[str]) -> None:
    said = hit.groupdict()
    request = said.get("request") or said.get("old")
    if request is not None:
        route = columns.place_of_line(request.encode())
    else:
        route = columns.place(said.get("method"), said.get("target"))
    took: float | None = None
    if said.get("took"):
        took = _took_us(said["took"])
    elif (said.get("ms") or "-") != "-":
        took = float(said["ms"]) * US_PER_MS
    columns.add_placed(route, said.get("status"), said.get("size"), took)


def read_w3c(source: Source) -> Found:
    """W3C extended logs, whose ``#Fields:`` say what is on the lines: IIS, CloudFront. Their times are UTC."""
    source.no_where()
    found = Found(columns=source.columns)
    at: dict[str, int] = {}
    tabs = False
    for number, raw in lines_of(source.path):
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if line.startswith("#"):
            if line.startswith("#Fields:"):
                at = {name: place for place, name in enumerate(line[8:].split())}
                if not {"date", "time"} <= set(at):
                    raise source.refuse("its #Fields have no date and time; log both", number)
            continue
        if not line.strip():
            continue
        found.lines += 1
        tabs = tabs or "\t" in line
        cells = line.split("\t") if tabs else line.split(" ")
        fields = max(at.values(), default=0) + 1  # of which two may be called the same
        if not at or len(cells) < fields:
            source.broken.add(number, line, f"{len(cells)} of {fields} fields")
            continue
        try:
            found.times_us.append(source.stamps(f"{cells[at['date']]}T{cells[at['time']]}Z"))
        except (ValueError, OverflowError) as error:
            source.broken.add(number, "", str(error))
            continue
        if found.columns is not None:
            _say_w3c(found, {name: cells[place] for name, place in at.items()})
        source.bounded(found, number)
    return found


def _say_w3c(found: Found, said: dict[str, str]) -> None:
    assert found.columns is not None
    took, took_us = said.get("time-taken", ""), None
    if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", took):  # CloudFront writes seconds with decimals, IIS milliseconds
        took_us = float(took) * (US_PER_S if "." in took else US_PER_MS)
    asked = said.get("cs-method"), said.get("cs-uri-stem")
    found.columns.add(*asked, said.get("sc-status"), said.get("sc-bytes"), took_us)

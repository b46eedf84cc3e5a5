"""Files that are no load, or none that is known: what they look like, and how to make one of them that is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from capsim.base.errors import TraceError
from capsim.workload.lines import hidden

KNOWN = (
    "access logs (nginx, Apache, gunicorn, morgan combined), JSON lines or a list of them, CSV with a time a row or "
    "counts beside times, ALB, ELB, Envoy, HAProxy, Heroku, S3, IIS, CloudFront, k6, Locust, vegeta, Gatling, "
    "Artillery, HAR, Prometheus, Grafana, CloudWatch, OTLP, Parquet"
)
_TIMES = "get it with its times: docker logs --timestamps, kubectl logs --timestamps or railway logs --json"
_LOOKS = (
    (
        re.compile(r"INFO:\s+\S+ - \"[A-Z]+ /"),
        f"uvicorn's log, whose lines have no time; {_TIMES}",
    ),
    (
        re.compile(r"(?:\x1b\[0m)?(?:GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS) /\S* (?:\x1b\[\d*m)?(?:\d{3}|-)"),
        f"morgan's dev or tiny format, whose lines have no time; use morgan('combined'), or {_TIMES}",
    ),
    (
        re.compile(r"response-time,DNS\+dialup,DNS,.*,offset"),
        "hey's CSV, which has offsets from a start that it does not name; make times of them: (echo timestamp; "
        "awk -F, -v s=$(date -d 2026-03-02T17:30Z +%s) 'NR>1{printf \"%.3f\\n\", s+$8}' FILE) > events.csv",
    ),
    (
        re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \w+,\"[^\"]*\",\"[^\"]*\",\d+,\"[^\"]*\""),
        "Postgres' csvlog, of statements and not of requests; --format events counts every line of it",
    ),
    (
        re.compile(r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ \S+:"),
        "a syslog, whose times have no year; log with ISO times (rsyslog: RSYSLOG_FileFormat; journalctl -o short-iso)",
    ),
    (
        re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d"),
        "a text log whose lines say no method and path; write the times of those that are requests: (echo timestamp; "
        "grep WORD FILE | awk '{print $1}') > events.csv",
    ),
)


def looks_like(first: str) -> str:
    """What an unknown file seems to be, by its first line, and how to convert it.

    Examples
    --------
    >>> looks_like('INFO:     127.0.0.1:5000 - "GET / HTTP/1.1" 200 OK').split(",")[0]
    "it looks like uvicorn's log"
    """
    text = first.lstrip("\ufeff")[:1_000]
    for pattern, what in _LOOKS:
        if pattern.match(text):
            return f"it looks like {what}"
    return f"it begins with {hidden(text)[:60]!r}; write it as CSV: a line timestamp, then a time a line"


def is_known_text(first: str) -> bool:
    """Whether a line is of a text that is no table, however many commas it has."""
    return any(pattern.match(first[:1_000]) for pattern, _ in _LOOKS[:5])


def unknown(name: str, first: str) -> TraceError:
    """The refusal of a file of no known format."""
    return TraceError(f"{name}: is of no known format; {looks_like(first)}; known are {KNOWN}")


def summary_of(data: Mapping[str, Any]) -> str | None:
    """Which load test's summary a document is: figures over the whole test, no times of requests."""
    keys = set(data)
    if {"requests", "latency"} <= keys and isinstance(data["requests"], dict):
        return "autocannon's summary; count what the server logged meanwhile, or run k6 with --out json"
    if "metrics" in keys and isinstance(data["metrics"], dict):
        return "k6's summary; run k6 with --out json=FILE, which has every request"
    if {"latencies", "throughput"} <= keys:
        return "vegeta's report; give the results: vegeta encode --to json"
    return None

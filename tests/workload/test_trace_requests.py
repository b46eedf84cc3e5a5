"""What the lines of a log say of each request: method, path, status, bytes, duration."""

from __future__ import annotations

import json

import pytest

from capsim.base.errors import TraceError
from capsim.workload.paths import path_of
from capsim.workload.read import read_requests

NGINX = '192.0.2.7 - - [17/May/2015:10:05:{:02d} +0000] "{} {} HTTP/1.1" {} {} "-" "x"{}\n'


def rows(requests):
    routes = [requests.routes[place] for place in requests.route.tolist()]
    figures = (requests.status, requests.response_bytes, requests.duration_us)
    return [(*route, *one) for route, *one in zip(routes, *(c.tolist() for c in figures), strict=True)]


def test_an_access_log_says_route_status_bytes_and_with_a_last_field_the_duration(tmp_path):
    path = tmp_path / "a.log"
    path.write_text(
        NGINX.format(3, "POST", "/api/events?key=secret", 202, 5, " 0.012")
        + NGINX.format(1, "GET", "/games/42/days", 404, "-", " 818ms")
        + NGINX.format(2, "GET", '/od\\"d', 200, 7, ' "0.100"')
    )

    requests = read_requests(path)

    assert rows(requests) == [
        ("POST", "/api/events", 202, 5, 12_000),
        ("GET", "/games/:number/days", 404, -1, 818_000),
        ("GET", "/:text", 200, 7, 100_000),
    ]
    assert [t // 1_000_000 % 60 for t in requests.times_us.tolist()] == [3, 1, 2]  # as in the file
    assert requests.trace.total == 3


def test_an_agent_that_ends_like_a_number_is_no_duration(tmp_path):
    path = tmp_path / "a.log"
    path.write_text(NGINX.format(3, "POST", "/", 202, 5, "") * 3)

    assert read_requests(path).duration_us.tolist() == [-1] * 3


def test_railways_log_says_them_too(tmp_path):
    record = {"timestamp": "2026-06-16T00:15:14.250Z", "method": "GET", "path": "/a", "httpStatus": 200, "txBytes": 9}
    path = tmp_path / "a.ndjson"
    path.write_text(json.dumps({**record, "totalDuration": 42}) + "\n")

    assert rows(read_requests(path)) == [("GET", "/a", 200, 9, 42_000)]


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/a?token=x", "/a"),
        ("http://h:80/a#b", "/a"),
        ("/u/7/x/0b8a4bb6-1d0f-4c62-9d1c-0f4a1d1c2b3a", "/u/:number/x/:uuid"),
        ("/mail/me@example.com", "/mail/:user"),
        ("", "/"),
    ],
)
def test_a_path_has_no_host_no_query_and_no_identifier(target, path):
    assert path_of(target) == path


def test_a_file_whose_lines_say_no_path_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("timestamp\n2026-02-03T10:00:00Z\n")

    with pytest.raises(TraceError, match="say no method and no path"):
        read_requests(path)

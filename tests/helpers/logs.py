"""Three days of a game's server as logs have them: events, heartbeats and revenue by day, dashboard reads by night."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections import Counter

DAYS = 3
START = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
NIGHT = range(1, 5)  # hours in which dashboards are read
SECRETS = ("alice", "s3cr3t-invitation-of-bob", "203.0.113", "me@example.org", "k3y", "3fa85f64-5717-4562-b3fc")


def requests(seed: int = 1, number: int = 6_000):
    """Rows of instant, method, target, status, bytes, seconds; and how many are what."""
    chance = random.Random(seed)
    found, what = [], Counter()
    for _ in range(number):
        at_s, kind = chance.random() * DAYS * 86_400, chance.random()
        if kind < 0.48:
            what["event"] += 1
            row = "POST", "/api/v1/events?key=k3y", 202, 17, 0.004
        elif kind < 0.80:
            what["heartbeat"] += 1
            row = "PUT", f"/api/sessions/{chance.randrange(10**6)}/heartbeat", 204, 0, 0.003
        elif kind < 0.84:
            what["revenue"] += 1
            row = "POST", "/api/purchases", 201, 17, 0.005
        elif kind < 0.86:
            row = "GET", "/healthz", 200, 15, 0.001
        elif kind < 0.88:
            row = "POST", "/api/v1/events?key=wrong", 401, 40, 0.001
        elif kind < 0.90:
            row = "POST", "/api/frobnicate", 200, 40, 0.001
        elif kind < 0.91:
            row = "GET", "/wp-login.php", 404, 40, 0.001
        else:
            what["read"] += 1
            at_s = at_s // 86_400 * 86_400 + 3_600 * (NIGHT[0] + chance.random() * len(NIGHT))
            path = chance.choice(("players/alice", "revenue", "invite/s3cr3t-invitation-of-bob", "u/me@example.org"))
            row = "GET", f"/api/dashboard/{path}?from=2026", 200, int(chance.lognormvariate(11, 0.5)), 0.060
        found.append((at_s, *row))
    return sorted(found), what


def nginx(rows) -> list[tuple[float, str]]:
    """Lines of nginx' combined format with $request_time behind them."""
    return [
        (at_s, f"203.0.113.{int(at_s) % 250} - - [{START + dt.timedelta(seconds=int(at_s)):%d/%b/%Y:%H:%M:%S +0000}] "
               f'"{method} {target} HTTP/1.1" {status} {size} "-" "Game/1.4" {took_s:.3f}\n')
        for at_s, method, target, status, size, took_s in rows
    ]  # fmt: skip


def json_lines(rows) -> list[tuple[float, str]]:
    """Lines of Railway's HTTP log."""
    return [
        (at_s, json.dumps({
            "timestamp": (START + dt.timedelta(seconds=at_s)).isoformat(), "method": method, "path": target,
            "httpStatus": status, "txBytes": size, "totalDuration": round(took_s * 1_000), "srcIp": "203.0.113.7",
        }) + "\n")
        for at_s, method, target, status, size, took_s in rows
    ]  # fmt: skip

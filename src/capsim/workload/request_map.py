"""Which request of a log is an event, a revenue record, a heartbeat or a read: a proposal, and the map applied."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from capsim.scenario.request_kinds import EVENT, HEARTBEAT, KINDS, OTHER, READ, REVENUE, split_key
from capsim.workload.model import Trace
from capsim.workload.paths import path_of, word_set, words_of
from capsim.workload.requests import OTHER as REST
from capsim.workload.requests import Requests

SHOWN = 5  # paths in a note


class Proposal(NamedTuple):
    """What requests to a path probably are."""

    kind: int  # place in KINDS
    why: str
    known: bool = True  # False: nothing of the path tells


_HEARTBEAT = word_set("heartbeat heartbeats beat keepalive presence ping pulse alive")
_REVENUE = word_set(
    "revenue revenues purchase purchases payment payments order orders iap receipt receipts transaction transactions "
    "checkout invoice invoices sale sales subscription subscriptions"
)
_EVENT = word_set(
    "event events track tracking collect ingest telemetry analytics capture pageview pageviews batch beacon hit hits "
    "log logs metric metrics measurement measurements httpapi"
)
_ASKING = word_set("query queries search report reports export filter find leaderboard stats statistics")
_READING = _ASKING | word_set(
    "dashboard dashboards analytics summary overview chart charts kpi kpis funnel funnels retention history insights "
    "ranking rankings top"
)
_SIGNING_IN = word_set("login logout signin signout signup register auth oauth sso password token tokens refresh")
_SESSION = word_set("session sessions")
_PROBE = word_set("health healthz healthcheck livez readyz readiness liveness")
_PROBE_LAST = word_set("ready live alive ping status up metrics heartbeat version")
_BEACON = word_set("collect beacon pixel track utm hit t b")
_STAYS = word_set("socket websocket ws sse")
_API = word_set("api graphql rest rpc trpc v")
_FILE = re.compile(
    r"(?i)\.(?:m?js|css|map|png|jpe?g|gif|svg|ico|webp|avif|woff2?|ttf|txt|xml|html?|php|wasm|mp[34]|webm|pdf|zip|"
    r"webmanifest)$"
)


def proposed(method: str, path: str) -> Proposal:
    """What the words of a method and path say.

    Examples
    --------
    >>> KINDS[proposed("POST", "/api/events").kind], proposed("POST", "/api/events").why
    ('event', 'POST with "events"')
    >>> proposed("POST", "/api/frobnicate")
    Proposal(kind=4, why='no word of it is known', known=False)
    """
    words = words_of(path)
    if not path.startswith("/"):
        return Proposal(OTHER, "no path", known=(method, path) != REST)
    if method in ("POST", "PUT", "PATCH"):
        return _of_sent(method, words)
    if method == "GET":
        return _of_asked(path, words)
    why = {"OPTIONS": "a browser asks whether it may", "HEAD": "no answer but its head"}.get(method)
    return Proposal(OTHER, why or f"a {method}", known=why is not None)


def _of_sent(method: str, words: list[str]) -> Proposal:
    """A request that brings something: the most special word counts, and whether it asks stands last."""
    rules = (
        (READ, words[-1:], _ASKING), (HEARTBEAT, words, _HEARTBEAT), (REVENUE, words, _REVENUE), (READ, words, _ASKING),
        (OTHER, words, _SIGNING_IN), (EVENT, words, _EVENT), (OTHER, words, _SESSION),
    )  # fmt: skip
    for kind, among, meant in rules:
        if word := _last(among, meant):
            return Proposal(kind, f'{method} with "{word}"')
    return Proposal(OTHER, "no word of it is known", known=False)


def _of_asked(path: str, words: list[str]) -> Proposal:
    """A GET: of the database, unless it is a file, a probe, or reports something."""
    last = path.rsplit("/", 1)[1]
    asking, api = _last(words, _READING), _last(words, _API)
    if (word := _last(words_of(_FILE.sub("", last))[-1:], _BEACON)) and not asking:
        return Proposal(EVENT, f'GET that reports: "{word}"')
    if path == "/" or last.startswith(".") or "assets" in words:
        return Proposal(OTHER, "a page or a file")
    if _FILE.search(last) and not (last.lower().endswith(".php") and (asking or api)):
        return Proposal(OTHER, "a page or a file")
    if (word := _last(words, _HEARTBEAT)) and ("/:" in path or _SESSION & set(words)):
        return Proposal(HEARTBEAT, f'GET with "{word}" of somebody')
    if not asking and (_PROBE & set(words) or last.lower() in _PROBE_LAST):
        return Proposal(OTHER, "a probe")
    if _STAYS & set(words):
        return Proposal(OTHER, "a connection that stays open")
    if asking:
        return Proposal(READ, f'GET with "{asking}"')
    if api:
        return Proposal(READ, "GET under a version" if api == "v" else f'GET under "{api}"')
    return Proposal(OTHER, "no word of it is known", known=False)


def _last(words: list[str], meant: frozenset[str]) -> str | None:
    return next((word for word in reversed(words) if word in meant), None)


class RequestMap:
    """A table ``"POST /api/events" = "event"``, ready to be looked up.

    A key without a method is for any; a path that ends with ``/*`` is for all below it, and the longest such one
    counts where no path fits exactly. Parameters fit each other whatever their names: ``:id``, ``{user}``, ``:number``.

    Examples
    --------
    >>> RequestMap({"POST /api/players/{id}/events": "event"}).kind("POST", "/api/players/:number/events")
    0
    >>> RequestMap({"GET /api/*": "read"}).kind("GET", "/health") is None
    True
    """

    def __init__(self, table: Mapping[str, str]) -> None:
        self._exact: dict[tuple[str, tuple[str, ...]], int] = {}
        self._below: dict[tuple[str, tuple[str, ...]], int] = {}
        for key, kind in table.items():
            method, path = split_key(key)
            into = self._exact
            if path == "*" or path.endswith("/*"):
                into, path = self._below, path[:-1]
            into[method, _segments(path_of(path or "/"))] = KINDS.index(kind)

    def kind(self, method: str, path: str) -> int | None:
        """Place in `KINDS` of what requests of a method to a path, as `path_of` makes it, are; None if nothing says."""
        segments = _segments(path)
        for how in (method, ""):
            if (found := self._exact.get((how, segments))) is not None:
                return found
        for length in range(len(segments), -1, -1) if path.startswith("/") else ():
            for how in (method, ""):
                if (found := self._below.get((how, segments[:length]))) is not None:
                    return found
        return None


def _segments(path: str) -> tuple[str, ...]:
    return tuple(":" if part.startswith(":") else part for part in path.split("/") if part)


@dataclass(frozen=True)
class Row:
    """What the requests to one path are taken for.

    Attributes
    ----------
    requests, refused : int
        How many, and how many of them the server refused (`refused`), which bring nothing whatever they are.
    kind : int
        Place in `KINDS`.
    known : bool
        False: neither the map nor any word of the path says what they are.
    """

    method: str
    path: str
    requests: int
    refused: int
    kind: int
    why: str
    known: bool


def refused(requests: Requests) -> NDArray[np.bool_]:
    """Requests that reach no writer and no query: redirected, or refused as wrong, not allowed or too many.

    Those that fail in the server (5xx), are given up by the client (499) or find what they have (304) are load.
    """
    status = requests.status
    away: NDArray[np.bool_] = (status >= 300) & (status < 500) & (status != 304) & (status != 499)
    return away


def rows(requests: Requests, table: Mapping[str, str] | None = None) -> list[Row]:
    """Every path with its requests, the most asked first.

    Parameters
    ----------
    table : mapping, optional
        ``[workload.requests]`` of a scenario; without it, what is proposed.
    """
    often = np.bincount(requests.route, minlength=len(requests.routes)).tolist()
    turned_away = np.bincount(requests.route[refused(requests)], minlength=len(requests.routes)).tolist()
    known = None if table is None else RequestMap(table)
    found = []
    for (method, path), count, away in zip(requests.routes, often, turned_away, strict=True):
        said = proposed(method, path) if known is None else _said(known, method, path)
        if count == away:
            said = Proposal(OTHER, "always refused or redirected")
        found.append(Row(method, path, count, away, said.kind, said.why, said.known))
    return sorted((row for row in found if row.requests), key=lambda row: (-row.requests, row.method, row.path))


def _said(known: RequestMap, method: str, path: str) -> Proposal:
    """What the map says; what it does not name is other, and no news if its words say the same."""
    kind = known.kind(method, path)
    if kind is not None:
        return Proposal(kind, "the map says so")
    word = proposed(method, path)
    if word.kind == OTHER:
        return word
    return Proposal(OTHER, f"not in the map; it looks like {KINDS[word.kind]}: {word.why}", known=False)


def table_of(proposal: list[Row], most: int) -> dict[str, str]:
    """The map of a proposal: the most asked paths that are something."""
    named = [row for row in proposal if row.kind != OTHER][:most]
    return {f"{row.method} {row.path}": KINDS[row.kind] for row in named}


def mapped(requests: Requests, table: Mapping[str, str]) -> Trace:
    """The load with what each request is, in `Trace.kinds`; what the table does not name is in the notes."""
    found = RequestMap(table)
    of_route = [found.kind(*route) for route in requests.routes]
    kinds = np.array([OTHER if kind is None else kind for kind in of_route], np.int8)[requests.route]
    kinds[refused(requests)] = OTHER
    order = np.argsort(requests.times_us, kind="stable")
    return replace(
        requests.trace, kinds=kinds[order], notes=(*requests.trace.notes, *notes(rows(requests, table), len(kinds)))
    )


def notes(found: list[Row], total: int) -> list[str]:
    """What a reader of the load should know of its paths, one sentence each."""
    told = []
    if away := sum(row.refused for row in found):
        what = "request" if away == 1 else "requests"
        told.append(f"{away:,} {what} ({_share(away, total)}) refused or redirected (3xx, 4xx): no item comes of them.")
    unknown = [row for row in found if not row.known and row.requests > row.refused]
    if left := sum(row.requests - row.refused for row in unknown):
        some = ", ".join(f"{row.method} {row.path} ({_share(row.requests, total)})" for row in unknown[:SHOWN])
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        told.append(
            f"{left:,} {'request' if left == 1 else 'requests'} ({_share(left, total)}) taken for other, neither item "
            f"nor read, because nothing says what they are: {some}{more}."
        )
    return told


def _share(part: int, total: int) -> str:
    return f"{100 * part / total:.2g} %"

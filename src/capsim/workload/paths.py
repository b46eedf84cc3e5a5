"""Paths of requests as patterns: what differs from one request to the next is a parameter, and nobody is named.

A path is what a table of an unknown log may show and a scenario may keep, so everything that could be somebody's goes:
numbers, identifiers, dates, addresses, mail, names behind ``users``, whatever follows ``token`` or ``invite``.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache

DEEPEST = 8  # segments; what is deeper is told as a rest
LONGEST_SEGMENT = 40  # characters; no name of an endpoint has more
LONGEST_TARGET = 2_000  # characters that are looked at
MOST_SIBLINGS = 100  # different names in one place of a path; with more, the rare ones are values
RARE = 0.01  # of the requests at that place


def word_set(text: str) -> frozenset[str]:
    """A set of words."""
    return frozenset(text.split())


_HOST = re.compile(r"[a-z][a-z0-9+.-]{0,20}://[^/?#]*", re.IGNORECASE)
_PLAIN = re.compile(r"[\w.~!$'()*+,=:@-]+", re.ASCII)
_FORMS = (  # the first that fits a whole segment
    (":number", re.compile(r"-?\d+(?:\.\d+)?")),
    (":uuid", re.compile(r"(?i)[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{32}")),
    (":date", re.compile(r"\d{4}-\d\d(?:-\d\d(?:[T_ ].*)?)?")),
    (":address", re.compile(r"(?i)\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?|\[?[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}\]?")),
    (":user", re.compile(r".*@.*|~.+")),
    (":token", re.compile(r"eyJ[\w.-]{17,}|(?:sk|pk|rk|ghp|gho|xox[abp]|glpat|AKIA)[-_]?\w{10,}")),
)
_VERSION = re.compile(r"v\d{1,3}(?:\.\d{1,3}){0,2}(?:(?:alpha|beta|rc)\d*)?")
_HEX = re.compile(r"(?i)[0-9a-f]{8,}")
_NUMBERED = re.compile(r"[A-Za-z]*[-_.:]\d+|[A-Za-z]+\d{2,}")
_WITH_DIGITS = word_set("base64 i18n l10n a11y k8s utf8 sha1 sha256 md5 web3 oauth2 mp3 mp4 h264")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

PARAMETERS = word_set(":number :uuid :date :address :user :token :id :text :name")
_PEOPLE = word_set(
    "user users u profile profiles player players account accounts member members people person customer customers "
    "author authors friend friends username by-name"
)
_SECRETS = word_set(
    "token tokens key keys apikey api-key api-keys secret secrets reset reset-password password-reset verify "
    "verify-email verification confirm confirmation activate activation invite invites invitation invitations "
    "unsubscribe magic magic-link otp share shared hooks webhook"
)
# Names of endpoints, which are kept where somebody's name could be.
KNOWN = word_set(
    "me self login logout signup signin signout register search list count counts stats statistics export import batch "
    "bulk new active online top all latest recent current summary overview dashboard analytics report reports chart "
    "event events track collect ingest telemetry log logs metric metrics heartbeat heartbeats ping presence alive "
    "keepalive session sessions start end stop revenue purchase purchases payment payments order orders receipt "
    "receipts transaction transactions checkout subscription subscriptions invoice invoices health healthz ready "
    "readyz live livez status version api graphql rest rpc query queries leaderboard leaderboards score scores "
    "settings preferences config email password refresh validate rotate create update delete data"
)


def path_of(target: str) -> str:
    """The pattern of a request's target, without host and query.

    Examples
    --------
    >>> path_of("https://api.example/games/42/sessions?token=x")
    '/games/:number/sessions'
    >>> path_of("/users/alice/events/"), path_of("/invite/Sommer")
    ('/users/:user/events', '/invite/:token')
    """
    path = re.split(r"[?#]", _HOST.sub("", target[:LONGEST_TARGET], count=1), maxsplit=1)[0]
    if not path.startswith("/"):
        return path if path == "*" else "-" if path else "/"
    return _path(path)


@lru_cache(100_000)
def _path(path: str) -> str:
    found: list[str] = []
    before = ""
    for segment in path.split("/"):
        segment = segment.partition(";")[0]
        if not segment:
            continue
        if len(found) == DEEPEST:
            found.append("*")
            break
        found.append(_pattern(segment, before))
        before = ":token" if found[-1] == ":token" else segment.lower()
    return "/" + "/".join(found)


def _pattern(segment: str, before: str) -> str:
    """One segment, or the parameter that it is a value of."""
    if segment in PARAMETERS:
        return segment
    known = segment.lower() in KNOWN
    if (before in _SECRETS or before == ":token") and not known:
        return ":token"
    if not _PLAIN.fullmatch(segment):
        return ":text"
    for name, form in _FORMS:
        if form.fullmatch(segment):
            return name
    if before in _PEOPLE and not known:
        return ":user"
    if _VERSION.fullmatch(segment) or segment.lower() in _WITH_DIGITS:
        return segment
    return ":id" if _identifies(segment) else ":text" if len(segment) > LONGEST_SEGMENT else segment


def _identifies(segment: str) -> bool:
    """Whether a segment looks made rather than named."""
    digits = sum(c.isdigit() for c in segment)
    letters = sum(c.isalpha() for c in segment)
    if not digits:  # random letters of both cases; words in camel case have a capital in five letters or more
        capitals = sum(c.isupper() for c in segment)
        return len(segment) >= 16 and 0.3 < capitals / max(letters, 1) < 1 and "_" not in segment
    if _HEX.fullmatch(segment) or _NUMBERED.fullmatch(segment):
        return True
    if "." in segment:  # a file: its name may hold a hash
        return any(_HEX.fullmatch(part) or (len(part) >= 8 and _mixed(part)) for part in re.split(r"[.-]", segment))
    return (len(segment) >= 16 and digits >= 2) or _mixed(segment)


def _mixed(text: str) -> bool:
    """Whether letters and digits take turns, as in ``a1b2c3`` and not in ``oauth2``."""
    return len(re.findall(r"\d+", text)) >= 2


def words_of(path: str) -> list[str]:
    """The words of a path in lower case, parameters left out.

    Examples
    --------
    >>> words_of("/api/v1/users/:id/sendHeart-beat")
    ['api', 'v', '1', 'users', 'send', 'heart', 'beat']
    """
    segments = [segment for segment in path.split("/") if not segment.startswith(":")]
    return [word.lower() for segment in segments for word in _WORD.findall(segment)]


def without_names(counts: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], str]:
    """Paths in which names that only their number gives away (``/shop/gizmo``, ``/shop/gadget`` ...) are ``:name``.

    Parameters
    ----------
    counts : mapping of (method, path) to requests

    Returns
    -------
    dict
        For each, the path to be told.

    Examples
    --------
    >>> many = {("GET", f"/shop/item{chr(97 + i % 26)}{chr(97 + i // 26)}"): 1 for i in range(300)}
    >>> set(without_names(many).values())
    {'/shop/:name'}
    """
    found = {route: route[1].split("/")[1:] for route in counts}
    for place in range(DEEPEST):
        siblings: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for route, parts in found.items():
            if len(parts) > place:
                siblings[tuple(parts[:place])][parts[place]] += counts[route]
        values = {(*at, name) for at, names in siblings.items() for name in _values(names)}
        for parts in found.values():
            if tuple(parts[: place + 1]) in values:
                parts[place] = ":name"
    return {route: "/" + "/".join(parts) if route[1].startswith("/") else route[1] for route, parts in found.items()}


def _values(names: Counter[str]) -> Iterable[str]:
    """Those names in one place of a path that are values."""
    if len(names) <= MOST_SIBLINGS:
        return []
    least = RARE * names.total()
    return [n for n, often in names.items() if often < least and n.lower() not in KNOWN and not n.startswith(":")]

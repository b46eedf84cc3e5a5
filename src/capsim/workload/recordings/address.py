"""The address that is asked, and the part of it that may be seen: no password, no token."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from capsim.base.errors import CapsimError

HIDDEN = "..."
EXAMPLE = "give for example https://server.example/api/metrics"


@dataclass(frozen=True)
class Address:
    """Where to ask. ``shown`` is all of it that is ever written; the rest does not appear in its repr either.

    Attributes
    ----------
    secure : bool
        By TLS.
    host, port : str, int
    target : str
        Path and query, as the request line needs them; may hold a token.
    headers : dict
        Authorization, if user and password were given.
    shown : str
        Without user and password; values of the query are hidden.
    """

    secure: bool
    host: str
    port: int
    target: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    shown: str

    @property
    def origin(self) -> str:
        """Scheme, host and port: who may be given the credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}"


def address_of(url: str) -> Address:
    """Take an URL apart.

    Raises
    ------
    CapsimError
        If it is no http or https URL; what is said names no password and no token.

    Examples
    --------
    >>> address_of("https://me:secret@host/api/metrics?token=abc").shown
    'https://host/api/metrics?token=...'
    >>> address_of("https://host/api/metrics?abc").shown  # may be a token itself
    'https://host/api/metrics?...'
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        if {*"[]"} & {*(parts.hostname or "")}:  # brackets before the @ make urlsplit overlook those behind it
            raise ValueError("brackets within a host")
        if port == 0:
            raise ValueError("nothing listens there")
    except ValueError:
        raise CapsimError(f"the URL cannot be read (its host or port); {EXAMPLE}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CapsimError(f"the URL is no http:// or https:// address; {EXAMPLE}")
    if any(ord(letter) <= 32 or ord(letter) > 126 for letter in url):
        raise CapsimError(f"the URL holds blanks or letters that an address cannot have; {EXAMPLE}")
    secure = parts.scheme == "https"
    host = parts.hostname
    headers = {}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    path = parts.path or "/"
    target = path + (f"?{parts.query}" if parts.query else "")
    pairs = [part.partition("=") for part in parts.query.split("&") if part]  # as given: decoded they may not be ASCII
    query = "&".join(f"{name}={HIDDEN}" if equals else HIDDEN for name, equals, _ in pairs)
    bracketed = f"[{host}]" if ":" in host else host
    shown = f"{parts.scheme}://{bracketed}{f':{port}' if port else ''}{path}" + (f"?{query}" if query else "")
    return Address(secure, host, port or (443 if secure else 80), target, headers, shown)

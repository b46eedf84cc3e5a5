"""One request for metrics, answered or not within a given time, whatever the server does meanwhile."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urljoin

from capsim.base.errors import CapsimError
from capsim.workload.recordings.address import Address, address_of
from capsim.workload.recordings.metrics_response import LARGEST_BYTES

MOST_REDIRECTS = 3


class Unanswered(Exception):
    """No usable answer; says why in a few words, and names nothing of the address."""


def ask(address: Address, within_s: float) -> bytes:
    """The body of the answer.

    Parameters
    ----------
    address : Address
    within_s : float
        From now until all of the answer must be there [s]; also a server that sends a byte a second is cut off.

    Raises
    ------
    Unanswered
        Refused, reset, too slow, another status than 200, too large, or redirected to another origin.
    """
    until_s = time.monotonic() + within_s
    for _ in range(MOST_REDIRECTS + 1):
        status, place, body = _once(address, until_s)
        if status not in (301, 302, 303, 307, 308) or place is None:
            break
        address = _moved(address, place)
    if status != 200:
        raise Unanswered(f"HTTP {status}")
    return body


def _moved(address: Address, place: str) -> Address:
    """Where a redirect points to; credentials go to the origin that they were given for, and to no other."""
    try:
        there = address_of(urljoin(f"{address.origin}{address.target}", place))
    except (CapsimError, ValueError):  # a wrong answer of the server, which ends no recording
        raise Unanswered("redirected to something that is no http address") from None
    if there.origin != address.origin:
        raise Unanswered(f"redirected to {there.origin[:120]}; record that address if it is meant")
    return replace(there, headers=address.headers, shown=address.shown)


def _once(address: Address, until_s: float) -> tuple[int, str | None, bytes]:
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise Unanswered("too slow")
    kind = http.client.HTTPSConnection if address.secure else http.client.HTTPConnection
    connection = kind(address.host, address.port, timeout=left_s)
    # A timeout of the socket begins anew with every byte; the clock that cuts off a dripping server is this one.
    late = threading.Event()
    opened: list[socket.socket] = []  # the connection forgets its socket when the answer is the last on it

    def cut() -> None:
        late.set()
        for sock in opened:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(left_s, cut)
    timer.daemon = True
    timer.start()
    try:
        connection.connect()
        opened.append(connection.sock)
        connection.request("GET", address.target, headers={"Accept": "application/json", **address.headers})
        response = connection.getresponse()
        body = response.read(LARGEST_BYTES + 1)
        if late.is_set():
            raise Unanswered("too slow")
        if len(body) > LARGEST_BYTES:
            raise Unanswered("an answer of more than 1 MiB")
        return response.status, response.getheader("Location"), body
    except TimeoutError:
        raise Unanswered("too slow") from None
    except ConnectionRefusedError:
        raise Unanswered("connection refused") from None
    except socket.gaierror:
        raise Unanswered("no such host") from None
    except ssl.SSLError as error:
        raise Unanswered(f"TLS failed ({error.reason or 'unknown reason'})") from None
    except (OSError, http.client.HTTPException) as error:
        if late.is_set():
            raise Unanswered("too slow") from None
        what = "connection lost" if isinstance(error, ConnectionError) else type(error).__name__
        raise Unanswered({"RemoteDisconnected": "connection lost", "IncompleteRead": "connection lost"}.get(
            type(error).__name__, what)) from None  # fmt: skip
    finally:
        timer.cancel()
        connection.close()

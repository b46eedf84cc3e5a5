"""What scenario files do not describe: how the reference behaves as a program that listens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Limits of the HTTP side; everything else is in the scenario."""

    host: str = "127.0.0.1"  # to listen on
    head_timeout_s: float = 20.0  # for a client to send the head of a request
    body_bytes: int = 1024 * 1024  # largest request, packed or not
    body_timeout_s: float = 20.0  # for a client to send it
    grace_s: float = 10.0  # from SIGTERM to the exit, at most

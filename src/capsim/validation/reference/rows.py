"""What the server stores: events, revenue records, heartbeats, sessions; and what it takes of each from outside.

Whatever a database would refuse is refused at the door, because a batch fails or succeeds as a whole: one bad row
would take ninety-nine good ones with it.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

MOST_PROPERTIES_BYTES = 16 * 1024
LAST_MS = 253_402_300_799_999  # end of the year 9999


@dataclass(frozen=True, slots=True)
class Event:
    """A game event, as stored; the time in milliseconds since 1970."""

    id: str
    game_id: str
    user_id: str
    session_id: str | None
    name: str
    properties: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Revenue:
    """A payment or an advertisement's revenue, as stored; millionths of the currency's unit."""

    id: str
    game_id: str
    user_id: str
    session_id: str | None
    amount_micros: int
    currency: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life of a session."""

    session_id: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Session:
    """The start of a session."""

    id: str
    game_id: str
    user_id: str
    at_ms: int


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("a NUL character cannot be stored")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("half a surrogate pair cannot be stored") from None
    return text


Text = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_storable)]
Instant = Annotated[int, Field(ge=0, le=LAST_MS)]


class _Taken(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


class EventIn(_Taken):
    """Body of ``POST /api/analytics/events``."""

    id: Text | None = None
    game_id: Text
    user_id: Text
    session_id: Text | None = None
    event_name: Text
    properties: dict[str, Any] = Field(default_factory=dict)
    timestamp: Instant | None = None

    def row(self) -> Event:
        """As stored.

        Raises
        ------
        ValueError
            If the properties are too large.
        """
        # ASCII, so that characters which a database refuses stay escaped
        properties = json.dumps(self.properties, separators=(",", ":"), allow_nan=False)
        if len(properties) > MOST_PROPERTIES_BYTES:
            raise ValueError(f"properties take {len(properties)} bytes; at most {MOST_PROPERTIES_BYTES} are stored")
        return Event(
            self.id or str(uuid.uuid4()),
            self.game_id,
            self.user_id,
            self.session_id,
            self.event_name,
            properties,
            now_ms() if self.timestamp is None else self.timestamp,
        )


class EventsIn(_Taken):
    """Body of ``POST /api/analytics/events/batch``."""

    events: Annotated[list[EventIn], Field(min_length=1, max_length=1_000)]


class RevenueIn(_Taken):
    """Body of ``POST /api/revenue``."""

    id: Text | None = None
    game_id: Text
    user_id: Text
    session_id: Text | None = None
    amount: Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "USD"
    timestamp: Instant | None = None

    def row(self) -> Revenue:
        """As stored."""
        return Revenue(
            self.id or str(uuid.uuid4()),
            self.game_id,
            self.user_id,
            self.session_id,
            round(self.amount * 1_000_000),
            self.currency,
            now_ms() if self.timestamp is None else self.timestamp,
        )


class SessionIn(_Taken):
    """Body of ``POST /api/sessions/start``."""

    session_id: Text | None = None
    game_id: Text
    user_id: Text
    timestamp: Instant | None = None

    def row(self) -> Session:
        """As stored."""
        at_ms = now_ms() if self.timestamp is None else self.timestamp
        return Session(self.session_id or str(uuid.uuid4()), self.game_id, self.user_id, at_ms)


class HeartbeatIn(_Taken):
    """Body of ``POST /api/sessions/heartbeat`` and ``/end``."""

    session_id: Text
    timestamp: Instant | None = None

    def row(self) -> Heartbeat:
        """As stored."""
        return Heartbeat(self.session_id, now_ms() if self.timestamp is None else self.timestamp)

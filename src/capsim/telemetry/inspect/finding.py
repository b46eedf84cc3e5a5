"""Something that follows from a configuration, with its place and its remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Harm = Literal["loss", "outage", "bill", "note"]
HARMS: tuple[Harm, ...] = ("loss", "outage", "bill", "note")


@dataclass(frozen=True)
class ConfigFinding:
    """Something that an owner should know before a deploy."""

    kind: str
    harm: Harm
    place: str
    what: str
    remedy: str

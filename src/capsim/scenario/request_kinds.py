"""What a request of a recorded load is, and the table of a scenario that says so: ``[workload.requests]``."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

# The order of the streams (capsim.scenario.workload.STREAMS), then what comes beside them.
KINDS = ("event", "revenue", "heartbeat", "read", "other")
EVENT, REVENUE, HEARTBEAT, READ, OTHER = range(5)
MOST_KEYS = 10_000
_KEY = re.compile(r"(?:([A-Z][A-Z-]{1,19}) )?(/[^\s?#]{0,2000}|\*)")


def split_key(key: str) -> tuple[str, str]:
    """Method (empty: any) and path of a key.

    Raises
    ------
    ValueError
        If it is neither ``POST /path`` nor ``/path``; in words.

    Examples
    --------
    >>> split_key("POST /api/events"), split_key("/health")
    (('POST', '/api/events'), ('', '/health'))
    """
    hit = _KEY.fullmatch(key)
    if hit is None:
        why = "the query is not looked at, leave it out" if "?" in key else 'write for example "POST /api/events"'
        raise ValueError(f"{key[:60]!r} is no method and path; {why}")
    return hit[1] or "", hit[2]


def _checked(table: dict[str, str]) -> dict[str, str]:
    if len(table) > MOST_KEYS:
        raise ValueError(f"{len(table)} paths are too many; give at most {MOST_KEYS}, and * for the rest of a path")
    for key, kind in table.items():
        split_key(key)
        if kind not in KINDS:
            raise ValueError(f"{key} is {kind[:40]!r}, which no request is; give one of {', '.join(KINDS)}")
    return table


_Kind = Annotated[str, WithJsonSchema({"type": "string", "enum": list(KINDS)})]
RequestTable = Annotated[dict[str, _Kind], AfterValidator(_checked)]

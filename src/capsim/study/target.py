"""A service-level target that was checked: its limit, and what was found."""

from __future__ import annotations

from pydantic import Field

from capsim.base.document import Number, Row


class Target(Row):
    """One service-level target, and whether it is met."""

    target: str
    metric: str
    window: str
    limit: str
    value: Number
    unit: str
    margin: Number = Field(description="how far on the right side of the limit, relative to it; below 0: missed")
    probability: Number = Field(description="share of the replicates that met it")
    met: bool | None = Field(description="null where the model has no value")
    action: str

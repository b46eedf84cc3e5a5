"""Redis as an operator describes it: what it holds, and when it is away."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from capsim.scenario.base import PositiveSeconds, Seconds, Spec


class RedisFaultSpec(Spec):
    """Redis away in ``[from_s, to_s)``: it refuses connections (``down``), or does not answer (``unreachable``)."""

    kind: Literal["down", "unreachable"] = Field(
        description="down: noticed at once, connecting is refused; unreachable: packets vanish"
    )
    from_s: Seconds = Field(description="start of the fault, since the start of the load")
    to_s: PositiveSeconds = Field(description="end of the fault")

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.to_s <= self.from_s:
            raise ValueError(f"the fault ends at {self.to_s:g} s and starts at {self.from_s:g} s; it must end later")
        return self


class RedisSpec(Spec):
    """Redis: a cache of a fixed size, perhaps kept in files."""

    clients: Annotated[int, Field(ge=0, le=10_000)] = Field(default=1, description="connections to Redis")
    keys: Annotated[int, Field(ge=0, le=10**9)] = Field(default=0, description="keys that it holds")
    value_bytes: Annotated[int, Field(ge=0, le=512 * 1024 * 1024)] = Field(
        default=1_000, description="mean size of a value"
    )
    persistence: Literal["none", "rdb", "aof"] = Field(
        default="none", description="files kept: none, snapshots (rdb), or the append-only file (aof)"
    )
    faults: tuple[RedisFaultSpec, ...] = Field(default=(), description="scheduled times without Redis")

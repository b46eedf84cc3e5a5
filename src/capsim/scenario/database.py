"""Postgres as an operator describes it: how long calls take, what goes wrong, how much data there is at the start."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, model_validator

from capsim.scenario.base import (
    Count,
    Milliseconds,
    Positive,
    PositiveMilliseconds,
    PositiveSeconds,
    Seconds,
    Sigma,
    Spec,
)


class LatencySpec(Spec):
    """Duration of one database call: ``(call_ms + row_ms x rows) x draw``, the draw's median being 1."""

    call_ms: Milliseconds = Field(default=20.0, description="median duration of a call, without its rows")
    row_ms: Milliseconds = Field(default=0.0, description="median duration that each row adds")
    distribution: Literal["constant", "lognormal", "exponential"] = Field(
        default="lognormal", description="law of the draws around the median"
    )
    sigma: Sigma = Field(
        default=0.5, description="spread of a lognormal draw: standard deviation of its logarithm"
    )

    @model_validator(mode="after")
    def _takes_time(self) -> Self:
        if self.call_ms + self.row_ms <= 0:
            raise ValueError("a call that takes no time is impossible; give call_ms or row_ms above 0")
        return self


class BurstsSpec(Spec):
    """A two-state modulated latency: calm and slow periods of exponential length alternate."""

    calm_s: PositiveSeconds = Field(default=3_600.0, description="mean length of a calm period")
    slow_s: PositiveSeconds = Field(default=20.0, description="mean length of a slow period")
    factor: Annotated[float, Field(ge=1, allow_inf_nan=False)] = Field(
        default=10.0, description="how many times longer a call takes in a slow period"
    )


class FaultSpec(Spec):
    """What happens to database calls that start in ``[from_s, to_s)``.

    ``slow``: they take ``duration_ms``. ``fail``: they fail, after ``duration_ms`` or the usual latency.
    ``stall``: they end when the fault does, as behind a lock. ``down``: connections break and are refused.
    ``full``: the volume is full, so what writes fails and what reads does not.
    """

    kind: Literal["slow", "fail", "stall", "down", "full"] = Field(
        description="slow: calls take duration_ms; fail: they fail; stall: they end when the fault does; "
        "down: connections break, and are refused until the fault ends; full: the volume is, and what writes fails"
    )
    from_s: Seconds = Field(description="start of the fault, since the start of the load")
    to_s: PositiveSeconds = Field(description="end of the fault; calls that start before it are hit")
    duration_ms: PositiveMilliseconds | None = Field(
        default=None, description="of each call that is hit; a failing call may go without: the usual latency"
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.to_s <= self.from_s:
            raise ValueError(
                f"the fault ends at {self.to_s:g} s and starts at {self.from_s:g} s; it must end later"
            )
        if self.kind == "slow" and self.duration_ms is None:
            raise ValueError("a slow fault needs duration_ms, the time each call takes")
        if self.kind in ("stall", "down") and self.duration_ms is not None:
            raise ValueError(f"{self.kind} lasts until to_s; leave duration_ms out")
        return self


SUPERUSERS = 3  # connections that Postgres keeps for superusers (its default)


class DatabaseSpec(Spec):
    """Postgres: how long calls take, what goes wrong, how much data there is at the start."""

    insert: LatencySpec = Field(
        default=LatencySpec(call_ms=10.0, row_ms=0.1), description="one insert of a batch"
    )
    update: LatencySpec = Field(
        default=LatencySpec(call_ms=3.0), description="the update of one session's heartbeat (semantics seed)"
    )
    query: LatencySpec = Field(
        default=LatencySpec(call_ms=15.0, row_ms=0.01),
        description="a read: an analytics query, the sessions that a cleanup looks for, the count of a metrics call",
    )
    connect_ms: Milliseconds = Field(default=5.0, description="opening a connection")
    max_connections: Annotated[int, Field(ge=4, le=10_000)] = Field(
        default=100, description="connections that Postgres lets in, 3 of them kept for superusers"
    )
    refused_ms: PositiveMilliseconds = Field(default=1.0, description="until a connection is refused; assumed")
    parallel_calls: Count = Field(
        default=8, description="calls that run side by side at full speed; with more, all get slower; assumed"
    )
    unused_indexes: Annotated[int, Field(ge=0, le=100)] = Field(
        default=0, description="indexes on the events that no query uses; each insert writes them all the same"
    )
    index_row_ms: Milliseconds = Field(
        default=0.005, description="median duration that each row adds to an insert for each unused index; assumed"
    )
    cold_factor: Annotated[float, Field(ge=1, le=1_000)] = Field(
        default=3.0, description="how many times longer calls take right after Postgres was down; assumed"
    )
    warm_up_s: Seconds = Field(
        default=60.0, description="time from then until they are as fast as ever, falling evenly; assumed"
    )
    bursts: BurstsSpec | None = Field(
        default=None, description="slow periods that come and go by chance; left out, there are none"
    )
    faults: tuple[FaultSpec, ...] = Field(default=(), description="scheduled slow or failing periods")
    rows_at_start: Annotated[int, Field(ge=0)] = Field(
        default=0, description="event rows that are stored before the load begins"
    )
    memory_limit_mib: Annotated[int, Field(ge=64, le=10**6)] | Literal["plan"] = Field(
        default="plan", description='memory limit of its container; "plan" for the most that the plan allows'
    )
    shared_buffers_mib: Annotated[int, Field(ge=1, le=10**6)] = Field(
        default=128, description="shared_buffers of Postgres; billed once filled, beside the same pages in cache"
    )
    volume_gb: Positive | Literal["plan"] = Field(
        default="plan", description='size of its volume; "plan" for the default of the plan'
    )
    backups_kept_days: Positive | Literal["none"] = Field(
        default="none", description="days that backups of the volume by the platform are kept, billed by what changed"
    )
    stops_when_full: StrictBool = Field(
        default=False,
        description="whether writes fail once the volume is full; otherwise its date is told, as if there were room",
    )
    backup_every_h: Positive | Literal["none"] = Field(
        default="none", description="hours between backups by pg_dump, which read every table into the page cache"
    )

    @property
    def clients_max(self) -> int:
        """Connections that Postgres lets its clients have, all processes together."""
        return self.max_connections - SUPERUSERS

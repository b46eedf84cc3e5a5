"""The load of a server: a trace, a rate or scripted arrivals, and how its requests divide among the three streams."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from capsim.scenario.base import Count, NotNegative, Positive, PositiveSeconds, Share, Sigma, Spec
from capsim.scenario.request_kinds import RequestTable

# The order is also the one in which they ask for a connection in one instant.
Stream = Literal["events", "revenue", "heartbeats"]
STREAMS: tuple[Stream, ...] = ("events", "revenue", "heartbeats")


class MixSpec(Spec):
    """How requests divide among the three streams; 60/5/35 is the measured stand-in's (memory §3)."""

    events: Share = Field(default=0.60, description="share of the requests that are game events")
    revenue: Share = Field(default=0.05, description="share of the requests that are revenue records")
    heartbeats: Share = Field(
        default=0.35, description="share that are session heartbeats (with sessions: session starts)"
    )

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        total = self.events + self.revenue + self.heartbeats
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the shares add up to {total:.6g}; they must add up to 1")
        return self


class SessionsSpec(Spec):
    """Players: a share of the requests start a session, and live sessions send the heartbeats.

    Used in place of ``mix.heartbeats``, whose share of the requests becomes session starts; so do scripted heartbeats.
    """

    heartbeat_every_s: PositiveSeconds = Field(
        default=30.0, description="time between two heartbeats of a live session"
    )
    length_median_s: PositiveSeconds = Field(
        default=600.0, description="median length of a session; assumed, lognormal"
    )
    length_sigma: Sigma = Field(
        default=1.0, description="spread of the session length: standard deviation of its logarithm; assumed"
    )
    abandoned: Share = Field(
        default=0.2,
        description="share of the sessions that end without saying so; left to the cleanup; assumed",
    )


class RunSpec(Spec):
    """Scripted arrivals: ``count`` items from ``at_ms``, evenly at ``rate_hz``, or all at once."""

    stream: Stream = Field(description="which writer receives the items")
    at_ms: Annotated[int, Field(ge=0)] = Field(
        description="arrival of the first item, since the start of the load"
    )
    count: Count = Field(description="how many items")
    rate_hz: Positive | None = Field(
        default=None, description="spacing of the items; without it all arrive at once"
    )


class WorkloadSpec(Spec):
    """The load: a trace, a constant Poisson rate, or scripted arrivals (exactly one of the three)."""

    trace: str | None = Field(
        default=None, description="name of a bundled trace, or a path relative to the scenario file"
    )
    rate_hz: Positive | None = Field(
        default=None, description="mean rate of Poisson arrivals, all requests together; needs duration_s"
    )
    runs: tuple[RunSpec, ...] = Field(
        default=(), description="scripted arrivals, in place of a trace or a rate"
    )
    duration_s: PositiveSeconds | None = Field(
        default=None,
        description="length of the load for rate_hz; time to simulate for runs; unused with a trace",
    )
    scale: Positive = Field(
        default=1.0,
        description="factor on the arrivals: below 1 thins, above 1 superposes copies with jitter",
    )
    mix: MixSpec = Field(
        default=MixSpec(), description="how requests divide among the three streams; the shares add up to 1"
    )
    sessions: SessionsSpec | None = Field(
        default=None, description="players whose sessions send the heartbeats, in place of mix.heartbeats"
    )
    live_sessions: Count | None = Field(
        default=None, description="without workload.sessions: heartbeat i is of session i mod live_sessions"
    )
    queries_hz: NotNegative = Field(
        default=0.0, description="mean rate of analytics reads, Poisson, beside the requests; scale applies to it"
    )
    requests: RequestTable | None = Field(
        default=None,
        description='what requests of a log are, "POST /api/events" = "event" (revenue, heartbeat, read, other); then '
        "mix and reads are the log's",
    )

    @model_serializer(mode="wrap")
    def _only_given(self, dumped: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the map where there is none: what was saved before there were maps is still the same."""
        found: dict[str, Any] = dumped(self)
        return {key: value for key, value in found.items() if key != "requests" or value is not None}

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [n for n, v in (("trace", self.trace), ("rate_hz", self.rate_hz), ("runs", self.runs)) if v]
        if len(given) != 1:
            raise ValueError(
                f"the load is given {'by ' + ' and '.join(given) if given else 'by nothing'}; "
                "give exactly one of trace, rate_hz, runs"
            )
        if self.rate_hz and self.duration_s is None:
            raise ValueError("rate_hz needs duration_s")
        if self.sessions and self.live_sessions:
            raise ValueError("live_sessions is for loads without [workload.sessions]; leave one of them out")
        if self.sessions and self.requests is not None:
            raise ValueError(
                "[workload.requests] takes the heartbeats of the log, [workload.sessions] makes its own; leave one out"
            )
        return self

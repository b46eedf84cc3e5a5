"""The server that an operator describes: frozen, validated once, at the door.

Every field is a knob of a scenario file (TOML); names carry units. `capsim.scenario` reads the files and words the
errors; this module says what is possible. A field is here only when something in capsim depends on it.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from capsim.errors import ScenarioError

STREAMS = ("events", "revenue", "heartbeats")  # also the order in which they ask for a connection in one instant
Stream = Literal["events", "revenue", "heartbeats"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10**9)]


class Spec(BaseModel):
    """A frozen part of a scenario; unknown keys and wrong types are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, validate_default=True)

    def replace(self, path: str, value: Any) -> Self:
        """Return a copy with one knob changed and everything validated again.

        Parameters
        ----------
        path : str
            Dotted name of the knob below this spec, as in the scenario file.
        value : object
            Its new value, in the unit that the name carries.

        Raises
        ------
        ScenarioError
            If there is no such knob, or the value is impossible.

        Examples
        --------
        >>> PoolSpec().replace("limit", 20).limit
        20
        """
        # Imported late: the wording of errors belongs to the reader of scenario files, which imports this module.
        from capsim.scenario import validated

        data = self.model_dump(mode="python", exclude_unset=False)
        place: Any = data
        *parents, leaf = path.split(".")
        for name in parents:
            if not isinstance(place, dict) or not isinstance(place.get(name), dict):
                raise ScenarioError(f"{path}: there is no part {name!r} here; parts: {', '.join(sorted(place))}")
            place = place[name]
        place[leaf] = value
        return validated(type(self), data, source="replace()")


# --- workload -------------------------------------------------------------------------------------------------------


class MixSpec(Spec):
    """How requests divide among the three streams; 60/5/35 is the mix of the measured stand-in (facts: memory §3)."""

    events: Share = 0.60
    revenue: Share = 0.05
    heartbeats: Share = 0.35

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        total = self.events + self.revenue + self.heartbeats
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the shares add up to {total:.6g}; they must add up to 1")
        return self


class SessionsSpec(Spec):
    """Players: a share of the requests start a session, and live sessions send the heartbeats.

    Used in place of ``mix.heartbeats``, whose share of the requests becomes session starts.
    """

    heartbeat_every_s: Positive = 30.0
    length_median_s: Positive = 600.0  # assumed; lognormal
    length_sigma: NotNegative = 1.0  # assumed; of the logarithm
    abandoned: Share = 0.2  # assumed: ends without saying so, and is left to the cleanup


class RunSpec(Spec):
    """Scripted arrivals: ``count`` items from ``at_ms``, evenly at ``rate_hz``, or all at once without a rate."""

    stream: Stream
    at_ms: Annotated[int, Field(ge=0)]
    count: Count
    rate_hz: Positive | None = None


class WorkloadSpec(Spec):
    """The load: a trace, a constant Poisson rate, or scripted arrivals (exactly one of the three)."""

    trace: str | None = None  # a bundled trace's name, or a path relative to the scenario file
    rate_hz: Positive | None = None  # all requests together
    runs: tuple[RunSpec, ...] = ()
    duration_s: Positive | None = None  # needed with rate_hz; with runs the time to simulate
    scale: Positive = 1.0  # below 1 thins, above 1 superposes copies with jitter
    mix: MixSpec = MixSpec()
    sessions: SessionsSpec | None = None
    live_sessions: Count | None = None  # without `sessions`: heartbeat i belongs to session i mod live_sessions

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
        return self


# --- server ---------------------------------------------------------------------------------------------------------


class WriterSpec(Spec):
    """A batch writer: what starts a flush, what the buffer holds, and which of the recorded rule sets it follows."""

    semantics: Literal["seed", "fixed"] = "seed"
    batch_rows: Count = 100
    delay_ms: Annotated[int, Field(ge=1, le=10**9)] = 5_000
    buffer_cap_rows: Count | Literal["none"] = 1_000

    @property
    def cap(self) -> int:
        """The cap as a number: without one, more than any trace can hold."""
        return 1 << 62 if self.buffer_cap_rows == "none" else self.buffer_cap_rows


class WritersSpec(Spec):
    """The three batch writers of the server."""

    events: WriterSpec = WriterSpec()
    revenue: WriterSpec = WriterSpec()
    heartbeats: WriterSpec = WriterSpec()


class PoolSpec(Spec):
    """Database connections that the writers share; opened lazily, waited for in order of asking."""

    limit: Count | Literal["default"] = 10  # "default": 2 x the CPUs that the process sees + 1
    pool_timeout_s: Positive = 20.0  # waiting longer fails the call
    connect_timeout_s: Positive = 10.0  # opening longer fails the call


class NodeSpec(Spec):
    """The Node process."""

    heap_cap_mib: Annotated[int, Field(ge=16, le=65_536)] | Literal["none"] = "none"  # --max-old-space-size
    cpus_visible: Count = 48  # a container on Railway sees its host's CPUs (facts: railway §6; range 32-64)


class ServerSpec(Spec):
    """The ingestion server: its process, its writers, its pool."""

    node: NodeSpec = NodeSpec()
    writers: WritersSpec = WritersSpec()
    pool: PoolSpec = PoolSpec()

    @property
    def pool_limit(self) -> int:
        """The pool limit as the process applies it; Prisma's default is 2 x CPUs + 1 (facts: railway §6)."""
        return 2 * self.node.cpus_visible + 1 if self.pool.limit == "default" else self.pool.limit


# --- database -------------------------------------------------------------------------------------------------------


class LatencySpec(Spec):
    """Duration of one database call: ``(call_ms + row_ms x rows) x draw``, the draw's median being 1."""

    call_ms: NotNegative = 20.0
    row_ms: NotNegative = 0.0
    distribution: Literal["constant", "lognormal", "exponential"] = "lognormal"
    sigma: NotNegative = 0.5  # of the logarithm; lognormal only

    @model_validator(mode="after")
    def _takes_time(self) -> Self:
        if self.call_ms + self.row_ms <= 0:
            raise ValueError("a call that takes no time is impossible; give call_ms or row_ms above 0")
        return self


class BurstsSpec(Spec):
    """A two-state modulated latency: calm and slow periods of exponential length alternate."""

    calm_s: Positive = 3_600.0
    slow_s: Positive = 20.0
    factor: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 10.0


class FaultSpec(Spec):
    """What happens to calls that start in ``[from_s, to_s)``: they take ``duration_ms``, fail, or both."""

    kind: Literal["slow", "fail"]
    from_s: NotNegative
    to_s: Positive
    duration_ms: Positive | None = None  # of each call; without it the usual latency

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.to_s <= self.from_s:
            raise ValueError(f"the fault ends at {self.to_s:g} s, before it starts at {self.from_s:g} s")
        if self.kind == "slow" and self.duration_ms is None:
            raise ValueError("a slow fault needs duration_ms, the time each call takes")
        return self


class DatabaseSpec(Spec):
    """Postgres: how long calls take, what goes wrong, how much data there is at the start."""

    insert: LatencySpec = LatencySpec(call_ms=10.0, row_ms=0.1)
    update: LatencySpec = LatencySpec(call_ms=3.0)  # one session's heartbeat (semantics seed)
    connect_ms: NotNegative = 5.0  # opening a connection
    bursts: BurstsSpec | None = None
    faults: tuple[FaultSpec, ...] = ()
    rows_at_start: Annotated[int, Field(ge=0)] = 0  # event rows already stored


class RedisSpec(Spec):
    """Redis, at rest."""

    clients: Annotated[int, Field(ge=0, le=10_000)] = 1


# --- billing and stress ---------------------------------------------------------------------------------------------


class BillingSpec(Spec):
    """What is charged, by whose rules and from when; nothing in capsim reads today's date."""

    plan: Literal["free", "hobby", "pro"] = "hobby"
    from_date: dt.date = Field(alias="from")
    response_bytes: NotNegative = 300.0  # assumed: answer to one POST with headers, leaves as egress
    gb_bytes: Literal[1_000_000_000, 1_073_741_824] = 1_000_000_000  # size of the metric's GB (facts: railway §1.3)

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class StressSpec(Spec):
    """The envelope that the server must survive: run beside the load, from an empty server, at the load's peak minute."""

    load_factor: Positive = 1.0  # x the peak minute of the load
    stall_s: NotNegative = 60.0  # every call that starts in it ends with it
    outage_s: NotNegative = 60.0  # every call that starts in it fails at once (1 ms)


class Scenario(Spec):
    """A server, its load, its bill and its stress: complete in itself.

    Examples
    --------
    >>> Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing={"from": "2026-02-03"}).server.pool_limit
    10
    """

    schema_version: Literal[1] = 1
    name: Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[\w.\- ]+$")]
    title: str = ""
    workload: WorkloadSpec
    server: ServerSpec = ServerSpec()
    database: DatabaseSpec = DatabaseSpec()
    redis: RedisSpec = RedisSpec()
    billing: BillingSpec
    stress: StressSpec = StressSpec()

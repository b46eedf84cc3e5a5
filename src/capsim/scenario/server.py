"""The server that an operator describes: frozen, validated once, at the door.

Every field is a knob of a scenario file (TOML); names carry units, and the descriptions reach the user by
`capsim scenario keys` and the JSON Schema. `capsim.scenario.file` reads the files and words the errors; this
module says what is possible. A field is here only when something in capsim depends on it.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StrictBool,
    model_serializer,
    model_validator,
)

from capsim.base.display import HasCard
from capsim.scenario.base import (
    Count,
    Milliseconds,
    NotNegative,
    Positive,
    PositiveMilliseconds,
    PositiveSeconds,
    Seconds,
    Share,
    Sigma,
    Spec,
)
from capsim.scenario.changes import PlanSpec
from capsim.scenario.constants import CalibrationSpec, ConstantsSpec
from capsim.scenario.parts import (
    CacheSpec,
    CleanupSpec,
    LoggerSpec,
    MetricsSpec,
    QueriesSpec,
    RedisClientSpec,
    RedisFaultSpec,
)
from capsim.scenario.request_kinds import RequestTable

# The order is also the one in which they ask for a connection in one instant.
Stream = Literal["events", "revenue", "heartbeats"]
STREAMS: tuple[Stream, ...] = ("events", "revenue", "heartbeats")

# --- workload ----------------------------------------------------------------------------------------------


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


# --- server ------------------------------------------------------------------------------------------------


class WriterSpec(Spec):
    """A batch writer: what starts a flush, what the buffer holds, which recorded rules it follows."""

    semantics: Literal["seed", "fixed", "recommended"] = Field(
        default="seed",
        description="rule set: seed (recorded, earlier), fixed (recorded, later) or recommended (the repaired ones)",
    )
    batch_rows: Count = Field(default=100, description="items in the buffer that start a flush at once")
    delay_ms: Annotated[int, Field(ge=1, le=10**9)] = Field(
        default=5_000, description="timer: how long a buffer's first item waits while no flush is out"
    )
    buffer_cap_rows: Count | Literal["none"] = Field(
        default=1_000, description='items that the buffer holds before it refuses more; "none" for no cap'
    )

    retry_for_ms: Annotated[int, Field(ge=0, le=10**9)] = Field(
        default=120_000, description="semantics recommended: a batch that fails is tried again for so long"
    )

    @property
    def keyed(self) -> bool:
        """Whether heartbeats are kept in a map by session: the latest of each, in one place."""
        return self.semantics != "seed"

    @property
    def cap(self) -> int:
        """The cap as a number: without one, more than any trace can hold."""
        return 1 << 62 if self.buffer_cap_rows == "none" else self.buffer_cap_rows


class WritersSpec(Spec):
    """The three batch writers of the server."""

    events: WriterSpec = Field(default=WriterSpec(), description="writer of game events")
    revenue: WriterSpec = Field(default=WriterSpec(), description="writer of revenue records")
    heartbeats: WriterSpec = Field(default=WriterSpec(), description="writer of session heartbeats")


class PoolSpec(Spec):
    """Database connections that the writers share; opened lazily, waited for in order of asking."""

    limit: Count | Literal["default"] = Field(
        default=10, description='most connections; "default" is 2 x the CPUs that the process sees + 1'
    )
    pool_timeout_s: PositiveSeconds = Field(
        default=20.0, description="waiting longer for a connection, its opening included, fails the call"
    )
    connect_timeout_s: PositiveSeconds = Field(
        default=10.0, description="opening a connection for longer fails the call"
    )


class NodeSpec(Spec):
    """The Node process."""

    heap_cap_mib: Annotated[int, Field(ge=16, le=65_536)] | Literal["none"] = Field(
        default="none", description='--max-old-space-size as the server really gets it; "none" for no cap'
    )
    semi_space_mib: Annotated[int, Field(ge=1, le=1_024)] | Literal["default"] = Field(
        default="default",
        description='--max-semi-space-size; "default" for what Node derives from its container: little in a small one',
    )
    version: Literal[20, 24] = Field(default=20, description="major version of Node; V8 11.3 or 13.6")
    loaded_mib: Annotated[float, Field(ge=0, le=65_536, allow_inf_nan=False)] = Field(
        default=0.0, description="data that the program loads at its start and keeps, beside the rows that it buffers"
    )
    # A container on Railway sees its host's CPUs (facts: railway §6; range 32-64)
    cpus_visible: Count = Field(
        default=48, description="CPUs that the process sees; on Railway its host's, from 32 to 64"
    )


class ContainerSpec(Spec):
    """What the server's container is held to; by default what the plan lets one replica have."""

    memory_limit_mib: Annotated[int, Field(ge=64, le=10**6)] | Literal["plan"] = Field(
        default="plan", description='memory limit; "plan" for the most that the plan allows'
    )
    cpu: Annotated[float, Field(ge=0.05, le=1_000, allow_inf_nan=False)] | Literal["plan"] = Field(
        default="plan", description='CPU quota [vCPU]; "plan" for the most that the plan allows'
    )


class ClientsSpec(Spec):
    """Clients that wait for the answer and send again; what they gave up is done by the server all the same."""

    timeout_s: Annotated[float, Field(ge=0.1, le=3_600)] = Field(
        default=10.0, description="how long a client waits for the answer"
    )
    retries: Annotated[int, Field(ge=0, le=20)] = Field(
        default=3, description="how often it sends the same request again"
    )
    backoff_s: Annotated[float, Field(ge=0, le=3_600)] = Field(
        default=1.0, description="pause before the first retry; doubled for each further one"
    )


class HttpSpec(Spec):
    """The one thread that serves requests; what each needs of it."""

    events_cpu_ms: Milliseconds = Field(default=0.25, description="CPU of a request that brings a game event; assumed")
    revenue_cpu_ms: Milliseconds = Field(default=0.22, description="CPU of one that brings a revenue record; assumed")
    heartbeats_cpu_ms: Milliseconds = Field(default=0.20, description="CPU of one that brings a heartbeat; assumed")
    other_cpu_ms: Milliseconds = Field(default=0.20, description="CPU of starts and ends of sessions; assumed")
    row_cpu_ms: Milliseconds = Field(default=0.04, description="CPU of a row when its flush starts; assumed")
    gc_pause_ms: Milliseconds = Field(
        default=6.5,
        description="pause of a collection of new space at its largest, and of a full one with little alive; how often "
        "they come, and what makes them longer or shorter, follows from the container (capsim.memory.pauses)",
    )
    clients: ClientsSpec | None = Field(
        default=None, description="clients with a timeout and retries; left out, they wait for ever"
    )


class ProcessSpec(Spec):
    """How the platform starts, replaces and stops the server's process."""

    migration_s: Seconds = Field(default=0.0, description="migrations that the start command runs first")
    start_s: Seconds = Field(default=0.0, description="from then until the health check passes")
    handles_sigterm: StrictBool = Field(
        default=False, description="whether SIGTERM reaches the server, so that its writers' shutdown runs"
    )
    draining_s: Seconds = Field(
        default=0.0, description="from SIGTERM to SIGKILL, if it has not exited before; Railway's default is 0"
    )
    overlap_s: Seconds = Field(default=0.0, description="from the new process being healthy to SIGTERM of the old")
    restart_delay_s: Seconds = Field(default=1.0, description="from an exit to the start of the next process")
    restarts_max: Annotated[int, Field(ge=0, le=1_000)] = Field(
        default=10, description="restarts on failure before the deployment stays down"
    )
    replicas: Annotated[int, Field(ge=1, le=50)] = Field(default=1, description="processes that share the load")


class LifecycleSpec(Spec):
    """Something that ends a process: a deploy, which starts the next one first, or a crash."""

    kind: Literal["deploy", "crash"] = Field(description="deploy: a new process takes over; crash: it just ends")
    at_s: Seconds = Field(description="when, since the start of the load")
    every_s: PositiveSeconds | None = Field(default=None, description="again after every so many seconds")


class ServerSpec(Spec):
    """The ingestion server: its process, its HTTP loop, its writers, its pool."""

    node: NodeSpec = Field(default=NodeSpec(), description="the Node process")
    container: ContainerSpec = Field(default=ContainerSpec(), description="limits of the container that it runs in")
    http: HttpSpec = Field(default=HttpSpec(), description="the one thread that serves requests")
    writers: WritersSpec = Field(default=WritersSpec(), description="the three batch writers")
    pool: PoolSpec = Field(default=PoolSpec(), description="database connections that the writers share")
    cleanup: CleanupSpec | None = Field(default=None, description="closing of sessions that went away; out: none")
    queries: QueriesSpec = Field(default=QueriesSpec(), description="analytics reads (workload.queries_hz of them)")
    cache: CacheSpec | None = Field(default=None, description="cache of responses to analytics reads; out: none")
    logger: LoggerSpec = Field(default=LoggerSpec(), description="what is logged, and where to")
    redis_client: RedisClientSpec = Field(default=RedisClientSpec(), description="the connection to Redis")
    metrics: MetricsSpec | None = Field(default=None, description="calls of the metrics endpoint; out: none")
    process: ProcessSpec = Field(default=ProcessSpec(), description="how it is started, replaced and stopped")
    lifecycle: tuple[LifecycleSpec, ...] = Field(default=(), description="deploys and crashes")

    @property
    def pool_limit(self) -> int:
        """The pool limit as the process applies it; Prisma's default is 2 x CPUs + 1 (facts: railway §6)."""
        return 2 * self.node.cpus_visible + 1 if self.pool.limit == "default" else self.pool.limit


# --- database ----------------------------------------------------------------------------------------------


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


# --- billing and stress ------------------------------------------------------------------------------------


class BillingSpec(Spec):
    """What is charged, by whose rules and from when; nothing in capsim reads today's date."""

    plan: Literal["free", "hobby", "pro"] = Field(default="hobby", description="Railway plan")
    from_date: dt.date = Field(
        alias="from", description="first day of the billed month: picks the prices and the plan's rules"
    )
    response_bytes: NotNegative = Field(
        default=300.0, description="answer to one request with its headers, leaves as egress; assumed"
    )
    # Size of the metric's GB (facts: railway §1.3)
    gb_bytes: Literal[1_000_000_000, 1_073_741_824] = Field(
        default=1_000_000_000, description="size of the GB that is billed: decimal, or 2^30"
    )
    hard_limit_usd: Positive | Literal["none"] = Field(
        default="none", description='usage of a cycle at which the services are stopped; "none" for no limit'
    )

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class StressSpec(Spec):
    """What the server must survive: run beside the load, from an empty server, at the load's peak minute."""

    load_factor: Positive = Field(default=1.0, description="multiplies the load's peak minute")
    stall_s: Seconds = Field(
        default=60.0, description="database stall: every call that starts in it ends with it"
    )
    outage_s: Seconds = Field(
        default=60.0, description="database outage: every call that starts in it fails after 1 ms"
    )
    deploys: Annotated[int, Field(ge=0, le=100)] = Field(default=1, description="deploys, a minute apart")


class Scenario(HasCard, Spec):
    """A server, its load, its bill and its stress: complete in itself.

    Examples
    --------
    >>> load = {"rate_hz": 1, "duration_s": 60}
    >>> Scenario(name="x", workload=load, billing={"from": "2026-02-03"}).server.pool_limit
    10
    """

    schema_version: Literal[1] = Field(default=1, description="version of the scenario format")
    name: Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[\w.\- ]+$")] = Field(
        description="short name, used in tables and file names"
    )
    title: str = Field(default="", description="one line for people")
    workload: WorkloadSpec = Field(description="the load: exactly one of trace, rate_hz, runs")
    server: ServerSpec = Field(default=ServerSpec(), description="the ingestion server")
    database: DatabaseSpec = Field(default=DatabaseSpec(), description="Postgres")
    redis: RedisSpec = Field(default=RedisSpec(), description="Redis")
    billing: BillingSpec = Field(description="what is charged, by whose rules and from when")
    plan: PlanSpec = Field(default=PlanSpec(), description="changes of the plan, made on top of all this")
    stress: StressSpec = Field(
        default=StressSpec(), description="what the server must survive, beside the load"
    )
    constants: ConstantsSpec | None = Field(
        default=None, description="constants of the memory model that differ for this server"
    )
    calibration: CalibrationSpec | None = Field(
        default=None, description="where fitted keys come from; written by capsim calibrate"
    )

    def __repr__(self) -> str:
        load = f"trace {self.workload.trace}" if self.workload.trace else "a load of its own"
        return f"<Scenario {self.name}: {load}, plan {self.billing.plan} from {self.billing.from_date}>"

"""The server that an operator describes: its process, its HTTP loop, its writers, its pool.

Every field of a spec is a key of a scenario file (TOML); names carry units, and the descriptions reach the user by
`capsim scenario keys` and the JSON Schema. `capsim.scenario.file` reads the files and `capsim.scenario.validation`
words the errors; the specs say what is possible. A field is there only when something in capsim depends on it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool

from capsim.scenario.base import Count, Milliseconds, PositiveSeconds, Seconds, Spec
from capsim.scenario.parts import CacheSpec, CleanupSpec, LoggerSpec, MetricsSpec, QueriesSpec, RedisClientSpec


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

"""What the server does beside writing batches: sessions, analytics queries and their cache, logger, Redis client.

Each is a part that can be left out (None, or a rate of 0) and then costs nothing. Figures that nobody has measured are
marked as assumed in their descriptions.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool

from capsim.base.units import LONGEST_S
from capsim.scenario.base import (
    Count,
    Milliseconds,
    NotNegative,
    Positive,
    PositiveMilliseconds,
    PositiveSeconds,
    Share,
    Sigma,
    Spec,
)


class CleanupSpec(Spec):
    """Closes the sessions that went away without saying so; needs a load with sessions to have anything to close."""

    interval_s: PositiveSeconds = Field(
        default=120.0, description="from one run to the next; a run that is still going skips its turn"
    )
    timeout_s: PositiveSeconds = Field(default=180.0, description="a session without a heartbeat for longer is closed")
    limit_rows: Count | Literal["none"] = Field(
        default=100, description='sessions that one run loads and closes at most; "none" for all of them'
    )
    one_statement: StrictBool = Field(
        default=False, description="whether one update closes all of a run's sessions, instead of one each"
    )
    row_cpu_ms: Milliseconds = Field(default=0.01, description="CPU of each session that a run loads; assumed")


class QueriesSpec(Spec):
    """Analytics reads: each loads its result into the heap and turns it into text on the one thread."""

    cpu_ms: Milliseconds = Field(default=0.3, description="CPU of the request itself; assumed")
    rows_median: Positive = Field(
        default=2_000.0, description="median of the rows that a query finds; assumed, lognormal"
    )
    rows_sigma: Sigma = Field(
        default=1.0, description="spread of the rows: standard deviation of their logarithm; assumed"
    )
    take_rows: Count | Literal["none"] = Field(
        default="none", description='pagination: most rows of a result (take); "none" for all that are found'
    )
    row_cpu_ms: Milliseconds = Field(
        default=0.01, description="CPU of each row: reading it and writing it as JSON; assumed"
    )
    row_json_bytes: NotNegative = Field(default=250.0, description="JSON of one row of a result; assumed")
    compression: StrictBool = Field(default=False, description="whether responses are compressed")
    compressed_share: Share = Field(default=0.15, description="size of a compressed response; assumed")
    compression_cpu_ms_per_mib: NotNegative = Field(
        default=30.0, description="CPU of compressing one MiB of JSON; assumed (gzip, level 6)"
    )
    distinct: Count = Field(
        default=50, description="different queries that are asked, each as often as the others; assumed"
    )


class CacheSpec(Spec):
    """Keeps responses for a while; the oldest go first when it is full."""

    ttl_s: PositiveSeconds = Field(default=300.0, description="how long a response is kept")
    entries_max: Count | Literal["none"] = Field(default="none", description="responses that it keeps at most")
    size_max_mib: Positive | Literal["none"] = Field(default="none", description="JSON that it keeps at most")
    store: Literal["memory", "redis"] = Field(
        default="memory", description="where: in the heap of the process, or in Redis"
    )


class LoggerSpec(Spec):
    """What the server logs, and where to."""

    level: Literal["debug", "info", "warn", "error"] = Field(default="warn", description="lowest level that is logged")
    lines_per_request: NotNegative = Field(default=1.0, description="lines of level info for one request; assumed")
    lines_per_error: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=1, description="lines of one error: more where its stack is printed line by line"
    )
    line_bytes: Positive = Field(default=251.0, description="mean length of a line with its metadata (measured: JSON)")
    files: Annotated[int, Field(ge=0, le=1_000)] = Field(
        default=0, description="files kept by each of the two file transports; 0 for console only"
    )
    file_mib: Positive = Field(default=5.0, description="size at which a file is rotated")
    consumer_hz: Positive | Literal["none"] = Field(
        default="none", description='lines a second that the reader of the console takes; "none" for all of them'
    )
    file_consumer_hz: Positive | Literal["none"] = Field(
        default="none", description='lines a second that each file transport writes; "none" for all of them'
    )


class RedisClientSpec(Spec):
    """The server's connection to Redis; commands wait in it while there is none."""

    queue_limit: Count | Literal["none"] = Field(
        default=1_000, description="commands that wait while disconnected; more are rejected at once"
    )
    commands_per_request: NotNegative = Field(
        default=0.0, description="commands for each request of the load, whose answers nobody waits for; assumed"
    )
    command_bytes: NotNegative = Field(default=200.0, description="mean size of a command's value; assumed")
    connect_timeout_s: PositiveSeconds = Field(default=10.0, description="opening a connection for longer fails")
    reconnect_step_ms: PositiveMilliseconds = Field(default=50.0, description="wait before try n: n times this ...")
    reconnect_max_ms: PositiveMilliseconds = Field(default=500.0, description="... and at most this")
    keep_alive_s: PositiveSeconds = Field(
        default=5.0, description="idle time before the connection is probed, which finds out that Redis has vanished"
    )


class MetricsSpec(Spec):
    """The endpoint that tells memory, buffers and connections; each call asks the database once."""

    every_s: Annotated[float, Field(ge=0.01, le=LONGEST_S)] = Field(
        default=60.0, description="time between two calls of the endpoint"
    )
    cpu_ms: Milliseconds = Field(default=1.0, description="CPU of one call; assumed")

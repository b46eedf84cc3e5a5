"""Constants of the memory model that a scenario sets for itself, and where they come from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from capsim.scenario.base import NotNegative, Positive, Spec

NAMES = {
    "live_base_mib": "live_base",
    "allocated_request_kib": "allocated_request",
    "promoted_request_kib": "promoted_request",
    "server_off_heap_mib": "server_off_heap",
    "server_file_mib": "server_file",
    "event_row_bytes": "event_row",
    "revenue_row_bytes": "revenue_row",
    "heartbeat_row_bytes": "heartbeat_row",
    "request_cpu_factor": "request_cpu",
    "server_idle_vcpu": "server_idle_cpu",
    "server_cache_request_bytes": "server_cache_request",
    "event_stored_bytes": "pg_data_event",
}
"""Key of a scenario to the name of the constant in `capsim.memory.constants`."""

CACHE = ("server_mapped", "server_files_read")
"""Constants that ``server_cache_mib`` sets both: once it was measured, least and most are what was measured."""


def names_of(key: str) -> tuple[str, ...]:
    """Names of the constants that a key of a scenario sets.

    Examples
    --------
    >>> names_of("live_base_mib"), names_of("server_cache_mib")
    (('live_base',), ('server_mapped', 'server_files_read'))
    """
    return CACHE if key == "server_cache_mib" else (NAMES[key],)


class ConstantsSpec(Spec):
    """Constants of the memory model that differ for this server; the published ones hold where a key is left out."""

    live_base_mib: Positive | None = Field(default=None, description="live bytes of the idle program")
    allocated_request_kib: Positive | None = Field(default=None, description="heap that a request allocates")
    promoted_request_kib: Positive | None = Field(
        default=None, description="of it: what reaches the old generation though it dies later"
    )
    server_off_heap_mib: NotNegative | None = Field(
        default=None, description="memory of V8 and libraries beside the heap"
    )
    server_file_mib: NotNegative | None = Field(default=None, description="mapped program files")
    event_row_bytes: Positive | None = Field(default=None, description="heap of a buffered game event")
    revenue_row_bytes: Positive | None = Field(default=None, description="heap of a buffered revenue record")
    heartbeat_row_bytes: Positive | None = Field(
        default=None, description="heap of a buffered heartbeat in an array (semantics seed)"
    )
    request_cpu_factor: Positive | None = Field(
        default=None, description="CPU of a request, times that of the measured server at the same rate"
    )
    server_idle_vcpu: NotNegative | None = Field(default=None, description="CPU of the server without requests")
    server_cache_mib: NotNegative | None = Field(
        default=None, description="page cache of the program's files that is billed, log files apart"
    )
    server_cache_request_bytes: NotNegative | None = Field(
        default=None, description="page cache that a request adds, log files apart"
    )
    event_stored_bytes: Positive | None = Field(
        default=None, description="what a game event leaves in table and indexes of Postgres, WAL apart"
    )
    others: dict[str, float] | None = Field(
        default=None, description="further constants of the memory model, by the names that capsim.constants() lists"
    )

    @model_serializer(mode="wrap")
    def _only_given(self, dumped: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the others where there are none: what was saved before they could be given is still the same."""
        found: dict[str, Any] = dumped(self)
        return {key: value for key, value in found.items() if key != "others" or value is not None}

    def given(self) -> dict[str, float]:
        """Those that are set, by the names of `capsim.memory.constants`.

        Examples
        --------
        >>> ConstantsSpec(live_base_mib=9.5).given()
        {'live_base': 9.5}
        """
        values = self.model_dump(exclude={"others"}, exclude_none=True)
        return {name: value for key, value in values.items() for name in names_of(key)} | (self.others or {})


class FittedSpec(Spec):
    """One key of the scenario that was read off a recording."""

    key: str = Field(description="which key of the scenario")
    status: Literal["fitted", "measured"] = Field(description="fitted: by the model; measured: told by the samples")
    value: float = Field(description="its value, in the unit of the key")
    low: float = Field(description="lower end of the 90 % interval")
    high: float = Field(description="upper end of the 90 % interval")


class CalibrationSpec(Spec):
    """Where the fitted keys come from; every key that is not listed is as assumed or published before."""

    recording: str = Field(description="name of the recording")
    source: str = Field(description="address that was recorded, without credentials")
    sha256: str = Field(description="of the recording's bytes")
    start: str = Field(description="first sample that was used")
    hours: Positive = Field(description="length of the part that was used [h]")
    samples: Annotated[int, Field(ge=1)] = Field(description="samples that were used")
    method: Literal["likelihood", "least-squares", "abc"] = Field(description="how the constants were fitted")
    seed: int = Field(default=0, description="address of its chance")
    model_error: NotNegative = Field(
        default=0.0, description="relative error on the held-out part that constants and load do not explain"
    )
    values: tuple[FittedSpec, ...] = Field(default=(), description="the keys that were fitted or measured")
    not_identified: tuple[str, ...] = Field(default=(), description="keys that these samples cannot tell")

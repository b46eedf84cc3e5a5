"""The companion file of a measured series: what was measured, on what, and how it was loaded.

`docs/measuring.md` describes the form key by key; the specs below are what is enforced.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from capsim.base.errors import CapsimError
from capsim.base.toml_text import read_toml
from capsim.scenario.base import Count, NotNegative, Positive, Share

SUFFIX = ".run.toml"

UNITS: Mapping[str, Mapping[str, float]] = {
    "time": {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0},
    "memory": {"bytes": 2.0**-20, "KiB": 2.0**-10, "MiB": 1.0, "GiB": 1024.0, "kB": 1e3 / 2**20, "MB": 1e6 / 2**20},
    "count": {"1": 1.0},
}
"""Known units and what to multiply with: times become seconds, memory MiB of 2^20 bytes."""

ROLES: Mapping[str, str] = {
    "time": "time",
    "requests": "count",
    "rss": "memory",
    "collections": "count",
    "scavenges": "count",
    "heap_total": "memory",
    "heap_used": "memory",
    "new_size": "memory",
    "old_size": "memory",
    "old_used": "memory",
    "rss_anon": "memory",
    "rss_file": "memory",
    "rss_peak": "memory",
    "usage": "memory",
    "dropped": "count",
    "buffered": "count",
    "in_flight": "count",
    "cpu": "time",
}
"""What a column can be, and of which quantity; the first three are needed."""

NEEDED = ("time", "requests", "rss")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Column(_Part):
    """Where a quantity stands in the series, and in which unit."""

    name: str
    unit: str


STANDARD: Mapping[str, Column] = {
    role: Column(name=name, unit=unit)
    for role, name, unit in (
        ("time", "t_s", "s"),
        ("requests", "reqs_or_count", "1"),
        ("rss", "rss", "MiB"),
        ("collections", "gcMajor", "1"),
        ("scavenges", "gcMinor", "1"),
        ("heap_total", "heapTotal", "MiB"),
        ("heap_used", "heapUsed", "MiB"),
        ("new_size", "newSize", "MiB"),
        ("old_size", "oldSize", "MiB"),
        ("old_used", "oldUsed", "MiB"),
        ("rss_anon", "rssAnon", "MiB"),
        ("rss_file", "rssFile", "MiB"),
        ("rss_peak", "rssPeak", "MiB"),
        ("usage", "usage", "MiB"),
        ("dropped", "drop", "1"),
        ("buffered", "buf", "1"),
        ("in_flight", "inflight", "1"),
        ("cpu", "cpu_s", "s"),
    )
}
"""Columns as `capsim measure` writes them; a companion names only what is otherwise."""


class Writer(_Part):
    """Rules and constants of the batch writers."""

    rules: Literal["kit", "seed", "fixed"] = "kit"
    batch_rows: Count = 100
    delay_ms: Count = 5000
    buffer_cap_rows: Count | Literal["none"] = "none"
    flush_ms: Positive = 20.0


class Mix(_Part):
    """Shares of the three kinds of request."""

    events: Share = 0.60
    revenue: Share = 0.05
    heartbeats: Share = 0.35

    @model_validator(mode="after")
    def _is_whole(self) -> Mix:
        total = self.events + self.revenue + self.heartbeats
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares add up to {total:g}; make it 1")
        return self


class RowBytes(_Part):
    """Bytes of heap that a kept record takes."""

    events: Positive = 2387
    revenue: Positive = 1090
    heartbeats: Positive = 330


class Stall(_Part):
    """From ``from_s`` on, for ``length_s``, a flush that begins takes ``flush_s``; on the time axis of the series."""

    from_s: NotNegative
    length_s: Positive
    flush_s: Positive


class Program(_Part):
    """What the measured program does to its heap; an absent number is the model's own."""

    base_live_mib: Positive | None = None
    allocated_kib: Positive | None = None
    promoted_kib: NotNegative | None = None
    insert_row_bytes: NotNegative | None = None
    file_mib: NotNegative | None = None
    off_heap_mib: float | None = None
    off_heap_share: NotNegative | None = None


class Run(_Part):
    """One process of a series, from its start to its end."""

    name: str
    kind: Literal["server", "leak"] = "server"
    node: str = "20.20.2"
    flags: tuple[str, ...] = ()
    heap_cap_mib: Positive | Literal["none"] = "none"
    heap_limit_mib: Positive = 4096.0
    semi_space_mib: Positive = 16.0
    container_limit_mib: Positive | Literal["none"] = "none"
    live_set_mib: NotNegative = 0.0
    rate_hz: Positive | Literal["recorded"] = "recorded"
    writer: Writer = Writer()
    mix: Mix = Mix()
    record_bytes: dict[str, int] = {}
    row_bytes: RowBytes = RowBytes()
    stalls: tuple[Stall, ...] = ()
    program: Program = Program()
    cpu_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    ended: Literal["stopped", "abort", "killed"] = "stopped"
    repeats: str = ""

    @property
    def limit_mib(self) -> float:
        """Largest old generation [MiB]: the cap that was set, or the limit that Node chose."""
        return self.heap_limit_mib if self.heap_cap_mib == "none" else float(self.heap_cap_mib)


class Companion(_Part):
    """All that a companion file holds."""

    format: Literal[1]
    recorded: str = ""
    machine: str = ""
    run_column: str | None = None
    columns: dict[str, Column] = {}
    defaults: dict[str, Any] = {}
    runs: tuple[Run, ...] = Field(min_length=1)

    def column(self, role: str) -> Column:
        """Where a quantity stands: as the file says, else as `capsim measure` would write it."""
        return self.columns.get(role, STANDARD[role])

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        defaults, runs = data.get("defaults"), data.get("runs")
        if isinstance(defaults, dict) and isinstance(runs, list):
            data = data | {"runs": [_merged(defaults, run) if isinstance(run, dict) else run for run in runs]}
        return data

    @model_validator(mode="after")
    def _is_known(self) -> Companion:
        for role, column in self.columns.items():
            if role not in ROLES:
                raise ValueError(f"columns.{role} is no known quantity; known are {', '.join(ROLES)}")
            units = UNITS[ROLES[role]]
            if column.unit not in units:
                raise ValueError(
                    f"columns.{role} is in {column.unit!r}, which is no known unit; write one of {', '.join(units)}"
                )
        names = [run.name for run in self.runs]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"run {min(twice)} is described twice; leave one of them out")
        if len(names) > 1 and self.run_column is None:
            raise ValueError("several runs, but run_column does not say which column tells them apart; name it")
        return self


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(below)
    for key, given in above.items():
        under = out.get(key)
        out[key] = _merged(under, given) if isinstance(under, dict) and isinstance(given, dict) else given
    return out


def companion_path(series: Path) -> Path:
    """Where the companion of a series is looked for.

    Examples
    --------
    >>> companion_path(Path("out/night.csv")).name
    'night.run.toml'
    """
    return series.with_name(series.stem + SUFFIX)


def read_companion(series: Path) -> Companion:
    """The companion of a series.

    Raises
    ------
    CapsimError
        If there is none, or it cannot be used: file, key, problem and remedy, a line each.
    """
    path = companion_path(series)
    missing = f"there is none, and {series.name} needs it to say what was measured; write it (docs/measuring.md)"
    data = read_toml(path, str(path), what="companion", remedy="give a readable file", missing=missing)
    try:
        return Companion.model_validate(data)
    except ValidationError as error:
        raise CapsimError(*(_problem(path, data, e) for e in error.errors())) from None


def _problem(path: Path, data: Mapping[str, Any], error: Any) -> str:
    place = list(error["loc"])
    if place[:1] == ["runs"] and len(place) > 1:
        run = data.get("runs", [])[place[1]]
        name = run.get("name", f"number {place[1]}") if isinstance(run, dict) else f"number {place[1]}"
        place = [f"run {name}", *place[2:]]
    where = ".".join(str(part) for part in place)
    if error["type"] == "extra_forbidden":
        return f"{path}: {where}: unknown key; leave it out (docs/measuring.md lists the keys)"
    if error["type"] == "missing":
        return f"{path}: {where}: missing; add it (docs/measuring.md)"
    text = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{path}: {where + ': ' if where else ''}{text}"
    return f"{path}: {where} is {error['input']!r}: {text}; change it"


def dumps(companion: Companion) -> str:
    """The companion as TOML, without what is as by default."""
    import tomlkit

    # What describes the measurement is written even if it is the default: the file speaks for itself.
    said = companion.model_dump(mode="json", exclude_none=True, exclude={"defaults"})
    said = {key: value for key, value in said.items() if value not in ("", {})}
    for run in said["runs"]:
        for key in [k for k, value in run.items() if value in ("", {}, [])]:
            del run[key]
    return tomlkit.dumps(said)

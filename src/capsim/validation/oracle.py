"""Recorded cases of the original writers: their schema, and the comparison field by field.

A case file is a JSON list; every case holds a scenario for one writer, a scripted database, and what the running
original did (`expected`). Anything that can play a case can be compared; `capsim.validation.oracle_model` does it with
the simulation.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from capsim.base.errors import CapsimError

Play = Callable[["Case"], dict[str, Any]]


class _OraclePart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Config(_OraclePart):
    """Constants of the writer."""

    batch_size: int = Field(ge=1)
    batch_delay_ms: int = Field(ge=1)
    buffer_cap: int | None = Field(ge=1)


class OracleRun(_OraclePart):
    """``count`` arrivals from ``at_ms``, evenly at ``rate_per_s`` or all at once."""

    at_ms: int = Field(ge=0)
    count: int = Field(ge=0)
    rate_per_s: float | None = None


class OracleWindow(_OraclePart):
    """Calls that start in ``[from_ms, to_ms)`` take another time, or end in another way."""

    from_ms: int
    to_ms: int
    duration_ms: int | None = None
    outcome: Literal["ok", "fail", "notfound"] | None = None


class Script(_OraclePart):
    """What the database answers, call by call."""

    durations_ms: tuple[int, ...] = Field(min_length=1)
    outcomes: tuple[Literal["ok", "fail", "notfound"], ...] = Field(min_length=1)
    repeat: Literal["last", "cycle"]
    windows: tuple[OracleWindow, ...] = ()
    unmatched_per_call: int = 0

    def answer(self, call: int, start_ms: int) -> tuple[int, str]:
        """Duration [ms] and outcome of call number ``call`` that starts at ``start_ms``."""
        duration = self._entry(self.durations_ms, call)
        outcome = self._entry(self.outcomes, call)
        for window in self.windows:
            if window.from_ms <= start_ms < window.to_ms:
                return (
                    duration if window.duration_ms is None else window.duration_ms,
                    outcome if window.outcome is None else window.outcome,
                )
        return duration, outcome

    def _entry(self, entries: tuple[Any, ...], call: int) -> Any:
        if self.repeat == "cycle":
            return entries[call % len(entries)]
        return entries[min(call, len(entries) - 1)]


class Reconcile(_OraclePart):
    """Follow-up calls after an insert of events."""

    closed_sessions: int
    too_late: bool = False


class Case(_OraclePart):
    """One recorded case; all times in milliseconds from its start."""

    id: str
    category: str = ""
    writer: Literal["event", "revenue", "heartbeat"]
    semantics: Literal["seed", "fixed"]
    config: Config
    arrivals_ms: tuple[int, ...] | None = None
    runs: tuple[OracleRun, ...] | None = None
    sessions: int | None = Field(default=None, ge=1)
    reconcile: Reconcile | None = None
    shutdown_at_ms: int | None = None
    db: Script
    sample_step_ms: int = Field(ge=1)
    expected: dict[str, Any]

    @model_validator(mode="after")
    def _has_arrivals(self) -> Case:
        if (self.arrivals_ms is None) == (self.runs is None):
            raise ValueError("give either arrivals_ms or runs")
        return self

    @property
    def times_ms(self) -> list[int]:
        """All arrivals in order."""
        if self.arrivals_ms is not None:
            return list(self.arrivals_ms)
        times: list[int] = []
        for run in self.runs or ():
            if run.rate_per_s is None:
                times += [run.at_ms] * run.count
            else:
                times += [run.at_ms + int(1000 * i / run.rate_per_s) for i in range(run.count)]
        return sorted(times)

    @property
    def end_ms(self) -> int:
        """End of the recording, inclusive: two minutes after the last thing that happened from outside."""
        return max([*self.times_ms, self.shutdown_at_ms or 0]) + 120_000


def read_cases(path: Path) -> list[Case]:
    """The cases of a file.

    Raises
    ------
    CapsimError
        If the file is not a list of cases of this schema; names the file, the case and the field.
    """
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise CapsimError(f"{path}: {error.strerror or error}; give the path of a file of recorded cases") from None
    except (ValueError, RecursionError) as error:
        raise CapsimError(f"{path}: not JSON ({error}); give a file of recorded cases") from None
    if not isinstance(data, list) or not data:
        raise CapsimError(f"{path}: holds no list of cases; give a file of recorded cases")
    cases = []
    for place, entry in enumerate(data):
        try:
            cases.append(Case.model_validate(entry))
        except ValidationError as error:
            first = error.errors()[0]
            name = entry.get("id", f"number {place}") if isinstance(entry, dict) else f"number {place}"
            where = ".".join(str(part) for part in first["loc"])
            raise CapsimError(f"{path}: case {name}: {where}: {first['msg']}; mend or remove the case") from None
    return cases


def differences(expected: Any, got: Any, place: str = "") -> list[str]:
    """Every field in which two answers differ, as ``field: expected ..., got ...``.

    Examples
    --------
    >>> differences({"a": [1, 2]}, {"a": [1, 3]})
    ['a[1]: expected 2, got 3']
    """
    if isinstance(expected, dict) and isinstance(got, dict):
        lines = []
        for key in [*expected, *(k for k in got if k not in expected)]:
            name = f"{place}.{key}" if place else str(key)
            if key not in got:
                lines.append(f"{name}: expected {_short(expected[key])}, got nothing")
            elif key not in expected:
                lines.append(f"{name}: expected nothing, got {_short(got[key])}")
            else:
                lines += differences(expected[key], got[key], name)
        return lines
    if isinstance(expected, list) and isinstance(got, list):
        lines = []
        for number, (left, right) in enumerate(zip(expected, got, strict=False)):
            lines += differences(left, right, f"{place}[{number}]")
        if len(expected) != len(got):
            lines.append(f"{place}: expected {len(expected)} entries, got {len(got)}")
        return lines
    same = expected == got and isinstance(expected, bool) == isinstance(got, bool)
    return [] if same else [f"{place}: expected {_short(expected)}, got {_short(got)}"]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."

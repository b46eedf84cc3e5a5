"""Every number that turns a count into bytes or CPU, with its unit, error, standing and source.

They stand in ``data/constants/memory.csv`` (its README says how they were made and what the columns mean), and are
read from there by code and docs. A run's constants are a value, `Values`, that its scenario carries: two runs of one
process never see each other's. MiB = 2^20 bytes, KiB = 2^10 bytes.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, cast

from capsim.base.errors import CapsimError
from capsim.base.paths import data_dir
from capsim.scenario.scenario import Scenario

if TYPE_CHECKING:
    import pandas as pd

Standing = Literal["measured", "fitted", "assumed"]


@dataclass(frozen=True)
class Constant:
    """One number of the memory model.

    Parameters
    ----------
    name : str
        What it is; the unit stands in `unit`.
    value : float
        In `unit`.
    unit : str
    error : str
        How far off it may be: a residual, a range of repeats, or "unknown".
    status : {"measured", "fitted", "assumed"}
    source : str
        Law, run or document that it comes from.
    bracket : (float, float) or None
        Lowest and highest value, where ``error`` says them in numbers and in `unit`; both equal where it is exact.
    """

    name: str
    value: float
    unit: str
    error: str
    status: Standing
    source: str
    bracket: tuple[float, float] | None


def _number(text: str) -> float:
    return int(text) if text.isdigit() else float(text)


def _read() -> tuple[Constant, ...]:
    with (data_dir() / "constants" / "memory.csv").open(encoding="utf-8", newline="") as file:
        return tuple(
            Constant(
                row["name"],
                _number(row["value"]),
                row["unit"],
                row["error"],
                cast(Standing, row["status"]),
                row["source"],
                (_number(row["low"]), _number(row["high"])) if row["low"] else None,
            )
            for row in csv.DictReader(file)
        )


CONSTANTS = _read()
_PUBLISHED = {constant.name: constant.value for constant in CONSTANTS}


@dataclass(frozen=True)
class Values:
    """The constants of one run: the published ones, but for those that it changes.

    Examples
    --------
    >>> PUBLISHED("event_row"), Values((("event_row", 2400.0),))("event_row")
    (2387, 2400.0)
    """

    changed: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "_numbers", _PUBLISHED | dict(self.changed))

    def __call__(self, name: str) -> float:
        """The number of that name, in its own unit."""
        numbers: dict[str, float] = self._numbers  # type: ignore[attr-defined]  # set above: it is no field
        return numbers[name]


PUBLISHED = Values()


def valued(scenario: Scenario) -> Values:
    """The constants under which a scenario's memory is worked out: those that it sets, and the published ones.

    Raises
    ------
    CapsimError
        If it sets one that there is not.
    """
    return _values(scenario.constants.given() if scenario.constants else {})


def varied(scenario: Scenario) -> Values:
    """The constants of what stands outside of a scenario's memory: of those that it sets, ``constants.others`` only.

    What a calibration fits to a recording is its memory; pauses and the CPU of log lines stay as published.
    """
    return _values((scenario.constants.others if scenario.constants else None) or {})


def _values(changed: Mapping[str, float]) -> Values:
    for name in changed:
        constant_of(name)
    return Values(tuple(changed.items())) if changed else PUBLISHED


def with_constants(scenario: Scenario, values: Mapping[str, float]) -> Scenario:
    """The scenario with these constants of the memory model, by their own names.

    Raises
    ------
    CapsimError
        If there is no constant of that name.

    Examples
    --------
    >>> import capsim as cs
    >>> valued(with_constants(cs.load("after"), {"event_row": 2400.0}))("event_row")
    2400.0
    """
    for name in values:
        constant_of(name)
    if not values:
        return scenario
    own = scenario.constants.model_dump(exclude_none=True) if scenario.constants else {}
    return scenario.replace("constants", {**own, "others": {**own.get("others", {}), **values}})


def constant_of(name: str) -> Constant:
    """The constant of that name.

    Raises
    ------
    CapsimError
        If there is none, with the nearest.
    """
    for constant in CONSTANTS:
        if constant.name == name:
            return constant
    near = difflib.get_close_matches(name, _PUBLISHED, n=1)
    hint = f"did you mean {near[0]}?" if near else "cs.constants() lists them"
    raise CapsimError(f"constants.{name}: there is no such constant; {hint}")


def constants() -> pd.DataFrame:
    """All constants of the memory model as a table: name, value, unit, error, status, source.

    Examples
    --------
    >>> table = constants()
    >>> table.loc[table.name == "growing_step", ["value", "unit", "status"]].values.tolist()
    [[8.0, 'MiB', 'measured']]
    """
    import pandas as pd

    return pd.DataFrame([asdict(c) for c in CONSTANTS]).drop(columns="bracket")

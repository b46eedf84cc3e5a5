"""What can be turned: eight knobs and the writers' rules, each with its steps, and the scenario that they make.

The settings are also the address of the page, ``?load=20&stall=60``, so that a link holds what its sender saw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal
from urllib.parse import urlencode

from capsim.base.errors import CapsimError
from capsim.scenario.file import load
from capsim.scenario.scenario import Scenario
from capsim.scenario.validation import validated
from capsim.scenario.workload import STREAMS

BASE = "after"  # the bundled scenario whose other keys are kept
DAY_S = 86_400.0
STALL_AT_S = 43_200.0  # noon
NONE = "none"

Value = float | int | str


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One knob.

    Parameters
    ----------
    name : str
        In the address and in `Settings`.
    label, unit : str
        For people.
    steps : tuple
        The values that it takes, in order; the word "none" for a limit that is not set.
    key : str
        What it sets in the scenario, dotted; for the three writers, their common key.
    kind : {"range", "choice"}
        A slider, or a list.
    """

    name: str
    label: str
    unit: str
    steps: tuple[Value, ...]
    key: str
    kind: Literal["range", "choice"] = "range"


SETTINGS = (
    Setting(name="load", label="load", unit="requests/s", steps=(1, 2, 5, 10, 20, 30, 50, 75, 100),
            key="workload.rate_hz"),
    Setting(name="stall", label="stall of the database at noon", unit="s", steps=(0, 10, 30, 60, 120, 300, 600, 1_800),
            key="database.faults"),
    Setting(name="buffer", label="buffer cap of each writer", unit="items",
            steps=(100, 200, 500, 1_000, 2_000, 5_000, 10_000, NONE), key="server.writers.*.buffer_cap_rows"),
    Setting(name="batch", label="batch", unit="items", steps=(10, 20, 50, 100, 200, 500),
            key="server.writers.*.batch_rows"),
    Setting(name="delay", label="longest delay of a batch", unit="s", steps=(0.5, 1, 2, 5, 10, 20, 30, 60),
            key="server.writers.*.delay_ms"),
    Setting(name="pool", label="connections of the pool", unit="connections", steps=(1, 2, 3, 5, 10, 20, 50, 97),
            key="server.pool.limit"),
    Setting(name="heap", label="heap cap", unit="MiB", steps=(128, 256, 512, 1_024, 2_048, NONE),
            key="server.node.heap_cap_mib"),
    Setting(name="rules", label="rules of the writers", unit="", steps=("seed", "fixed", "recommended"),
            key="server.writers.*.semantics", kind="choice"),
    Setting(name="plan", label="plan", unit="", steps=("hobby", "pro"), key="billing.plan", kind="choice"),
)  # fmt: skip
BY_NAME = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the knobs stand; by default the plan as it was meant, under 20 requests a second.

    Examples
    --------
    >>> Settings(stall=60).query()
    'stall=60'
    >>> Settings.of({"stall": "60"}) == Settings(stall=60)
    True
    """

    load: Value = 20  # requests a second [1/s]
    stall: Value = 0  # length of the database's stall at noon [s]
    buffer: Value = 1_000  # cap of each writer [items]
    batch: Value = 100  # items
    delay: Value = 5  # s
    pool: Value = 10  # connections
    heap: Value = 512  # MiB
    rules: Value = "seed"
    plan: Value = "hobby"

    def __post_init__(self) -> None:
        for field in fields(self):
            value, steps = getattr(self, field.name), BY_NAME[field.name].steps
            if value not in steps:
                raise CapsimError(f"{field.name} = {value}: is no step of it; give one of {_listed(steps)}")

    @classmethod
    def of(cls, words: Mapping[str, str]) -> Settings:
        """Read the settings of an address; what it does not name stays as it is by default.

        Raises
        ------
        CapsimError
            With a line for every word that is no setting, and every value that is none of its steps.
        """
        found: dict[str, Value] = {}
        problems = []
        for name, word in words.items():
            if name not in BY_NAME:
                problems.append(f"{name}: there is no such setting; settings: {', '.join(BY_NAME)}")
                continue
            steps = {_word(step): step for step in BY_NAME[name].steps}
            if word not in steps:
                problems.append(f"{name} = {word[:40]}: is no step of it; give one of {_listed(steps)}")
                continue
            found[name] = steps[word]
        if problems:
            raise CapsimError(*problems)
        return cls(**found)

    def query(self) -> str:
        """The settings that are not the default, as the address has them."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return urlencode({name: _word(value) for name, value in own.items()})

    def changed(self, name: str, value: Value) -> Settings:
        """A copy with one knob turned."""
        return replace(self, **{name: value})

    def scenario(self) -> Scenario:
        """The scenario that is played: `BASE` under a steady Poisson load for a day, without its deploys and reads.

        The cleanup and the metrics calls are left out too: without sessions the one has nothing to do, and the other
        is one request a minute.
        """
        data: dict[str, Any] = load(BASE).model_dump(mode="python", by_alias=True, exclude_none=True)
        data["name"], data["title"] = "explored", "Made with capsim app"
        data["workload"] = {"rate_hz": self.load, "duration_s": DAY_S, "mix": data["workload"]["mix"]}
        stall = {"kind": "stall", "from_s": STALL_AT_S, "to_s": STALL_AT_S + float(self.stall)}
        data["database"]["faults"] = [stall] if self.stall else []
        server = data["server"]
        server["lifecycle"], server["cleanup"], server["metrics"] = [], None, None
        for stream in STREAMS:
            server["writers"][stream] |= {
                "buffer_cap_rows": self.buffer, "batch_rows": self.batch, "delay_ms": round(float(self.delay) * 1e3),
                "semantics": self.rules,
            }  # fmt: skip
        server["pool"]["limit"] = self.pool
        server["node"]["heap_cap_mib"] = self.heap
        data["billing"]["plan"] = self.plan
        return validated(Scenario, data, "settings")


def _word(value: Value) -> str:
    return f"{value:g}" if isinstance(value, int | float) and value < 1e5 else str(value)


def _listed(steps: Any) -> str:
    return ", ".join(step if isinstance(step, str) else _word(step) for step in steps)

"""The findings as a document: plain data that can be kept, compared and read by other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from capsim.base.display import HasCard, HasPlots
from capsim.base.document import DocumentModel, Number, Row
from capsim.study.target import Target

if TYPE_CHECKING:
    import pandas as pd


SCHEMA_VERSION: Literal[1] = 1


class Remedy(Row):
    """A change of the configuration, played against the schedule."""

    remedy: str
    holds_to: float = Field(
        description="largest multiple of the trigger at which the failure stayed away; 0: it did not"
    )
    lost_before: Number = Field(description="items lost at twice the trigger without it")
    lost_after: Number = Field(description="items lost at twice the trigger with it")
    price_usd: Number = Field(description="a month of the memory that it adds in the schedule; below 0 if it saves")


class Chance(Row):
    """How often a failure was met, and what may be said from that."""

    seen: int = Field(ge=0)
    runs: int = Field(ge=1)
    probability: Number
    lower: Number = Field(description="lower end of the 95 % interval (Wilson); 0 where none was seen")
    upper: Number = Field(description="upper end of the 95 % interval (Wilson); 3/runs where none was seen")
    what: str = Field(description="what a run was")


class Tail(Row):
    """How likely the failure is in a month, if the latency of the database has this tail."""

    tail: str = Field(description="distribution, with the scenario's median and 95th percentile")
    expected: float = Field(ge=0, description="calls a month that are long enough to be played")
    seen: int = Field(ge=0, description="of those that were drawn and played: how many did it")
    runs: int = Field(ge=0, description="so many were drawn and played; none where calls so long do not come")
    probability: float = Field(ge=0, le=1, description="that it happens at least once in a month")
    lower: float = Field(ge=0, le=1, description="lower end of its 95 % interval")
    upper: float = Field(
        ge=0, le=1, description="upper end of its 95 % interval; by 3/runs if none was seen, `expected` if none played"
    )


class Trace(Row):
    """The schedule as it was played: what piles up and the items lost so far, for steps of time."""

    step_s: float = Field(gt=0)
    level_of: str = Field(description="what piles up, with its unit")
    level: tuple[Number, ...]
    lost_items: tuple[Number, ...]
    disturbed_from_s: Number
    disturbed_to_s: Number


class Finding(HasCard, HasPlots, Row):
    """One way to fail, with the smallest trigger that was found."""

    kind: str
    part: str
    disturbance: str
    happens: str
    trigger: Number
    trigger_of: str = Field(description="what the trigger is a size of")
    unit: str
    precision: Number = Field(description="relative width of the bracket that holds the trigger")
    rate_hz: Number = Field(description="evenly spaced arrivals at that writer in the schedule [1/s], if usual")
    least_rate_hz: Number = Field(
        default=None, description="smallest rate at which the usual size of the disturbance is enough"
    )
    chances: tuple[Chance, ...]
    tails: tuple[Tail, ...] = Field(default=(), description="chance in a month, by the tail of the latency")
    lost: Number = Field(description="items lost in the schedule")
    heals_after_s: Number = Field(description="from the start of the failure to its end; null: not by itself")
    shows: str
    alert: str
    remedies: tuple[Remedy, ...]
    schedule: str = Field(description="the scenario, as TOML that `capsim run` plays; empty if the load itself does it")
    series: Trace | None

    def to_frame(self) -> pd.DataFrame:
        """The remedies that were tried, a row each, the best first."""
        import pandas as pd

        return pd.DataFrame([row.model_dump() for row in self.remedies], columns=list(Remedy.model_fields))

    def __repr__(self) -> str:
        return f"<Finding {self.kind} in {self.part}, by {self.disturbance}>"


class Option(Row):
    """One change or several that are proposed against a symptom, played in the scenario's stress envelope."""

    options: tuple[str, ...]
    value: Number = Field(description="figure of the symptom with them, in its unit")
    lost: Number = Field(description="items lost or stuck in all cases of the envelope")
    price_usd: Number = Field(description="a month of the memory that they add in it; below 0 if they save")


class Symptom(Row):
    """Something that an operator sees, and what the plan proposes against it, ranked by effect and then price."""

    symptom: str
    figure: str
    unit: str
    limit: Number = Field(description="value above which the symptom shows")
    value: Number = Field(description="figure of the scenario as it is")
    lost: Number = Field(description="items lost or stuck in the scenario as it is")
    options: tuple[Option, ...]
    already: tuple[str, ...] = Field(description="proposals that change nothing here")


class Findings(HasCard, DocumentModel):
    """What could break in a scenario."""

    schema_title: ClassVar[str] = "capsim findings document"
    schema_version: Literal[1] = SCHEMA_VERSION
    kind: Literal["findings"] = "findings"
    capsim_version: str
    name: str
    title: str
    peak_hz: float = Field(description="requests in the busiest minute of the load [1/s]")
    seed: int
    findings: tuple[Finding, ...]
    targets: tuple[Target, ...]
    troubleshooting: tuple[Symptom, ...]
    provenance: dict[str, Any]

    def to_frame(self) -> pd.DataFrame:
        """The findings, a row each; ``trigger`` is in ``unit``, ``rate_hz`` in 1/s, ``lost`` in items."""
        import pandas as pd

        columns = ["kind", "part", "disturbance", "trigger", "unit", "rate_hz", "lost", "heals_after_s", "alert"]
        return pd.DataFrame([{name: getattr(f, name) for name in columns} for f in self.findings], columns=columns)

    def __repr__(self) -> str:
        return f"<Findings of {self.name}: {len(self.findings)}>"


schema_text = Findings.schema_text

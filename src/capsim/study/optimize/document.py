"""The answer of a search as a document."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from capsim.base.document import DocumentModel, Number, Row
from capsim.study.findings.document import Chance
from capsim.study.target import Target


class Point(Row):
    """One configuration."""

    changes: dict[str, str] = Field(description="knobs that differ from the scenario's own, and their values")
    cost_usd: Number = Field(description="of a simulated month; null in `front` and `cloud`, which have none")
    cost_index: Number = Field(
        description="cost under the load, where the scenario as it is has 100: for ranking; null in `own` and `best`"
    )
    lost_share: Number = Field(description="largest share of items lost or stuck, under the load and in the envelope")
    latency_s: Number = Field(description="mean time from an item's arrival until it is written")
    missed: tuple[str, ...] = Field(description="targets that it misses")


class InTheWay(Row):
    """A target that kept configurations from meeting all."""

    target: str
    limit: str
    best: Number = Field(description="the best value that any configuration had")
    unit: str
    met_by: int = Field(ge=0, description="configurations that met it")


class Optimum(DocumentModel):
    """The cheapest configuration that meets the targets."""

    schema_title: ClassVar[str] = "capsim optimum document"
    schema_version: Literal[1] = 1
    kind: Literal["optimum"] = "optimum"
    capsim_version: str
    name: str
    title: str
    slo: str
    seed: int
    tried: int = Field(ge=1, description="configurations that were simulated")
    possible: int = Field(ge=1, description="configurations in the space")
    own: Point = Field(description="the scenario as it is, over a month")
    best: Point | None = Field(description="over a month; null if none that was tried meets the targets")
    targets: tuple[Target, ...] = Field(description="held against `best`, or else against `own`; first replicate")
    chance: Chance | None = Field(description="replicates of the month in which `best` met every target")
    in_the_way: tuple[InTheWay, ...] = Field(description="the targets that fewest configurations met, if none is best")
    front: tuple[Point, ...] = Field(description="no other is as good in cost, loss and latency and better in one")
    cloud: tuple[Point, ...] = Field(description="all that were simulated under the load")
    scenario: str = Field(description="`best` as TOML; empty without one")
    provenance: dict[str, Any]


schema_text = Optimum.schema_text

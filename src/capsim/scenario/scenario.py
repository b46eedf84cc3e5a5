"""A scenario: a server, its load, its bill and its stress, complete in itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from capsim.base.display import HasCard
from capsim.scenario.base import Positive, Seconds, Spec
from capsim.scenario.billing import BillingSpec
from capsim.scenario.constants import CalibrationSpec, ConstantsSpec
from capsim.scenario.database import DatabaseSpec
from capsim.scenario.plan import PlanSpec
from capsim.scenario.redis import RedisSpec
from capsim.scenario.server import ServerSpec
from capsim.scenario.workload import WorkloadSpec


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

"""The audit as a document: plain data that can be kept, compared and read by other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationError

from capsim.base.document import DocumentModel, Number, Row
from capsim.base.errors import CapsimError
from capsim.study.audit.claims import Measure
from capsim.study.audit.verdict import Verdict

SCHEMA_VERSION: Literal[1] = 1


class Estimate(Row):
    """A predicted number and how far it may be trusted."""

    value: Number
    half_width: Number = Field(
        default=None, description="of the 95 % interval over replicates (paired for effects); null for peaks"
    )
    low: Number = Field(description="lower end, over chance and over how much page cache is billed")
    high: Number = Field(description="upper end of the same")


class Beside(Row):
    """A figure that belongs to a claim, without and with its change."""

    figure: str
    meaning: str
    unit: str
    without: Number
    with_change: Number


class Need(Row):
    """What would have to be true for a claim to hold."""

    what: str
    unit: str
    size: Number = Field(description="first size at which it holds; null: at none of the range")
    fails_at: Number = Field(description="last size at which it does not; null: it holds at once")
    searched_from: float
    searched_to: float
    figure: str = Field(description="what was looked at")
    figure_unit: str
    measure: Measure
    least: Number
    most: Number
    without: Number = Field(description="the figure there, without the change; null: not needed")
    with_change: Number
    deaths_without: Number = Field(description="processes that their memory ended there")
    deaths_with: Number
    lost_without: Number = Field(description="items lost there")
    lost_with: Number
    tries: int


class Claim(Row):
    """One claim beside its prediction."""

    claim: str
    place: str = Field(description="where it is worded in the plan")
    says: str
    change: str
    measure: Measure
    figure: str
    meaning: str
    unit: str
    least: Number
    most: Number
    without: Estimate | None = Field(description="the figure without the change")
    with_change: Estimate | None
    predicted: Estimate | None = Field(description="what is held against the claimed range")
    stressed: tuple[Beside, ...] = Field(description="the same figure in the stress envelope")
    verdict: Verdict
    rule: str = Field(description="what decided")
    note: str
    beside: tuple[Beside, ...]
    needs: tuple[Need, ...]


class Change(Row):
    """One figure of one comparison of a family."""

    family: str = Field(description="one at a time, one left out, cumulative, further")
    step: int = Field(ge=1, description="place in the plan's order")
    change: str
    figure: str
    meaning: str
    unit: str
    without: Number
    with_change: Number
    saving: Number = Field(description="without less with")
    half_width: Number = Field(description="of the saving's 95 % interval over paired replicates")


class Audit(DocumentModel):
    """The claims of the plan, each beside a prediction."""

    schema_title: ClassVar[str] = "capsim audit document"
    schema_version: Literal[1] = SCHEMA_VERSION
    kind: Literal["audit"] = "audit"
    capsim_version: str
    source: str = Field(description="what is audited")
    load: str
    mean_hz: float = Field(description="requests [1/s]")
    peak_hz: float = Field(description="requests in the busiest minute [1/s]")
    seed: int
    replicates: int = Field(ge=1)
    claims: tuple[Claim, ...]
    changes: tuple[Change, ...]
    provenance: dict[str, Any]


def load_audit(path: str | Path) -> Audit:
    """Read a saved audit.

    Raises
    ------
    CapsimError
        If the file cannot be read or is no audit.
    """
    try:
        return Audit.model_validate_json(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise CapsimError(f"{path}: cannot be read ({reason}); give an audit.json that capsim wrote") from error
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"])) or "the file"
        raise CapsimError(f"{path}: {place}: {problem['msg']}; give an audit.json that capsim wrote") from error


schema_text = Audit.schema_text

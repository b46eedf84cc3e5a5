"""The claims of the plan as data: `data/claims.toml`, checked at the door."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from capsim.base import paths
from capsim.base.errors import CapsimError
from capsim.base.toml_text import read_toml
from capsim.scenario.base import Positive, Spec
from capsim.scenario.plan import FUTURE
from capsim.study.audit.figures import FIGURES
from capsim.study.audit.variants import AS_DEPLOYED, PLAN, STEPS

FILE = "claims.toml"
# What is held against the claimed range, of a figure without and with a change.
Measure = Literal["saving", "harm", "share", "rank", "before", "after", "target", "exceeds"]
CHANGES = (*STEPS, *FUTURE, PLAN, AS_DEPLOYED)


class NeedSpec(Spec):
    """Something that can be made larger or smaller until the claim holds."""

    what: str = Field(description="in words, without its size")
    vary: str = Field(description="a knob of the scenario, or one of capsim.study.audit.break_even.SPECIAL")
    unit: str
    from_: Positive = Field(alias="from", description="where the search begins")
    to: Positive = Field(description="where it ends; may be the smaller one")
    whole: bool = Field(default=False, description="whether only whole numbers make sense")
    load: Literal["mean", "peak", "envelope"] = Field(
        description="steady Poisson load: the mean of the given one, its busiest minute, or that of the stress envelope"
    )
    duration_s: Positive = Field(default=1_800.0, description="length of that load")
    given: dict[str, Any] = Field(default={}, description="knobs that are so on both sides")
    figure: str | None = Field(default=None, description="another figure than the claim's")
    measure: Measure | None = Field(default=None, description="another measure than the claim's")
    least: float | None = None
    most: float | None = None


class ClaimSpec(Spec):
    """One claim: a range for one figure, or why nothing can be said of it."""

    id: Annotated[str, Field(min_length=1)]
    place: str = Field(description="where it is worded: section and line of the plan")
    says: str = Field(description="what is claimed, in other words")
    change: str | None = Field(default=None, description=f"one of {', '.join(CHANGES)}")
    knobs: dict[str, Any] = Field(default={}, description="in place of a change: knobs on top of scenario after")
    measure: Measure = "target"
    figure: str = ""
    stressed: tuple[str, ...] = Field(default=(), description="the same in the envelope of the scenario's [stress]")
    least: float | None = None
    most: float | None = None
    unit: str = ""
    beside: tuple[str, ...] = Field(default=(), description="figures that a reader should see with it")
    needs: tuple[NeedSpec, ...] = ()
    note: str = ""
    untestable: str = Field(default="", description="why nothing in the model can say")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.change is None) == (not self.knobs):
            raise ValueError("give either change or knobs")
        if self.change is not None and self.change not in CHANGES:
            raise ValueError(f"change is {self.change!r}; give one of {', '.join(CHANGES)}")
        if not self.untestable and self.least is None and self.most is None:
            raise ValueError("it has no range; give least or most, or untestable")
        used = [*self.stressed, *self.beside, *(n.figure for n in self.needs if n.figure)]
        used += [] if self.untestable else [self.figure]
        if strange := [name for name in used if name not in FIGURES]:
            raise ValueError(f"there is no figure {strange[0]!r}; figures: {', '.join(FIGURES)}")
        if not self.untestable and self.measure not in ("share",) and FIGURES[self.figure].unit != self.unit:
            raise ValueError(f"unit is {self.unit!r}, but {self.figure} is in {FIGURES[self.figure].unit}")
        return self


class ClaimsSpec(Spec):
    """All of them."""

    schema_version: Literal[1]
    source: str
    claim: tuple[ClaimSpec, ...]

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        seen: set[str] = set()
        for claim in self.claim:
            if claim.id in seen:
                raise ValueError(f"there are two claims {claim.id!r}; give each its own id")
            seen.add(claim.id)
        return self


def read(path: Path | None = None) -> ClaimsSpec:
    """The claims of a file, or the bundled ones.

    Raises
    ------
    CapsimError
        If the file cannot be read or a claim makes no sense: one line per problem.

    Examples
    --------
    >>> {"logger", "pool", "bill after"} <= {claim.id for claim in read().claim}
    True
    """
    path = paths.data_dir() / FILE if path is None else path
    data = read_toml(path, str(path), what="file of claims", remedy="give a TOML file of claims")
    try:
        return ClaimsSpec.model_validate(data)
    except ValidationError as error:
        raise CapsimError(*(f"{path}: {_where(data, e['loc'])}: {e['msg']}" for e in error.errors())) from error


def _where(data: dict[str, Any], place: tuple[int | str, ...]) -> str:
    """A claim by its id, where the place is in one."""
    if len(place) > 1 and place[0] == "claim":
        claim = data["claim"][place[1]]
        name = claim.get("id", place[1]) if isinstance(claim, dict) else place[1]
        return ".".join([f"claim {name}", *map(str, place[2:])])
    return ".".join(map(str, place)) or "the file"

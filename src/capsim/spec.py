"""What every spec is: frozen, checked once, with no unknown keys; and the kinds of numbers that specs are made of."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from capsim.errors import ScenarioError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10**9)]


class Spec(BaseModel):
    """A frozen part of a scenario; unknown keys and wrong types are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, validate_default=True)

    def replace(self, path: str, value: Any) -> Self:
        """Return a copy with one knob changed and everything validated again.

        Parameters
        ----------
        path : str
            Dotted name of the knob below this spec, as in the scenario file.
        value : object
            Its new value, in the unit that the name carries.

        Raises
        ------
        ScenarioError
            If there is no such knob, or the value is impossible.

        Examples
        --------
        >>> from capsim.specs import PoolSpec
        >>> PoolSpec().replace("limit", 20).limit
        20
        """
        # Imported late: the reader of scenario files words the errors, and imports this module.
        from capsim.scenario import validated

        data = self.model_dump(mode="python", by_alias=True)
        place: Any = data
        *parents, leaf = path.split(".")
        for name in parents:
            if not isinstance(place, dict) or not isinstance(place.get(name), dict):
                parts = ", ".join(sorted(place))
                raise ScenarioError(f"{path}: there is no part {name!r} here; parts: {parts}")
            place = place[name]
        place[leaf] = value
        return validated(type(self), data, source="replace()")

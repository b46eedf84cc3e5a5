"""What every spec is: frozen, checked once, with no unknown keys; and the kinds of numbers that specs are made of."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from capsim.base.errors import ScenarioError
from capsim.base.units import LONGEST_S
from capsim.scenario.parameters import flat, table
from capsim.scenario.validation import validated

if TYPE_CHECKING:
    import pandas as pd

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10**9)]
# Nothing that is simulated lasts longer than a leap year, and the clock has microseconds: what is repeated is repeated
# after a millisecond at the least.
Seconds = Annotated[float, Field(ge=0, le=LONGEST_S, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(ge=0.001, le=LONGEST_S, allow_inf_nan=False)]
Milliseconds = Annotated[float, Field(ge=0, le=3_600_000, allow_inf_nan=False)]
PositiveMilliseconds = Annotated[float, Field(ge=0.001, le=3_600_000, allow_inf_nan=False)]
Sigma = Annotated[float, Field(ge=0, le=5, allow_inf_nan=False)]  # of a logarithm; one of 40 is above 20,000 medians


class Spec(BaseModel):
    """A frozen part of a scenario; unknown keys and wrong types are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, validate_default=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Give ``help()`` the fields with their meaning: a programmer reads there what a user reads in the schema."""
        own = [name for name in cls.model_fields if cls.model_fields[name].description]
        if own and "Attributes\n" not in (cls.__doc__ or ""):
            cls.__doc__ = f"{(cls.__doc__ or '').rstrip()}\n\n    Attributes\n    ----------\n" + "".join(
                f"    {name}\n        {cls.model_fields[name].description}\n" for name in own
            )

    def __dir__(self) -> Iterable[str]:
        """The keys first of all: completion offers what a scenario has, and not pydantic's machinery."""
        hidden = ("model_", "construct", "copy", "dict", "from_orm", "json", "parse_", "schema", "update_", "validate")
        kept = [name for name in super().__dir__() if not name.startswith(hidden) or name in type(self).model_fields]
        return sorted({*kept, *type(self).model_fields})

    def __getitem__(self, path: str) -> Any:
        """A knob by its dotted name: ``scenario["server.pool.limit"]``; the names can be completed.

        Raises
        ------
        KeyError
            If there is no such knob, with the nearest one.
        """
        values = flat(self)
        if path in values:
            return values[path]
        place: Any = self
        for name in path.split("."):
            if not isinstance(place, Spec) or name not in type(place).model_fields:
                near = difflib.get_close_matches(path, list(values), n=1)
                raise KeyError(f"{path}: there is no such key" + (f"; did you mean {near[0]}?" if near else ""))
            place = getattr(place, name)
        return place

    def _ipython_key_completions_(self) -> list[str]:
        return list(flat(self))

    def to_frame(self) -> pd.DataFrame:
        """Every knob in a row of its own.

        Returns
        -------
        DataFrame
            Indexed by ``key``, the dotted name: ``value``, ``unit`` and ``meaning``.

        Examples
        --------
        >>> from capsim.scenario.server import PoolSpec
        >>> PoolSpec().to_frame().loc["pool_timeout_s", "unit"]
        'seconds'
        """
        return table(self)

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
        >>> from capsim.scenario.server import PoolSpec
        >>> PoolSpec().replace("limit", 20).limit
        20
        """
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

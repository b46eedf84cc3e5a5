"""A sweep as a document: plain data that can be kept, compared and read by other programs."""

from __future__ import annotations

import math
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from capsim.base.document import DocumentModel, rounded

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION: Literal[1] = 1

Cell = float | int | str | bool | None


class Sweep(DocumentModel):
    """The table of a sweep, and all that makes its runs what they are."""

    schema_title: ClassVar[str] = "capsim sweep document"
    schema_version: Literal[1] = SCHEMA_VERSION
    kind: Literal["sweep"] = "sweep"
    capsim_version: str
    about: dict[str, Any] = Field(description="scenario, design, trace, seed, window and versions, as in design.json")
    columns: tuple[str, ...] = Field(description="point, replicate, the keys that vary, and the figures with units")
    rows: tuple[tuple[Cell, ...], ...] = Field(description="a row a point and replicate, in the order of the design")


def document_of(table: pd.DataFrame) -> Sweep:
    """The document of a table that `capsim.study.sweeps.run.sweep` returned.

    Parameters
    ----------
    table : DataFrame
        With its ``attrs``, which say what was run.
    """
    rows = tuple(tuple(_cell(cell) for cell in row) for row in table.astype(object).itertuples(index=False))
    columns = tuple(str(name) for name in table.columns)
    return Sweep(capsim_version=version("capsim"), about=table.attrs["about"], columns=columns, rows=rows)


def _cell(value: Any) -> Cell:
    if isinstance(value, float):
        return None if math.isnan(value) else rounded(value)
    return value if isinstance(value, int | str | bool) or value is None else str(value)


schema_text = Sweep.schema_text

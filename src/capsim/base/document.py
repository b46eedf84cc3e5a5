"""Documents: plain data that is kept, compared and read by other programs, and its JSON Schema.

The same document gives the same bytes: rows keep their order, numbers are rounded to 9 significant digits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

DIGITS = 9  # significant, of every published number
LINE_CHARACTERS = 110  # of the JSON text: a row of a table stays on one line
Number = Annotated[float | None, Field(description="null where there is no value")]


class Row(BaseModel):
    """A frozen row of the document; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DocumentModel(Row):
    """A whole document."""

    schema_title: ClassVar[str] = ""
    schema_mode: ClassVar[Literal["validation", "serialization"]] = "serialization"

    @classmethod
    def schema_text(cls) -> str:
        """JSON Schema of the document, as the text of a file in data/schema."""
        schema = cls.model_json_schema(mode=cls.schema_mode)
        if cls.schema_title:
            head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
            schema = {**head, **schema, "title": cls.schema_title}
        return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def rounded(value: float) -> float:
    """A published number: 9 significant digits, and no negative zero.

    Examples
    --------
    >>> rounded(0.1 + 0.2)
    0.3
    """
    return float(f"{value:.{DIGITS}g}") + 0.0


def published(value: Any) -> Any:
    """Plain data with numbers rounded to `DIGITS`; what is not a number becomes None."""
    if isinstance(value, Mapping):
        return {str(k): published(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [published(v) for v in value]
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return published(value.tolist())
    if isinstance(value, float):
        return rounded(value) if math.isfinite(value) else None
    return value


def dumps(document: Row) -> str:
    """A document as JSON text, a row of a table per line: a changed figure is one changed line."""
    return layout(document.model_dump(mode="json"))


def layout(data: Any) -> str:
    """Plain data as JSON text, a row of a table per line."""
    return _layout(_whole(data), 0) + "\n"


def _whole(value: Any) -> Any:
    """Floats that are whole numbers as integers, which is how people write them."""
    if isinstance(value, dict):
        return {k: _whole(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_whole(v) for v in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 10**DIGITS:
        return int(value)
    return value


def _layout(value: Any, indent: int) -> str:
    flat = json.dumps(value, ensure_ascii=False, allow_nan=False)
    row = isinstance(value, dict) and not any(isinstance(v, (dict, list)) for v in value.values())
    numbers = isinstance(value, list) and not any(isinstance(v, (dict, list, str)) for v in value)
    if not isinstance(value, (dict, list)) or row or numbers or len(flat) + indent <= LINE_CHARACTERS:
        return flat
    pad, end = " " * (indent + 1), " " * indent
    if isinstance(value, dict):
        parts: Iterable[str] = (
            f"{json.dumps(k, ensure_ascii=False)}: {_layout(v, indent + 1)}" for k, v in value.items()
        )
        return "{\n" + ",\n".join(pad + p for p in parts) + f"\n{end}}}"
    return "[\n" + ",\n".join(pad + _layout(v, indent + 1) for v in value) + f"\n{end}]"

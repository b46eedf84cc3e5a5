"""What other providers charge for a reserved size: read from ``data/prices/providers.toml``, marked as what it is.

They charge the size that is reserved, which must cover the peak; Railway charges what is used, minute by minute.
"""

from __future__ import annotations

import datetime as dt
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from capsim.base import paths
from capsim.base.errors import PriceError
from capsim.base.toml_text import read_toml
from capsim.scenario.prices import Amount


class Size(BaseModel):
    """One size that can be reserved, memory in GB of 10^9 bytes, for a month [USD]."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: Annotated[str, Field(min_length=1)]
    size: Annotated[str, Field(min_length=1)]
    ram_gb: Amount
    month_usd: Amount
    mark: Literal["official", "third-party", "unconfirmed"]
    seen: dt.date | Literal["undated"]
    source: Annotated[str, Field(min_length=1)]
    note: str


class Sizes(BaseModel):
    """All rows of one file of sizes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1]
    currency: Literal["USD"]
    last_verified: dt.date
    sizes: Annotated[tuple[Size, ...], Field(min_length=1)]


def read_sizes(path: Path) -> Sizes:
    """Read a file of sizes.

    Raises
    ------
    PriceError
        If the file cannot be read, or a row is incomplete, of another unit or of another currency.
    """
    data = read_toml(path, str(path), what="price file", remedy="give a price file", error=PriceError)
    try:
        return Sizes.model_validate(data)
    except ValidationError as error:
        raise PriceError(
            *(f"{path}: {'.'.join(map(str, e['loc']))}: {e['msg']}; see data/prices/README.md" for e in error.errors())
        ) from error


@cache
def bundled_sizes() -> Sizes:
    """The bundled file."""
    return read_sizes(paths.data_dir() / "prices" / "providers.toml")


def smallest(provider: str, needed_gb: float, sizes: Sizes | None = None) -> Size | None:
    """The cheapest size of a provider that covers a peak; None if no listed size does.

    Parameters
    ----------
    provider : str
    needed_gb : float
        Memory that must be there at the peak [GB of 10^9 bytes].
    sizes : Sizes, optional
        Others than the bundled ones.

    Raises
    ------
    PriceError
        If the provider is not in the file.

    Examples
    --------
    >>> smallest("Render", 0.6).size  # there is nothing between 512 MB and 2 GB
    'Standard'
    """
    sizes = sizes or bundled_sizes()
    own = [size for size in sizes.sizes if size.provider == provider]
    if not own:
        names = ", ".join(dict.fromkeys(size.provider for size in sizes.sizes))
        raise PriceError(f"there is no provider {provider!r} in the table; providers: {names}")
    fitting = [size for size in own if float(size.ram_gb) >= needed_gb]
    return min(fitting, key=lambda size: (size.month_usd, size.ram_gb)) if fitting else None

"""Dated, sourced price tables, read from ``data/prices/`` and checked at the door.

Prices, plan rules and limits live in a TOML file, one row for each date on which something changed; this
module finds the row that applies. It never guesses: a date before the first row, an unknown plan or a price
that did not exist is a `PriceError`, not a zero.
"""

from __future__ import annotations

import datetime as dt
import difflib
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from capsim.base import paths
from capsim.base.errors import PriceError
from capsim.base.toml_text import read_toml
from capsim.base.units import BILLED_MONTH_MINUTES

Meter = Literal["memory", "cpu", "egress", "volume", "backups"]

# Each meter: the unit of its quantities, the column with its price, how many of the unit one price buys.
METERS: dict[Meter, tuple[str, str, int]] = {
    "memory": ("GB-minute", "ram_gb_month_usd", BILLED_MONTH_MINUTES),
    "cpu": ("vCPU-minute", "vcpu_month_usd", BILLED_MONTH_MINUTES),
    "egress": ("GB", "egress_gb_usd", 1),
    "volume": ("GB-minute", "volume_gb_month_usd", BILLED_MONTH_MINUTES),
    "backups": ("GB-minute", "backup_gb_month_usd", BILLED_MONTH_MINUTES),
}

STALE_AFTER_DAYS = 120  # assumed: Railway changed a price or a plan about once in half a year


def _decimal_text(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError('write it as text, for example "0.05": a TOML number would be rounded')
    return value


def _decimal_or_none(value: Any) -> Any:
    return None if value == "none" else _decimal_text(value)


Amount = Annotated[Decimal, BeforeValidator(_decimal_text), Field(ge=0, allow_inf_nan=False)]
Price = Annotated[Annotated[Decimal, Field(ge=0, allow_inf_nan=False)] | None, BeforeValidator(_decimal_or_none)]


class _Row(BaseModel):
    """A row that applies from a date until the next row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    effective_from: dt.date = Field(alias="from")
    ambiguous_until: dt.date | None = None  # before this day `note` tells what else may apply ...
    or_as_on: dt.date | None = None  # ... which is the row of this other day
    mark: Literal["official", "third-party", "computed", "unconfirmed"]
    source: Annotated[str, Field(min_length=1)]
    note: str

    @model_validator(mode="after")
    def _explains_itself(self) -> Self:
        if self.ambiguous_until and (self.ambiguous_until <= self.effective_from or not self.note):
            raise ValueError("ambiguous_until needs a day after from, and a note that says what may apply")
        if bool(self.ambiguous_until) != bool(self.or_as_on):
            raise ValueError("ambiguous_until and or_as_on go together: until when, and as on which other day")
        return self

    def caveat_on(self, date: dt.date) -> str:
        """What else may apply on this date; empty if the row is certain."""
        return self.note if self.ambiguous_until and date < self.ambiguous_until else ""


class PriceRow(_Row):
    """Unit prices [USD]; None where the thing was not for sale."""

    ram_gb_month_usd: Price
    vcpu_month_usd: Price
    egress_gb_usd: Price
    volume_gb_month_usd: Price
    backup_gb_month_usd: Price
    bucket_gb_month_usd: Price


class Plan(_Row):
    """A subscription: its fee, the usage that the fee includes, and what happens above it."""

    name: str
    fee_usd: Amount
    fee_per: Literal["workspace", "seat"]
    included_usage_usd: Amount  # a cycle; never rolls over
    above_included: Literal["charged", "stops"]

    @property
    def rule(self) -> str:
        """The rule in words, for a bill.

        Examples
        --------
        >>> plan_on("hobby", dt.date(2026, 2, 3)).rule
        'max($5, usage)'
        >>> plan_on("pro", dt.date(2025, 2, 28)).rule
        '$20 x seats + usage'
        """
        if self.above_included == "stops":
            return f"${self.included_usage_usd} of usage, then its services stop"
        if self.fee_per == "workspace" and self.fee_usd == self.included_usage_usd:
            return f"max(${self.fee_usd}, usage)"
        fee = f"${self.fee_usd}" + (" x seats" if self.fee_per == "seat" else "")
        return fee + (f" + usage above ${self.included_usage_usd}" if self.included_usage_usd else " + usage")


class Limits(_Row):
    """What one replica may use: RAM and volume in GB of 10^9 bytes, CPU in vCPU."""

    plan: str
    ram_gb: Amount
    vcpu: Amount
    volume_gb: Amount


class PriceTable(BaseModel):
    """All rows of one price file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str  # as errors and bills name it
    schema_version: Literal[1]
    provider: str
    currency: Literal["USD"]
    last_verified: dt.date
    prices: tuple[PriceRow, ...]
    plans: tuple[Plan, ...]
    limits: tuple[Limits, ...]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.prices or not self.plans:
            raise ValueError("there is no price or no plan; give at least one [[prices]] and one [[plans]]")
        series: dict[str, list[dt.date]] = {"prices": [row.effective_from for row in self.prices]}
        for plan in self.plans:
            series.setdefault(f"plan {plan.name}", []).append(plan.effective_from)
        for limit in self.limits:
            series.setdefault(f"limits of {limit.plan}", []).append(limit.effective_from)
        for name, dates in series.items():
            for before, after in pairwise(dates):
                if after <= before:
                    raise ValueError(f"{name}: {after} stands after {before}; sort the rows, one a date")
        return self


@dataclass(frozen=True)
class Prices:
    """The prices of one date.

    Examples
    --------
    >>> prices = prices_on(dt.date(2026, 2, 3))
    >>> prices.row.egress_gb_usd
    Decimal('0.05')
    >>> prices.stale
    False
    """

    on: dt.date
    row: PriceRow
    file: str
    last_verified: dt.date

    @property
    def stale(self) -> bool:
        """Whether nobody has looked at the provider's prices for more than 120 days before this date."""
        return (self.on - self.last_verified).days > STALE_AFTER_DAYS

    @property
    def provenance(self) -> str:
        """File and row, for the source of a bill's line.

        Examples
        --------
        >>> prices_on(dt.date(2026, 2, 3)).provenance
        'railway.toml row 2025-11-29 (official)'
        """
        return f"{Path(self.file).name} row {self.row.effective_from} ({self.row.mark})"

    def has_price(self, meter: Meter) -> bool:
        """Whether the meter was for sale at this date, be it for nothing.

        Examples
        --------
        >>> prices = prices_on(dt.date(2022, 7, 15))
        >>> prices.has_price("egress"), prices.has_price("volume")
        (True, False)
        """
        return getattr(self.row, METERS[meter][1]) is not None

    def unit_price(self, meter: Meter) -> Fraction:
        """The exact price of one unit of a meter [USD per GB-minute, vCPU-minute or GB].

        A month is 43,200 minutes whatever the calendar says, so 31 days cost 31/30 of the monthly price.

        Raises
        ------
        PriceError
            If the meter had no price at this date.

        References
        ----------
        ``MINUTES_IN_MONTH`` in src/commands/usage.rs of railwayapp/cli (2026-07-09); tests/cost/test_cost.py
        reproduces real bills with it.

        Examples
        --------
        >>> prices_on(dt.date(2026, 2, 3)).unit_price("memory") * 43_200
        Fraction(10, 1)
        """
        _, column, units = METERS[meter]
        price: Decimal | None = getattr(self.row, column)
        if price is None:
            raise PriceError(
                f'{self.file}: {column} is "none" on {self.on} (row {self.row.effective_from}), but {meter} '
                "is used; bill from a later date, or add the price to the row"
            )
        return Fraction(price) / units


def prices_on(date: dt.date, table: PriceTable | None = None) -> Prices:
    """The prices that apply on a date.

    Parameters
    ----------
    date : datetime.date
        First day of the billed cycle.
    table : PriceTable, optional
        Another table than the bundled one of Railway; see `read_prices`.

    Raises
    ------
    PriceError
        If the date is before the first row.

    Examples
    --------
    >>> prices_on(dt.date(2025, 3, 2)).row.egress_gb_usd, prices_on(dt.date(2025, 3, 3)).row.egress_gb_usd
    (Decimal('0.10'), Decimal('0.05'))
    """
    table = table or bundled_prices()
    row = _latest(table.prices, date)
    if row is None:
        first = table.prices[0].effective_from
        raise PriceError(f"{table.file}: no prices on {date}; the first are of {first}: bill from then on")
    return Prices(on=date, row=row, file=table.file, last_verified=table.last_verified)


def plan_on(name: str, date: dt.date, table: PriceTable | None = None) -> Plan:
    """The rule of a plan on a date.

    Raises
    ------
    PriceError
        If there is no such plan, or not yet on this date.

    Examples
    --------
    >>> plan_on("pro", dt.date(2026, 2, 3)).fee_per
    'workspace'
    """
    table = table or bundled_prices()
    rows = [row for row in table.plans if row.name == name]
    if not rows:
        names = sorted({row.name for row in table.plans})
        guess = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {guess[0]!r}?" if guess else f"plans: {', '.join(names)}"
        raise PriceError(f"{table.file}: there is no plan {name!r}; {hint}")
    row = _latest(rows, date)
    if row is None:
        raise PriceError(
            f"{table.file}: there is no plan {name!r} on {date}; it begins on {rows[0].effective_from}: "
            "bill from then or later, or choose another plan"
        )
    return row


def limits_on(plan: str, date: dt.date, table: PriceTable | None = None) -> Limits | None:
    """What one replica may use on a plan and date; None where the table does not know it.

    Examples
    --------
    >>> limits_on("pro", dt.date(2026, 1, 27)).ram_gb, limits_on("pro", dt.date(2026, 1, 28)).ram_gb
    (Decimal('32'), Decimal('24'))
    """
    table = table or bundled_prices()
    return _latest([row for row in table.limits if row.plan == plan], date)


def readings(name: str, date: dt.date, table: PriceTable | None = None) -> list[tuple[Prices, Plan]]:
    """Every reading of a date's prices and a plan's rule that may be right; the first is the one that bills use.

    Parameters
    ----------
    name : str
        Of the plan.
    date : datetime.date
        First day of the billed cycle.
    table : PriceTable, optional
        Another table than the bundled one.

    Returns
    -------
    list of (Prices, Plan)
        One, or several while a row is ambiguous.

    Raises
    ------
    PriceError
        As for `prices_on` and `plan_on`.

    Examples
    --------
    >>> len(readings("hobby", dt.date(2026, 2, 3))), len(readings("pro", dt.date(2025, 5, 1)))
    (1, 4)
    """
    table = table or bundled_prices()
    prices, plan = prices_on(date, table), plan_on(name, date, table)
    rows, plans = [prices], [plan]
    if prices.row.or_as_on and prices.row.caveat_on(date):
        rows.append(replace(prices, row=prices_on(prices.row.or_as_on, table).row))
    if plan.or_as_on and plan.caveat_on(date):
        plans.append(plan_on(name, plan.or_as_on, table))
    return [(row, rule) for row in rows for rule in plans]


_AnyRow = TypeVar("_AnyRow", bound=_Row)


def _latest(rows: list[_AnyRow] | tuple[_AnyRow, ...], date: dt.date) -> _AnyRow | None:
    """The last row that has begun; rows are in order of date."""
    return next((row for row in reversed(rows) if row.effective_from <= date), None)


@cache
def bundled_prices() -> PriceTable:
    """Railway's prices as they come with capsim.

    Examples
    --------
    >>> bundled_prices().provider
    'Railway'
    """
    return _parse(paths.data_dir() / "prices" / "railway.toml", name="data/prices/railway.toml")


def read_prices(path: str | Path) -> PriceTable:
    """Read and check a price file.

    Parameters
    ----------
    path : str or Path
        A TOML file laid out as ``data/prices/README.md`` says.

    Raises
    ------
    PriceError
        If it cannot be read, or with one line for every wrong value.

    Examples
    --------
    >>> read_prices("no-such-file.toml")
    Traceback (most recent call last):
    ...
    capsim.base.errors.PriceError: no-such-file.toml: cannot be read (No such file or directory); give a price file
    """
    return _parse(Path(path), name=str(path))


def _parse(path: Path, name: str) -> PriceTable:
    data = read_toml(path, name, what="price file", remedy="give a price file", error=PriceError)
    try:
        return PriceTable.model_validate({**data, "file": name})
    except ValidationError as error:
        raise PriceError(*(_one_line(name, problem) for problem in error.errors())) from None


def _one_line(name: str, problem: Any) -> str:
    """One wrong value in one line: file, place, value, remedy."""
    steps = (f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])
    place = "".join(steps).lstrip(".")
    remedies = {
        "missing": 'is missing; add it ("none" for a price that did not exist)',
        "extra_forbidden": "is not known; remove it or correct its spelling",
    }
    if remedy := remedies.get(problem["type"]):
        return f"{name}: {place} {remedy}"
    reason = problem["msg"].removeprefix("Value error, ")
    if isinstance(problem["input"], dict | list):  # a whole row or file: its rule says enough
        return ": ".join(part for part in (name, place, reason) if part)
    return f"{name}: {place} is {problem['input']!r}: {reason}"

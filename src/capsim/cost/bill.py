"""Usage x prices -> the lines of a bill: arithmetic only, exact until a line is rounded to cents.

Nothing here knows of queues, so a measured month is priced like a simulated one. Amounts are exact fractions;
each usage line is rounded once, half up, to whole cents, and the total adds the rounded lines, as Railway's
invoices do.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from typing import TYPE_CHECKING

from capsim.base.errors import PriceError
from capsim.base.units import GB, MIB
from capsim.cost.usage import Basis, Number, Quantity, Usage, Window, service_usage
from capsim.scenario.columns import BILL, SERVICES
from capsim.scenario.prices import (
    METERS,
    Limits,
    Meter,
    Plan,
    Prices,
    PriceTable,
    limits_on,
    plan_on,
    prices_on,
    readings,
)
from capsim.scenario.scenario import Scenario

if TYPE_CHECKING:  # pandas takes longer to import than the command line may
    import pandas as pd

LONGEST_CYCLE_MINUTES = 31 * 24 * 60  # cycles run from a day of one month to the same day of the next
CARRIED_BELOW_USD = Decimal("0.50")  # docs.railway.com/pricing/understanding-your-bill (2026-02-06)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a bill, with the columns of `capsim.scenario.columns.BILL`; None where nothing can be said."""

    service: str
    line: str
    quantity: Fraction | None = None
    unit: str = ""
    price_usd: Fraction | None = None
    amount_usd: Decimal | None = None
    lower_usd: Decimal | None = None
    upper_usd: Decimal | None = None
    basis: Basis = "modelled"
    source: str = ""

    @property
    def bracket(self) -> tuple[Decimal, Decimal, Decimal]:
        """Amount, lower and upper [USD], taking what is not modelled as nothing."""
        amount, lower, upper = (
            Decimal(0) if usd is None else usd for usd in (self.amount_usd, self.lower_usd, self.upper_usd)
        )
        return amount, lower, upper


def cents(usd: Fraction) -> Decimal:
    """Round an amount of 0 or more to whole cents, half up.

    Examples
    --------
    >>> cents(Fraction("0.005")), cents(Fraction("0.00499"))
    (Decimal('0.01'), Decimal('0.00'))
    """
    return (Decimal(math.floor(usd * 100 + Fraction(1, 2))) / 100).quantize(Decimal("0.01"))


def invoice(usages: Sequence[Usage], prices: Prices, plan: Plan, *, seats: int = 1, cycles: int = 1) -> list[Line]:
    """Price the usage of some services as one invoice of one workspace.

    Parameters
    ----------
    usages : sequence of Usage
        One for each service.
    prices, plan : Prices, Plan
        From `capsim.scenario.prices.prices_on` and `plan_on`, for the first day of the cycle.
    seats : int
        Members of the workspace; only the Pro plan before 2025-06-30 charged for them.
    cycles : int
        Billing cycles that the usage fills; fee and included usage are counted as often.

    Returns
    -------
    list of Line
        Five lines for each service (memory, cpu, egress, volume, backups), then those of the workspace:
        subscription, included usage (a discount), carried over (only if a total below $0.50 is left to the
        next invoice), total. Without tax. On a plan that stops above its credit (free, trial) the total is
        the usage that the plan does not carry: Railway stops the services instead of charging it.

    Raises
    ------
    PriceError
        If something was used that had no price at that date.

    Examples
    --------
    >>> import datetime as dt
    >>> day = dt.date(2026, 2, 3)
    >>> usage = Usage(service="server", memory_gb_minutes=Quantity(43_200 * 0.7))
    >>> [(l.line, str(l.amount_usd)) for l in invoice([usage], prices_on(day), plan_on("hobby", day))
    ...  if l.amount_usd is not None]
    [('memory', '7.00'), ('subscription', '5.00'), ('included usage', '-5.00'), ('total', '7.00')]
    """
    if seats < 1 or cycles < 1:
        raise PriceError(f"an invoice for {seats} seats and {cycles} cycles; give 1 or more of each")
    lines: list[Line] = []
    problems: list[str] = []
    for usage in usages:
        for meter, quantity in usage.meters().items():
            try:
                lines.append(_usage_line(usage.service, meter, quantity, prices))
            except PriceError as error:
                problems += error.problems
    if problems:
        raise PriceError(*problems)
    return lines + _workspace_lines(lines, prices, plan, seats, cycles)


def _usage_line(service: str, meter: Meter, quantity: Quantity | None, prices: Prices) -> Line:
    unit = METERS[meter][0]
    if quantity is None:
        return Line(service=service, line=meter, unit=unit, basis="not modelled", source="not in the total")
    bracket = quantity.bracket
    # Nothing used needs no price; anything used without one is an error.
    price = prices.unit_price(meter) if any(bracket) or prices.has_price(meter) else None
    amounts = [cents(value * (price or 0)) for value in bracket]
    return Line(
        service=service,
        line=meter,
        quantity=bracket[0],
        unit=unit,
        price_usd=price,
        amount_usd=amounts[0],
        lower_usd=amounts[1],
        upper_usd=amounts[2],
        basis=quantity.basis,
        source="; ".join(filter(None, (quantity.source, prices.provenance if price is not None else ""))),
    )


def _workspace_lines(lines: list[Line], prices: Prices, plan: Plan, seats: int, cycles: int) -> list[Line]:
    """Subscription, discount, what is carried over, total: each for the amount and both its bounds."""
    heads = seats if plan.fee_per == "seat" else 1
    fee = plan.fee_usd * heads * cycles
    usage = [sum((line.bracket[which] for line in lines), Decimal(0)) for which in range(3)]
    covered = [min(used, plan.included_usage_usd * cycles) for used in usage]
    due = [fee + used - free for used, free in zip(usage, covered, strict=True)]
    charged = plan.above_included == "charged"
    carried = [usd if charged and usd < CARRIED_BELOW_USD else Decimal(0) for usd in due]

    missing = ", ".join(f"{line.service} {line.line}" for line in lines if line.basis == "not modelled")
    notes = [
        plan.rule,
        f"{PurePath(prices.file).name} plan {plan.name} of {plan.effective_from} ({plan.mark})",
        "without tax",
        f"without {missing} (not modelled)" if missing else "",
        f"prices last verified on {prices.last_verified}, more than 120 days before" if prices.stale else "",
        *dict.fromkeys((plan.caveat_on(prices.on), prices.row.caveat_on(prices.on))),
    ]
    if not charged and due[0] > 0:
        notes.insert(1, "the total is what the plan does not carry: choose hobby or pro")
    result = [
        _workspace_line(
            "subscription",
            [fee] * 3,
            quantity=heads * cycles,
            unit="seat-month" if plan.fee_per == "seat" else "month",
            price_usd=plan.fee_usd,
            source=f"{plan.source}; {cycles} billing cycle{'s' if cycles > 1 else ''}",
        ),
        _workspace_line(
            "included usage",
            [-usd for usd in covered],
            quantity=covered[0],
            unit="USD of usage",
            price_usd=-1,
            source=f"{plan.included_usage_usd} USD a cycle; never rolls over",
        ),
    ]
    if any(carried):
        result.append(
            _workspace_line(
                "carried over",
                [-usd for usd in carried],
                quantity=carried[0],
                unit="USD",
                price_usd=-1,
                source=f"a total below {CARRIED_BELOW_USD} USD is added to the next invoice",
            )
        )
    total = [usd - later for usd, later in zip(due, carried, strict=True)]
    return [*result, _workspace_line("total", total, unit="USD", source="; ".join(filter(None, notes)))]


def _workspace_line(
    name: str,
    amounts: list[Decimal],
    *,
    unit: str,
    source: str,
    quantity: Number | None = None,
    price_usd: Number | None = None,
) -> Line:
    amount, lower, upper = (usd.quantize(Decimal("0.01")) for usd in amounts)
    return Line(
        service="workspace",
        line=name,
        quantity=None if quantity is None else Fraction(quantity),
        unit=unit,
        price_usd=None if price_usd is None else Fraction(price_usd),
        amount_usd=amount,
        lower_usd=lower,
        upper_usd=upper,
        source=source,
    )


def either(usages: Sequence[Usage], plan: str, date: dt.date, *, seats: int = 1) -> tuple[Decimal, Decimal]:
    """The lowest and the highest total of an invoice over every reading of an ambiguous date [USD].

    Parameters
    ----------
    usages, seats
        As for `invoice`.
    plan : str
        Its name.
    date : datetime.date
        First day of the cycle.

    Examples
    --------
    >>> import datetime as dt
    >>> usage = Usage(service="server", memory_gb_minutes=Quantity(43_200 * 2.5))
    >>> [str(total) for total in either([usage], "pro", dt.date(2025, 5, 1), seats=3)]
    ['25.00', '85.00']
    """
    totals = [
        invoice(usages, prices, rule, seats=seats)[-1].bracket[0] for prices, rule in readings(plan, date)
    ]
    return min(totals), max(totals)


def bucket(average_gb: Number, prices: Prices, days: Number = 30) -> tuple[int, Decimal]:
    """What a bucket costs: whole GB-months of 30 days, rounded up, and their price [USD].

    Parameters
    ----------
    average_gb : number
        Mean of the daily sizes [GB].
    prices : Prices
    days : number
        Length of the cycle [d].

    Raises
    ------
    PriceError
        If something is stored and buckets had no price at that date.

    References
    ----------
    docs.railway.com/storage-buckets/billing (2026-02-06).

    Examples
    --------
    >>> import datetime as dt
    >>> bucket(5.1, prices_on(dt.date(2026, 2, 3)))
    (6, Decimal('0.09'))
    """
    if not (math.isfinite(average_gb) and average_gb >= 0 and math.isfinite(days) and days > 0):
        raise PriceError(f"a bucket of {average_gb} GB over {days} days; give 0 or more, over more than 0 days")
    whole = math.ceil(Fraction(average_gb) * Fraction(days) / 30)
    price = prices.row.bucket_gb_month_usd
    if price is None and whole:
        raise PriceError(
            f'{prices.file}: bucket_gb_month_usd is "none" on {prices.on}, but a bucket is used; '
            "bill from a later date, or add the price to the row"
        )
    return whole, cents(whole * Fraction(price or 0))


def bill(
    samples: pd.DataFrame,
    scenario: Scenario,
    *,
    minutes: float | None = None,
    table: PriceTable | None = None,
) -> pd.DataFrame:
    """The bill of a simulated stretch of time: the server, Postgres and Redis on the scenario's plan.

    Parameters
    ----------
    samples : DataFrame
        Columns `capsim.scenario.columns.SAMPLES` and `MEMORY`.
    scenario : Scenario
        Its ``billing`` part: plan, date, bytes of a response, size of the metric's GB.
    minutes : float, optional
        Price only the first so many minutes [min], for example 43,200; without it everything that is there.
    table : PriceTable, optional
        Another table than the bundled one.

    Returns
    -------
    DataFrame
        Columns `capsim.scenario.columns.BILL`, one row a line; NaN where a line is not modelled. Exactly the time given
        is priced: nothing is multiplied up to a month, and bins without data in the trace are left out (the
        total's source says how much that is). More than 31 days count as several cycles with the usage spread
        evenly over them, all at the prices of the first.

    Raises
    ------
    PriceError
        If the date has no prices or no such plan.
    CapsimError
        If columns are missing, a value is negative or NaN, or no bin has data.
    """
    import pandas as pd

    window = Window.of(samples, minutes)
    day = scenario.billing.from_date
    cycles = max(1, math.ceil(window.span_minutes / LONGEST_CYCLE_MINUTES))
    plan = plan_on(scenario.billing.plan, day, table)
    lines = invoice(
        [service_usage(service, window, scenario) for service in SERVICES],
        prices_on(day, table),
        plan,
        cycles=cycles,
    )
    notes = [window.note, *limit_notes(samples, scenario, minutes=minutes, table=table)]
    rows = []
    for line in lines:
        row = {column.name: getattr(line, column.name) for column in BILL}
        if line.line == "total":
            row["source"] = "; ".join([line.source, *notes])
        rows.append(row)
    return pd.DataFrame(rows).astype({column.name: column.dtype for column in BILL})


def limit_notes(
    samples: pd.DataFrame,
    scenario: Scenario,
    *,
    minutes: float | None = None,
    table: PriceTable | None = None,
) -> tuple[str, ...]:
    """Where the samples ask for more than one replica has on the scenario's plan; empty if all fits.

    Parameters
    ----------
    samples, scenario, minutes, table
        As for `bill`.

    Returns
    -------
    tuple of str
        One sentence for each limit passed: memory that the kernel cannot take back (the container is killed
        with exit code 137), page cache beyond the limit (never billed), CPU (throttled), volume (writes
        stop). Limits are decimal GB whatever the size of the metric's GB is.
    """
    window = Window.of(samples, minutes)
    billing = scenario.billing
    plan_on(billing.plan, billing.from_date, table)
    limits = limits_on(billing.plan, billing.from_date, table)
    if limits is None:
        return (f"the limits of plan {billing.plan} on {billing.from_date} are not in the price table",)
    return tuple(note for service in SERVICES for note in _over_limits(service, window, limits))


def _over_limits(service: str, window: Window, limits: Limits) -> list[str]:
    def peak(column: str) -> float:
        return float(window.column(column).max())

    of_plan = f"of plan {limits.plan} since {limits.effective_from}"
    needed_gb = peak(f"{service}_billed_lower_mib") * MIB / GB
    if service == "server":
        needed_gb = max(needed_gb, peak("server_rss_peak_mib") * MIB / GB)
    cached_gb = peak(f"{service}_billed_upper_mib") * MIB / GB
    vcpu = peak(f"{service}_cpu_vcpu")

    notes = []
    if needed_gb > limits.ram_gb:
        notes.append(
            f"{service} needs up to {needed_gb:.3g} GB, more than the {limits.ram_gb} GB a replica "
            f"{of_plan}: it would be killed (exit code 137)"
        )
    elif cached_gb > limits.ram_gb:
        notes.append(
            f"{service} with all its page cache comes to {cached_gb:.3g} GB, but no more than the "
            f"{limits.ram_gb} GB a replica {of_plan} is ever billed"
        )
    if vcpu > limits.vcpu:
        notes.append(f"{service} asks for {vcpu:.3g} vCPU and is held to the {limits.vcpu} vCPU {of_plan}")
    if service == "postgres" and (used_gb := peak("postgres_volume_mib") * MIB / GB) > limits.volume_gb:
        notes.append(
            f"the volume of postgres grows to {used_gb:.3g} GB, more than the {limits.volume_gb} GB "
            f"{of_plan}: once it is full, writes stop"
        )
    return notes

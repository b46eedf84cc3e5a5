"""The arithmetic of bills: real invoices to the cent, the plans' rules, and samples priced as they are."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from fractions import Fraction

import pandas as pd
import pytest

from capsim.base.errors import CapsimError, PriceError
from capsim.cost.bill import Line, bill, cents, invoice, limit_notes
from capsim.cost.usage import Quantity, Usage, Window, service_usage
from capsim.scenario.columns import BILL, MEMORY, SAMPLES
from capsim.scenario.prices import Meter, PriceTable, bundled_prices, plan_on, prices_on
from capsim.scenario.scenario import Scenario

MONTH = 43_200
DAY = dt.date(2026, 2, 3)
GB_IN_MIB = 10**9 / 2**20


def lines_of(usage: Usage, plan: str = "hobby", date: dt.date = DAY, **options: int) -> dict[str, Line]:
    return {line.line: line for line in invoice([usage], prices_on(date), plan_on(plan, date), **options)}


def amounts_of(usage: Usage, plan: str = "hobby", date: dt.date = DAY, **options: int) -> dict[str, str]:
    lines = lines_of(usage, plan, date, **options)
    return {name: str(line.amount_usd) for name, line in lines.items() if line.amount_usd is not None}


def memory_worth(usd: float | str) -> Usage:
    return Usage(service="server", memory_gb_minutes=Quantity(Fraction(usd) * MONTH / 10))


# --- real bills (facts: railway 1.5) ------------------------------------------------------------------------


def test_bill_a_a_hobby_month_below_its_fee_costs_the_fee() -> None:
    """Invoice of 2025-12-01 to 2026-01-01; it counts MB-minutes and hundredths of vCPU-minutes."""
    usage = Usage(
        service="server",
        memory_gb_minutes=Quantity(Fraction(6_042_274, 1000)),
        cpu_vcpu_minutes=Quantity(Fraction(8_201, 100)),
        egress_gb=Quantity(Fraction(1_594, 1000)),
        volume_gb_minutes=Quantity(0),
    )

    assert amounts_of(usage, date=dt.date(2025, 12, 1)) == {
        "memory": "1.40",
        "cpu": "0.04",
        "egress": "0.08",
        "volume": "0.00",
        "subscription": "5.00",
        "included usage": "-1.52",
        "total": "5.00",
    }


def test_bill_b_the_memory_of_a_31_day_cycle() -> None:
    usage = Usage(service="server", memory_gb_minutes=Quantity(Fraction(103_718_965, 1000)))

    assert amounts_of(usage, date=dt.date(2026, 7, 15))["memory"] == "24.01"


def test_bill_c_the_cpu_of_a_31_day_cycle() -> None:
    usage = Usage(service="server", cpu_vcpu_minutes=Quantity(21_683))

    assert amounts_of(usage, plan="pro", date=dt.date(2026, 7, 25))["cpu"] == "10.04"


def test_bill_d_a_pro_profile_at_full_use() -> None:
    usage = Usage(
        service="server",
        memory_gb_minutes=Quantity(8 * MONTH),
        cpu_vcpu_minutes=Quantity(4 * MONTH),
        egress_gb=Quantity(300),
        volume_gb_minutes=Quantity(50 * MONTH),
    )

    assert amounts_of(usage, plan="pro", date=dt.date(2026, 8, 21)) == {
        "memory": "80.00",
        "cpu": "80.00",
        "egress": "15.00",
        "volume": "7.50",
        "subscription": "20.00",
        "included usage": "-20.00",
        "total": "182.50",
    }


# --- the rules of the plans ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("usage_usd", "pays_usd"), [(3, "5.00"), (7, "7.00"), (15, "15.00"), (0, "5.00")])
def test_hobby_pays_the_larger_of_fee_and_usage(usage_usd: int, pays_usd: str) -> None:
    """3, 7 and 15 dollars are Railway's own examples."""
    assert amounts_of(memory_worth(usage_usd))["total"] == pays_usd


@pytest.mark.parametrize(
    ("plan", "date", "seats", "total"),
    [
        ("hobby", "2023-07-02", 1, "2.00"),  # Developer: no fee, $5 of credit
        ("hobby", "2023-07-03", 1, "7.00"),
        ("pro", "2025-03-02", 1, "27.00"),
        ("pro", "2025-03-02", 3, "67.00"),
        ("pro", "2025-06-29", 3, "67.00"),
        ("pro", "2025-06-30", 3, "20.00"),
        ("free", "2025-08-27", 1, "6.00"),  # what the free plan does not carry
    ],
)
def test_seven_dollars_of_usage_by_plan_and_date(plan: str, date: str, seats: int, total: str) -> None:
    assert amounts_of(memory_worth(7), plan, dt.date.fromisoformat(date), seats=seats)["total"] == total


def test_the_ambiguous_months_of_2025_are_named_on_the_total() -> None:
    source = lines_of(memory_worth(7), "pro", dt.date(2025, 5, 1))["total"].source

    assert "either rule may apply" in source
    assert "0.10" in source  # the older price of egress
    assert "may apply" not in lines_of(memory_worth(7), "pro", dt.date(2025, 7, 1))["total"].source


def test_a_free_plan_says_that_it_stops_instead_of_charging() -> None:
    assert "does not carry" in lines_of(memory_worth(7), "free")["total"].source
    assert "does not carry" not in lines_of(memory_worth("0.9"), "free")["total"].source
    assert amounts_of(memory_worth("1.3"), "free")["total"] == "0.30"  # nothing to carry over either


@pytest.mark.parametrize(
    ("usage_usd", "carried", "total"),
    [("5.49", "-0.49", "0.00"), ("5.50", None, "0.50"), ("5", None, "0.00")],
)
def test_a_total_below_half_a_dollar_is_carried_to_the_next_invoice(usage_usd, carried, total) -> None:
    """Only the plan without a fee, until 2023-07-03, can come to that."""
    amounts = amounts_of(memory_worth(usage_usd), date=dt.date(2023, 7, 2))

    assert amounts.get("carried over") == carried
    assert amounts["total"] == total


@pytest.mark.parametrize(("days", "usd"), [(28, "9.33"), (30, "10.00"), (31, "10.33")])
def test_one_gb_costs_ten_dollars_only_in_a_cycle_of_30_days(days: int, usd: str) -> None:
    usage = Usage(service="server", memory_gb_minutes=Quantity(days * 1440))

    assert amounts_of(usage)["memory"] == usd


def test_stale_prices_are_named_on_the_total() -> None:
    assert "last verified on 2026-08-21" in lines_of(memory_worth(7), date=dt.date(2026, 12, 20))["total"].source
    assert "last verified" not in lines_of(memory_worth(7), date=dt.date(2026, 12, 19))["total"].source


# --- the arithmetic -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usd", "rounded"),
    [("0.004999", "0.00"), ("0.005", "0.01"), ("0.015", "0.02"), ("0.025", "0.03"), ("2", "2.00")],
)
def test_a_line_is_rounded_half_up_to_cents(usd: str, rounded: str) -> None:
    assert cents(Fraction(usd)) == Decimal(rounded)


def test_a_line_is_rounded_before_the_total_adds_it() -> None:
    usages = [Usage(service=s, memory_gb_minutes=memory_worth("2.005").memory_gb_minutes) for s in "abc"]
    total = invoice(usages, prices_on(DAY), plan_on("hobby", DAY))[-1]

    assert total.amount_usd == Decimal("6.03")


def test_an_amount_is_quantity_times_price_with_a_rounding_of_half_a_cent() -> None:
    usage = Usage(
        service="server",
        memory_gb_minutes=Quantity(12_345.6),
        cpu_vcpu_minutes=Quantity(999.9),
        egress_gb=Quantity(33.3),
        backup_gb_minutes=Quantity(7.0),
    )
    for line in lines_of(usage).values():
        if line.price_usd is not None and line.quantity is not None and line.amount_usd is not None:
            assert abs(line.quantity * line.price_usd - Fraction(line.amount_usd)) <= Fraction(1, 200)


def doubled(table: PriceTable) -> PriceTable:
    rows = [
        row.model_copy(update={k: 2 * v for k, v in row if k.endswith("_usd") and v is not None})
        for row in table.prices
    ]
    return table.model_copy(update={"prices": tuple(rows)})


def test_twice_the_price_is_twice_the_usage() -> None:
    usage = Usage(
        service="server",
        memory_gb_minutes=Quantity(3 * MONTH, lower=2 * MONTH, upper=5 * MONTH),
        cpu_vcpu_minutes=Quantity(MONTH // 4),
        egress_gb=Quantity(7),
        volume_gb_minutes=Quantity(2 * MONTH),
        backup_gb_minutes=Quantity(2 * MONTH),
    )
    plan = plan_on("hobby", DAY)
    once = invoice([usage], prices_on(DAY), plan)
    twice = invoice([usage], prices_on(DAY, doubled(bundled_prices())), plan)

    for a, b in zip(once[:5], twice[:5], strict=True):
        assert [2 * usd for usd in a.bracket] == list(b.bracket)
        assert a.amount_usd


def test_what_was_not_told_is_a_line_that_says_so_and_counts_nothing() -> None:
    line = lines_of(memory_worth(7))["volume"]

    assert (line.basis, line.amount_usd, line.quantity) == ("not modelled", None, None)
    assert "without server cpu, server egress" in lines_of(memory_worth(7))["total"].source


@pytest.mark.parametrize(("meter", "date"), [("volume_gb_minutes", "2023-06-22"), ("backup_gb_minutes", "2024-11-13")])
def test_use_without_a_price_is_an_error_and_no_use_needs_no_price(meter: str, date: str) -> None:
    on = dt.date.fromisoformat(date)
    amounts_of(Usage(service="x", **{meter: Quantity(0)}), date=on)

    with pytest.raises(PriceError, match="bill from a later date"):
        amounts_of(Usage(service="x", **{meter: Quantity(1)}), date=on)


@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_an_impossible_quantity_is_refused(value: float) -> None:
    with pytest.raises(CapsimError, match="must be a number of 0 or more"):
        Quantity(value)


def test_an_invoice_needs_a_seat_and_a_cycle() -> None:
    with pytest.raises(PriceError, match="0 seats"):
        amounts_of(memory_worth(7), seats=0)


# --- bills from samples -------------------------------------------------------------------------------------


def scenario(plan: str = "hobby", date: str = "2026-02-03", **billing: object) -> Scenario:
    return Scenario(
        name="test",
        workload={"rate_hz": 1, "duration_s": 60},
        billing={"from": date, "plan": plan, **billing},
    )


def samples(bins: int, width_s: float = 86_400.0, **columns: object) -> pd.DataFrame:
    """A quiet server: 0.5 GB (0.4 to 1.0), Postgres 0.25 (0.2 to 0.5), Redis 0.01."""
    table = pd.DataFrame({c.name: [0.0] * bins for c in (*SAMPLES, *MEMORY)})
    table["time_s"] = [i * width_s for i in range(bins)]
    table["width_s"] = width_s
    table["has_load"] = True
    quiet_gb = {"server": (0.4, 0.5, 1.0), "postgres": (0.2, 0.25, 0.5), "redis": (0.01, 0.01, 0.01)}
    for service, gb in quiet_gb.items():
        for bound, value in zip(("lower_", "", "upper_"), gb, strict=True):
            table[f"{service}_billed_{bound}mib"] = value * GB_IN_MIB
    return table.assign(**columns)


def row(table: pd.DataFrame, service: str, line: str) -> pd.Series:
    return table[(table.service == service) & (table.line == line)].iloc[0]


def test_a_bill_has_every_line_of_every_service_and_says_what_each_rests_on() -> None:
    table = bill(samples(30), scenario())

    basis = {(r.service, r.line): r.basis for r in table.itertuples()}
    assert list(table.columns) == [c.name for c in BILL]
    assert basis == {
        ("server", "memory"): "modelled",
        ("server", "cpu"): "modelled",
        ("server", "egress"): "assumed",
        ("server", "volume"): "assumed",
        ("server", "backups"): "assumed",
        ("postgres", "memory"): "modelled",
        ("postgres", "cpu"): "modelled",
        ("postgres", "egress"): "assumed",
        ("postgres", "volume"): "modelled",
        ("postgres", "backups"): "not modelled",
        ("redis", "memory"): "modelled",
        ("redis", "cpu"): "modelled",
        ("redis", "egress"): "assumed",
        ("redis", "volume"): "not modelled",
        ("redis", "backups"): "not modelled",
        ("workspace", "subscription"): "modelled",
        ("workspace", "included usage"): "modelled",
        ("workspace", "total"): "modelled",
    }
    assert (table.source != "").all()
    assert (table[table.basis != "not modelled"].amount_usd.notna()).all()


def test_thirty_quiet_days_cost_what_their_averages_cost() -> None:
    table = bill(samples(30, requests=1_000_000, server_cpu_vcpu=0.1, postgres_volume_mib=2 * GB_IN_MIB), scenario())

    assert row(table, "server", "memory").amount_usd == 5.00
    assert row(table, "server", "memory").lower_usd == 4.00
    assert row(table, "server", "memory").upper_usd == 10.00
    assert row(table, "server", "memory").quantity == pytest.approx(0.5 * MONTH)
    assert row(table, "server", "cpu").amount_usd == 2.00
    assert row(table, "server", "egress").quantity == pytest.approx(30e6 * 300 / 1e9)
    assert row(table, "server", "egress").amount_usd == 0.45
    assert row(table, "postgres", "memory").amount_usd == 2.50
    assert row(table, "postgres", "volume").amount_usd == 0.30
    assert row(table, "redis", "memory").amount_usd == 0.10
    total = row(table, "workspace", "total")
    assert (total.lower_usd, total.amount_usd, total.upper_usd) == (8.85, 10.35, 17.85)


def test_the_lines_of_a_bill_add_up_to_its_total() -> None:
    table = bill(samples(30, requests=12_345, server_cpu_vcpu=0.123, postgres_volume_mib=777.0), scenario())

    for column in ("amount_usd", "lower_usd", "upper_usd"):
        parts, total = table[table.line != "total"][column].sum(), row(table, "workspace", "total")[column]
        assert parts == pytest.approx(total, abs=1e-9)


def test_a_window_cuts_the_samples_even_inside_a_bin() -> None:
    half = bill(samples(4, width_s=3600.0, requests=1000), scenario(), minutes=90)

    assert row(half, "server", "memory").quantity == pytest.approx(0.5 * 90)
    assert row(half, "server", "egress").quantity == pytest.approx(1500 * 300 / 1e9)


def test_quantities_of_two_parts_add_up_to_those_of_the_whole() -> None:
    whole = samples(10, requests=range(10), server_cpu_vcpu=[i / 7 for i in range(10)])
    parts = [bill(part, scenario()) for part in (whole[:4], whole[4:])]
    together = bill(whole, scenario())

    for service, line in (("server", "memory"), ("server", "cpu"), ("server", "egress"), ("redis", "memory")):
        assert sum(row(part, service, line).quantity for part in parts) == pytest.approx(
            row(together, service, line).quantity, rel=1e-12
        )


def test_samples_shorter_than_the_window_are_never_multiplied_up() -> None:
    table = bill(samples(1), scenario(), minutes=MONTH)

    assert row(table, "server", "memory").quantity == pytest.approx(0.5 * 1440)
    assert "the samples end before the 43,200 min asked for" in row(table, "workspace", "total").source


def test_time_without_data_is_left_out_and_its_share_stated() -> None:
    gap = samples(30, has_load=[i % 3 > 0 for i in range(30)])
    gap.loc[~gap.has_load, "server_billed_mib"] = math.nan
    table = bill(gap, scenario())

    assert row(table, "server", "memory").quantity == pytest.approx(0.5 * MONTH * 2 / 3)
    assert "33.3% of the time has no data" in row(table, "workspace", "total").source
    assert "no data" not in row(bill(samples(30), scenario()), "workspace", "total").source


@pytest.mark.parametrize(("days", "fees"), [(1, 1), (30, 1), (31, 1), (32, 2), (62, 2), (63, 3)])
def test_every_cycle_of_at_most_31_days_has_its_fee_and_its_included_usage(days: int, fees: int) -> None:
    table = bill(samples(days), scenario())

    assert row(table, "workspace", "subscription").amount_usd == 5.00 * fees
    usage = table[table.service != "workspace"].amount_usd.sum()
    assert row(table, "workspace", "total").amount_usd == pytest.approx(max(5.0 * fees, usage))


@pytest.mark.parametrize(("service", "line"), [("server", "memory"), ("server", "egress"), ("postgres", "volume")])
def test_a_gb_may_be_decimal_or_binary(service: str, line: str) -> None:
    used = samples(30, requests=1000, postgres_volume_mib=100.0)
    decimal, binary = (row(bill(used, scenario(gb_bytes=size)), service, line) for size in (10**9, 2**30))

    assert decimal.quantity / binary.quantity == pytest.approx(2**30 / 10**9)
    assert "10^9" in decimal.source
    assert "2^30" in binary.source


def test_a_bill_before_volumes_had_a_price_is_an_error_never_zero() -> None:
    used = samples(30, postgres_volume_mib=500.0)

    with pytest.raises(PriceError, match="volume_gb_month_usd"):
        bill(used, scenario(date="2023-06-22"))
    assert row(bill(used, scenario(date="2023-06-23")), "postgres", "volume").amount_usd > 0


@pytest.mark.parametrize("value", [-1.0, math.nan])
def test_an_impossible_sample_is_refused_with_its_place(value: float) -> None:
    table = samples(3)
    table.loc[1, "postgres_billed_mib"] = value

    with pytest.raises(CapsimError, match=r"samples: postgres_billed_mib is .* at time_s 86400"):
        bill(table, scenario())


def test_samples_without_memory_columns_are_refused() -> None:
    with pytest.raises(CapsimError, match=r"columns postgres_billed_lower_mib.* are missing"):
        bill(samples(3)[[c.name for c in SAMPLES]], scenario())


def test_no_data_is_no_bill() -> None:
    for table in (samples(0), samples(3, has_load=False)):
        with pytest.raises(CapsimError, match="no bin with data"):
            bill(table, scenario())


@pytest.mark.parametrize("minutes", [0, -1, math.nan])
def test_an_impossible_window_is_refused(minutes: float) -> None:
    with pytest.raises(CapsimError, match="bill: minutes is"):
        Window.of(samples(3), minutes)


# --- limits of the plan -------------------------------------------------------------------------------------


def test_what_fits_the_plan_gets_no_note() -> None:
    assert limit_notes(samples(30), scenario()) == ()


@pytest.mark.parametrize(
    ("column", "value", "note"),
    [
        ("server_rss_peak_mib", 8.1, "server needs up to 8.1 GB, more than the 8 GB .* killed"),
        ("postgres_billed_lower_mib", 9.0, "postgres needs up to 9 GB"),
        ("postgres_billed_upper_mib", 9.0, "postgres with all its page cache comes to 9 GB"),
        ("postgres_volume_mib", 5.1, "volume of postgres grows to 5.1 GB, more than the 5 GB .* writes stop"),
    ],
)
def test_a_limit_that_is_passed_once_is_noted_on_the_bill(column: str, value: float, note: str) -> None:
    table = samples(30)
    table.loc[17, column] = value * GB_IN_MIB

    assert len(limit_notes(table, scenario())) == 1
    assert pd.Series(row(bill(table, scenario()), "workspace", "total").source).str.contains(note).all()
    assert limit_notes(table, scenario(), minutes=10 * 1440) == ()  # it comes later


def test_the_limit_follows_the_plan_and_the_date() -> None:
    table = samples(30, server_cpu_vcpu=30.0)

    assert limit_notes(table, scenario("pro", "2026-01-27")) == ()
    assert "held to the 24 vCPU" in limit_notes(table, scenario("pro", "2026-01-28"))[0]
    assert "not in the price table" in limit_notes(table, scenario("pro", "2024-08-16"))[0]


@pytest.mark.parametrize("meter", ["memory", "cpu", "egress", "volume", "backups"])
def test_every_meter_of_an_invoice_has_its_price(meter: Meter) -> None:
    assert prices_on(DAY).unit_price(meter) > 0


def test_backups_of_the_volume_are_billed_by_what_changed_while_they_are_kept() -> None:
    """1,000 MiB at the start, 100 MiB a day for ten days, kept for three: 0, 100, 200, then 300 MiB."""
    grown = samples(10, postgres_volume_mib=[1_000.0 + 100 * day for day in range(10)])
    spec = scenario().replace("database.backups_kept_days", 3)
    assert spec.database.backups_kept_days == 3

    postgres = service_usage("postgres", Window.of(grown), spec)
    assert postgres.backup_gb_minutes is not None and postgres.backup_gb_minutes.basis == "assumed"
    assert postgres.volume_gb_minutes is not None
    expected, lower, upper = postgres.backup_gb_minutes.bracket
    assert float(expected) == pytest.approx((0 + 100 + 200 + 7 * 300) * 1_440 * 2**20 / 1e9)
    assert lower == 0 and upper == postgres.volume_gb_minutes.bracket[0]


def test_backups_that_are_kept_longer_cost_more_and_without_any_they_are_not_modelled() -> None:
    grown = samples(30, postgres_volume_mib=[10_000.0 * day for day in range(30)])
    lines = {
        days: row(bill(grown, scenario().replace("database.backups_kept_days", days)), "postgres", "backups")
        for days in ("none", 3, 6)
    }
    assert lines["none"].basis == "not modelled"
    assert 0 < lines[3].amount_usd < lines[6].amount_usd


def test_every_line_of_a_bill_says_what_its_quantity_is_of() -> None:
    table = bill(samples(30), scenario("pro"))
    units = {(service, line): unit for service, line, unit in zip(table.service, table.line, table.unit, strict=True)}

    for service in ("server", "postgres", "redis"):
        found = {line: units[service, line] for line in ("memory", "cpu", "egress", "volume", "backups")}
        assert found == {
            "memory": "GB-minute", "cpu": "vCPU-minute", "egress": "GB", "volume": "GB-minute", "backups": "GB-minute",
        }  # fmt: skip
    assert (units["workspace", "included usage"], units["workspace", "total"]) == ("USD of usage", "USD")
    assert units["workspace", "subscription"] in ("month", "seat-month")


def test_the_limits_are_those_of_the_price_table_that_is_given() -> None:
    small = bundled_prices()
    rows = [row.model_copy(update={"volume_gb": Decimal(1)}) if row.plan == "hobby" else row for row in small.limits]
    table = samples(30, postgres_volume_mib=2 * GB_IN_MIB)

    assert limit_notes(table, scenario()) == ()
    (note,) = limit_notes(table, scenario(), table=small.model_copy(update={"limits": rows}))
    assert "volume of postgres grows to 2 GB, more than the 1 GB" in note

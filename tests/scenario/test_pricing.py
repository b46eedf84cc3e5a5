"""The price tables: which row applies on which day, and that nothing is ever guessed."""

from __future__ import annotations

import datetime as dt
import textwrap
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from capsim.base.errors import PriceError
from capsim.scenario.prices import bundled_prices, limits_on, plan_on, prices_on, read_prices

SMALL = """
schema_version = 1
provider = "Somebody"
currency = "USD"
last_verified = 2026-08-21

[[prices]]
from = 2025-01-01
ram_gb_month_usd = "10"
vcpu_month_usd = "20"
egress_gb_usd = "0.05"
volume_gb_month_usd = "0.15"
backup_gb_month_usd = "none"
bucket_gb_month_usd = "none"
mark = "official"
source = "a page"
note = ""

[[plans]]
name = "hobby"
from = 2025-01-01
fee_usd = "5"
fee_per = "workspace"
included_usage_usd = "5"
above_included = "charged"
mark = "official"
source = "a page"
note = ""

[[limits]]
plan = "hobby"
from = 2025-01-01
ram_gb = "8"
vcpu = "8"
volume_gb = "5"
mark = "official"
source = "a page"
note = ""
"""


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


@pytest.fixture
def price_file(tmp_path: Path):
    def write(text: str = SMALL) -> Path:
        path = tmp_path / "prices.toml"
        path.write_text(textwrap.dedent(text))
        return path

    return write


def problems_of(path: Path) -> list[str]:
    with pytest.raises(PriceError) as refused:
        read_prices(path)
    return list(refused.value.problems)


# Each row on its first day and the day before: RAM, vCPU, egress, volume, backups, bucket.
@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("2022-07-15", "10 20 0 None None None"),
        ("2023-06-22", "10 20 0 None None None"),
        ("2023-06-23", "10 20 0 0.25 None None"),
        ("2023-07-31", "10 20 0 0.25 None None"),
        ("2023-08-01", "10 20 0.10 0.25 None None"),
        ("2024-11-13", "10 20 0.10 0.25 None None"),
        ("2024-11-14", "10 20 0.10 0.25 0.25 None"),
        ("2025-03-02", "10 20 0.10 0.25 0.25 None"),
        ("2025-03-03", "10 20 0.05 0.15 0.15 None"),
        ("2025-11-28", "10 20 0.05 0.15 0.15 None"),
        ("2025-11-29", "10 20 0.05 0.15 0.15 0.015"),
        ("2026-12-31", "10 20 0.05 0.15 0.15 0.015"),
    ],
)
def test_a_price_applies_from_its_first_day_until_the_next_row(date: str, expected: str) -> None:
    row = prices_on(day(date)).row

    found = (
        row.ram_gb_month_usd,
        row.vcpu_month_usd,
        row.egress_gb_usd,
        row.volume_gb_month_usd,
        row.backup_gb_month_usd,
        row.bucket_gb_month_usd,
    )
    assert " ".join(map(str, found)) == expected


@pytest.mark.parametrize(
    ("name", "date", "rule"),
    [
        ("hobby", "2023-07-02", "$0 + usage above $5"),
        ("hobby", "2023-07-03", "max($5, usage)"),
        ("pro", "2023-07-03", "$20 x seats + usage"),
        ("pro", "2025-03-02", "$20 x seats + usage"),
        ("pro", "2025-06-29", "$20 x seats + usage"),
        ("pro", "2025-06-30", "max($20, usage)"),
        ("free", "2025-08-27", "$1 of usage, then its services stop"),
        ("trial", "2023-07-03", "$5 of usage, then its services stop"),
    ],
)
def test_a_plans_rule_changes_on_its_date(name: str, date: str, rule: str) -> None:
    assert plan_on(name, day(date)).rule == rule


@pytest.mark.parametrize(
    ("date", "ambiguous"),
    [("2025-03-02", False), ("2025-03-03", True), ("2025-06-29", True), ("2025-06-30", False)],
)
def test_between_march_and_july_2025_prices_and_pro_say_that_they_are_ambiguous(date: str, ambiguous: bool):
    assert bool(prices_on(day(date)).row.caveat_on(day(date))) is ambiguous
    assert bool(plan_on("pro", day(date)).caveat_on(day(date))) is ambiguous


@pytest.mark.parametrize(
    ("plan", "date", "ram_gb"),
    [
        ("hobby", "2024-08-17", "8"),
        ("pro", "2024-08-17", "32"),
        ("pro", "2026-01-27", "32"),
        ("pro", "2026-01-28", "24"),
        ("free", "2025-08-27", "0.5"),
    ],
)
def test_a_replicas_memory_limit_follows_plan_and_date(plan: str, date: str, ram_gb: str) -> None:
    limits = limits_on(plan, day(date))

    assert limits is not None
    assert limits.ram_gb == Decimal(ram_gb)


def test_limits_that_nobody_recorded_are_unknown_not_infinite() -> None:
    assert limits_on("pro", day("2024-08-16")) is None


def test_unit_prices_are_exact_fractions_of_a_43200_minute_month() -> None:
    prices = prices_on(day("2026-02-03"))

    assert prices.unit_price("memory") == Fraction(10, 43_200)
    assert prices.unit_price("cpu") == Fraction(20, 43_200)
    assert prices.unit_price("volume") == prices.unit_price("backups") == Fraction(15, 100 * 43_200)
    assert prices.unit_price("egress") == Fraction(5, 100)


def test_a_date_before_the_first_price_is_an_error_that_names_file_date_and_remedy() -> None:
    with pytest.raises(PriceError) as refused:
        prices_on(day("2022-07-14"))

    assert str(refused.value) == (
        "data/prices/railway.toml: no prices on 2022-07-14; the first are of 2022-07-15: bill from then on"
    )


@pytest.mark.parametrize(
    ("meter", "date"), [("volume", "2023-06-22"), ("backups", "2024-11-13"), ("volume", "2022-07-15")]
)
def test_a_price_that_did_not_exist_is_an_error_never_zero(meter, date: str) -> None:
    with pytest.raises(PriceError, match=rf'data/prices/railway\.toml: .*"none" on {date}.*bill from a later'):
        prices_on(day(date)).unit_price(meter)


def test_a_price_of_zero_is_a_price() -> None:
    assert prices_on(day("2022-07-15")).unit_price("egress") == 0


def test_an_unknown_plan_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(PriceError, match="there is no plan 'hoby'; did you mean 'hobby'"):
        plan_on("hoby", day("2026-02-03"))
    with pytest.raises(PriceError, match="plans: free, hobby, pro, trial"):
        plan_on("xyz", day("2026-02-03"))


@pytest.mark.parametrize(("name", "date"), [("free", "2025-08-26"), ("pro", "2023-07-02")])
def test_a_plan_before_its_first_day_is_an_error(name: str, date: str) -> None:
    with pytest.raises(PriceError, match=f"there is no plan '{name}' on {date}; it begins on"):
        plan_on(name, day(date))


def test_prices_go_stale_more_than_120_days_after_they_were_last_verified() -> None:
    verified = bundled_prices().last_verified

    assert not prices_on(verified + dt.timedelta(days=120)).stale
    assert prices_on(verified + dt.timedelta(days=121)).stale
    assert not prices_on(day("2022-07-15")).stale


def test_a_table_of_ones_own_is_read_and_used(price_file) -> None:
    table = read_prices(price_file())

    assert prices_on(day("2026-02-03"), table).provenance == "prices.toml row 2025-01-01 (official)"
    assert plan_on("hobby", day("2026-02-03"), table).fee_usd == 5


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            'egress_gb_usd = "0.05"',
            "egress_gb_usd = 0.05",
            "prices[1].egress_gb_usd is 0.05: write it as text",
        ),
        ('egress_gb_usd = "0.05"', 'egress_gb_usd = "-1"', "prices[1].egress_gb_usd is '-1': "),
        ('egress_gb_usd = "0.05"', 'egress_gb_usd = "nan"', "prices[1].egress_gb_usd is 'nan': "),
        ('egress_gb_usd = "0.05"', 'egress_gb_usd = "cheap"', "prices[1].egress_gb_usd is 'cheap': "),
        ('egress_gb_usd = "0.05"', "", "prices[1].egress_gb_usd is missing; add it"),
        ('fee_usd = "5"', 'fee_usd = "none"', "plans[1].fee_usd is 'none': "),
        ('fee_usd = "5"', 'fee = "5"', "plans[1].fee is not known; remove it"),
        ('ram_gb = "8"', 'ram_gb = "-8"', "limits[1].ram_gb is '-8': "),
        ('note = ""', "ambiguous_until = 2025-06-30\nnote = ''", "prices[1]: ambiguous_until needs"),
        ("last_verified = 2026-08-21", "last_verified = 'soon'", "last_verified is 'soon': "),
    ],
)
def test_a_wrong_value_is_refused_with_file_place_value_and_remedy(price_file, old, new, problem) -> None:
    path = price_file(SMALL.replace(old, new, 1))

    assert any(line.startswith(f"{path}: {problem}") for line in problems_of(path)), problems_of(path)


def test_every_wrong_value_gets_its_own_line(price_file) -> None:
    path = price_file(SMALL.replace('fee_usd = "5"', "fee_usd = 5").replace('vcpu = "8"', "vcpu = 8"))

    assert len(problems_of(path)) == 2


def test_rows_out_of_order_are_refused(price_file) -> None:
    row = SMALL[SMALL.index("[[prices]]") : SMALL.index("[[plans]]")]

    assert "2025-01-01 stands after 2025-01-01; sort the rows" in problems_of(price_file(SMALL + row))[0]


def test_a_table_without_prices_is_refused(price_file) -> None:
    head = SMALL[: SMALL.index("[[prices]]")]

    problems = problems_of(price_file(head + "prices = []\nplans = []\nlimits = []"))

    assert len(problems) == 1
    assert "there is no price or no plan; give at least one" in problems[0]


def test_a_file_that_is_no_toml_is_refused_in_one_line(price_file) -> None:
    assert "not TOML" in problems_of(price_file("ram = "))[0]


def test_every_bundled_row_has_a_source_and_a_mark() -> None:
    table = bundled_prices()

    for row in (*table.prices, *table.plans, *table.limits):
        assert row.source
        assert row.mark == "official"

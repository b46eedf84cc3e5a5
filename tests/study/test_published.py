"""What the tables are made with: continued stretches, dates on which something stops, sizes elsewhere."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest

import capsim as cs
from capsim.base.errors import PriceError
from capsim.cost.bill import bucket, either
from capsim.cost.spending_limit import hard_limit, stop_notes
from capsim.cost.usage import Quantity, Usage
from capsim.memory.constants import CONSTANTS
from capsim.results.continued import continued, how
from capsim.scenario.columns import MEMORY, SAMPLES
from capsim.scenario.prices import prices_on, readings
from capsim.scenario.providers import read_sizes, smallest
from capsim.scenario.scenario import Scenario
from capsim.show.published_pages import cell
from capsim.study.published.uncertainty import drawn_week, usage_usd

GB_IN_MIB = 10**9 / 2**20
DAY_US = 86_400_000_000


def scenario(**billing: object) -> Scenario:
    load = {"rate_hz": 5, "duration_s": 86_400}
    return Scenario(name="x", workload=load, billing={"from": "2026-02-03", **billing})


def flat(gb: float, days: int = 30) -> pd.DataFrame:
    """The server uses so much, the others nothing."""
    table = pd.DataFrame({c.name: [0.0] * days for c in (*SAMPLES, *MEMORY)})
    table["time_s"] = [day * 86_400.0 for day in range(days)]
    table["width_s"], table["has_load"] = 86_400.0, True
    for bound, factor in (("", 1), ("_lower", 0.5), ("_upper", 2)):
        table[f"server_billed{bound}_mib"] = gb * factor * GB_IN_MIB
    return table


def test_a_continued_day_costs_what_the_simulated_days_cost() -> None:
    """Five days in full against the first, continued; the engine is the slow twin."""
    spec = scenario().replace("workload.duration_s", 5 * 86_400.0)
    full = cs.simulate(spec, month=False, resolution_s=300).samples
    day = full[full.time_s < 86_400]

    found, expected = (usage_usd(x, spec)[0] for x in (continued([day], spec, minutes=5 * 1440), full))
    assert found == pytest.approx(expected, rel=0.005)


def test_a_continued_month_is_cut_at_its_end_and_plays_its_days_in_turn() -> None:
    days = [flat(1, days=1).assign(requests=n) for n in (3, 5)]

    month = continued(days, scenario(), minutes=3 * 1440)
    assert month.requests.tolist() == [3, 5, 3]
    assert month.time_s.tolist() == [0, 86_400, 172_800]


@pytest.mark.parametrize(("days", "own"), [(1, False), (6, False), (7, True), (8, False), (14, True)])
def test_only_a_load_of_whole_weeks_keeps_every_day_on_its_weekday(days: int, own: bool) -> None:
    assert ("on its own weekday" in how(days * DAY_US)) == own


def test_a_drawn_month_takes_weekends_from_weekends() -> None:
    month = drawn_week(list(range(7)), 0, seed=0)

    assert len(month) == 30
    assert all((day in (5, 6)) == (number % 7 in (5, 6)) for number, day in enumerate(month))


def test_a_hard_limit_is_reached_on_the_day_that_the_price_says() -> None:
    """1 GB costs 10 USD in 30 days: 5 USD are used after 15."""
    stop = hard_limit(flat(1), scenario(hard_limit_usd=5))

    assert stop is not None
    assert stop.after_days == pytest.approx(15)
    assert hard_limit(flat(1), scenario(hard_limit_usd=11)) is None
    assert hard_limit(flat(1), scenario()) is None
    assert hard_limit(flat(1), scenario(hard_limit_usd=5), "earliest").date == dt.date(2026, 2, 10)
    assert hard_limit(flat(1), scenario(hard_limit_usd=6), "latest") is None
    assert "2026-02-" in stop_notes(flat(1), scenario(hard_limit_usd=5))[0]


def test_the_free_plan_stops_at_its_credit() -> None:
    stop = hard_limit(flat(1), scenario(plan="free"))

    assert stop is not None
    assert stop.date == dt.date(2026, 2, 6)


def test_a_new_cycle_begins_at_nothing() -> None:
    assert hard_limit(flat(1, days=90), scenario(hard_limit_usd=11)) is None


def test_a_bucket_is_rounded_up_to_whole_gb_months_and_needs_a_price() -> None:
    day = prices_on(dt.date(2026, 2, 3))

    assert [bucket(gb, day)[0] for gb in (0, 0.01, 1, 1.01)] == [0, 1, 1, 2]
    assert bucket(1, day, days=31)[0] == 2
    with pytest.raises(PriceError, match="bucket_gb_month_usd"):
        bucket(1, prices_on(dt.date(2025, 11, 28)))


@pytest.mark.parametrize(
    ("date", "count"), [("2025-03-02", 1), ("2025-03-03", 4), ("2025-06-29", 4), ("2025-06-30", 1)]
)
def test_the_ambiguous_months_have_every_reading(date: str, count: int) -> None:
    on = dt.date.fromisoformat(date)
    used = Usage(service="x", memory_gb_minutes=Quantity(4320 * 7), egress_gb=Quantity(10))

    assert len(readings("pro", on)) == count
    low, high = either([used], "pro", on)
    assert (low < high) == (count > 1)


def test_the_cheapest_size_covers_the_peak() -> None:
    assert smallest("Fly.io", 0.513).size == "shared-cpu-1x 1 GB"
    assert smallest("DigitalOcean App Platform", 2.1) is None
    with pytest.raises(PriceError, match="no provider"):
        smallest("Nowhere", 1)


def test_a_size_in_another_currency_or_with_a_number_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'schema_version = 1\ncurrency = "EUR"\nlast_verified = 2026-08-21\n[[sizes]]\nprovider = "x"\nsize = "x"\n'
        'ram_gb = 1\nmonth_usd = "1"\nmark = "third-party"\nseen = "undated"\nsource = "x"\nnote = ""\n'
    )

    with pytest.raises(PriceError) as error:
        read_sizes(file)
    assert "currency" in str(error.value)
    assert "ram_gb" in str(error.value)


def test_brackets_of_constants_hold_their_values() -> None:
    found = {c.name: c.bracket for c in CONSTANTS}

    assert all(b is None or b[0] <= c.value <= b[1] for c, b in zip(CONSTANTS, found.values(), strict=True))
    assert found["marking_share"] == (0.00065, 0.0026)
    assert sum(b is not None for b in found.values()) > 50


def test_a_missing_value_is_a_dash_and_never_nothing() -> None:
    assert cell("total_usd", float("nan")) == "–"
    assert cell("total_usd", 0.0) == "0.00"

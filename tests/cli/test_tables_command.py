"""`capsim tables`: made as committed, checked by name of table and row, whole or not at all when killed."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from capsim.base.files import STAGING, SUMS
from capsim.base.paths import data_dir
from capsim.cli import main
from capsim.scenario import prices as pricing
from capsim.scenario.file import load
from capsim.study.published import bills
from capsim.study.published import registry as everything
from capsim.study.published.drift import drift
from capsim.study.published.registry import publish
from capsim.study.published.runs import Runs
from capsim.study.published.table import Published

TABLES = data_dir() / "tables"


def small(price: float = 1.0) -> Published:
    rows = pd.DataFrame({"plan": ["hobby", "pro"], "total_usd": [price, 2.0]})
    return Published("small", "How much?", "", ("plan",), rows)


def test_the_committed_tables_are_those_that_would_be_made_now() -> None:
    result = CliRunner().invoke(main, ["tables", "--check"])

    assert result.exit_code == 0, result.output


def test_what_differs_is_named_by_table_row_and_column(tmp_path: Path) -> None:
    publish({"small.csv": small().csv()}, tmp_path / "out")

    assert drift(tmp_path / "out", {"small.csv": small().csv()}, [small()]) == []
    assert drift(tmp_path / "out", {"small.csv": small(1.5).csv()}, [small(1.5)]) == [
        "small: row hobby: total_usd was 1, is 1.5"
    ]


def test_a_missing_a_broken_and_a_strange_file_are_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    publish({"small.csv": small().csv(), "README.md": "a\nb\n", "old.csv": ""}, out)
    (out / "small.csv").write_text("plan,total_usd\nhobby,1\n")

    found = drift(out, {"small.csv": small().csv(), "README.md": "a\nc\n", "new.csv": ""}, [small()])
    assert found == [
        "small: row pro: is new",
        "new.csv: is missing",
        "old.csv: is no longer made",
        "README.md: differs from line 2 on: was 'b', is 'c'",
    ]


def test_a_check_that_finds_a_difference_exits_1_and_writes_nothing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(everything, "tables", lambda: [small()])
    out = tmp_path / "out"
    assert CliRunner().invoke(main, ["tables", "--out", str(out)]).exit_code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    monkeypatch.setattr(everything, "tables", lambda: [small(3.0)])

    result = CliRunner().invoke(main, ["tables", "--check", "--out", str(out)])

    assert result.exit_code == 1
    assert "small: row hobby: total_usd was 1, is 3" in result.output
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_tables_that_are_not_there_cannot_be_checked(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(everything, "tables", lambda: [small()])

    result = CliRunner().invoke(main, ["tables", "--check", "--out", str(tmp_path / "none")])

    assert result.exit_code == 2
    assert "make them with capsim tables" in result.output


def test_every_file_is_listed_with_its_checksum() -> None:
    for line in (TABLES / SUMS).read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((TABLES / name).read_bytes()).hexdigest() == digest


def test_every_change_of_price_or_plan_has_both_its_sides_in_the_table() -> None:
    table = pd.read_csv(TABLES / "cost_by_plan_and_date.csv")
    pro = table[(table.plan == "pro") & (table.seats == 3)].set_index("from")

    assert pro.rule["2025-03-02"] == "$20 x seats + usage"
    assert pro.or_lowest_usd.notna()[["2025-03-03", "2025-06-29"]].all()
    assert pro.or_lowest_usd.isna()[["2025-03-02", "2025-06-30"]].all()
    assert pro.rule["2025-06-30"] == "max($20, usage)"
    free = table[table.plan == "free"].set_index("from")
    assert free.total_usd.isna()["2025-08-26"]
    assert free.total_usd.notna()["2025-08-27"]


def test_hobby_does_not_suffice_where_its_volume_is_full_within_the_month() -> None:
    table = pd.read_csv(TABLES / "when_hobby_suffices.csv")

    assert ((table.volume_full_days < 30) <= (table.fits_limits == "no")).all()
    assert {"yes", "no"} == set(table.fits_limits)


# --- killed at a random moment ------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from capsim.study.published.registry import publish
out, versions = Path(sys.argv[1]), [{f"{n}.csv": f"{v}\\n" * 40_000 for n in range(12)} for v in "ab"]
publish(versions[0], out)
print("ready", flush=True)
while True:
    for content in versions:
        publish(content, out)
"""


def kill_while_publishing(out: Path, kills: int) -> None:
    delays = random.Random(7)
    for _ in range(kills):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(out)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(delays.uniform(0, 0.1))
        writer.kill()
        writer.wait()
        writer.stdout.close()
        for number in range(12):
            assert (out / f"{number}.csv").read_bytes() in (b"a\n" * 40_000, b"b\n" * 40_000)
        shown = {path.name for path in out.iterdir() if not path.name.startswith(STAGING)}
        assert shown == {SUMS, *(f"{number}.csv" for number in range(12))}


def test_a_killed_writer_leaves_every_table_whole(tmp_path: Path) -> None:
    kill_while_publishing(tmp_path / "out", kills=3)

    publish({"small.csv": small().csv()}, tmp_path / "out")  # and the next one tidies up after them
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [SUMS, "small.csv"]


@pytest.mark.slow
def test_fifty_killed_writers_leave_every_table_whole(tmp_path: Path) -> None:
    kill_while_publishing(tmp_path / "out", kills=50)


# --- a price that changes -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stretch() -> pd.DataFrame:
    """Half an hour of the server before the plan, in place of its day."""
    return Runs().under(load("before"), 5.0)


def priced(stretch: pd.DataFrame) -> list[Published]:
    """The tables that price it anew by date and by length of the cycle."""
    runs = Runs()
    runs.__dict__["days"] = {"before": [stretch]}  # in place of the property that would simulate them
    return [bills.by_plan_and_date(runs), bills.by_cycle(runs)]


def test_one_changed_price_fails_the_check_and_names_tables_and_rows(tmp_path: Path, monkeypatch, stretch) -> None:
    monkeypatch.setattr(everything, "tables", lambda: priced(stretch))
    assert CliRunner().invoke(main, ["tables", "--out", str(tmp_path / "out")]).exit_code == 0
    text = (data_dir() / "prices" / "railway.toml").read_text(encoding="utf-8")
    before, last = text[: text.rindex("ram_gb_month_usd")], text[text.rindex("ram_gb_month_usd") :]
    (tmp_path / "prices.toml").write_text(before + last.replace('"10"', '"11"', 1), encoding="utf-8")
    changed = pricing.read_prices(tmp_path / "prices.toml")
    for module in (pricing, bills):
        monkeypatch.setattr(module, "bundled_prices", lambda: changed)

    result = CliRunner().invoke(main, ["tables", "--check", "--out", str(tmp_path / "out")])

    assert result.exit_code == 1
    found = result.output
    assert "cost_by_plan_and_date: row pro / 1 / 2026-02-03: usage_usd was " in found
    assert "cost_by_cycle: row before / 28 / 10^9: total_usd was " in found
    rows = [line for line in found.splitlines() if line.startswith("cost_by_plan")]
    assert all(line.split(" / ")[2][:10] >= str(changed.prices[-1].effective_from) for line in rows)

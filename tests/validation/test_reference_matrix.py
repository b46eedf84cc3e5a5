"""`capsim validate reference`: model and running reference side by side, with verdicts that can fail."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from capsim.cli import main
from capsim.engine.database import LatencyDatabase
from capsim.scenario.file import load
from capsim.validation import matrix_screen
from capsim.validation.matrix_cells import (
    ReferenceCell,
    _checks,
    _interval_ms,
    _item_for_item,
    busiest,
    real_cell,
    virtual_cells,
    with_fault,
)
from capsim.validation.matrix_sides import ArrivalTimes, SideLog
from capsim.validation.model_side import run_model
from capsim.validation.reference.sqlite import SqliteDatabase
from capsim.workload import find_trace, load_of, read_trace


@pytest.fixture(scope="module")
def cells() -> list[ReferenceCell]:
    return list(virtual_cells(["after"], ["web-week"]))


def test_in_virtual_time_every_figure_is_the_same(cells: list[ReferenceCell]) -> None:
    assert [cell.name for cell in cells] == [f"after, web-week, {fault}" for fault in ("calm", "stall", "outage")]
    assert [check for cell in cells for check in cell.failed] == []
    assert all(cell.arrivals > 5_000 and len(cell.checks) > 30 for cell in cells)
    assert cells[2].reference.counts["events"]["dropped_failed"] > 0


def changed(seen: SideLog, **counts: int) -> SideLog:
    events = {**seen.counts["events"], **counts}
    return replace(seen, counts={**seen.counts, "events": events})


def test_one_item_more_or_one_attempt_later_is_a_failure(cells: list[ReferenceCell]) -> None:
    model, seen = cells[0].model, cells[0].reference
    later = seen.attempts["events"].copy()
    later[3, 3] += 1
    moved = replace(seen, attempts={**seen.attempts, "events": later})

    assert _item_for_item(model, seen).passed
    assert not _item_for_item(model, moved).passed
    assert _item_for_item(model, moved).error == 1
    one_more = changed(seen, dropped_cap=1)
    assert not _item_for_item(model, one_more).passed
    failed = [check.quantity for check in _checks(model, one_more, exact=True) if not check.passed]
    assert failed == ["events: dropped cap"]


def test_in_real_time_two_percent_of_the_flushes_and_one_of_the_arrivals_are_allowed(
    cells: list[ReferenceCell],
) -> None:
    seen = cells[0].reference
    arrived, flushes = seen.counts["events"]["arrived"], seen.counts["events"]["flushes"]

    def failed(**counts: int) -> list[str]:
        return [c.quantity for c in _checks(changed(seen, **counts), seen, exact=False) if not c.passed]

    assert failed() == failed(flushes=flushes + flushes // 50) == failed(dropped_cap=arrived // 100) == []
    assert failed(flushes=flushes + flushes // 50 + 1) == ["events: flushes"]
    assert failed(dropped_cap=arrived // 100 + 1) == ["events: dropped cap"]


def test_a_small_sample_leaves_a_high_percentile_open() -> None:
    assert _interval_ms(np.arange(1, 11) * 1_000, 99) == (10.0, np.inf)
    low, high = _interval_ms(np.arange(10_000) * 1_000, 50)
    assert low == pytest.approx(5_000 - 98, abs=2) and high == pytest.approx(5_000 + 98, abs=2)


def test_the_busiest_quarter_of_an_hour_holds_the_most_requests() -> None:
    trace = read_trace(find_trace("flash-crowd"))
    chosen = busiest(trace)

    assert chosen.span_us == 900_000_000
    sums = np.convolve(trace.counts, np.ones(15, int), "valid")
    assert chosen.total == sums.max()


def test_in_real_time_the_model_predicts_what_a_real_database_let_happen() -> None:
    cell = real_cell("fixed", "SQLite", lambda folder: SqliteDatabase(folder / "x.sqlite"), 200, 2.0)

    # Times depend on what else this machine does; counts do not.
    counts = {"flushes", "dropped cap", "dropped failed", "uncounted"}
    assert [c for c in cell.failed if c.quantity.split(": ")[-1] in counts] == []
    assert cell.reference.counts["events"]["arrived"] == len(
        ArrivalTimes(load_of(load("fixed").replace("workload", WORKLOAD)).blocks()).times["events"]
    )
    assert list(cell.processes["of"].unique()) == ["server"] and cell.processes["rss_mib"].min() > 10


WORKLOAD = {"rate_hz": 200, "duration_s": 2.0, "live_sessions": 500}


def test_a_stall_and_an_outage_last_a_minute() -> None:
    scenario = load("fixed")
    arrivals = ArrivalTimes(load_of(scenario, busiest(read_trace(find_trace("web-week")))).blocks())
    stalled = with_fault(scenario, "stall")
    seen = run_model(stalled, arrivals, LatencyDatabase(stalled.database, 0, 0))

    lengths = seen.attempts["events"][:, 3] - seen.attempts["events"][:, 2]
    assert 50e6 < lengths.max() <= 60e6


def test_the_page_the_table_and_the_document_are_written(tmp_path: Path) -> None:
    arguments = ["validate", "reference", "fixed", "--trace", "web-week", "--real", "0"]
    shown = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "out")])
    as_json = CliRunner().invoke(main, [*arguments, "--json"])

    assert shown.output.splitlines()[-1] == "135 passed, 0 failed"
    assert (shown.exit_code, as_json.exit_code) == (0, 0)
    kept = json.loads((tmp_path / "out" / "result.json").read_text())
    assert kept == json.loads(as_json.stdout)
    assert len(kept["cells"]) == 3 and kept["passed"] == 135
    assert len((tmp_path / "out" / "checks.csv").read_text().splitlines()) == 136
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<img ") == 3 and "fixed, web-week, outage" in page


def test_a_check_that_does_not_hold_is_named_with_both_figures(cells: list[ReferenceCell]) -> None:
    bad = cells[0].checks[1]._replace(model=1.0, reference=2.0, passed=False)
    text = matrix_screen.line(replace(cells[0], checks=(cells[0].checks[0], bad)))

    assert text.splitlines()[0].endswith("1 of 2 checks hold")
    assert "events: flushes: model 1 flushes, reference 2" in text.splitlines()[1]


@pytest.mark.parametrize(
    ("arguments", "environment", "problem"),
    [
        (["nonsense"], {}, "nonsense"),
        (["--trace", "nonsense"], {}, "nonsense"),
        ([], {"DATABASE_URL": "mysql://host/db"}, "DATABASE_URL: begins with 'mysql'"),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments: list[str], environment: dict[str, str], problem: str) -> None:
    result = CliRunner(env=environment).invoke(main, ["validate", "reference", *arguments])

    assert result.exit_code == 2
    assert problem in result.stderr and len(result.stderr.splitlines()) == 1

"""What CONTRIBUTING.md says of ten changes: each is made here, and shows where its page says that it would."""

from __future__ import annotations

import datetime as dt
import json
import re
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import get_args

import click
import matplotlib.pyplot as plt
import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.axes import Axes
from numpy.typing import NDArray
from pydantic import Field

import capsim as cs
from capsim import cli
from capsim.base import display
from capsim.base.paths import data_dir
from capsim.engine import simulation
from capsim.engine.database import Ints, LatencyDatabase, Outcome, Statement
from capsim.results.metrics import METRICS, MetricSpec
from capsim.results.window_tables import WindowTables
from capsim.scenario.base import Count, Spec
from capsim.scenario.parameters import SchemaNode, walk
from capsim.scenario.prices import prices_on, read_prices
from capsim.scenario.providers import read_sizes, smallest
from capsim.scenario.server import WriterSpec
from capsim.study.findings import descriptions, detectors
from capsim.workload import exports, load_of, read
from capsim.workload.documents import take
from capsim.workload.found import Found
from capsim.workload.lines import lines_of
from capsim.workload.source import Source

SRC = Path(cs.__file__).parent
RULES = "rules" if "rules" in WriterSpec.model_fields else "semantics"
ASKING = {
    "scenario/server.py",
    "engine/attempts.py",
    "engine/sampler.py",
    "engine/writer.py",
    "validation/reference/attempts.py",
    "validation/reference/server.py",
    "validation/reference/writer.py",
}


def small() -> cs.Scenario:
    return cs.load("after").replace("workload", {"rate_hz": 5, "duration_s": 60})


def test_a_price_date_is_a_row(tmp_path: Path) -> None:
    text = (data_dir() / "prices/railway.toml").read_text(encoding="utf-8")
    row = """
[[prices]]
from = 2027-01-01
ram_gb_month_usd = "12.34"
vcpu_month_usd = "20"
egress_gb_usd = "0.05"
volume_gb_month_usd = "0.15"
backup_gb_month_usd = "0.15"
bucket_gb_month_usd = "0.015"
mark = "unconfirmed"
source = "a test"
note = "made up"
"""
    (tmp_path / "railway.toml").write_text(text + row, encoding="utf-8")
    table = read_prices(tmp_path / "railway.toml")
    before, after = (prices_on(day, table).row.ram_gb_month_usd for day in (dt.date(2026, 12, 31), dt.date(2027, 1, 1)))

    assert before != after == Decimal("12.34")


def test_a_provider_that_reserves_is_a_row(tmp_path: Path) -> None:
    text = (data_dir() / "prices/providers.toml").read_text(encoding="utf-8")
    row = """
[[sizes]]
provider = "Example Cloud"
size = "small"
ram_gb = "1"
month_usd = "7.00"
mark = "unconfirmed"
seen = 2026-08-20
source = "a test"
note = ""
"""
    (tmp_path / "providers.toml").write_text(text + row, encoding="utf-8")

    found = smallest("Example Cloud", 0.5, read_sizes(tmp_path / "providers.toml"))
    assert found is not None and found.size == "small"


def test_a_format_is_a_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_ticks(source: Source) -> Found:
        found = Found()
        for number, raw in lines_of(source.path):
            found.lines += 1
            take(found, source, number, raw.decode().removeprefix("tick "))
        return found

    monkeypatch.setitem(exports.READERS, "ticks", read_ticks)
    monkeypatch.setattr(read, "FORMATS", (*read.FORMATS, "ticks"))  # made of READERS when it is imported
    path = tmp_path / "x.ticks"
    path.write_text("tick 2026-03-02T18:00:00Z\ntick 2026-03-02T18:00:09Z\n")

    assert len(read.read_trace(path, format="ticks").times_us) == 2


def test_a_figure_is_declared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def busiest(seen: WindowTables) -> float:
        return seen.samples["requests"].max()

    spec = MetricSpec("busiest_bin", "", "simulated", "requests of the busiest bin", busiest)
    monkeypatch.setitem(METRICS, "busiest_bin", spec)
    run = cs.simulate(small(), month=False)

    assert run.summary().set_index("metric").value["busiest_bin"] == run.samples["requests"].max() > 0


def test_a_finding_is_a_detector_and_its_description(monkeypatch: pytest.MonkeyPatch) -> None:
    def quiet(facts: detectors.Facts) -> Iterator[detectors.Detection]:
        yield detectors.Detection("quiet", "server", 0.0, None, 1.0, "s")

    monkeypatch.setattr(detectors, "KINDS", (*detectors.KINDS, "quiet"))
    monkeypatch.setattr(detectors, "_DETECTORS", (*detectors._DETECTORS, quiet))
    once = simulation.play(small(), load_of(small()), seed=0, replicate=0, resolution_s=1.0, keep=True, progress=None)

    assert "quiet" in [found.kind for found in detectors.detect(detectors.Facts(*once))]
    assert set(detectors.KINDS) - set(descriptions.WORDS) == {"quiet"}, "each kind has its description"


def test_a_command_is_a_line_of_the_table_and_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("house_example")
    module.greet = click.Command("greet", callback=lambda: click.echo("hello"))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "house_example", module)
    monkeypatch.setitem(cli.COMMANDS, "greet", cli.Lazy("house_example:greet", "Say hello."))

    assert "Say hello." in CliRunner().invoke(cli.main, ["--help"]).output
    assert CliRunner().invoke(cli.main, ["greet"]).output == "hello\n"


def test_a_plot_is_a_function_of_a_class_that_shows_itself() -> None:
    class Queue(display.HasPlots):
        waiting = (1, 2, 3)

    class QueuePlots:
        def __init__(self, queue: Queue) -> None:
            self.queue = queue

        def waiting(self, ax: Axes | None = None) -> Axes:
            axes = ax or plt.figure().subplots()
            axes.plot(self.queue.waiting)
            return axes

    display.register("Queue", plots=QueuePlots)
    try:
        assert list(Queue().plot.waiting().lines[0].get_ydata()) == [1, 2, 3]
    finally:
        del display._PLOTS["Queue"]
        plt.close("all")


def test_a_parameter_is_a_field() -> None:
    """Its key, unit, default and meaning, in TOML and in the schema, are all read off the field."""

    class Report(Spec):
        rows_mib: Count = Field(default=3, description="what a report loads")

    class Mine(Spec):
        report: Report = Report()

    (key,) = walk(SchemaNode.of(Mine))
    assert (key.name, key.unit, key.default, key.meaning) == (
        "report.rows_mib",
        "MiB (2^20 bytes)",
        "3",
        "what a report loads",
    )
    assert "what a report loads" in json.dumps(Mine.model_json_schema())


def test_a_rule_set_is_asked_for_in_few_files() -> None:
    """A third pair of eyes beside the engine's and the reference's is one too many; CONTRIBUTING.md lists them."""
    rules = set(get_args(WriterSpec.model_fields[RULES].annotation))
    assert len(rules) == 3
    compared = re.compile(rf"{RULES} (==|!=|in) ")
    paths = [path for room in ("scenario", "engine", "validation/reference") for path in (SRC / room).rglob("*.py")]
    asking = {path.relative_to(SRC).as_posix() for path in paths if compared.search(path.read_text("utf-8"))}

    assert asking <= ASKING, asking - ASKING


def items_lost(run: cs.Run) -> float:
    return float(run.summary().set_index("metric").value["items_lost"])


def test_a_store_answers_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seam is `capsim.engine.database.Database`: how long a statement takes, and whether it succeeds."""

    class Failing(LatencyDatabase):
        def run(self, stream: str, attempt: int, statement: Statement, start_us: int, crowding: float = 1.0) -> Outcome:
            return Outcome(1_000, "fail")

        def steady(self, from_us: Ints, to_us: Ints) -> NDArray[np.bool_]:
            return np.zeros(len(from_us), bool)

    kept = cs.simulate(small(), month=False)
    monkeypatch.setattr(simulation, "LatencyDatabase", Failing)
    lost = cs.simulate(small(), month=False)

    assert items_lost(kept) == 0 < items_lost(lost)

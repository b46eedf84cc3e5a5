"""When a load is repeated for a month: a rate is, a trace of minutes only if it is asked for."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

import capsim as cs
from capsim.cli import main


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"2026-02-03T00:{n:02}:00Z,6\n" for n in range(3))
    (tmp_path / "minutes.csv").write_text("time,count\n" + rows, encoding="utf-8")
    text = 'schema_version = 1\nname = "x"\n[workload]\ntrace = "minutes.csv"\n[billing]\nfrom = "2026-02-03"\n'
    (tmp_path / "x.toml").write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(("options", "has"), [((), False), (("--no-month",), False), (("--month",), True)])
def test_a_trace_of_minutes_is_no_month_unless_it_is_asked_for(here, options, has):
    result = CliRunner().invoke(main, ["run", "x.toml", *options])
    words = " ".join(result.stdout.split())

    assert result.exit_code == 0, result.output
    assert ("Bill, over a month" in words) == has
    assert ("no month is simulated: the load covers 180 s, and a month would repeat it 14,400 times" in words) != has
    assert ("the month repeats it 14,400 times" in words) == has


def test_a_rate_holds_for_a_month():
    spec = cs.Scenario(name="x", workload={"rate_hz": 0.01, "duration_s": 60}, billing={"from": "2026-02-03"})

    assert cs.simulate(spec).has_month
    assert not cs.simulate(spec, month=False).has_month
    assert not any("no month" in line for line in cs.simulate(spec).warnings)


def test_the_bill_of_a_run_without_a_month_is_that_of_its_load(here):
    run = cs.simulate(cs.load("x.toml"))

    assert not run.has_month
    assert run.bill().equals(run.bill("trace"))
